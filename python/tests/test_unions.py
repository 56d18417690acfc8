"""Unions whose inputs have few rows or partitions give the same rows on a cluster and without one."""

from __future__ import annotations

import json
import sys

import pytest
from conftest import Programs

#: Queries by name, and their rows in order where the query has one, else sorted.
PROGRAM = """
import json, sys
from pyspark.sql import SparkSession, functions as F

spark = SparkSession.builder.master(sys.argv[1]).appName("unions").getOrCreate()
spark.range(5).createOrReplaceTempView("five")
one, five = spark.sql("select 1 as id"), spark.range(5)
few = spark.createDataFrame([(10,), (11,)], ["id"])
five.write.parquet(sys.argv[2] + "/five")
scan = spark.read.parquet(sys.argv[2] + "/five")
none = spark.createDataFrame([], "id long")

QUERIES = {
    "one row first": lambda: spark.sql("select 1 as a union all select id from range(5)"),
    "one row last": lambda: spark.sql("select id from range(5) union all select 1"),
    "frames": lambda: five.union(one),
    "frames the other way": lambda: one.union(five),
    "one row twice": lambda: one.union(one),
    "three literals": lambda: spark.sql("select 1 union all select 2 union all select 3"),
    "distinct": lambda: spark.sql("select 1 as a union select id from range(5)"),
    "values": lambda: spark.sql("select * from values (1), (2) union all select id from five"),
    "local relation": lambda: five.union(few),
    "local relations": lambda: few.union(one).union(few),
    "file": lambda: few.union(scan).union(one),
    "no rows": lambda: none.union(one),
    "nothing left": lambda: five.where("id > 100").union(one),
    "nothing at all": lambda: none.union(five.where("id > 100")),
    "by name": lambda: five.select(F.lit("x").alias("t"), "id").unionByName(one.select("id", F.lit("y").alias("t"))),
    "count": lambda: five.union(one).groupBy().count(),
    "aggregates": lambda: five.agg(F.count("*")).union(one).union(few.agg(F.sum("id"))),
    "groups": lambda: five.union(one).union(few).groupBy("id").count(),
    "join": lambda: one.union(five).join(few.union(one), "id"),
    "cross": lambda: one.crossJoin(five.select(F.col("id").alias("other"))),
    "self join": lambda: spark.sql(
        "with t as (select 1 id union all select id from five) select count(*) from t a join t b using (id)"
    ),
    "intersect": lambda: one.intersect(five.union(one)),
    "except": lambda: five.union(one).exceptAll(one),
    "in": lambda: spark.sql("select id from five where id in (select 1 union all select 3)"),
    "udf": lambda: one.union(five).select(F.udf(lambda x: x * 2, "long")("id")),
    "repartition": lambda: one.union(five).repartition(3),
    "coalesce": lambda: one.union(five).coalesce(1),
    "nested": lambda: one.union(five.union(one)).union(few.union(scan)),
}
ORDERED = {
    "limit in the first": lambda: five.union(one).limit(3),
    "limit beyond the first": lambda: one.union(five).limit(3),
    "limit beyond all": lambda: one.union(five).limit(10),
    "limit of local relations": lambda: few.union(one).union(five).limit(4),
    "limits below": lambda: five.limit(2).union(one).union(few.limit(1)),
    "offset": lambda: one.union(five).offset(4),
    "order": lambda: few.union(five).union(one).orderBy(F.desc("id")),
    "top": lambda: few.union(five).union(one).orderBy("id").limit(3),
    "window": lambda: spark.sql(
        "select id, row_number() over (order by id) from (select 1 id union all select id from five) order by 2"
    ),
}
found = {name: sorted(map(list, query().collect())) for name, query in QUERIES.items()}
found |= {name: [list(row) for row in query().collect()] for name, query in ORDERED.items()}
found["tail"] = [list(row) for row in one.union(five).tail(2)]
found["first"] = list(one.union(five).first())
found["rdd"] = sorted(list(row) for row in one.union(five).rdd.collect())
found["pandas"] = sorted(one.union(five).toPandas()["id"].tolist())
found["written"] = one.union(five).write.parquet(sys.argv[2] + "/union")
found["read again"] = sorted(list(row) for row in spark.read.parquet(sys.argv[2] + "/union").collect())
print(json.dumps(found))
"""

SIX = [[0], [1], [1], [2], [3], [4]]
EXPECTED = {
    "one row first": SIX,
    "one row last": SIX,
    "frames": SIX,
    "frames the other way": SIX,
    "one row twice": [[1], [1]],
    "three literals": [[1], [2], [3]],
    "distinct": [[0], [1], [2], [3], [4]],
    "values": [[0], [1], [1], [2], [2], [3], [4]],
    "local relation": [[0], [1], [2], [3], [4], [10], [11]],
    "local relations": [[1], [10], [10], [11], [11]],
    "file": [*SIX, [10], [11]],
    "no rows": [[1]],
    "nothing left": [[1]],
    "nothing at all": [],
    "by name": [["x", 0], ["x", 1], ["x", 2], ["x", 3], ["x", 4], ["y", 1]],
    "count": [[6]],
    "aggregates": [[1], [5], [21]],
    "groups": [[0, 1], [1, 2], [2, 1], [3, 1], [4, 1], [10, 1], [11, 1]],
    "join": [[1], [1]],
    "cross": [[1, 0], [1, 1], [1, 2], [1, 3], [1, 4]],
    "self join": [[8]],
    "intersect": [[1]],
    "except": [[0], [1], [2], [3], [4]],
    "in": [[1], [3]],
    "udf": [[0], [2], [2], [4], [6], [8]],
    "repartition": SIX,
    "coalesce": SIX,
    "nested": [[0], [0], [1], [1], [1], [1], [2], [2], [3], [3], [4], [4], [10], [11]],
    "limit in the first": [[0], [1], [2]],
    "limit beyond the first": [[1], [0], [1]],
    "limit beyond all": [[1], [0], [1], [2], [3], [4]],
    "limit of local relations": [[10], [11], [1], [0]],
    "limits below": [[0], [1], [1], [10]],
    "offset": [[3], [4]],
    "order": [[11], [10], [4], [3], [2], [1], [1], [0]],
    "top": [[0], [1], [1]],
    "window": [[0, 1], [1, 2], [1, 3], [2, 4], [3, 5], [4, 6]],
    "tail": [[3], [4]],
    "first": [1],
    "rdd": SIX,
    "pandas": [0, 1, 1, 2, 3, 4],
    "written": None,
    "read again": SIX,
}


@pytest.mark.parametrize("master", ["local[2]", "local-cluster[2,1,1024]"])
def test_unions_with_few_rows(programs: Programs, master: str) -> None:
    script = programs.script("unions.py", PROGRAM)
    found = json.loads(programs.run(sys.executable, script, master, str(programs.directory), seconds=90).ok().out)
    assert {name: rows for name, rows in found.items() if rows != EXPECTED[name]} == {}
    assert set(found) == set(EXPECTED)
