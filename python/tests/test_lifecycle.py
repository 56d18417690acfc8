"""However an application ends, everything that it started is gone seconds later."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from conftest import GONE_SECONDS, Cluster, Programs, marked_processes, wait_until

#: Prints "started" from a task on each of two partitions, then works on for a minute.
BUSY = """
import sys, time
from pyspark import SparkConf, SparkContext
sc = SparkContext(conf=SparkConf().setAppName("busy").setMaster(sys.argv[1]))

directory = sys.argv[2]
def task(i, rows, directory=directory):
    import time
    open(f"{directory}/started-{i}-{time.time()}", "w").close()
    time.sleep(60)
    yield i

print(sc.parallelize(range(2), 2).mapPartitionsWithIndex(task).collect())
"""

#: Two partitions that each take a few seconds, through a shuffle.
PATIENT = """
import sys, time
from pyspark import SparkConf, SparkContext
sc = SparkContext(conf=SparkConf().setAppName("patient").setMaster(sys.argv[1]))
directory = sys.argv[2]
def slow(i, rows, directory=directory):
    import time
    open(f"{directory}/started-{i}-{time.time()}", "w").close()
    time.sleep(3)
    return ((x % 3, x) for x in rows)
rdd = sc.parallelize(range(100), 2).mapPartitionsWithIndex(slow).reduceByKey(lambda a, b: a + b, 2)
print(sorted(rdd.collect()))
"""


def started(programs: Programs, count: int = 2) -> None:
    """Wait until tasks run."""
    wait_until(
        lambda: len(list(programs.directory.glob("started-*"))) >= count,
        f"{count} tasks started",
        30,
    )


def assert_gone(programs: Programs, cluster: Cluster | None = None) -> None:
    """Fail unless no process of the application is left, here and on the cluster, seconds from now."""

    def left() -> dict[int, str]:
        on_cluster = {}
        if cluster is not None:
            on_cluster = {
                pid: line
                for pid, line in marked_processes(cluster.marker).items()
                if " executor " in line or "pyspark" in line
            }
        return programs.processes() | on_cluster

    deadline = time.monotonic() + GONE_SECONDS
    while left() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left(), f"still there: {left()}\n{cluster.logs() if cluster else ''}"


def test_nothing_stays_after_a_normal_end(programs: Programs, cluster: Cluster) -> None:
    text = "import sys\nfrom pyspark import SparkContext\nprint(SparkContext(sys.argv[1], 'x').range(10).sum())"
    result = programs.python(programs.script("normal.py", text), cluster.url).ok()
    assert result.out == "45\n"
    assert_gone(programs, cluster)


def test_nothing_stays_after_an_exception(programs: Programs, cluster: Cluster) -> None:
    text = "import sys\nfrom pyspark import SparkContext\nSparkContext(sys.argv[1], 'x').range(9).count()\n1 / 0"
    result = programs.python(programs.script("fails.py", text), cluster.url)
    assert result.status == 1
    assert "ZeroDivisionError" in result.err
    assert_gone(programs, cluster)


def test_killed_application_leaves_nothing(programs: Programs, master: str, request: pytest.FixtureRequest) -> None:
    application = programs.start(sys.executable, programs.script("busy.py", BUSY), master, str(programs.directory))
    started(programs)
    application.kill()
    application.communicate()
    assert_gone(programs, request.getfixturevalue("cluster") if master.startswith("spark") else None)


def test_killed_driver_ends_the_job_at_once(programs: Programs, master: str, request: pytest.FixtureRequest) -> None:
    application = programs.start(sys.executable, programs.script("busy.py", BUSY), master, str(programs.directory))
    started(programs)
    (driver,) = programs.processes(" driver")
    os.kill(driver, signal.SIGKILL)
    _, err = application.communicate(timeout=15)
    assert application.returncode != 0
    assert "driver" in err.lower(), err
    assert_gone(programs, request.getfixturevalue("cluster") if master.startswith("spark") else None)


def test_killed_executor_costs_a_retry_and_not_the_job(programs: Programs, own_cluster: Cluster) -> None:
    own_cluster.start_master()
    own_cluster.start_worker()
    own_cluster.start_worker()
    script = programs.script("patient.py", PATIENT)
    application = programs.start(sys.executable, script, own_cluster.url, str(programs.directory))
    started(programs)
    executors = [pid for pid, line in marked_processes(own_cluster.marker).items() if "pyrite executor " in line]
    assert len(executors) == 2
    os.kill(executors[0], signal.SIGKILL)
    out, err = application.communicate(timeout=60)
    assert application.returncode == 0, f"{err}\n{own_cluster.logs()}"
    assert out.strip() == "[(0, 1683), (1, 1617), (2, 1650)]"
    assert len(list(programs.directory.glob("started-*"))) > 2, "no task was run again"
    assert_gone(programs, own_cluster)


def test_killed_worker_costs_a_retry_and_not_the_job(programs: Programs, own_cluster: Cluster) -> None:
    own_cluster.start_master()
    own_cluster.start_worker()
    own_cluster.start_worker()
    script = programs.script("patient.py", PATIENT)
    application = programs.start(sys.executable, script, own_cluster.url, str(programs.directory))
    started(programs)
    own_cluster.workers[0].kill()
    out, err = application.communicate(timeout=60)
    assert application.returncode == 0, f"{err}\n{own_cluster.logs()}"
    assert out.strip() == "[(0, 1683), (1, 1617), (2, 1650)]"
    assert_gone(programs, own_cluster)


def test_application_takes_all_free_cores_or_what_it_asks_for(programs: Programs, own_cluster: Cluster) -> None:
    own_cluster.start_master()
    own_cluster.start_worker(2)
    own_cluster.start_worker(2)
    text = (
        "import sys\nfrom pyspark import SparkConf, SparkContext\n"
        "conf = SparkConf().setMaster(sys.argv[1]).setAppName('cores')\n"
        "if len(sys.argv) > 2: conf.set('spark.cores.max', sys.argv[2])\n"
        "print(SparkContext(conf=conf).defaultParallelism)\n"
    )
    script = programs.script("cores.py", text)
    assert programs.run(sys.executable, script, own_cluster.url).ok().out == "4\n"
    assert programs.run(sys.executable, script, own_cluster.url, "3").ok().out == "3\n"


def scratch(directory: Path) -> list[str]:
    """Return the names of directories that drivers and executors made."""
    return sorted(path.name for path in directory.glob("*") if path.is_dir())


@pytest.mark.parametrize("victim", ["driver", "application"])
def test_a_kill_leaves_no_directory(programs: Programs, tmp_path: Path, victim: str) -> None:
    local = tmp_path / "local"
    script = programs.script("busy.py", BUSY)
    application = programs.start(
        sys.executable, script, "local[2]", str(programs.directory), SPARK_LOCAL_DIRS=str(local)
    )
    started(programs)
    assert len(scratch(local)) == 1
    (driver,) = programs.processes(" driver")
    os.kill(driver if victim == "driver" else application.pid, signal.SIGKILL)
    application.communicate(timeout=15)
    wait_until(lambda: scratch(local) == [], "the driver's directory is gone", GONE_SECONDS)


def test_the_next_start_removes_what_a_kill_of_all_left(programs: Programs, tmp_path: Path) -> None:
    local = tmp_path / "local"
    script = programs.script("busy.py", BUSY)
    application = programs.start(
        sys.executable, script, "local[2]", str(programs.directory), SPARK_LOCAL_DIRS=str(local)
    )
    started(programs)
    (left,) = scratch(local)
    (driver,) = programs.processes(" driver")
    os.kill(application.pid, signal.SIGSTOP)
    os.kill(driver, signal.SIGKILL)
    os.kill(application.pid, signal.SIGKILL)
    application.communicate(timeout=15)
    assert scratch(local) == [left]
    text = (
        "import os, sys, time\nfrom pyspark import SparkContext\nsc = SparkContext('local[1]', 'next')\n"
        "deadline = time.monotonic() + 20\n"
        "while os.path.exists(sys.argv[1]) and time.monotonic() < deadline: time.sleep(0.05)\n"
        "print(os.path.exists(sys.argv[1]), sc.range(3).count())\n"
    )
    # One that runs keeps its own.
    other = programs.start(sys.executable, script, "local[2]", str(programs.directory), SPARK_LOCAL_DIRS=str(local))
    wait_until(lambda: len(set(scratch(local)) - {left}) == 1, "another driver", 20)
    (others,) = set(scratch(local)) - {left}
    following = programs.python(programs.script("next.py", text), str(local / left), SPARK_LOCAL_DIRS=str(local)).ok()
    assert following.out == "False 3\n"
    assert scratch(local) == [others]
    other.kill()
    other.communicate()
