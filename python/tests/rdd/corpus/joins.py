"""Joins, cogroups and operations on sets."""

from __future__ import annotations

import operator

from corpus import Arriving, case, failure


def left(sc, slices=2):
    return sc.parallelize([("a", 1), ("b", 2), ("a", 3), ("c", 4), (None, 5)], slices)


def right(sc, slices=3):
    return sc.parallelize([("a", "x"), ("c", "y"), ("d", "z"), ("a", "w"), (None, "n")], slices)


def lists(groups):
    return tuple(list(g) for g in groups)


@case
def inner_joins(sc):
    a, b = left(sc), right(sc)
    return [
        Arriving(a.join(b).glom().collect()),
        Arriving(b.join(a).collect()),
        Arriving(a.join(b, 1).collect()),
        a.join(b, 9).glom().map(len).collect(),
    ]


@case
def left_outer_joins(sc):
    a, b = left(sc), right(sc)
    return [Arriving(a.leftOuterJoin(b).glom().collect()), Arriving(b.leftOuterJoin(a, 2).glom().collect())]


@case
def right_outer_joins(sc):
    a, b = left(sc), right(sc)
    return [Arriving(a.rightOuterJoin(b).glom().collect()), Arriving(b.rightOuterJoin(a, 2).glom().collect())]


@case
def full_outer_joins(sc):
    a, b = left(sc), right(sc)
    return [Arriving(a.fullOuterJoin(b).glom().collect()), Arriving(b.fullOuterJoin(a, 2).glom().collect())]


@case
def joins_in_one_partition(sc):
    a, b = left(sc, 1), right(sc, 1)
    joins = [a.join(b), a.leftOuterJoin(b), a.rightOuterJoin(b), a.fullOuterJoin(b), a.cogroup(b).mapValues(lists)]
    return [Arriving(j.collect()) for j in joins]


@case
def joins_with_nothing(sc):
    a, none = left(sc), sc.parallelize([], 2)
    return [
        a.join(none).collect(),
        Arriving(a.leftOuterJoin(none).collect()),
        a.rightOuterJoin(none).collect(),
        Arriving(none.rightOuterJoin(a).collect()),
        none.join(none).glom().collect(),
        Arriving(none.fullOuterJoin(a).collect()),
        a.join(sc.emptyRDD()).getNumPartitions(),
        sc.emptyRDD().join(a).collect(),
        sorted(a.cogroup(none).mapValues(lists).keys().collect(), key=str),
    ]


@case
def joins_with_itself(sc):
    a = left(sc)
    return [
        Arriving(a.join(a).collect()),
        Arriving(a.cogroup(a).mapValues(lists).collect()),
        a.subtractByKey(a).collect(),
        a.subtract(a).collect(),
    ]


@case
def joins_of_joins(sc):
    a, b = left(sc), right(sc)
    chained = a.join(b).mapValues(lambda p: p[0]).join(b).join(a)
    return [chained.count(), chained.getNumPartitions(), sorted(chained.keys().map(str).collect())]


@case
def joins_of_partitioned(sc):
    a, b = left(sc).partitionBy(4), right(sc).partitionBy(4)
    joined = a.join(b)
    return [
        joined.getNumPartitions(),
        Arriving(joined.glom().collect()),
        a.join(b, 2).getNumPartitions(),
        a.join(right(sc), 4).getNumPartitions(),
    ]


@case
def joins_with_none_values(sc):
    a, b = sc.parallelize([(1, None), (2, 0)], 1), sc.parallelize([(1, ""), (3, None)], 1)
    return [
        Arriving(a.join(b).collect()),
        Arriving(a.leftOuterJoin(b).collect()),
        Arriving(a.rightOuterJoin(b).collect()),
        Arriving(a.fullOuterJoin(b).collect()),
    ]


@case
def joins_of_mixed_keys(sc):
    a = sc.parallelize([(1, "int"), (2.0, "float"), ("1", "str"), ((1, "t"), "tuple"), (True, "bool")], 2)
    b = sc.parallelize([(1.0, 1), (2, 2), ("1", 3), ((1.0, "t"), 4)], 2)
    return [sorted(map(str, a.join(b).values().collect())), sorted(map(str, a.fullOuterJoin(b).values().collect()))]


@case
def joins_of_skewed_keys(sc):
    a = sc.parallelize([(0, i) for i in range(60)] + [(1, 0)], 3)
    b = sc.parallelize([(0, i) for i in range(40)] + [(2, 0)], 2)
    joined = a.join(b)
    return [
        joined.count(),
        joined.values().map(lambda p: p[0] * p[1]).sum(),
        a.leftOuterJoin(b).count(),
        joined.glom().map(len).collect(),
    ]


@case
def cogroups(sc):
    grouped = left(sc).cogroup(right(sc))
    return [
        Arriving(grouped.mapValues(lists).glom().collect()),
        sorted({type(g).__name__ for _, gs in grouped.collect() for g in gs}),
        [len(gs) for gs in grouped.values().collect()],
        grouped.values().map(lambda gs: [len(g) for g in gs]).map(sum).sum(),
        type(grouped.first()[1]).__name__,
    ]


@case
def groups_of_several(sc):
    a, b = left(sc), right(sc)
    return [
        Arriving(a.groupWith(b, a, b).mapValues(lists).collect()),
        a.groupWith(b, a, b).getNumPartitions(),
        Arriving(a.groupWith(b).mapValues(lists).collect()),
        a.groupWith(sc.emptyRDD()).count(),
    ]


@case
def iterables_of_results(sc):
    grouped = sc.parallelize([("a", 1), ("a", 2)], 1).groupByKey().collect()[0][1]
    return [
        list(grouped),
        list(grouped),
        len(grouped),
        [x for x in grouped],
        type(grouped).__name__,
        grouped.maxindex,
        grouped.index,
    ]


@case
def groups_by_functions(sc):
    rdd = sc.parallelize(range(12), 3)
    return [
        Arriving(rdd.groupBy(lambda x: x % 3).mapValues(list).glom().collect()),
        rdd.groupBy(lambda x: x % 5, 2).getNumPartitions(),
        Arriving(rdd.groupBy(lambda x: None).mapValues(list).collect()),
        Arriving(sc.parallelize(["ab", "b", "ac"], 1).groupBy(len).mapValues(list).collect()),
    ]


@case
def subtractions_by_key(sc):
    a, b = left(sc), right(sc)
    return [
        Arriving(a.subtractByKey(b).glom().collect()),
        Arriving(b.subtractByKey(a).glom().collect()),
        a.subtractByKey(b, 1).getNumPartitions(),
        Arriving(a.subtractByKey(sc.emptyRDD()).collect()),
        sc.emptyRDD().subtractByKey(a).collect(),
    ]


@case
def subtractions(sc):
    a, b = sc.parallelize([1, 2, 2, 3, 3, 3, None], 2), sc.parallelize([2, 4, None], 2)
    return [
        Arriving(a.subtract(b).glom().collect()),
        Arriving(b.subtract(a, 3).glom().collect()),
        Arriving(a.subtract(sc.emptyRDD()).collect()),
        sc.parallelize(["x", ("t", 1)], 2).subtract(sc.parallelize([("t", 1)], 1)).collect(),
        a.subtract(b, 5).getNumPartitions(),
    ]


@case
def intersections(sc):
    a, b = sc.parallelize([1, 1, 2, None, 3, 3], 3), sc.parallelize([3, 1, 1, None, 9], 2)
    return [
        Arriving(a.intersection(b).glom().collect()),
        Arriving(b.intersection(a).glom().collect()),
        a.intersection(sc.emptyRDD()).collect(),
        a.intersection(a.map(lambda x: x)).count(),
        sc.parallelize([(1, "a"), (1, "b")]).intersection(sc.parallelize([(1, "b")])).collect(),
    ]


@case
def distinct_elements(sc):
    rdd = sc.parallelize([3, 1, 3, None, "a", (1, 2), "a", (1, 2), 1], 3)
    return [
        Arriving(rdd.distinct().glom().collect()),
        Arriving(rdd.distinct(2).glom().collect()),
        rdd.distinct(7).getNumPartitions(),
        rdd.distinct().count(),
        sc.emptyRDD().distinct().collect(),
        Arriving(rdd.map(str).distinct(1).collect()),
    ]


@case
def joins_with_wrong_things(sc):
    return [
        failure(lambda: left(sc).join([("a", 1)])),
        failure(lambda: left(sc).union(None))[:14],
    ]


@case
def star_joins(sc):
    facts = sc.parallelize([(i % 4, i) for i in range(20)], 3)
    names = sc.parallelize([(0, "zero"), (1, "one"), (2, "two")], 1)
    prices = sc.parallelize([(0, 1.5), (2, 2.5), (3, 3.5)], 2)
    totals = facts.reduceByKey(operator.add).leftOuterJoin(names).leftOuterJoin(prices)
    return [
        sorted(totals.collect()),
        sorted(facts.join(names).map(lambda kv: (kv[1][1], kv[1][0])).reduceByKey(operator.add).collect()),
    ]
