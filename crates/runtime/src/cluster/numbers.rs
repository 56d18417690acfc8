//! Partition numbers for Python functions of DataFrames and for files that are written.
//!
//! A task numbers its partitions from 0. Operators of RDDs bring the numbers that they have in
//! the whole RDD; the operators that run DataFrames' functions or write files do not, as they
//! come out of a query plan. So the finished plan gets [`PartitionNumbersExec`] above them.

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use pyrite_functions::operators::{PartitionNumbers, WriteFilesExec};
use pyrite_python::{PythonEvalExec, PythonGroupMapExec, PythonMapBatchesExec, TaskPartitions};
use pyrite_rdd::partition_table;

/// Numbers the partitions of every operator that runs functions of DataFrames or writes files.
pub(super) fn number_partitions(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let needs_numbers = node.is::<PythonEvalExec>()
            || node.is::<PythonMapBatchesExec>()
            || node.is::<PythonGroupMapExec>()
            || node.is::<WriteFilesExec>();
        let count = node.output_partitioning().partition_count();
        if !needs_numbers || count < 2 {
            return Ok(Transformed::no(node));
        }
        let table = partition_table::of_numbers(count)?;
        let numbered: Arc<dyn ExecutionPlan> = Arc::new(PartitionNumbersExec::new(node, table));
        Ok(Transformed::yes(numbered))
    })
    .data()
}

/// Runs its input in a context that tells the numbers of the input's partitions in the stage.
///
/// The numbers stand in a partition table, an in-memory source that Ballista slices together
/// with the input. In all else it passes for its input: it is put into finished plans, where
/// Ballista checks once more that operators get the distribution they need.
#[derive(Debug)]
pub(crate) struct PartitionNumbersExec {
    input: Arc<dyn ExecutionPlan>,
    table: Arc<dyn ExecutionPlan>,
}

impl PartitionNumbersExec {
    /// Numbers the partitions of `input` by the rows of `table`.
    pub(crate) fn new(input: Arc<dyn ExecutionPlan>, table: Arc<dyn ExecutionPlan>) -> Self {
        Self { input, table }
    }
}

impl DisplayAs for PartitionNumbersExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PartitionNumbersExec")
    }
}

impl ExecutionPlan for PartitionNumbersExec {
    fn name(&self) -> &str {
        "PartitionNumbersExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input, &self.table]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true, false]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false, false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match <[_; 2]>::try_from(children) {
            Ok([input, table]) => Ok(Arc::new(Self::new(input, table))),
            Err(children) => internal_err!("{} children instead of 2", children.len()),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let numbers = partition_table::numbers(&self.table)?;
        let config = context
            .session_config()
            .clone()
            .with_extension(Arc::new(PartitionNumbers(numbers.clone())))
            .with_extension(Arc::new(TaskPartitions(numbers)));
        let context = TaskContext::new(
            context.task_id(),
            context.session_id(),
            config,
            context.scalar_functions().clone(),
            context.higher_order_functions().clone(),
            context.aggregate_functions().clone(),
            context.window_functions().clone(),
            context.runtime_env(),
        );
        self.input.execute(partition, Arc::new(context))
    }
}

#[cfg(test)]
mod tests {
    use ballista_scheduler::state::task_builder::restrict_plan_to_partitions;
    use datafusion::arrow::array::{AsArray, Int64Array, RecordBatch};
    use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::datasource::source::DataSourceExec;
    use datafusion::physical_expr::EquivalenceProperties;
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use datafusion::prelude::SessionContext;
    use datafusion_proto::physical_plan::AsExecutionPlan;
    use datafusion_proto::protobuf::PhysicalPlanNode;
    use pyrite_python::global_partition;

    use super::*;

    /// Answers with the number of the partition that it is told it is.
    #[derive(Debug)]
    struct AskExec(Arc<dyn ExecutionPlan>, Arc<PlanProperties>);

    impl AskExec {
        fn new(input: Arc<dyn ExecutionPlan>) -> Self {
            let properties = PlanProperties::new(
                EquivalenceProperties::new(input.schema()),
                input.output_partitioning().clone(),
                input.pipeline_behavior(),
                input.boundedness(),
            );
            Self(input, Arc::new(properties))
        }
    }

    impl DisplayAs for AskExec {
        fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("AskExec")
        }
    }

    impl ExecutionPlan for AskExec {
        fn name(&self) -> &str {
            "AskExec"
        }

        fn properties(&self) -> &Arc<PlanProperties> {
            &self.1
        }

        fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
            vec![&self.0]
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
            Ok(Arc::new(Self::new(children.remove(0))))
        }

        fn execute(
            &self,
            partition: usize,
            context: Arc<TaskContext>,
        ) -> Result<SendableRecordBatchStream> {
            let number = global_partition(&context, partition) as i64;
            let batch = RecordBatch::try_new(
                self.schema(),
                vec![Arc::new(Int64Array::from(vec![number]))],
            )?;
            let answer = futures::stream::once(async move { Ok(batch) });
            Ok(Box::pin(RecordBatchStreamAdapter::new(
                self.schema(),
                answer,
            )))
        }
    }

    fn source(partitions: usize) -> Arc<dyn ExecutionPlan> {
        let schema = Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, false)]));
        let source = MemorySourceConfig::try_new(&vec![vec![]; partitions], schema, None).unwrap();
        DataSourceExec::from_data_source(source)
    }

    fn numbered(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let count = input.output_partitioning().partition_count();
        let table = partition_table::of_numbers(count).unwrap();
        Arc::new(PartitionNumbersExec::new(input, table))
    }

    async fn answers(plan: Arc<dyn ExecutionPlan>) -> Vec<i64> {
        let context = SessionContext::new().task_ctx();
        let batches = datafusion::physical_plan::collect(plan, context)
            .await
            .unwrap();
        let mut answers: Vec<i64> = batches
            .iter()
            .flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec())
            .collect();
        answers.sort_unstable();
        answers
    }

    #[tokio::test]
    async fn a_slice_keeps_its_numbers() {
        let plan = numbered(Arc::new(AskExec::new(source(5))));
        assert_eq!(answers(plan.clone()).await, [0, 1, 2, 3, 4]);
        let slice = restrict_plan_to_partitions(plan, &[1, 4]).unwrap();
        assert_eq!(answers(slice).await, [1, 4]);
    }

    #[test]
    fn it_survives_the_wire() {
        let codec = crate::physical_codec();
        let plan = numbered(source(3));
        let node = PhysicalPlanNode::try_from_physical_plan(plan.clone(), codec.as_ref()).unwrap();
        let context = SessionContext::new().task_ctx();
        let back = node
            .try_into_physical_plan(&context, codec.as_ref())
            .unwrap();
        assert_eq!(back.name(), plan.name());
        assert_eq!(back.output_partitioning().partition_count(), 3);
    }
}
