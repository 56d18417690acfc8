"""Records what Apache Spark answers, with an interpreter that has pyspark and Java.

``record.py [MODULE...]`` records on two cores; ``record.py --four-cores`` then records what is different on four.
"""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import corpus
from pyspark import SparkContext, cloudpickle


def record(master: str, cases: dict[str, corpus.Case]) -> dict[str, str]:
    """Return Spark's answers to the cases of one module."""
    answers = {}
    with SparkContext(master, "cases") as sc:
        sc.setLogLevel("OFF")
        for name, function in cases.items():
            answers[name] = corpus.answer(function, sc)
            print(name, answers[name][:200], file=sys.stderr)
    return answers


def write(path: Path, answers: dict[str, str]) -> None:
    """Write answers to a file of the repository."""
    path.write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # Text has to hash here as it does on the workers.
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    os.environ["PYSPARK_PYTHON"] = sys.executable
    cloudpickle.register_pickle_by_value(corpus)
    if sys.argv[1:] == ["--four-cores"]:
        different = {}
        for module, cases in corpus.load().items():
            recorded = corpus.recorded(module)
            for name, text in record("local[4]", cases).items():
                if corpus.stable(text) != corpus.stable(recorded[name].replace("local[2]", "local[4]")):
                    different[f"{module}.{name}"] = text
        write(corpus.recording(corpus.FOUR_CORES), different)
    else:
        for module, cases in corpus.load(*sys.argv[1:]).items():
            write(corpus.recording(module), record("local[2]", cases))
