"""Every small RDD program gives on the real engine what Apache Spark recorded."""

from __future__ import annotations

import json
import sys

from conftest import TESTS, Programs

sys.path.insert(0, str(TESTS / "rdd"))
import corpus

DIRECTORY = TESTS / "rdd"

#: Cases whose answers are known to differ, and why; a case leaves this list with its mending.
KNOWN_DIFFERENCES = {
    "frames.partitions_of_frames": "repartition(n) and coalesce(n) of a DataFrame do not settle the partitions of its rdd",
    "frames.json_from_rdds": "the relation Parse is missing",
    "frames.csv_from_rdds": "the relation Parse is missing",
    "jobs.finished_jobs_in_the_tracker": "the tracker knows one stage for each job",
}
#: The same, for clusters only.
KNOWN_CLUSTER_DIFFERENCES: dict[str, str] = {}


def test_rdd_cases_on_the_engine(programs: Programs, master: str) -> None:
    compare(programs, master)


def test_rdd_cases_on_four_cores(programs: Programs) -> None:
    compare(programs, "local[4]")


def compare(programs: Programs, master: str) -> None:
    """Run the cases and compare them with what was recorded."""
    run = programs.run(sys.executable, DIRECTORY / "run_cases.py", master, seconds=540, PYTHONHASHSEED="0").ok()
    found = json.loads(run.out)
    expected = {f"{m}.{name}": text for m in corpus.MODULES for name, text in corpus.recorded(m).items()}
    assert set(found) == set(expected)
    if master == "local[4]":
        expected |= corpus.recorded(corpus.FOUR_CORES)
    local = master.startswith("local[")
    excused = set(KNOWN_DIFFERENCES) | (set() if local else set(KNOWN_CLUSTER_DIFFERENCES))
    assert excused <= set(expected)
    wrong = {}
    mended = []
    for name, text in expected.items():
        wanted, got = corpus.stable(text), corpus.stable(found[name])
        wanted = wanted.replace("master=local[2] ", f"master={master} ")
        if not local:
            wanted, got = corpus.in_any_order(wanted), corpus.in_any_order(got)
        if wanted == got and master == "local[2]" and name in excused:
            mended.append(name)
        if wanted != got and name not in excused:
            wrong[name] = {"Apache Spark": wanted[:2000], "Pyrite": got[:2000]}
    assert not mended, f"as on Spark now, no longer to be excused: {mended}"
    assert not wrong, json.dumps(wrong, indent=1, ensure_ascii=False)
