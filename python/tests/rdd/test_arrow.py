"""Rows survive the way through Arrow streams, and bad ones are refused as Spark refuses them."""

from __future__ import annotations

import datetime
import decimal
import pickle

import pytest
from fake import fake_binary, sc
from pyspark.errors import PySparkTypeError
from pyspark.sql import Row
from pyspark.sql.types import (
    ArrayType,
    DecimalType,
    DoubleType,
    IntegerType,
    LongType,
    MapType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from pyrite import arrow

SCHEMA = StructType(
    [
        StructField("a", IntegerType()),
        StructField("t", TimestampType()),
        StructField("d", DecimalType(10, 2)),
        StructField("l", ArrayType(StringType())),
        StructField("m", MapType(StringType(), DoubleType())),
        StructField("r", StructType([StructField("x", LongType(), False)])),
    ]
)
ROW = (1, datetime.datetime(2024, 1, 2, 3, 4, 5, 6), decimal.Decimal("1.25"), ["a", None], {"k": 1.5}, Row(x=7))


def test_rows_survive():
    check = pickle.loads(pickle.dumps(arrow.RowCheck(SCHEMA, False)))
    rows = [ROW, (None,) * 6] * 3
    streams = list(arrow.streams_from_rows(SCHEMA, check, None, False, 4, 0, rows))
    assert len(streams) == 2
    back = list(arrow.rows_from_streams(SCHEMA, 0, streams))
    assert [tuple(row) for row in back] == rows
    assert back[0].__fields__ == ["a", "t", "d", "l", "m", "r"]


def test_rows_of_the_wrong_type_are_refused():
    check = arrow.RowCheck(SCHEMA, False)
    with pytest.raises(PySparkTypeError, match="field a: IntegerType"):
        list(arrow.streams_from_rows(SCHEMA, check, None, False, 4, 0, [("x", *ROW[1:])]))


def test_single_values_make_one_column():
    schema = StructType().add("value", IntegerType())
    check = arrow.RowCheck(IntegerType(), True)
    streams = list(arrow.streams_from_rows(schema, check, None, True, 10, 0, [1, None, 3]))
    assert [row.value for row in arrow.rows_from_streams(schema, 0, streams)] == [1, None, 3]
    with pytest.raises(PySparkTypeError, match="field value"):
        list(arrow.streams_from_rows(schema, check, None, True, 10, 0, ["x"]))


def test_an_empty_partition_makes_no_stream():
    assert list(arrow.streams_from_rows(SCHEMA, None, None, False, 4, 0, [])) == []


def test_arrays_arrive_as_their_elements(sc):
    import numpy as np

    for array in (np.arange(7), np.array([0.5, np.nan]), np.array(["a", "bc"]), np.arange(6).reshape(3, 2)):
        found = sc.parallelize(array, 3).collect()
        assert [type(x) for x in found] == [type(x) for x in array]
        assert np.array_equal(np.array(found), array, equal_nan=array.dtype.kind == "f")
    assert sc.parallelize(np.array([1, "x", None], dtype=object), 2).collect() == [1, "x", None]
