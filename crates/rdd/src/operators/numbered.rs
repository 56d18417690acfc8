//! Tells the operators below which partitions of the whole RDD they compute.

use std::fmt;
use std::sync::{Arc, OnceLock};

use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    ReplaceChildrenOptions,
};
use pyrite_python::{TaskNumber, TaskPartitions};

use super::{take_children, unknown_partitions};
use crate::partition_table;

/// Runs its input in a context that says which partitions of the whole RDD the input's are
/// (`pyrite_python::global_partition`), read from a partition table that is sliced with it.
#[derive(Debug)]
pub struct NumberedExec {
    input: Arc<dyn ExecutionPlan>,
    /// As many partitions as the input; row `p` numbers local partition `p`.
    table: Arc<dyn ExecutionPlan>,
    /// What the table says, read once for all partitions.
    numbers: OnceLock<Vec<usize>>,
    properties: Arc<PlanProperties>,
}

impl NumberedExec {
    /// Numbers the partitions of a plan from 0.
    ///
    /// # Errors
    /// When the partition table cannot be built, which is a fault of ours.
    pub fn try_new(input: Arc<dyn ExecutionPlan>) -> Result<Self> {
        let table = partition_table::of_numbers(input.output_partitioning().partition_count())?;
        Ok(Self::with_table(input, table))
    }

    pub(crate) fn with_table(input: Arc<dyn ExecutionPlan>, table: Arc<dyn ExecutionPlan>) -> Self {
        let properties = unknown_partitions(
            input.schema(),
            input.output_partitioning().partition_count(),
        );
        Self {
            input,
            table,
            numbers: OnceLock::new(),
            properties,
        }
    }

    fn numbers(&self) -> Result<&[usize]> {
        if let Some(numbers) = self.numbers.get() {
            return Ok(numbers);
        }
        let numbers = partition_table::numbers(&self.table)?;
        Ok(self.numbers.get_or_init(|| numbers))
    }
}

impl DisplayAs for NumberedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NumberedExec")
    }
}

impl ExecutionPlan for NumberedExec {
    common_methods!("NumberedExec");

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input, &self.table]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input, table] = take_children(self.name(), children)?;
        Ok(Arc::new(Self::with_table(input, table)))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let numbers = self.numbers()?;
        let outer = context.session_config().get_extension::<TaskPartitions>();
        // Outside of clusters the numbers are those that a partition has anyway.
        let already_so = match outer {
            Some(outer) if !outer.0.is_empty() => outer.0 == numbers,
            _ => numbers.get(partition) == Some(&partition),
        };
        if already_so {
            return self.input.execute(partition, context);
        }
        let task = TaskNumber::of(&context);
        let context = partition_table::renumbered(&context, numbers.to_vec(), task);
        self.input.execute(partition, context)
    }
}
