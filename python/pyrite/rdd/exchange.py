"""The writing side of a shuffle: pairs become frames that start with their target partition."""

import os
import struct
import sys
from bisect import bisect_left
from functools import partial
from itertools import islice, repeat
from operator import itemgetter, mod
from typing import Any, Callable, Dict, Iterable, Iterator, List, Sequence

from pyspark.errors import PySparkRuntimeError
from pyspark.serializers import Serializer

from pyrite.rdd.hashing import portable_hash, portable_hash_of_any
from pyrite.rdd.memory import get_used_memory
from pyrite.rdd.packing import dump_pairs

PARTITION_ID = struct.Struct(">I")
_MIB = 1 << 20
#: Pairs that are handled together; between such chunks the memory in use is looked at.
_CHUNK = 10_000
_CACHED_HASHES = 100_000
_first = itemgetter(0)

Targets = Callable[[Sequence[Any]], List[int]]


def identity(x: Any) -> Any:
    """Return `x`."""
    return x


class RangeBounds:
    """Partition function of a sort: the range between two bounds that a key falls into."""

    def __init__(self, bounds: Sequence[Any], key: Callable[[Any], Any], ascending: bool):
        self.bounds = list(bounds)
        self.key = key
        self.ascending = ascending

    def __call__(self, k: Any) -> int:
        position = bisect_left(self.bounds, self.key(k))
        return position if self.ascending else len(self.bounds) - position

    def hashes(self, keys: Sequence[Any]) -> Iterable[int]:
        """Return what a call would give for each of the keys."""
        compared = keys if self.key is identity else map(self.key, keys)
        positions = map(partial(bisect_left, self.bounds), compared)
        return positions if self.ascending else map(len(self.bounds).__sub__, positions)


class PortableHashes:
    """Applies :func:`portable_hash` to many keys at once."""

    def __init__(self) -> None:
        if "PYTHONHASHSEED" not in os.environ:
            raise PySparkRuntimeError(errorClass="PYTHON_HASH_SEED_NOT_SET", messageParameters={})
        self._known: Dict[Any, int] = {}

    def hashes(self, keys: Sequence[Any]) -> Iterable[int]:
        """Return the hash of each of the keys."""
        # Only tuples and None are not hashed by `hash`, and few RDDs have several types of keys.
        if any(kind is type(None) or issubclass(kind, tuple) for kind in set(map(type, keys))):
            return map(self._hash, keys)
        return map(hash, keys)

    def _hash(self, key: Any) -> int:
        # Mixing a tuple takes far longer than finding it; equal keys have to have equal hashes.
        known = self._known
        hashed = known.get(key)
        if hashed is None:
            if len(known) >= _CACHED_HASHES:
                known.clear()
            hashed = known[key] = portable_hash_of_any(key)
        return hashed


def targets_of(partition_of: Callable[[Any], int], partitions: int) -> Targets:
    """Return a function that finds the target partitions of many keys at once."""
    if partition_of is portable_hash:
        hashes: Callable[[Sequence[Any]], Iterable[int]] = PortableHashes().hashes
    elif isinstance(partition_of, RangeBounds):
        hashes = partition_of.hashes
    else:
        hashes = partial(map, partition_of)

    def targets(keys: Sequence[Any]) -> List[int]:
        found = list(map(mod, hashes(keys), repeat(partitions)))
        if len(found) != len(keys):
            # A StopIteration has ended `map`; a generator, as Spark has it here, turns it into this.
            raise RuntimeError("generator raised StopIteration")
        return found

    return targets


class FrameWriter:
    """Gathers pairs by target partition and turns them into frames.

    The size of a batch adapts itself so that frames stay between 1 and 10 MiB on average, as in
    Spark.
    """

    def __init__(self, partitions: int, memory_mib: float, serializer: Serializer, tag: bytes = b""):
        self._buckets: List[List[Any]] = [[] for _ in range(partitions)]
        self._limit_mib = memory_mib / 2
        self._serializer = serializer
        self._tag = tag
        self._batch = float(min(10 * partitions, 1000))
        self._gathered = 0

    def room(self) -> int:
        """Return how many pairs to add next."""
        return max(1, min(_CHUNK, int(self._batch) + 1 - self._gathered))

    def add(self, pairs: List[Any], targets: Iterable[int]) -> Iterator[bytes]:
        """Take pairs; yield frames when there are enough or memory is short."""
        buckets = self._buckets
        for target, pair in zip(targets, pairs):
            buckets[target].append(pair)
        yield from self._flush_if_full(len(pairs))

    def add_all(self, pairs: List[Any], target: int) -> Iterator[bytes]:
        """Take pairs that have the same target."""
        self._buckets[target] += pairs
        yield from self._flush_if_full(len(pairs))

    def _flush_if_full(self, added: int) -> Iterator[bytes]:
        self._gathered += added
        if self._gathered <= self._batch and get_used_memory() <= self._limit_mib:
            return
        frames, size_bytes = 0, 0
        for frame in self.drain():
            frames += 1
            size_bytes += len(frame)
            yield frame
        average_mib = size_bytes / frames / _MIB
        if average_mib < 1:
            # Far below the aim, steeply: each frame costs its reader something.
            self._batch = min(float(sys.maxsize), self._batch * (4 if average_mib < 0.1 else 1.5))
        elif average_mib > 10:
            self._batch = max(self._batch / 1.5, 1.0)

    def drain(self) -> Iterator[bytes]:
        """Yield a frame for each target that has pairs."""
        self._gathered = 0
        for target, pairs in enumerate(self._buckets):
            if pairs:
                self._buckets[target] = []
                yield PARTITION_ID.pack(target) + self._tag + dump_pairs(self._serializer, pairs)


def as_pairs(elements: List[Any]) -> List[Any]:
    """Return elements that are to be pairs as tuples of two.

    Raises
    ------
    TypeError, ValueError
        If one of them cannot be unpacked into two.
    """
    if set(map(type, elements)) <= {tuple} and set(map(len, elements)) <= {2}:
        return elements
    return [(key, value) for key, value in elements]


def shuffle_frames(
    partition_of: Callable[[Any], int],
    partitions: int,
    memory_mib: float,
    serializer: Serializer,
    split: int,
    iterator: Iterable[Any],
) -> Iterator[bytes]:
    """Gather pairs by target partition and yield frames that start with its number."""
    targets = targets_of(partition_of, partitions)
    writer = FrameWriter(partitions, memory_mib, serializer)
    elements = iter(iterator)
    while chunk := list(islice(elements, writer.room())):
        pairs = as_pairs(chunk)
        yield from writer.add(pairs, targets(list(map(_first, pairs))))
    yield from writer.drain()
