"""Samples are those that PySpark's samplers draw."""

from __future__ import annotations

import pytest
from pyspark.rddsampler import RDDSampler

from pyrite.rdd import sampling


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.5, 1.0])
@pytest.mark.parametrize("split", [0, 3])
def test_sample_is_that_of_pyspark(fraction, split):
    wanted = list(RDDSampler(False, fraction, 17).func(split, range(5000)))
    assert list(sampling.sample_elements(fraction, 17, split, iter(range(5000)))) == wanted


@pytest.mark.parametrize("sizes", [(5, 0, 7), (30_000, 100, 45_000), (0, 0), (1000, 1001)])
@pytest.mark.parametrize("most", [20.0, 60.0, 5000.0])
def test_keys_of_a_sample_are_among_those_that_are_kept(sizes, most):
    parts = [[(str(n), n) for n in range(size)] for size in sizes]
    found = [list(sampling.count_and_sample_keys(most, 1, split, iter(p)))[0] for split, p in enumerate(parts)]
    assert [counted for counted, _ in found] == list(sizes)
    fraction = min(most / max(sum(sizes), 1), 1.0)
    sampled = [key for _, kept in found for number, key in kept if number < fraction]
    wanted = [k for split, p in enumerate(parts) for k, _ in RDDSampler(False, fraction, 1).func(split, p)]
    assert sampled == wanted
    assert all(len(kept) <= max(2 * most, 100) or counted < 2 * most for counted, kept in found)
