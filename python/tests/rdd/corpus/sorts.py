"""Sorting: order, ranges, layout."""

from __future__ import annotations

import operator

from corpus import Arriving, case, failure, worker_failure


def scattered(sc, n=100, slices=4):
    return sc.parallelize([(i * 37) % n for i in range(n)], slices)


@case
def sorts_upwards(sc):
    rdd = scattered(sc)
    return [
        rdd.sortBy(lambda x: x).glom().collect(),
        rdd.sortBy(lambda x: x, numPartitions=3).glom().map(len).collect(),
        rdd.sortBy(lambda x: x, numPartitions=1).collect(),
        rdd.sortBy(lambda x: x, True, 7).glom().map(len).collect(),
    ]


@case
def sorts_downwards(sc):
    rdd = scattered(sc)
    return [
        rdd.sortBy(lambda x: x, False).glom().collect(),
        rdd.sortBy(lambda x: x, ascending=False, numPartitions=3).glom().map(len).collect(),
        rdd.sortBy(lambda x: -x).glom().map(len).collect(),
        rdd.sortBy(lambda x: x, False, 1).take(3),
    ]


@case
def sorts_of_pairs(sc):
    rdd = sc.parallelize([("b", 2), ("a", 1), ("d", 4), ("c", 3), ("é", 5), ("", 6), ("B", 7)], 3)
    return [
        rdd.sortByKey().glom().collect(),
        rdd.sortByKey(False).glom().collect(),
        rdd.sortByKey(True, 2).glom().collect(),
        rdd.sortByKey(keyfunc=str.lower, numPartitions=1).collect(),
        Arriving(rdd.sortByKey(False, 4, str.lower).glom().collect()),
        rdd.sortByKey(True, 3, lambda k: k[::-1]).glom().collect(),
        worker_failure(lambda: rdd.sortByKey(False, 4, len).collect())[0],
    ]


@case
def sorts_are_stable_in_a_partition(sc):
    rdd = sc.parallelize([(i % 3, i) for i in range(12)], 1)
    return [
        rdd.sortByKey().glom().collect(),
        rdd.sortByKey(False).collect(),
        rdd.sortByKey(True, 1).collect(),
        rdd.sortByKey(False, 1).collect(),
        rdd.sortBy(lambda kv: kv[0]).collect(),
        rdd.sortBy(lambda kv: kv[0], False).collect(),
    ]


@case
def sorts_of_equal_keys(sc):
    rdd = sc.parallelize([(i % 2, i) for i in range(20)], 4)
    return [
        Arriving(rdd.sortByKey().glom().collect()),
        Arriving(rdd.sortByKey(False, 3).glom().collect()),
        Arriving(rdd.sortBy(lambda kv: 0).glom().collect()),
    ]


@case
def sorts_with_few_keys(sc):
    rdd = sc.parallelize([i % 3 for i in range(90)], 5)
    return [
        rdd.sortBy(lambda x: x).glom().map(len).collect(),
        rdd.sortBy(lambda x: x, numPartitions=10).glom().map(len).collect(),
        rdd.sortBy(lambda x: x, False, 10).glom().map(len).collect(),
        rdd.sortBy(lambda x: x == 1).collect() == sorted((i % 3 for i in range(90)), key=lambda x: x == 1) and 1,
    ]


@case
def sorts_of_nothing(sc):
    none = sc.parallelize([], 3)
    return [
        none.sortBy(lambda x: x).getNumPartitions(),
        none.sortBy(lambda x: x).collect(),
        none.sortByKey(numPartitions=5).getNumPartitions(),
        none.sortByKey(numPartitions=1).glom().collect(),
        sc.emptyRDD().sortByKey().collect(),
        sc.parallelize([1], 4).sortBy(lambda x: x).glom().collect(),
    ]


@case
def sorts_by_several_keys(sc):
    rdd = sc.parallelize([("b", 1), ("a", 2), ("b", 0), ("a", 1), ("c", 0)], 2)
    return [
        rdd.sortBy(lambda kv: (kv[0], -kv[1])).collect(),
        rdd.sortBy(lambda kv: (kv[1], kv[0]), False).collect(),
        rdd.sortBy(operator.itemgetter(1, 0), numPartitions=3).glom().collect(),
    ]


@case
def sorts_of_other_types(sc):
    import datetime
    import decimal

    days = sc.parallelize([datetime.date(2024, m, 1) for m in (5, 1, 9, 3)], 2)
    return [
        days.sortBy(lambda d: d).collect(),
        sc.parallelize([b"b", b"a", b""], 2).sortBy(lambda b: b).collect(),
        sc.parallelize([decimal.Decimal("1.5"), decimal.Decimal("0.5"), 1], 2).sortBy(lambda d: d).collect(),
        sc.parallelize([[2], [1, 5], []], 2).sortBy(lambda x: x).collect(),
        sc.parallelize([True, False, 2, -1], 2).sortBy(lambda x: x).collect(),
        sc.parallelize([0.5, float("-inf"), float("inf"), -3], 2).sortBy(lambda x: x).collect(),
    ]


@case
def sorts_that_cannot_be(sc):
    mixed = sc.parallelize([1, "a"], 1)
    return [
        worker_failure(lambda: mixed.sortBy(lambda x: x).collect())[0],
        worker_failure(lambda: mixed.sortBy(lambda x: x, numPartitions=1).collect())[0],
        worker_failure(lambda: sc.parallelize([(1, None), (None, 2)], 1).sortByKey(True, 1).collect())[0],
        worker_failure(lambda: mixed.takeOrdered(2))[0],
        failure(lambda: sc.parallelize([(1, None), (None, 2)], 2).sortByKey()),
    ]


@case
def sorts_after_sorts(sc):
    rdd = sc.parallelize([(i * 7 % 30, i) for i in range(30)], 3)
    return [
        rdd.sortByKey().map(lambda kv: (kv[1], kv[0])).sortByKey(False).take(4),
        rdd.sortByKey().filter(lambda kv: kv[0] % 2).glom().map(len).collect(),
        rdd.sortByKey().zipWithIndex().filter(lambda p: p[0][0] != p[1]).count(),
        rdd.reduceByKey(max).sortByKey().take(3),
        rdd.sortByKey().sortByKey(False).keys().take(3),
    ]


@case
def larger_sorts(sc):
    rdd = sc.parallelize([(i * 7919) % 10007 for i in range(10007)], 4)
    return [
        rdd.sortBy(lambda x: x).glom().map(lambda p: (len(p), p[0], p[-1])).collect(),
        rdd.sortBy(lambda x: x, False, 6).glom().map(lambda p: (len(p), p[0], p[-1])).collect(),
        rdd.sortBy(lambda x: x % 10, numPartitions=5).glom().map(len).collect(),
    ]


@case
def sorts_within_partitions(sc):
    rdd = sc.parallelize([(i * 7 % 20, i) for i in range(20)], 3)
    return [
        rdd.repartitionAndSortWithinPartitions(3).glom().collect(),
        rdd.repartitionAndSortWithinPartitions(2, lambda k: k // 10, False).glom().collect(),
        rdd.repartitionAndSortWithinPartitions(numPartitions=2, keyfunc=lambda k: -k).glom().collect(),
        rdd.repartitionAndSortWithinPartitions().getNumPartitions(),
        rdd.repartitionAndSortWithinPartitions(4, lambda k: 1, True, str).keys().glom().collect(),
    ]


@case
def largest_and_smallest(sc):
    rdd = sc.parallelize([5, 1, 4, 1, 5, 9, 2, 6], 3)
    return [
        rdd.top(3),
        rdd.top(0),
        rdd.top(100),
        rdd.takeOrdered(3),
        rdd.takeOrdered(0),
        rdd.takeOrdered(100),
        rdd.top(2, key=lambda x: -x),
        rdd.takeOrdered(3, lambda x: (x % 2, x)),
        sc.parallelize("bca", 2).top(2),
        sc.parallelize([(1, "b"), (1, "a")], 2).takeOrdered(1),
        failure(lambda: rdd.takeOrdered(-1)),
        failure(lambda: sc.parallelize([], 2).top(1)),
        sc.emptyRDD().takeOrdered(2),
        failure(lambda: sc.emptyRDD().top(1)),
    ]


@case
def ties_of_largest(sc):
    rdd = sc.parallelize([("a", 1), ("b", 1), ("c", 1), ("d", 0)], 2)
    return [
        rdd.top(2, key=lambda kv: kv[1]),
        rdd.takeOrdered(2, key=lambda kv: kv[1]),
        rdd.takeOrdered(3, key=lambda kv: -kv[1]),
        rdd.max(lambda kv: kv[1]),
        rdd.min(lambda kv: -kv[1]),
    ]


@case
def sorts_run_a_job(sc):
    runs = sc.accumulator(0)

    def seen(x):
        runs.add(1)
        return x

    rdd = sc.parallelize(range(10), 2).map(seen)
    counts = []
    for n in (1, 2):
        rdd.sortBy(lambda x: x, numPartitions=n)
        counts.append(runs.value)
    return counts
