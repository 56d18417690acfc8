//! Ballista's scheduler in the driver's process.
//!
//! Push scheduling: tasks go to executors as soon as there is room, and results of a stage wake
//! the next one, so nothing polls. The static planner cuts a physical plan into stages at
//! exchanges and changes nothing else in plans of RDDs.

use std::sync::Arc;
use std::time::Duration;

use ballista_core::JobId;
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::extension::SessionConfigExt;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpc;
use ballista_core::serde::protobuf::{ExecutorStoppedParams, JobStatus};
use ballista_core::serde::{BallistaCodec, BallistaLogicalExtensionCodec};
use ballista_scheduler::cluster::{BallistaCluster, JobState};
use ballista_scheduler::config::{SchedulerConfig, TaskDistributionPolicy, WorkAvailableReason};
use ballista_scheduler::metrics::default_metrics_collector;
use ballista_scheduler::scheduler_server::SchedulerServer;
use dashmap::DashMap;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use pyrite_proto::error::SparkError;
use tokio::sync::{broadcast, mpsc, watch};

use super::executor_calls::ExecutorCalls;
use super::job_ids::{self, JobIds};
use super::map_outputs::{JobData, MapOutput, MapOutputs, outputs_of};
use super::network::Secret;
use super::placement::Placement;
use super::results::Fetcher;
use super::slots::{Launcher, Slots};
use super::stages::StageTracker;
use crate::api::StageEvent;
use crate::error::from_ballista;
use crate::filled::FilledCaches;
use crate::session::MAX_MESSAGE_BYTES;

/// Ballista's scheduler for our kinds of plans.
pub(super) type Server = SchedulerServer<LogicalPlanNode, PhysicalPlanNode>;

/// Seconds without a heartbeat after which an executor is given up. The end of its process is
/// noticed at once, by its connection; this is for machines that vanish.
const EXECUTOR_TIMEOUT_SECONDS: u64 = 30;

pub(super) struct Settings {
    pub app_id: String,
    /// Where executors reach the scheduler.
    pub endpoint: String,
    pub secret: Secret,
    pub task_max_failures: usize,
    pub no_executors_grace: Duration,
    pub config: SessionConfig,
}

pub(super) struct Scheduler {
    server: Server,
    slots: Arc<Slots>,
    context: Arc<SessionContext>,
    job_state: Arc<dyn JobState>,
    stages: Arc<StageTracker>,
    placement: Arc<Placement>,
    fetcher: Fetcher,
    map_outputs: MapOutputs,
    filled: FilledCaches,
    running: DashMap<i64, watch::Sender<bool>>,
}

impl Scheduler {
    pub async fn start(settings: Settings) -> Result<Self, SparkError> {
        // Our plans carry the override for the clients that fetch shuffle data as well.
        let config = settings
            .config
            .with_ballista_override_create_grpc_client_endpoint(settings.secret.override_fn());
        let (wake, woken) = mpsc::channel(256);
        let placement = Arc::new(Placement::default());
        let mut scheduler_config = scheduler_config(
            &settings.app_id,
            &settings.endpoint,
            &settings.secret,
            settings.task_max_failures,
            settings.no_executors_grace,
            config.clone(),
            wake,
        )?;
        scheduler_config.task_distribution = TaskDistributionPolicy::Custom(placement.clone());
        let scheduler_config = Arc::new(scheduler_config);
        let slots = Slots::new();
        let job_state = BallistaCluster::new_from_config(&scheduler_config)
            .await
            .map_err(|error| from_ballista(&error))?
            .job_state();
        let launcher = Launcher {
            endpoint: settings.endpoint.clone(),
            slots: slots.clone(),
        };
        let mut server: Server = SchedulerServer::new_with_task_launcher(
            settings.endpoint.clone(),
            BallistaCluster::new(slots.clone(), job_state.clone()),
            BallistaCodec::new(
                Arc::new(BallistaLogicalExtensionCodec::default()),
                crate::physical_codec(),
            ),
            scheduler_config,
            default_metrics_collector().map_err(|error| from_ballista(&error))?,
            Arc::new(launcher),
        );
        server.init().await.map_err(|error| from_ballista(&error))?;
        let stages = Arc::new(StageTracker::default());
        tokio::spawn(watch_stages(server.clone(), stages.clone(), woken));
        Ok(Self {
            server,
            slots,
            fetcher: Fetcher::new(&config, &settings.secret),
            context: Arc::new(SessionContext::new_with_config(config)),
            job_state,
            stages,
            placement,
            map_outputs: MapOutputs::default(),
            filled: FilledCaches::default(),
            running: DashMap::new(),
        })
    }

    /// What executors may call.
    pub fn executor_calls(&self) -> ExecutorCalls {
        ExecutorCalls {
            server: self.server.clone(),
            slots: self.slots.clone(),
        }
    }

    pub fn fetcher(&self) -> &Fetcher {
        &self.fetcher
    }

    /// What map stages of earlier jobs wrote.
    pub fn map_outputs(&self) -> &MapOutputs {
        &self.map_outputs
    }

    /// Claims that tasks for all partitions of a persisted RDD or cached DataFrame have been
    /// placed on executors that are still there.
    pub fn has_placed(&self, rdd_id: i64, partitions: usize) -> bool {
        self.placement.has_placed(rdd_id, partitions)
    }

    /// Cached DataFrames whose rows executors keep.
    pub fn filled(&self) -> &FilledCaches {
        &self.filled
    }

    pub fn stage_events(&self) -> broadcast::Receiver<StageEvent> {
        self.stages.subscribe()
    }

    /// Hands a plan to Ballista; its state arrives in `status`.
    pub async fn submit(
        &self,
        job_id: i64,
        name: &str,
        plan: Arc<dyn ExecutionPlan>,
        status: mpsc::Sender<JobStatus>,
    ) -> Result<JobId, SparkError> {
        let submission =
            self.server
                .submit_physical_plan(name, self.context.clone(), plan, Some(status));
        job_ids::naming(job_id, submission)
            .await
            .map_err(|error| from_ballista(&error))
    }

    /// Tells listeners how the stages of a job ended. Outputs of map stages are kept for later
    /// jobs with `data`, if there is any.
    pub async fn job_ended(&self, job: &JobId, data: Option<&Arc<JobData>>) {
        match self.job_state.get_execution_graph(job).await {
            Ok(Some(graph)) => {
                self.stages.observe(job.as_str(), graph.stages());
                if let Some(data) = data {
                    for (rdd_id, partitions) in outputs_of(graph.stages()) {
                        let output = MapOutput::new(partitions, Arc::clone(data));
                        self.map_outputs.keep(rdd_id, Arc::new(output));
                    }
                }
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "a finished job has no stages"),
        }
        self.stages.forget(job.as_str());
    }

    /// Ends a job that is running, and deletes its data on executors.
    pub async fn abandon(&self, job: JobId) {
        self.stages.forget(job.as_str());
        if let Err(error) = self.server.cancel_job(job).await {
            tracing::warn!(%error, "could not cancel a job");
        }
    }

    /// Deletes what executors hold of a job whose results have been read.
    pub fn clean_up(&self, job: JobId) {
        self.server.state.executor_manager.clean_up_job_data(job);
    }

    /// Puts a job on the books; the receiver turns true when it is cancelled.
    pub fn running(&self, job_id: i64) -> watch::Receiver<bool> {
        let (cancel, cancelled) = watch::channel(false);
        self.running.insert(job_id, cancel);
        cancelled
    }

    pub fn no_longer_running(&self, job_id: i64) {
        self.running.remove(&job_id);
    }

    pub async fn cancel(&self, job_id: i64) {
        if let Some(job) = self.running.get(&job_id) {
            job.send_replace(true);
        }
    }

    pub async fn cancel_all(&self) {
        for job in &self.running {
            job.send_replace(true);
        }
    }

    /// Takes an executor out and starts what it ran and held again.
    pub async fn executor_lost(&self, executor_id: &str, reason: &str) {
        self.placement.forget_executor(executor_id);
        self.map_outputs.forget_executor(executor_id);
        self.filled.forget_all();
        let stopped = ExecutorStoppedParams {
            executor_id: executor_id.to_owned(),
            reason: reason.to_owned(),
        };
        if let Err(status) = self
            .server
            .executor_stopped(tonic::Request::new(stopped))
            .await
        {
            tracing::warn!(executor_id, %status, "could not take a lost executor out");
        }
    }
}

fn scheduler_config(
    app_id: &str,
    endpoint: &str,
    secret: &Secret,
    task_max_failures: usize,
    no_executors_grace: Duration,
    config: SessionConfig,
    wake: mpsc::Sender<JobId>,
) -> Result<SchedulerConfig, SparkError> {
    let (host, port) = endpoint
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse().ok()?)))
        .ok_or_else(|| SparkError::other(format!("`{endpoint}` is not host:port")))?;
    let message_bytes = u32::try_from(MAX_MESSAGE_BYTES).expect("the limit fits into 32 bits");
    Ok(SchedulerConfig {
        scheduler_id: app_id.to_owned(),
        external_host: host.to_owned(),
        bind_port: port,
        scheduling_policy: TaskSchedulingPolicy::PushStaged,
        // Job data goes when its results have been read, not after a time.
        finished_job_data_clean_up_interval_seconds: 0,
        finished_job_state_clean_up_interval_seconds: 30,
        executor_termination_grace_period: 0,
        executor_timeout_seconds: EXECUTOR_TIMEOUT_SECONDS,
        expire_dead_executor_interval_seconds: 2,
        no_executors_grace_period_seconds: no_executors_grace.as_secs(),
        grpc_server_max_decoding_message_size: message_bytes,
        grpc_server_max_encoding_message_size: message_bytes,
        grpc_client_max_message_size: message_bytes,
        task_max_failures: task_max_failures.max(1),
        stage_max_failures: task_max_failures.max(4),
        override_physical_codec: Some(crate::physical_codec()),
        override_config_producer: Some(Arc::new(move || config.clone())),
        override_create_grpc_client_endpoint: Some(secret.override_fn()),
        on_work_available: Some(Arc::new(move |reason| {
            let (WorkAvailableReason::JobSubmitted { job_id }
            | WorkAvailableReason::NewStagesRunnable { job_id }) = reason;
            // A missed wake-up delays an event to the next one; the job's end reports all.
            let _ = wake.try_send(job_id);
        })),
        job_id_generator: Some(Arc::new(JobIds::default())),
        ..SchedulerConfig::default()
    })
}

async fn watch_stages(server: Server, stages: Arc<StageTracker>, mut woken: mpsc::Receiver<JobId>) {
    while let Some(job) = woken.recv().await {
        let running = server.state.task_manager.get_running_job_cache();
        if let Some(job_info) = running.get(&job) {
            let graph = job_info.execution_graph.read().await;
            stages.observe(job.as_str(), graph.stages());
        }
    }
}
