//! Partition tables: how an operator keeps its partitions' identity inside a task.
//!
//! Ballista gives each task a slice of a stage's partitions. It slices the leaves that it
//! knows (shuffle readers, file scans and in-memory sources), splits the slice at unions, and
//! numbers what is left from 0 again; a leaf that it does not know would run whole in every
//! task. So each leaf of ours stands on an in-memory source with one row a partition, its
//! *partition table*, and so does each operator that has to know which partition of the whole
//! RDD it computes. The row says what the partition is: its number, its data, its file range.
//!
//! A table is an ordinary child of its operator. Where an operator's partitions do not match
//! its inputs' one to one (coalesce, cartesian product), the slice fits the table only, and the
//! operator keeps its inputs whole (see `was_sliced`).

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use datafusion::common::Result;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use pyrite_python::{TaskNumber, TaskPartitions};

use crate::errors::internal;

/// Makes a table of the rows, each a batch of one row: one partition a row.
pub fn of_rows(schema: SchemaRef, rows: Vec<RecordBatch>) -> Result<Arc<dyn ExecutionPlan>> {
    let partitions: Vec<_> = rows.into_iter().map(|row| vec![row]).collect();
    let source = MemorySourceConfig::try_new(&partitions, schema, None)?;
    Ok(DataSourceExec::from_data_source(source))
}

/// Makes a table that numbers `count` partitions.
pub fn of_numbers(count: usize) -> Result<Arc<dyn ExecutionPlan>> {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new(
        "partition",
        DataType::UInt64,
        false,
    )]));
    let rows = (0..count)
        .map(|number| {
            let column = UInt64Array::from(vec![number as u64]);
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(column)])
        })
        .collect::<std::result::Result<_, _>>()?;
    of_rows(schema, rows)
}

/// Number of partitions that the table has here, which in a task may be fewer than it was
/// planned with.
pub fn len(table: &Arc<dyn ExecutionPlan>) -> usize {
    table.output_partitioning().partition_count()
}

/// The row of local partition `partition`.
///
/// # Errors
/// When `table` is not a partition table or has no such partition, which is a fault of ours.
pub fn row(table: &Arc<dyn ExecutionPlan>, partition: usize) -> Result<&RecordBatch> {
    source(table)?
        .partitions()
        .get(partition)
        .and_then(|batches| batches.first())
        .filter(|batch| batch.num_rows() == 1)
        .ok_or_else(|| internal(format!("no partition {partition} in a partition table")))
}

/// The numbers of the table's partitions in the whole RDD.
pub fn numbers(table: &Arc<dyn ExecutionPlan>) -> Result<Vec<usize>> {
    (0..len(table))
        .map(|partition| number(table, partition))
        .collect()
}

/// The number of local partition `partition` in the whole RDD.
pub fn number(table: &Arc<dyn ExecutionPlan>, partition: usize) -> Result<usize> {
    let row = row(table, partition)?;
    let column = row
        .columns()
        .first()
        .and_then(|column| column.as_primitive_opt::<UInt64Type>())
        .filter(|column| column.null_count() == 0)
        .ok_or_else(|| internal("a partition table without numbers"))?;
    usize::try_from(column.value(0)).map_err(|_| internal("a partition number out of range"))
}

/// Whether `new` is a slice of the table `old` rather than the table itself. Planning steps
/// hand a leaf on as it is; only the slicing for a task makes a new one.
pub(crate) fn was_sliced(old: &Arc<dyn ExecutionPlan>, new: &Arc<dyn ExecutionPlan>) -> bool {
    !Arc::ptr_eq(old, new)
}

/// A context whose partitions have these numbers, an empty list for numbers from 0, and belong to
/// this task.
pub(crate) fn renumbered(
    context: &TaskContext,
    numbers: Vec<usize>,
    task: TaskNumber,
) -> Arc<TaskContext> {
    let config = context
        .session_config()
        .clone()
        .with_extension(Arc::new(TaskPartitions(numbers)))
        .with_extension(Arc::new(task));
    Arc::new(TaskContext::new(
        context.task_id(),
        context.session_id(),
        config,
        context.scalar_functions().clone(),
        context.higher_order_functions().clone(),
        context.aggregate_functions().clone(),
        context.window_functions().clone(),
        context.runtime_env(),
    ))
}

/// A context for the inputs, numbered from 0, of the partition that is computed in it. The
/// outermost of several operators with more inputs than partitions says which task it is.
pub(crate) fn for_inputs_of(context: &TaskContext, partition: usize) -> Arc<TaskContext> {
    let task = TaskNumber::of(context).0.unwrap_or(partition);
    renumbered(context, Vec::new(), TaskNumber(Some(task)))
}

fn source(table: &Arc<dyn ExecutionPlan>) -> Result<&MemorySourceConfig> {
    table
        .downcast_ref::<DataSourceExec>()
        .and_then(|exec| exec.data_source().downcast_ref::<MemorySourceConfig>())
        .ok_or_else(|| internal(format!("{} is not a partition table", table.name())))
}
