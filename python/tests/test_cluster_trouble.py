"""Masters, workers and executors that come and go under running applications."""

from __future__ import annotations

import json
import re
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
