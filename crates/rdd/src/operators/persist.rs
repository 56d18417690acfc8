//! Partitions that are kept.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Weak};

use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use pyrite_proto::core::StorageLevel;
use pyrite_python::{BlockId, TaskServices, global_partition};

use super::{take_children, unknown_partitions};

/// Streams a persisted partition from the process's blocks; one that is missing is computed,
/// kept and then streamed.
///
/// The whole partition is kept before its first frame goes on, as in Spark: a job that takes
/// only a few elements still leaves the partition persisted, and several readers of one
/// partition in one process compute it once. A block that is gone again by the time it is
/// read (evicted, unpersisted) is computed once more, without keeping it.
#[derive(Debug)]
pub struct PersistExec {
    input: Arc<dyn ExecutionPlan>,
    rdd_id: i64,
    level: StorageLevel,
    properties: Arc<PlanProperties>,
}

impl PersistExec {
    /// Keeps the partitions of `input` as those of RDD `rdd_id`.
    pub fn new(input: Arc<dyn ExecutionPlan>, rdd_id: i64, level: StorageLevel) -> Self {
        let properties = unknown_partitions(
            input.schema(),
            input.output_partitioning().partition_count(),
        );
        Self {
            input,
            rdd_id,
            level,
            properties,
        }
    }

    /// The RDD whose partitions these are.
    pub fn rdd_id(&self) -> i64 {
        self.rdd_id
    }

    /// Where partitions are kept.
    pub fn level(&self) -> &StorageLevel {
        &self.level
    }
}

impl DisplayAs for PersistExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PersistExec: rdd_id={}", self.rdd_id)
    }
}

impl ExecutionPlan for PersistExec {
    common_methods!("PersistExec");

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = take_children(self.name(), children)?;
        Ok(Arc::new(Self::new(input, self.rdd_id, self.level)))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let task = PersistTask {
            services: TaskServices::of(&context)?,
            block: BlockId {
                rdd_id: self.rdd_id,
                partition: global_partition(&context, partition),
            },
            level: self.level,
            input: Arc::clone(&self.input),
            partition,
            context,
        };
        let batches = stream::once(task.open()).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            batches,
        )))
    }
}

struct PersistTask {
    services: Arc<TaskServices>,
    block: BlockId,
    level: StorageLevel,
    input: Arc<dyn ExecutionPlan>,
    partition: usize,
    context: Arc<TaskContext>,
}

impl PersistTask {
    async fn open(self) -> Result<SendableRecordBatchStream> {
        let blocks = &self.services.blocks;
        if let Some(stream) = blocks.get(self.block).await? {
            return Ok(stream);
        }
        let lock = block_lock(&self.services, self.block);
        let _computing = lock.lock().await;
        if let Some(stream) = blocks.get(self.block).await? {
            return Ok(stream);
        }
        let mut writer = blocks.put(self.block, self.level).await?;
        let mut computed = self.compute()?;
        while let Some(batch) = computed.next().await {
            writer.write(&batch?).await?;
        }
        writer.finish().await?;
        match blocks.get(self.block).await? {
            Some(stream) => Ok(stream),
            None => self.compute(),
        }
    }

    fn compute(&self) -> Result<SendableRecordBatchStream> {
        self.input
            .execute(self.partition, Arc::clone(&self.context))
    }
}

type BlockLocks = Mutex<HashMap<(usize, BlockId), Weak<tokio::sync::Mutex<()>>>>;

/// The lock under which a block is computed. A process may have several block stores (tests
/// do), so the store is part of the key.
fn block_lock(services: &TaskServices, block: BlockId) -> Arc<tokio::sync::Mutex<()>> {
    static LOCKS: LazyLock<BlockLocks> = LazyLock::new(Mutex::default);
    let store = Arc::as_ptr(&services.blocks).cast::<()>().addr();
    let mut locks = LOCKS.lock();
    locks.retain(|_, lock| lock.strong_count() > 0);
    if let Some(lock) = locks.get(&(store, block)).and_then(Weak::upgrade) {
        return lock;
    }
    let lock = Arc::new(tokio::sync::Mutex::new(()));
    locks.insert((store, block), Arc::downgrade(&lock));
    lock
}
