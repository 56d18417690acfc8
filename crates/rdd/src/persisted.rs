//! Which persisted partitions a plan's partitions read.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use pyrite_python::BlockId;

use crate::operators::{CartesianExec, PartitionGroupsExec, PersistExec};

/// For each partition of `plan`, the persisted partition that it reads first, counted from
/// the top of the plan; none where it reads no persisted RDD. A scheduler runs a partition
/// where that block is. `plan` must be whole, not a task's slice.
///
/// # Errors
/// When an operator of ours lacks its partition table, which is a fault of ours.
pub fn persisted_partitions(plan: &Arc<dyn ExecutionPlan>) -> Result<Vec<Option<BlockId>>> {
    let count = plan.output_partitioning().partition_count();
    if let Some(persist) = plan.downcast_ref::<PersistExec>() {
        let rdd_id = persist.rdd_id();
        let block = |partition| Some(BlockId { rdd_id, partition });
        return Ok((0..count).map(block).collect());
    }
    let children = plan.children();
    let of_children = children
        .iter()
        .map(|child| persisted_partitions(child))
        .collect::<Result<Vec<_>>>()?;
    if of_children.iter().flatten().all(Option::is_none) {
        return Ok(vec![None; count]);
    }
    if plan.is::<UnionExec>() {
        return Ok(of_children.concat());
    }
    if let Some(groups) = plan.downcast_ref::<PartitionGroupsExec>() {
        let first = |p| Ok(groups.group(p)?.into_iter().find_map(|i| of_children[0][i]));
        return (0..count).map(first).collect();
    }
    if let Some(cartesian) = plan.downcast_ref::<CartesianExec>() {
        let either = |p| {
            let (left, right) = cartesian.pair(p)?;
            Ok(of_children[0][left].or(of_children[1][right]))
        };
        return (0..count).map(either).collect();
    }
    // Everything else maps its partitions to its inputs' one to one, or exchanges.
    let aligned = of_children.iter().filter(|blocks| blocks.len() == count);
    let first = |p| {
        aligned
            .clone()
            .find_map(|blocks: &Vec<Option<BlockId>>| blocks[p])
    };
    Ok((0..count).map(first).collect())
}
