"""Approximate actions: sums and means with bounds, and the number of distinct elements."""

import math
from typing import Any, Iterable, Iterator

from pyspark.statcounter import StatCounter

from pyrite.rdd.hashing import portable_hash

_MASK = 0xFFFFFFFFFFFFFFFF
_MULTIPLIER = 0xC6A4A7935BD1E995
_SEED = 0xE17A1465
_LEAST_PRECISION = 4
# Up to these estimates, by precision from 4 on, HyperLogLog++ counts empty registers instead; from
# the paper of Heule, Nunkesser and Hall.
_LINEAR_COUNTING = (10, 20, 40, 80, 220, 400, 900, 1800, 3100, 6500, 11500, 20000, 50000, 120000, 350000)


def sum_of(split: int, iterator: Iterable[Any]) -> Iterator[float]:
    """Yield the sum of a partition."""
    yield float(sum(iterator))


def statistics_of(split: int, iterator: Iterable[Any]) -> Iterator[StatCounter]:
    """Yield count, mean and so on of a partition's elements as floating point numbers."""
    yield StatCounter(map(float, iterator))


def precision_of(relative_sd: float) -> int:
    """Return how many bits choose a register for a relative standard deviation.

    Raises
    ------
    ValueError
        If that needs more registers than there can be.
    """
    if relative_sd < 0.000017:
        raise ValueError("relativeSD should be greater than 0.000017")
    return max(_LEAST_PRECISION, math.ceil(2.0 * math.log(1.054 / relative_sd) / math.log(2)))


def _hash64(data: bytes) -> int:
    """MurmurHash64A of some bytes, with the seed of the library that Spark counts with."""
    h = _SEED ^ (len(data) * _MULTIPLIER & _MASK)
    whole = len(data) & ~7
    for start in range(0, whole, 8):
        k = int.from_bytes(data[start : start + 8], "little") * _MULTIPLIER & _MASK
        k = (k ^ (k >> 47)) * _MULTIPLIER & _MASK
        h = (h ^ k) * _MULTIPLIER & _MASK
    if whole < len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * _MULTIPLIER & _MASK
    h = (h ^ (h >> 47)) * _MULTIPLIER & _MASK
    return h ^ (h >> 47)


def registers_of(precision: int, split: int, iterator: Iterable[Any]) -> Iterator[bytes]:
    """Yield the HyperLogLog registers of a partition."""
    registers = bytearray(1 << precision)
    kept_bits = 64 - precision
    guard, mask = 1 << (precision - 1), (1 << kept_bits) - 1
    # Spark's JVM sees hashes of 32 bits and hashes their digits.
    for number in {portable_hash(element) & 0xFFFFFFFF for element in iterator}:
        hashed = _hash64(b"%d" % number)
        rank = 65 - ((hashed & mask) << precision | guard).bit_length()
        index = hashed >> kept_bits
        if registers[index] < rank:
            registers[index] = rank
    yield bytes(registers)


def merge_registers(parts: Iterable[bytes], precision: int) -> bytes:
    """Return the registers of all elements together."""
    merged = bytes(1 << precision)
    for part in parts:
        merged = bytes(map(max, merged, part))
    return merged


def cardinality(registers: bytes, precision: int) -> int:
    """Estimate the number of distinct elements.

    Small and large numbers are estimated as HyperLogLog++ does. Between them it corrects its
    estimate with measured tables; here the estimator of Ertl (2017) serves, which has no bias to
    correct.
    """
    size = len(registers)
    empty = registers.count(0)
    linear = size * math.log(size / empty) if empty else math.inf
    raw = _alpha(size) * size * size / sum(2.0**-rank for rank in registers)
    within_tables = precision - _LEAST_PRECISION < len(_LINEAR_COUNTING)
    if within_tables and linear <= _LINEAR_COUNTING[precision - _LEAST_PRECISION]:
        return math.floor(linear + 0.5)
    if raw > 5 * size:
        return math.floor(raw + 0.5)
    if not within_tables and empty:
        return math.floor(linear + 0.5)
    return math.floor(_unbiased(registers, precision) + 0.5)


def _alpha(size: int) -> float:
    known = {16: 0.673, 32: 0.697, 64: 0.709}
    return known.get(size, 0.7213 / (1 + 1.079 / size))


def _unbiased(registers: bytes, precision: int) -> float:
    """Ertl's estimator, from how often each rank occurs."""
    size, highest = len(registers), 64 - precision
    counts = [registers.count(rank) for rank in range(highest + 2)]
    z = size * _tau(1 - counts[highest + 1] / size)
    for rank in range(highest, 0, -1):
        z = 0.5 * (z + counts[rank])
    z += size * _sigma(counts[0] / size)
    return size * size / (2 * math.log(2) * z)


def _sigma(x: float) -> float:
    if x == 1:
        return math.inf
    y, z, last = 1.0, x, -1.0
    while z != last:
        x *= x
        last = z
        z += x * y
        y += y
    return z


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    y, z, last = 1.0, 1 - x, -1.0
    while z != last:
        x = math.sqrt(x)
        last = z
        y *= 0.5
        z -= (1 - x) ** 2 * y
    return z / 3
