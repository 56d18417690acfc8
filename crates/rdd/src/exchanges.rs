//! The exchanges of RDDs inside a plan, by the RDD that each makes.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::repartition::RepartitionExec;

use crate::operators::ShuffleKeyExec;

/// The RDD that an exchange makes; `None` when `plan` is no exchange of an RDD.
pub fn exchanged_rdd(plan: &Arc<dyn ExecutionPlan>) -> Option<i64> {
    let keyed = plan.downcast_ref::<RepartitionExec>()?.input();
    keyed
        .downcast_ref::<ShuffleKeyExec>()
        .map(ShuffleKeyExec::rdd_id)
}

/// How often the exchange of each RDD stands in a plan.
///
/// # Errors
/// Never; the signature is that of a walk.
pub fn count_exchanges(plan: &Arc<dyn ExecutionPlan>) -> Result<HashMap<i64, usize>> {
    let mut counts = HashMap::new();
    plan.apply(|node| {
        if let Some(rdd_id) = exchanged_rdd(node) {
            *counts.entry(rdd_id).or_default() += 1;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(counts)
}

/// The innermost exchange that `wanted` accepts: none that it accepts is below it.
///
/// # Errors
/// Never; the signature is that of a walk.
pub fn innermost_exchange(
    plan: &Arc<dyn ExecutionPlan>,
    wanted: impl Fn(i64) -> bool,
) -> Result<Option<(i64, Arc<dyn ExecutionPlan>)>> {
    let mut found = None;
    let mut search = Some(Arc::clone(plan));
    while let Some(below) = search.take() {
        for child in below.children() {
            child.apply(
                |node| match exchanged_rdd(node).filter(|rdd_id| wanted(*rdd_id)) {
                    Some(rdd_id) => {
                        found = Some((rdd_id, Arc::clone(node)));
                        search = Some(Arc::clone(node));
                        Ok(TreeNodeRecursion::Stop)
                    }
                    None => Ok(TreeNodeRecursion::Continue),
                },
            )?;
            if search.is_some() {
                break;
            }
        }
    }
    Ok(found)
}

/// Puts what `replacement` returns where exchanges stand, the outermost first; nothing below a
/// replaced exchange is left.
///
/// # Errors
/// What `replacement` returns, and when an operator refuses its new input.
pub fn replace_exchanges(
    plan: Arc<dyn ExecutionPlan>,
    mut replacement: impl FnMut(i64) -> Result<Option<Arc<dyn ExecutionPlan>>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_down(|node| {
        let Some(rdd_id) = exchanged_rdd(&node) else {
            return Ok(Transformed::no(node));
        };
        Ok(match replacement(rdd_id)? {
            Some(read) => Transformed::new(read, true, TreeNodeRecursion::Jump),
            None => Transformed::no(node),
        })
    })
    .data()
}

#[cfg(test)]
mod tests {
    use pyrite_proto::core::parallel_collection::Slice;

    use super::*;
    use crate::operators::{ParallelCollectionExec, ShuffleFramesExec, shuffle_exchange};
    use datafusion::physical_plan::union::UnionExec;

    fn source() -> Arc<dyn ExecutionPlan> {
        Arc::new(ParallelCollectionExec::try_new(&vec![Slice::default(); 2]).unwrap())
    }

    /// RDD 1 is exchanged into RDD 2 twice; RDD 3 comes after one of them.
    fn plan() -> Arc<dyn ExecutionPlan> {
        let twice = || shuffle_exchange(source(), 2, 2).unwrap();
        let after = shuffle_exchange(twice(), 3, 3).unwrap();
        UnionExec::try_new(vec![twice(), after]).unwrap()
    }

    #[test]
    fn exchanges_are_counted_by_the_rdd_that_they_make() {
        let counts = count_exchanges(&plan()).unwrap();
        assert_eq!(counts, HashMap::from([(2, 2), (3, 1)]));
    }

    #[test]
    fn the_innermost_exchange_has_no_other_below_it() {
        let innermost = |wanted: fn(i64) -> bool| {
            let found = innermost_exchange(&plan(), wanted).unwrap();
            found.map(|(rdd_id, _)| rdd_id)
        };
        assert_eq!(innermost(|_| true), Some(2));
        assert_eq!(innermost(|rdd_id| rdd_id == 3), Some(3));
        assert_eq!(innermost(|rdd_id| rdd_id == 1), None);
    }

    #[test]
    fn what_is_below_a_replaced_exchange_is_gone() {
        let replaced = replace_exchanges(plan(), |rdd_id| Ok((rdd_id == 3).then(source))).unwrap();
        let counts = count_exchanges(&replaced).unwrap();
        assert_eq!(counts, HashMap::from([(2, 1)]));
        let frames = Arc::clone(replaced.children()[1]);
        assert!(frames.is::<ShuffleFramesExec>());
        assert!(frames.children()[0].is::<ParallelCollectionExec>());
    }
}
