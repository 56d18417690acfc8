"""Records what Apache Spark answers: ``record.py [MODULE...]`` with an interpreter that has pyspark and Java."""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import corpus
from pyspark import SparkContext, cloudpickle

if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Text has to hash here as it does on the workers.
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    os.environ["PYSPARK_PYTHON"] = sys.executable
    cloudpickle.register_pickle_by_value(corpus)
    for module, cases in corpus.load(*sys.argv[1:]).items():
        expected = {}
        with SparkContext("local[2]", "cases") as sc:
            sc.setLogLevel("OFF")
            for name, function in cases.items():
                expected[name] = corpus.answer(function, sc)
                print(module, name, expected[name][:200], file=sys.stderr)
        text = json.dumps(expected, indent=1, ensure_ascii=False) + "\n"
        corpus.recording(module).write_text(text, encoding="utf-8")
