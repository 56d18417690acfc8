//! Which cached DataFrames have all their rows kept.

use std::collections::HashSet;
use std::sync::Arc;

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

/// Block ids of cached DataFrames whose every partition has been kept. Others are filled by the
/// next job that reads them, and by one at a time.
#[derive(Default)]
pub(crate) struct FilledCaches {
    filled: Mutex<HashSet<i64>>,
    filling: DashMap<i64, Arc<tokio::sync::Mutex<()>>>,
}

impl FilledCaches {
    pub fn contains(&self, id: i64) -> bool {
        self.filled.lock().contains(&id)
    }

    pub fn insert(&self, id: i64) {
        self.filled.lock().insert(id);
    }

    /// The right to fill the blocks, once nobody else does.
    pub async fn lock(&self, id: i64) -> OwnedMutexGuard<()> {
        let lock = Arc::clone(self.filling.entry(id).or_default().value());
        lock.lock_owned().await
    }

    /// The blocks have been removed.
    pub fn forget(&self, id: i64) {
        self.filled.lock().remove(&id);
        self.filling.remove(&id);
    }

    /// Blocks are gone, and nobody knows whose.
    pub fn forget_all(&self) {
        self.filled.lock().clear();
    }
}
