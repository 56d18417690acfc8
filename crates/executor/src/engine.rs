//! Ballista's executor, put together from its parts so that it ends when its driver does, asks
//! for the application's secret and keeps errors as values.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arrow_flight::flight_service_server::FlightServiceServer;
use async_trait::async_trait;
use ballista_core::client_pool::BallistaClientPool;
use ballista_core::extension::SessionConfigExt;
use ballista_core::serde::protobuf::executor_grpc_server::ExecutorGrpcServer;
use ballista_core::serde::protobuf::{ExecutorRegistration, ShuffleWritePartition};
use ballista_core::serde::scheduler::{
    ExecutorOperatingSystemSpecification, ExecutorSpecification,
};
use ballista_core::serde::{BallistaCodec, BallistaLogicalExtensionCodec, protobuf};
use ballista_core::{BALLISTA_PROTOCOL_VERSION, ConfigProducer, JobId, RuntimeProducer};
use ballista_executor::execution_engine::{
    DefaultExecutionEngine, ExecutionEngine, QueryStageExecutor,
};
use ballista_executor::executor::Executor;
use ballista_executor::flight_service::BallistaFlightService;
use ballista_executor::metrics::ExecutorMetricsCollector;
use datafusion::common::Result;
use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::prelude::SessionConfig;
use pyrite_python::TaskServices;
use pyrite_runtime::cluster::connections::Connections;
use pyrite_runtime::cluster::map_output::ShuffleAccess;
use pyrite_runtime::cluster::map_outputs::map_stage_of;
use pyrite_runtime::cluster::network::{self, Secret};
use pyrite_runtime::error::seal;
use pyrite_runtime::session::{self, MAX_MESSAGE_BYTES};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::service::interceptor::InterceptedService;

use crate::shuffle_files::ShuffleFiles;
use crate::task_server::{SchedulerClient, TaskRunner, TaskServer};
use crate::{ExecutorError, ExecutorOptions};

/// A running Ballista executor. Dropping it ends its servers and tasks.
pub(crate) struct Engine {
    /// Servers and loops; none of them ends by itself while all is well.
    services: JoinSet<String>,
    given_up: mpsc::Receiver<String>,
    /// Threads that run tasks; `None` once stopped.
    threads: Option<Runtime>,
    shuffle_files: Arc<ShuffleFiles>,
}

impl Engine {
    /// Starts the servers and registers with the driver's scheduler.
    pub async fn start(
        options: &ExecutorOptions,
        secret: &Secret,
        services: Arc<TaskServices>,
        runtime_env: Arc<RuntimeEnv>,
        local_dir: &Path,
    ) -> Result<Self, ExecutorError> {
        let failed = |error: &dyn fmt::Display| ExecutorError::Engine(error.to_string());
        let shuffle_dir = local_dir.join("shuffle");
        std::fs::create_dir_all(&shuffle_dir).map_err(|error| failed(&error))?;
        let shuffle_dir = shuffle_dir.to_string_lossy().into_owned();

        // Shuffle data has the port that can be fixed; tasks come in on another.
        let (shuffle, shuffle_address) =
            network::listen(&options.bind_address, options.port).map_err(|error| failed(&error))?;
        let (tasks, tasks_address) =
            network::listen(&options.bind_address, 0).map_err(|error| failed(&error))?;
        let metadata = registration(options, shuffle_address.port(), tasks_address.port());
        let threads = task_threads(options.cores).map_err(|error| failed(&error))?;
        let shuffle_files = Arc::new(ShuffleFiles::new(&shuffle_dir));
        let connections: Arc<dyn BallistaClientPool> = Arc::new(Connections::default());
        let stages: Arc<dyn ExecutionEngine> = Arc::new(StageEngine {
            inner: DefaultExecutionEngine::with_client_pool(connections.clone()),
            shuffle_files: shuffle_files.clone(),
        });
        let config = session::cluster_config(options.cores)
            .with_ballista_override_create_grpc_client_endpoint(secret.override_fn())
            .with_extension(services)
            .with_extension(Arc::new(ShuffleAccess {
                work_dir: shuffle_dir.clone(),
                connections,
            }));
        let executor = executor(
            metadata,
            config,
            runtime_env,
            &shuffle_dir,
            stages.clone(),
            options.cores,
        );
        let runner = Arc::new(TaskRunner {
            executor: Arc::new(executor),
            engine: stages,
            codec: BallistaCodec::new(
                Arc::new(BallistaLogicalExtensionCodec::default()),
                pyrite_runtime::physical_codec(),
            ),
            scheduler: scheduler_client(options, secret).map_err(|error| failed(&error))?,
            shuffle_files: shuffle_files.clone(),
            threads: threads.handle().clone(),
        });
        let (give_up, given_up) = mpsc::channel(1);
        let (task_server, reporter) = TaskServer::new(runner.clone(), give_up);

        let flight = FlightServiceServer::new(BallistaFlightService::new(shuffle_dir))
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let flight = network::server()
            .add_service(InterceptedService::new(flight, secret.clone()))
            .serve_with_incoming(shuffle);
        let task_service = ExecutorGrpcServer::new(task_server)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let task_service = network::server()
            .add_service(InterceptedService::new(task_service, secret.clone()))
            .serve_with_incoming(tasks);

        let mut services = JoinSet::new();
        services.spawn(async move { format!("the shuffle server ended: {:?}", flight.await) });
        services.spawn(async move { format!("the task server ended: {:?}", task_service.await) });
        services.spawn(async move {
            reporter.await;
            "nothing reports the outcome of tasks".to_owned()
        });
        let engine = Self {
            services,
            given_up,
            threads: Some(threads),
            shuffle_files,
        };
        runner
            .register()
            .await
            .map_err(|error| ExecutorError::Driver {
                address: options.driver_address.clone(),
                reason: error.to_string(),
            })?;
        Ok(engine.with_heartbeats(runner))
    }

    fn with_heartbeats(mut self, runner: Arc<TaskRunner>) -> Self {
        self.services.spawn(async move {
            runner.keep_alive().await;
            "the scheduler does not answer".to_owned()
        });
        self
    }

    /// What stages have written here.
    pub fn shuffle_files(&self) -> &Arc<ShuffleFiles> {
        &self.shuffle_files
    }

    /// Ends when the engine does by itself, which it should not.
    pub async fn failure(&mut self) -> String {
        tokio::select! {
            Some(ended) = self.services.join_next() => match ended {
                Ok(reason) => reason,
                Err(error) => error.to_string(),
            },
            reason = self.given_up.recv() => format!(
                "the scheduler has given this executor up: {}",
                reason.unwrap_or_default()
            ),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            // Does not wait for tasks, which would block the thread that this runs on.
            threads.shutdown_background();
        }
    }
}

fn task_threads(cores: usize) -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.max(1))
        .thread_name("task")
        .enable_all()
        .build()
}

fn registration(
    options: &ExecutorOptions,
    shuffle_port: u16,
    task_port: u16,
) -> ExecutorRegistration {
    let cores = u32::try_from(options.cores).unwrap_or(u32::MAX);
    ExecutorRegistration {
        id: options.executor_id.clone(),
        host: Some(options.host.clone()),
        port: u32::from(shuffle_port),
        grpc_port: u32::from(task_port),
        specification: Some(ExecutorSpecification::default().with_vcores(cores).into()),
        os_info: Some(ExecutorOperatingSystemSpecification::default().into()),
        ballista_protocol_version: BALLISTA_PROTOCOL_VERSION,
    }
}

fn scheduler_client(
    options: &ExecutorOptions,
    secret: &Secret,
) -> std::result::Result<SchedulerClient, tonic::transport::Error> {
    Ok(
        SchedulerClient::new(secret.channel(&options.driver_address)?)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES),
    )
}

fn executor(
    metadata: ExecutorRegistration,
    config: SessionConfig,
    runtime_env: Arc<RuntimeEnv>,
    shuffle_dir: &str,
    stages: Arc<dyn ExecutionEngine>,
    cores: usize,
) -> Executor {
    let config_producer: ConfigProducer = Arc::new(move || config.clone());
    let runtime_producer: RuntimeProducer = Arc::new(move |_| Ok(runtime_env.clone()));
    Executor::new(
        metadata,
        shuffle_dir,
        runtime_producer,
        config_producer,
        Arc::new(pyrite_runtime::codec::function_registry()),
        Arc::new(NoStageRecords),
        cores,
        stages,
    )
}

/// Ballista would log each stage's plan with its numbers; the driver has them.
struct NoStageRecords;

impl ExecutorMetricsCollector for NoStageRecords {
    fn record_stage(&self, _: &JobId, _: usize, _: usize, _: Arc<dyn QueryStageExecutor>) {}
}

/// Ballista's engine for stages, with errors sealed on their way to the driver. What map stages
/// of RDDs write is kept.
struct StageEngine {
    inner: DefaultExecutionEngine,
    shuffle_files: Arc<ShuffleFiles>,
}

impl ExecutionEngine for StageEngine {
    fn create_query_stage_exec(
        &self,
        job_id: JobId,
        stage_id: usize,
        task_id: usize,
        partitions: Vec<usize>,
        plan: Arc<dyn ExecutionPlan>,
        work_dir: &str,
        config: &SessionConfig,
    ) -> Result<Arc<dyn QueryStageExecutor>> {
        if map_stage_of(&plan).is_some() {
            let stage = u32::try_from(stage_id).unwrap_or(u32::MAX);
            self.shuffle_files.keep(job_id.as_str(), stage);
        }
        let inner = self
            .inner
            .create_query_stage_exec(
                job_id, stage_id, task_id, partitions, plan, work_dir, config,
            )
            .map_err(seal)?;
        Ok(Arc::new(SealingStage { inner }))
    }
}

#[derive(Debug)]
struct SealingStage {
    inner: Arc<dyn QueryStageExecutor>,
}

impl fmt::Display for SealingStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl QueryStageExecutor for SealingStage {
    async fn execute_query_stage(
        &self,
        task_id: usize,
        context: Arc<TaskContext>,
    ) -> Result<Vec<ShuffleWritePartition>> {
        self.inner
            .execute_query_stage(task_id, context)
            .await
            .map_err(seal)
    }

    fn collect_plan_metrics(&self) -> Vec<MetricsSet> {
        self.inner.collect_plan_metrics()
    }

    fn collect_runtime_stats_reports(&self) -> Vec<protobuf::RuntimeStatsReport> {
        self.inner.collect_runtime_stats_reports()
    }

    fn collect_window_state_reports(&self) -> Result<Vec<protobuf::WindowStateReport>> {
        self.inner.collect_window_state_reports()
    }

    fn collect_column_stats(&self) -> Vec<protobuf::TaskColumnStats> {
        self.inner.collect_column_stats()
    }
}
