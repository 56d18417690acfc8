"""Lines of text files with their offsets, and pairs as lines."""

import math
import re
from typing import Any, BinaryIO, Callable, Iterator, Optional, Tuple

from pyrite.hadoop.codecs import codec_for_file
from pyrite.hadoop.splits import FileSplit

_CHUNK_BYTES = 1 << 16
_LINE_END = re.compile(rb"\r\n|\n|\r")


def is_splittable(path: str) -> bool:
    """Tell whether lines can be read from the middle of a file."""
    return codec_for_file(path) is None


def lines_of(split: FileSplit, delimiter: Optional[bytes] = None) -> Iterator[Tuple[int, str]]:
    """Yield the offset and text of every line that starts in a part of a file.

    A line that starts exactly at the end of a part belongs to it, as in Hadoop; the next part skips
    what comes before its first line end.

    Parameters
    ----------
    delimiter
        What ends a line; by default line feed, carriage return, or both.
    """
    codec = codec_for_file(split.path)
    with open(split.path, "rb") as file:
        if codec is not None:
            pieces = _decompress(file, codec.decompressor)
            start, end = 0, math.inf
        else:
            file.seek(split.start)
            pieces = iter(lambda: file.read(_CHUNK_BYTES), b"")
            start, end = split.start, float(split.end)
        lines = _split(pieces, start, _LINE_END if delimiter is None else re.compile(re.escape(delimiter)))
        if start > 0:
            next(lines, None)
        for offset, line in lines:
            if offset > end:
                return
            yield offset, line.decode("utf-8", "replace")


def _decompress(file: BinaryIO, new_stream: Callable[[], Any]) -> Iterator[bytes]:
    stream = new_stream()
    while chunk := file.read(_CHUNK_BYTES):
        while chunk:
            if stream.eof:
                stream = new_stream()
            yield stream.decompress(chunk)
            chunk = stream.unused_data
    if not stream.eof:
        raise EOFError(f"{file.name} ends within compressed data")


def _split(pieces: Iterator[bytes], offset: int, line_end: "re.Pattern[bytes]") -> Iterator[Tuple[int, bytes]]:
    """Yield lines without their ends, and where they start."""
    rest = b""
    for piece in pieces:
        # A delimiter may lie across two pieces, so one that touches the end has to wait.
        window, begin = rest + piece, 0
        for match in line_end.finditer(window):
            if match.end() == len(window):
                break
            yield offset + begin, window[begin : match.start()]
            begin = match.end()
        rest = window[begin:]
        offset += begin
    begin = 0
    for match in line_end.finditer(rest):
        yield offset + begin, rest[begin : match.start()]
        begin = match.end()
    if begin < len(rest):
        yield offset + begin, rest[begin:]


def java_text(value: object) -> str:
    """Return a value as Java prints its Writable."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return java_double(value)
    if isinstance(value, (bytes, bytearray)):
        return " ".join(f"{byte:02x}" for byte in value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{java_text(k)}={java_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, tuple):
        inner = ", ".join(map(java_text, value))
        return f"ArrayWritable [valueClass=interface org.apache.hadoop.io.Writable, values=[{inner}]]"
    return "(null)" if value is None else str(value)


def java_double(value: float) -> str:
    """Return a number as Java's ``Double.toString`` does."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        text = f"{value!r}"
        if "e" not in text:
            return text
        return f"{value:f}"
    mantissa, _, exponent = f"{value!r}".partition("e")
    if exponent:
        return f"{mantissa if '.' in mantissa else mantissa + '.0'}E{int(exponent)}"
    sign, digits = ("-", mantissa[1:]) if mantissa.startswith("-") else ("", mantissa)
    whole, _, fraction = digits.partition(".")
    if whole.strip("0"):
        figures, power = (whole + fraction).rstrip("0"), len(whole) - 1
    else:
        figures = fraction.lstrip("0")
        power = -(len(fraction) - len(figures)) - 1
        figures = figures.rstrip("0")
    return f"{sign}{figures[0]}.{figures[1:] or '0'}E{power}"
