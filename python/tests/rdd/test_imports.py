"""Importing is cheap, works from every side, and leaves Python workers alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = "[m for m in ('pandas', 'pyarrow', 'grpc', 'numpy', 'google.protobuf') if m in sys.modules]"


def run(code: str, **environment: str) -> str:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SPARK_")}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**clean, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["pyrite", "pyrite.errors", "pyrite.rdd", "pyrite.context", "pyspark.core.rdd"])
def test_any_module_can_come_first(module):
    run(f"import {module}")


def test_importing_pyspark_stays_light():
    assert run(f"import sys, pyspark; from pyspark.sql import SparkSession; print({HEAVY})") == "[]"


def test_workers_get_no_hooks():
    code = "import os, sys, pyspark; print(any('pyrite' in type(f).__module__ for f in sys.meta_path), os.environ.get('SPARK_CONNECT_MODE_ENABLED'))"
    assert run(code) == "True 1"
    assert run(code, PYRITE_WORKER="1") == "False None"


def test_markers_do_not_reach_children():
    code = "import os, pyspark; from pyrite.markers import without_our_markers as w; print('SPARK_CONNECT_MODE' in os.environ, sorted(set(w(os.environ)) ^ set(os.environ)))"
    assert run(code) == "True ['SPARK_CONNECT_MODE', 'SPARK_CONNECT_MODE_ENABLED', 'SPARK_HOME']"
    assert run(code, SPARK_HOME="/mine") == "True ['SPARK_CONNECT_MODE', 'SPARK_CONNECT_MODE_ENABLED']"
