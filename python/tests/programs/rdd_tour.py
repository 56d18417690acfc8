"""A walk through the RDD API; prints the same on Apache Spark and here."""

import os
import shutil
import tempfile

import numpy as np
from pyspark import SparkConf, SparkContext, StorageLevel
from pyspark.sql import Row, SparkSession

sc = SparkContext(conf=SparkConf().setAppName("rdd tour"))
numbers = sc.parallelize(range(1, 21), 4)

print("glom", numbers.glom().collect())
print("partitions", numbers.getNumPartitions(), sc.range(3, 30, 4, 3).glom().collect())
print("map", numbers.map(lambda x: x * x).collect())
print("flatMap", numbers.flatMap(lambda x: range(x % 3)).collect())
print("filter", numbers.filter(lambda x: x % 5 == 0).collect())
print("mapPartitions", numbers.mapPartitions(lambda it: [sum(it)]).collect())
print("mapPartitionsWithIndex", numbers.mapPartitionsWithIndex(lambda i, it: [(i, max(it))]).collect())
print(
    "union",
    numbers.union(sc.parallelize(["a", "b"], 2)).collect(),
    numbers.union(numbers).getNumPartitions(),
)
print("distinct", sorted(sc.parallelize([1, 2, 2, 3, 3, 3], 3).distinct().collect()))
pairs = sc.parallelize([("a", 1), ("b", 2), ("a", 3), ("c", 4), ("b", 5)], 3)
print("reduceByKey", sorted(pairs.reduceByKey(lambda a, b: a + b).collect()))
print("reduceByKey partitions", pairs.reduceByKey(lambda a, b: a + b, 2).glom().map(sorted).collect())
print("groupByKey", sorted((k, sorted(v)) for k, v in pairs.groupByKey().collect()))
print(
    "aggregateByKey",
    sorted(pairs.aggregateByKey(0, lambda a, b: a + b, lambda a, b: a + b).collect()),
)
print("countByKey", sorted(pairs.countByKey().items()), sorted(numbers.countByValue().items())[:3])
print("collectAsMap", sorted(pairs.collectAsMap().items()))
print(
    "keys values",
    pairs.keys().collect(),
    pairs.values().collect(),
    pairs.mapValues(lambda v: v * 10).collect(),
)
print("lookup", pairs.lookup("a"))
print("sortBy", sc.parallelize([5, 3, 8, 1, 9, 2], 3).sortBy(lambda x: x).collect())
print(
    "sortBy desc",
    sc.parallelize([5, 3, 8, 1, 9, 2], 3).sortBy(lambda x: x, ascending=False).glom().collect(),
)
print("sortByKey", pairs.sortByKey().keys().collect())
other = sc.parallelize([("a", "x"), ("c", "y"), ("d", "z")], 2)
print("join", sorted(pairs.join(other).collect()))
print("leftOuterJoin", sorted(pairs.leftOuterJoin(other).collect()))
print("rightOuterJoin", sorted(pairs.rightOuterJoin(other).collect()))
print("fullOuterJoin", sorted(pairs.fullOuterJoin(other).collect(), key=str))
print("cogroup", sorted((k, [sorted(x) for x in v]) for k, v in pairs.cogroup(other).collect()))
print("subtract", sorted(numbers.subtract(sc.parallelize(range(1, 15))).collect()))
print("intersection", sorted(numbers.intersection(sc.parallelize([3, 4, 99])).collect()))
print("cartesian", sorted(sc.parallelize([1, 2]).cartesian(sc.parallelize(["x", "y"])).collect()))
print("zip", numbers.zip(numbers.map(str)).take(3), numbers.zipWithIndex().take(3))
print("coalesce", numbers.coalesce(2).glom().collect(), numbers.repartition(3).count())
print(
    "count",
    numbers.count(),
    numbers.first(),
    numbers.take(5),
    numbers.top(2),
    numbers.takeOrdered(2),
)
print(
    "take across",
    sc.parallelize(range(100), 20).filter(lambda x: x > 80).take(3),
    sc.parallelize([], 3).take(2),
)
print(
    "reduce",
    numbers.reduce(lambda a, b: a + b),
    numbers.fold(0, max),
    numbers.sum(),
    numbers.mean(),
)
print(
    "aggregate",
    numbers.aggregate((0, 0), lambda a, x: (a[0] + x, a[1] + 1), lambda a, b: (a[0] + b[0], a[1] + b[1])),
)
print("stats", numbers.stats(), numbers.min(), numbers.max(), numbers.variance())
print("isEmpty", sc.emptyRDD().isEmpty(), numbers.isEmpty())
print("local iterator", list(numbers.toLocalIterator())[:4])

directory = tempfile.mkdtemp()
try:
    target = os.path.join(directory, "out")
    numbers.map(lambda x: f"line {x}").saveAsTextFile(target)
    print("saved", sorted(f for f in os.listdir(target) if not f.startswith(".")))
    print("textFile", sorted(sc.textFile(target).collect())[:3], sc.textFile(target).count())
    words = sc.textFile(target, 2).flatMap(str.split).map(lambda w: (w, 1)).reduceByKey(lambda a, b: a + b)
    print("word count", dict(words.collect())["line"])
    numbers.foreach(lambda x: open(os.path.join(directory, f"seen-{x}"), "w").close())
    print("foreach", len([f for f in os.listdir(directory) if f.startswith("seen-")]))
finally:
    shutil.rmtree(directory)

calls = sc.accumulator(0)


def counted(x):
    calls.add(1)
    return x


cached = numbers.map(counted).cache()
print("cache", cached.sum(), cached.sum(), calls.value, cached.is_cached)
cached.unpersist()
print("persist", numbers.map(str).persist(StorageLevel.MEMORY_AND_DISK).count())
factor = sc.broadcast({"by": 3})
print("broadcast", numbers.map(lambda x: x * factor.value["by"]).take(3))
array = np.arange(6, dtype=np.float64)
doubled = sc.parallelize(array, 2).map(lambda x: x * np.array([2]))
print("numpy", [float(x[0]) for x in doubled.collect()], sc.parallelize(array, 2).sum())

spark = SparkSession.builder.getOrCreate()
frame = sc.parallelize([Row(name="x", value=1), Row(name="y", value=2)]).toDF()
frame.show()
print("schema", frame.schema)
print("toDF names", sc.parallelize([(1, "one"), (2, "two")]).toDF(["id", "word"]).collect())
print("df.rdd", sorted(frame.rdd.map(lambda row: (row.value, row.name)).collect()))
spark.stop()
