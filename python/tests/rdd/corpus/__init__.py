"""Small RDD programs whose results Apache Spark recorded below ``expected``, one file for each module.

A case takes a SparkContext on ``local[2]`` and returns something with a stable ``repr``. The
recorder and the runners pickle this package by value, so nothing of it has to be on the workers'
import path, on Spark or here.
"""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Case = Callable[[Any], Any]

MODULES = (
    "basics",
    "structure",
    "elements",
    "keys",
    "failures",
    "joins",
    "sorts",
    "shuffles",
    "samples",
    "reductions",
    "sharing",
    "caching",
    "text",
    "frames",
    "jobs",
)

#: The recording of what is different on four cores.
FOUR_CORES = "four_cores"

#: Cases by module and name, in the order of their definition.
CASES: dict[str, dict[str, Case]] = {}

_RECORDINGS = Path(__file__).with_name("expected")


def case(function: Case) -> Case:
    """Register a case under the name of its module and its own."""
    CASES.setdefault(function.__module__.rpartition(".")[2], {})[function.__name__] = function
    return function


def load(*modules: str) -> dict[str, dict[str, Case]]:
    """Import the modules of cases and return their cases."""
    names = modules or MODULES
    for name in names:
        importlib.import_module(f"corpus.{name}")
    return {name: CASES[name] for name in names}


def recording(module: str) -> Path:
    """Return the file with Spark's results of a module."""
    return _RECORDINGS / f"{module}.json"


def recorded(module: str) -> dict[str, str]:
    """Return Spark's results of a module by case."""
    expected: dict[str, str] = json.loads(recording(module).read_text(encoding="utf-8"))
    return expected


class Arriving:
    """A value that on a cluster depends on the order in which blocks arrive from executors."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"«{self.value!r}»"


def in_any_order(text: str) -> str:
    """Sort the words between the marks of :class:`Arriving`."""
    return re.sub("«(.*?)»", lambda found: " ".join(sorted(re.findall(r"[\w.'-]+", found[1]))), text, flags=re.S)


def stable(text: str) -> str:
    """Put addresses of objects out of sight."""
    return re.sub(r"0x[0-9a-f]+", "0x", text)


def answer(function: Case, context: Any) -> str:
    """Run a case and return its result as text, an error of the case itself included."""
    try:
        return repr(function(context))
    except Exception as error:
        return f"the case failed: {type(error).__name__}: {error}"


def failure(function: Callable[[], Any]) -> str:
    """Return type and text of the error that a call raises."""
    try:
        function()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def condition(function: Callable[[], Any]) -> tuple[str, str | None, str]:
    """Return type, error class and text of an error of PySpark's own."""
    try:
        function()
    except Exception as error:
        found = getattr(error, "getCondition", lambda: None)()
        return type(error).__name__, found, str(error)
    return "no error", None, ""


def said(pattern: str, function: Callable[[], Any]) -> list[str]:
    """Return what matches a pattern in the text of the error that a call raises."""
    try:
        function()
    except Exception as error:
        return list(dict.fromkeys(re.findall(pattern, str(error))))
    return ["no error"]


def worker_failure(function: Callable[[], Any]) -> tuple[list[str], list[tuple[str, int]]]:
    """Return the Python errors of a failed task and the user's frames in its traceback.

    A frame is the name of a function and how many lines below the beginning of the case it is.
    """
    case_code = sys._getframe(1).f_code
    try:
        function()
    except Exception as error:
        begin = str(error).partition("Traceback (most recent call last):")
        trace = re.split(r"\n\s*at (?=org|java|scala)|\n\n?JVM stacktrace", begin[2])[0]
        frames = re.findall(r'File "(.*?)", line (\d+), in (\S+)', trace)
        ours = [(name, int(n) - case_code.co_firstlineno) for f, n, name in frames if f == case_code.co_filename]
        errors = re.findall(
            r"^((?:\w+\.)*\w*(?:Error|Exception|Exit|Iteration|Interrupt|error|Custom\w*)\b.*)$", trace, re.M
        )
        return errors, ours
    return ["no error"], []


@contextmanager
def scratch() -> Iterator[str]:
    """Lend a directory."""
    directory = tempfile.mkdtemp(prefix="cases-")
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def fruits(sc: Any, slices: int = 3) -> Any:
    """Return six pairs with three keys."""
    return sc.parallelize([("apple", 1), ("pear", 2), ("apple", 3), ("fig", 4), ("pear", 5), ("apple", 6)], slices)
