"""Hadoop's SequenceFile, version 6: uncompressed, and compressed by record or by block.

Reader and writer hold one record, or one block of about a megabyte, at a time.
"""

import io
import os
import struct
from typing import BinaryIO, Callable, Iterator, List, Optional, Tuple

from pyspark.errors import PySparkValueError

from pyrite.hadoop.codecs import Codec, codec_of
from pyrite.hadoop.writables import pack_text, pack_vlong, read_exactly, read_text, read_vlong

_MAGIC, _VERSION = b"SEQ", 6
_OLDEST_VERSION = 6
_INT = struct.Struct(">i")
_ESCAPE = _INT.pack(-1)
_SYNC_BYTES = 16
# How far apart sync markers are at least, and how large a block gets; Hadoop's defaults.
SYNC_INTERVAL_BYTES = 5 * 1024 * (len(_ESCAPE) + _SYNC_BYTES)
BLOCK_BYTES = 1_000_000
_SCAN_BYTES = 1 << 16

Record = Tuple[bytes, bytes]


class SequenceFileWriter:
    """Writes encoded keys and values.

    Parameters
    ----------
    file
        A new file, closed by the caller after :meth:`finish`.
    key_class, value_class
        Java classes of keys and values.
    codec_class
        Java class of a codec; None for no compression.
    by_block
        Whether to compress many records together instead of each value by itself.
    """

    def __init__(
        self,
        file: BinaryIO,
        key_class: str,
        value_class: str,
        codec_class: Optional[str] = None,
        by_block: bool = False,
    ):
        self._file = file
        self._codec: Optional[Codec] = None if codec_class is None else codec_of(codec_class)
        self._by_block = by_block and self._codec is not None
        self._sync = os.urandom(_SYNC_BYTES)
        self._keys: List[bytes] = []
        self._values: List[bytes] = []
        self._gathered_bytes = 0
        header = [_MAGIC, bytes((_VERSION,)), pack_text(key_class), pack_text(value_class)]
        header.append(bytes((self._codec is not None, self._by_block)))
        if codec_class is not None:
            header.append(pack_text(codec_class))
        # No metadata.
        header += [_INT.pack(0), self._sync]
        self._position = self._last_sync = file.write(b"".join(header))

    def append(self, key: bytes, value: bytes) -> None:
        """Write one record."""
        if self._by_block:
            self._keys.append(key)
            self._values.append(value)
            self._gathered_bytes += len(key) + len(value)
            if self._gathered_bytes >= BLOCK_BYTES:
                self._write_block()
            return
        if self._codec is not None:
            value = self._codec.compress(value)
        if self._position >= self._last_sync + SYNC_INTERVAL_BYTES:
            self._write(_ESCAPE + self._sync)
            self._last_sync = self._position
        self._write(_INT.pack(len(key) + len(value)) + _INT.pack(len(key)) + key + value)

    def finish(self) -> None:
        """Write what is held back."""
        if self._keys:
            self._write_block()

    def _write(self, data: bytes) -> None:
        self._position += self._file.write(data)

    def _write_block(self) -> None:
        assert self._codec is not None
        self._write(_ESCAPE + self._sync + pack_vlong(len(self._keys)))
        for items in (self._keys, self._values):
            for part in (b"".join(pack_vlong(len(item)) for item in items), b"".join(items)):
                compressed = self._codec.compress(part)
                self._write(pack_vlong(len(compressed)) + compressed)
        self._keys, self._values, self._gathered_bytes = [], [], 0


class SequenceFileReader:
    """Reads encoded keys and values.

    Parameters
    ----------
    file
        The file, open for reading in binary; its position need not be the start.
    name
        What errors call it.

    Raises
    ------
    PySparkValueError
        If it is no SequenceFile, or one of a version before 6.
    """

    def __init__(self, file: BinaryIO, name: str):
        self._file = file
        self._name = name
        file.seek(0)
        magic = file.read(len(_MAGIC) + 1)
        if magic[: len(_MAGIC)] != _MAGIC or len(magic) <= len(_MAGIC):
            raise PySparkValueError(f"{name} not a SequenceFile")
        if not _OLDEST_VERSION <= magic[-1] <= _VERSION:
            raise PySparkValueError(f"{name} is a SequenceFile of version {magic[-1]}; only version 6 can be read")
        self.key_class = read_text(file)
        self.value_class = read_text(file)
        compressed, self._by_block = (byte != 0 for byte in read_exactly(file, 2))
        self._codec: Optional[Codec] = codec_of(read_text(file)) if compressed else None
        self.metadata = {read_text(file): read_text(file) for _ in range(self._int())}
        self._sync = read_exactly(file, _SYNC_BYTES)
        self._first = file.tell()

    def records(self, start: int = 0, end: Optional[int] = None) -> Iterator[Record]:
        """Yield the records of a part of the file.

        Every record belongs to exactly one of consecutive parts: to the one that holds the sync
        marker before it, or else to the first part.
        """
        if start > self._first:
            if not self._seek_sync(start):
                return
        else:
            self._file.seek(self._first)
        limit = float("inf") if end is None else end
        if self._file.tell() >= limit:
            return
        yield from self._blocks(limit) if self._by_block else self._single(limit)

    def _int(self) -> int:
        value: int = _INT.unpack(read_exactly(self._file, 4))[0]
        return value

    def _seek_sync(self, start: int) -> bool:
        """Go to the first sync marker whose escape is not before `start`."""
        marker = self._sync
        self._file.seek(start + len(_ESCAPE))
        base, window = start + len(_ESCAPE), b""
        while chunk := self._file.read(_SCAN_BYTES):
            window += chunk
            found = window.find(marker)
            if found >= 0:
                self._file.seek(base + found - len(_ESCAPE))
                return True
            kept = len(marker) - 1
            base += max(0, len(window) - kept)
            window = window[-kept:]
        return False

    def _check_sync(self) -> None:
        if read_exactly(self._file, _SYNC_BYTES) != self._sync:
            raise PySparkValueError(f"{self._name} is corrupt: a sync marker is not that of its header")

    def _single(self, limit: float) -> Iterator[Record]:
        decompress: Callable[[bytes], bytes] = self._codec.decompress if self._codec is not None else bytes
        position = self._file.tell()
        while head := self._file.read(4):
            if len(head) < 4:
                raise EOFError(f"{self._name} ends within a record")
            (length,) = _INT.unpack(head)
            size = 4
            if length == -1:
                if position >= limit:
                    return
                self._check_sync()
                length = self._int()
                size += _SYNC_BYTES + 4
            key_length = self._int()
            if not 0 <= key_length <= length:
                raise PySparkValueError(
                    f"{self._name} is corrupt: a record of {length} bytes has a key of {key_length}"
                )
            data = read_exactly(self._file, length)
            position += size + 4 + length
            yield data[:key_length], decompress(data[key_length:])

    def _blocks(self, limit: float) -> Iterator[Record]:
        assert self._codec is not None
        while True:
            position = self._file.tell()
            escape = self._file.read(4)
            if not escape or position >= limit:
                return
            if escape != _ESCAPE:
                raise PySparkValueError(f"{self._name} is corrupt: a block does not start with a sync marker")
            self._check_sync()
            count = read_vlong(self._file)
            key_lengths, keys, value_lengths, values = (
                io.BytesIO(self._codec.decompress(read_exactly(self._file, read_vlong(self._file)))) for _ in range(4)
            )
            for _ in range(count):
                yield (
                    read_exactly(keys, read_vlong(key_lengths)),
                    read_exactly(values, read_vlong(value_lengths)),
                )
