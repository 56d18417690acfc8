"""Actions that bring one answer to the application."""

from __future__ import annotations

import operator
from functools import partial

from corpus import case, condition, failure, fruits, said, worker_failure


@case
def reduces(sc):
    rdd = sc.parallelize([3, 1, 2, 5], 3)
    return [
        rdd.reduce(operator.add),
        rdd.reduce(lambda a, b: (a, b)),
        sc.parallelize([7], 4).reduce(operator.add),
        sc.parallelize("abc", 2).reduce(operator.add),
        failure(lambda: sc.parallelize([], 2).reduce(operator.add)),
        rdd.filter(lambda x: x > 4).reduce(operator.add),
        rdd.reduce(max),
    ]


@case
def folds(sc):
    rdd = sc.parallelize([1, 2, 3], 2)
    return [
        rdd.fold(0, operator.add),
        rdd.fold(1, operator.add),
        sc.parallelize([], 3).fold(5, operator.add),
        sc.emptyRDD().fold(5, operator.add),
        rdd.fold("", lambda a, b: f"{a}{b}"),
        rdd.map(lambda x: [x]).fold([], operator.add),
        rdd.fold((0,), lambda a, b: (*a, b)),
    ]


@case
def aggregates(sc):
    rdd = sc.parallelize([1, 2, 3, 4], 2)
    return [
        rdd.aggregate([], lambda a, x: [*a, x], lambda a, b: a + b),
        rdd.aggregate("z", lambda a, x: f"{a}{x}", lambda a, b: f"{a}/{b}"),
        sc.emptyRDD().aggregate(3, max, max),
        rdd.aggregate((0, 0), lambda a, x: (a[0] + x, a[1] + 1), lambda a, b: (a[0] + b[0], a[1] + b[1])),
        sc.parallelize([], 2).aggregate(1, operator.add, operator.add),
    ]


@case
def mutable_zero_values(sc):
    rdd = sc.parallelize([1, 2, 3, 4], 2)
    zero = []

    def extend(values, more):
        values.extend(more if isinstance(more, list) else [more])
        return values

    return [rdd.aggregate(zero, extend, extend), zero, rdd.fold([], extend), rdd.treeAggregate([], extend, extend)]


@case
def tree_reduces(sc):
    rdd = sc.parallelize(range(1, 31), 10)
    return [
        [rdd.treeReduce(operator.add, depth) for depth in (1, 2, 3, 4, 10)],
        failure(lambda: rdd.treeReduce(operator.add, 0)),
        sc.parallelize([4], 9).treeReduce(max),
        failure(lambda: sc.parallelize([], 3).treeReduce(max)),
        failure(lambda: sc.emptyRDD().treeReduce(max)),
        sc.parallelize([None, 1], 2).treeReduce(lambda a, b: a or b),
    ]


@case
def tree_aggregates(sc):
    rdd = sc.parallelize(range(1, 31), 10)
    return [
        [rdd.treeAggregate(0, operator.add, operator.add, depth) for depth in (1, 2, 3, 4)],
        failure(lambda: rdd.treeAggregate(0, max, max, -1)),
        sc.emptyRDD().treeAggregate(7, max, max),
        sc.parallelize([], 3).treeAggregate(7, operator.add, operator.add),
        sorted(rdd.treeAggregate(set(), lambda s, x: s | {x % 4}, operator.or_)),
    ]


@case
def sums_and_counts(sc):
    rdd = sc.parallelize([1, 2.5, True], 2)
    return [
        rdd.sum(),
        rdd.count(),
        sc.emptyRDD().sum(),
        sc.emptyRDD().count(),
        sc.parallelize([0.1] * 10, 3).sum(),
        sc.parallelize([2**62] * 4, 2).sum(),
        sc.parallelize([1j, 2], 2).sum(),
        worker_failure(lambda: sc.parallelize(["a"], 1).sum())[0],
        type(sc.parallelize([1, 2]).sum()).__name__,
        sc.parallelize([None, []], 2).count(),
    ]


@case
def extremes(sc):
    rdd = sc.parallelize([3, -1, 7.5, 7.5], 3)
    return [
        rdd.max(),
        rdd.min(),
        rdd.max(key=abs),
        rdd.min(key=lambda x: -x),
        sc.parallelize(["b", "aa"], 2).max(key=len),
        failure(lambda: sc.emptyRDD().max()),
        failure(lambda: sc.parallelize([], 2).min()),
        sc.parallelize([(1, "a"), (0, "z")], 2).min(),
        worker_failure(lambda: sc.parallelize([1, "a"], 1).max())[0],
    ]


@case
def statistics(sc):
    rdd = sc.parallelize([1.0, 2.0, 4.0, 8.0], 3)
    stats = rdd.stats()
    return [
        str(stats),
        stats.count(),
        stats.sum(),
        stats.mean(),
        stats.min(),
        stats.max(),
        stats.stdev(),
        stats.sampleVariance(),
        stats.asDict(),
        stats.asDict(sample=True),
        rdd.mean(),
        rdd.variance(),
        rdd.stdev(),
        rdd.sampleStdev(),
        rdd.sampleVariance(),
    ]


@case
def statistics_of_few(sc):
    one, none = sc.parallelize([5], 2), sc.parallelize([], 2)
    return [
        str(one.stats()),
        one.sampleVariance(),
        one.variance(),
        str(none.stats()),
        none.mean(),
        none.stdev(),
        failure(lambda: sc.emptyRDD().stats()),
        one.stats().mergeStats(one.stats()).count(),
    ]


@case
def histograms(sc):
    rdd = sc.parallelize([1, 2, 2, 3, 5, 8, 13, 21], 3)
    return [
        rdd.histogram(1),
        rdd.histogram(2),
        rdd.histogram(5),
        rdd.histogram([0, 5, 10, 25]),
        rdd.histogram((2, 8)),
        rdd.histogram([100, 200]),
        rdd.histogram([1.5, 2.5, 3.5]),
        sc.parallelize([0.5, 1.5, 9.5], 2).histogram(3),
        sc.parallelize([4, 4], 2).histogram(3),
        sc.parallelize(["a", "b", "z"], 2).histogram(["a", "c", "zz"]),
    ]


@case
def even_histograms(sc):
    rdd = sc.parallelize(range(0, 101), 4)
    return [
        rdd.histogram(10),
        rdd.histogram([0, 25, 50, 75, 100]),
        rdd.histogram(list(range(0, 110, 10))),
        rdd.map(lambda x: x / 7).histogram(4),
        rdd.map(lambda x: -x).histogram(3),
    ]


@case
def wrong_histograms(sc):
    rdd = sc.parallelize([1, 2], 2)
    wrong = [0, -1, [1], [], [2, 1], [1, 1, 2], [1, None], [1, float("nan")], "ab", 2.5, {1, 2}]
    return [failure(partial(rdd.histogram, w)) for w in wrong] + [
        failure(lambda: sc.parallelize([], 2).histogram(2)),
        failure(lambda: sc.parallelize(["a", "b"], 2).histogram(2)),
        failure(lambda: sc.parallelize([1.0, float("inf")], 2).histogram(2)),
        sc.parallelize(["a", "b"], 2).histogram(1),
    ]


@case
def counts_by_value(sc):
    counts = sc.parallelize([1, "a", None, 1, (1,), "a", 1.0], 3).countByValue()
    return [
        dict(counts),
        type(counts).__name__,
        counts["missing"],
        failure(lambda: sc.emptyRDD().countByValue()),
        dict(sc.parallelize([], 2).countByValue()),
    ]


@case
def counts_by_key(sc):
    counts = fruits(sc).countByKey()
    return [dict(counts), type(counts).__name__, counts["missing"], dict(sc.parallelize([], 2).countByKey())]


@case
def maps_of_everything(sc):
    return [
        fruits(sc).collectAsMap(),
        sc.emptyRDD().collectAsMap(),
        sc.parallelize([(None, 1), ((1,), 2)], 2).collectAsMap(),
        failure(lambda: sc.parallelize([1]).collectAsMap()),
    ]


@case
def local_reductions_by_key(sc):
    return [
        fruits(sc).reduceByKeyLocally(operator.add),
        failure(lambda: sc.emptyRDD().reduceByKeyLocally(max)),
        sc.parallelize([], 2).reduceByKeyLocally(max),
        fruits(sc, 6).reduceByKeyLocally(lambda a, b: (a, b)),
    ]


@case
def takes(sc):
    rdd = sc.parallelize(range(10), 4)
    return [
        rdd.take(0),
        rdd.take(1),
        rdd.take(4),
        rdd.take(99),
        rdd.take(-1),
        rdd.filter(lambda x: x > 8).take(1),
        rdd.filter(lambda x: x > 99).take(1),
        sc.emptyRDD().take(3),
        sc.parallelize([], 3).take(2),
        failure(lambda: rdd.take("a"))[:9],
        rdd.map(lambda x: [x]).take(2),
        rdd.union(rdd).take(12),
    ]


@case
def firsts(sc):
    return [
        sc.parallelize([None], 2).first(),
        sc.parallelize([[]], 3).first(),
        failure(lambda: sc.emptyRDD().first()),
        failure(lambda: sc.parallelize([1], 2).filter(lambda x: False).first()),
        sc.parallelize([None]).isEmpty(),
        sc.parallelize([1]).filter(lambda x: False).isEmpty(),
        sc.parallelize(range(9), 9).filter(lambda x: x == 8).first(),
    ]


@case
def local_iterators(sc):
    rdd = sc.parallelize(range(10), 4)
    some = rdd.toLocalIterator()
    return [
        next(some),
        next(some),
        next(some),
        next(some),
        sum(some),
        list(rdd.map(str).toLocalIterator(prefetchPartitions=True)),
        list(sc.parallelize([], 2).toLocalIterator()),
        [a + b for a, b in zip(rdd.toLocalIterator(), rdd.toLocalIterator(True))],
        type(some).__name__ in ("generator", "chain", "PyLocalIterable", "object") or type(some).__name__,
    ]


@case
def local_iterators_and_errors(sc):
    def fail(x):
        if x == 3:
            raise ValueError("three")
        return x

    found = []

    def read():
        for x in sc.parallelize(range(6), 6).map(fail).toLocalIterator():
            found.append(x)

    return [worker_failure(read)[0], found]


@case
def local_iterators_compute_on_demand(sc):
    runs = sc.accumulator(0)

    def seen(x):
        runs.add(1)
        return x

    elements = sc.parallelize(range(8), 4).map(seen).toLocalIterator()
    first = next(elements)
    return [first, runs.value <= 4, list(elements), runs.value]


@case
def jobs_on_partitions(sc):
    rdd = sc.parallelize(range(8), 4)
    return [
        sc.runJob(rdd, lambda it: [sum(it)]),
        sc.runJob(rdd, lambda it: it, [1]),
        sc.runJob(rdd, lambda it: it, [3, 0]),
        sc.runJob(rdd, lambda it: (str(x) for x in it), (2,)),
        said(
            "non-existent partition: \\d+. Total number of partitions: \\d+", lambda: sc.runJob(rdd, lambda it: it, [4])
        ),
        sc.runJob(rdd, lambda it: [list(it)], range(2)),
    ]


@case
def visits(sc):
    seen, parts = sc.accumulator(0), sc.accumulator(0)

    def visit(x):
        seen.add(x)

    def visit_all(it):
        parts.add(1)
        for x in it:
            seen.add(x)

    rdd = sc.parallelize(range(5), 3)
    return [
        rdd.foreach(visit),
        seen.value,
        rdd.foreachPartition(visit_all),
        seen.value,
        parts.value,
        rdd.foreachPartition(lambda it: 5),
        rdd.foreachPartition(lambda it: parts.add(1)),
        parts.value,
    ]


@case
def pipes_of_lines(sc):
    rdd = sc.parallelize(["b", "a", "", "ä c"], 2)
    return [
        rdd.pipe("cat").collect(),
        rdd.pipe("sort").glom().collect(),
        rdd.pipe("tr a-z A-Z").collect(),
        rdd.pipe("wc -l").map(str.strip).collect(),
        sc.parallelize([1, 2.5, None], 1).pipe("cat").collect(),
        rdd.pipe("/bin/sh -c 'echo $WORD'", {"WORD": "hello"}).collect(),
        sc.parallelize([], 2).pipe("echo x").collect(),
        rdd.pipe("head -n 1").collect(),
        sc.parallelize(["x\n", "y\nz"], 1).pipe("cat").collect(),
    ]


@case
def pipes_that_fail(sc):
    rdd = sc.parallelize(["a"], 1)
    return [
        rdd.pipe("/bin/sh -c 'exit 3'").collect(),
        worker_failure(lambda: rdd.pipe("/bin/sh -c 'exit 3'", checkCode=True).collect())[0],
        worker_failure(lambda: rdd.pipe("no-such-command-here").collect())[0],
        said("Pipe function `.*?` exited with error code \\d+", lambda: rdd.pipe("false", checkCode=True).collect()),
        condition(lambda: rdd.pipe("'unbalanced"))[0],
    ]
