//! Functions over whole batches and over groups, in real workers.

mod support;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::physical_expr::expressions::col;
use datafusion::physical_plan::ExecutionPlan;
use pyrite_python::{
    EvalType, PythonArg, PythonEvalExec, PythonGroupMapExec, PythonMapBatchesExec, PythonUdf,
    PythonUdfCall,
};
use support::udfs::{batch, call, longs, udf};
use support::{World, function, memory, no_conf};

fn two_columns() -> Arc<Schema> {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Utf8, true),
        Field::new("v", DataType::Int64, true),
    ]))
}

fn keyed(keys: &[Option<&str>], values: &[i64]) -> RecordBatch {
    let keys: ArrayRef = Arc::new(StringArray::from(keys.to_vec()));
    batch(&[("k", keys), ("v", longs(values))])
}

const TWO_COLUMNS: &str =
    "StructType([StructField('k', StringType()), StructField('v', LongType())])";

#[tokio::test(flavor = "multi_thread")]
async fn functions_over_batches_may_change_the_number_of_rows() {
    let world = World::new();
    let pandas = "def f(frames):\n    for frame in frames:\n        yield frame[frame.v > 1]";
    let arrow = "import pyarrow.compute as pc\ndef f(batches):\n    for b in batches:\n        yield b.filter(pc.greater(b['v'], 1))";
    for (eval_type, setup) in [
        (EvalType::MapPandasIter, pandas),
        (EvalType::MapArrowIter, arrow),
    ] {
        let input = memory(&[vec![keyed(&[Some("a"), None, Some("c")], &[1, 2, 3])]]);
        let f = udf(eval_type, setup, "f", TWO_COLUMNS, DataType::Null);
        let plan = PythonMapBatchesExec::new(input, f, two_columns(), no_conf(), 1, 1);
        let plan: Arc<dyn ExecutionPlan> = Arc::new(plan);
        let output = world
            .run(&plan, 0)
            .await
            .unwrap_or_else(|e| panic!("{eval_type:?}: {e}"));
        let output = concat_batches(&two_columns(), &output).unwrap();
        assert_eq!(output, keyed(&[None, Some("c")], &[2, 3]), "{eval_type:?}");
    }
}

/// Groups that are cut by batches: a = 1 + 2 + 3, null = 4, c = 5 + 6.
fn groups() -> Arc<dyn ExecutionPlan> {
    memory(&[vec![
        keyed(&[Some("a"), Some("a")], &[1, 2]),
        keyed(&[Some("a"), None, Some("c")], &[3, 4, 5]),
        keyed(&[Some("c")], &[6]),
    ]])
}

fn sums() -> RecordBatch {
    keyed(&[Some("a"), None, Some("c")], &[6, 4, 11])
}

#[tokio::test(flavor = "multi_thread")]
async fn grouped_maps_see_whole_groups() {
    let world = World::new();
    let pandas = "import pandas as pd\ndef f(key, frame):\n    return pd.DataFrame({'k': [key[0]], 'v': [frame.v.sum()]})";
    let pandas_iter = "import pandas as pd\ndef f(key, frames):\n    yield pd.DataFrame({'k': [key[0]], 'v': [sum(f.v.sum() for f in frames)]})";
    let arrow = "import pyarrow as pa, pyarrow.compute as pc\ndef f(key, table):\n    return pa.table({'k': pa.array([key[0].as_py()], pa.string()), 'v': [pc.sum(table['v']).as_py()]})";
    let arrow_iter = "import pyarrow as pa, pyarrow.compute as pc\ndef f(key, batches):\n    total = sum(pc.sum(b['v']).as_py() for b in batches)\n    yield pa.record_batch({'k': pa.array([key[0].as_py()], pa.string()), 'v': [total]})";
    let cases = [
        (EvalType::GroupedMapPandas, pandas),
        (EvalType::GroupedMapPandasIter, pandas_iter),
        (EvalType::GroupedMapArrow, arrow),
        (EvalType::GroupedMapArrowIter, arrow_iter),
    ];
    for (eval_type, setup) in cases {
        let schema = two_columns();
        let f = udf(eval_type, setup, "f", TWO_COLUMNS, DataType::Null);
        let calls = vec![call(f, &schema, &["k", "v"])];
        let keys = vec![col("k", &schema).unwrap()];
        let plan = PythonGroupMapExec::new(groups(), keys, calls, schema, no_conf(), 1, 1);
        let plan: Arc<dyn ExecutionPlan> = Arc::new(plan);
        let output = world
            .run(&plan, 0)
            .await
            .unwrap_or_else(|e| panic!("{eval_type:?}: {e}"));
        assert_eq!(
            concat_batches(&two_columns(), &output).unwrap(),
            sums(),
            "{eval_type:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grouped_aggregates_return_one_row_a_group() {
    let world = World::new();
    let arrow = "import pyarrow.compute as pc";
    let cases = [
        (EvalType::GroupedAggPandas, "", "lambda v: v.sum()"),
        (
            EvalType::GroupedAggPandasIter,
            "",
            "lambda it: sum(v.sum() for v in it)",
        ),
        (
            EvalType::GroupedAggArrow,
            arrow,
            "lambda v: pc.sum(v).as_py()",
        ),
        (
            EvalType::GroupedAggArrowIter,
            arrow,
            "lambda it: sum(pc.sum(v).as_py() for v in it)",
        ),
    ];
    for (eval_type, setup, f) in cases {
        let schema = two_columns();
        let calls = vec![call(
            udf(eval_type, setup, f, "LongType()", DataType::Int64),
            &schema,
            &["v"],
        )];
        let keys = vec![col("k", &schema).unwrap()];
        let plan = PythonGroupMapExec::new(groups(), keys, calls, schema, no_conf(), 1, 1);
        let plan: Arc<dyn ExecutionPlan> = Arc::new(plan);
        let output = world
            .run(&plan, 0)
            .await
            .unwrap_or_else(|e| panic!("{eval_type:?}: {e}"));
        assert_eq!(
            concat_batches(&two_columns(), &output).unwrap(),
            sums(),
            "{eval_type:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregate_without_keys_has_one_group() {
    let world = World::new();
    let schema = two_columns();
    let out = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    for (input, expected) in [(groups(), 6), (memory(&[vec![keyed(&[], &[])]]), 0)] {
        let f = udf(
            EvalType::GroupedAggPandas,
            "",
            "lambda v: len(v)",
            "LongType()",
            DataType::Int64,
        );
        let calls = vec![call(f, &schema, &["v"])];
        let plan = PythonGroupMapExec::new(input, vec![], calls, Arc::clone(&out), no_conf(), 1, 1);
        let plan: Arc<dyn ExecutionPlan> = Arc::new(plan);
        let output = world.run(&plan, 0).await.unwrap();
        assert_eq!(
            output[0].column(0).as_ref(),
            &Int64Array::from(vec![expected])
        );
    }
}

#[test]
fn calls_of_different_kinds_cannot_share_an_operator() {
    let schema = two_columns();
    let f = |eval_type| PythonUdfCall {
        udf: PythonUdf {
            name: "f".into(),
            function: function("".into()),
            eval_type,
            return_type: DataType::Timestamp(TimeUnit::Microsecond, None),
            return_type_json: String::new(),
        },
        args: vec![PythonArg::positional(col("v", &schema).unwrap())],
        output_name: "out".into(),
    };
    let calls = vec![f(EvalType::Batched), f(EvalType::ScalarPandas)];
    assert!(PythonEvalExec::try_new(groups(), calls, no_conf(), 1, 1).is_err());
    let calls = vec![f(EvalType::GroupedAggPandas)];
    let error = PythonEvalExec::try_new(groups(), calls, no_conf(), 1, 1).unwrap_err();
    assert!(error.to_string().contains("not supported yet"), "{error}");
}
