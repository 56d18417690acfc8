"""Partitions: how many there are, what lies in which, and what is computed when."""

from __future__ import annotations

import itertools

from corpus import Arriving, case, condition, failure, said


@case
def slices_of_collections(sc):
    wanted = [([], 1), ([], 3), ([1], 4), ("abcdef", 4), ((1, 2, 3), 2), ({5: "a", 6: "b", 7: "c"}, 2)]
    return [sc.parallelize(values, n).glom().collect() for values, n in wanted]


@case
def slices_of_generators(sc):
    return [
        sc.parallelize((x * x for x in range(7)), 3).glom().collect(),
        sc.parallelize(iter("xyz"), 5).glom().collect(),
        sc.parallelize(map(str, range(4)), 2).glom().collect(),
        sc.parallelize(itertools.islice(itertools.count(5), 5), 2).glom().collect(),
        sc.parallelize(zip("ab", [1, 2]), 2).glom().collect(),
    ]


@case
def slices_of_ranges(sc):
    wanted = [(range(10, 0, -3), 3), (range(5, 5), 2), (range(1, 100, 17), 4), (range(2), 5), (range(-3, 4), 2)]
    return [sc.parallelize(values, n).glom().collect() for values, n in wanted]


@case
def slices_of_sets(sc):
    rdd = sc.parallelize({3, 1, 2}, 2)
    return [sorted(rdd.collect()), rdd.getNumPartitions(), sc.parallelize(frozenset([7]), 2).glom().collect()]


@case
def wrong_slices(sc):
    return [
        failure(lambda: sc.parallelize(5)),
        failure(lambda: sc.parallelize([1], 0)),
    ]


@case
def range_arguments(sc):
    return [
        sc.range(3).collect(),
        sc.range(2, 4).collect(),
        sc.range(0, 10, 3).collect(),
        sc.range(5, 0).collect(),
        sc.range(0, 10, 2, 4).glom().collect(),
        sc.range(5, -5, -4, 2).glom().collect(),
        sc.range(7).getNumPartitions(),
        failure(lambda: sc.range(0, 5, 0)),
        sc.range(10**12, 10**12 + 3, numSlices=2).collect(),
    ]


@case
def empty_rdds(sc):
    empty, none = sc.emptyRDD(), sc.parallelize([], 3)
    return [
        empty.collect(),
        empty.count(),
        empty.map(str).collect(),
        empty.glom().collect(),
        none.glom().collect(),
        none.map(str).count(),
        empty.union(none).getNumPartitions(),
        none.mapPartitions(lambda it: [len(list(it))]).collect(),
        none.zipWithIndex().collect(),
        none.distinct().getNumPartitions(),
        none.keyBy(str).groupByKey().collect(),
        none.coalesce(1).glom().collect(),
        none.repartition(2).glom().collect(),
        none.cartesian(none).getNumPartitions(),
    ]


@case
def default_numbers_of_partitions(sc):
    a, b = sc.parallelize([(1, 2)], 3), sc.parallelize([(1, 3)], 5)
    return [
        a.reduceByKey(max).getNumPartitions(),
        a.join(b).getNumPartitions(),
        b.join(a).getNumPartitions(),
        a.cogroup(b).getNumPartitions(),
        a.union(b).reduceByKey(max).getNumPartitions(),
        a.distinct().getNumPartitions(),
        a.subtractByKey(b).getNumPartitions(),
        a.intersection(b).getNumPartitions(),
        b.sortByKey().getNumPartitions(),
        a.groupWith(b, b).getNumPartitions(),
        a.partitionBy(7).reduceByKey(max).getNumPartitions(),
        a.cartesian(b).getNumPartitions(),
        a.repartition(9).map(str).getNumPartitions(),
        a.coalesce(8).getNumPartitions(),
    ]


@case
def coalesce_without_shuffle(sc):
    def layout(n, m):
        return sc.parallelize(range(n), n).coalesce(m).glom().collect()

    return [layout(n, m) for n, m in [(5, 2), (7, 3), (10, 4), (3, 3), (4, 1), (9, 5), (2, 6)]]


@case
def coalesce_keeps_order(sc):
    rdd = sc.parallelize(range(12), 6).map(lambda x: x * 10)
    return [rdd.coalesce(4).coalesce(2).glom().collect(), rdd.coalesce(3).map(lambda x: x + 1).glom().collect()]


@case
def coalesce_in_one_task(sc):
    from pyspark import TaskContext

    rdd = sc.parallelize(range(8), 8).mapPartitionsWithIndex(lambda i, it: [(i, TaskContext.get().partitionId())])
    return rdd.coalesce(3).collect()


@case
def coalesce_arguments(sc):
    rdd = sc.parallelize([1, 2], 2)
    return [
        failure(lambda: rdd.coalesce(0)),
        failure(lambda: rdd.coalesce(-1, True)),
        failure(lambda: rdd.repartition(0)),
    ]


@case
def repartition_layouts(sc):
    def layout(n, parts, target):
        return Arriving(sc.parallelize(range(n), parts).repartition(target).glom().collect())

    return [layout(*sizes) for sizes in [(10, 2, 3), (100, 2, 4), (7, 7, 2), (25, 1, 5), (1, 1, 3), (64, 4, 8)]]


@case
def repartition_of_large_batches(sc):
    sizes = sc.parallelize(range(5000), 3).map(lambda x: (x, "v")).repartition(7).glom().map(len).collect()
    return [sizes, sc.parallelize(range(5000), 3).coalesce(2, shuffle=True).glom().map(len).collect()]


@case
def union_layouts(sc):
    a, b = sc.parallelize([1, 2, 3], 2), sc.parallelize(["x"], 3)
    return [
        sc.union([a]).glom().collect(),
        sc.union([a, b, a]).glom().collect(),
        a.union(a).union(b).glom().collect(),
        (a + b + sc.emptyRDD()).glom().collect(),
        sc.union([a, b]).map(str).glom().collect(),
        failure(lambda: a + [1]),
        failure(lambda: sc.union([])),
    ]


@case
def union_of_different_serializers(sc):
    numbers = sc.parallelize([1, 2], 1)
    zipped = numbers.zip(numbers)
    pairs = numbers.cartesian(numbers)
    return [
        zipped.union(pairs).collect(),
        pairs.union(numbers.map(str)).glom().collect(),
        sc.union([zipped, zipped]).collect(),
    ]


@case
def unions_and_partitioners(sc):
    a, b = (sc.parallelize([(i, s) for i in range(6)], 2).partitionBy(3) for s in "ab")
    c = sc.parallelize([(i, "c") for i in range(6)], 2).partitionBy(4)
    same, other = a.union(b), a.union(c)
    return [
        same.getNumPartitions(),
        same.partitioner == a.partitioner,
        other.getNumPartitions(),
        other.partitioner,
        Arriving(same.glom().collect()),
        Arriving(other.glom().collect()),
        same.reduceByKey(max).getNumPartitions(),
        sc.union([a, b, a]).getNumPartitions(),
        a.union(b.map(lambda kv: kv)).getNumPartitions(),
    ]


@case
def partitioners_that_stay(sc):
    rdd = sc.parallelize([(i, i) for i in range(8)], 2).partitionBy(4)
    chains = {
        "mapValues": rdd.mapValues(str),
        "flatMapValues": rdd.flatMapValues(lambda v: [v]),
        "filter": rdd.filter(lambda kv: True),
        "map": rdd.map(lambda kv: kv),
        "kept": rdd.map(lambda kv: kv, preservesPartitioning=True),
        "mapPartitions": rdd.mapPartitions(lambda it: it),
        "kept partitions": rdd.mapPartitions(lambda it: it, True),
        "sample": rdd.sample(False, 0.5, 1),
        "glom": rdd.glom(),
        "keyBy": rdd.keyBy(str),
        "reduced": rdd.reduceByKey(max),
        "grouped": rdd.groupByKey(),
        "joined": rdd.join(rdd),
        "cached": rdd.cache(),
        "coalesced": rdd.coalesce(2),
        "zipped": rdd.zip(rdd),
        "sorted": rdd.sortByKey(),
        "distinct": rdd.distinct(),
        "subtracted": rdd.subtractByKey(rdd),
        "union": rdd.union(rdd),
    }
    rdd.unpersist()
    return {name: chain.partitioner == rdd.partitioner for name, chain in chains.items()}


@case
def partitioning_again(sc):
    rdd = sc.parallelize([(i, i) for i in range(8)], 2).partitionBy(4)

    def other(k):
        return k

    return [
        rdd.partitionBy(4) is rdd,
        rdd.partitionBy(3) is rdd,
        rdd.partitionBy(4, other) is rdd,
        rdd.partitionBy(4, other).partitionBy(4, other).partitioner == rdd.partitioner,
        rdd.mapValues(str).partitionBy(4).glom().map(len).collect(),
        rdd.partitioner.numPartitions,
    ]


@case
def transformations_are_lazy(sc):
    runs = sc.accumulator(0)

    def seen(x):
        runs.add(1)
        return x

    rdd = sc.parallelize(range(6), 3).map(seen)
    before = runs.value
    rdd.filter(bool).flatMap(lambda x: [x]).keyBy(str).groupByKey().mapValues(list)
    rdd.zipWithUniqueId(), rdd.union(rdd), rdd.cartesian(rdd), rdd.repartition(2), rdd.distinct(), rdd.glom()
    lazy = runs.value
    rdd.zipWithIndex()
    indexed = runs.value
    rdd.sortBy(lambda x: x)
    return [before, lazy, indexed, runs.value]


@case
def actions_read_what_they_need(sc):
    runs = sc.accumulator(0)

    def seen(x):
        runs.add(1)
        return x

    rdd = sc.parallelize(range(40), 8).map(seen)
    counts = []
    for action in (rdd.first, rdd.isEmpty, lambda: rdd.take(5), lambda: rdd.take(6), rdd.count, lambda: rdd.lookup):
        action()
        counts.append(runs.value)
    return counts


@case
def partitions_run_by_take(sc):
    started = sc.accumulator(0)

    def count(split, it):
        started.add(1)
        return it

    def runs(n, parts, wanted):
        before = started.value
        found = sc.parallelize(range(n), parts).mapPartitionsWithIndex(count).filter(lambda x: x >= 20).take(wanted)
        return found, started.value - before

    return [runs(40, 20, 1), runs(40, 20, 3), runs(40, 20, 20), runs(10, 20, 1), runs(21, 21, 1)]


@case
def globs_of_nested_lists(sc):
    rdd = sc.parallelize([[1, 2], [], [3]], 2)
    return [
        rdd.glom().collect(),
        rdd.flatMap(lambda x: x).glom().collect(),
        rdd.glom().glom().collect(),
        rdd.map(len).sum(),
    ]


@case
def indexes_of_partitions(sc):
    rdd = sc.parallelize("abcde", 3)
    return [
        rdd.mapPartitionsWithIndex(lambda i, it: ((i, x) for x in it)).collect(),
        rdd.union(rdd).mapPartitionsWithIndex(lambda i, it: [i]).collect(),
        rdd.coalesce(2).mapPartitionsWithIndex(lambda i, it: [(i, list(it))]).collect(),
        rdd.cartesian(rdd).mapPartitionsWithIndex(lambda i, it: [(i, len(list(it)))]).collect(),
        condition(lambda: rdd.mapPartitionsWithSplit(lambda i, it: [i]).collect())[0],
    ]


@case
def ignored_iterators(sc):
    rdd = sc.parallelize(range(10000), 4)
    return [
        rdd.mapPartitions(lambda it: [1]).collect(),
        rdd.mapPartitions(lambda it: itertools.islice(it, 2)).collect(),
        rdd.mapPartitions(lambda it: "ab").collect(),
        rdd.mapPartitions(lambda it: {7: "x"}).collect(),
        rdd.map(str).mapPartitions(lambda it: [next(it), next(it)]).collect(),
        rdd.mapPartitions(lambda it: ()).count(),
    ]


@case
def zips_of_different_batches(sc):
    small, large = sc.parallelize(range(10), 2), sc.parallelize(range(5000), 2)
    doubled = large.map(lambda x: x * 2)
    return [
        small.zip(small.map(lambda x: x)).zip(small).collect(),
        doubled.zip(large).filter(lambda p: p[0] != 2 * p[1]).count(),
        large.zip(doubled.map(str)).lookup(17),
        large.zip(sc.range(0, 5000, numSlices=2)).filter(lambda p: p[0] != p[1]).count(),
        said(
            "Can only zip RDDs with same number of elements in each partition|different number of items in batches",
            lambda: small.zip(sc.parallelize(range(9), 2)).collect(),
        ),
    ]


@case
def cartesian_order(sc):
    a, b = sc.parallelize(range(60), 2), sc.parallelize(range(40), 2)
    mapped = a.map(lambda x: x).cartesian(b.map(str))
    return [
        sc.parallelize(range(5), 2).cartesian(sc.parallelize("xyz", 2)).glom().collect(),
        a.cartesian(b).take(50),
        mapped.glom().map(lambda part: part[::97]).collect(),
        a.cartesian(b).count(),
        sc.parallelize([1], 2).cartesian(sc.parallelize([], 2)).glom().collect(),
    ]


@case
def indexes_of_elements(sc):
    rdd = sc.parallelize(range(10, 17), 3)
    holes = rdd.filter(lambda x: x != 12 and x != 13)
    return [
        rdd.zipWithIndex().glom().collect(),
        holes.zipWithIndex().glom().collect(),
        holes.zipWithUniqueId().glom().collect(),
        sc.parallelize([], 3).zipWithUniqueId().collect(),
        rdd.union(rdd).zipWithIndex().values().collect(),
    ]


@case
def deep_lineages(sc):
    rdd = sc.parallelize([1], 2)
    for _ in range(30):
        rdd = rdd.map(lambda x: x + 1)
    shuffled = sc.parallelize([(1, 1)], 2)
    for _ in range(5):
        shuffled = shuffled.reduceByKey(lambda a, b: a + b).map(lambda kv: (kv[0] + 1, kv[1]))
    return [rdd.collect(), shuffled.collect(), shuffled.getNumPartitions()]


@case
def names_and_text(sc):
    rdd = sc.parallelize([1], 2)
    named = rdd.map(str).setName("texts")
    return [
        rdd.name(),
        named.name(),
        named.map(int).name(),
        type(rdd).__name__,
        type(named).__name__,
        rdd.context is sc,
    ]
