//! Frames of two inputs side by side.

use std::fmt;
use std::sync::Arc;

use arrow::array::{LargeBinaryBuilder, RecordBatch};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::{StreamExt, stream};
use pyrite_proto::error::SparkError;
use pyrite_python::frames::{batch_from_array, frame_column, frame_schema};

use super::{take_children, unknown_partitions};
use crate::errors::external;

/// Pairs the frames of both inputs, partition by partition: each frame of the result is
/// `[uint32 big-endian length of left][left][right]`.
#[derive(Debug)]
pub struct ZipExec {
    left: Arc<dyn ExecutionPlan>,
    right: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl ZipExec {
    /// Zips two plans.
    ///
    /// # Errors
    /// When their numbers of partitions differ.
    pub fn try_new(left: Arc<dyn ExecutionPlan>, right: Arc<dyn ExecutionPlan>) -> Result<Self> {
        let (l, r) = (
            left.output_partitioning().partition_count(),
            right.output_partitioning().partition_count(),
        );
        if l != r {
            return Err(external(SparkError::new(
                "java.lang.IllegalArgumentException",
                "",
                "",
                format!("can only zip RDDs with the same number of partitions, not {l} and {r}"),
            )));
        }
        Ok(Self::unchecked(left, right))
    }

    /// Without the check: while a plan is being cut for a task, the sides change one by one.
    pub(crate) fn unchecked(left: Arc<dyn ExecutionPlan>, right: Arc<dyn ExecutionPlan>) -> Self {
        let count = left.output_partitioning().partition_count();
        Self {
            left,
            right,
            properties: unknown_partitions(frame_schema(), count),
        }
    }
}

impl DisplayAs for ZipExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ZipExec")
    }
}

impl ExecutionPlan for ZipExec {
    common_methods!("ZipExec");

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.left, &self.right]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [left, right] = take_children(self.name(), children)?;
        Ok(Arc::new(Self::unchecked(left, right)))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let sides = (
            Side::new(self.left.execute(partition, Arc::clone(&context))?),
            Side::new(self.right.execute(partition, context)?),
        );
        let batches = stream::try_unfold(sides, |(mut left, mut right)| async move {
            Ok(next_pairs(&mut left, &mut right)
                .await?
                .map(|batch| (batch, (left, right))))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            frame_schema(),
            batches,
        )))
    }
}

/// One input and the rows of its current batch that are not paired yet.
struct Side {
    stream: SendableRecordBatchStream,
    batch: RecordBatch,
}

impl Side {
    fn new(stream: SendableRecordBatchStream) -> Self {
        Self {
            stream,
            batch: RecordBatch::new_empty(frame_schema()),
        }
    }

    /// Makes sure that there is a row; false at the end.
    async fn fill(&mut self) -> Result<bool> {
        while self.batch.num_rows() == 0 {
            match self.stream.next().await {
                Some(batch) => self.batch = batch?,
                None => return Ok(false),
            }
        }
        Ok(true)
    }
}

async fn next_pairs(left: &mut Side, right: &mut Side) -> Result<Option<RecordBatch>> {
    let (has_left, has_right) = (left.fill().await?, right.fill().await?);
    if has_left != has_right {
        return Err(external(SparkError::other(
            "Can only zip RDDs with same number of elements in each partition",
        )));
    }
    if !has_left {
        return Ok(None);
    }
    let rows = left.batch.num_rows().min(right.batch.num_rows());
    let (l, r) = (frame_column(&left.batch)?, frame_column(&right.batch)?);
    let mut builder = LargeBinaryBuilder::new();
    let mut frame = Vec::new();
    for row in 0..rows {
        pair_into(l.value(row), r.value(row), &mut frame)?;
        builder.append_value(&frame);
    }
    left.batch = left.batch.slice(rows, left.batch.num_rows() - rows);
    right.batch = right.batch.slice(rows, right.batch.num_rows() - rows);
    Ok(Some(batch_from_array(builder.finish())))
}

/// Writes a pair in the framing of `core.Zip`.
pub(super) fn pair_into(left: &[u8], right: &[u8], frame: &mut Vec<u8>) -> Result<()> {
    let length = u32::try_from(left.len())
        .map_err(|_| DataFusionError::Execution("a frame exceeds 4 GiB".into()))?;
    frame.clear();
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(left);
    frame.extend_from_slice(right);
    Ok(())
}
