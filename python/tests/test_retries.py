"""Tasks that fail are tried again as often as Spark tries, and no trace of the failed attempts is left."""

from __future__ import annotations

import re
import sys

import pytest
from conftest import Cluster, Programs

CONTEXT = """
import os, signal, sys
from pyspark import SparkConf, SparkContext, TaskContext
conf = SparkConf().setAppName("retries").setMaster(sys.argv[1])
for setting in sys.argv[3:]:
    conf.set(*setting.split("="))
sc = SparkContext(conf=conf)
attempts = sys.argv[2]
def attempt():
    with open(attempts, "a") as log:
        log.write(f"{TaskContext.get().partitionId()}.{TaskContext.get().attemptNumber()}\\n")
    return TaskContext.get().attemptNumber()
"""

FAILS = (
    CONTEXT
    + """
def fail(x):
    attempt()
    %s
try:
    sc.parallelize([1], 1).map(fail).collect()
except Exception as error:
    print(type(error).__name__, error)
print(sc.parallelize([1, 2], 2).sum())
"""
)

#: Both sides of a shuffle fail on their first two attempts, one with an exception and one without a word.
FLAKY = (
    CONTEXT
    + """
seen, kept = sc.accumulator(0), sc.accumulator(0)
def before(rows):
    for x in rows:
        seen.add(1)
        yield x % 3, x
    if attempt() < 2:
        raise ValueError("not yet")
def after(rows):
    rows = list(rows)
    kept.add(len(rows))
    if attempt() < 2:
        os._exit(7)
    return rows
rdd = sc.parallelize(range(30), 2).mapPartitions(before).reduceByKey(lambda a, b: a + b, 2).mapPartitions(after)
print(sorted(rdd.collect()), seen.value, kept.value)
"""
)


def run(programs: Programs, text: str, master: str, *settings: str) -> tuple[str, list[str]]:
    """Run a program; return its output and the attempts that it made."""
    log = programs.directory / "attempts"
    log.write_text("")
    out = programs.run(sys.executable, programs.script("retries.py", text), master, str(log), *settings).ok().out
    return out, sorted(log.read_text().split())


def test_a_crashing_task_is_tried_four_times(programs: Programs, cluster: Cluster) -> None:
    out, attempts = run(programs, FAILS % "os.kill(os.getpid(), signal.SIGKILL)", cluster.url)
    assert attempts == ["0.0", "0.1", "0.2", "0.3"], out
    said = r"Job aborted due to stage failure: Task 0 in stage \d+\.0 failed 4 times, most recent failure: "
    said += (
        r"Lost task 0\.3 in stage \d+\.0 \(TID \d+\) \(127\.0\.0\.1 executor \d\): org\.apache\.spark\.SparkException: "
    )
    assert re.search(said + r"Python worker exited unexpectedly \(crashed\)", out), out
    assert out.endswith("3\n"), "the context works on"


def test_a_function_that_raises_is_tried_as_often_as_the_setting_says(programs: Programs, cluster: Cluster) -> None:
    out, attempts = run(programs, FAILS % "raise ValueError('no good')", cluster.url)
    assert attempts == ["0.0", "0.1", "0.2", "0.3"], out
    assert out.startswith("PythonException") and "ValueError: no good" in out, out
    out, attempts = run(programs, FAILS % "os._exit(3)", cluster.url, "spark.task.maxFailures=2")
    assert attempts == ["0.0", "0.1"] and "failed 2 times" in out, out


@pytest.mark.parametrize(("master", "times"), [("local[2]", 1), ("local[2,3]", 3)])
def test_locally_only_the_master_says_how_often(programs: Programs, master: str, times: int) -> None:
    out, attempts = run(programs, FAILS % "os._exit(3)", master, "spark.task.maxFailures=9")
    assert attempts == [f"0.{n}" for n in range(times)], out
    assert re.search(
        rf"Task 0 in stage \d+\.0 failed {times} times, most recent failure: Lost task 0\.{times - 1} ", out
    )
    assert "Python worker exited unexpectedly (crashed)" in out and out.endswith("3\n"), out


def test_attempts_that_fail_leave_no_rows_and_count_nothing(programs: Programs, cluster: Cluster) -> None:
    for master in (cluster.url, "local[2,4]"):
        out, attempts = run(programs, FLAKY, master)
        assert out == "[(0, 135), (1, 145), (2, 155)] 30 3\n", master
        assert attempts == sorted(2 * [f"{p}.{n}" for p in (0, 1) for n in (0, 1, 2)]), master
