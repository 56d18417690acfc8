"""Clusters and measurements that the benchmarks share: Pyrite and Apache Spark, side by side.

Apache Spark is taken from ``$SPARK_VENV`` (a virtual environment with ``pyspark==4.2.0``,
numpy, pandas and pyarrow); without it, one is made in ``build/spark-venv``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SPARK_REQUIREMENTS = ["pyspark==4.2.0", "numpy", "pandas<3", "pyarrow"]
READY_TIMEOUT_SECONDS = 60.0


class Engine:
    """One of the systems compared.

    Parameters
    ----------
    name
        How the report calls it.
    python
        Interpreter of its virtual environment.
    """

    def __init__(self, name: str, python: Path) -> None:
        self.name = name
        self.python = python

    def environment(self, **extra: str) -> dict[str, str]:
        """Return the environment for a program on this engine."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("SPARK_", "PYSPARK_"))}
        environment["PATH"] = f"{self.python.parent}{os.pathsep}{environment['PATH']}"
        environment["PYSPARK_PYTHON"] = str(self.python)
        return environment | extra

    def run(self, script: Path, *arguments: str, timeout: float = 300, **environment: str) -> tuple[float, str]:
        """Run a program to its end; return wall seconds and what it printed."""
        begin = time.perf_counter()
        done = subprocess.run(
            [str(self.python), script.name, *arguments],
            cwd=script.parent,
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=timeout,
            check=False,
        )
        seconds = time.perf_counter() - begin
        if done.returncode:
            raise RuntimeError(f"{self.name}: {script.name} ended with {done.returncode}:\n{done.stderr[-4000:]}")
        return seconds, done.stdout

    @contextlib.contextmanager
    def cluster(self, workers: int = 2, cores: int = 1, memory: str = "1g") -> Iterator[Cluster]:
        """Run a master and workers while the context lasts."""
        with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
            cluster = Cluster(self, Path(directory), workers, cores, memory)
            try:
                cluster.start()
                yield cluster
            finally:
                cluster.stop()


class Cluster:
    """A master and workers of one engine on this machine."""

    def __init__(self, engine: Engine, directory: Path, workers: int, cores: int, memory: str) -> None:
        self.engine = engine
        self.directory = directory
        self.port = free_port()
        self.url = f"spark://127.0.0.1:{self.port}"
        self.workers = workers
        self.cores = cores
        self.memory = memory
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start everything and wait until the workers are registered."""
        log = self.directory / "master.log"
        host = ["--host", "127.0.0.1", "--port"]
        self._spawn("master", log, [*host, str(self.port), "--webui-port", "0"])
        self._wait(log, "Starting Spark master", 1)
        for number in range(self.workers):
            self._spawn(
                "worker",
                self.directory / f"worker-{number}.log",
                [*host, "0", "--webui-port", "0", "--cores", str(self.cores), "--memory", self.memory]
                + ["--work-dir", str(self.directory / f"work-{number}"), self.url],
            )
        self._wait(log, "Registering worker", self.workers)
        time.sleep(1.0)

    def resident_mib(self) -> list[float]:
        """Return the resident memory of the master and of each worker, in MiB."""
        return [resident_mib(process.pid) for process in self.processes]

    def stop(self) -> None:
        """End every process that was started here."""
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _spawn(self, role: str, log: Path, arguments: list[str]) -> None:
        if self.engine.name == "pyrite":
            command = [str(self.engine.python.parent / "pyrite"), role, *arguments]
        else:
            java_class = f"org.apache.spark.deploy.{role}.{role.capitalize()}"
            command = [str(self.engine.python.parent / "spark-class"), java_class, *arguments]
        with log.open("wb") as out:
            self.processes.append(
                subprocess.Popen(
                    command,
                    cwd=self.directory,
                    env=self.engine.environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                )
            )

    def _wait(self, log: Path, text: str, times: int) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        while log.read_text(errors="replace").count(text) < times:
            if time.monotonic() > deadline:
                raise RuntimeError(f"no `{text}` in {log}:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)


def free_port() -> int:
    """Return a port that is free on 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has no VmRSS")


def median(run: Callable[[], float], times: int) -> tuple[float, float, float]:
    """Call ``run`` once to warm up and ``times`` times to measure; return median, min, max."""
    run()
    samples = sorted(run() for _ in range(times))
    return statistics.median(samples), samples[0], samples[-1]


def pyrite_engine() -> Engine:
    """Return Pyrite as installed beside this interpreter."""
    return Engine("pyrite", Path(sys.executable).absolute())


def spark_engine() -> Engine:
    """Return Apache Spark 4.2, installing it if need be."""
    home = Path(os.environ.get("SPARK_VENV", ROOT / "build" / "spark-venv"))
    python = home / "bin" / "python"
    if not python.exists():
        print(f"installing {SPARK_REQUIREMENTS[0]} into {home}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *SPARK_REQUIREMENTS], check=True)
    return Engine("spark", python)


def directory_mib(path: Path) -> float:
    """Return the size of all files below a directory in MiB."""
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) / 2**20
