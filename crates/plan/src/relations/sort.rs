//! Sorting within partitions.

use datafusion::logical_expr::{Extension, LogicalPlan, SortExpr};
use std::sync::Arc;

use crate::nodes::LocalSort;

/// Sorts every partition for itself (`sortWithinPartitions`).
pub(super) fn local_sort(input: LogicalPlan, keys: Vec<SortExpr>) -> LogicalPlan {
    LogicalPlan::Extension(Extension {
        node: Arc::new(LocalSort { input, keys }),
    })
}
