"""Runs cases on the real engine: ``run_cases.py MASTER [MODULE...]`` prints a JSON object of results."""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import corpus
from pyspark import SparkContext, cloudpickle

if __name__ == "__main__":
    cloudpickle.register_pickle_by_value(corpus)
    results = {}
    with SparkContext(sys.argv[1], "cases") as sc:
        for module, cases in corpus.load(*sys.argv[2:]).items():
            for name, function in cases.items():
                begin = time.monotonic()
                results[f"{module}.{name}"] = corpus.answer(function, sc)
                print(f"{time.monotonic() - begin:6.2f} s {module}.{name}", file=sys.stderr)
    print(json.dumps(results))
