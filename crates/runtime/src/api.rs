//! What the driver asks of a runtime.

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use futures::Stream;
use pyrite_proto::error::SparkError;
use tokio::sync::broadcast;

/// A plan to run.
#[derive(Debug, Clone)]
pub struct JobRequest {
    /// The driver's number for the job, unique in the application.
    pub job_id: i64,
    /// What logs and pages call the job.
    pub name: String,
    /// The plan; every output partition of it is computed.
    pub plan: Arc<dyn ExecutionPlan>,
}

/// What a running job produces. Partitions interleave; batches of one partition keep their order.
#[derive(Debug, Clone)]
pub enum JobEvent {
    /// Rows of an output partition.
    Batch {
        /// Output partition of the plan.
        partition: usize,
        /// The rows.
        batch: RecordBatch,
    },
    /// An output partition is complete.
    PartitionDone(usize),
}

/// Events of one job. Ends after the last `PartitionDone`, or with the first error.
/// Dropping it cancels the job.
pub type JobStream = Pin<Box<dyn Stream<Item = Result<JobEvent, SparkError>> + Send>>;

/// A process that runs tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutorInfo {
    /// `driver` in local mode, else the executor's number.
    pub executor_id: String,
    /// Host that it runs on.
    pub host: String,
    /// Task slots.
    pub cores: u32,
}

/// What happens to the stages of a job, for console output and pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StageEvent {
    /// A stage has started to run.
    Submitted {
        /// The driver's job.
        job_id: i64,
        /// Stage within the job.
        stage_id: usize,
        /// 0, and one more for every time that the stage had to start again.
        attempt: usize,
        /// Partitions that the stage computes.
        partitions: usize,
    },
    /// A stage is complete.
    Finished {
        /// The driver's job.
        job_id: i64,
        /// Stage within the job.
        stage_id: usize,
        /// Attempt that finished.
        attempt: usize,
        /// Partitions that the stage computed.
        partitions: usize,
        /// Tasks that computed them; a task may take several partitions.
        tasks: usize,
        /// Executors that ran those tasks.
        executors: Vec<String>,
    },
}

/// Runs physical plans: in this process ([`crate::LocalRuntime`]) or on executors
/// ([`crate::ClusterRuntime`]).
#[async_trait]
pub trait Runtime: Send + Sync {
    /// Starts a job. It goes on only as fast as the stream is read.
    ///
    /// # Errors
    /// When the job cannot start; failures later on arrive in the stream.
    async fn run(&self, job: JobRequest) -> Result<JobStream, SparkError>;

    /// Configuration to plan with: services installed, `target_partitions` set.
    fn session_config(&self) -> SessionConfig;

    /// Memory pool, disk manager and object stores to plan and run with.
    fn runtime_env(&self) -> Arc<RuntimeEnv>;

    /// Whether tasks of one job run in several processes and share no memory.
    fn is_distributed(&self) -> bool;

    /// Task slots of the application, at least 1; `spark.default.parallelism` unless set.
    fn default_parallelism(&self) -> usize;

    /// Ends a job; its stream yields an error. Does nothing when the job is not running.
    async fn cancel(&self, job_id: i64);

    /// Drops the persisted partitions of an RDD everywhere.
    async fn remove_rdd(&self, rdd_id: i64);

    /// Drops what map stages wrote for the exchanges that make these RDDs.
    fn forget_exchanges(&self, rdd_ids: &[i64]);

    /// Drops the executors' copies of a broadcast value.
    async fn remove_broadcast(&self, broadcast_id: i64);

    /// Lets Python workers import what functions of DataFrames need, in the background.
    async fn warm_python(&self);

    /// Processes that run tasks at this moment.
    fn executors(&self) -> Vec<ExecutorInfo>;

    /// Stage events from now on; a slow reader misses the oldest.
    fn stage_events(&self) -> broadcast::Receiver<StageEvent>;

    /// Ends every job and frees what the runtime holds.
    async fn shutdown(&self);
}
