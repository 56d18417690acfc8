"""Arrays of byte arrays in Java's serialisation, which is what Spark's object files hold."""

import io
import struct
from typing import Any, BinaryIO, List, Sequence

from pyspark.errors import PySparkValueError

from pyrite.hadoop.writables import read_exactly

_STREAM_START = b"\xac\xed\x00\x05"
_NULL, _REFERENCE, _CLASS, _ARRAY, _END_OF_BLOCK = 0x70, 0x71, 0x72, 0x75, 0x78
_SERIALIZABLE = 2
_FIRST_HANDLE = 0x7E0000
_INT = struct.Struct(">i")

# The version number that Java computes for a class of arrays.
_BYTES_CLASS = ("[B", 0xACF317F8060854E0)
_OUTER_CLASS = ("[[B", 0x4BFD19156767DB37)


def _class(name: str, version: int) -> bytes:
    encoded = name.encode("ascii")
    head = struct.pack(">BH", _CLASS, len(encoded)) + encoded + struct.pack(">QBH", version, _SERIALIZABLE, 0)
    return head + bytes((_END_OF_BLOCK, _NULL))


def dump(arrays: Sequence[bytes]) -> bytes:
    """Serialise byte arrays as one ``byte[][]``."""
    out = [_STREAM_START, bytes((_ARRAY,)), _class(*_OUTER_CLASS), _INT.pack(len(arrays))]
    for number, array in enumerate(arrays):
        # The outer class and array have the first two handles, the inner class the third.
        inner = _class(*_BYTES_CLASS) if number == 0 else struct.pack(">BI", _REFERENCE, _FIRST_HANDLE + 2)
        out += [bytes((_ARRAY,)), inner, _INT.pack(len(array)), array]
    return b"".join(out)


def load(data: bytes) -> List[bytes]:
    """Return the byte arrays of a serialised array of them.

    Raises
    ------
    PySparkValueError
        If it is anything else.
    """
    reader = _Reader(io.BytesIO(data))
    arrays = reader.start()
    if not isinstance(arrays, list) or not all(isinstance(array, bytes) for array in arrays):
        raise PySparkValueError("the object file does not hold pickled batches, so it is not one of PySpark's")
    return arrays


class _Reader:
    """Reads arrays and what they refer to."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self._handles: List[Any] = []

    def start(self) -> Any:
        """Return the only object of the stream."""
        if self._stream.read(len(_STREAM_START)) != _STREAM_START:
            raise PySparkValueError("not an object that Java serialised")
        return self._object(self._byte())

    def _byte(self) -> int:
        return read_exactly(self._stream, 1)[0]

    def _int(self) -> int:
        value: int = _INT.unpack(read_exactly(self._stream, 4))[0]
        return value

    def _object(self, kind: int) -> Any:
        if kind == _NULL:
            return None
        if kind == _REFERENCE:
            return self._handles[self._int() - _FIRST_HANDLE]
        if kind != _ARRAY:
            raise PySparkValueError(f"an object file holds Java objects of kind {kind:#x}, not pickled batches")
        name = self._class_name(self._byte())
        position = len(self._handles)
        self._handles.append(None)
        size = self._int()
        if name == "[B":
            value: Any = read_exactly(self._stream, size)
        elif name.startswith(("[[", "[L")):
            value = [self._object(self._byte()) for _ in range(size)]
        else:
            raise PySparkValueError(f"an object file holds arrays of class {name}, not pickled batches")
        self._handles[position] = value
        return value

    def _class_name(self, kind: int) -> str:
        if kind == _REFERENCE:
            return str(self._handles[self._int() - _FIRST_HANDLE])
        if kind != _CLASS:
            raise PySparkValueError(f"an array has a class of kind {kind:#x}")
        (length,) = struct.unpack(">H", read_exactly(self._stream, 2))
        name = read_exactly(self._stream, length).decode("utf-8")
        self._handles.append(name)
        # Version, flags, number of fields, end of annotations, no parent class.
        tail = read_exactly(self._stream, 13)
        if tail[9:] != bytes((0, 0, _END_OF_BLOCK, _NULL)):
            raise PySparkValueError(f"the class {name} of an array has fields")
        return name
