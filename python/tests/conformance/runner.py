"""Run the docstring examples of ``pyspark-client`` as a conformance suite.

``python runner.py REPORT.json [module ...]`` runs every docstring of the modules on a
local session and writes which passed and which failed. One docstring is one case; a case
that takes longer than ``CASE_SECONDS`` fails.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
import json
import os
import signal
import sys
import tempfile
from types import FrameType, ModuleType

MODULES = {
    "functions": "pyspark.sql.connect.functions.builtin",
    "dataframe": "pyspark.sql.dataframe",
    "column": "pyspark.sql.column",
    "group": "pyspark.sql.connect.group",
    "session": "pyspark.sql.connect.session",
    "catalog": "pyspark.sql.connect.catalog",
    "readwriter": "pyspark.sql.connect.readwriter",
    "window": "pyspark.sql.window",
    "conf": "pyspark.sql.connect.conf",
}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
CASE_SECONDS = 20


class CaseTimeout(BaseException):
    """A case took too long; not an Exception, so that no example catches it."""


def on_alarm(number: int, frame: FrameType | None) -> None:
    """End the case that runs."""
    raise CaseTimeout


def cases(module: ModuleType, session: object, factory: object) -> list[doctest.DocTest]:
    """Return the module's docstrings that have examples, by name."""
    names = dict(module.__dict__, spark=session, SparkSession=factory)
    found = doctest.DocTestFinder(exclude_empty=True).find(module, module.__name__, extraglobs=names)
    return sorted((case for case in found if case.examples), key=lambda case: case.name)


def run_case(case: doctest.DocTest) -> str | None:
    """Run one docstring; return None when it passes, else the first difference."""
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    said = io.StringIO()
    signal.alarm(CASE_SECONDS)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            runner.run(case, out=said.write, clear_globs=False)
    except CaseTimeout:
        return f"took longer than {CASE_SECONDS} s"
    finally:
        signal.alarm(0)
    return said.getvalue()[:4000] if runner.failures else None


def main() -> None:
    """Run the modules named on the command line, or all."""
    report_path = os.path.abspath(sys.argv[1])
    chosen = sys.argv[2:] or list(MODULES)
    os.environ.setdefault("TZ", "America/Los_Angeles")
    from pyspark.sql import SparkSession

    session = SparkSession.builder.master("local[2]").appName("conformance").getOrCreate()
    signal.signal(signal.SIGALRM, on_alarm)
    report: dict[str, dict[str, str | None]] = {}
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        for name in chosen:
            module = importlib.import_module(MODULES[name])
            report[name] = {}
            for case in cases(module, session, SparkSession):
                label = case.name.removeprefix(MODULES[name]).lstrip(".") or "module"
                report[name][label] = run_case(case)
        os.chdir("/")
    with open(report_path, "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1)
    session.stop()


if __name__ == "__main__":
    main()
