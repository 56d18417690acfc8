"""Every small RDD program gives on the real engine what Apache Spark recorded."""

from __future__ import annotations

import json
import re
import sys

from conftest import TESTS, Programs

CASES = TESTS / "rdd"
EXPECTED = json.loads((CASES / "expected.json").read_text(encoding="utf-8"))
#: What these print depends on the order in which a partition's blocks arrive from executors, there as here.
ORDER_OF_ARRIVAL = {
    "coalescing",
    "group_by_key",
    "lookups",
    "partition_by",
    "reduce_by_key",
    "repartition_and_sort",
    "union_of_equally_partitioned",
}


def test_rdd_cases_on_the_engine(programs: Programs, master: str) -> None:
    run = programs.run(sys.executable, CASES / "run_cases.py", master, seconds=240, PYTHONHASHSEED="0").ok()
    found = json.loads(run.out)
    wrong = {}
    for name, expected in EXPECTED.items():
        wanted, got = (re.sub(r"0x[0-9a-f]+", "0x", text) for text in (expected, found[name]))
        wanted = wanted.replace("master=local[2] ", f"master={master} ")
        if name in ORDER_OF_ARRIVAL and master != "local[2]":
            wanted, got = (" ".join(sorted(re.findall(r"[\w.'-]+", text))) for text in (wanted, got))
        if wanted != got:
            wrong[name] = {"Apache Spark": wanted[:2000], "Pyrite": got[:2000]}
    assert not wrong, json.dumps(wrong, indent=1)
