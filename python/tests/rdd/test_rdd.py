"""RDD semantics: every case gives what Apache Spark recorded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pyspark import cloudpickle

sys.path.insert(0, str(Path(__file__).resolve().parent))
import corpus
from fake import fake_binary, sc

cloudpickle.register_pickle_by_value(corpus)
CASES = corpus.load("basics")["basics"]
EXPECTED = corpus.recorded("basics")


@pytest.mark.parametrize("name", list(CASES))
def test_case_gives_what_spark_gives(sc, name, monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    assert corpus.stable(repr(CASES[name](sc))) == corpus.stable(EXPECTED[name])


def test_every_recording_has_its_case():
    for module, cases in corpus.load().items():
        assert set(corpus.recorded(module)) == set(cases), module
