//! Plans on DataFusion in the driver's own process.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use dashmap::DashMap;
use datafusion::arrow::array::RecordBatch;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::prelude::SessionConfig;
use futures::{StreamExt, TryStreamExt};
use pyrite_proto::error::SparkError;
use pyrite_python::{LocalAttempts, PythonWorkerPool, TaskReports, TaskServices};
use tokio::sync::{Semaphore, broadcast, mpsc, watch};
use tokio::task::JoinSet;

use crate::api::{ExecutorInfo, JobEvent, JobRequest, JobStream, Runtime, StageEvent};
use crate::blocks::MemoryDiskBlockStore;
use crate::error::to_spark_error;
use crate::files::LocalDriverFiles;
use crate::filled::FilledCaches;
use crate::reports::OnceReports;
use crate::session;

/// What a [`LocalRuntime`] is made of.
pub struct LocalOptions {
    /// Id of the application.
    pub app_id: String,
    /// Task slots: partitions computed at the same time.
    pub threads: usize,
    /// Attempts of a task before its job fails: `F` of `local[N,F]`, else 1.
    pub max_failures: usize,
    /// Memory that operators share before they spill, in bytes.
    pub memory_bytes: usize,
    /// Memory for persisted partitions, in bytes.
    pub block_memory_bytes: usize,
    /// The application's directory, with `broadcast`, `parallel`, `files` and `blocks` in it.
    pub local_dir: PathBuf,
    /// Python workers for tasks.
    pub python_workers: Arc<PythonWorkerPool>,
    /// Where reports of tasks go, each once.
    pub reports: Arc<dyn TaskReports>,
}

/// Runs plans with DataFusion in this process, a bounded number of partitions at a time.
pub struct LocalRuntime {
    threads: usize,
    max_failures: usize,
    slots: Arc<Semaphore>,
    services: Arc<TaskServices>,
    reports: Arc<OnceReports>,
    config: SessionConfig,
    runtime_env: Arc<RuntimeEnv>,
    jobs: Arc<DashMap<i64, watch::Sender<bool>>>,
    stages: broadcast::Sender<StageEvent>,
    filled: Arc<FilledCaches>,
}

impl LocalRuntime {
    /// Sets up slots, memory and services; starts nothing.
    ///
    /// # Errors
    /// When `local_dir` cannot be used.
    pub fn new(options: LocalOptions) -> Result<Self, SparkError> {
        let reports = Arc::new(OnceReports::new(options.reports));
        let services = Arc::new(TaskServices {
            app_id: options.app_id,
            executor_id: "driver".into(),
            python_workers: options.python_workers,
            files: Arc::new(LocalDriverFiles::new(&options.local_dir)),
            blocks: Arc::new(MemoryDiskBlockStore::new(
                options.local_dir.join("blocks"),
                options.block_memory_bytes,
            )),
            reports: reports.clone(),
            local_dir: options.local_dir.clone(),
        });
        let threads = options.threads.max(1);
        Ok(Self {
            threads,
            max_failures: options.max_failures.max(1),
            slots: Arc::new(Semaphore::new(threads)),
            config: session::local_config(threads, services.clone()),
            runtime_env: session::runtime_env(options.memory_bytes, &options.local_dir)
                .map_err(to_spark_error)?,
            services,
            reports,
            jobs: Arc::default(),
            stages: broadcast::channel(256).0,
            filled: Arc::default(),
        })
    }
}

#[async_trait]
impl Runtime for LocalRuntime {
    async fn run(&self, job: JobRequest) -> Result<JobStream, SparkError> {
        let plan = pyrite_rdd::prepare_local(job.plan)
            .and_then(|plan| pyrite_rdd::few_sorts_at_once(plan, self.threads))
            .map_err(to_spark_error)?;
        let partitions = plan.output_partitioning().partition_count();
        let (events, receiver) = mpsc::channel(2 * self.threads);
        let (cancel, cancelled) = watch::channel(false);
        self.jobs.insert(job.job_id, cancel);
        let attempts = LocalAttempts {
            job_id: job.job_id,
            max_failures: self.max_failures,
        };
        let context = Arc::new(
            TaskContext::default()
                .with_session_config(self.config.clone().with_extension(Arc::new(attempts)))
                .with_runtime(self.runtime_env.clone()),
        );
        let run = RunningJob {
            attempts,
            plan,
            partitions,
            context,
            slots: self.slots.clone(),
            events,
            filled: Arc::clone(&self.filled),
        };
        let ended = JobEnd {
            job_id: job.job_id,
            jobs: self.jobs.clone(),
            reports: self.reports.clone(),
        };
        let stages = self.stages.clone();
        let task = tokio::spawn(async move {
            let _ended = ended;
            // Nobody has to listen.
            let _ = stages.send(StageEvent::Submitted {
                job_id: job.job_id,
                stage_id: 0,
                attempt: 0,
                partitions,
            });
            if run.drive(cancelled).await {
                let _ = stages.send(StageEvent::Finished {
                    job_id: job.job_id,
                    stage_id: 0,
                    attempt: 0,
                    partitions,
                    tasks: partitions,
                    executors: vec!["driver".into()],
                });
            }
        });
        Ok(event_stream(receiver, task.abort_handle()))
    }

    fn session_config(&self) -> SessionConfig {
        self.config.clone()
    }

    fn runtime_env(&self) -> Arc<RuntimeEnv> {
        self.runtime_env.clone()
    }

    fn is_distributed(&self) -> bool {
        false
    }

    fn default_parallelism(&self) -> usize {
        self.threads
    }

    async fn cancel(&self, job_id: i64) {
        if let Some(job) = self.jobs.get(&job_id) {
            job.send_replace(true);
        }
    }

    async fn remove_rdd(&self, rdd_id: i64) {
        self.filled.forget(rdd_id);
        if let Err(error) = self.services.blocks.remove_rdd(rdd_id).await {
            tracing::warn!(rdd_id, %error, "could not remove persisted partitions");
        }
    }

    fn forget_exchanges(&self, rdd_ids: &[i64]) {
        pyrite_rdd::operators::forget_exchanges(&self.services, rdd_ids);
    }

    async fn warm_python(&self) {
        self.services.python_workers.warm(self.threads.min(4));
    }

    async fn remove_broadcast(&self, _broadcast_id: i64) {
        // Tasks read the driver's own file; there are no copies.
    }

    fn executors(&self) -> Vec<ExecutorInfo> {
        vec![ExecutorInfo {
            executor_id: "driver".into(),
            host: "localhost".into(),
            cores: u32::try_from(self.threads).unwrap_or(u32::MAX),
        }]
    }

    fn stage_events(&self) -> broadcast::Receiver<StageEvent> {
        self.stages.subscribe()
    }

    async fn shutdown(&self) {
        for job in self.jobs.iter() {
            job.send_replace(true);
        }
        self.slots.close();
    }
}

type Event = Result<JobEvent, SparkError>;

/// Ends a job's task together with its stream.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) fn event_stream(
    receiver: mpsc::Receiver<Event>,
    task: tokio::task::AbortHandle,
) -> JobStream {
    let state = (receiver, AbortOnDrop(task));
    Box::pin(futures::stream::unfold(
        state,
        |(mut receiver, task)| async move {
            receiver.recv().await.map(|event| (event, (receiver, task)))
        },
    ))
}

/// Takes a job off the books, however it ended.
struct JobEnd {
    job_id: i64,
    jobs: Arc<DashMap<i64, watch::Sender<bool>>>,
    reports: Arc<OnceReports>,
}

impl Drop for JobEnd {
    fn drop(&mut self) {
        self.jobs.remove(&self.job_id);
        self.reports.forget_job(self.job_id);
    }
}

struct RunningJob {
    attempts: LocalAttempts,
    plan: Arc<dyn ExecutionPlan>,
    partitions: usize,
    context: Arc<TaskContext>,
    slots: Arc<Semaphore>,
    events: mpsc::Sender<Event>,
    filled: Arc<FilledCaches>,
}

impl RunningJob {
    /// Computes every partition. Returns whether all of them are complete.
    async fn drive(self, mut cancelled: watch::Receiver<bool>) -> bool {
        let events = self.events.clone();
        let result = tokio::select! {
            result = self.compute() => result,
            _ = cancelled.wait_for(|cancelled| *cancelled) => Err(cancelled_error()),
        };
        match result {
            Ok(()) => true,
            Err(error) => {
                // The reader may have gone, which is what ended the job.
                let _ = events.send(Err(error)).await;
                false
            }
        }
    }

    async fn compute(&self) -> Result<(), SparkError> {
        self.fill_caches().await?;
        pyrite_rdd::run_shuffles(&self.plan, &self.context)
            .await
            .map_err(to_spark_error)?;
        // Dropping the set, on the first error or on cancellation, ends the other tasks.
        let mut tasks = JoinSet::new();
        let repeatable = is_repeatable(&self.plan);
        for partition in 0..self.partitions {
            let slot = tokio::select! {
                slot = self.slots.clone().acquire_owned() => {
                    slot.map_err(|_| cancelled_error())?
                }
                Some(done) = tasks.join_next() => {
                    task_result(done)?;
                    self.slots.clone().acquire_owned().await.map_err(|_| cancelled_error())?
                }
            };
            let plan = self.plan.clone();
            let context = self.context.clone();
            let events = self.events.clone();
            let attempts = LocalAttempts {
                max_failures: if repeatable {
                    self.attempts.max_failures
                } else {
                    1
                },
                ..self.attempts
            };
            tasks.spawn(async move {
                let _slot = slot;
                compute_partition(plan, partition, attempts, context, events).await
            });
        }
        while let Some(done) = tasks.join_next().await {
            task_result(done)?;
        }
        Ok(())
    }
}

impl RunningJob {
    /// Keeps all rows of cached DataFrames in the plan that are computed from an exchange and
    /// are not kept yet, the innermost first.
    async fn fill_caches(&self) -> Result<(), SparkError> {
        let missing = || pyrite_rdd::filling(&self.plan, &|id, _| !self.filled.contains(id));
        while let Some((id, filling)) = missing().map_err(to_spark_error)? {
            let _only_filler = self.filled.lock(id).await;
            if !self.filled.contains(id) {
                self.drain(filling).await?;
                self.filled.insert(id);
            }
        }
        Ok(())
    }

    /// Computes every partition of a plan for what it does besides.
    async fn drain(&self, plan: Arc<dyn ExecutionPlan>) -> Result<(), SparkError> {
        // A copy: an exchange gives each partition away once, and what gets lost is computed
        // again from the job's own plan.
        let plan = reset_plan_states(plan).map_err(to_spark_error)?;
        let mut tasks = JoinSet::new();
        for partition in 0..plan.output_partitioning().partition_count() {
            let (plan, context) = (Arc::clone(&plan), Arc::clone(&self.context));
            let slots = Arc::clone(&self.slots);
            let attempts = LocalAttempts {
                max_failures: 1,
                ..self.attempts
            };
            tasks.spawn(async move {
                let closed = |_| DataFusionError::External(Box::new(cancelled_error()));
                let _slot = slots.acquire_owned().await.map_err(closed)?;
                let drain = |context| {
                    let batches = plan.execute(partition, context);
                    async move {
                        let mut batches = batches?;
                        while batches.next().await.transpose()?.is_some() {}
                        Ok(())
                    }
                };
                attempts.run(partition, &context, drain).await
            });
        }
        while let Some(done) = tasks.join_next().await {
            task_result(done)?;
        }
        Ok(())
    }
}

/// Whether a partition of a plan can be computed a second time. The exchanges of DataFrames give
/// each partition away once.
fn is_repeatable(plan: &Arc<dyn ExecutionPlan>) -> bool {
    !plan.is::<RepartitionExec>() && plan.children().into_iter().all(is_repeatable)
}

async fn compute_partition(
    plan: Arc<dyn ExecutionPlan>,
    partition: usize,
    attempts: LocalAttempts,
    context: Arc<TaskContext>,
    events: mpsc::Sender<Event>,
) -> Result<()> {
    let open = |context| plan.execute(partition, context);
    if attempts.max_failures > 1 {
        // What a failed attempt has sent could not be taken back.
        let collect = |context| {
            let batches = open(context);
            async move { batches?.try_collect::<Vec<_>>().await }
        };
        for batch in attempts.run(partition, &context, collect).await? {
            send_batch(&events, partition, batch).await?;
        }
    } else {
        let stream = |context| {
            let (batches, events) = (open(context), &events);
            async move {
                let mut batches = batches?;
                while let Some(batch) = batches.next().await.transpose()? {
                    send_batch(events, partition, batch).await?;
                }
                Ok(())
            }
        };
        attempts.run(partition, &context, stream).await?;
    }
    send(&events, JobEvent::PartitionDone(partition)).await
}

async fn send_batch(
    events: &mpsc::Sender<Event>,
    partition: usize,
    batch: RecordBatch,
) -> Result<()> {
    if batch.num_rows() == 0 {
        return Ok(());
    }
    send(events, JobEvent::Batch { partition, batch }).await
}

async fn send(events: &mpsc::Sender<Event>, event: JobEvent) -> Result<()> {
    let gone = |_| DataFusionError::External(Box::new(cancelled_error()));
    events.send(Ok(event)).await.map_err(gone)
}

fn task_result(done: Result<Result<()>, tokio::task::JoinError>) -> Result<(), SparkError> {
    match done {
        Ok(result) => result.map_err(to_spark_error),
        Err(error) => Err(SparkError::other(format!(
            "a task ended unexpectedly: {error}"
        ))),
    }
}

/// The error of a job that was cancelled.
pub(crate) fn cancelled_error() -> SparkError {
    SparkError::other("Job was cancelled")
}
