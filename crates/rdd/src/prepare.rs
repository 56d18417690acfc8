//! What a runtime does to a plan before it runs it.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::future::BoxFuture;

use crate::cached::InMemoryTableScanExec;
use crate::operators::{
    LocalShuffleExec, PartitionGroupsExec, PersistExec, ShuffleFramesExec, ShuffleKeyExec,
};
use crate::table::RddScanExec;

/// Prepares a plan for running in this process: the exchanges of RDDs become stages.
///
/// # Errors
/// When an operator refuses its new input, which is a fault of ours.
pub fn prepare_local(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    expand_scans(plan)?
        .transform_up(|node| {
            Ok(match local_shuffle(&node) {
                Some(shuffle) => Transformed::yes(shuffle),
                None => Transformed::no(node),
            })
        })
        .data()
}

/// Prepares a plan for a cluster: the scheduler gets to see the RDDs inside scans, and every
/// leaf that it could not slice stands on a partition table.
///
/// # Errors
/// When an operator refuses its new input, which is a fault of ours.
pub fn prepare_cluster(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    expand_scans(plan)?
        .transform_up(|node| {
            if !node.children().is_empty() || is_sliced(&node) {
                return Ok(Transformed::no(node));
            }
            let all: Vec<_> = (0..node.output_partitioning().partition_count()).collect();
            let sliceable = PartitionGroupsExec::select(node, &all)?;
            Ok(Transformed::yes(Arc::new(sliceable) as _))
        })
        .data()
}

/// Lets a sort of a whole data set have at most `at_once` sorts of parts below it.
///
/// The engine sorts all partitions at the same time and merges them. Each part holds some memory
/// that cannot be spilled, so many of them run out of it however little they have to sort, and
/// each runs the Python workers that it needs.
///
/// # Errors
/// When an operator refuses its new input, which is a fault of ours.
pub fn few_sorts_at_once(
    plan: Arc<dyn ExecutionPlan>,
    at_once: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let merged = node
            .downcast_ref::<SortPreservingMergeExec>()
            .map(SortPreservingMergeExec::input);
        let Some(sort) = merged.filter(|input| input.is::<SortExec>()) else {
            return Ok(Transformed::no(node));
        };
        let is_top = sort.fetch().is_some();
        if is_top || sort.output_partitioning().partition_count() <= at_once {
            return Ok(Transformed::no(node));
        }
        let parts = sort.children().into_iter().map(Arc::clone);
        let parts = parts
            .map(|part| Ok(Arc::new(PartitionGroupsExec::coalesce(part, at_once)?) as _))
            .collect::<Result<Vec<_>>>()?;
        let sort = replace_children_if_necessary(Arc::clone(sort), parts)?;
        Ok(Transformed::yes(replace_children_if_necessary(
            node,
            vec![sort],
        )?))
    })
    .data()
}

/// Puts the plans of RDDs and of cached DataFrames where their scans are.
fn expand_scans(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    // Downwards, because an RDD may hold DataFrames that hold RDDs, or cached ones.
    plan.transform_down(|node| {
        if let Some(cached) = node.downcast_ref::<InMemoryTableScanExec>() {
            return Ok(Transformed::yes(cached.expanded()?));
        }
        Ok(match node.downcast_ref::<RddScanExec>() {
            Some(scan) => Transformed::yes(scan.expanded()),
            None => Transformed::no(node),
        })
    })
    .data()
}

/// Whether Ballista gives each task its own partitions of a leaf. It would run all partitions
/// of any other leaf in every task.
fn is_sliced(leaf: &Arc<dyn ExecutionPlan>) -> bool {
    if let Some(exec) = leaf.downcast_ref::<DataSourceExec>() {
        let source = exec.data_source();
        return source.downcast_ref::<MemorySourceConfig>().is_some()
            || source.downcast_ref::<FileScanConfig>().is_some();
    }
    leaf.is::<EmptyExec>()
}

/// Runs the exchanges of a plan that was prepared for this process, the deepest first, so that
/// tasks do not hold a Python worker while they wait for an exchange. Those below a persisted
/// RDD run when a partition turns out to be missing.
///
/// # Errors
/// What the exchanges' inputs report.
pub fn run_shuffles<'a>(
    plan: &'a Arc<dyn ExecutionPlan>,
    context: &'a Arc<TaskContext>,
) -> BoxFuture<'a, Result<()>> {
    Box::pin(async move {
        if plan.is::<PersistExec>() {
            return Ok(());
        }
        for child in plan.children() {
            run_shuffles(child, context).await?;
        }
        match plan.downcast_ref::<LocalShuffleExec>() {
            Some(shuffle) => shuffle.run_map_side(context).await,
            None => Ok(()),
        }
    })
}

fn local_shuffle(node: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let exchange = node.downcast_ref::<ShuffleFramesExec>()?.input();
    let keyed = exchange.downcast_ref::<RepartitionExec>()?.input();
    let keyed = keyed.downcast_ref::<ShuffleKeyExec>()?;
    Some(Arc::new(LocalShuffleExec::new(
        Arc::clone(keyed.input()),
        keyed.num_partitions(),
        keyed.rdd_id(),
    )))
}
