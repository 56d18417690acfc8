"""Compare RDD programs on Pyrite and on Apache Spark: seconds and peak memory.

Both engines hold a warm application at the same time and run the program in turn. Memory is the
peak, over all runs, of what all processes of an engine use together (proportional set size).
Prints a Markdown table: medians with minimum and maximum, ratios, geometric means.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import harness
import programs

SCRIPT = Path(__file__).resolve().parent / "programs.py"
SAMPLE_SECONDS = 0.1


class Application:
    """A running program on one engine that waits for its next turn."""

    def __init__(self, engine: harness.Engine, name: str, master: str, scale: float, directory: str) -> None:
        self.engine = engine
        self.log = (Path(directory) / f"{engine.name}.log").open("w+")
        self.process = subprocess.Popen(
            [str(engine.python), str(SCRIPT), name, master, str(scale), directory],
            env=engine.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        self.seconds: list[float] = []
        self.peak_mib = 0.0

    def answer(self) -> dict[str, object]:
        """Return what the program answers next."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.log.seek(0)
            raise RuntimeError(f"{self.engine.name} ended with {self.process.returncode}:\n{self.log.read()[-4000:]}")
        answer: dict[str, object] = json.loads(line)
        return answer

    def run(self, others: list[int]) -> object:
        """Run the program once; `others` are processes besides its own that belong to it."""
        assert self.process.stdin is not None
        with peak_memory([self.process.pid, *others]) as peak:
            self.process.stdin.write("run\n")
            self.process.stdin.flush()
            answer = self.answer()
        self.seconds.append(float(str(answer["seconds"])))
        self.peak_mib = max(self.peak_mib, peak[0])
        return answer["result"]

    def stop(self) -> None:
        """End the program and wait for it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


@contextlib.contextmanager
def peak_memory(roots: list[int]) -> Iterator[list[float]]:
    """Sample the memory of processes and their descendants; the first item is the peak in MiB."""
    peak = [0.0]
    done = threading.Event()

    def sample() -> None:
        while not done.is_set():
            peak[0] = max(peak[0], sum(map(proportional_mib, descendants(roots))))
            done.wait(SAMPLE_SECONDS)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def descendants(roots: list[int]) -> set[int]:
    """Return processes and all that they started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended while we looked
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting.extend(children.get(pid, ()))
    return found


def proportional_mib(pid: int) -> float:
    """Return the proportional set size of a process in MiB; 0 if it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def floor_seconds(name: str, scale: float, directory: str) -> float | None:
    """Time the plain Python loop of a program, if it has one."""
    if programs.PROGRAMS[name][1] is None:
        return None
    arguments = [name, "floor", str(scale), directory]
    _, output = harness.pyrite_engine().run(SCRIPT, *arguments, timeout=600)
    return float(json.loads(output)["seconds"])


def measure(
    name: str, engines: list[harness.Engine], arguments: argparse.Namespace, directory: str
) -> dict[str, Application]:
    """Run a program on the engines in turn."""
    with contextlib.ExitStack() as stack:
        applications, others = {}, {}
        for engine in engines:
            master, others[engine.name] = arguments.master, []
            if master == "cluster":
                cluster = stack.enter_context(engine.cluster(memory="2g"))
                master = cluster.url
                others[engine.name] = [process.pid for process in cluster.processes]
            application = Application(engine, name, master, arguments.scale, directory)
            stack.callback(application.stop)
            application.answer()
            applications[engine.name] = application
        results = []
        for _ in range(arguments.runs):
            for engine in engines:
                results.append(applications[engine.name].run(others[engine.name]))
        if any(result != results[0] for result in results):
            raise RuntimeError(f"{name}: the results differ: {results}")
    return applications


def show(seconds: list[float]) -> str:
    """Return a median with its range."""
    return f"{statistics.median(seconds):.3f} ({min(seconds):.3f} to {max(seconds):.3f})"


def geometric_mean(values: list[float]) -> float:
    """Return the geometric mean."""
    return math.exp(sum(map(math.log, values)) / len(values))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="measured runs on each engine (default 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full size (default 1)")
    parser.add_argument("--master", default="local[2]", help="master URL, or `cluster` for one of two workers")
    parser.add_argument("--only", choices=["pyrite", "spark"], help="measure one engine")
    parser.add_argument("--match", default="", help="run only programs whose name contains this")
    return parser.parse_args()


def main() -> None:
    """Measure and print the report."""
    arguments = parse()
    makers = {"pyrite": harness.pyrite_engine, "spark": harness.spark_engine}
    engines = [make() for name, make in makers.items() if arguments.only in (None, name)]
    titles = [engine.name for engine in engines]
    print(
        "| program | " + " | ".join(f"{t} (s)" for t in titles) + " | Spark / Pyrite | plain Python loop (s) | ", end=""
    )
    print(" | ".join(f"{t} (MiB)" for t in titles) + " | Pyrite / Spark |")
    print("|---" * (4 + 2 * len(titles)) + "|")
    begin = time.perf_counter()
    speeds, memories = [], []
    with tempfile.TemporaryDirectory(prefix="benchmark-rdd-") as directory:
        for name in programs.PROGRAMS:
            if arguments.match not in name:
                continue
            if programs.PROGRAMS[name][0] is programs.word_count:
                for scale in (arguments.scale, arguments.scale * programs.WARM_UP):
                    programs.write_words(directory, scale)
            found = measure(name, engines, arguments, directory)
            floor = floor_seconds(name, arguments.scale, directory)
            speed = memory = ""
            if len(found) == 2:
                medians = {title: statistics.median(found[title].seconds) for title in titles}
                speeds.append(medians["spark"] / medians["pyrite"])
                memories.append(found["pyrite"].peak_mib / found["spark"].peak_mib)
                speed, memory = f"{speeds[-1]:.2f}", f"{memories[-1]:.2f}"
            cells = [name, *(show(found[t].seconds) for t in titles), speed, "" if floor is None else f"{floor:.3f}"]
            cells += [*(f"{found[t].peak_mib:.0f}" for t in titles), memory]
            print("| " + " | ".join(cells) + " |", flush=True)
    if speeds:
        print(f"\nGeometric means: Spark / Pyrite {geometric_mean(speeds):.2f} in time, ", end="")
        print(f"Pyrite / Spark {geometric_mean(memories):.2f} in peak memory.")
    print(f"\n{arguments.runs} runs on {arguments.master}, {time.perf_counter() - begin:.0f} s in all.")


if __name__ == "__main__":
    main()
