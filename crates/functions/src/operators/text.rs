//! Text files: a row for each line.

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties,
};

static SCHEMA: LazyLock<SchemaRef> =
    LazyLock::new(|| Arc::new(Schema::new(vec![Field::new("value", DataType::Utf8, true)])));

/// Schema of text files: one column `value`.
pub fn text_schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// Reads local text files, one a partition.
#[derive(Debug, Clone)]
pub struct TextExec {
    files: Vec<String>,
    whole: bool,
    properties: Arc<PlanProperties>,
}

impl TextExec {
    /// Creates the operator; with `whole`, a file is one row.
    pub fn new(files: Vec<String>, whole: bool) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&SCHEMA)),
            Partitioning::UnknownPartitioning(files.len().max(1)),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            files,
            whole,
            properties: Arc::new(properties),
        }
    }

    /// The files.
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// Whether a file is one row.
    pub fn whole(&self) -> bool {
        self.whole
    }
}

impl DisplayAs for TextExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "TextExec: {} files", self.files.len())
    }
}

impl ExecutionPlan for TextExec {
    fn name(&self) -> &str {
        "TextExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
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
        if children.is_empty() {
            Ok(self)
        } else {
            internal_err!("a file has no input")
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.schema(), 2);
        let sender = builder.tx();
        let file = self.files.get(partition).cloned();
        let (whole, size) = (self.whole, context.session_config().batch_size());
        builder.spawn_blocking(move || {
            let Some(file) = file else { return Ok(()) };
            read_lines(&file, whole, size, |batch| {
                sender.blocking_send(Ok(batch)).is_ok()
            })
        });
        Ok(builder.build())
    }
}

/// Sends batches of lines until the receiver is gone.
fn read_lines(
    path: &str,
    whole: bool,
    batch_size: usize,
    send: impl Fn(RecordBatch) -> bool,
) -> Result<()> {
    use std::io::{BufRead, Read};
    let failed = |e: std::io::Error| DataFusionError::Execution(format!("reading `{path}`: {e}"));
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut reader = std::io::BufReader::with_capacity(1 << 20, file);
    let mut values = StringBuilder::new();
    let mut count = 0;
    let mut line = vec![];
    loop {
        line.clear();
        let read = if whole {
            reader.read_to_end(&mut line).map_err(failed)?
        } else {
            reader.read_until(b'\n', &mut line).map_err(failed)?
        };
        let over = read == 0 && !(whole && count == 0);
        if !over {
            if !whole {
                while line.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
                    line.pop();
                }
            }
            values.append_value(String::from_utf8_lossy(&line));
            count += 1;
        }
        if count > 0 && (over || count >= batch_size || whole) {
            let batch = RecordBatch::try_new(Arc::clone(&SCHEMA), vec![Arc::new(values.finish())])?;
            count = 0;
            if !send(batch) {
                return Ok(());
            }
        }
        if over || whole {
            return Ok(());
        }
    }
}
