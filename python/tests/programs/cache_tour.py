"""A walk through cached DataFrames and tables; prints the same on Apache Spark and here."""

import contextlib
import io
import shutil
import tempfile
import time

from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

spark = SparkSession.builder.appName("cache tour").getOrCreate()
sc = spark.sparkContext
calls = sc.accumulator(0)


@F.udf("long")
def twice(value: int) -> int:
    """Double a number and count the call."""
    calls.add(1)
    return value * 2


def plan(df: DataFrame) -> str:
    """Return what ``explain`` prints."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        df.explain()
    return text.getvalue()


def frame() -> DataFrame:
    """Make the same frame anew."""
    return spark.range(20, numPartitions=4).withColumn("y", twice("id"))


print("frames")
df = frame()
print(df.is_cached, repr(df.storageLevel), "InMemoryTableScan" in plan(df))
print(df.cache() is df, df.is_cached, df.storageLevel, calls.value, "InMemoryTableScan" in plan(df.filter("y > 3")))
print(df.count(), calls.value, df.filter("y > 10").count(), df.agg(F.sum("y")).first(), calls.value)
print(df.persist(StorageLevel.DISK_ONLY).storageLevel, calls.value)
print(frame().storageLevel, df.alias("a").storageLevel, df.withColumnRenamed("y", "z").storageLevel)
print(frame().filter("y < 6").collect(), calls.value)
print(df.join(df.withColumnRenamed("y", "z"), "id").count(), df.union(df).count(), calls.value)
df.createOrReplaceTempView("t")
for query in [
    "SELECT count(*) FROM t WHERE y IN (SELECT y FROM t WHERE id > 3)",
    "SELECT count(*) FROM t WHERE id < (SELECT max(id) FROM t)",
    "SELECT count(*) FROM t a WHERE EXISTS (SELECT 1 FROM t b WHERE b.id = a.id + 1)",
    "SELECT (SELECT sum(y) FROM t) AS s, count(*) FROM range(3)",
    "WITH u AS (SELECT id % 3 AS k, sum(y) AS s FROM t GROUP BY 1) SELECT * FROM u ORDER BY k",
]:
    print(spark.sql(query).collect(), calls.value)
print(df.unpersist() is df, df.is_cached, repr(df.storageLevel), df.filter("id = 1").collect(), calls.value > 20)

print("exchanges")
before = calls.value
grouped = spark.range(30, numPartitions=3).groupBy((F.col("id") % 3).alias("k")).agg(F.sum(twice("id")).alias("s"))
wide = grouped.withColumn("r", F.rand()).cache()
first = sorted(wide.collect())
print(len(first), [row.s for row in first], calls.value - before)
print(sorted(wide.collect()) == first, sorted(wide.filter("s > 0").collect()) == first)
print(wide.join(wide.select("k", F.col("r").alias("again")), "k").filter("r = again").count(), calls.value - before)
narrower = wide.filter("k < 2").cache()
print(narrower.count(), calls.value - before)
wide.unpersist(blocking=True)
print(narrower.count(), calls.value - before, wide.storageLevel, narrower.storageLevel)
ordered = spark.range(10).orderBy(F.desc("id")).cache()
print(
    [row.id for row in ordered.collect()], ordered.first(), [row.id for row in ordered.filter("id % 2 = 0").collect()]
)
for level in (StorageLevel.MEMORY_ONLY, StorageLevel.DISK_ONLY, StorageLevel.MEMORY_AND_DISK_2):
    kept = spark.range(1000).repartition(3).withColumn("v", F.col("id") * level.replication).persist(level)
    print(kept.storageLevel, kept.agg(F.sum("v")).first(), kept.count())
    kept.unpersist()
none = spark.range(8).persist(StorageLevel.NONE)
print(repr(none.storageLevel), "InMemoryTableScan" in plan(none))
now = spark.range(2).withColumn("now", F.current_timestamp()).cache()
seen = now.collect()
time.sleep(0.05)
print(now.collect() == seen, now.rdd.map(lambda row: row.id).sum(), now.toPandas().shape, now.select().count())

print("tables")
nobody = spark.range(5).select((F.col("id") + 1).alias("n"))
nobody.createOrReplaceTempView("v")
print(spark.catalog.isCached("v"), spark.catalog.cacheTable("v"), spark.catalog.isCached("v"), nobody.storageLevel)
print(spark.catalog.uncacheTable("v"), spark.catalog.isCached("v"))
spark.catalog.cacheTable("v", StorageLevel.DISK_ONLY)
print(spark.table("v").storageLevel, spark.newSession().range(5).select((F.col("id") + 1).alias("m")).storageLevel)
spark.range(6).createOrReplaceTempView("v")
print(spark.catalog.isCached("v"), nobody.storageLevel)
nobody.cache().createOrReplaceTempView("v")
spark.range(7).createOrReplaceTempView("v")
print(nobody.storageLevel)
nobody.createOrReplaceTempView("v")
print(spark.catalog.isCached("v"), spark.catalog.dropTempView("v"), nobody.storageLevel)
nobody.createOrReplaceTempView("v")
before = calls.value
for statement in [
    "CACHE TABLE v",
    "UNCACHE TABLE v",
    "UNCACHE TABLE v",
    "UNCACHE TABLE IF EXISTS nowhere",
    "CACHE LAZY TABLE w OPTIONS ('storageLevel' 'DISK_ONLY') AS SELECT n FROM v WHERE n > 2",
    "CACHE TABLE v OPTIONS (storageLevel 'memory_only')",
]:
    print(statement, spark.sql(statement).collect(), spark.catalog.isCached("v"), spark.table("v").storageLevel)
print(spark.catalog.isCached("w"), spark.table("w").storageLevel, spark.table("w").collect())
df.createOrReplaceTempView("t")
spark.sql("CACHE TABLE t")
print(calls.value - before, spark.table("t").count(), calls.value - before)
for statement in [
    "CACHE TABLE nowhere",
    "UNCACHE TABLE nowhere",
    "CACHE TABLE w AS SELECT 1",
    "CACHE TABLE v OPTIONS ('storageLevel' 'BAD')",
]:
    try:
        spark.sql(statement)
    except Exception as error:
        print(type(error).__name__, str(error).splitlines()[0])
try:
    spark.catalog.isCached("nowhere")
except Exception as error:
    print(type(error).__name__, str(error).splitlines()[0])
print(
    spark.sql("CLEAR CACHE").collect(), spark.catalog.isCached("v"), spark.catalog.isCached("w"), ordered.storageLevel
)

print("files")
directory = tempfile.mkdtemp()
spark.range(3).write.parquet(directory + "/x")
files = spark.read.parquet(directory + "/x").cache()
print(files.count())
spark.range(10, 14).write.mode("append").parquet(directory + "/x")
print(spark.read.parquet(directory + "/x").count(), spark.read.parquet(directory + "/x").storageLevel)
shutil.rmtree(directory)

print("checkpoints")
before = calls.value
cut = frame().localCheckpoint()
print(calls.value - before, cut.agg(F.sum("y")).first(), cut.join(cut, "id").count(), calls.value - before)
lazily = frame().localCheckpoint(eager=False)
print(calls.value - before, lazily.count(), lazily.count(), calls.value - before)

print("global views")
spark.range(3).createOrReplaceGlobalTempView("g")
other = spark.newSession()
print(other.table("global_temp.g").collect(), other.sql("SELECT max(id) FROM global_temp.g").first())
print(other.catalog.tableExists("global_temp.g"), other.catalog.dropGlobalTempView("g"))
print(spark.catalog.tableExists("global_temp.g"))

print("sums")
for query in [
    "SELECT sum(x) FROM VALUES (9223372036854775807), (1) AS t(x)",
    "SELECT k, sum(x) FROM VALUES (1, 9223372036854775807), (2, 5), (1, 1) AS t(k, x) GROUP BY k",
    "SELECT sum(x) OVER (ORDER BY x) FROM VALUES (9223372036854775807), (1) AS t(x)",
    "SELECT try_sum(x) AS s FROM VALUES (9223372036854775807), (1) AS t(x)",
    "SELECT sum(x) AS s FROM VALUES (9223372036854775807), (null), (-1) AS t(x)",
    "SELECT sum(x) OVER (ORDER BY x ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS s FROM VALUES (1), (2), (4) AS t(x)",
    "SELECT sum(x) FILTER (WHERE x > 1) AS s, sum(x) AS t FROM VALUES (1L), (2L), (null) AS t(x)",
]:
    try:
        print(spark.sql(query).collect())
    except Exception as error:
        print(type(error).__name__, str(error).splitlines()[0])

print("signs")
ids = spark.range(2)
print(ids.select(-ids.id, F.negative("id"), -(ids.id + 1), -F.lit(1)).columns)
print(spark.sql("SELECT -id, negative(id), -(id + 1), -1, - -id, -1.5D, -id * 2, +id, -id AS x FROM range(2)").columns)
