"""The driver holds no more than one job's results and 200 MiB, however much the job reads or computes."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from conftest import Programs

LOCAL_CLUSTER = "local-cluster[2,1,1024]"
OWN_MIB = 200
#: ``spark.driver.memory``: in local mode what sorts and writers of DataFrames hold lies in the driver, too.
DRIVER_MEMORY_MIB = 1024

PRELUDE = """
import json, os, shutil, sys
from pathlib import Path
from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession, functions as F

conf = SparkConf().setAppName("memory").setMaster(sys.argv[1]).set("spark.driver.memory", sys.argv[3])
sc = SparkContext(conf=conf)
spark = SparkSession.builder.getOrCreate()
scratch, MIB = sys.argv[2], 1 << 20
found = []

def driver():
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode().split("\\0")
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if words[1:2] == ["driver"] and parent == os.getpid():
                return entry
    raise AssertionError("this application has no driver")

process = driver()

def peak(name, action, results_mib=0):
    # Has the kernel forget the highest use so far.
    (process / "clear_refs").write_text("5")
    answer = action()
    lines = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    found.append([name, answer, int(lines["VmHWM"].split()[0]) // 1024, results_mib])
"""

COLLECTS = """
chunks = sc.parallelize(range(150), 8).map(lambda x: os.urandom(MIB))
small = sc.parallelize(range(15_000), 8).map(lambda x: os.urandom(MIB // 100))
numbers = spark.range(0, 10_000_000, 1, 8).selectExpr("id", "id * 2 as twice")
texts = spark.range(0, 300, 1, 8).selectExpr("repeat(substr(cast(id + 1000 as string), 1, 4), 262144) as text")
for _ in range(3):
    peak("large elements", lambda: len(chunks.collect()), 150)
    peak("small elements", lambda: len(small.collect()), 150)
    peak("pandas", lambda: len(numbers.toPandas()), 153)
    peak("rows", lambda: len(texts.collect()), 300)
    peak("taken", lambda: len(chunks.take(10)), 19)  # the first partition
peak("iterated", lambda: sum(1 for _ in chunks.toLocalIterator()), 20)
print(json.dumps(found))
"""

RDDS = """
chunks = sc.parallelize(range(1000), 16).map(lambda x: (x, os.urandom(MIB)))
pairs = sc.parallelize(range(400), 8).map(lambda x: (x % 40, os.urandom(MIB)))
rows = sc.parallelize(range(300), 8).flatMap(lambda x: [(os.urandom(4), b"x" * 1000) for _ in range(1000)])
peak("count", chunks.count)
peak("foreach", lambda: chunks.foreach(lambda pair: None))
peak("numbers", sc.range(0, 10_000_000, 1, 16).map(lambda x: x * 2).count)
peak("shuffle", lambda: pairs.partitionBy(8).map(lambda pair: len(pair[1])).sum() // MIB)
peak("sort", lambda: rows.sortByKey(numPartitions=8).count())
peak("saved", lambda: chunks.mapValues(bytes.hex).values().saveAsTextFile(scratch + "/text"))
print(json.dumps(found))
"""

FRAMES = """
wide = spark.range(0, 4_000_000, 1, 8).selectExpr("id", "uuid() as u", "repeat(cast(id as string), 30) as s")
peak("count", lambda: spark.range(0, 1_000_000_000).where("id % 7 > 2").count())
peak("parquet", lambda: wide.write.parquet(scratch + "/wide"))
peak("read", lambda: spark.read.parquet(scratch + "/wide").where(F.length("s") > 0).count())
peak("sorted", lambda: spark.read.parquet(scratch + "/wide").orderBy("u").write.parquet(scratch + "/sorted"))
peak("groups", lambda: spark.read.parquet(scratch + "/wide").groupBy(F.substring("u", 1, 3)).count().count())
peak("exchanged", lambda: spark.read.parquet(scratch + "/wide").repartition(8, "u").write.parquet(scratch + "/again"))
shutil.rmtree(scratch)
print(json.dumps(found))
"""


#: Each part of a sort holds some memory that it cannot spill.
MANY_PARTS = """
rows = spark.range(0, 2_000_000, 1, 50).selectExpr("id", "uuid() as u", "repeat(cast(id as string), 30) as s")
peak("sorted", lambda: rows.orderBy("u").write.parquet(scratch + "/sorted"))
texts = [row.u for row in spark.read.parquet(scratch + "/sorted").select("u").limit(100_000).collect()]
found.append([texts == sorted(texts), spark.read.parquet(scratch + "/sorted").count(), 0, 0])
print(json.dumps(found))
"""


def peaks(programs: Programs, text: str, master: str, memory_mib: int = DRIVER_MEMORY_MIB) -> list[list[Any]]:
    """Run a program and return, for each action, its name, its answer, the driver's peak and the size of its results."""
    script = programs.script("memory.py", PRELUDE + text)
    scratch = programs.directory / "scratch"
    scratch.mkdir()
    result = programs.run(sys.executable, script, master, str(scratch), f"{memory_mib}m", seconds=240).ok()
    found: list[list[Any]] = json.loads(result.out)
    print("\n".join(map(str, found)))
    return found


def within(found: list[list[Any]], own_mib: int = OWN_MIB) -> None:
    """Fail if the driver held more than the results of an action and what it may have for itself."""
    beyond = [action for action in found if action[2] > action[3] + own_mib]
    assert not beyond, f"beyond results and {own_mib} MiB: {beyond}\nof: {found}"


@pytest.mark.parametrize("master", ["local[2]", LOCAL_CLUSTER])
def test_of_collected_results_the_driver_keeps_nothing(programs: Programs, master: str) -> None:
    found = peaks(programs, COLLECTS, master)
    answers = [150, 15_000, 10_000_000, 300, 10]
    assert [action[1] for action in found] == 3 * answers + [150]
    within(found)


@pytest.mark.parametrize("master", ["local[2]", LOCAL_CLUSTER])
def test_what_rdds_compute_does_not_stay_in_the_driver(programs: Programs, master: str) -> None:
    found = peaks(programs, RDDS, master)
    assert [action[1] for action in found] == [1000, None, 10_000_000, 400, 300_000, None]
    within(found)


@pytest.mark.parametrize("master", ["local[2]", LOCAL_CLUSTER])
def test_what_dataframes_compute_does_not_stay_in_the_driver(programs: Programs, master: str) -> None:
    found = peaks(programs, FRAMES, master)
    assert [action[1] for action in found] == [571428571, None, 4_000_000, None, 4096, None]
    within(found, OWN_MIB + (DRIVER_MEMORY_MIB if master != LOCAL_CLUSTER else 0))


def test_a_sort_of_many_parts_spills_in_little_memory(programs: Programs) -> None:
    found = peaks(programs, MANY_PARTS, "local[2]", 512)
    assert [action[:2] for action in found] == [["sorted", None], [True, 2_000_000]]
    within(found, OWN_MIB + 512)
