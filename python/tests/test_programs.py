"""Programs that print the same here as on Apache Spark, whose output is recorded."""

from __future__ import annotations

import difflib

import pytest
from conftest import EXPECTED, PROGRAMS, Programs


@pytest.mark.parametrize("name", ["api_tour", "cache_tour", "join_tour", "rdd_tour", "sql_tour"])
def test_program_prints_what_spark_prints(programs: Programs, master: str, name: str) -> None:
    result = programs.python(PROGRAMS / f"{name}.py", master=master, seconds=180, PYTHONHASHSEED="0").ok()
    expected = (EXPECTED / f"{name}.txt").read_text(encoding="utf-8")
    difference = "\n".join(
        difflib.unified_diff(
            expected.splitlines(),
            result.out.splitlines(),
            "Apache Spark",
            "Pyrite",
            lineterm="",
            n=2,
        )
    )
    assert not difference, difference


DEEP = """
import sys
from pyspark.sql import SparkSession, functions as F
spark = SparkSession.builder.master(sys.argv[1]).getOrCreate()
df = spark.range(10)
for step in range(100):
    df = df.withColumn("c", F.col("id") + step)
print(df.agg(F.sum("c")).collect()[0][0])
"""


def test_a_chain_of_100_operations(programs: Programs, master: str) -> None:
    result = programs.python(programs.script("deep.py", DEEP), master, master=master, seconds=120).ok()
    assert result.out == "1035\n"
