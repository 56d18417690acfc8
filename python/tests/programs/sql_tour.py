"""A walk through DataFrames and SQL; prints the same on Apache Spark and here."""

import os
import shutil
import tempfile

import pandas as pd
import pyarrow as pa
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.functions import col, udf
from pyspark.sql.types import IntegerType, LongType, StringType, StructField, StructType

spark = SparkSession.builder.appName("sql tour").getOrCreate()

people = spark.createDataFrame(
    [(1, "Ann", 34, "x"), (2, "Bob", None, "y"), (3, "Cid", 51, "x"), (4, "Dee", 28, None)],
    "id INT, name STRING, age INT, team STRING",
)
people.printSchema()
people.show()
print(people.schema, people.columns, people.dtypes)
print(people.count(), people.collect(), people.take(2), people.first())
people.select("name", (col("age") + 1).alias("next"), col("id") * 2, people["team"]).show()
people.select(F.col("age") + 1, F.upper("name"), F.lit(1), F.lit("a"), F.col("id") == 1, -F.col("id")).show()
people.filter(col("age") > 30).show()
people.where("team = 'x' AND age < 40").show()
people.withColumn("double", col("age") * 2).withColumnRenamed("id", "key").drop("team").show()
people.groupBy("team").agg(F.count("*"), F.sum("age"), F.avg("age").alias("mean"), F.max("name")).orderBy("team").show()
people.groupBy("team").count().orderBy(F.desc("count"), "team").show()
people.agg({"age": "max"}).show()
teams = spark.createDataFrame(pd.DataFrame({"team": ["x", "y", "z"], "city": ["Ulm", "Bonn", "Jena"]}))
for how in ("inner", "left", "right", "outer", "left_semi", "left_anti"):
    print(how)
    people.join(teams, "team", how).orderBy("team", "id").show()
people.alias("a").join(people.alias("b"), col("a.id") == col("b.id") + 1).select("a.name", "b.name").orderBy(
    "a.id"
).show()
people.join(teams, people.team == teams.team).orderBy("id").show()
people.orderBy(col("age").desc_nulls_last()).show(2)
people.sort("team", F.desc("id")).limit(3).show()
people.union(people.limit(1)).orderBy("id").show()
people.unionByName(people.select("team", "age", "name", "id")).count()
print(people.select("team").distinct().orderBy("team").collect())
print(
    people.dropDuplicates(["team"]).count(),
    people.dropna().count(),
    people.fillna(0).orderBy("id").collect(),
)
people.show(2, truncate=2)
people.show(1, vertical=True)
spark.createDataFrame(pa.table({"n": [1, 2, 3]})).show()
print(spark.createDataFrame([Row(a=1, b=[1, 2], c={"k": 1.5}), Row(a=2, b=[], c={})]).orderBy("a").collect())
print(spark.range(5).toPandas(), spark.range(2, 10, 3).collect())

people.createOrReplaceTempView("people")
teams.createOrReplaceTempView("teams")
for query in [
    "SELECT 1, 'a', 1.5, 2.0e0, true, null, -1",
    "SELECT name, age + 1 FROM people WHERE age IS NOT NULL ORDER BY age DESC",
    "SELECT team, count(*), sum(age) s, avg(age) FROM people GROUP BY team HAVING count(*) > 0 ORDER BY team",
    "SELECT p.name, t.city FROM people p JOIN teams t ON p.team = t.team ORDER BY p.id",
    "SELECT p.name, t.city FROM people p LEFT JOIN teams t USING (team) ORDER BY p.id",
    "WITH old AS (SELECT * FROM people WHERE age > 30), t AS (SELECT team FROM old) SELECT count(*) n FROM t",
    "SELECT name FROM people WHERE team IN (SELECT team FROM teams) ORDER BY name",
    "SELECT name FROM people p WHERE EXISTS (SELECT 1 FROM teams t WHERE t.team = p.team) ORDER BY name",
    "SELECT name, (SELECT max(age) FROM people) AS oldest FROM people ORDER BY id",
    "SELECT x.n FROM (SELECT id * 2 AS n FROM people) x WHERE x.n > 2 ORDER BY n LIMIT 2",
    "SELECT CASE WHEN age > 40 THEN 'old' WHEN age IS NULL THEN 'unknown' ELSE 'young' END AS k, count(1) FROM people GROUP BY 1 ORDER BY 1",
    "SELECT CAST('12' AS INT), CAST(1.7 AS INT), try_cast('x' AS INT), 7 / 2, 7 % 3, 7 div 2, 'a' || 'b'",
    "SELECT id FROM people UNION SELECT 9 ORDER BY id",
    "SELECT upper(name), length(name), substring(name, 2, 2), concat(name, '-', team), coalesce(team, '?') FROM people ORDER BY id",
    "SELECT name, row_number() OVER (PARTITION BY team ORDER BY id) rn, sum(age) OVER (ORDER BY id) rs FROM people ORDER BY id",
    "SELECT DISTINCT team FROM people ORDER BY team",
    "SELECT date '2024-02-28' + interval 2 days AS d, year(date '2024-05-06') y, datediff(date '2024-03-01', date '2024-02-01') dd",
    "SELECT * FROM VALUES (1, 'a'), (2, 'b') AS t(x, y) ORDER BY x",
    "SELECT count(DISTINCT team), min(name), max(age) FROM people",
    "SELECT array(1, 2, 3)[1], map('a', 1)['a'], named_struct('x', 5).x, size(array(1, 2)), explode(array(7, 8))",
]:
    print(query)
    spark.sql(query).show()
spark.sql("SELECT * FROM people WHERE age > :limit ORDER BY id", args={"limit": 30}).show()


@udf(returnType=IntegerType())
def plus_one(x):
    return None if x is None else x + 1


spark.udf.register("shout", lambda s: s.upper() + "!", StringType())
spark.udf.register("squared", lambda x: x * x, LongType())
people.select("name", plus_one("age"), plus_one(plus_one(col("id"))).alias("twice")).orderBy("id").show()
people.filter(plus_one("age") > 35).select("name").orderBy("name").show()
spark.sql("SELECT shout(name) AS s, squared(id) FROM people WHERE squared(id) > 1 ORDER BY id").show()
spark.sql("SELECT squared(id) FROM people ORDER BY 1").printSchema()
people.groupBy(plus_one("id")).count().orderBy("count", "plus_one(id)").show()

directory = tempfile.mkdtemp()
try:
    for kind in ("parquet", "csv", "json"):
        path = os.path.join(directory, kind)
        writer = people.orderBy("id").coalesce(1).write
        if kind == "csv":
            writer = writer.option("header", True)
        writer.format(kind).save(path)
        reader = spark.read.option("header", True).option("inferSchema", True) if kind == "csv" else spark.read
        loaded = reader.format(kind).load(path)
        loaded.printSchema()
        loaded.orderBy("id").show()
        people.write.mode("append").format(kind).option("header", True).save(path)
        print(kind, reader.format(kind).load(path).count(), "_SUCCESS" in os.listdir(path))
        people.limit(1).write.mode("overwrite").format(kind).option("header", True).save(path)
        print(kind, reader.format(kind).load(path).count())
    schema = StructType([StructField("id", LongType()), StructField("name", StringType())])
    spark.read.schema(schema).json(os.path.join(directory, "json")).show()
    people.write.partitionBy("team").parquet(os.path.join(directory, "parts"))
    print(sorted(d for d in os.listdir(os.path.join(directory, "parts")) if "=" in d))
    print(spark.read.parquet(os.path.join(directory, "parts")).filter("team = 'x'").count())
finally:
    shutil.rmtree(directory)

for bad in [
    "SELECT nope FROM people",
    "SELECT * FROM missing",
    "SELEC 1",
    "SELECT 1 / 0",
    "SELECT CAST('x' AS INT)",
    "SELECT nofunc(1)",
]:
    try:
        spark.sql(bad).collect()
    except Exception as error:
        print(bad, type(error).__name__, error.getCondition(), error.getSqlState())
print(
    spark.catalog.tableExists("people"),
    [t.name for t in spark.catalog.listTables()],
    spark.catalog.dropTempView("people"),
)
spark.stop()
