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

import pytest
from conftest import GONE_SECONDS, Cluster, Programs, marked_processes, wait_until

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

#: One small job.
SMALL = """
import sys
from pyspark import SparkConf, SparkContext
conf = SparkConf().setAppName("small").setMaster(sys.argv[1])
for setting in sys.argv[2:]:
    conf.set(*setting.split("=", 1))
print(SparkContext(conf=conf).parallelize(range(10), 4).map(lambda x: x + 1).sum())
"""

#: A job whose first stage has ended when its second begins, and whose tasks wait for a file `go`.
TWO_STAGES = """
import sys
from pyspark import SparkConf, SparkContext
sc = SparkContext(conf=SparkConf().setAppName("two stages").setMaster(sys.argv[1]))
def note(i, rows, name, directory=sys.argv[2]):
    import os, time
    open(f"{directory}/{name}-{i}-{time.time()}", "w").close()
    deadline = time.monotonic() + 60
    while name == "reduce" and not os.path.exists(f"{directory}/go") and time.monotonic() < deadline:
        time.sleep(0.05)
    return rows
pairs = sc.parallelize(range(1000), 4).mapPartitionsWithIndex(lambda i, rows: note(i, rows, "map"))
sums = pairs.map(lambda x: (x % 4, x)).reduceByKey(lambda a, b: a + b, 4)
print(sorted(sums.mapPartitionsWithIndex(lambda i, rows: note(i, rows, "reduce")).collect()))
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


def finish(programs: Programs, application: subprocess.Popen[str]) -> None:
    """Let the program end well."""
    (programs.directory / "stop").touch()
    out, err = application.communicate(timeout=60)
    assert application.returncode == 0, err
    assert out.endswith("done 45\n"), out


def small(programs: Programs, cluster: Cluster, *settings: str) -> tuple[int, str, str]:
    """Run the small program; return its status, output and errors."""
    result = programs.run(sys.executable, programs.script("small.py", SMALL), cluster.url, *settings)
    return result.status, result.out, result.err


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
    return [pid for pid, line in marked_processes(cluster.marker).items() if "pyrite executor " in line]


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


def nothing_left(cluster: Cluster) -> None:
    """Wait until no executor or Python worker is left on the cluster."""

    def left() -> list[str]:
        lines = marked_processes(cluster.marker).values()
        return [line for line in lines if "pyrite executor " in line or "pyspark" in line]

    wait_until(lambda: not left(), "executors and their Python workers are gone", GONE_SECONDS)


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
    assert small(programs, own_cluster)[:2] == (0, "55\n"), own_cluster.logs()
    nothing_left(own_cluster)


def test_an_application_ends_well_without_its_master(programs: Programs, own_cluster: Cluster) -> None:
    two_workers(own_cluster)
    application = start(programs, own_cluster, "steady")
    goes_on(programs)
    lose_master(own_cluster)
    goes_on(programs)
    finish(programs, application)
    own_cluster.start_master()
    own_cluster.wait_for_master("Registering worker", 2)
    assert small(programs, own_cluster)[:2] == (0, "55\n"), own_cluster.logs()
    nothing_left(own_cluster)


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


def test_a_job_waits_for_the_first_worker(programs: Programs, own_cluster: Cluster) -> None:
    own_cluster.start_master()
    script = programs.script("small.py", SMALL)
    log = programs.directory / "err"
    log.touch()
    command = ["sh", "-c", f'exec "$0" "$@" 2> {log}', sys.executable, script, own_cluster.url]
    application = programs.start(*command, "spark.starvation.timeout=1s")
    warning = "Initial job has not accepted any resources; check your cluster UI to ensure that workers are"
    wait_until(lambda: log.read_text().count(warning) == 2, "two warnings", 20)
    assert application.poll() is None
    own_cluster.start_worker()
    out, _ = application.communicate(timeout=30)
    assert (application.returncode, out) == (0, "55\n"), log.read_text()
    nothing_left(own_cluster)


def test_a_job_that_asks_for_too_much_waits_for_a_larger_worker(programs: Programs, own_cluster: Cluster) -> None:
    own_cluster.start_master()
    own_cluster.start_worker(1)
    script = programs.script("small.py", SMALL)
    application = programs.start(sys.executable, script, own_cluster.url, "spark.executor.cores=2")
    own_cluster.wait_for_master("Registering app")
    wait_until(lambda: [a["state"] for a in master_state(own_cluster)["activeapps"]] == ["WAITING"], "it waits", 10)
    assert not executors(own_cluster)
    own_cluster.start_worker(2)
    out, err = application.communicate(timeout=30)
    assert (application.returncode, out) == (0, "55\n"), err


def test_executors_that_cannot_start_end_the_application(programs: Programs, own_cluster: Cluster) -> None:
    two_workers(own_cluster)
    status, _, err = small(programs, own_cluster, "spark.executorEnv.SPARK_LOCAL_DIRS=/proc/nobody-writes-here")
    assert status == 1
    # As often as Spark's master tries (spark.deploy.maxExecutorRetries).
    said = "Master removed our application: FAILED: 10 executors failed in a row; the last one: Command exited with"
    assert said in err, err[-3000:]
    assert "cannot use directory `/proc/nobody-writes-here`" in err.splitlines()[-1], err[-3000:]
    assert "No such file or directory" in err.splitlines()[-1], err[-3000:]
    assert [app["state"] for app in master_state(own_cluster)["completedapps"]] == ["FAILED"]
    # Executors that had been granted by then were started, too.
    assert 10 <= len(list(own_cluster.directory.glob("work-*/app-*/*"))) <= 12
    nothing_left(own_cluster)
    assert small(programs, own_cluster)[:2] == (0, "55\n"), "the cluster works on"


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("spark.pyspark.python=/no/such/python", "`/no/such/python`: no such executable on this machine"),
        ("spark.executorEnv.PYTHONHOME=/nowhere", "exit status 1"),
    ],
)
def test_python_that_cannot_start_fails_the_job(
    programs: Programs, own_cluster: Cluster, setting: str, reason: str
) -> None:
    two_workers(own_cluster)
    status, _, err = small(programs, own_cluster, setting)
    assert status == 1
    assert re.search(r"Task \d in stage \d+\.0 failed 4 times, most recent failure", err), err[-3000:]
    assert "cannot start Python workers with" in err and reason in err, err[-3000:]
    assert "spark.pyspark.python" in err, err[-3000:]
    nothing_left(own_cluster)


@pytest.mark.parametrize("stage", ["map", "reduce"])
def test_a_killed_worker_costs_no_rows(programs: Programs, own_cluster: Cluster, stage: str) -> None:
    two_workers(own_cluster)
    script = programs.script("stages.py", TWO_STAGES)
    application = programs.start(sys.executable, script, own_cluster.url, str(programs.directory))
    wait_until(lambda: any(programs.directory.glob(f"{stage}-*")), f"tasks of the {stage} stage", 30)
    own_cluster.workers[0].kill()
    (programs.directory / "go").touch()
    out, err = application.communicate(timeout=60)
    assert application.returncode == 0, f"{err}\n{own_cluster.logs()}"
    assert out.strip() == str([(k, sum(range(k, 1000, 4))) for k in range(4)])
    if stage == "reduce":
        assert len(list(programs.directory.glob("map-*"))) > 4, "what the lost worker had stored was computed again"
    nothing_left(own_cluster)


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
    assert [out.splitlines()[-1:] for out, _ in outs] == [["done 45"]] * 3, outs
    nothing_left(own_cluster)


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
