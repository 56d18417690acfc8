"""Fixtures: a SparkContext on the fake driver.

Imported by the tests that use them; a second `conftest` would stand in the way of the first.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PROTO = HERE.parents[2] / "crates" / "proto" / "proto"


@pytest.fixture(scope="session")
def fake_binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an executable that can stand in for the `pyrite` binary."""
    directory = tmp_path_factory.mktemp("fake-driver")
    beside = Path(sys.executable).absolute().parent / "protoc"
    protoc = os.environ.get("PROTOC") or shutil.which("protoc") or str(beside)
    descriptors = directory / "descriptors.bin"
    subprocess.run(
        [protoc, f"-I{PROTO}", f"--descriptor_set_out={descriptors}", "core.proto", "exec.proto"],
        check=True,
    )
    binary = directory / "pyrite"
    # Python workers have a fixed hash seed, and no hooks.
    binary.write_text(
        f"#!/bin/sh\nexec env PYTHONHASHSEED=0 PYRITE_WORKER=1 FAKE_DRIVER_DESCRIPTORS={descriptors} "
        f"{sys.executable} {HERE / 'fake_driver.py'}\n"
    )
    binary.chmod(0o755)
    return binary


@pytest.fixture
def sc(fake_binary: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Return a SparkContext on the fake driver."""
    monkeypatch.setenv("PYRITE_BINARY", str(fake_binary))
    from pyspark import SparkContext

    with SparkContext("local[2]", "cases") as context:
        yield context
