"""Real processes for whole-program tests: a cluster, programs, and proof that nothing stays behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent.parent
PROGRAMS = TESTS / "programs"
EXPECTED = TESTS / "expected"
SAMPLE_APP = ROOT / "examples" / "pyspark_app"
BIN = Path(sys.executable).absolute().parent
PYRITE = Path(os.environ.get("PYRITE_BINARY", BIN / "pyrite"))

#: Every process of a test inherits this variable, so that leftovers can be found.
MARKER = "PYRITE_TEST_MARKER"
DEADLINE_SECONDS = 60.0
#: How long after its application a process may still be there.
GONE_SECONDS = 6.0


def wait_until(condition: Callable[[], bool], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Wait for a condition; fail with ``what`` when it does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.05)


def free_port() -> int:
    """Return a port that is free on 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment(marker: str, **extra: str) -> dict[str, str]:
    """Return an environment without Spark's variables, with the marker of a test."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SPARK_", "PYSPARK_", "PYRITE_"))}
    environment["PATH"] = f"{BIN}{os.pathsep}{environment['PATH']}"
    if "PYRITE_BINARY" in os.environ:
        environment["PYRITE_BINARY"] = os.environ["PYRITE_BINARY"]
    return environment | {MARKER: marker} | extra


def marked_processes(marker: str) -> dict[int, str]:
    """Return pid and command line of every process that carries a marker."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if f"{MARKER}={marker}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z":
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except OSError:
            continue  # the process ended while we looked
    return found


@dataclass
class Result:
    """What a program left: exit status, output, seconds."""

    status: int
    out: str
    err: str
    seconds: float

    def ok(self) -> Result:
        """Fail unless the program ended with status 0; return the result."""
        assert self.status == 0, f"exit status {self.status}\n--- stdout\n{self.out}\n--- stderr\n{self.err[-6000:]}"
        return self


class Programs:
    """Starts programs under a marker of their own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.marker = uuid.uuid4().hex

    def start(self, *command: str | Path, cwd: Path | None = None, **environment: str) -> subprocess.Popen[str]:
        """Start a command without waiting for it; pipes carry its output."""
        return subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd or self.directory,
            env=clean_environment(self.marker, **environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        *command: str | Path,
        cwd: Path | None = None,
        seconds: float = DEADLINE_SECONDS,
        **environment: str,
    ) -> Result:
        """Run a command to its end, at most ``seconds`` long."""
        begin = time.monotonic()
        process = self.start(*command, cwd=cwd, **environment)
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            pytest.fail(f"{command} did not end within {seconds} s\n--- stdout\n{out}\n--- stderr\n{err[-6000:]}")
        return Result(process.returncode, out, err, time.monotonic() - begin)

    def python(self, script: str | Path, *arguments: str, master: str | None = None, **options: object) -> Result:
        """Run a Python program as a user would: ``python script.py``, under ``spark-submit`` if a master is named."""
        if master is None:
            return self.run(sys.executable, script, *arguments, **options)  # type: ignore[arg-type]
        return self.run(BIN / "spark-submit", "--master", master, script, *arguments, **options)  # type: ignore[arg-type]

    def script(self, name: str, text: str) -> Path:
        """Write a program into the test's directory."""
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        return path

    def processes(self, containing: str = "") -> dict[int, str]:
        """Return the test's processes whose command line contains a text."""
        return {pid: line for pid, line in marked_processes(self.marker).items() if containing in line}


class Cluster:
    """A master and workers on free ports, each with a log file."""

    def __init__(self, directory: Path, marker: str) -> None:
        self.directory = directory
        self.marker = marker
        self.port = free_port()
        self.url = f"spark://127.0.0.1:{self.port}"
        self.master: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []
        self.master_log = directory / "master.log"

    def start_master(self, *arguments: str, **environment: str) -> None:
        """Start the master and wait until it listens."""
        self.master = self._spawn(
            self.master_log,
            [
                "master",
                "--host",
                "127.0.0.1",
                "--port",
                str(self.port),
                "--webui-port",
                "0",
                *arguments,
            ],
            environment,
        )
        self.wait_for_master("Starting Spark master")

    def start_worker(self, cores: int = 1, *arguments: str, **environment: str) -> Path:
        """Start a worker, wait until it is registered and return its work directory."""
        number = len(self.workers)
        work_dir = self.directory / f"work-{number}"
        command = [
            "worker",
            self.url,
            "--host",
            "127.0.0.1",
            "--webui-port",
            "0",
            "--cores",
            str(cores),
        ]
        command += ["--memory", "2g", "--work-dir", str(work_dir), *arguments]
        self.workers.append(self._spawn(self.directory / f"worker-{number}.log", command, environment))
        self.wait_for_master("Registering worker", number + 1)
        return work_dir

    def wait_for_master(self, text: str, times: int = 1) -> None:
        """Wait until the master's log has a text so many times."""
        wait_until(
            lambda: self.master_log.read_text(errors="replace").count(text) >= times,
            f"`{text}` x {times} in the master's log:\n{self.master_log.read_text(errors='replace')}",
            20,
        )

    def logs(self) -> str:
        """Return every log of the cluster, for failure messages."""
        parts = [f"--- {path}\n{path.read_text(errors='replace')[-3000:]}" for path in self.directory.rglob("*.log")]
        parts += [f"--- {path}\n{path.read_text(errors='replace')[-3000:]}" for path in self.directory.rglob("stderr")]
        return "\n".join(parts)

    def stop(self) -> None:
        """End the workers and the master."""
        processes = [*self.workers, *([self.master] if self.master else [])]
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _spawn(self, log: Path, arguments: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        with log.open("wb") as out:
            return subprocess.Popen(
                [str(PYRITE), *arguments],
                cwd=self.directory,
                env=clean_environment(self.marker, **environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )


def kill_leftovers(marker: str) -> dict[int, str]:
    """Give processes time to go; kill and return those that stay."""
    deadline = time.monotonic() + GONE_SECONDS
    while (left := marked_processes(marker)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in left:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return left


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    """Programs of one test; fails the test if one of their processes stays behind."""
    running = Programs(tmp_path)
    yield running
    left = kill_leftovers(running.marker)
    assert not left, f"processes left behind: {left}"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A master and two one-core workers that tests share; nobody kills anything in it."""
    marker = uuid.uuid4().hex
    shared = Cluster(tmp_path_factory.mktemp("cluster"), marker)
    try:
        shared.start_master()
        shared.start_worker()
        shared.start_worker()
        yield shared
    finally:
        shared.stop()
        left = kill_leftovers(marker)
    assert not left, f"processes of the cluster left behind: {left}"


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of the test's own, not started, for tests that break things."""
    directory = tmp_path / "cluster"
    directory.mkdir()
    own = Cluster(directory, uuid.uuid4().hex)
    try:
        yield own
    finally:
        own.stop()
        left = kill_leftovers(own.marker)
    assert not left, f"processes of the cluster left behind: {left}"


@pytest.fixture(params=["local[2]", "cluster"])
def master(request: pytest.FixtureRequest) -> str:
    """Each kind of master in turn: in the driver, and on the shared cluster."""
    if request.param == "cluster":
        return str(request.getfixturevalue("cluster").url)
    return str(request.param)
