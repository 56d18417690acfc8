//! What all sessions of an application share.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::cache::{PlanCache, RowKeeper};
use crate::catalog::View;

/// Cached plans and global temporary views.
pub struct SharedState {
    pub(crate) cache: Arc<PlanCache>,
    /// Views by name in lower case.
    pub(crate) global_views: RwLock<BTreeMap<String, View>>,
}

impl SharedState {
    /// Nothing yet; `keeper` is to keep the rows of cached plans.
    pub fn new(keeper: Arc<dyn RowKeeper>) -> Self {
        Self {
            cache: Arc::new(PlanCache::new(keeper)),
            global_views: RwLock::default(),
        }
    }
}
