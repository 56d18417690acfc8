"""A tour of the RDD API; these cases also run on the fake driver."""

from __future__ import annotations

import operator

from corpus import Arriving, case, failure, fruits


@case
def parallelize_slices(sc):
    return [sc.parallelize(list(range(n)), s).glom().collect() for n, s in [(7, 3), (10, 4), (2, 5), (0, 2), (1, 1)]]


@case
def parallelize_defaults(sc):
    return [sc.parallelize([1, 2, 3]).getNumPartitions(), sc.parallelize([]).getNumPartitions(), sc.defaultParallelism]


@case
def ranges(sc):
    return [
        sc.range(10, numSlices=3).glom().collect(),
        sc.range(5, 20, 4, 2).glom().collect(),
        sc.range(10, 0, -3, 2).collect(),
        sc.parallelize(range(0, 20, 3), 3).glom().collect(),
        sc.range(0, numSlices=2).glom().collect(),
        sc.emptyRDD().getNumPartitions(),
    ]


@case
def many_elements(sc):
    rdd = sc.parallelize([(i, str(i)) for i in range(50000)], 4)
    return [rdd.count(), rdd.first(), rdd.glom().map(len).collect(), rdd.values().map(len).sum()]


@case
def maps(sc):
    rdd = sc.parallelize([1, 2, 3, 4], 2)
    return [
        rdd.map(lambda x: x * 2).collect(),
        rdd.flatMap(lambda x: [x] * x).collect(),
        rdd.filter(lambda x: x % 2 == 0).collect(),
        rdd.mapPartitions(lambda it: [sum(it)]).collect(),
        rdd.mapPartitionsWithIndex(lambda i, it: [(i, list(it))]).collect(),
        rdd.keyBy(lambda x: x % 2).collect(),
        rdd.map(lambda x: x + 1).map(lambda x: x * x).filter(lambda x: x > 4).glom().collect(),
    ]


@case
def distinct(sc):
    rdd = sc.parallelize([1, 1, 2, 3, 3, 3], 3)
    return [rdd.distinct().glom().collect(), sorted(rdd.distinct(2).collect()), rdd.distinct().getNumPartitions()]


@case
def unions(sc):
    a, b = sc.parallelize([1, 2, 3], 2), sc.parallelize([4, 5], 1)
    return [
        a.union(b).glom().collect(),
        (a + b).getNumPartitions(),
        sc.union([a, b, a.map(str)]).collect(),
        a.union(a.map(str)).collect(),
    ]


@case
def union_of_equally_partitioned(sc):
    a = sc.parallelize([(i, i) for i in range(10)], 3).partitionBy(4)
    b = sc.parallelize([(i, -i) for i in range(10)], 3).partitionBy(4)
    both = a.union(b)
    return [both.getNumPartitions(), Arriving(both.glom().collect()), Arriving(a.join(b).glom().collect())]


@case
def partition_by(sc):
    rdd = sc.parallelize([(i, i * i) for i in range(10)], 3)
    same = rdd.partitionBy(4)
    mixed = sc.parallelize([((None, 1), 1), (("a", 2.5), 2), (None, 3), ((1, (2, "x")), 4)], 2)
    return [
        Arriving(same.glom().collect()),
        same.partitionBy(4) is same,
        Arriving(rdd.partitionBy(3, lambda k: k // 4).glom().collect()),
        rdd.partitionBy(None).getNumPartitions(),
        Arriving(fruits(sc).partitionBy(3).glom().collect()),
        Arriving(mixed.partitionBy(5).glom().collect()),
    ]


@case
def reduce_by_key(sc):
    rdd = fruits(sc)
    return [
        Arriving(rdd.reduceByKey(operator.add).glom().collect()),
        sorted(rdd.reduceByKey(operator.add, 2).collect()),
        sorted(rdd.foldByKey(0, operator.add).collect()),
        sorted(rdd.aggregateByKey([], lambda a, v: [*a, v], operator.add).mapValues(sorted).collect()),
        Arriving(sorted(rdd.combineByKey(lambda v: [v], lambda a, v: [*a, v], operator.add, 1).collect())),
        sorted(rdd.reduceByKeyLocally(operator.add).items()),
        sorted(rdd.countByKey().items()),
    ]


@case
def group_by_key(sc):
    return [
        sorted(fruits(sc).groupByKey().mapValues(sorted).collect()),
        Arriving(sc.parallelize(range(20), 4).map(lambda x: (x % 7, x)).groupByKey().mapValues(list).glom().collect()),
        sorted((k, sorted(v)) for k, v in sc.parallelize([1, 1, 2, 3, 5, 8], 2).groupBy(lambda x: x % 2).collect()),
    ]


@case
def joins(sc):
    x = sc.parallelize([("a", 1), ("b", 4), ("a", 9)], 2)
    y = sc.parallelize([("a", 2), ("c", 3)], 2)
    return [
        sorted(x.join(y).collect()),
        sorted(x.leftOuterJoin(y).collect(), key=str),
        sorted(x.rightOuterJoin(y).collect(), key=str),
        sorted(x.fullOuterJoin(y).collect(), key=str),
        x.join(y).getNumPartitions(),
        x.join(y, 3).getNumPartitions(),
        [(k, [sorted(v) for v in vs]) for k, vs in sorted(x.cogroup(y).collect())],
        [(k, [sorted(v) for v in vs]) for k, vs in sorted(x.groupWith(y, x).collect())],
    ]


@case
def set_operations(sc):
    a, b = sc.parallelize([1, 10, 2, 3, 4, 5, 3], 2), sc.parallelize([1, 6, 2, 3, 7, 8], 3)
    pairs = sc.parallelize([("a", 1), ("b", 4), ("b", 5), ("a", 2)], 2)
    return [
        sorted(a.intersection(b).collect()),
        sorted(a.subtract(b).collect()),
        sorted(pairs.subtractByKey(sc.parallelize([("a", 3), ("c", None)], 1)).collect()),
    ]


@case
def sorting(sc):
    rdd = sc.parallelize([("b", 2), ("a", 1), ("d", 4), ("c", 3), ("1", 9)], 3)
    numbers = sc.parallelize([(i * 7919) % 101 for i in range(100)], 4)
    return [
        rdd.sortByKey().collect(),
        rdd.sortByKey(False, 2).collect(),
        rdd.sortByKey(True, 1).glom().collect(),
        rdd.sortBy(lambda kv: -kv[1]).collect(),
        numbers.sortBy(lambda x: x).collect() == sorted((i * 7919) % 101 for i in range(100)),
        numbers.sortBy(lambda x: x, numPartitions=3).glom().map(len).collect(),
        numbers.sortBy(lambda x: -x).getNumPartitions(),
        sc.parallelize([], 2).sortBy(lambda x: x).collect(),
    ]


@case
def repartition_and_sort(sc):
    rdd = sc.parallelize([(0, 5), (3, 8), (2, 6), (0, 8), (3, 8), (1, 3)], 2)
    return Arriving(rdd.repartitionAndSortWithinPartitions(2, lambda x: x % 2, True).glom().collect())


@case
def coalescing(sc):
    rdd = sc.parallelize(list(range(20)), 5)
    return [
        rdd.coalesce(2).glom().collect(),
        rdd.coalesce(8).getNumPartitions(),
        Arriving(sc.parallelize(list(range(20)), 2).coalesce(5, True).glom().collect()),
        Arriving(sc.parallelize(range(35), 3).repartition(4).glom().collect()),
        Arriving(sc.parallelize(range(100), 3).repartition(2).glom().collect()),
        sc.parallelize(range(100), 7).map(str).repartition(3).glom().map(len).collect(),
        failure(lambda: rdd.coalesce(0)),
    ]


@case
def zips(sc):
    x, y = sc.parallelize(range(5), 2), sc.parallelize(range(1000, 1005), 2)
    return [
        x.zip(y).collect(),
        x.zip(y.map(str)).zip(x).collect(),
        sc.parallelize(["a", "b", "c", "d"], 3).zipWithIndex().collect(),
        sc.parallelize(["a"], 1).zipWithIndex().collect(),
        sc.parallelize(["a", "b", "c", "d", "e"], 3).zipWithUniqueId().collect(),
        failure(lambda: x.zip(sc.parallelize([1], 3))),
    ]


@case
def cartesians(sc):
    x = sc.parallelize([1, 2, 3], 2)
    return [
        sorted(x.cartesian(x).collect()),
        x.cartesian(sc.parallelize("ab", 1)).glom().collect(),
        x.cartesian(x).getNumPartitions(),
        x.cartesian(x.map(str)).zip(x.cartesian(x)).count(),
    ]


@case
def sampling(sc):
    rdd = sc.parallelize(range(100), 4)
    return [
        rdd.sample(False, 0.1, 7).collect(),
        rdd.sample(True, 0.2, 9).collect(),
        rdd.takeSample(False, 5, 7),
        rdd.takeSample(True, 12, 3),
        sorted(rdd.takeSample(False, 500, 1)) == list(range(100)),
        [part.collect() for part in sc.parallelize(range(20), 4).randomSplit([1, 2], 5)],
        fruits(sc).sampleByKey(False, {"apple": 0.9, "pear": 0.5, "fig": 0}, 4).collect(),
    ]


@case
def taking(sc):
    rdd = sc.parallelize(range(100), 10)
    return [
        rdd.take(0), rdd.take(3), rdd.take(25), rdd.filter(lambda x: x > 90).take(3), rdd.take(1000) == list(range(100)),
        rdd.first(), rdd.isEmpty(), sc.emptyRDD().isEmpty(), sc.parallelize([], 3).isEmpty(),
        rdd.top(3), rdd.top(2, key=lambda x: -x), rdd.takeOrdered(3), rdd.takeOrdered(2, key=lambda x: -x),
        failure(lambda: sc.parallelize([], 2).first()), failure(lambda: rdd.takeOrdered(-1)),
        sc.parallelize([1], 2).top(3),
    ]  # fmt: skip


@case
def reducing(sc):
    rdd = sc.parallelize([3, 1, 2], 2)
    return [
        rdd.reduce(operator.add), rdd.fold(0, operator.add), rdd.fold(10, operator.add), rdd.sum(), rdd.count(),
        rdd.max(), rdd.min(), rdd.max(key=lambda x: -x), rdd.min(key=str), rdd.mean(), rdd.variance(),
        rdd.aggregate((0, 0), lambda a, v: (a[0] + v, a[1] + 1), lambda a, b: (a[0] + b[0], a[1] + b[1])),
        rdd.treeReduce(operator.add), rdd.treeAggregate(1, operator.add, operator.add),
        sc.parallelize(range(40), 20).treeReduce(operator.add, 3), sc.parallelize(range(40), 20).treeAggregate(0, operator.add, max, 3),
        sc.parallelize([1.0, 2.0, 4.0], 2).stdev(), rdd.sampleStdev(), rdd.sampleVariance(), str(rdd.stats()),
        failure(lambda: sc.emptyRDD().reduce(operator.add)), failure(lambda: rdd.treeReduce(operator.add, 0)),
        failure(lambda: sc.parallelize([], 2).treeReduce(operator.add)), sc.parallelize([], 2).sum(),
        failure(lambda: sc.parallelize([], 2).max()),
    ]  # fmt: skip


@case
def counting(sc):
    return [
        sorted(sc.parallelize([1, 2, 1, 2, 2], 2).countByValue().items()),
        sc.parallelize(range(51), 3).histogram(2),
        sc.parallelize(range(51), 3).histogram([0, 5, 25, 50]),
        sc.parallelize(["ab", "ac", "b", "bd", "ef"], 2).histogram(("a", "b", "c")),
        sc.parallelize([1.5, 2.5, float("nan"), None, 9.0], 2).histogram(3),
        sc.parallelize([5, 5, 5], 2).histogram(4),
        failure(lambda: sc.parallelize([1], 1).histogram([2, 1])),
    ]


@case
def maps_of_pairs(sc):
    rdd = fruits(sc)
    return [
        rdd.keys().collect(), rdd.values().collect(), rdd.mapValues(lambda v: v + 1).collect(),
        rdd.flatMapValues(range).take(4), sorted(rdd.collectAsMap().items()),
        rdd.partitionBy(2).mapValues(str).partitioner == rdd.partitionBy(2).partitioner,
        rdd.partitionBy(2).map(lambda kv: kv).partitioner,
    ]  # fmt: skip


@case
def lookups(sc):
    numbers = sc.parallelize([(i, i * 10) for i in range(20)] + [(3, "again")], 4)
    return [
        numbers.lookup(3),
        Arriving(numbers.partitionBy(5).lookup(3)),
        numbers.lookup(99),
        fruits(sc).lookup("pear"),
    ]


@case
def run_job(sc):
    rdd = sc.parallelize(range(6), 3)
    return [
        sc.runJob(rdd, lambda it: [x * x for x in it]),
        sc.runJob(rdd, lambda it: [x * x for x in it], [0, 2], True),
        sc.runJob(rdd, lambda it: [x for x in it], [2, 0]),
        sc.runJob(rdd, lambda it: it, []),
    ]


@case
def local_iterator(sc):
    rdd = sc.parallelize(range(10), 3)
    return [list(rdd.toLocalIterator()), list(rdd.toLocalIterator(True)), list(sc.emptyRDD().toLocalIterator())]


@case
def accumulators(sc):
    total, names = sc.accumulator(10), sc.accumulator(0.5)
    sc.parallelize(range(10), 3).foreach(total.add)
    sc.parallelize(range(10), 3).foreachPartition(lambda it: names.add(sum(it)))
    return [total.value, names.value]


@case
def broadcasts(sc):
    table = sc.broadcast({1: "one", 2: "two"})
    big = sc.broadcast(list(range(100000)))
    return [
        sc.parallelize([1, 2, 1], 2).map(lambda x: table.value[x]).collect(),
        sc.parallelize([1, 2], 2).map(lambda x: (len(big.value), table.value[x])).collect(),
        table.value[1],
    ]


@case
def foreach_results(sc):
    seen = sc.accumulator(0)

    def visit(it):
        for _ in it:
            seen.add(1)

    def visit_and_return(it):
        yield from it
        seen.add(100)

    sc.parallelize(range(4), 2).foreachPartition(visit)
    sc.parallelize(range(4), 2).foreachPartition(visit_and_return)
    return seen.value


@case
def names_and_levels(sc):
    rdd = sc.parallelize([1], 1)
    before = (rdd.name(), str(rdd.getStorageLevel()), rdd.is_cached)
    rdd.setName("numbers").cache()
    after = (rdd.name(), str(rdd.getStorageLevel()), rdd.is_cached, rdd.map(str).collect())
    rdd.unpersist()
    return [before, after, rdd.is_cached, rdd.isCheckpointed(), repr(sc)]


@case
def cached_values_stay(sc):
    runs = sc.accumulator(0)

    def count(x):
        runs.add(1)
        return x

    rdd = sc.parallelize(range(4), 2).map(count).persist()
    return [rdd.collect(), rdd.sum(), rdd.map(str).count(), runs.value]


@case
def pipes(sc):
    return sc.parallelize(["1", "2", "", "3"], 2).pipe("cat").collect()


@case
def misuse(sc):
    rdd = sc.parallelize([1, 2], 2)
    return [
        failure(lambda: rdd.map(lambda x: sc).collect()),
        failure(lambda: rdd.map(lambda x: rdd.count()).collect()),
        failure(lambda: rdd.top(-1)),
        failure(lambda: sc.accumulator([1])),
        failure(lambda: rdd.toDF()),
    ]


@case
def text_of_elements(sc):
    return [
        sc.parallelize(["ä", "b"], 1).map(lambda s: s.encode()).collect(),
        sc.parallelize([1, None, "x"], 2).map(str).collect(),
    ]


@case
def closures(sc):
    factor = 3

    class Point:
        def __init__(self, x):
            self.x = x

        def __eq__(self, other):
            return self.x == other.x

        def __hash__(self):
            return hash(self.x)

    rdd = sc.parallelize([Point(1), Point(2), Point(1)], 2)
    return [
        rdd.map(lambda p: p.x * factor).collect(),
        rdd.distinct().count(),
        sc.parallelize([(1, "a")] * 2, 2).map(lambda kv: kv[1]).collect(),
    ]


@case
def text_files(sc):
    import os
    import tempfile

    directory = tempfile.mkdtemp()
    path = os.path.join(directory, "out")
    sc.parallelize(["one", "zwei", "drei ä", ""], 2).saveAsTextFile(path)
    lines = sc.textFile(path)
    return [
        sorted(os.listdir(path))[-2:],
        sorted(lines.collect()),
        sc.textFile(os.path.join(path, "part-00000")).map(len).collect(),
        lines.zipWithIndex().count(),
        sc.textFile(path, use_unicode=False).map(type).distinct().collect(),
        lines.union(sc.parallelize([1], 1)).count(),
    ]


@case
def whole_files(sc):
    import os
    import tempfile

    directory = tempfile.mkdtemp()
    os.mkdir(os.path.join(directory, "sub"))
    for name, size in [("a.txt", 10), ("b.txt", 1000), ("c.txt", 5), ("_hidden", 4), (".dot", 3), ("sub/d.txt", 7)]:
        with open(os.path.join(directory, name), "w") as file:
            file.write("x" * size)
    with open(os.path.join(directory, "sub", "rec.bin"), "wb") as file:
        file.write(bytes(range(12)))

    def sizes(rdd):
        return sorted((str(name).replace(directory, "DIR"), len(content)) for name, content in rdd.collect())

    return [
        sizes(sc.wholeTextFiles(directory)),
        sizes(sc.wholeTextFiles(directory, 10)),
        sizes(sc.wholeTextFiles(f"{directory}/a.txt,file:{directory}/c*", use_unicode=False)),
        sizes(sc.binaryFiles(f"{directory}/*.txt")),
        sc.binaryRecords(os.path.join(directory, "sub", "rec.bin"), 4).collect(),
        failure(lambda: sc.wholeTextFiles(directory).map(lambda kv: kv[1].upper()).collect())[:8],
        failure(lambda: sc.wholeTextFiles(os.path.join(directory, "none")).collect()) == "no error",
    ]
