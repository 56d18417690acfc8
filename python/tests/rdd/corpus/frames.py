"""Between RDDs and DataFrames."""

from __future__ import annotations

import datetime
import decimal

from corpus import case, condition, said, worker_failure


def session(sc):
    from pyspark.sql import SparkSession

    return SparkSession.builder.getOrCreate()


@case
def rows_of_frames(sc):
    df = session(sc).range(4).selectExpr("id", "cast(id as string) as s", "id / 2 as half")
    return [
        df.rdd.collect(),
        df.rdd.map(lambda r: r.id * 2).collect(),
        df.rdd.map(lambda r: r.asDict()).first(),
        type(df.rdd.first()).__name__,
        df.rdd.count(),
        df.rdd.map(lambda r: len(r)).sum(),
    ]


@case
def types_of_rows(sc):
    df = session(sc).sql(
        "select 1 as i, 2L as l, 1.5D as d, cast(2.50 as decimal(10,2)) as n, true as b, 'x' as s, date'2024-02-29' as day, "
        "array(1, 2) as a, map('k', 1) as m, struct(1 as x, 'y' as y) as t, cast('ab' as binary) as bin, cast(null as int) as nothing"
    )
    row = df.rdd.first()
    return [
        row,
        {name: type(row[name]).__name__ for name in row.__fields__},
        df.rdd.map(lambda r: [type(v).__name__ for v in r]).first(),
        df.rdd.map(lambda r: r.t.y).first(),
    ]


@case
def partitions_of_frames(sc):
    spark = session(sc)
    df = spark.range(0, 10, 1, 5)
    return [
        df.rdd.getNumPartitions(),
        df.rdd.glom().map(len).collect(),
        spark.range(10).repartition(3).rdd.getNumPartitions(),
        df.coalesce(2).rdd.getNumPartitions(),
        spark.range(0).rdd.collect(),
    ]


@case
def inferred_schemas(sc):
    spark = session(sc)
    rows = [(1, "a", 1.5, None, True), (2, None, 2.5, 7, False)]
    df = spark.createDataFrame(sc.parallelize(rows, 2), ["i", "s", "d", "n", "b"])
    return [
        df.schema.simpleString(),
        df.collect(),
        df.count(),
        spark.createDataFrame(sc.parallelize(rows, 2)).columns,
        [f.nullable for f in df.schema],
    ]


@case
def inferred_types(sc):
    spark = session(sc)
    values = [
        1,
        2**40,
        1.5,
        "s",
        True,
        b"x",
        datetime.date(2024, 1, 1),
        datetime.datetime(2024, 1, 1, 5),
        decimal.Decimal("1.5"),
        [1],
        {"k": 1},
        (1, "t"),
        datetime.timedelta(days=1),
    ]
    return [spark.createDataFrame(sc.parallelize([(v,)], 1), ["c"]).dtypes for v in values]


@case
def inferred_from_rows(sc):
    from pyspark.sql import Row

    spark = session(sc)
    people = sc.parallelize([Row(name="a", age=1), Row(name="b", age=2)], 2)
    df = spark.createDataFrame(people)
    dicts = spark.createDataFrame(sc.parallelize([{"b": 1, "a": "x"}, {"b": 2, "a": "y"}], 2))
    return [
        df.schema.simpleString(),
        df.collect(),
        people.toDF().columns,
        dicts.schema.simpleString(),
        dicts.collect(),
        df.filter("age > 1").rdd.map(lambda r: r.name).collect(),
    ]


@case
def inferred_with_samples(sc):
    spark = session(sc)
    rdd = sc.parallelize([(i, float(i)) for i in range(50)], 2)
    return [
        spark.createDataFrame(rdd, ["a", "b"], samplingRatio=0.5).schema.simpleString(),
        rdd.toDF(["a", "b"], 0.9).count(),
    ]


@case
def schemas_of_text(sc):
    from pyspark.sql.types import IntegerType, StringType, StructField, StructType

    spark = session(sc)
    rdd = sc.parallelize([(1, "a"), (2, None)], 2)
    schema = StructType([StructField("n", IntegerType(), False), StructField("t", StringType())])
    return [
        rdd.toDF("a: int, b: string").schema.simpleString(),
        rdd.toDF("a long, b string").collect(),
        rdd.toDF(schema).schema.simpleString(),
        rdd.toDF(schema).collect(),
        spark.createDataFrame(sc.parallelize([1, 2], 1), "int").collect(),
        spark.createDataFrame(sc.parallelize(["x"], 1), StringType()).collect(),
        rdd.toDF(["n"]).columns,
        rdd.toDF().columns,
    ]


@case
def wrong_values_for_schemas(sc):
    rdd = sc.parallelize([(1, "a")], 1)
    return [
        said("FIELD_DATA_TYPE_UNACCEPTABLE\\w*", lambda: rdd.toDF("a string, b string").collect())[:1],
        said(
            "LENGTH_SHOULD_BE_THE_SAME|AXIS_LENGTH_MISMATCH|FIELD_STRUCT_LENGTH_MISMATCH\\w*",
            lambda: rdd.toDF("a int").collect(),
        )[:1],
        condition(lambda: sc.parallelize([], 1).toDF()),
        condition(lambda: sc.parallelize([(None,)], 1).toDF(["a"])),
        condition(lambda: sc.parallelize([1], 1).toDF()),
        condition(lambda: sc.parallelize([("a",), (1,)], 1).toDF(["x"])),
    ]


@case
def errors_below_frames(sc):
    rdd = sc.parallelize([1, 0], 2).map(lambda x: (1 // x,))
    return [
        worker_failure(lambda: rdd.toDF("a int").collect())[0],
        worker_failure(lambda: rdd.toDF("a int").rdd.count())[0],
    ]


@case
def frames_and_back(sc):
    df = sc.parallelize([(i % 3, i) for i in range(12)], 3).toDF(["k", "v"])
    sums = df.groupBy("k").sum("v").rdd.map(tuple).collectAsMap()
    back = df.rdd.map(lambda r: (r.k, r.v)).reduceByKey(max).toDF(["k", "m"]).orderBy("k").collect()
    return [sorted(sums.items()), back, df.rdd.getNumPartitions(), df.join(df, "k").count()]


@case
def frames_with_empty_partitions(sc):
    df = sc.parallelize([(1, "a")], 4).toDF(["n", "s"])
    return [
        df.rdd.glom().collect(),
        df.count(),
        sc.parallelize([], 2).toDF("a int, b string").collect(),
        sc.emptyRDD().toDF("a int").count(),
        df.filter("n > 5").rdd.collect(),
    ]


@case
def json_of_frames(sc):
    spark = session(sc)
    df = spark.createDataFrame([(1, "ä", None), (2, 'q"', 1.5)], "n int, s string, d double")
    nested = spark.sql(
        "select array(1, 2) as a, map('k', struct(1 as x)) as m, date'2024-01-02' as day, cast(1.50 as decimal(5,2)) as dec, true as b"
    )
    return [
        df.toJSON().collect(),
        nested.toJSON().first(),
        df.toJSON().map(len).collect(),
        spark.range(0).toJSON().collect(),
    ]


@case
def json_from_rdds(sc):
    spark = session(sc)
    lines = sc.parallelize(['{"a": 1, "b": "x"}', '{"a": 2, "c": [1.5]}', "broken"], 2)
    df = spark.read.json(lines)
    return [
        df.schema.simpleString(),
        df.collect(),
        spark.read.json(lines, "a int").collect(),
        spark.read.schema("b string").json(lines).count(),
    ]


@case
def csv_from_rdds(sc):
    spark = session(sc)
    lines = sc.parallelize(["name,age", "ann,5", 'bob,"7"'], 1)
    df = spark.read.csv(lines, header=True, inferSchema=True)
    return [
        df.dtypes,
        df.collect(),
        spark.read.csv(sc.parallelize(["1;2", "3;4"], 1), sep=";").collect(),
        spark.read.csv(sc.parallelize(["1,2"], 1), "a int, b int").collect(),
    ]


@case
def views_over_rdds(sc):
    spark = session(sc)
    runs = sc.accumulator(0)

    def seen(x):
        runs.add(1)
        return x, x * x

    sc.parallelize(range(4), 2).map(seen).toDF("n int, sq int").createOrReplaceTempView("squares")
    before = runs.value
    found = spark.sql("select sum(sq) as s, max(n) as m from squares where n > 1").collect()
    return [before, found, runs.value, spark.table("squares").rdd.map(lambda r: r.sq).collect()]


@case
def rows_are_tuples(sc):
    df = session(sc).sql("select 1 as a, 'x' as b union all select 2, 'y'")
    rdd = df.rdd
    return [
        sorted(rdd.map(tuple).collect()),
        sorted(rdd.collectAsMap().items()),
        sorted(rdd.map(lambda r: r[1]).collect()),
        rdd.keys().sum(),
        sorted(rdd.mapValues(str.upper).collect()),
    ]


@case
def foreach_of_frames(sc):
    total = sc.accumulator(0)
    parts = sc.accumulator(0)
    df = session(sc).range(0, 6, 1, 3)
    df.foreach(lambda row: total.add(row.id))
    df.foreachPartition(lambda rows: parts.add(1))
    return [total.value, parts.value]


@case
def pandas_and_rdds(sc):
    df = sc.parallelize([(1, "a"), (2, "b")], 2).toDF(["n", "s"])
    frame = df.toPandas()
    return [frame.to_dict("list"), [str(t) for t in frame.dtypes]]


@case
def local_iterators_of_frames(sc):
    df = sc.parallelize([(i,) for i in range(5)], 3).toDF(["n"])
    return [
        [r.n for r in df.toLocalIterator()],
        [r.n for r in df.rdd.toLocalIterator()],
        df.head(2),
        df.take(1),
        df.first(),
    ]
