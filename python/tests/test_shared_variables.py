"""Broadcasts and accumulators in functions of DataFrames: sent once, counted once, gone when told to."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from conftest import Programs

LOCAL_CLUSTER = "local-cluster[2,1,1024]"

PRELUDE = """
import json, os, sys, time
from pathlib import Path
from pyspark import SparkConf, SparkContext, TaskContext
from pyspark.sql import SparkSession, functions as F
conf = SparkConf().setAppName("shared").setMaster(sys.argv[1])
spark = SparkSession.builder.config(conf=conf).getOrCreate()
sc = spark.sparkContext
found = {}

def failure(action):
    try:
        action()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"

def processes():
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode().split("\\0")
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            yield entry, words, parent

def driver():
    (mine,) = [e for e, words, parent in processes() if words[1:2] == ["driver"] and parent == os.getpid()]
    return mine

def read_by_driver():
    lines = (driver() / "io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])
"""

#: Every kind of function that a DataFrame takes, with a broadcast and an accumulator in it.
USES = """
import pandas as pd
factor, seen = sc.broadcast({"times": 10}), sc.accumulator(0)
df = spark.range(0, 12, 1, 4)

@F.udf("long")
def plain(x):
    seen.add(1)
    return x * factor.value["times"]

@F.udf("long", useArrow=True)
def arrow(x):
    seen.add(1)
    return x * factor.value["times"]

@F.pandas_udf("long")
def pandas(x: pd.Series) -> pd.Series:
    seen.add(len(x))
    return x * factor.value["times"]

def in_pandas(frames):
    for frame in frames:
        seen.add(len(frame))
        yield frame * factor.value["times"]

def in_arrow(batches):
    import pyarrow as pa
    for batch in batches:
        seen.add(batch.num_rows)
        yield pa.RecordBatch.from_pydict({"id": [x * factor.value["times"] for x in batch.column(0).to_pylist()]})

def of_group(frame):
    seen.add(len(frame))
    return frame * factor.value["times"]

def each(row):
    seen.add(row.id * factor.value["times"])

def each_partition(rows):
    seen.add(sum(row.id * factor.value["times"] for row in rows))

def note(name, action):
    before = seen.value
    result = action()
    found[name] = [sorted(row[0] for row in result) if result is not None else None, seen.value - before]

note("plain", lambda: df.select(plain("id")).collect())
note("arrow", lambda: df.select(arrow("id")).collect())
note("pandas", lambda: df.select(pandas("id")).collect())
note("mapInPandas", lambda: df.mapInPandas(in_pandas, "id long").collect())
note("mapInArrow", lambda: df.mapInArrow(in_arrow, "id long").collect())
note("applyInPandas", lambda: df.groupBy(df.id % 3).applyInPandas(of_group, "id long").collect())
note("foreach", lambda: df.foreach(each))
note("foreachPartition", lambda: df.foreachPartition(each_partition))
note("rdd", lambda: df.rdd.foreachPartition(each_partition))
spark.udf.register("plain", plain)
note("sql", lambda: spark.sql("select plain(id) from range(12)").collect())
note("after a shuffle", lambda: df.repartition(3).select(plain("id")).collect())
note("filtered", lambda: df.where(plain("id") >= 60).select("id").collect())
print(json.dumps(found))
"""

#: Tasks fail on their first two attempts, after they have added to the accumulator.
RETRIES = """
seen, other = sc.accumulator(0), sc.accumulator(0)

def fail_twice():
    if TaskContext.get().attemptNumber() < 2:
        raise ValueError("not yet")

@F.udf("long")
def flaky(x):
    seen.add(1)
    if x % 3 == 2:
        fail_twice()
    return x

def flaky_partition(rows):
    for row in rows:
        other.add(row.id)
    fail_twice()

df = spark.range(0, 12, 1, 4)
found["rows"] = sorted(row[0] for row in df.select(flaky("id")).collect())
found["seen"] = seen.value
df.foreachPartition(flaky_partition)
found["other"] = other.value
df.rdd.foreachPartition(flaky_partition)
found["both"] = other.value

@F.udf("long")
def hopeless(x):
    seen.add(1000)
    raise ValueError("never")

found["failure"] = "ValueError: never" in failure(lambda: df.select(hopeless("id")).collect())
found["seen in the end"] = seen.value
print(json.dumps(found))
"""

#: How much the driver reads of its own files tells what it sends to executors.
ONCE = """
big = sc.broadcast(os.urandom(int(sys.argv[2])))
length = F.udf(lambda x: len(big.value), "long")
df = spark.range(0, 16, 1, 8)
def copies():
    return sorted(p for p in Path(os.environ["SPARK_LOCAL_DIRS"]).rglob(f"broadcast/{big._id}"))
def use():
    before = read_by_driver()
    found["lengths"] = {row[0] for row in df.select(length("id")).collect()} == {int(sys.argv[2])}
    df.foreachPartition(lambda rows: len(big.value))
    found["lengths in RDDs"] = sc.range(8).map(lambda x: len(big.value)).distinct().collect() == [int(sys.argv[2])]
    return read_by_driver() - before
def after(action, wanted):
    action()
    deadline = time.monotonic() + 10
    while len(copies()) != wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    return len(copies())
# The imports of the first tasks come over the same way.
df.select(F.udf(lambda x: x, "long")("id")).collect()
sc.range(8).map(lambda x: x).count()
found["read"] = [use(), use()]
found["copies"] = len(copies())
found["copies after unpersist"] = after(lambda: big.unpersist(blocking=True), 1)
found["read after unpersist"] = use()
found["copies after destroy"] = after(big.destroy, 0)
found["used after destroy"] = failure(lambda: df.select(F.udf(lambda x: len(big.value), "long")("id")).collect())
found["in an RDD"] = failure(lambda: sc.range(3).map(lambda x: len(big.value)).collect())
found["destroyed again"] = failure(big.destroy)
found["unpersisted then"] = failure(big.unpersist)
print(json.dumps(found))
"""


def run(programs: Programs, text: str, master: str, *arguments: str, **environment: str) -> Any:
    """Run a program and return what it found."""
    script = programs.script("shared.py", PRELUDE + text)
    return json.loads(programs.run(sys.executable, script, master, *arguments, **environment).ok().out)


@pytest.mark.parametrize("master", ["local[2]", LOCAL_CLUSTER])
def test_every_kind_of_function_reads_broadcasts_and_adds_to_accumulators(programs: Programs, master: str) -> None:
    found = run(programs, USES, master)
    rows = [x * 10 for x in range(12)]
    total = sum(rows)
    assert found == {
        "plain": [rows, 12],
        "arrow": [rows, 12],
        "pandas": [rows, 12],
        "mapInPandas": [rows, 12],
        "mapInArrow": [rows, 12],
        "applyInPandas": [rows, 12],
        "foreach": [None, total],
        "foreachPartition": [None, total],
        "rdd": [None, total],
        "sql": [rows, 12],
        "after a shuffle": [rows, 12],
        "filtered": [list(range(6, 12)), 12],
    }


@pytest.mark.parametrize("master", ["local[2,4]", LOCAL_CLUSTER])
def test_attempts_that_fail_count_nothing(programs: Programs, master: str) -> None:
    assert run(programs, RETRIES, master) == {
        "rows": list(range(12)),
        "seen": 12,
        "other": 66,
        "both": 132,
        "failure": True,
        "seen in the end": 12,
    }


@pytest.mark.parametrize("master", ["local[2]", LOCAL_CLUSTER])
def test_a_broadcast_goes_to_each_executor_once_until_it_is_unpersisted(programs: Programs, master: str) -> None:
    size = 20_000_000
    found = run(programs, ONCE, master, str(size), SPARK_LOCAL_DIRS=str(programs.directory / "local"))
    assert found["lengths"] and found["lengths in RDDs"]
    executors = 2 if master == LOCAL_CLUSTER else 0
    small = size // 10
    first, second = found["read"]
    assert executors * size <= first < executors * size + small, found
    assert second < small, found
    assert found["copies"] == executors + 1, found
    assert found["copies after unpersist"] == 1, found
    assert executors * size <= found["read after unpersist"] < executors * size + small, found
    assert found["copies after destroy"] == 0, found
    for use in ("used after destroy", "in an RDD", "destroyed again", "unpersisted then"):
        assert "INTERNAL_ERROR_BROADCAST" in found[use], found[use]
        assert "after it was destroyed" in found[use], found[use]
