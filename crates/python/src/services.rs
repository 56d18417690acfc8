//! What operators need from the process that they run in.
//!
//! A runtime puts one [`TaskServices`] into the `SessionConfig` of every task it runs
//! (`SessionConfig::with_extension`); operators take it out of their `TaskContext`.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::common::DataFusionError;
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use pyrite_proto::core::{SharedFile, StorageLevel};

use crate::PythonWorkerPool;

/// The services of one driver (local mode) or one executor.
pub struct TaskServices {
    /// Id of the application.
    pub app_id: String,
    /// `driver` in local mode, else the executor's number.
    pub executor_id: String,
    /// Python workers of this process.
    pub python_workers: Arc<PythonWorkerPool>,
    /// Files that the driver holds.
    pub files: Arc<dyn DriverFiles>,
    /// Persisted partitions of RDDs.
    pub blocks: Arc<dyn BlockStore>,
    /// Where tasks report what the driver has to know.
    pub reports: Arc<dyn TaskReports>,
    /// Directory for spills and temporary files of this process.
    pub local_dir: PathBuf,
}

impl TaskServices {
    /// Takes the services out of a task's context.
    ///
    /// # Errors
    /// When the process did not install them, which is a fault of ours.
    pub fn of(context: &TaskContext) -> Result<Arc<Self>> {
        context
            .session_config()
            .get_extension::<Self>()
            .ok_or_else(|| DataFusionError::Internal("TaskServices are not installed".into()))
    }
}

/// Files below the driver's local directory: `broadcast/<id>`, `parallel/<name>`, `files/<name>`.
#[async_trait]
pub trait DriverFiles: Send + Sync {
    /// Reads a range of a file; `length` 0 reads to the end.
    async fn read(&self, path: &str, offset: u64, length: u64) -> Result<Bytes>;

    /// Makes broadcast `id` available as a local file and returns its path. Fetches it at
    /// most once for this process, however many tasks ask at the same time.
    async fn broadcast(&self, id: i64) -> Result<PathBuf>;

    /// Brings the files root of this process up to date with `files` and returns the
    /// directory (`SparkFiles.getRootDirectory()` on workers).
    async fn sync_files(&self, files: &[SharedFile]) -> Result<PathBuf>;
}

/// Identity of a persisted partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockId {
    /// Id of the RDD.
    pub rdd_id: i64,
    /// Partition of the RDD.
    pub partition: usize,
}

/// Persisted partitions, in memory with spill to disk.
#[async_trait]
pub trait BlockStore: Send + Sync {
    /// Opens a block that this process holds.
    async fn get(&self, id: BlockId) -> Result<Option<SendableRecordBatchStream>>;

    /// Starts writing a block.
    async fn put(&self, id: BlockId, level: StorageLevel) -> Result<Box<dyn BlockWriter>>;

    /// Drops every block of an RDD.
    async fn remove_rdd(&self, rdd_id: i64) -> Result<()>;
}

/// A block being written; dropped without [`BlockWriter::finish`], it leaves nothing.
#[async_trait]
pub trait BlockWriter: Send {
    /// Appends a batch.
    async fn write(&mut self, batch: &RecordBatch) -> Result<()>;

    /// Makes the block visible to [`BlockStore::get`].
    async fn finish(self: Box<Self>) -> Result<()>;
}

/// What a finished Python task tells the driver.
#[derive(Debug, Clone)]
pub struct PythonTaskReport {
    /// Job that the task belongs to.
    pub job_id: i64,
    /// The operator within the job; updates count once for each (job, operator, partition).
    pub operator_id: i64,
    /// Partition that the task computed.
    pub partition: usize,
    /// Pickled `(accumulator id, value)` pairs.
    pub accumulator_updates: Vec<Bytes>,
}

/// The way from tasks to the driver.
#[async_trait]
pub trait TaskReports: Send + Sync {
    /// Delivers a report; returns once the driver has it.
    async fn python_task(&self, report: PythonTaskReport) -> Result<()>;
}

/// Numbers that the partitions of a task have in the whole data set.
///
/// Ballista gives a task a slice of a stage's partitions and numbers them from 0 again, so
/// `ExecutionPlan::execute(p, ..)` gets a local number there. The cluster runtime puts this
/// extension into the task's context wherever the two numbers can differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskPartitions(pub Vec<usize>);

/// The number of the task in whose course partitions are computed, where it is not a partition's
/// own: below a coalesce or a cartesian product one task computes several partitions.
///
/// As an extension of a task's context; there, none stands for partitions with tasks of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskNumber(pub Option<usize>);

impl TaskNumber {
    /// What a context says.
    pub fn of(context: &TaskContext) -> Self {
        let extension = context.session_config().get_extension::<Self>();
        extension.map_or(Self(None), |number| *number)
    }
}

/// The number that local partition `partition` has in the whole data set: what user code,
/// output file names, persisted blocks and task reports must be given.
pub fn global_partition(context: &TaskContext, partition: usize) -> usize {
    context
        .session_config()
        .get_extension::<TaskPartitions>()
        .and_then(|partitions| partitions.0.get(partition).copied())
        .unwrap_or(partition)
}
