//! Rows to files: each partition writes its own, and reports their names.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning,
    PhysicalExpr, PlanProperties,
};
use futures::{StreamExt, TryStreamExt};

use super::writers::PartitionWriter;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("file", DataType::Utf8, false),
        Field::new("rows", DataType::Int64, false),
    ]))
});

/// Schema of what the operator reports: a file's path below the directory, and its rows.
pub fn write_schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// What to write, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteSpec {
    /// Local directory that the files go to, before they are moved to where they belong.
    pub directory: String,
    /// Part of every file's name, so that attempts and jobs do not meet.
    pub write_id: String,
    /// `parquet`, `csv`, `json` or `text`.
    pub format: String,
    /// The format's options, keys in lower case.
    pub options: BTreeMap<String, String>,
    /// Columns that become directories.
    pub partition_by: Vec<String>,
    /// The session's time zone.
    pub time_zone: String,
    /// Schema in Spark's JSON form, kept in Parquet files as Spark does.
    pub schema_json: String,
}

/// The operator.
#[derive(Debug, Clone)]
pub struct WriteFilesExec {
    input: Arc<dyn ExecutionPlan>,
    spec: WriteSpec,
    properties: Arc<PlanProperties>,
}

impl WriteFilesExec {
    /// Creates the operator.
    pub fn new(input: Arc<dyn ExecutionPlan>, spec: WriteSpec) -> Self {
        let partitions = input.output_partitioning().partition_count();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(write_schema()),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self {
            input,
            spec,
            properties: Arc::new(properties),
        }
    }

    /// What is written.
    pub fn spec(&self) -> &WriteSpec {
        &self.spec
    }
}

impl DisplayAs for WriteFilesExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "WriteFilesExec: format={}, directory={}",
            self.spec.format, self.spec.directory
        )
    }
}

impl ExecutionPlan for WriteFilesExec {
    fn name(&self) -> &str {
        "WriteFilesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.into_iter().next() {
            Some(input) => Ok(Arc::new(Self::new(input, self.spec.clone()))),
            None => internal_err!("writing has one input"),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let number = super::partition_number(&context, partition);
        let input = self.input.execute(partition, context)?;
        let writer = PartitionWriter::new(self.spec.clone(), self.input.schema(), number)?;
        let written = futures::stream::once(write_all(input, writer))
            .try_filter(|batch| futures::future::ready(batch.num_rows() > 0));
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            write_schema(),
            written,
        )))
    }
}

/// Writes a partition; file I/O stays off the async threads.
async fn write_all(
    mut input: SendableRecordBatchStream,
    mut writer: PartitionWriter,
) -> Result<RecordBatch> {
    while let Some(batch) = input.next().await {
        let batch = batch?;
        writer = blocking(move || {
            writer.write(&batch)?;
            Ok(writer)
        })
        .await?;
    }
    let files = blocking(move || writer.finish()).await?;
    let (names, rows): (Vec<String>, Vec<i64>) = files.into_iter().unzip();
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(StringArray::from(names)),
        Arc::new(Int64Array::from(rows)),
    ];
    Ok(RecordBatch::try_new(write_schema(), columns)?)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| DataFusionError::Execution(format!("writing was interrupted: {e}")))?
}
