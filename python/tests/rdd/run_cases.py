"""Runs every case on the real engine: ``run_cases.py MASTER`` prints a JSON object of results."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import cases
from pyspark import SparkContext, cloudpickle

if __name__ == "__main__":
    cloudpickle.register_pickle_by_value(cases)
    results = {}
    with SparkContext(sys.argv[1], "cases") as sc:
        for name, function in cases.CASES.items():
            try:
                results[name] = repr(function(sc))
            except Exception as error:
                results[name] = f"{type(error).__name__}: {error}"
    print(json.dumps(results))
