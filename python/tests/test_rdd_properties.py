"""Random chains of RDD transformations do what plain Python lists do."""

from __future__ import annotations

import os
import sys

from conftest import TESTS, Programs

#: Enough for a few hundred chains locally; the same chains in every run, unless another seed is chosen.
SECONDS = 15
SEED = os.environ.get("PYRITE_TEST_SEED", "1")


def test_random_chains(programs: Programs, master: str) -> None:
    program = TESTS / "rdd" / "random_chains.py"
    run = programs.run(sys.executable, program, master, str(SECONDS), SEED, seconds=300, PYTHONHASHSEED="0")
    assert run.status == 0, f"{run.out}\n{run.err[-3000:]}"
    assert int(run.out.split()[0]) >= 20, run.out
