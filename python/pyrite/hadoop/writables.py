"""Hadoop's Writables: how keys and values of a SequenceFile are encoded.

A Python value becomes the Writable that Spark chooses for what it unpickles to in Java, and a
Writable becomes the Python value that arrives when Spark pickles it.
"""

import io
import struct
from typing import Any, BinaryIO, Callable, Dict, List, NamedTuple, Tuple

from pyrite.errors import not_supported
from pyrite.hadoop.errors import spark_error

_PACKAGE = "org.apache.hadoop.io."
_BYTE = struct.Struct(">b")
_SHORT = struct.Struct(">H")
_INT = struct.Struct(">i")
_LONG = struct.Struct(">q")
_FLOAT = struct.Struct(">f")
_DOUBLE = struct.Struct(">d")

TEXT, INT, LONG, FLOAT, DOUBLE, BOOLEAN, BYTES, NULL, MAP, ARRAY = (
    f"{_PACKAGE}{name}"
    for name in (
        "Text",
        "IntWritable",
        "LongWritable",
        "FloatWritable",
        "DoubleWritable",
        "BooleanWritable",
        "BytesWritable",
        "NullWritable",
        "MapWritable",
        "ArrayWritable",
    )
)
_VINT, _VLONG = f"{_PACKAGE}VIntWritable", f"{_PACKAGE}VLongWritable"

# Ids that a MapWritable uses for these classes without naming them in its own table.
_MAP_IDS = {
    ARRAY: -127,
    BOOLEAN: -126,
    BYTES: -125,
    FLOAT: -124,
    INT: -123,
    LONG: -122,
    MAP: -121,
    NULL: -119,
    TEXT: -116,
    _VINT: -114,
    _VLONG: -113,
}
_MAP_CLASSES = {number: name for name, number in _MAP_IDS.items()}


class Writable(NamedTuple):
    """A value in Hadoop's encoding, and the Java class that reads it."""

    class_name: str
    data: bytes


def read_exactly(stream: BinaryIO, count: int) -> bytes:
    """Return that many bytes.

    Raises
    ------
    EOFError
        If the stream ends before.
    """
    data = stream.read(count)
    if len(data) != count:
        raise EOFError(f"the file ends where {count} bytes are due and {len(data)} are left")
    return data


def pack_vlong(value: int) -> bytes:
    """Encode a number of variable length."""
    if -112 <= value <= 127:
        return _BYTE.pack(value)
    first = -112
    if value < 0:
        value, first = ~value, -120
    size = (value.bit_length() + 7) // 8
    return _BYTE.pack(first - size) + value.to_bytes(size, "big")


def read_vlong(stream: BinaryIO) -> int:
    """Decode a number of variable length."""
    first: int = _BYTE.unpack(read_exactly(stream, 1))[0]
    if first >= -112:
        return first
    negative = first < -120
    value = int.from_bytes(read_exactly(stream, -(first + (120 if negative else 112))), "big")
    return ~value if negative else value


def pack_text(text: str) -> bytes:
    """Encode text with its length."""
    data = text.encode("utf-8", "replace")
    return pack_vlong(len(data)) + data


def read_text(stream: BinaryIO) -> str:
    """Decode text with its length."""
    return read_exactly(stream, read_vlong(stream)).decode("utf-8", "replace")


def _unpack(layout: struct.Struct) -> Callable[[BinaryIO], Any]:
    return lambda stream: layout.unpack(read_exactly(stream, layout.size))[0]


def _read_bytes(stream: BinaryIO) -> bytearray:
    # What Spark pickles for a Java array of bytes.
    return bytearray(read_exactly(stream, _INT.unpack(read_exactly(stream, 4))[0]))


def _read_map(stream: BinaryIO) -> Dict[Any, Any]:
    classes = dict(_MAP_CLASSES)
    for _ in range(_BYTE.unpack(read_exactly(stream, 1))[0]):
        number = _BYTE.unpack(read_exactly(stream, 1))[0]
        classes[number] = read_exactly(stream, _SHORT.unpack(read_exactly(stream, 2))[0]).decode("utf-8")

    def element() -> Any:
        number = _BYTE.unpack(read_exactly(stream, 1))[0]
        return reader_of(classes.get(number, f"the class with id {number} of a MapWritable"))(stream)

    entries = _INT.unpack(read_exactly(stream, 4))[0]
    # Keys before values: that is their order in the file.
    return {element(): element() for _ in range(entries)}


_READERS: Dict[str, Callable[[BinaryIO], Any]] = {
    TEXT: read_text,
    INT: _unpack(_INT),
    LONG: _unpack(_LONG),
    FLOAT: _unpack(_FLOAT),
    DOUBLE: _unpack(_DOUBLE),
    BOOLEAN: lambda stream: read_exactly(stream, 1) != b"\0",
    BYTES: _read_bytes,
    NULL: lambda stream: None,
    MAP: _read_map,
}


def reader_of(class_name: str) -> Callable[[BinaryIO], Any]:
    """Return the function that reads values of a Writable class.

    Raises
    ------
    PySparkNotImplementedError
        If the class is not among those that can be read without Java.
    """
    if class_name not in _READERS:
        raise not_supported(f"reading {class_name} from a sequence file")
    return _READERS[class_name]


def decode(class_name: str, data: bytes) -> Any:
    """Return the value of one Writable."""
    return reader_of(class_name)(io.BytesIO(data))


def encode(value: Any) -> Writable:
    """Return the Writable of a Python value.

    Raises
    ------
    SparkException
        If there is none for its type.
    """
    if value is None:
        return Writable(NULL, b"")
    if isinstance(value, bool):
        return Writable(BOOLEAN, b"\1" if value else b"\0")
    if isinstance(value, str):
        return Writable(TEXT, pack_text(value))
    if isinstance(value, int):
        return _encode_int(value)
    if isinstance(value, float):
        return Writable(DOUBLE, _DOUBLE.pack(value))
    if isinstance(value, (bytes, bytearray)):
        return Writable(BYTES, _INT.pack(len(value)) + bytes(value))
    if isinstance(value, dict):
        return Writable(MAP, _encode_map(value))
    if isinstance(value, tuple):
        return Writable(ARRAY, _INT.pack(len(value)) + b"".join(encode(item).data for item in value))
    raise spark_error(f"Data of type {java_class_of(value)} cannot be used")


def _encode_int(value: int) -> Writable:
    if -(2**31) <= value < 2**31:
        return Writable(INT, _INT.pack(value))
    if -(2**63) <= value < 2**63:
        return Writable(LONG, _LONG.pack(value))
    raise spark_error("Data of type java.math.BigInteger cannot be used")


def _encode_map(values: Dict[Any, Any]) -> bytes:
    pairs: List[Tuple[Writable, Writable]] = [(encode(key), encode(value)) for key, value in values.items()]
    own: Dict[str, int] = {}
    for pair in pairs:
        for writable in pair:
            if writable.class_name not in _MAP_IDS and writable.class_name not in own:
                own[writable.class_name] = len(own) + 1
    out = [_BYTE.pack(len(own))]
    for name, number in own.items():
        encoded = name.encode("utf-8")
        out += [_BYTE.pack(number), _SHORT.pack(len(encoded)), encoded]
    out.append(_INT.pack(len(pairs)))
    for pair in pairs:
        for writable in pair:
            number = own.get(writable.class_name) or _MAP_IDS[writable.class_name]
            out += [_BYTE.pack(number), writable.data]
    return b"".join(out)


def encode_pair(element: Any) -> Tuple[Writable, Writable]:
    """Return the Writables of an element of an RDD of pairs.

    Raises
    ------
    SparkException
        If it is not a pair, or a part of it has no Writable.
    """
    if type(element) is not tuple or len(element) != 2:
        raise spark_error(f"RDD element of type {java_class_of(element)} cannot be used")
    return encode(element[0]), encode(element[1])


_JAVA_CLASSES: Dict[type, str] = {
    bool: "java.lang.Boolean",
    bytearray: "[B",
    bytes: "[B",
    dict: "java.util.HashMap",
    float: "java.lang.Double",
    frozenset: "java.util.HashSet",
    int: "java.lang.Integer",
    list: "java.util.ArrayList",
    set: "java.util.HashSet",
    str: "java.lang.String",
    tuple: "[Ljava.lang.Object;",
}


def java_class_of(value: Any) -> str:
    """Return the Java class that a pickled value of this type becomes, as far as it has one."""
    return _JAVA_CLASSES.get(type(value), f"{type(value).__module__}.{type(value).__qualname__}")
