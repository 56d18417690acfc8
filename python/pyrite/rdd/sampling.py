"""Random samples, with the random numbers that PySpark's samplers draw."""

from itertools import compress, islice, repeat, starmap
from operator import gt, itemgetter
from typing import Any, Iterable, Iterator, List, Tuple

from pyspark.rddsampler import RDDSampler

_first = itemgetter(0)
_FIRST_CHUNK = 1000
_CHUNK = 10_000


def _numbers(seed: int, split: int) -> Any:
    sampler = RDDSampler(False, 1.0, seed)
    sampler.initRandomGenerator(split)
    assert sampler._random is not None
    return sampler._random.random


def sample_elements(fraction: float, seed: int, split: int, iterator: Iterable[Any]) -> Iterator[Any]:
    """Keep about that share of the elements, those that :class:`RDDSampler` keeps."""
    drawn = starmap(_numbers(seed, split), repeat(()))
    return compress(iterator, map(gt, repeat(fraction), drawn))


def count_and_sample_keys(
    most: float, seed: int, split: int, iterator: Iterable[Any]
) -> Iterator[Tuple[int, List[Tuple[float, Any]]]]:
    """Count pairs and keep the keys that may be in a sample of about `most` keys of all partitions.

    The share that such a sample takes is known only when all are counted, but it never exceeds
    `most` over what has been counted so far. So a key comes with its random number, for the caller
    to compare with the share, and few of them are kept in vain.
    """
    draw = _numbers(seed, split)
    counted, size = 0, _FIRST_CHUNK
    kept: List[Tuple[float, Any]] = []
    elements = iter(iterator)
    while chunk := list(islice(elements, size)):
        numbers = list(starmap(draw, repeat((), len(chunk))))
        share = most / max(counted, 1)
        kept += compress(zip(numbers, map(_first, chunk)), map(gt, repeat(share), numbers))
        counted += len(chunk)
        size = min(size * 2, _CHUNK)
    share = most / max(counted, 1)
    yield counted, [pair for pair in kept if pair[0] < share]
