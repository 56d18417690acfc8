//! What every plan of a DataFrame gets before it runs.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{JoinType, Result};
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    HashJoinExec, NestedLoopJoinExec, PartitionMode, SortMergeJoinExec,
};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use pyrite_rdd::operators::PartitionGroupsExec;
use pyrite_runtime::Runtime;

use crate::in_order::limits_in_order;

/// Makes a plan give Spark's rows on this runtime.
///
/// # Errors
/// When the engine cannot rebuild a plan, which is a fault of ours.
pub(crate) fn settled(
    plan: Arc<dyn ExecutionPlan>,
    runtime: &dyn Runtime,
) -> Result<Arc<dyn ExecutionPlan>> {
    let plan = match runtime.is_distributed() {
        true => whole_probes(plan)?,
        false => plan,
    };
    limits_in_order(nullable_filters(plan)?)
}

/// Lets the conditions of merge joins see nulls.
///
/// The engine evaluates the condition of an outer join over its unmatched rows too, under a
/// schema that is that of the inputs, and stumbles over the nulls in columns that have none.
fn nullable_filters(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let Some(join) = node.downcast_ref::<SortMergeJoinExec>() else {
            return Ok(Transformed::no(node));
        };
        let Some(filter) = join.filter() else {
            return Ok(Transformed::no(node));
        };
        let fields = filter.schema().fields().iter();
        let fields: Vec<Field> = fields
            .map(|field| field.as_ref().clone().with_nullable(true))
            .collect();
        let schema = Schema::new_with_metadata(fields, filter.schema().metadata().clone());
        let filter = JoinFilter::new(
            Arc::clone(filter.expression()),
            filter.column_indices().to_vec(),
            Arc::new(schema),
        );
        let join = SortMergeJoinExec::try_new(
            Arc::clone(join.left()),
            Arc::clone(join.right()),
            join.on().to_vec(),
            Some(filter),
            join.join_type(),
            join.sort_options().to_vec(),
            join.null_equality(),
        )?;
        Ok(Transformed::yes(Arc::new(join) as _))
    })
    .data()
}

/// Has joins that collect their left side, and tell in the end which of its rows have found
/// nothing, see the right side as a whole.
///
/// Within one process the tasks of such a join share what they have found. Tasks of a cluster
/// do not: each would give the rows that it alone has found nothing for.
fn whole_probes(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let Some((left, right)) = collected_join(&node) else {
            return Ok(Transformed::no(node));
        };
        if right.output_partitioning().partition_count() < 2 {
            return Ok(Transformed::no(node));
        }
        // Not the engine's own operator, which Ballista takes out of stages that do not ask for it.
        let whole = Arc::new(PartitionGroupsExec::coalesce(right, 1)?);
        replace_children_if_necessary(node, vec![left, whole]).map(Transformed::yes)
    })
    .data()
}

/// Both sides of a join whose left side is collected and has a say in the end.
fn collected_join(
    node: &Arc<dyn ExecutionPlan>,
) -> Option<(Arc<dyn ExecutionPlan>, Arc<dyn ExecutionPlan>)> {
    let (kind, left, right) = if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        if *join.partition_mode() != PartitionMode::CollectLeft {
            return None;
        }
        (*join.join_type(), join.left(), join.right())
    } else {
        let join = node.downcast_ref::<NestedLoopJoinExec>()?;
        (*join.join_type(), join.left(), join.right())
    };
    let tells_in_the_end = matches!(
        kind,
        JoinType::Left
            | JoinType::LeftSemi
            | JoinType::LeftAnti
            | JoinType::LeftMark
            | JoinType::Full
    );
    tells_in_the_end.then(|| (Arc::clone(left), Arc::clone(right)))
}
