//! Leaves that Ballista cannot slice.
//!
//! Ballista gives a task a slice of a stage's partitions by cutting down the leaves that it
//! knows. Any other leaf would produce all of its partitions in every task. [`SlicedLeafExec`]
//! stands in its place: its only child is a partition table, which Ballista slices, and each
//! row of the table says which partition of the leaf to run.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, internal_err};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning,
    PlanProperties,
};
use pyrite_rdd::partition_table;

/// Makes every leaf of a plan one that Ballista can slice.
pub(super) fn slice_leaves(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let count = node.output_partitioning().partition_count();
        if !node.children().is_empty() || count < 2 || is_known(&node) {
            return Ok(Transformed::no(node));
        }
        let table = partition_table::of_numbers(count)?;
        let sliced: Arc<dyn ExecutionPlan> = Arc::new(SlicedLeafExec::new(node, table));
        Ok(Transformed::yes(sliced))
    })
    .data()
}

/// Whether Ballista's scheduler slices this leaf by itself.
fn is_known(leaf: &Arc<dyn ExecutionPlan>) -> bool {
    let source = leaf
        .downcast_ref::<DataSourceExec>()
        .map(DataSourceExec::data_source);
    source.is_some_and(|source| {
        source.downcast_ref::<FileScanConfig>().is_some()
            || source.downcast_ref::<MemorySourceConfig>().is_some()
    }) || leaf.is::<EmptyExec>()
        || leaf.is::<PlaceholderRowExec>()
}

/// Runs the partitions of a leaf that a partition table names.
#[derive(Debug)]
pub(crate) struct SlicedLeafExec {
    /// Not a child: it stays whole, whatever the slice.
    leaf: Arc<dyn ExecutionPlan>,
    table: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl SlicedLeafExec {
    /// Runs the partitions of `leaf` that the rows of `table` name.
    pub(crate) fn new(leaf: Arc<dyn ExecutionPlan>, table: Arc<dyn ExecutionPlan>) -> Self {
        let count = partition_table::len(&table);
        let properties = if count == leaf.output_partitioning().partition_count() {
            leaf.properties().clone()
        } else {
            Arc::new(
                PlanProperties::clone(leaf.properties())
                    .with_partitioning(Partitioning::UnknownPartitioning(count)),
            )
        };
        Self {
            leaf,
            table,
            properties,
        }
    }

    /// The leaf, with all its partitions.
    pub(crate) fn leaf(&self) -> &Arc<dyn ExecutionPlan> {
        &self.leaf
    }
}

impl DisplayAs for SlicedLeafExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlicedLeafExec: ")?;
        self.leaf.fmt_as(format, f)
    }
}

impl ExecutionPlan for SlicedLeafExec {
    fn name(&self) -> &str {
        "SlicedLeafExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.table]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(table), true) => Ok(Arc::new(Self::new(self.leaf.clone(), table))),
            _ => internal_err!("a sliced leaf has one table"),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let partition = partition_table::number(&self.table, partition)?;
        self.leaf.execute(partition, context)
    }
}

#[cfg(test)]
mod tests {
    use ballista_scheduler::state::task_builder::restrict_plan_to_partitions;
    use datafusion::arrow::array::{AsArray, RecordBatch};
    use datafusion::arrow::datatypes::Int64Type;
    use datafusion::prelude::SessionContext;
    use datafusion_proto::physical_plan::AsExecutionPlan;
    use datafusion_proto::protobuf::PhysicalPlanNode;
    use pyrite_functions::operators::{RangeExec, RangeSpec};

    use super::*;

    fn range() -> Arc<dyn ExecutionPlan> {
        let spec = RangeSpec {
            start: 0,
            end: 12,
            step: 1,
            partitions: 4,
        };
        slice_leaves(Arc::new(RangeExec::new(spec, true))).unwrap()
    }

    async fn values(plan: Arc<dyn ExecutionPlan>) -> Vec<i64> {
        let context = SessionContext::new().task_ctx();
        let batches: Vec<RecordBatch> = datafusion::physical_plan::collect(plan, context)
            .await
            .unwrap();
        let mut values: Vec<i64> = batches
            .iter()
            .flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec())
            .collect();
        values.sort_unstable();
        values
    }

    #[tokio::test]
    async fn tasks_share_a_leaf_without_repeating_it() {
        assert_eq!(values(range()).await, (0..12).collect::<Vec<_>>());
        let mut all = vec![];
        for slice in [vec![0], vec![1, 3], vec![2]] {
            all.extend(values(restrict_plan_to_partitions(range(), &slice).unwrap()).await);
        }
        all.sort_unstable();
        assert_eq!(all, (0..12).collect::<Vec<_>>());
        let nothing = restrict_plan_to_partitions(range(), &[]).unwrap();
        assert_eq!(nothing.output_partitioning().partition_count(), 0);
    }

    #[tokio::test]
    async fn a_sliced_leaf_survives_the_wire() {
        let codec = crate::physical_codec();
        let slice = restrict_plan_to_partitions(range(), &[2]).unwrap();
        let node = PhysicalPlanNode::try_from_physical_plan(slice, codec.as_ref()).unwrap();
        let context = SessionContext::new().task_ctx();
        let back = node
            .try_into_physical_plan(&context, codec.as_ref())
            .unwrap();
        assert_eq!(values(back).await, [6, 7, 8]);
    }
}
