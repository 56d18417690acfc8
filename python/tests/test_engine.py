"""Where the work is done, seen from outside: on executors through Ballista, or in the driver."""

from __future__ import annotations

import sys
from pathlib import Path

from conftest import Cluster, Programs, wait_until

SHUFFLE = """
import sys, time
from pyspark import SparkConf, SparkContext
sc = SparkContext(conf=SparkConf().setAppName("engine").setMaster(sys.argv[1]))
directory = sys.argv[2]
def slow(i, rows, directory=directory):
    import os, sys, time
    print("task", i, "says hello", flush=True)
    print("task", i, "complains", file=sys.stderr, flush=True)
    open(f"{directory}/started-{os.getpid()}", "w").close()
    time.sleep(2)
    return ((x % 4, x) for x in rows)
print(sorted(sc.parallelize(range(8), 2).mapPartitionsWithIndex(slow).groupByKey(2).mapValues(sorted).collect()))
"""
RESULT = "[(0, [0, 4]), (1, [1, 5]), (2, [2, 6]), (3, [3, 7])]\n"


def ancestors(pid: int) -> list[str]:
    """Return the command lines above a process."""
    lines = []
    while pid > 1:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        pid = int(stat[1])
        lines.append(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode())
    return lines


def worker_pids(programs: Programs) -> list[int]:
    """Wait for both tasks; return the pids of the Python workers that run them."""
    wait_until(lambda: len(list(programs.directory.glob("started-*"))) == 2, "both tasks started", 30)
    return [int(path.name.partition("-")[2]) for path in programs.directory.glob("started-*")]


def test_on_a_cluster_executors_run_the_python_workers(programs: Programs, cluster: Cluster) -> None:
    application = programs.start(
        sys.executable, programs.script("shuffle.py", SHUFFLE), cluster.url, str(programs.directory)
    )
    above = [ancestors(pid) for pid in worker_pids(programs)]
    assert all(" executor " in line[1] for line in above), above
    assert len({line[1] for line in above}) == 2, f"both tasks on one executor: {above}"
    assert not any(command.rstrip().endswith(" driver") for line in above for command in line), above
    out, err = application.communicate(timeout=30)
    assert out == RESULT, err
    # As on Spark, what Python workers print goes to the executor's stderr.
    lines = [f"task {task} {said}" for task in (0, 1) for said in ("says hello", "complains")]

    def printed() -> bool:
        said = "".join(path.read_text() for path in cluster.directory.glob("work-*/app-*/*/stderr"))
        return all(line in said for line in lines)

    wait_until(printed, f"{lines} in the executors' stderr", 10)


def test_in_local_mode_the_driver_runs_the_python_workers(programs: Programs) -> None:
    application = programs.start(
        sys.executable, programs.script("shuffle.py", SHUFFLE), "local[2]", str(programs.directory)
    )
    above = [ancestors(pid) for pid in worker_pids(programs)]
    assert all(line[1].rstrip().endswith(" driver") for line in above), above
    out, err = application.communicate(timeout=30)
    assert out == RESULT, err


def test_a_shuffle_takes_two_ballista_stages_that_the_console_shows(programs: Programs, cluster: Cluster) -> None:
    script = programs.script("shuffle.py", SHUFFLE)
    result = programs.python(script, cluster.url, str(programs.directory), master=cluster.url).ok()
    assert result.out == RESULT
    events = ["Connected to Spark cluster", "app_id=app-", "executor granted", "executor registered"]
    events += ["stage_id=1", "stage_id=2", "stage finished", "job finished", "application finished"]
    for event in events:
        assert event in result.err, f"`{event}` is not on the console:\n{result.err}"


RANDOM_ORDER = """
import sys
from pyspark.sql import SparkSession, functions as F
spark = SparkSession.builder.master(sys.argv[1]).getOrCreate()
df = spark.range(0, 2000, 1, 4)
drawn = df.select("id", F.rand(7).alias("r"), F.randn(7).alias("n"))
by_r = [row.r for row in drawn.orderBy("r").collect()]
by_n = [row.n for row in drawn.orderBy(F.desc("n")).collect()]
ids = [row.id for row in df.orderBy(F.rand()).collect()]
sql = [row[0] for row in spark.sql("select id from range(2000) order by rand()").collect()]
top = [row.id for row in df.orderBy(F.rand()).limit(50).collect()]
plain = list(range(2000))
print(by_r == sorted(by_r), by_n == sorted(by_n, reverse=True))
print(ids != plain, sql != plain, sorted(ids) == plain, sorted(sql) == plain, top != sorted(top))
ranks = spark.sql("select row_number() over (order by rand()) n, id from range(2000)").collect()
print(any(row.n != row.id + 1 for row in ranks))
"""


def test_rows_are_sorted_by_random_numbers(programs: Programs, master: str) -> None:
    result = programs.run(sys.executable, programs.script("random_order.py", RANDOM_ORDER), master).ok()
    assert result.out == "True True\nTrue True True True True\nTrue\n"
