//! What stands in for the lineage of rows that executors are known to keep.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use pyrite_proto::error::{SparkError, class};

use super::{take_children, unknown_partitions};
use crate::errors::external;
use crate::partition_table;

/// Condition of the error that cached rows are gone. The runtime computes them again.
const LOST: &str = "PYRITE_CACHED_ROWS_LOST";

/// Whether a job failed because cached rows that it reads are gone from their executor.
pub fn is_lost_rows(error: &SparkError) -> bool {
    error.condition == LOST
}

/// Has no rows to give: whoever asks for some has lost those that a
/// [`PersistExec`](super::PersistExec) above kept.
#[derive(Debug)]
pub struct LostRowsExec {
    /// As many partitions as the rows had; the scheduler slices it.
    table: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl LostRowsExec {
    /// Stands in for a plan of `count` partitions.
    ///
    /// # Errors
    /// When the partition table cannot be built, which is a fault of ours.
    pub fn try_new(schema: SchemaRef, count: usize) -> Result<Self> {
        let table = partition_table::of_numbers(count)?;
        Ok(Self::with_table(schema, table))
    }

    pub(crate) fn with_table(schema: SchemaRef, table: Arc<dyn ExecutionPlan>) -> Self {
        let properties = unknown_partitions(schema, partition_table::len(&table));
        Self { table, properties }
    }
}

impl DisplayAs for LostRowsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LostRowsExec")
    }
}

impl ExecutionPlan for LostRowsExec {
    common_methods!("LostRowsExec");

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.table]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [table] = take_children(self.name(), children)?;
        Ok(Arc::new(Self::with_table(self.schema(), table)))
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        Err(external(SparkError::new(
            class::SPARK,
            LOST,
            "",
            "cached rows are gone from their executor",
        )))
    }
}
