"""RDDs look as on Apache Spark: numbers, classes, call sites and the indents of shuffles."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from fake import fake_binary, sc

#: Printed by Spark 4.2 for the same calls in the same order, with `FILE` for the lines of this program.
EXPECTED = json.loads(Path(__file__).with_name("lineage.json").read_text(encoding="utf-8"))


def shown(rdd):
    text = rdd.toDebugString().decode()
    return [re.sub(re.escape(__file__) + r":\d+", "FILE", line).rstrip() for line in text.splitlines()]


def test_lineage_is_what_spark_shows(sc, monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    found = {}
    sc.parallelize([1, 2, 3], 2)
    numbers = sc.parallelize([1, 2, 3], 2)
    numbers.map(lambda x: x).filter(lambda x: x).id()
    found["range"] = shown(sc.range(5))
    pairs = sc.parallelize([(1, 2)], 2)
    found["rbk"] = shown(pairs.reduceByKey(lambda x, y: x))
    found["pb"] = shown(pairs.partitionBy(3))
    found["gbk"] = shown(pairs.groupByKey(3).mapValues(list))
    found["join"] = shown(pairs.join(pairs.map(lambda x: x), 3))
    found["union"] = shown(pairs.union(pairs.map(lambda x: x)))
    found["union3"] = shown(sc.union([pairs, pairs, sc.parallelize([1], 1)]))
    found["coalesce"] = shown(pairs.coalesce(1))
    found["repart"] = shown(pairs.repartition(3))
    found["zip"] = shown(pairs.zip(pairs))
    found["cart"] = shown(pairs.cartesian(pairs))
    found["distinct"] = shown(numbers.distinct())
    assert found == EXPECTED


def test_text_and_numbers(sc):
    rdd = sc.parallelize([1, 2], 2)
    assert repr(rdd) == "ParallelCollectionRDD[0] at readRDDFromFile at PythonRDD.scala:326"
    mapped = rdd.map(str).setName("mine")
    assert (mapped.id(), repr(mapped)) == (1, "mine PythonRDD[1] at RDD at PythonRDD.scala:59")
    mapped.cache()
    assert mapped.toDebugString() == (
        b"(2) mine PythonRDD[1] at RDD at PythonRDD.scala:59 [Memory Serialized 1x Replicated]\n"
        b" |  ParallelCollectionRDD[0] at readRDDFromFile at PythonRDD.scala:326 [Memory Serialized 1x Replicated]"
    )
