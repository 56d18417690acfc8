//! `spark.range`: numbers that are never held in memory.

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties,
};

static SCHEMA: LazyLock<SchemaRef> =
    LazyLock::new(|| Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)])));

/// Schema of a range: one column `id`.
pub fn range_schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// The numbers of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeSpec {
    /// The first number.
    pub start: i64,
    /// Where it ends, exclusive.
    pub end: i64,
    /// The distance between numbers, not 0.
    pub step: i64,
    /// Into how many partitions the numbers are split.
    pub partitions: usize,
}

impl RangeSpec {
    /// How many numbers there are.
    pub fn rows(&self) -> i128 {
        let (start, end, step) = (
            i128::from(self.start),
            i128::from(self.end),
            i128::from(self.step),
        );
        let span = end - start;
        if span.signum() != step.signum() {
            return 0;
        }
        (span.abs() + step.abs() - 1) / step.abs()
    }

    /// First and last place (exclusive) of a partition, as Spark's `RangeExec` splits.
    fn bounds(&self, partition: usize) -> (i128, i128) {
        let (rows, parts, p) = (self.rows(), self.partitions as i128, partition as i128);
        (p * rows / parts, (p + 1) * rows / parts)
    }
}

/// Produces the numbers.
#[derive(Debug, Clone)]
pub struct RangeExec {
    spec: RangeSpec,
    with_id: bool,
    properties: Arc<PlanProperties>,
}

impl RangeExec {
    /// Creates the operator; without the column it only counts rows.
    pub fn new(spec: RangeSpec, with_id: bool) -> Self {
        let schema = if with_id {
            Arc::clone(&SCHEMA)
        } else {
            Arc::new(Schema::empty())
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(spec.partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            spec,
            with_id,
            properties: Arc::new(properties),
        }
    }

    /// The numbers.
    pub fn spec(&self) -> RangeSpec {
        self.spec
    }

    /// Whether there is a column, or just rows.
    pub fn with_id(&self) -> bool {
        self.with_id
    }
}

impl DisplayAs for RangeExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let RangeSpec {
            start,
            end,
            step,
            partitions,
        } = self.spec;
        write!(
            f,
            "RangeExec: {start}..{end}, step={step}, partitions={partitions}"
        )
    }
}

impl ExecutionPlan for RangeExec {
    fn name(&self) -> &str {
        "RangeExec"
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
            internal_err!("a range has no input")
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (mut place, last) = self.spec.bounds(partition);
        let (start, step) = (i128::from(self.spec.start), i128::from(self.spec.step));
        let size = context.session_config().batch_size() as i128;
        let schema = self.schema();
        let out = Arc::clone(&schema);
        let with_id = self.with_id;
        let batches = std::iter::from_fn(move || {
            if place >= last {
                return None;
            }
            let until = last.min(place + size);
            let count = (until - place) as usize;
            let batch = if with_id {
                let ids =
                    Int64Array::from_iter_values((place..until).map(|i| (start + i * step) as i64));
                RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(ids)])
            } else {
                let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(count));
                RecordBatch::try_new_with_options(Arc::clone(&schema), vec![], &options)
            };
            place = until;
            Some(batch.map_err(Into::into))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            out,
            futures::stream::iter(batches),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_count_their_rows() {
        let rows = |start, end, step| {
            RangeSpec {
                start,
                end,
                step,
                partitions: 1,
            }
            .rows()
        };
        assert_eq!(rows(0, 10, 1), 10);
        assert_eq!(rows(0, 10, 3), 4);
        assert_eq!(rows(10, 0, -3), 4);
        assert_eq!(rows(0, 10, -1), 0);
        assert_eq!(rows(i64::MIN, i64::MAX, 1), u64::MAX.into());
    }
}
