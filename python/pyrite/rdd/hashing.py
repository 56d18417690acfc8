"""Hashes and random numbers that have to agree with Spark's, bit by bit."""

import os
import sys
from typing import Any, Callable, Hashable, Iterator

from pyspark.errors import PySparkRuntimeError

_MASK_32 = 0xFFFFFFFF
_MASK_64 = 0xFFFFFFFFFFFFFFFF


def portable_hash(x: Hashable) -> int:
    """Hash a key to the same number in every Python process.

    Tuples and None are mixed as CPython 2.7 did it, other values go to :func:`hash`; text therefore
    needs a fixed ``PYTHONHASHSEED``, which Python workers always have.

    Examples
    --------
    >>> os.environ["PYTHONHASHSEED"] = "0"
    >>> portable_hash(None)
    0
    >>> portable_hash((None, 1)) & 0xffffffff
    219750521
    """
    if "PYTHONHASHSEED" not in os.environ:
        raise PySparkRuntimeError(errorClass="PYTHON_HASH_SEED_NOT_SET", messageParameters={})
    return portable_hash_of_any(x)


def portable_hash_of_any(x: Hashable) -> int:
    """Hash as :func:`portable_hash` does, where the hash seed is known to be fixed."""
    if x is None:
        return 0
    if not isinstance(x, tuple):
        return hash(x)
    mixed = 0x345678
    for item in x:
        mixed = ((mixed ^ portable_hash_of_any(item)) * 1000003) & sys.maxsize
    mixed ^= len(x)
    return -2 if mixed == -1 else mixed


class Partitioner:
    """Maps a key to the number of its partition."""

    def __init__(self, numPartitions: int, partitionFunc: Callable[[Any], int]):
        self.numPartitions = numPartitions
        self.partitionFunc = partitionFunc

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Partitioner)
            and self.numPartitions == other.numPartitions
            and self.partitionFunc == other.partitionFunc
        )

    def __hash__(self) -> int:
        return hash((self.numPartitions, self.partitionFunc))

    def __call__(self, k: Any) -> int:
        """Return the partition of key `k`."""
        return self.partitionFunc(k) % self.numPartitions


def _rotate(x: int, bits: int) -> int:
    return ((x << bits) | (x >> (32 - bits))) & _MASK_32


def _murmur3_of_long(value: int, seed: int) -> int:
    """MurmurHash3 (32 bits) of the eight big-endian bytes of `value`, as Scala computes it."""
    data = (value & _MASK_64).to_bytes(8, "big")
    h = seed
    for word in (data[:4], data[4:]):
        k = int.from_bytes(word, "little")
        k = (k * 0xCC9E2D51) & _MASK_32
        k = (_rotate(k, 15) * 0x1B873593) & _MASK_32
        h = (_rotate(h ^ k, 13) * 5 + 0xE6546B64) & _MASK_32
    h ^= 8
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) & _MASK_32
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) & _MASK_32
    return h ^ (h >> 16)


def _random_words(seed: int) -> Iterator[int]:
    """Yield 31-bit numbers as Spark's XORShiftRandom does for `seed`."""
    low = _murmur3_of_long(seed, 0x3C074A61)
    state = (_murmur3_of_long(seed, low) << 32) | low
    while True:
        state ^= (state << 21) & _MASK_64
        state ^= state >> 35
        state ^= (state << 4) & _MASK_64
        yield state & 0x7FFFFFFF


def first_position(partition: int, bound: int) -> int:
    """Return where Spark starts to deal out the batches of `partition` in a repartition.

    Spark's ``RDD.coalesce(shuffle=True)`` draws ``XORShiftRandom(partition).nextInt(bound)``.
    """
    words = _random_words(partition)
    if bound & (bound - 1) == 0:
        return (bound * next(words)) >> 31
    for word in words:
        position = word % bound
        if word - position + (bound - 1) <= 0x7FFFFFFF:
            return position
    raise AssertionError("the stream of random numbers has no end")
