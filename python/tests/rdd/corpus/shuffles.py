"""Operations that gather by key: combiners, zero values, layouts."""

from __future__ import annotations

import operator

from corpus import Arriving, case, fruits


@case
def reduces_by_key(sc):
    rdd = fruits(sc)
    return [
        Arriving(rdd.reduceByKey(operator.add).glom().collect()),
        Arriving(rdd.reduceByKey(max, 1).collect()),
        rdd.reduceByKey(operator.add, 10).glom().map(len).collect(),
        Arriving(rdd.map(lambda kv: (kv[0], str(kv[1]))).reduceByKey(operator.add).mapValues(list).collect()),
        Arriving(rdd.reduceByKey(lambda a, b: (a, b)).collect()),
    ]


@case
def reduces_in_one_partition(sc):
    rdd = sc.parallelize([("b", 1), ("a", 2), ("b", 3), ("c", 4)], 1)
    return [
        rdd.reduceByKey(operator.add).collect(),
        rdd.reduceByKey(lambda a, b: [a, b]).collect(),
        rdd.groupByKey().mapValues(list).collect(),
        rdd.reduceByKeyLocally(operator.sub),
    ]


@case
def aggregates_by_key(sc):
    rdd = fruits(sc)

    def append(values, v):
        values.append(v)
        return values

    zero = []
    lists = rdd.aggregateByKey(zero, append, operator.add)
    return [
        Arriving(lists.collect()),
        zero,
        Arriving(lists.collect()),
        Arriving(
            rdd.aggregateByKey((0, 0), lambda a, v: (a[0] + v, a[1] + 1), lambda a, b: (a[0] + b[0], a[1] + b[1]))
            .glom()
            .collect()
        ),
        Arriving(rdd.aggregateByKey(100, min, operator.add, 2).collect()),
        lists.getNumPartitions(),
        rdd.aggregateByKey(0, max, max, 2).getNumPartitions(),
    ]


@case
def combines_by_key(sc):
    rdd = fruits(sc)
    made = rdd.combineByKey(lambda v: [v], lambda c, v: [*c, v], lambda a, b: a + b)
    return [
        Arriving(made.glom().collect()),
        Arriving(rdd.combineByKey(str, lambda c, v: f"({c},{v})", lambda a, b: f"<{a}|{b}>", 2).glom().collect()),
        Arriving(
            rdd.combineByKey(
                lambda v: (v, 1), lambda c, v: (c[0] + v, c[1] + 1), lambda a, b: (a[0] + b[0], a[1] + b[1])
            )
            .mapValues(lambda c: c[0] / c[1])
            .collect()
        ),
    ]


@case
def combiners_see_partitions(sc):
    rdd = sc.parallelize([("k", i) for i in range(9)], 3)
    combined = rdd.combineByKey(lambda v: f"c{v}", lambda c, v: f"{c}m{v}", lambda a, b: f"{a}+{b}")
    folded = rdd.foldByKey("", lambda a, b: f"{a}{b}")
    return [Arriving(combined.mapValues(list).collect()), Arriving(folded.mapValues(list).collect())]


@case
def folds_by_key(sc):
    rdd = fruits(sc)
    return [
        Arriving(rdd.foldByKey(0, operator.add).glom().collect()),
        Arriving(rdd.foldByKey(10, operator.add).collect()),
        Arriving(rdd.mapValues(lambda v: [v]).foldByKey([], operator.add).collect()),
        Arriving(rdd.foldByKey(1, operator.mul, 2).collect()),
        Arriving(sc.parallelize([(1, 1), (1, 2)], 2).foldByKey(5, operator.add).collect()),
    ]


@case
def groups_by_key(sc):
    rdd = fruits(sc)
    return [
        Arriving(rdd.groupByKey().mapValues(list).glom().collect()),
        Arriving(rdd.groupByKey(1).mapValues(list).collect()),
        Arriving(rdd.groupByKey().mapValues(len).collect()),
        type(rdd.groupByKey().first()[1]).__name__,
        rdd.groupByKey(4).getNumPartitions(),
        Arriving(rdd.groupByKey().flatMapValues(lambda g: g).collect()),
        rdd.groupByKey().map(lambda kv: sum(kv[1])).sum(),
        Arriving(rdd.groupByKey().mapValues(lambda g: sorted(g, reverse=True)).collect()),
    ]


@case
def partition_layouts(sc):
    rdd = sc.parallelize([(i, i * i) for i in range(12)], 3)
    return [Arriving(rdd.partitionBy(n).glom().collect()) for n in (1, 2, 5, 15)]


@case
def more_partitions_than_keys(sc):
    rdd = sc.parallelize([(1, "a"), (2, "b")], 1)
    return [
        rdd.partitionBy(6).glom().collect(),
        rdd.groupByKey(6).mapValues(list).glom().collect(),
        rdd.reduceByKey(max, 6).map(lambda kv: kv[0]).glom().collect(),
        rdd.partitionBy(100).glom().filter(len).count(),
        rdd.partitionBy(40).mapPartitionsWithIndex(lambda i, it: ((i, x) for x in it)).collect(),
    ]


@case
def many_keys(sc):
    rdd = sc.parallelize(range(20000), 4).map(lambda x: (x % 5000, x))
    sums = rdd.reduceByKey(operator.add)
    return [
        sums.count(),
        sums.glom().map(len).collect(),
        sums.lookup(4321),
        sums.values().sum(),
        sums.filter(lambda kv: kv[0] < 2).sortByKey().collect(),
    ]


@case
def many_keys_in_order(sc):
    rdd = sc.parallelize(range(3000), 1).map(lambda x: ((x * 31) % 1000, x))
    return [
        rdd.partitionBy(2).keys().take(12),
        rdd.groupByKey(2).keys().take(12),
        rdd.reduceByKey(operator.add, 3).glom().map(lambda p: p[:3]).collect(),
    ]


@case
def values_of_pairs(sc):
    rdd = fruits(sc)
    return [
        rdd.mapValues(lambda v: [v]).glom().collect(),
        rdd.flatMapValues(lambda v: [v] * (v % 3)).glom().collect(),
        rdd.keys().glom().collect(),
        rdd.values().sum(),
        rdd.flatMapValues(lambda v: "ab"[: v % 3]).collect(),
        rdd.mapValues(lambda v: None).collect(),
        rdd.flatMapValues(lambda v: {v: 0}).collect(),
    ]


@case
def key_by_things(sc):
    rdd = sc.parallelize(["one", "two", "three"], 2)
    return [
        rdd.keyBy(len).collect(),
        rdd.keyBy(lambda s: s[0]).glom().collect(),
        rdd.keyBy(lambda s: None).collect(),
        Arriving(rdd.keyBy(len).groupByKey().mapValues(list).collect()),
    ]


@case
def lookups_of_keys(sc):
    rdd = sc.parallelize([(i % 5, i) for i in range(15)], 3)
    by_hash = rdd.partitionBy(4)
    texts = fruits(sc).partitionBy(3)
    return [
        rdd.lookup(2),
        Arriving(by_hash.lookup(2)),
        by_hash.lookup(77),
        rdd.lookup("2"),
        Arriving(texts.lookup("apple")),
        texts.lookup("nothing"),
        sc.parallelize([((1, 2), "t")], 2).partitionBy(3).lookup((1, 2)),
        rdd.partitionBy(3, lambda k: k + 1).lookup(4) and 1,
        rdd.sortByKey().lookup(3) and 1,
    ]


@case
def lookups_read_one_partition(sc):
    runs = sc.accumulator(0)

    def seen(x):
        runs.add(1)
        return x

    rdd = sc.parallelize([(i, i) for i in range(20)], 4).partitionBy(5).mapValues(seen)
    return [rdd.lookup(7), runs.value, rdd.map(lambda kv: kv).lookup(7), runs.value]


@case
def shuffles_of_shuffles(sc):
    words = sc.parallelize(["a b a", "c b", "a"], 2).flatMap(str.split).map(lambda w: (w, 1))
    counts = words.reduceByKey(operator.add)
    by_count = counts.map(lambda kv: (kv[1], kv[0])).groupByKey().mapValues(sorted)
    return [
        sorted(by_count.collect()),
        sorted(counts.join(counts.mapValues(str)).collect()),
        by_count.sortByKey(False).first(),
        counts.union(counts).reduceByKey(operator.add).lookup("a"),
    ]


@case
def one_shuffle_used_twice(sc):
    runs = sc.accumulator(0)

    def seen(x):
        runs.add(1)
        return x, 1

    counts = sc.parallelize(range(6), 2).map(seen).reduceByKey(operator.add)
    return [counts.count(), sorted(counts.collect()), counts.join(counts).count(), runs.value >= 6]


@case
def matrices_by_key(sc):
    entries = [((i, j), i * 3 + j) for i in range(3) for j in range(3)]
    a = sc.parallelize(entries, 2)
    by_column, by_row = a.map(lambda e: (e[0][1], (e[0][0], e[1]))), a.map(lambda e: (e[0][0], (e[0][1], e[1])))
    product = (
        by_column.join(by_row).values().map(lambda p: ((p[0][0], p[1][0]), p[0][1] * p[1][1])).reduceByKey(operator.add)
    )
    return [product.sortByKey().collect(), product.getNumPartitions()]


@case
def memory_and_spills(sc):
    rdd = sc.parallelize(range(4), 4).flatMap(lambda s: ((i % 300, "v" * 100) for i in range(6000)))
    return [
        rdd.groupByKey(3).mapValues(len).values().sum(),
        rdd.mapValues(len).reduceByKey(operator.add).lookup(7),
        rdd.sortByKey(numPartitions=2).glom().map(len).collect(),
    ]
