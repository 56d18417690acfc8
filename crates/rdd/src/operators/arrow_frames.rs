//! Between record batches and frames that are Arrow IPC streams.

use std::fmt;
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::{StreamExt, TryStreamExt, stream};
use pyrite_proto::error::{SparkError, class};
use pyrite_python::frames::{batch_of_one, frame_column, frame_schema};

use super::{take_children, unknown_partitions};
use crate::errors::external;

/// Makes each batch of its input one frame: an Arrow IPC stream of schema and batch.
#[derive(Debug)]
pub struct EncodeArrowFramesExec {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl EncodeArrowFramesExec {
    /// Encodes the batches of `input`.
    pub fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        let count = input.output_partitioning().partition_count();
        Self {
            input,
            properties: unknown_partitions(frame_schema(), count),
        }
    }
}

impl DisplayAs for EncodeArrowFramesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncodeArrowFramesExec")
    }
}

impl ExecutionPlan for EncodeArrowFramesExec {
    common_methods!("EncodeArrowFramesExec");

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = take_children(self.name(), children)?;
        Ok(Arc::new(Self::new(input)))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let batches = self.input.execute(partition, context)?;
        let frames = batches
            .try_filter(|batch| std::future::ready(batch.num_rows() > 0))
            .and_then(|batch| std::future::ready(encode(&batch)));
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            frame_schema(),
            frames,
        )))
    }
}

fn encode(batch: &RecordBatch) -> Result<RecordBatch> {
    let mut frame = Vec::with_capacity(batch.get_array_memory_size());
    let mut writer = StreamWriter::try_new(&mut frame, &batch.schema())?;
    writer.write(batch)?;
    writer.finish()?;
    drop(writer);
    Ok(batch_of_one(frame.into()))
}

/// Makes the Arrow IPC streams in the frames of its input batches of one schema.
#[derive(Debug)]
pub struct DecodeArrowFramesExec {
    input: Arc<dyn ExecutionPlan>,
    /// What every frame must hold.
    schema: SchemaRef,
    /// Columns that are asked for; all when absent.
    projection: Option<Vec<usize>>,
    properties: Arc<PlanProperties>,
}

impl DecodeArrowFramesExec {
    /// Decodes frames that hold `schema`, and keeps the columns of `projection`.
    ///
    /// # Errors
    /// When `projection` names columns that are not there.
    pub fn try_new(
        input: Arc<dyn ExecutionPlan>,
        schema: SchemaRef,
        projection: Option<Vec<usize>>,
    ) -> Result<Self> {
        let output = match &projection {
            Some(columns) => Arc::new(schema.project(columns)?),
            None => Arc::clone(&schema),
        };
        let count = input.output_partitioning().partition_count();
        Ok(Self {
            input,
            schema,
            projection,
            properties: unknown_partitions(output, count),
        })
    }

    /// What every frame must hold.
    pub fn frame_content(&self) -> &SchemaRef {
        &self.schema
    }

    /// Columns that are asked for; all when absent.
    pub fn projection(&self) -> Option<&[usize]> {
        self.projection.as_deref()
    }
}

impl DisplayAs for DecodeArrowFramesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.schema();
        let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        write!(f, "DecodeArrowFramesExec: columns=[{}]", names.join(", "))
    }
}

impl ExecutionPlan for DecodeArrowFramesExec {
    common_methods!("DecodeArrowFramesExec");

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = take_children(self.name(), children)?;
        let (schema, projection) = (Arc::clone(&self.schema), self.projection.clone());
        Ok(Arc::new(Self::try_new(input, schema, projection)?))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let decoder = Arc::new(Decoder {
            schema: Arc::clone(&self.schema),
            output: self.schema(),
            projection: self.projection.clone(),
        });
        let frames = self.input.execute(partition, context)?;
        let batches = frames
            .map(move |batch| {
                let batch = batch?;
                let decoder = Arc::clone(&decoder);
                let decoded = (0..batch.num_rows())
                    .map(move |row| decoder.decode(frame_column(&batch)?.value(row)))
                    .flat_map(|batches| match batches {
                        Ok(batches) => batches.into_iter().map(Ok).collect(),
                        Err(error) => vec![Err(error)],
                    });
                Ok::<_, DataFusionError>(stream::iter(decoded))
            })
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            batches,
        )))
    }
}

struct Decoder {
    schema: SchemaRef,
    output: SchemaRef,
    projection: Option<Vec<usize>>,
}

impl Decoder {
    fn decode(&self, frame: &[u8]) -> Result<Vec<RecordBatch>> {
        let reader = StreamReader::try_new(Cursor::new(frame), None)?;
        self.check(&reader.schema())?;
        reader.map(|batch| self.convert(&batch?)).collect()
    }

    /// The types must be those of the schema; names come from the schema.
    fn check(&self, found: &Schema) -> Result<()> {
        let types = |schema: &Schema| -> Vec<_> {
            schema
                .fields()
                .iter()
                .map(|f| f.data_type().clone())
                .collect()
        };
        if types(found) == types(&self.schema) || castable(found, &self.schema) {
            return Ok(());
        }
        let describe = |schema: &Schema| {
            let fields = schema.fields().iter();
            let fields: Vec<_> = fields
                .map(|f| format!("{}: {}", f.name(), f.data_type()))
                .collect();
            fields.join(", ")
        };
        Err(external(SparkError::new(
            class::SPARK,
            "",
            "",
            format!(
                "the rows of an RDD do not have the schema of their DataFrame: found [{}], \
                 expected [{}]",
                describe(found),
                describe(&self.schema)
            ),
        )))
    }

    fn convert(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = match &self.projection {
            Some(projection) => projection.iter().map(|&c| batch.column(c)).collect(),
            None => batch.columns().iter().collect::<Vec<_>>(),
        };
        let columns = columns
            .into_iter()
            .zip(self.output.fields())
            .map(|(column, field)| {
                if column.data_type() == field.data_type() {
                    Ok(Arc::clone(column))
                } else {
                    arrow::compute::cast(column, field.data_type())
                }
            })
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.output), columns, &options).map_err(
            |error| {
                external(SparkError::other(format!(
                    "the rows of an RDD do not have the schema of their DataFrame: {error}"
                )))
            },
        )
    }
}

/// Whether the types differ only in the way a value is laid out (such as 32 or 64 bit
/// offsets of strings, or the names of list items), so that a cast loses nothing.
fn castable(found: &Schema, expected: &Schema) -> bool {
    found.fields().len() == expected.fields().len()
        && found
            .fields()
            .iter()
            .zip(expected.fields())
            .all(|(f, e)| same_kind(f.data_type(), e.data_type()))
}

fn same_kind(found: &arrow::datatypes::DataType, expected: &arrow::datatypes::DataType) -> bool {
    use arrow::datatypes::DataType::{
        Binary, BinaryView, LargeBinary, LargeList, LargeUtf8, List, Map, Struct, Timestamp, Utf8,
        Utf8View,
    };
    match (found, expected) {
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View)
        | (Binary | LargeBinary | BinaryView, Binary | LargeBinary | BinaryView) => true,
        (List(f) | LargeList(f), List(e) | LargeList(e)) | (Map(f, _), Map(e, _)) => {
            same_kind(f.data_type(), e.data_type())
        }
        (Struct(f), Struct(e)) => {
            f.len() == e.len()
                && f.iter()
                    .zip(e)
                    .all(|(f, e)| same_kind(f.data_type(), e.data_type()))
        }
        // Both have a time zone or neither: the same instants, named differently.
        (Timestamp(_, f), Timestamp(_, e)) => f.is_some() == e.is_some(),
        _ => found == expected,
    }
}
