"""Masters, workers and executors that come and go under running applications."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.parse
import urllib.request
from typing import Any

from conftest import Cluster, Programs, marked_processes, wait_until

#: Runs jobs until a file `stop` appears, noting where their tasks run; then does one last job.
STEADY = """
import os, sys, time
from pyspark import SparkConf, SparkContext
directory, name = sys.argv[2:4]
conf = SparkConf().setAppName(name).setMaster(sys.argv[1])
for setting in sys.argv[4:]:
    conf.set(*setting.split("=", 1))
sc = SparkContext(conf=conf)
print(sc.defaultParallelism, flush=True)
def task(x, directory=directory, name=name):
    import os, time
    time.sleep(0.1)
    with open(f"{directory}/{name}-ran", "a") as log:
        log.write(os.getcwd() + "\\n")
    return x % 2, x
while not os.path.exists(f"{directory}/stop"):
    got = sorted(sc.parallelize(range(4), 4).map(task).reduceByKey(lambda a, b: a + b, 2).collect())
    assert got == [(0, 2), (1, 4)], got
print("done", sc.parallelize(range(10), 2).sum())
"""


#: One job that never ends.
BUSY = """
import sys
from pyspark import SparkConf, SparkContext
conf = SparkConf().setAppName("busy").setMaster(sys.argv[1]).set("spark.pyrite.noExecutorsTimeout", "2s")
sc = SparkContext(conf=conf)
def task(i, rows, directory=sys.argv[2]):
    import time
    open(f"{directory}/started-{i}", "w").close()
    time.sleep(600)
    return rows
sc.parallelize(range(2), 2).mapPartitionsWithIndex(task).count()
"""


def start(programs: Programs, cluster: Cluster, name: str, *settings: str) -> subprocess.Popen[str]:
    """Start the steady program."""
    script = programs.script("steady.py", STEADY)
    return programs.start(sys.executable, script, cluster.url, str(programs.directory), name, *settings)


def ran(programs: Programs, name: str = "steady") -> list[str]:
    """Return the working directories of the tasks so far."""
    log = programs.directory / f"{name}-ran"
    return log.read_text().split() if log.exists() else []


def goes_on(programs: Programs, name: str = "steady") -> None:
    """Wait until some more tasks have run."""
    before = len(ran(programs, name))
    wait_until(lambda: len(ran(programs, name)) > before + 8, f"{name} goes on", 40)


def finish(programs: Programs, application: subprocess.Popen[str]) -> str:
    """Let the program end and return its output."""
    (programs.directory / "stop").touch()
    out, err = application.communicate(timeout=60)
    assert application.returncode == 0, err
    assert out.endswith("done 45\n"), out
    return out


def page_address(cluster: Cluster) -> str:
    """Return the address of the master's pages."""
    found = re.search(r"Bound MasterUI.*?(http://[\d.]+:\d+)", cluster.master_log.read_text())
    assert found, cluster.master_log.read_text()
    return found.group(1)


def master_state(cluster: Cluster) -> dict[str, Any]:
    """Return what the master knows."""
    with urllib.request.urlopen(f"{page_address(cluster)}/json/") as answer:
        state: dict[str, Any] = json.load(answer)
        return state


def executors(cluster: Cluster) -> list[int]:
    """Return the pids of the cluster's executors."""
    return [pid for pid, line in marked_processes(cluster.marker).items() if " executor " in line]


def two_workers(cluster: Cluster, cores: int = 1) -> None:
    """Start a master and two workers."""
    cluster.start_master()
    cluster.start_worker(cores)
    cluster.start_worker(cores)


def lose_master(cluster: Cluster) -> None:
    """Kill the master."""
    assert cluster.master is not None
    cluster.master.kill()
    cluster.master.wait()


def test_an_application_outlives_its_master_and_joins_the_next(programs: Programs, own_cluster: Cluster) -> None:
    two_workers(own_cluster)
    application = start(programs, own_cluster, "steady")
    goes_on(programs)
    app_id = master_state(own_cluster)["activeapps"][0]["id"]
    before = executors(own_cluster)
    lose_master(own_cluster)
    goes_on(programs)
    own_cluster.start_master()
    own_cluster.wait_for_master("Registering worker", 2)
    own_cluster.wait_for_master("Registering app")
    wait_until(lambda: master_state(own_cluster)["coresused"] == 2, "the master knows what is in use", 20)
    state = master_state(own_cluster)
    assert [app["id"] for app in state["activeapps"]] == [app_id], state
    assert sorted(executors(own_cluster)) == sorted(before), "executors were replaced"
    # Only a master that knows the application starts a new executor for it.
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: len(set(executors(own_cluster)) - set(before)) == 1, "a new executor", 20)
    goes_on(programs)
    finish(programs, application)
    wait_until(lambda: [a["id"] for a in master_state(own_cluster)["completedapps"]] == [app_id], "it ended", 10)


def test_without_master_and_executors_a_job_says_so(programs: Programs, own_cluster: Cluster) -> None:
    two_workers(own_cluster)
    application = programs.start(
        sys.executable, programs.script("busy.py", BUSY), own_cluster.url, str(programs.directory)
    )
    wait_until(lambda: len(list(programs.directory.glob("started-*"))) == 2, "both tasks started", 30)
    lose_master(own_cluster)
    for worker in own_cluster.workers:
        worker.kill()
    _, err = application.communicate(timeout=40)
    assert application.returncode == 1
    assert "no executors" in err.lower() and "master" in err, err[-3000:]


def test_an_application_is_killed_through_the_master(programs: Programs, own_cluster: Cluster) -> None:
    two_workers(own_cluster)
    application = start(programs, own_cluster, "steady")
    goes_on(programs)
    app_id = master_state(own_cluster)["activeapps"][0]["id"]
    form = urllib.parse.urlencode({"id": app_id, "terminate": "true"}).encode()
    with urllib.request.urlopen(f"{page_address(own_cluster)}/app/kill/", form) as answer:
        assert app_id in answer.read().decode()
    _, err = application.communicate(timeout=20)
    assert application.returncode == 1
    assert "Master removed our application: KILLED" in err, err[-3000:]
    assert [app["state"] for app in master_state(own_cluster)["completedapps"]] == ["KILLED"]
    wait_until(lambda: not executors(own_cluster), "no executor is left", 10)


def test_executors_that_keep_failing_end_the_application(programs: Programs, own_cluster: Cluster) -> None:
    own_cluster.start_master()
    own_cluster.start_worker(1, SPARK_LOCAL_DIRS="/proc/nobody-writes-here")
    application = start(programs, own_cluster, "steady")
    _, err = application.communicate(timeout=60)
    assert application.returncode == 1
    assert "Master removed our application: FAILED: 10 executors failed in a row" in err, err[-3000:]
    assert [app["state"] for app in master_state(own_cluster)["completedapps"]] == ["FAILED"]
    assert len(list(own_cluster.directory.glob("work-0/app-*/*"))) == 10


def test_a_worker_that_joins_later_takes_over_from_a_lost_one(programs: Programs, own_cluster: Cluster) -> None:
    two_workers(own_cluster)
    application = start(programs, own_cluster, "steady")
    goes_on(programs)
    own_cluster.workers[0].kill()
    goes_on(programs)
    work_dir = own_cluster.start_worker()
    wait_until(lambda: any(line.startswith(f"{work_dir}/") for line in ran(programs)), "tasks on the new worker", 40)
    finish(programs, application)


def test_two_applications_share_the_cores(programs: Programs, own_cluster: Cluster) -> None:
    two_workers(own_cluster, 2)
    first = start(programs, own_cluster, "first", "spark.cores.max=2")
    goes_on(programs, "first")
    second = start(programs, own_cluster, "second", "spark.cores.max=2")
    goes_on(programs, "second")
    goes_on(programs, "first")
    state = master_state(own_cluster)
    assert {app["name"]: app["cores"] for app in state["activeapps"]} == {"first": 2, "second": 2}
    third = start(programs, own_cluster, "third")
    own_cluster.wait_for_master("Registering app", 3)
    wait_until(lambda: len(master_state(own_cluster)["activeapps"]) == 3, "three applications", 10)
    waiting = master_state(own_cluster)["activeapps"][2]
    assert (waiting["name"], waiting["cores"], waiting["state"]) == ("third", 0, "WAITING")
    (programs.directory / "stop").touch()
    outs = [application.communicate(timeout=60) for application in (first, second, third)]
    assert [out for out, _ in outs] == ["2\ndone 45\n"] * 3, outs
