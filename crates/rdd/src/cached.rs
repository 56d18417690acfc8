//! Cached DataFrames inside plans.
//!
//! The rows of a cached DataFrame are blocks, like those of a persisted RDD, under an id below
//! zero. Where computing them takes no exchange, each partition is computed and kept by the
//! first task that reads it. Below an exchange that would not do: the exchange would run for
//! every job, for the sake of partitions that are all there. So a runtime first runs a job that
//! fills all blocks ([`filling`]); from then on the rows' lineage is left out of plans
//! ([`without_lineage`]).

use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    ReplaceChildrenOptions,
};
use pyrite_proto::core::StorageLevel;

use crate::errors::internal;
use crate::operators::{
    LostRowsExec, NumberedExec, PersistExec, common_methods, unknown_partitions,
};

/// The rows of a cached DataFrame in a query plan. Hides their lineage from DataFusion's
/// optimiser, which must not change the partitions that are kept. A runtime puts it back
/// ([`prepare_local`](crate::prepare_local), [`prepare_cluster`](crate::prepare_cluster)).
#[derive(Debug)]
pub struct InMemoryTableScanExec {
    rows: Arc<dyn ExecutionPlan>,
    /// The id that the blocks have, and where they are kept; `None` for rows that are not kept
    /// any more.
    kept: Option<(i64, StorageLevel)>,
    properties: Arc<PlanProperties>,
}

impl InMemoryTableScanExec {
    /// Keeps the rows of a plan under the number of a cached DataFrame, from 1.
    pub fn new(rows: Arc<dyn ExecutionPlan>, number: i64, level: StorageLevel) -> Self {
        Self::of(rows, Some((blocks_of(number), level)))
    }

    /// The rows of a plan that are not kept any more, in the partitions that they had.
    pub fn unkept(rows: Arc<dyn ExecutionPlan>) -> Self {
        Self::of(rows, None)
    }

    fn of(rows: Arc<dyn ExecutionPlan>, kept: Option<(i64, StorageLevel)>) -> Self {
        let count = rows.output_partitioning().partition_count();
        let properties = unknown_partitions(rows.schema(), count);
        Self {
            rows,
            kept,
            properties,
        }
    }

    /// The plan that keeps the rows.
    ///
    /// # Errors
    /// When a partition table cannot be built, which is a fault of ours.
    pub fn expanded(&self) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = Arc::clone(&self.rows);
        let Some((id, level)) = self.kept else {
            return Ok(rows);
        };
        let level = StorageLevel {
            // Rows that memory has no room for are written down rather than computed again,
            // which below an exchange would mean the whole of it.
            use_disk: true,
            ..level
        };
        let persist = Arc::new(PersistExec::new(rows, id, level));
        Ok(Arc::new(NumberedExec::try_new(persist)?))
    }
}

/// The id of the blocks of a cached DataFrame.
pub fn blocks_of(number: i64) -> i64 {
    -number
}

impl DisplayAs for InMemoryTableScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.schema();
        let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        let partitions = self.rows.output_partitioning().partition_count();
        write!(
            f,
            "InMemoryTableScanExec: columns=[{}], partitions={partitions}",
            names.join(", ")
        )?;
        match &self.kept {
            Some((_, level)) => write!(f, ", {}", level_text(level)),
            None => f.write_str(", not cached any more"),
        }
    }
}

/// A level as Spark's plans show it.
fn level_text(level: &StorageLevel) -> String {
    let mut parts = Vec::new();
    for (is_set, name) in [
        (level.use_disk, "disk"),
        (level.use_memory, "memory"),
        (level.use_off_heap, "offheap"),
        (level.deserialized, "deserialized"),
    ] {
        if is_set {
            parts.push(name.to_owned());
        }
    }
    parts.push(format!("{} replicas", level.replication.max(1)));
    format!("StorageLevel({})", parts.join(", "))
}

impl ExecutionPlan for InMemoryTableScanExec {
    common_methods!("InMemoryTableScanExec");

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() {
            return Ok(self);
        }
        Err(internal("InMemoryTableScanExec is a leaf"))
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        Err(internal(
            "a plan with InMemoryTableScanExec was not prepared for its runtime",
        ))
    }
}

fn partitions_of(plan: &Arc<dyn ExecutionPlan>) -> usize {
    plan.output_partitioning().partition_count()
}

/// The cached DataFrame whose rows `plan` keeps, if it takes an exchange to compute them.
fn exchanged_cache(plan: &Arc<dyn ExecutionPlan>) -> Option<&PersistExec> {
    let persist = plan.downcast_ref::<PersistExec>()?;
    let exchanges = persist.children().into_iter().any(has_exchange);
    (persist.rdd_id() < 0 && exchanges).then_some(persist)
}

/// Whether it takes an exchange to compute a plan from what is kept.
fn has_exchange(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if plan
        .downcast_ref::<PersistExec>()
        .is_some_and(|persist| persist.rdd_id() < 0)
    {
        return false;
    }
    plan.is::<RepartitionExec>()
        || plan.is::<CoalescePartitionsExec>()
        || plan.is::<SortPreservingMergeExec>()
        || plan.is::<crate::operators::LocalShuffleExec>()
        || plan.children().into_iter().any(has_exchange)
}

/// A plan that fills the blocks of a cached DataFrame and has no rows: for the innermost one in
/// `plan` below whose rows there is an exchange and that `wanted` accepts by its block id and
/// its number of partitions.
///
/// # Errors
/// When the engine refuses the plan, which is a fault of ours.
pub fn filling(
    plan: &Arc<dyn ExecutionPlan>,
    wanted: &dyn Fn(i64, usize) -> bool,
) -> Result<Option<(i64, Arc<dyn ExecutionPlan>)>> {
    for child in plan.children() {
        if let Some(found) = filling(child, wanted)? {
            return Ok(Some(found));
        }
    }
    match exchanged_cache(plan) {
        Some(persist) if wanted(persist.rdd_id(), partitions_of(plan)) => {
            let numbered: Arc<dyn ExecutionPlan> =
                Arc::new(NumberedExec::try_new(Arc::clone(plan))?);
            let never = Arc::new(Literal::new(ScalarValue::Boolean(Some(false))));
            let nothing = FilterExec::try_new(never, numbered)?;
            Ok(Some((persist.rdd_id(), Arc::new(nothing))))
        }
        _ => Ok(None),
    }
}

/// The plan without the lineage of cached rows below whose exchange everything is there, as
/// `is_filled` says of their block ids and numbers of partitions. Rows that turn out to be missing are an error
/// ([`is_lost_rows`](crate::operators::is_lost_rows)).
///
/// # Errors
/// When an operator refuses its new input, which is a fault of ours.
pub fn without_lineage(
    plan: Arc<dyn ExecutionPlan>,
    is_filled: impl Fn(i64, usize) -> bool,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_down(|node| {
        let count = partitions_of(&node);
        let filled = exchanged_cache(&node).filter(|p| is_filled(p.rdd_id(), count));
        let Some(persist) = filled else {
            return Ok(Transformed::no(node));
        };
        let lost = Arc::new(LostRowsExec::try_new(node.schema(), count)?);
        let kept = PersistExec::new(lost, persist.rdd_id(), *persist.level());
        let kept: Arc<dyn ExecutionPlan> = Arc::new(kept);
        Ok(Transformed::new(kept, true, TreeNodeRecursion::Jump))
    })
    .data()
}
