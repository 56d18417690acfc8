"""Docstring examples of ``pyspark-client``: what fails is listed, and the list only shrinks."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from conftest import TESTS, Programs

CONFORMANCE = TESTS / "conformance"
KNOWN_FAILURES = CONFORMANCE / "known_failures.txt"
MODULES = ["functions", "dataframe", "column", "group", "session", "catalog", "readwriter", "window", "conf"]


@pytest.mark.parametrize("module", MODULES)
def test_docstring_examples(programs: Programs, module: str, tmp_path: Path) -> None:
    report_path = tmp_path / "report.json"
    programs.run(
        sys.executable, CONFORMANCE / "runner.py", str(report_path), module, seconds=600, TZ="America/Los_Angeles"
    ).ok()
    cases = json.loads(report_path.read_text())[module]
    failed = {f"{module}.{name}": why for name, why in cases.items() if why is not None}
    lines = [line.split() for line in KNOWN_FAILURES.read_text().splitlines() if line.startswith(f"{module}.")]
    known = {words[0] for words in lines}
    # Examples whose output depends on chance or on the order of unordered rows.
    sometimes = {words[0] for words in lines if words[1:] == ["sometimes"]}
    print(f"{module}: {len(cases) - len(failed)} of {len(cases)} docstrings pass")
    new = {name: why for name, why in failed.items() if name not in known}
    assert not new, "\n\n".join(f"{name}\n{why}" for name, why in sorted(new.items()))
    fixed = known - sometimes - set(failed)
    assert not fixed, f"these pass now, take them out of {KNOWN_FAILURES.name}: {sorted(fixed)}"
