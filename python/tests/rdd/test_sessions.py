"""Sessions on a context's driver, RDDs as DataFrames and back."""

from __future__ import annotations

import datetime
import time

import pytest
from fake import fake_binary
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkException
from pyspark.sql import Row, SparkSession
from pyspark.sql.types import FloatType, IntegerType, StringType, StructField, StructType


@pytest.fixture
def connect(fake_binary, monkeypatch):
    monkeypatch.setenv("PYRITE_BINARY", str(fake_binary))
    monkeypatch.setenv("FAKE_DRIVER_CONNECT", "1")
    yield
    if SparkContext._active_spark_context is not None:
        SparkContext._active_spark_context.stop()


@pytest.fixture
def spark(connect):
    return SparkSession.builder.master("local[2]").appName("sessions").getOrCreate()


def test_builder_starts_a_driver_and_stop_ends_it(connect):
    spark = SparkSession.builder.master("local[3]").appName("named").config("spark.my.key", "1").getOrCreate()
    sc = spark.sparkContext
    assert (sc.master, sc.appName, sc.getConf().get("spark.my.key")) == ("local[3]", "named", "1")
    assert SparkSession.builder.getOrCreate() is spark
    assert SparkSession.getActiveSession() is spark
    spark.stop()
    spark.stop()
    assert not sc._driver.is_alive()
    assert SparkSession.getActiveSession() is None
    again = SparkSession.builder.master("local[1]").getOrCreate()
    assert again is not spark
    assert again.range(1) is not None


def test_sessions_join_the_context_that_is_there(connect):
    conf = SparkConf().setMaster("local[2]").setAppName("joined")
    sc = SparkContext(conf=conf)
    spark = SparkSession.builder.config(conf=conf).config("spark.sql.x", "y").getOrCreate()
    assert spark.sparkContext is sc
    assert spark.conf.get("spark.sql.x") == "y"
    assert SparkSession(sc) is spark
    other = spark.newSession()
    assert other is not spark
    assert other.sparkContext is sc
    sc.stop()
    assert SparkSession.getActiveSession() is None


def test_rdds_become_frames_and_back(spark):
    sc = spark.sparkContext
    schema = StructType([StructField("value", FloatType(), True)])
    df = spark.createDataFrame(sc.parallelize([1.5, 2.5, None], 2).map(lambda x: (x,)), schema)
    assert df.schema == schema
    assert df.collect() == [Row(value=1.5), Row(value=2.5), Row(value=None)]
    assert df.toPandas()["value"].dtype == "float32"
    assert df.rdd.getNumPartitions() == 2
    assert df.rdd.map(lambda row: row.value).collect() == [1.5, 2.5, None]
    assert spark.createDataFrame([(1, "a")], ["a", "b"])._plan is not None


def test_schemas_are_inferred_as_on_spark(spark):
    sc = spark.sparkContext
    rows = sc.parallelize([(1, "x"), (2, None)], 2)
    assert rows.toDF().columns == ["_1", "_2"]
    assert rows.toDF(["n", "s"]).collect() == [Row(n=1, s="x"), Row(n=2, s=None)]
    people = sc.parallelize([Row(name="a", born=datetime.date(2000, 1, 2)), Row(name=None, born=None)], 1)
    assert people.toDF().schema.simpleString() == "struct<name:string,born:date>"
    assert people.toDF().collect() == people.collect()
    late = sc.parallelize([(None, 1), ("x", 2)], 1).toDF(["a", "b"])
    assert late.schema["a"].dataType == StringType()
    sampled = spark.createDataFrame(sc.parallelize([{"a": 1}, {"a": 2, "b": 2.5}], 1), samplingRatio=1.0)
    assert sampled.collect() == [Row(a=1, b=None), Row(a=2, b=2.5)]
    with pytest.raises(PySparkException, match="CANNOT_DETERMINE_TYPE"):
        sc.parallelize([(None,)], 1).toDF()
    assert spark.createDataFrame(sc.parallelize([1, 2], 1), IntegerType()).collect() == [Row(value=1), Row(value=2)]


def test_rows_that_do_not_fit_are_refused(spark):
    sc = spark.sparkContext
    schema = StructType([StructField("n", IntegerType(), False)])
    with pytest.raises(PySparkException, match="can not accept object 'x'"):
        spark.createDataFrame(sc.parallelize([("x",)], 1), schema).collect()
    with pytest.raises(PySparkException, match="not be None|nullable|NULL"):
        spark.createDataFrame(sc.parallelize([(None,)], 1), schema).collect()


def test_death_of_the_driver_ends_queries_at_once(spark):
    df = spark.createDataFrame([(1,)], ["n"])
    spark.addTag("die")
    started = time.monotonic()
    with pytest.raises(PySparkException, match=r"driver of this application is gone"):
        df.collect()
    with pytest.raises(PySparkException, match=r"driver of this application is gone"):
        df.collect()
    assert time.monotonic() - started < 10
