"""What map stages wrote is used again while the application has the RDD, and deleted after that."""

from __future__ import annotations

import json
import sys

from conftest import Programs

PROGRAM = """
import gc, json, operator, sys, time
from pathlib import Path
from pyspark import SparkConf, SparkContext

local_dir = Path(sys.argv[1])
sc = SparkContext(conf=SparkConf().setMaster("local-cluster[2,1,1024]").set("spark.local.dir", str(local_dir)))
calls = sc.accumulator(0)

def keyed(x):
    calls.add(1)
    return x % 10, x

def files():
    return len(list(local_dir.rglob("*.arrow")))

def until_none():
    end = time.monotonic() + 20
    while files() and time.monotonic() < end:
        time.sleep(0.05)
    return files()

sums = sc.range(1000, numSlices=4).map(keyed).reduceByKey(operator.add, 2)
found = [sums.count(), calls.value, dict(sums.collect())[3], calls.value]
# Three ways to the same stage within one job.
shared = sc.range(500, numSlices=2).map(keyed).groupByKey(2).mapValues(len)
found += [sc.union([shared, shared, shared]).count(), calls.value]
kept = files()
del sums, shared
gc.collect()
found.append(sc.range(7).count())
print(json.dumps([found, kept, until_none()]))
sc.stop()
"""


def test_map_stages_run_once_and_their_files_go_with_the_rdd(programs: Programs) -> None:
    script = programs.script("reused.py", PROGRAM)
    scratch = programs.directory / "local"
    scratch.mkdir()
    found, kept, left = json.loads(programs.run(sys.executable, script, str(scratch)).ok().out)
    # What Apache Spark answers, too: in its second job it skips the stage of the first.
    assert found == [10, 1000, sum(range(3, 1000, 10)), 1000, 30, 1500, 7]
    assert kept > 0
    assert left == 0
