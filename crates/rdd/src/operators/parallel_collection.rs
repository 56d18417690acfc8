//! Elements that the application holds, cut into partitions.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, LargeBinaryArray, LargeBinaryBuilder, LargeListArray, RecordBatch,
    StringArray, UInt64Array,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, UInt64Type};
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use futures::stream;
use pyrite_proto::core;
use pyrite_python::TaskServices;
use pyrite_python::frames::{BATCH_BYTES, BATCH_FRAMES, batch_from_array, frame_schema};

use super::frame_file::{DriverFile, read_frames};
use super::{take_children, unknown_partitions};
use crate::errors::internal;
use crate::partition_table;

/// Reads the slices of a parallelised collection: frames that are in the plan itself, or
/// ranges of files that the driver holds.
#[derive(Debug)]
pub struct ParallelCollectionExec {
    /// A row a slice: its frames, or file, offset and length.
    table: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl ParallelCollectionExec {
    /// Makes a plan with a partition for each slice.
    ///
    /// # Errors
    /// When a slice is too large for the plan.
    pub fn try_new(slices: &[core::parallel_collection::Slice]) -> Result<Self> {
        let rows = slices.iter().map(slice_row).collect::<Result<_>>()?;
        Ok(Self::with_table(partition_table::of_rows(
            slice_schema(),
            rows,
        )?))
    }

    pub(crate) fn with_table(table: Arc<dyn ExecutionPlan>) -> Self {
        let properties = unknown_partitions(frame_schema(), partition_table::len(&table));
        Self { table, properties }
    }
}

fn frame_field() -> FieldRef {
    Arc::new(Field::new("frame", DataType::LargeBinary, false))
}

fn slice_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("frames", DataType::LargeList(frame_field()), false),
        Field::new("file", DataType::Utf8, true),
        Field::new("offset", DataType::UInt64, false),
        Field::new("length", DataType::UInt64, false),
    ]))
}

fn slice_row(slice: &core::parallel_collection::Slice) -> Result<RecordBatch> {
    let mut frames = LargeBinaryBuilder::new();
    for frame in &slice.frames {
        frames.append_value(frame);
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0_i64, slice.frames.len() as i64]));
    let frames = LargeListArray::try_new(frame_field(), offsets, Arc::new(frames.finish()), None)?;
    let file = (!slice.file.is_empty()).then_some(slice.file.as_str());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(frames),
        Arc::new(StringArray::from(vec![file])),
        Arc::new(UInt64Array::from(vec![slice.offset_bytes])),
        Arc::new(UInt64Array::from(vec![slice.length_bytes])),
    ];
    Ok(RecordBatch::try_new(slice_schema(), columns)?)
}

impl DisplayAs for ParallelCollectionExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let partitions = partition_table::len(&self.table);
        write!(f, "ParallelCollectionExec: partitions={partitions}")
    }
}

impl ExecutionPlan for ParallelCollectionExec {
    common_methods!("ParallelCollectionExec");

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.table]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [table] = take_children(self.name(), children)?;
        Ok(Arc::new(Self::with_table(table)))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let row = partition_table::row(&self.table, partition)?;
        let wrong = || internal("not the partition table of a collection");
        let file = row.column(1).as_string_opt::<i32>().ok_or_else(wrong)?;
        if file.is_null(0) {
            let frames = row
                .column(0)
                .as_list_opt::<i64>()
                .ok_or_else(wrong)?
                .value(0);
            let frames = frames.as_binary_opt::<i64>().ok_or_else(wrong)?;
            let batches = stream::iter(batches_of(frames).into_iter().map(Ok));
            return Ok(Box::pin(RecordBatchStreamAdapter::new(
                frame_schema(),
                batches,
            )));
        }
        let number = |column: usize| {
            let column = row.column(column).as_primitive_opt::<UInt64Type>();
            column.map(|column| column.value(0)).ok_or_else(wrong)
        };
        let services = TaskServices::of(&context)?;
        let file = DriverFile {
            files: Arc::clone(&services.files),
            path: format!("parallel/{}", file.value(0)),
        };
        let batches = read_frames(Arc::new(file), number(2)?, number(3)?);
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            frame_schema(),
            batches,
        )))
    }
}

/// Cuts an array of frames into batches without copying any.
fn batches_of(frames: &LargeBinaryArray) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for index in 0..frames.len() {
        bytes += frames.value(index).len();
        if bytes >= BATCH_BYTES || index + 1 - start >= BATCH_FRAMES {
            batches.push(batch_from_array(frames.slice(start, index + 1 - start)));
            (start, bytes) = (index + 1, 0);
        }
    }
    if start < frames.len() {
        batches.push(batch_from_array(frames.slice(start, frames.len() - start)));
    }
    batches
}
