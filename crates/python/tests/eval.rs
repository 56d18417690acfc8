//! Scalar functions in real workers.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array,
    DurationMicrosecondArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array,
    Int64Array, ListArray, MapArray, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Int64Type};
use datafusion::physical_plan::ExecutionPlan;
use pyrite_proto::error::class;
use pyrite_python::{EvalType, PythonEvalExec, to_spark_error};
use support::udfs::{batch, call, evaluate, longs, through, udf};
use support::{World, memory, no_conf};

fn utc() -> Option<Arc<str>> {
    Some("UTC".into())
}

/// A column of each type, with a null, and the type's name in pyspark.
fn every_type() -> Vec<(ArrayRef, &'static str)> {
    let points = Fields::from(vec![
        Field::new("x", DataType::Int64, true),
        Field::new("day", DataType::Date32, true),
    ]);
    let structure = StructArray::new(
        points,
        vec![
            Arc::new(Int64Array::from(vec![Some(1), None, None])),
            Arc::new(Date32Array::from(vec![Some(19_000), Some(-1), None])),
        ],
        Some(NullBuffer::from(vec![true, true, false])),
    );
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(1), None, Some(3)]),
        None,
        Some(vec![]),
    ]);
    vec![
        (
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
            "BooleanType()",
        ),
        (
            Arc::new(Int8Array::from(vec![Some(-128), Some(127), None])),
            "ByteType()",
        ),
        (
            Arc::new(Int16Array::from(vec![Some(-300), Some(300), None])),
            "ShortType()",
        ),
        (
            Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(255), None])),
            "IntegerType()",
        ),
        (
            Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None])),
            "LongType()",
        ),
        (
            Arc::new(Float32Array::from(vec![Some(1.5), Some(-0.25), None])),
            "FloatType()",
        ),
        (
            Arc::new(Float64Array::from(vec![
                Some(1e300),
                Some(f64::INFINITY),
                None,
            ])),
            "DoubleType()",
        ),
        (
            Arc::new(
                Decimal128Array::from(vec![Some(12_345), Some(-1), None])
                    .with_precision_and_scale(10, 2)
                    .unwrap(),
            ),
            "DecimalType(10, 2)",
        ),
        (
            Arc::new(StringArray::from(vec![Some("héllo"), Some(""), None])),
            "StringType()",
        ),
        (
            Arc::new(BinaryArray::from(vec![
                Some(&[0_u8, 255][..]),
                Some(&[7; 300]),
                None,
            ])),
            "BinaryType()",
        ),
        (
            Arc::new(Date32Array::from(vec![Some(0), Some(-40_000), None])),
            "DateType()",
        ),
        (
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(1_700_000_000_123_456), Some(1), None])
                    .with_timezone_opt(utc()),
            ),
            "TimestampType()",
        ),
        (
            Arc::new(TimestampMicrosecondArray::from(vec![
                Some(1_700_000_000_123_456),
                Some(-5),
                None,
            ])),
            "TimestampNTZType()",
        ),
        (
            Arc::new(DurationMicrosecondArray::from(vec![
                Some(86_400_000_001),
                Some(-1),
                None,
            ])),
            "DayTimeIntervalType()",
        ),
        (Arc::new(list), "ArrayType(IntegerType())"),
        (Arc::new(map_column()), "MapType(StringType(), LongType())"),
        (
            Arc::new(structure),
            "StructType([StructField('x', LongType()), StructField('day', DateType())])",
        ),
    ]
}

fn map_column() -> MapArray {
    let fields = Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Int64, true),
    ]);
    let entries = StructArray::new(
        fields.clone(),
        vec![
            Arc::new(StringArray::from(vec!["a", "b"])),
            Arc::new(Int64Array::from(vec![Some(1), None])),
        ],
        None,
    );
    let entry = Field::new("entries", DataType::Struct(fields), false);
    MapArray::new(
        Arc::new(entry),
        OffsetBuffer::new(ScalarBuffer::from(vec![0, 2, 2, 2])),
        entries,
        Some(NullBuffer::from(vec![true, true, false])),
        false,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_every_type_survive_pickling() {
    let world = World::new();
    for (column, spark_type) in every_type() {
        let f = udf(
            EvalType::Batched,
            "",
            "lambda x: x",
            spark_type,
            column.data_type().clone(),
        );
        let result = through(&world, Arc::clone(&column), f).await;
        assert_eq!(
            &result.unwrap_or_else(|e| panic!("{spark_type}: {e}")),
            &column,
            "{spark_type}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_every_type_survive_arrow() {
    let world = World::new();
    for (column, spark_type) in every_type() {
        let arrow = column.data_type().clone();
        let f = udf(EvalType::ArrowBatched, "", "lambda x: x", spark_type, arrow);
        let result = through(&world, Arc::clone(&column), f).await;
        assert_eq!(
            &result.unwrap_or_else(|e| panic!("{spark_type}: {e}")),
            &column,
            "{spark_type}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn python_sees_its_own_types() {
    let world = World::new();
    let columns = every_type();
    let names = [
        "bool",
        "int",
        "int",
        "int",
        "int",
        "float",
        "float",
        "Decimal",
        "str",
        "bytes",
        "date",
        "datetime",
        "datetime",
        "timedelta",
        "list",
        "dict",
        "Row",
    ];
    for ((column, spark_type), name) in columns.into_iter().zip(names) {
        for eval_type in [EvalType::Batched, EvalType::ArrowBatched] {
            let f = udf(
                eval_type,
                "",
                "lambda x: type(x).__name__",
                "StringType()",
                DataType::Utf8,
            );
            let result = through(&world, Arc::clone(&column), f).await.unwrap();
            let result: Vec<_> = result.as_string::<i32>().iter().flatten().collect();
            let second = if column.is_null(1) { "NoneType" } else { name };
            assert_eq!(
                result,
                [
                    name,
                    second,
                    if column.is_null(2) { "NoneType" } else { name }
                ],
                "{spark_type} {eval_type:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pickled_result_of_the_wrong_type_is_null() {
    let world = World::new();
    let cases = [
        ("lambda x: 'text'", "LongType()", DataType::Int64),
        ("lambda x: 1", "DoubleType()", DataType::Float64),
        ("lambda x: 1.5", "LongType()", DataType::Int64),
        ("lambda x: 2 ** 80", "LongType()", DataType::Int64),
        ("lambda x: True", "IntegerType()", DataType::Int32),
        ("lambda x: 5", "BinaryType()", DataType::Binary),
        (
            "lambda x: {1, 2}",
            "ArrayType(LongType())",
            DataType::new_list(DataType::Int64, true),
        ),
        (
            "lambda x: {1: 2}",
            "ArrayType(LongType())",
            DataType::new_list(DataType::Int64, true),
        ),
    ];
    for (f, spark_type, arrow) in cases {
        let result = through(
            &world,
            longs(&[1]),
            udf(EvalType::Batched, "", f, spark_type, arrow),
        )
        .await;
        assert_eq!(result.unwrap().null_count(), 1, "{f} as {spark_type}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_string_column_takes_the_text_of_any_plain_value() {
    let world = World::new();
    let f = udf(
        EvalType::Batched,
        "",
        "lambda x: [1, True, 2.5, 1e20, [1, 'a', None], {'k': [2]}, None, 'plain', 2 ** 80][x]",
        "StringType()",
        DataType::Utf8,
    );
    let result = through(&world, longs(&[0, 1, 2, 3, 4, 5, 6, 7, 8]), f)
        .await
        .unwrap();
    let expected = StringArray::from(vec![
        Some("1"),
        Some("true"),
        Some("2.5"),
        Some("1.0E20"),
        Some("[1, a, null]"),
        Some("{k=[2]}"),
        None,
        Some("plain"),
        Some("1208925819614629174706176"),
    ]);
    assert_eq!(result.as_string::<i32>(), &expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn narrow_integers_wrap_around() {
    let world = World::new();
    let f = udf(
        EvalType::Batched,
        "",
        "lambda x: x",
        "ByteType()",
        DataType::Int8,
    );
    let result = through(&world, longs(&[300]), f).await.unwrap();
    assert_eq!(result.as_ref(), &Int8Array::from(vec![44]));
}

#[tokio::test(flavor = "multi_thread")]
async fn structs_come_from_tuples_lists_and_dicts() {
    let world = World::new();
    let fields = Fields::from(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("b", DataType::Utf8, true),
    ]);
    let spark_type = "StructType([StructField('a', LongType()), StructField('b', StringType())])";
    let values = "lambda x: [(0, 'x'), [1, 'y'], {'b': 'z', 'a': 2}, Row(a=3, b='w')][x]";
    let f = udf(
        EvalType::Batched,
        "",
        values,
        spark_type,
        DataType::Struct(fields.clone()),
    );
    let result = through(&world, longs(&[0, 1, 2, 3]), f).await.unwrap();
    assert_eq!(
        result.as_struct().column(0).as_ref(),
        &Int64Array::from(vec![0, 1, 2, 3])
    );
    let texts = StringArray::from(vec!["x", "y", "z", "w"]);
    assert_eq!(result.as_struct().column(1).as_ref(), &texts);

    let f = udf(
        EvalType::Batched,
        "",
        "lambda x: (1,)",
        spark_type,
        DataType::Struct(fields),
    );
    let error = to_spark_error(&through(&world, longs(&[0]), f).await.unwrap_err());
    assert_eq!(error.condition, "STRUCT_ARRAY_LENGTH_MISMATCH");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decimal_that_does_not_fit_is_an_error() {
    let world = World::new();
    let f = udf(
        EvalType::Batched,
        "import decimal",
        "lambda x: decimal.Decimal('12345')",
        "DecimalType(4, 2)",
        DataType::Decimal128(4, 2),
    );
    let error = to_spark_error(&through(&world, longs(&[0]), f).await.unwrap_err());
    assert_eq!(
        error.condition,
        "NUMERIC_VALUE_OUT_OF_RANGE.WITHOUT_SUGGESTION"
    );
    assert_eq!(error.class_name, class::ARITHMETIC);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_of_an_unknown_class_is_an_error() {
    let world = World::new();
    let f = udf(
        EvalType::Batched,
        "import fractions",
        "lambda x: fractions.Fraction(x, 3)",
        "DoubleType()",
        DataType::Float64,
    );
    let error = to_spark_error(&through(&world, longs(&[1]), f).await.unwrap_err());
    assert!(
        error.message.contains("ClassDict (for fractions.Fraction)"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn results_stay_next_to_their_rows() {
    let world = World::new();
    for eval_type in [EvalType::Batched, EvalType::ArrowBatched] {
        let batches: Vec<_> = [3_i64, 0, 1500, 1, 777]
            .into_iter()
            .scan(0_i64, |next, rows| {
                let values: Vec<i64> = (*next..*next + rows).collect();
                *next += rows;
                Some(batch(&[("a", longs(&values))]))
            })
            .collect();
        let schema = batches[0].schema();
        let f = udf(
            eval_type,
            "",
            "lambda x: x * 2",
            "LongType()",
            DataType::Int64,
        );
        let calls = vec![call(f, &schema, &["a"])];
        let plan = PythonEvalExec::try_new(memory(&[batches]), calls, no_conf(), 1, 1).unwrap();
        let plan: Arc<dyn ExecutionPlan> = Arc::new(plan);
        let output = world.run(&plan, 0).await.unwrap();
        let output = concat_batches(&plan.schema(), &output).unwrap();
        assert_eq!(output.num_rows(), 2281);
        let (a, out) = (
            output.column(0).as_primitive::<Int64Type>(),
            output.column(1).as_primitive::<Int64Type>(),
        );
        for row in 0..2281 {
            assert_eq!((a.value(row), out.value(row)), (row as i64, 2 * row as i64));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_share_a_task_and_take_keywords() {
    let world = World::new();
    for eval_type in [EvalType::Batched, EvalType::ArrowBatched] {
        let input = batch(&[("a", longs(&[7, 8])), ("b", longs(&[2, 3]))]);
        let schema = input.schema();
        let first = udf(
            eval_type,
            "",
            "lambda x, y: x - y",
            "LongType()",
            DataType::Int64,
        );
        let second = udf(
            eval_type,
            "",
            "lambda x, power=1: x ** power",
            "LongType()",
            DataType::Int64,
        );
        let none = udf(eval_type, "", "lambda: 'c'", "StringType()", DataType::Utf8);
        let mut keyword = call(second, &schema, &["a", "b"]);
        keyword.args[1].name = Some("power".into());
        let calls = vec![
            call(first, &schema, &["a", "b"]),
            keyword,
            call(none, &schema, &[]),
        ];
        let output = evaluate(&world, input, calls).await.unwrap();
        assert_eq!(
            output.column(2).as_ref(),
            &Int64Array::from(vec![5, 5]),
            "{eval_type:?}"
        );
        assert_eq!(
            output.column(3).as_ref(),
            &Int64Array::from(vec![49, 512]),
            "{eval_type:?}"
        );
        assert_eq!(
            output.column(4).as_ref(),
            &StringArray::from(vec!["c", "c"]),
            "{eval_type:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exception_in_a_scalar_function_carries_the_traceback() {
    let world = World::new();
    for eval_type in [
        EvalType::Batched,
        EvalType::ArrowBatched,
        EvalType::ScalarPandas,
    ] {
        let f = udf(
            eval_type,
            "",
            "lambda x: 1 // 0",
            "LongType()",
            DataType::Int64,
        );
        let error = to_spark_error(&through(&world, longs(&[1]), f).await.unwrap_err());
        assert_eq!(error.class_name, class::PYTHON);
        assert!(error.message.contains("ZeroDivisionError"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_rows_start_no_worker() {
    let world = World::with(|config| config.default_exec = "/no/such/python".into());
    let f = udf(
        EvalType::Batched,
        "",
        "lambda x: x",
        "LongType()",
        DataType::Int64,
    );
    assert_eq!(through(&world, longs(&[]), f).await.unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pandas_and_arrow_functions_see_whole_batches() {
    let world = World::new();
    let iterate = "def plus(batches):\n    for x in batches:\n        yield x + 1";
    let arrow_iterate = "import pyarrow.compute as pc\ndef plus(batches):\n    for x in batches:\n        yield pc.add(x, 1)";
    let cases = [
        (EvalType::ScalarPandas, "", "lambda x: x + 1"),
        (EvalType::ScalarPandasIter, iterate, "plus"),
        (
            EvalType::ScalarArrow,
            "import pyarrow.compute as pc",
            "lambda x: pc.add(x, 1)",
        ),
        (EvalType::ScalarArrowIter, arrow_iterate, "plus"),
    ];
    for (eval_type, setup, f) in cases {
        let f = udf(eval_type, setup, f, "LongType()", DataType::Int64);
        let result = through(&world, longs(&[1, 2, 3]), f).await;
        let result = result.unwrap_or_else(|e| panic!("{eval_type:?}: {e}"));
        assert_eq!(
            result.as_ref(),
            &Int64Array::from(vec![2, 3, 4]),
            "{eval_type:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn timestamps_carry_the_sessions_zone() {
    let world = World::new();
    let instant: ArrayRef = Arc::new(
        TimestampMicrosecondArray::from(vec![1_700_000_000_000_000]).with_timezone_opt(utc()),
    );
    let input = batch(&[("a", instant)]);
    let f = udf(
        EvalType::ScalarPandas,
        "",
        "lambda x: x.dt.hour.astype('int64')",
        "LongType()",
        DataType::Int64,
    );
    let calls = vec![call(f, &input.schema(), &["a"])];
    let conf = BTreeMap::from([(
        "spark.sql.session.timeZone".to_owned(),
        "Asia/Tokyo".to_owned(),
    )]);
    let plan: Arc<dyn ExecutionPlan> =
        Arc::new(PythonEvalExec::try_new(memory(&[vec![input]]), calls, conf, 1, 1).unwrap());
    let output = world.run(&plan, 0).await.unwrap();
    // 22:13:20 UTC is 07:13:20 the next day in Tokyo.
    assert_eq!(output[0].column(1).as_ref(), &Int64Array::from(vec![7]));
}
