//! Python functions over columns: how tests make them, call them and feed them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Schema};
use datafusion::common::Result;
use datafusion::physical_expr::expressions::col;
use datafusion::physical_plan::ExecutionPlan;
use pyrite_python::{EvalType, PythonArg, PythonEvalExec, PythonUdf, PythonUdfCall};

use super::{World, function, memory, no_conf, pickle};

/// A function with its return type, as `pyspark` writes it (`LongType()`).
pub fn udf(
    eval_type: EvalType,
    setup: &str,
    f: &str,
    spark_type: &str,
    arrow: DataType,
) -> PythonUdf {
    PythonUdf {
        name: "f".into(),
        function: function(pickle(setup, &format!("({f}, {spark_type})"))),
        eval_type,
        return_type: arrow,
        return_type_json: String::new(),
    }
}

pub fn call(udf: PythonUdf, schema: &Schema, args: &[&str]) -> PythonUdfCall {
    PythonUdfCall {
        udf,
        args: args
            .iter()
            .map(|name| PythonArg::positional(col(name, schema).unwrap()))
            .collect(),
        output_name: "out".into(),
    }
}

pub fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(
        columns
            .iter()
            .map(|(name, array)| (*name, Arc::clone(array), true)),
    )
    .unwrap()
}

pub async fn evaluate(
    world: &World,
    input: RecordBatch,
    calls: Vec<PythonUdfCall>,
) -> Result<RecordBatch> {
    let plan = PythonEvalExec::try_new(memory(&[vec![input]]), calls, no_conf(), 1, 1)?;
    let plan: Arc<dyn ExecutionPlan> = Arc::new(plan);
    let batches = world.run(&plan, 0).await?;
    Ok(concat_batches(&plan.schema(), &batches)?)
}

/// One column through one function.
pub async fn through(world: &World, input: ArrayRef, f: PythonUdf) -> Result<ArrayRef> {
    let input = batch(&[("a", input)]);
    let call = call(f, &input.schema(), &["a"]);
    Ok(Arc::clone(
        evaluate(world, input, vec![call]).await?.column(1),
    ))
}

pub fn longs(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}
