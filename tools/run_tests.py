"""Run every check of the project and end with one line: ``N passed, N failed``.

Lints count as one check each; Rust and Python tests count one by one. The exit status
is 0 only when nothing failed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
NEXTEST_VERSION = "0.9.143"


def run(title: str, command: list[str]) -> tuple[int, str]:
    """Run a command, show what it prints as it comes, and return status and output."""
    print(f"\n=== {title}: {' '.join(command)}", flush=True)
    start = time.monotonic()
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        sys.stdout.write(line)
        sys.stdout.flush()
    status = process.wait()
    print(f"=== {title}: exit status {status} after {time.monotonic() - start:.0f} s", flush=True)
    return status, "".join(lines)


def lints() -> dict[str, list[str]]:
    """Return the checks that pass or fail as a whole."""
    return {
        "rustfmt": ["cargo", "fmt", "--all", "--check"],
        "clippy": ["cargo", "clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"],
        "ruff check": [str(BIN / "ruff"), "check", "python", "tools", "benchmarks", "examples"],
        "ruff format": [str(BIN / "ruff"), "format", "--check", "python", "tools", "benchmarks", "examples"],
        "mypy": [str(BIN / "mypy"), "--config-file", "pyproject.toml"],
    }


def count(pattern: str, text: str) -> int:
    """Return the number in the last match of a pattern, 0 without one."""
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def rust_tests() -> tuple[int, int]:
    """Run the Rust tests; return how many passed and failed."""
    # Tests of Python workers start this interpreter, which has the wheel and pyspark-client.
    os.environ["PYRITE_TEST_PYTHON"] = sys.executable
    os.environ["PATH"] = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    if subprocess.run(["cargo", "nextest", "--version"], capture_output=True, check=False).returncode:
        run("install nextest", ["cargo", "install", "--locked", f"cargo-nextest@{NEXTEST_VERSION}"])
    status, text = run(
        "Rust tests",
        ["cargo", "nextest", "run", "--release", "--workspace", "--no-fail-fast", "--status-level", "fail"],
    )
    passed = count(r"(\d+) passed", text)
    failed = count(r"(\d+) failed", text) + count(r"(\d+) timed out", text)
    if status and not failed:
        failed = 1
    return passed, failed


def python_tests() -> tuple[int, int]:
    """Run the whole-program tests against the installed wheel."""
    status, text = run("Python tests", [sys.executable, "-m", "pytest", "-q", "python/tests"])
    passed = count(r"(\d+) passed", text)
    failed = count(r"(\d+) failed", text) + count(r"(\d+) errors?\b", text)
    if status and not failed:
        failed = 1
    return passed, failed


def main() -> int:
    """Run what was asked for and print the closing line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["lint", "rust", "python"], help="run one part")
    only = parser.parse_args().only
    if shutil.which("cargo") is None:
        print("error: cargo is not on PATH; install Rust first", file=sys.stderr)
        return 2

    passed = failed = 0
    failures = []
    if only in (None, "lint"):
        for title, command in lints().items():
            status, _ = run(title, command)
            if status:
                failed += 1
                failures.append(title)
            else:
                passed += 1
    for part, tests in (("rust", rust_tests), ("python", python_tests)):
        if only in (None, part):
            part_passed, part_failed = tests()
            passed += part_passed
            failed += part_failed
            if part_failed:
                failures.append(f"{part} tests ({part_failed})")
            if not part_passed:
                failed += 1
                failures.append(f"{part} tests: none ran")

    if failures:
        print("\nfailed: " + ", ".join(failures))
    print(f"\n{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
