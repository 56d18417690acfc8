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
