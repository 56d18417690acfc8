"""Programs that print the same here as on Apache Spark, whose output is recorded."""

from __future__ import annotations

import difflib

import pytest
from conftest import EXPECTED, PROGRAMS, Programs


@pytest.mark.parametrize("name", ["api_tour", "rdd_tour", "sql_tour"])
def test_program_prints_what_spark_prints(programs: Programs, master: str, name: str) -> None:
    result = programs.python(PROGRAMS / f"{name}.py", master=master, seconds=180, PYTHONHASHSEED="0").ok()
    expected = (EXPECTED / f"{name}.txt").read_text(encoding="utf-8")
    difference = "\n".join(
        difflib.unified_diff(
            expected.splitlines(),
            result.out.splitlines(),
            "Apache Spark",
            "Pyrite",
            lineterm="",
            n=2,
        )
    )
    assert not difference, difference
