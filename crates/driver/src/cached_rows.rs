//! Where the rows of cached DataFrames are kept: with those of persisted RDDs.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::common::Result;
use datafusion::physical_plan::ExecutionPlan;
use pyrite_plan::RowKeeper;
use pyrite_proto::connect;
use pyrite_proto::core::StorageLevel;
use pyrite_rdd::{InMemoryTableScanExec, blocks_of};
use pyrite_runtime::Runtime;

use crate::settled::settled;

/// Keeps rows as blocks of the runtime's processes.
pub struct Blocks {
    /// Runs what is kept.
    pub runtime: Arc<dyn Runtime>,
}

#[async_trait]
impl RowKeeper for Blocks {
    fn keep(
        &self,
        number: i64,
        level: &connect::StorageLevel,
        rows: Arc<dyn ExecutionPlan>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let level = StorageLevel {
            use_disk: level.use_disk,
            use_memory: level.use_memory,
            use_off_heap: level.use_off_heap,
            deserialized: level.deserialized,
            replication: level.replication,
        };
        let rows = settled(rows, self.runtime.as_ref())?;
        Ok(Arc::new(InMemoryTableScanExec::new(rows, number, level)))
    }

    fn unkept(&self, rows: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = settled(rows, self.runtime.as_ref())?;
        Ok(Arc::new(InMemoryTableScanExec::unkept(rows)))
    }

    async fn remove(&self, number: i64) {
        self.runtime.remove_rdd(blocks_of(number)).await;
    }
}
