"""Compares the public API of RDDs with Spark's and writes docs/rdd-parity.md.

`record` writes rdd_api.json next to this file; run it with an interpreter that has pyspark and
Java. Without arguments the page is written from that record and from what this package has.
"""

import importlib
import inspect
import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RECORD = HERE / "rdd_api.json"
PAGE = HERE.parent / "docs" / "rdd-parity.md"

MODULES = {
    "SparkContext": "pyspark",
    "RDD": "pyspark",
    "PipelinedRDD": "pyspark.core.rdd",
    "RDDBarrier": "pyspark",
    "BoundedFloat": "pyspark.core.rdd",
    "Partitioner": "pyspark.core.rdd",
    "Broadcast": "pyspark",
    "Accumulator": "pyspark",
    "AccumulatorParam": "pyspark",
    "StatusTracker": "pyspark",
    "SparkJobInfo": "pyspark",
    "SparkStageInfo": "pyspark",
    "SparkFiles": "pyspark",
    "TaskContext": "pyspark",
    "BarrierTaskContext": "pyspark",
    "BarrierTaskInfo": "pyspark",
    "InheritableThread": "pyspark",
    "SparkConf": "pyspark",
    "StorageLevel": "pyspark",
    "ResourceProfile": "pyspark.resource",
    "ResourceProfileBuilder": "pyspark.resource",
    "ExecutorResourceRequests": "pyspark.resource",
    "TaskResourceRequests": "pyspark.resource",
    "ResourceInformation": "pyspark.resource",
}

#: Listed only where they differ from the class named here, whose methods they inherit.
DERIVED = {"PipelinedRDD": "RDD", "BarrierTaskContext": "TaskContext"}

#: Class -> member -> state and remark.
DIFFERS = json.loads((HERE / "rdd_differences.json").read_text(encoding="utf-8"))


def signature_of(function):
    """Return a function's parameters and defaults as text that is the same in every process."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return "(...)"
    text = ", ".join(str(p.replace(annotation=inspect.Parameter.empty)) for p in parameters)
    text = re.sub(r"<function ([\w.]*?<lambda>|[\w.]+) at 0x[0-9a-f]+>", _function_name, text)
    return f"({text})"


def _function_name(match):
    # Spark's only lambdas as defaults return their argument.
    name = match[1].rpartition(".")[2]
    return "identity" if name == "<lambda>" else name


def api():
    """Return the kind and signature of every public member of every class."""
    found = {}
    for name, module in MODULES.items():
        cls = getattr(importlib.import_module(module), name)
        members = {}
        for member in dir(cls):
            if member.startswith("_") and member != "__init__":
                continue
            if _home(cls, member) in ("builtins", "threading"):
                continue
            raw = inspect.getattr_static(cls, member)
            if isinstance(raw, property):
                members[member] = ["property", ""]
            elif callable(getattr(cls, member)):
                kind = "classmethod" if isinstance(raw, classmethod) else "method"
                members[member] = [kind, signature_of(getattr(cls, member))]
            else:
                members[member] = ["attribute", ""]
        found[name] = members
    return found


def _home(cls, member):
    """Return the module of the class that a member comes from."""
    owners = [base.__module__ for base in cls.__mro__ if member in vars(base)]
    # What a module adds to a class of Python's counts as the module's.
    return owners[0] if owners else ""


def rows(spark, ours):
    """Yield class, member, signature, state and remark of everything that Spark has."""
    for name, members in spark.items():
        for member, (kind, signature) in members.items():
            inherited = spark.get(DERIVED.get(name), {})
            if inherited.get(member) == [kind, signature] and member != "__init__":
                continue
            state, remark = DIFFERS.get(name, {}).get(member, ("works", ""))
            if member not in ours.get(name, {}):
                state, remark = "missing", ""
            elif ours[name][member] != [kind, signature] and state == "works":
                state, remark = "signature", f"`{''.join(ours[name][member])}`"
            yield name, member, signature, state, remark


def page(spark, ours):
    """Return the page."""
    lines = [
        "# RDD API, compared with Spark 4.2",
        "",
        "Written by `tools/rdd_parity.py`; a test keeps it current. `works` means: there, with the same",
        "parameters and defaults, and no difference is known. What differs or is refused says how and why in",
        "`tools/rdd_differences.json`.",
    ]
    table = list(rows(spark, ours))
    counts = {state: sum(row[3] == state for row in table) for state in ("works", "differs", "refused")}
    lines += ["", ", ".join(f"{count} {state}" for state, count in counts.items()) + "."]
    for name in spark:
        own = [row for row in table if row[0] == name]
        heading = f"## {name}" + (f" (beyond {DERIVED[name]})" if name in DERIVED else "")
        if not own:
            continue
        lines += ["", heading, "", "| member | state | |", "|---|---|---|"]
        for _, member, signature, state, remark in own:
            shown = f"{member}{signature}".replace("|", "\\|")
            lines.append(f"| `{shown}` | {state} | {remark} |")
    return "\n".join(lines) + "\n"


def problems(spark, ours):
    """Return what is missing or has another signature without a reason."""
    return [
        f"{name}.{member}: {state} {remark}"
        for name, member, _, state, remark in rows(spark, ours)
        if state in ("missing", "signature")
    ]


def recorded():
    """Return Spark's API as recorded."""
    return json.loads(RECORD.read_text(encoding="utf-8"))


def main():
    """Record Spark's API, or write the page."""
    if sys.argv[1:] == ["record"]:
        RECORD.write_text(json.dumps(api(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
        return
    spark, ours = recorded(), api()
    PAGE.write_text(page(spark, ours), encoding="utf-8")
    for problem in problems(spark, ours):
        print(problem)


if __name__ == "__main__":
    main()
