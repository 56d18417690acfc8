//! Coalesce without an exchange, and the choice of some partitions.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, LargeListArray, RecordBatch, UInt64Array};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, UInt64Type};
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::{StreamExt, TryStreamExt, stream};

use super::{take_children, unknown_partitions};
use crate::errors::internal;
use crate::partition_table;

/// Each partition is a list of input partitions, one after the other.
///
/// Serves `coalesce` (consecutive groups) and the choice of partitions that a job runs on
/// (one input each). Inputs that are in no list never run.
#[derive(Debug)]
pub struct PartitionGroupsExec {
    /// Always whole: a task's slice of the output says nothing about the input.
    input: Arc<dyn ExecutionPlan>,
    /// Row `p` lists the inputs of local partition `p`.
    table: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl PartitionGroupsExec {
    /// Concatenates consecutive partitions so that `count` are left: partition `i` of `m`
    /// takes the inputs `i * n / m .. (i + 1) * n / m` of `n`, as Spark's `CoalescedRDD`
    /// does without locality. Asking for more partitions than there are changes nothing.
    ///
    /// # Errors
    /// When the partition table cannot be built, which is a fault of ours.
    pub fn coalesce(input: Arc<dyn ExecutionPlan>, count: usize) -> Result<Self> {
        let inputs = input.output_partitioning().partition_count();
        let count = count.min(inputs);
        let groups: Vec<Vec<usize>> = (0..count)
            .map(|i| (i * inputs / count..(i + 1) * inputs / count).collect())
            .collect();
        let groups = groups.into_iter().enumerate();
        Self::try_new(input, groups)
    }

    /// Has the given partitions of the input, in the given order.
    ///
    /// # Errors
    /// When the input has no such partition.
    pub fn select(input: Arc<dyn ExecutionPlan>, partitions: &[usize]) -> Result<Self> {
        let groups = partitions.iter().map(|&p| (p, vec![p]));
        Self::try_new(input, groups)
    }

    /// Each group comes with the number of its task for user code.
    fn try_new(
        input: Arc<dyn ExecutionPlan>,
        groups: impl Iterator<Item = (usize, Vec<usize>)>,
    ) -> Result<Self> {
        let inputs = input.output_partitioning().partition_count();
        let mut rows = Vec::new();
        for (task, group) in groups {
            if let Some(wrong) = group.iter().find(|&&p| p >= inputs) {
                return Err(crate::external(pyrite_proto::error::SparkError::other(
                    format!("there is no partition {wrong} in an RDD of {inputs} partitions"),
                )));
            }
            rows.push(group_row(task, &group)?);
        }
        let table = partition_table::of_rows(groups_schema(), rows)?;
        Ok(Self::with_table(input, table))
    }

    pub(crate) fn with_table(input: Arc<dyn ExecutionPlan>, table: Arc<dyn ExecutionPlan>) -> Self {
        let properties = unknown_partitions(input.schema(), partition_table::len(&table));
        Self {
            input,
            table,
            properties,
        }
    }

    /// The number of the task that computes local partition `partition`.
    fn task(&self, partition: usize) -> Result<usize> {
        let row = partition_table::row(&self.table, partition)?;
        let column = row.columns().get(1);
        let task = column
            .and_then(|column| column.as_primitive_opt::<UInt64Type>())
            .ok_or_else(|| internal("a partition table without numbers of tasks"))?
            .value(0);
        usize::try_from(task).map_err(|_| internal("a task number out of range"))
    }

    /// The inputs of local partition `partition`.
    pub(crate) fn group(&self, partition: usize) -> Result<Vec<usize>> {
        let row = partition_table::row(&self.table, partition)?;
        let list = row
            .column(0)
            .as_list_opt::<i64>()
            .ok_or_else(|| internal("a partition table without groups"))?
            .value(0);
        let inputs = list
            .as_primitive_opt::<UInt64Type>()
            .ok_or_else(|| internal("a partition table without groups"))?;
        inputs
            .values()
            .iter()
            .map(|&p| usize::try_from(p).map_err(|_| internal("a partition out of range")))
            .collect()
    }
}

fn item_field() -> FieldRef {
    Arc::new(Field::new("item", DataType::UInt64, false))
}

fn groups_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("inputs", DataType::LargeList(item_field()), false),
        Field::new("task", DataType::UInt64, false),
    ]))
}

fn group_row(task: usize, group: &[usize]) -> Result<RecordBatch> {
    let values = UInt64Array::from_iter_values(group.iter().map(|&p| p as u64));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0_i64, group.len() as i64]));
    let list = LargeListArray::try_new(item_field(), offsets, Arc::new(values), None)?;
    let task = UInt64Array::from(vec![task as u64]);
    let columns: Vec<ArrayRef> = vec![Arc::new(list), Arc::new(task)];
    Ok(RecordBatch::try_new(groups_schema(), columns)?)
}

impl DisplayAs for PartitionGroupsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "PartitionGroupsExec: inputs={}, partitions={}",
            self.input.output_partitioning().partition_count(),
            partition_table::len(&self.table)
        )
    }
}

impl ExecutionPlan for PartitionGroupsExec {
    common_methods!("PartitionGroupsExec");

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input, &self.table]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input, table] = take_children(self.name(), children)?;
        let input = if partition_table::was_sliced(&self.table, &table) {
            Arc::clone(&self.input)
        } else {
            input
        };
        Ok(Arc::new(Self::with_table(input, table)))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let group = self.group(partition)?;
        let context = partition_table::for_inputs_of(&context, self.task(partition)?);
        let input = Arc::clone(&self.input);
        let batches = stream::iter(group)
            .map(move |p| input.execute(p, Arc::clone(&context)))
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            batches,
        )))
    }
}
