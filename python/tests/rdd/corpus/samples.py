"""Samples: the same seed gives the same elements."""

from __future__ import annotations

from corpus import case, failure, fruits


@case
def samples_without_replacement(sc):
    rdd = sc.parallelize(range(50), 3)
    return [
        rdd.sample(False, f, s).collect() for f, s in [(0.1, 1), (0.5, 42), (0.0, 3), (1.0, 3), (0.3, 2**40), (0.2, -5)]
    ]


@case
def samples_with_replacement(sc):
    rdd = sc.parallelize(range(30), 3)
    return [rdd.sample(True, f, s).collect() for f, s in [(0.1, 1), (1.0, 42), (0.0, 3), (2.5, 7), (0.5, 123456789)]]


@case
def samples_by_partition(sc):
    return [sc.parallelize(range(40), n).sample(False, 0.3, 11).glom().collect() for n in (1, 2, 5)]


@case
def samples_repeat(sc):
    rdd = sc.parallelize(range(100), 4)
    once, unseeded = rdd.sample(False, 0.3, 5), rdd.sample(False, 0.5)
    return [
        once.collect() == once.collect(),
        rdd.sample(False, 0.3, 5).count(),
        unseeded.collect() == unseeded.collect(),
        once.sample(False, 0.5, 6).collect(),
    ]


@case
def samples_of_filtered(sc):
    rdd = sc.parallelize(range(100), 4).filter(lambda x: x % 3 == 0)
    return [
        rdd.sample(False, 0.3, 9).collect(),
        rdd.map(str).sample(True, 0.2, 9).collect(),
        rdd.sample(False, 0.5, 9).sum(),
        rdd.union(rdd).sample(False, 0.1, 4).collect(),
    ]


@case
def wrong_samples(sc):
    rdd = sc.parallelize(range(5), 2)
    return [
        failure(lambda: rdd.sample(False, -0.1)),
        failure(lambda: rdd.takeSample(False, -1)),
        failure(lambda: rdd.takeSample(False, 2**63)),
        failure(lambda: rdd.randomSplit([-1, 2])),
        failure(lambda: rdd.randomSplit([0, 0])),
        failure(lambda: fruits(sc).sampleByKey(False, {"apple": -1.0})),
        failure(lambda: rdd.randomSplit([])),
    ]


@case
def exact_samples(sc):
    rdd = sc.parallelize(range(100), 5)
    return [
        rdd.takeSample(r, n, s)
        for r, n, s in [(False, 10, 1), (False, 1, 2), (True, 10, 1), (True, 150, 3), (False, 99, 4), (False, 0, 5)]
    ]


@case
def exact_samples_of_everything(sc):
    rdd = sc.parallelize(range(10), 3)
    return [
        rdd.takeSample(False, 10, 1),
        rdd.takeSample(False, 50, 2),
        rdd.takeSample(True, 10, 2),
        sc.emptyRDD().takeSample(False, 3, 1),
        sc.parallelize([], 2).takeSample(True, 3, 1),
    ]


@case
def exact_samples_of_few(sc):
    return [
        sc.parallelize([7], 1).takeSample(True, 4, 1),
        sc.parallelize([7, 8], 4).takeSample(False, 1, 9),
        sc.parallelize("abc", 2).takeSample(False, 2, 3),
    ]


@case
def random_splits(sc):
    rdd = sc.parallelize(range(60), 4)
    return [
        [part.collect() for part in rdd.randomSplit(w, s)]
        for w, s in [([1, 1], 1), ([0.2, 0.3, 0.5], 42), ([1], 3), ([0, 1], 4), ([3, 1, 0], 5)]
    ]


@case
def random_splits_cover_everything(sc):
    rdd = sc.parallelize(range(200), 3)
    parts = rdd.randomSplit([2.0, 3.0, 5.0])
    return [
        sorted(x for part in parts for x in part.collect()) == list(range(200)),
        len(parts),
        [p.getNumPartitions() for p in parts],
    ]


@case
def samples_by_key(sc):
    rdd = sc.parallelize([(k, i) for i in range(30) for k in "ab"], 3)
    return [
        rdd.sampleByKey(r, f, s).collect()
        for r, f, s in [(False, {"a": 0.2, "b": 0.6}, 2), (True, {"a": 0.2, "b": 1.0}, 3), (False, {"a": 0, "b": 1}, 4)]
    ]


@case
def samples_keep_the_partitioner(sc):
    rdd = sc.parallelize([(i, i) for i in range(10)], 2).partitionBy(3)
    return [
        rdd.sample(False, 0.5, 1).partitioner == rdd.partitioner,
        rdd.randomSplit([1, 1], 1)[0].partitioner == rdd.partitioner,
        rdd.sampleByKey(False, {i: 1.0 for i in range(10)}, 1).count(),
    ]


@case
def large_samples(sc):
    rdd = sc.parallelize(range(20000), 4)
    return [
        rdd.sample(False, 0.01, 17).collect()[:40],
        rdd.sample(False, 0.5, 17).count(),
        rdd.sample(True, 0.5, 17).count(),
        rdd.takeSample(False, 20, 17),
        rdd.takeSample(True, 20, 18),
    ]


@case
def random_numbers_of_the_user(sc):
    import random

    def draw(split, it):
        numbers = random.Random(split)
        return ((x, numbers.randint(0, 99)) for x in it)

    return sc.parallelize(range(8), 3).mapPartitionsWithIndex(draw).collect()
