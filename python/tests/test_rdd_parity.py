"""docs/rdd-parity.md says what is true: nothing public of Spark's RDD API is missing or called differently."""

from __future__ import annotations

import sys

from conftest import ROOT

sys.path.insert(0, str(ROOT / "tools"))
import rdd_parity


def test_nothing_of_spark_is_missing() -> None:
    assert rdd_parity.problems(rdd_parity.recorded(), rdd_parity.api()) == []


def test_the_page_is_current() -> None:
    page = rdd_parity.PAGE.read_text(encoding="utf-8")
    assert page == rdd_parity.page(rdd_parity.recorded(), rdd_parity.api()), "run tools/rdd_parity.py"


def test_the_record_is_of_spark() -> None:
    spark = rdd_parity.recorded()
    assert spark["RDD"]["treeAggregate"] == ["method", "(self, zeroValue, seqOp, combOp, depth=2)"]
    assert len(spark["RDD"]) > 100 and len(spark["SparkContext"]) > 50
