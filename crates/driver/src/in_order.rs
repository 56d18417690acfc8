//! Limits that take the first rows of the first partitions, as Spark's do.
//!
//! The engine merges partitions as they come, so `limit`, `show` and `take` would return
//! rows of whichever partition is quickest.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::limit::GlobalLimitExec;
use pyrite_rdd::operators::PartitionGroupsExec;

/// Reads partitions one after the other wherever a limit would merge them.
///
/// Partitions behind the limit are not computed at all.
///
/// # Errors
/// When the engine cannot rebuild a plan, which is a fault of ours.
pub(crate) fn limits_in_order(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        if let Some(merge) = node.downcast_ref::<CoalescePartitionsExec>()
            && let Some(rows) = merge.fetch()
        {
            let merged = one_after_the_other(merge)?;
            return Ok(Transformed::yes(
                Arc::new(GlobalLimitExec::new(merged, 0, Some(rows))) as _,
            ));
        }
        if let Some(limit) = node.downcast_ref::<GlobalLimitExec>()
            && let Some(merge) = limit.input().downcast_ref::<CoalescePartitionsExec>()
        {
            let merged = one_after_the_other(merge)?;
            let limit = GlobalLimitExec::new(merged, limit.skip(), limit.fetch());
            return Ok(Transformed::yes(Arc::new(limit) as _));
        }
        Ok(Transformed::no(node))
    })
    .data()
}

fn one_after_the_other(merge: &CoalescePartitionsExec) -> Result<Arc<dyn ExecutionPlan>> {
    Ok(Arc::new(PartitionGroupsExec::coalesce(
        Arc::clone(merge.input()),
        1,
    )?))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int64Array, RecordBatch};
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::physical_plan::{collect, displayable};
    use datafusion::prelude::SessionContext;

    use super::*;

    fn three_partitions() -> Arc<dyn ExecutionPlan> {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let partition = |from: i64| {
            let values = Int64Array::from_iter_values(from..from + 3);
            vec![RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(values)]).unwrap()]
        };
        let partitions = [partition(0), partition(3), partition(6)];
        MemorySourceConfig::try_new_exec(&partitions, Arc::clone(&schema), None).unwrap()
    }

    #[tokio::test]
    async fn a_limit_takes_the_first_partitions() {
        let merge = CoalescePartitionsExec::new(three_partitions()).with_fetch(Some(5));
        let plan = limits_in_order(Arc::new(merge)).unwrap();
        let shown = displayable(plan.as_ref()).indent(false).to_string();
        assert!(!shown.contains("CoalescePartitionsExec"), "{shown}");
        let batches = collect(plan, SessionContext::new().task_ctx())
            .await
            .unwrap();
        let rows: Vec<i64> = batches
            .iter()
            .flat_map(|b| {
                b.column(0)
                    .as_any()
                    .downcast_ref::<Int64Array>()
                    .unwrap()
                    .values()
                    .to_vec()
            })
            .collect();
        assert_eq!(rows, [0, 1, 2, 3, 4]);
    }
}
