//! Every pair of frames of two inputs.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use pyrite_python::TaskServices;
use pyrite_python::frames::{FrameCollector, frame_column, frame_schema};

use super::spool::{MemoryBudget, Spool, SpoolWriter};
use super::zip::pair_into;
use super::{take_children, unknown_partitions};
use crate::errors::internal;
use crate::partition_table;

/// Memory for a partition of the right side; what is beyond it goes to disk.
const MEMORY_BYTES: usize = 64 * 1024 * 1024;

/// Pairs each frame of the left input with each of the right, in the framing of
/// [`ZipExec`](super::ZipExec). Partition `i * right + j` pairs left `i` with right `j`.
#[derive(Debug)]
pub struct CartesianExec {
    /// Always whole, like `right`.
    left: Arc<dyn ExecutionPlan>,
    right: Arc<dyn ExecutionPlan>,
    /// Row `p`: the left and the right partition of local partition `p`.
    table: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl CartesianExec {
    /// Pairs two plans.
    ///
    /// # Errors
    /// When the partition table cannot be built, which is a fault of ours.
    pub fn try_new(left: Arc<dyn ExecutionPlan>, right: Arc<dyn ExecutionPlan>) -> Result<Self> {
        let schema: SchemaRef = Arc::new(Schema::new(vec![
            Field::new("left", DataType::UInt64, false),
            Field::new("right", DataType::UInt64, false),
        ]));
        let lefts = left.output_partitioning().partition_count() as u64;
        let rights = right.output_partitioning().partition_count() as u64;
        let rows = (0..lefts * rights)
            .map(|p| {
                let columns: Vec<ArrayRef> = vec![
                    Arc::new(UInt64Array::from(vec![p / rights])),
                    Arc::new(UInt64Array::from(vec![p % rights])),
                ];
                RecordBatch::try_new(Arc::clone(&schema), columns)
            })
            .collect::<std::result::Result<_, _>>()?;
        let table = partition_table::of_rows(schema, rows)?;
        Ok(Self::with_table(left, right, table))
    }

    pub(crate) fn with_table(
        left: Arc<dyn ExecutionPlan>,
        right: Arc<dyn ExecutionPlan>,
        table: Arc<dyn ExecutionPlan>,
    ) -> Self {
        let properties = unknown_partitions(frame_schema(), partition_table::len(&table));
        Self {
            left,
            right,
            table,
            properties,
        }
    }

    /// The left and the right partition of local partition `partition`.
    pub(crate) fn pair(&self, partition: usize) -> Result<(usize, usize)> {
        let row = partition_table::row(&self.table, partition)?;
        let number = |column: usize| {
            row.columns()
                .get(column)
                .and_then(|column| column.as_primitive_opt::<UInt64Type>())
                .and_then(|column| usize::try_from(column.value(0)).ok())
                .ok_or_else(|| internal("a partition table without pairs"))
        };
        Ok((number(0)?, number(1)?))
    }
}

impl DisplayAs for CartesianExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CartesianExec")
    }
}

impl ExecutionPlan for CartesianExec {
    common_methods!("CartesianExec");

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.left, &self.right, &self.table]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [left, right, table] = take_children(self.name(), children)?;
        if partition_table::was_sliced(&self.table, &table) {
            let (left, right) = (Arc::clone(&self.left), Arc::clone(&self.right));
            return Ok(Arc::new(Self::with_table(left, right, table)));
        }
        Ok(Arc::new(Self::with_table(left, right, table)))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (left, right) = self.pair(partition)?;
        let dir = TaskServices::of(&context)?.local_dir.clone();
        let number = left * self.right.output_partitioning().partition_count() + right;
        let context = partition_table::for_inputs_of(&context, number);
        let lefts = self.left.execute(left, Arc::clone(&context))?;
        let rights = self.right.execute(right, context)?;
        let batches = stream::once(async move {
            let budget = MemoryBudget::new(MEMORY_BYTES, 0);
            let spool = spool(rights, SpoolWriter::new(1, budget, &dir)).await?;
            Ok::<_, DataFusionError>(pairs(lefts, Arc::new(spool)))
        })
        .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            frame_schema(),
            batches,
        )))
    }
}

async fn spool(mut frames: SendableRecordBatchStream, mut writer: SpoolWriter) -> Result<Spool> {
    while let Some(batch) = frames.next().await {
        for frame in frame_column(&batch?)?.iter().flatten() {
            writer.push(0, frame)?;
        }
    }
    Ok(writer.finish())
}

/// For each left frame in order, its pairs with all right frames in order.
fn pairs(
    lefts: SendableRecordBatchStream,
    rights: Arc<Spool>,
) -> BoxStream<'static, Result<RecordBatch>> {
    lefts
        .map_ok(move |batch| {
            let rights = Arc::clone(&rights);
            stream::iter(0..batch.num_rows())
                .flat_map(move |row| pairs_of_row(batch.clone(), row, &rights))
        })
        .try_flatten()
        .boxed()
}

fn pairs_of_row(
    lefts: RecordBatch,
    row: usize,
    rights: &Spool,
) -> BoxStream<'static, Result<RecordBatch>> {
    rights
        .read(0)
        .map(move |batch| {
            let batch = batch?;
            let left = frame_column(&lefts)?.value(row);
            let mut batches = Vec::new();
            let mut collector = FrameCollector::default();
            let mut frame = Vec::new();
            for right in frame_column(&batch)?.iter().flatten() {
                pair_into(left, right, &mut frame)?;
                batches.extend(collector.push(&frame));
            }
            batches.extend(collector.finish());
            Ok::<_, DataFusionError>(stream::iter(batches.into_iter().map(Ok)))
        })
        .try_flatten()
        .boxed()
}
