"""Hadoop's compression codecs that Python's own library can serve."""

import bz2
import zlib
from typing import Any, Callable, Dict, NamedTuple, Optional

from pyspark.errors import IllegalArgumentException

from pyrite.errors import not_supported

_PACKAGE = "org.apache.hadoop.io.compress."
_ZLIB, _GZIP = 15, 31


class Codec(NamedTuple):
    """How to compress and decompress; every call of a function starts a stream of its own."""

    name: str
    extension: str
    compressor: Callable[[], Any]
    decompressor: Callable[[], Any]

    def compress(self, data: bytes) -> bytes:
        """Return a whole compressed stream."""
        stream = self.compressor()
        return bytes(stream.compress(data) + stream.flush())

    def decompress(self, data: bytes) -> bytes:
        """Return what whole streams, one after the other, hold."""
        out = []
        while data:
            stream = self.decompressor()
            out.append(stream.decompress(data))
            if not stream.eof:
                raise EOFError(f"compressed data ends within a stream of {self.name}")
            data = stream.unused_data
        return b"".join(out)


def _zlib(bits: int) -> Dict[str, Callable[[], Any]]:
    return {
        "compressor": lambda: zlib.compressobj(wbits=bits),
        "decompressor": lambda: zlib.decompressobj(wbits=bits),
    }


_CODECS = [
    Codec("DefaultCodec", ".deflate", **_zlib(_ZLIB)),
    Codec("DeflateCodec", ".deflate", **_zlib(_ZLIB)),
    Codec("GzipCodec", ".gz", **_zlib(_GZIP)),
    Codec("BZip2Codec", ".bz2", bz2.BZ2Compressor, bz2.BZ2Decompressor),
]
_BY_CLASS = {_PACKAGE + codec.name: codec for codec in _CODECS}
DEFAULT = _PACKAGE + "DefaultCodec"
_OTHERS = ("Lz4Codec", "SnappyCodec", "ZStandardCodec", "PassthroughCodec")


def codec_of(class_name: str) -> Codec:
    """Return the codec of a Java class name.

    Raises
    ------
    PySparkNotImplementedError
        For a codec of Hadoop's that is not there.
    IllegalArgumentException
        For anything else.
    """
    if class_name in _BY_CLASS:
        return _BY_CLASS[class_name]
    if class_name.removeprefix(_PACKAGE) in _OTHERS:
        raise not_supported(f"the compression codec {class_name}")
    raise IllegalArgumentException(f"Compression codec {class_name} was not found.")


def codec_for_file(path: str) -> Optional[Codec]:
    """Return the codec that the ending of a file's name stands for, None for a plain file."""
    return next((codec for codec in _CODECS if path.endswith(codec.extension)), None)
