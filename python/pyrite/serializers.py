"""Serialisers for frames that hold the frames of two RDDs (zip and cartesian product).

The engine pairs frames without looking into them: ``[uint32 length of left][left][right]``.
"""

import io
import pickle
import struct
from itertools import chain, product
from typing import Any, BinaryIO, Iterator, List, Tuple

from pyspark.serializers import NoOpSerializer, Serializer, SpecialLengths, read_int

_LENGTH = struct.Struct(">I")


class PairedFrames(Serializer):
    """Reads frames that carry one frame of each of two RDDs.

    Only for reading: what Python writes is never paired.
    """

    def __init__(self, left: Serializer, right: Serializer):
        self.left = left
        self.right = right

    def _pairs(self, stream: BinaryIO) -> Iterator[Tuple[List[Any], List[Any]]]:
        while True:
            try:
                length = read_int(stream)
            except EOFError:
                return
            if length == SpecialLengths.END_OF_DATA_SECTION:
                return
            frame = stream.read(length)
            (left_length,) = _LENGTH.unpack_from(frame)
            split = _LENGTH.size + left_length
            yield (
                _load_frame(self.left, frame[_LENGTH.size : split]),
                _load_frame(self.right, frame[split:]),
            )

    def _combine(self, left: List[Any], right: List[Any]) -> Any:
        raise NotImplementedError

    def _load_stream_without_unbatching(self, stream: BinaryIO) -> Iterator[Any]:
        for left, right in self._pairs(stream):
            yield self._combine(left, right)

    def load_stream(self, stream: BinaryIO) -> Iterator[Any]:
        """Yield the pairs of elements."""
        return chain.from_iterable(self._load_stream_without_unbatching(stream))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.left!r}, {self.right!r})"


class ZippedFrames(PairedFrames):
    """Pairs the elements of both frames one by one."""

    def _combine(self, left: List[Any], right: List[Any]) -> Any:
        if len(left) != len(right):
            raise ValueError(
                f"Can not deserialize PairRDD with different number of items in batches: ({len(left)}, {len(right)})"
            )
        return list(zip(left, right))


class CartesianFrames(PairedFrames):
    """Pairs every element of the left frame with every element of the right one."""

    def _combine(self, left: List[Any], right: List[Any]) -> Any:
        return list(product(left, right))


def _load_frame(serializer: Serializer, payload: bytes) -> List[Any]:
    framed = io.BytesIO(_LENGTH.pack(len(payload)) + payload)
    return list(serializer.load_stream(framed))


class _ArrayAsList:
    """Pickles as a call of ``list`` on an array: one buffer instead of an object for each element."""

    def __init__(self, array: Any):
        self.array = array

    def __reduce__(self) -> Any:
        return list, (self.array,)


def payloads_of_array(array: Any, batch: int) -> List[bytes]:
    """Serialise the elements of a NumPy array; they arrive as the NumPy scalars that they are here."""
    return [
        pickle.dumps(_ArrayAsList(array[start : start + batch]), pickle.HIGHEST_PROTOCOL)
        for start in range(0, len(array), batch)
    ]


class FrameCollector(io.RawIOBase):
    """A stream to write framed data to that keeps each frame's payload."""

    def __init__(self) -> None:
        super().__init__()
        self._data = io.BytesIO()

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Any) -> int:
        """Take some bytes of the framed stream."""
        return self._data.write(data)

    def payloads(self) -> List[bytes]:
        """Return the payloads written so far, in order."""
        self._data.seek(0)
        return list(NoOpSerializer().load_stream(self._data))


def payloads_of(serializer: Serializer, elements: Any) -> List[bytes]:
    """Serialise `elements` and return the payload of every frame."""
    collector = FrameCollector()
    serializer.dump_stream(elements, collector)
    return collector.payloads()
