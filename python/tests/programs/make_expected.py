"""Record what Apache Spark prints for the programs beside this file.

Run with the interpreter of an environment that has ``pyspark==4.2.0`` (with a JVM):
``python make_expected.py [program ...]``.
"""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
MASTER = "local[2]"


def main() -> None:
    """Run the programs and write their standard output to ``../expected``."""
    names = sys.argv[1:] or sorted(p.name for p in HERE.glob("*_tour.py"))
    for name in names:
        print("recording", name, flush=True)
        environment = dict(
            os.environ,
            PYSPARK_PYTHON=sys.executable,
            PYTHONHASHSEED="0",
            SPARK_LOCAL_IP="127.0.0.1",
        )
        environment["PYSPARK_SUBMIT_ARGS"] = f"--master {MASTER} pyspark-shell"
        done = subprocess.run(
            [sys.executable, name],
            cwd=HERE,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        (HERE.parent / "expected" / name).with_suffix(".txt").write_bytes(done.stdout)


if __name__ == "__main__":
    main()
