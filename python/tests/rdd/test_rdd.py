"""RDD semantics: every case gives what Apache Spark recorded."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from pyspark import cloudpickle

sys.path.insert(0, str(Path(__file__).resolve().parent))
import cases
from fake import fake_binary, sc

cloudpickle.register_pickle_by_value(cases)
EXPECTED = json.loads(Path(__file__).with_name("expected.json").read_text())


def stable(text: str) -> str:
    """Put the modules of the two implementations out of sight."""
    return re.sub(r"0x[0-9a-f]+", "0x", text)


@pytest.mark.parametrize("name", list(cases.CASES))
def test_case_gives_what_spark_gives(sc, name, monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    assert stable(repr(cases.CASES[name](sc))) == stable(EXPECTED[name])


def test_every_recording_has_its_case():
    assert set(EXPECTED) == set(cases.CASES)
