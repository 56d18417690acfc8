"""Records what Apache Spark answers to every case; run with an interpreter that has pyspark and Java."""

import json
import os
import sys
from pathlib import Path

from cases import CASES
from pyspark import SparkContext, cloudpickle

if __name__ == "__main__":
    os.environ["PYTHONHASHSEED"] = "0"
    os.environ["PYSPARK_PYTHON"] = sys.executable
    import cases

    cloudpickle.register_pickle_by_value(cases)
    expected = {}
    for name, function in CASES.items():
        with SparkContext("local[2]", "cases") as sc:
            sc.setLogLevel("OFF")
            expected[name] = repr(function(sc))
            print(name, expected[name][:100], file=sys.stderr)
    target = Path(__file__).with_name("expected.json")
    target.write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")
