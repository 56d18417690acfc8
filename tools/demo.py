"""Run the sample application on a master and two workers on this machine.

Called by ``make demo`` once the wheel is installed beside this interpreter.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
DEFAULT_PORT = 7077
READY_TIMEOUT_SECONDS = 20.0


def free_port(wanted: int) -> int:
    """Return ``wanted`` if nothing listens there, else a port that is free now."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise RuntimeError("no free port on 127.0.0.1")


def wait_for(log: Path, text: str, times: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a log contains a text so many times."""
    deadline = time.monotonic() + READY_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if log.read_text(encoding="utf-8", errors="replace").count(text) >= times:
            return
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise RuntimeError(f"`{text}` did not appear in {log}:\n{log.read_text(encoding='utf-8')}")


def main() -> int:
    """Start the cluster, run the application, stop the cluster."""
    port = free_port(DEFAULT_PORT)
    url = f"spark://127.0.0.1:{port}"
    processes: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(prefix="pyrite-demo-") as directory:

        def start(name: str, *arguments: str) -> tuple[subprocess.Popen[bytes], Path]:
            log = Path(directory) / f"{name}.log"
            with log.open("wb") as out:
                process = subprocess.Popen(
                    [str(BIN / "pyrite"), *arguments],
                    cwd=directory,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                )
            processes.append(process)
            return process, log

        try:
            print(f"[4/4] starting a master at {url} and two workers", flush=True)
            host = ("--host", "127.0.0.1", "--webui-port", "0")
            master, master_log = start("master", "master", *host, "--port", str(port))
            wait_for(master_log, "Starting Spark master", 1, master)
            for number in (1, 2):
                work_dir = os.path.join(directory, f"work-{number}")
                start(f"worker-{number}", "worker", url, *host, "--cores", "1", "--work-dir", work_dir)
            wait_for(master_log, "Registering worker", 2, master)

            print("      running examples/pyspark_app: python main.py", flush=True)
            environment = dict(os.environ)
            if port != DEFAULT_PORT:
                environment["SPARK_MASTER"] = url
            begin = time.monotonic()
            status = subprocess.run(
                [sys.executable, "main.py"], cwd=ROOT / "examples" / "pyspark_app", env=environment, check=False
            ).returncode
            print(f"      exit status {status} after {time.monotonic() - begin:.1f} s", flush=True)
        finally:
            for process in reversed(processes):
                process.send_signal(signal.SIGTERM)
            for process in processes:
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            print("      master and workers stopped", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
