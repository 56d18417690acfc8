//! Plans on executors, through Ballista's scheduler in this process.
//!
//! [`ClusterRuntime::start`] opens one port for executors: Ballista's scheduler service and our
//! `exec.DriverService`. Both ask for the application's secret.
//!
//! - [`scheduler`]: how Ballista's scheduler is set up and spoken to
//! - [`executor_calls`], [`slots`]: what executors tell it, and which of their slots are taken
//! - [`service`]: files, reports and commands for executors
//! - [`job`]: one job from submission to its last row
//! - [`map_outputs`], [`map_output`]: what map stages wrote, for later jobs, and how it is read
//! - [`results`]: fetching rows from executors
//! - [`stages`]: what happens to a job's stages
//! - [`connections`]: kept connections to executors
//! - [`numbers`]: partition numbers for functions of DataFrames
//! - [`network`]: channels and listeners without Nagle's delay, and the secret on them

pub mod connections;
mod executor_calls;
mod job;
mod job_ids;
pub mod map_output;
pub mod map_outputs;
pub mod network;
pub(crate) mod numbers;
mod placement;
mod results;
mod scheduler;
mod service;
mod slots;
mod stages;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::SessionConfig;
use pyrite_proto::error::SparkError;
use pyrite_proto::exec;
use pyrite_proto::exec::executor_command::Command;
use pyrite_python::TaskReports;
use pyrite_python::TaskServices;
use tokio::sync::broadcast;

use self::network::Secret;
use self::scheduler::Scheduler;
use self::service::{Executors, Service};
use crate::api::{ExecutorInfo, JobRequest, JobStream, Runtime, StageEvent};
use crate::error::to_spark_error;
use crate::reports::OnceReports;
use crate::session;

/// What a [`ClusterRuntime`] is made of.
pub struct ClusterOptions {
    /// Id of the application.
    pub app_id: String,
    /// Address to listen on (`spark.driver.bindAddress`).
    pub bind_address: String,
    /// Host that executors are told (`spark.driver.host`).
    pub advertised_host: String,
    /// Port to listen on (`spark.driver.port`); 0 takes a free one.
    pub port: u16,
    /// What executors must know; `None` lets everyone in.
    pub app_secret: Option<String>,
    /// The application's directory, with `broadcast`, `parallel` and `files` in it.
    pub local_dir: PathBuf,
    /// Memory for planning in the driver, in bytes.
    pub memory_bytes: usize,
    /// `spark.default.parallelism`, when it is set.
    pub default_parallelism: Option<usize>,
    /// Attempts of a task before its job fails (`spark.task.maxFailures`).
    pub task_max_failures: usize,
    /// How long jobs wait for an executor after the last one was lost.
    pub no_executors_grace: Duration,
    /// Services for what runs in the driver itself, such as planning that reads RDDs.
    pub services: Option<Arc<TaskServices>>,
    /// Where reports of tasks go, each once.
    pub reports: Arc<dyn TaskReports>,
}

/// Runs plans on executors.
pub struct ClusterRuntime {
    address: SocketAddr,
    advertised_host: String,
    scheduler: Arc<Scheduler>,
    executors: Arc<Executors>,
    reports: Arc<OnceReports>,
    config: SessionConfig,
    runtime_env: Arc<RuntimeEnv>,
    default_parallelism: Option<usize>,
    listener: tokio::task::AbortHandle,
}

impl ClusterRuntime {
    /// Opens the port and starts the scheduler.
    ///
    /// # Errors
    /// When the port cannot be opened.
    pub async fn start(options: ClusterOptions) -> Result<Self, SparkError> {
        let secret = Secret::new(options.app_secret.as_deref());
        let reports = Arc::new(OnceReports::new(options.reports));
        let (listener, address) =
            network::listen(&options.bind_address, options.port).map_err(|error| {
                SparkError::other(format!(
                    "cannot listen on `{}:{}` for executors: {error}",
                    options.bind_address, options.port
                ))
            })?;
        let endpoint = format!("{}:{}", options.advertised_host, address.port());
        let config = session::cluster_config(options.default_parallelism.unwrap_or(2));
        let config = match &options.services {
            Some(services) => config.with_extension(services.clone()),
            None => config,
        };
        let scheduler = Arc::new(
            Scheduler::start(scheduler::Settings {
                app_id: options.app_id,
                endpoint,
                secret: secret.clone(),
                task_max_failures: options.task_max_failures,
                no_executors_grace: options.no_executors_grace,
                config: config.clone(),
            })
            .await?,
        );
        let executors = Arc::new(Executors::new(scheduler.clone()));
        let service = Service::new(
            options.local_dir.clone(),
            reports.clone(),
            executors.clone(),
        );
        let listener = network::serve(listener, &secret, scheduler.executor_calls(), service);
        Ok(Self {
            address,
            advertised_host: options.advertised_host,
            scheduler,
            executors,
            reports,
            config,
            runtime_env: session::runtime_env(options.memory_bytes, &options.local_dir)
                .map_err(to_spark_error)?,
            default_parallelism: options.default_parallelism,
            listener,
        })
    }

    /// Where executors find this driver: `host:port`.
    pub fn endpoint(&self) -> String {
        format!("{}:{}", self.advertised_host, self.address.port())
    }

    /// The master has granted an executor. It takes tasks once it has registered by itself.
    pub fn executor_added(&self, executor_id: &str) {
        tracing::info!(executor_id, "executor granted");
    }

    /// An executor is gone: what it ran and held is computed again elsewhere.
    pub async fn executor_lost(&self, executor_id: &str, reason: &str) {
        self.executors.lost(executor_id, reason).await;
    }
}

#[async_trait]
impl Runtime for ClusterRuntime {
    async fn run(&self, job: JobRequest) -> Result<JobStream, SparkError> {
        job::start(
            self.scheduler.clone(),
            self.executors.clone(),
            self.reports.clone(),
            job,
        )
        .await
    }

    fn session_config(&self) -> SessionConfig {
        self.config
            .clone()
            .with_target_partitions(self.default_parallelism())
    }

    fn runtime_env(&self) -> Arc<RuntimeEnv> {
        self.runtime_env.clone()
    }

    fn is_distributed(&self) -> bool {
        true
    }

    /// Cores of all executors and at least 2, as Spark's standalone scheduler has it.
    fn default_parallelism(&self) -> usize {
        self.default_parallelism.unwrap_or_else(|| {
            let cores: u32 = self.executors.infos().iter().map(|e| e.cores).sum();
            (cores as usize).max(2)
        })
    }

    async fn cancel(&self, job_id: i64) {
        self.scheduler.cancel(job_id).await;
    }

    async fn remove_rdd(&self, rdd_id: i64) {
        self.scheduler.filled().forget(rdd_id);
        let command = Command::RemoveRdd(exec::RemoveRdd { rdd_id });
        self.executors.broadcast(&command).await;
    }

    fn forget_exchanges(&self, rdd_ids: &[i64]) {
        self.scheduler.map_outputs().remove(rdd_ids);
    }

    async fn warm_python(&self) {
        self.executors.warm_python().await;
    }

    async fn remove_broadcast(&self, broadcast_id: i64) {
        let command = Command::RemoveBroadcast(exec::RemoveBroadcast { broadcast_id });
        self.executors.broadcast(&command).await;
    }

    fn executors(&self) -> Vec<ExecutorInfo> {
        self.executors.infos()
    }

    fn stage_events(&self) -> broadcast::Receiver<StageEvent> {
        self.scheduler.stage_events()
    }

    async fn shutdown(&self) {
        self.scheduler.cancel_all().await;
        self.executors
            .broadcast(&Command::Shutdown(exec::Shutdown {}))
            .await;
        self.executors.wait_until_gone(Duration::from_secs(2)).await;
        self.listener.abort();
    }
}

impl Drop for ClusterRuntime {
    fn drop(&mut self) {
        self.executors.disconnect();
        self.listener.abort();
    }
}
