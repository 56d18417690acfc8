"""Has Apache Spark write the files beside this program; run it with an interpreter that has pyspark and Java."""

import json
import os
import shutil
from pathlib import Path

from pyspark import SparkContext

HERE = Path(__file__).resolve().parent
PAIRS = {
    "simple": [(1, "a"), (2, "b\u00e9"), (3, "")],
    "ints": [(1, -1), (-(2**31), 2**31 - 1)],
    "longs": [(2**40, -(2**40)), (2**62, 2**33)],
    "doubles": [(1.5, -0.1), (2.0, 1e300)],
    "booleans": [(True, False), (False, True)],
    "bytes": [(b"ab", bytearray(b"\x00\xff")), (b"", b"x" * 300)],
    "nulls": [(None, "x"), (None, "y")],
    "maps": [("k", {"a": 1, "b": 2.5, "c": None}), ("k2", {1: {"n": True}, "z": b"b", "l": 2**40})],
}
MANY = [(i, f"v{i}" * 3) for i in range(200)]
OBJECTS = {
    "objects": ([1, "a", (2, [3]), None, {"k": 1.5}], 10),
    "objects_one_by_one": (list(range(25)), 1),
}
FORMAT = "org.apache.hadoop.mapred.SequenceFileOutputFormat"
COMPRESS = "mapreduce.output.fileoutputformat.compress"


def main():
    """Write the files and what Spark reads from them."""
    target = HERE / "spark"
    shutil.rmtree(target, ignore_errors=True)
    read = {}
    with SparkContext("local[2]", "record") as sc:
        for name, pairs in PAIRS.items():
            sc.parallelize(pairs, 2 if name == "simple" else 1).saveAsSequenceFile(str(target / name))
        for name in ("Default", "Gzip", "BZip2"):
            codec = f"org.apache.hadoop.io.compress.{name}Codec"
            sc.parallelize(MANY, 1).saveAsSequenceFile(str(target / f"block_{name.lower()}"), codec)
            conf = {COMPRESS: "true", f"{COMPRESS}.codec": codec, f"{COMPRESS}.type": "RECORD"}
            sc.parallelize(MANY[:50], 1).saveAsHadoopFile(str(target / f"record_{name.lower()}"), FORMAT, conf=conf)
        for directory in sorted(target.iterdir()):
            read[directory.name] = repr(sc.sequenceFile(str(directory)).collect())
        for name, (elements, batch) in OBJECTS.items():
            sc.parallelize(elements, 2 if name == "objects" else 1).saveAsPickleFile(str(target / name), batch)
            read[name] = repr(sc.pickleFile(str(target / name)).collect())
    for path in target.rglob("*"):
        if path.name.startswith((".", "_")):
            os.unlink(path)
    (HERE / "expected.json").write_text(json.dumps(read, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
