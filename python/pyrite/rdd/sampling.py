"""Random samples, with the random numbers that PySpark's samplers draw."""

from itertools import compress, repeat, starmap
from operator import gt
from typing import Any, Iterable, Iterator

from pyspark.rddsampler import RDDSampler


def _numbers(seed: int, split: int) -> Any:
    sampler = RDDSampler(False, 1.0, seed)
    sampler.initRandomGenerator(split)
    assert sampler._random is not None
    return sampler._random.random


def sample_elements(fraction: float, seed: int, split: int, iterator: Iterable[Any]) -> Iterator[Any]:
    """Keep about that share of the elements, those that :class:`RDDSampler` keeps."""
    drawn = starmap(_numbers(seed, split), repeat(()))
    return compress(iterator, map(gt, repeat(fraction), drawn))
