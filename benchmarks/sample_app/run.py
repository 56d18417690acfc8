"""Measure the sample application on Pyrite and on Apache Spark, in one run on one machine.

Prints a Markdown report: medians of ``--runs`` runs, with minimum and maximum, and ratios.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import harness

APP = harness.ROOT / "examples" / "pyspark_app" / "main.py"
PROGRAMS = Path(__file__).resolve().parent / "programs.py"
FLOOR = "import pandas, pyarrow, pyspark.sql.connect.session"
ELEMENTS = "100000"


def floor_seconds(engine: harness.Engine) -> float:
    """Time a process that only imports what every application imports."""
    begin = time.perf_counter()
    subprocess.run([str(engine.python), "-c", FLOOR], env=engine.environment(), check=True)
    return time.perf_counter() - begin


def inside(engine: harness.Engine, program: str, master: str) -> tuple[float, float, float]:
    """Run a program that times itself; return median, minimum and maximum seconds."""
    _, output = engine.run(PROGRAMS, program, master, timeout=900)
    samples = sorted(float(line) for line in output.split())
    return statistics.median(samples), samples[0], samples[-1]


def measure(engine: harness.Engine, runs: int) -> dict[str, tuple[float, float, float]]:
    """Return every figure of one engine, in seconds or MiB."""
    figures = {}
    print(f"measuring {engine.name} on local[2]", file=sys.stderr, flush=True)
    local = {"SPARK_MASTER": "local[2]"}
    figures["sample application, local[2] (s)"] = harness.median(lambda: engine.run(APP, ELEMENTS, **local)[0], runs)
    figures["warm one-task job, local[2] (s)"] = inside(engine, "one_task", "local[2]")
    figures["10 million longs: range, map, sum, local[2] (s)"] = inside(engine, "map_sum", "local[2]")
    print(f"measuring {engine.name} on a cluster", file=sys.stderr, flush=True)
    with engine.cluster() as cluster:
        idle = cluster.resident_mib()
        figures["idle master (MiB)"] = (idle[0],) * 3
        figures["idle worker (MiB)"] = (idle[1],) * 3
        remote = {"SPARK_MASTER": cluster.url}
        figures["sample application, cluster (s)"] = harness.median(
            lambda: engine.run(APP, ELEMENTS, **remote)[0], runs
        )
        figures["warm one-task job, cluster (s)"] = inside(engine, "one_task", cluster.url)
        figures["10 million longs: range, map, sum, cluster (s)"] = inside(engine, "map_sum", cluster.url)
    return figures


def show(value: tuple[float, float, float]) -> str:
    """Return a median with its range."""
    middle, low, high = value
    digits = 4 if middle < 1 else 2
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def main() -> None:
    """Measure both engines and print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="measured runs of the application (default 5)")
    parser.add_argument("--only", choices=["pyrite", "spark"], help="measure one engine")
    arguments = parser.parse_args()

    pyrite = harness.pyrite_engine()
    floor = harness.median(lambda: floor_seconds(pyrite), arguments.runs)
    results = {}
    if arguments.only != "spark":
        results["pyrite"] = measure(pyrite, arguments.runs)
    if arguments.only != "pyrite":
        results["spark"] = measure(harness.spark_engine(), arguments.runs)

    print(f"Floor (imports only): {show(floor)} s\n")
    print("| figure | " + " | ".join(results) + " | Spark / Pyrite | Pyrite / floor |")
    print("|---" * (len(results) + 3) + "|")
    for name in next(iter(results.values())):
        cells = [show(figures[name]) for figures in results.values()]
        ratio = f"{results['spark'][name][0] / results['pyrite'][name][0]:.1f}" if len(results) == 2 else ""
        application = name.startswith("sample application") and "pyrite" in results
        to_floor = f"{results['pyrite'][name][0] / floor[0]:.2f}" if application else ""
        print(f"| {name} | " + " | ".join(cells) + f" | {ratio} | {to_floor} |")


if __name__ == "__main__":
    main()
