"""Joins of every kind, with sides of very different sizes, several partitions and nulls."""

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

spark = SparkSession.builder.appName("joins").getOrCreate()

few = spark.range(0, 8, 1, 2).select(F.when(F.col("id") != 5, F.col("id")).alias("k"), (F.col("id") * 10).alias("a"))
many = spark.range(0, 6000, 1, 5).select(
    F.when(F.col("id") % 50 != 7, F.col("id") % 50 + 3).alias("k"), F.col("id").alias("b")
)
few.createOrReplaceTempView("few")
many.createOrReplaceTempView("many")
many.where("k is not null").createOrReplaceTempView("known")
many.where("b < 0").createOrReplaceTempView("none")


def totals(query: str) -> None:
    """Print how many rows a query has, and sums that tell one set of rows from another."""
    rows = spark.sql(f"select count(*), sum(l), sum(r), count(l), count(r) from ({query})").collect()[0]
    print(f"{query}: {list(rows)}")


for kind in ("inner", "left", "right", "full"):
    for left, right in (("few", "many"), ("many", "few"), ("few", "none"), ("none", "few")):
        one, other = ("a" if side == "few" else "b" for side in (left, right))
        for condition in ("x.k = y.k", "x.k < y.k and y.k < 6", f"x.k = y.k and x.{one} > y.{other}"):
            totals(f"select x.{one} l, y.{other} r from {left} x {kind} join {right} y on {condition}")

for kind in ("left semi", "left anti"):
    for left, right in (("few", "many"), ("many", "few"), ("few", "none")):
        value = "a" if left == "few" else "b"
        for condition in ("x.k = y.k", "x.k < y.k and y.k < 6", "x.k <=> y.k"):
            totals(f"select x.{value} l, x.k r from {left} x {kind} join {right} y on {condition}")

for outer, inner in (("few", "many"), ("few", "known"), ("few", "none"), ("many", "few"), ("known", "few")):
    value = "a" if outer == "few" else "b"
    for predicate in (
        f"k in (select k from {inner})",
        f"k not in (select k from {inner})",
        f"k not in (select k from {inner} where k is not null)",
        f"exists (select 1 from {inner} i where i.k = o.k)",
        f"not exists (select 1 from {inner} i where i.k > o.k)",
        f"exists (select 1 from {inner} i where i.k = o.k) or k = 1",
        f"k in (select k from {inner}) or k is null",
        f"k > (select avg(k) from {inner})",
    ):
        totals(f"select {value} l, k r from {outer} o where {predicate}")

totals("select x.a l, y.b r from few x cross join (select b from many where b < 40) y")
totals("select x.a l, y.a r from few x, few y where x.k not in (select k from known where known.b > 5990)")
print(sorted(few.join(many, "k", "left_anti").union(few.where("k is null")).toPandas()["a"]))
spark.stop()
