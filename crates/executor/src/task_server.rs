//! Takes tasks from the driver's scheduler, runs them and reports how they ended.
//!
//! This is the executor's side of Ballista's push scheduling. Ballista's own server for it asks
//! for no secret and lowers the priority of the threads that tasks run on, so only the parts
//! below it are used.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ballista_core::error::BallistaError;
use ballista_core::serde::BallistaCodec;
use ballista_core::serde::protobuf::executor_grpc_server::ExecutorGrpc;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{
    CancelTasksParams, CancelTasksResult, ExecutorRegistration, ExecutorStatus, FailedTask,
    HeartBeatParams, IoError, LaunchMultiTaskParams, LaunchMultiTaskResult, LaunchTaskParams,
    LaunchTaskResult, MultiTaskDefinition, RegisterExecutorParams, RemoveJobDataParams,
    RemoveJobDataResult, ShuffleWritePartition, StopExecutorParams, StopExecutorResult,
    SuccessfulTask, TaskStatus, UpdateTaskStatusParams, executor_status, failed_task, task_status,
};
use ballista_core::serde::scheduler::from_proto::get_task_definition_vec;
use ballista_core::serde::scheduler::{TaskDefinition, TaskKey};
use ballista_executor::execution_engine::{ExecutionEngine, QueryStageExecutor};
use ballista_executor::executor::Executor;
use datafusion::execution::TaskContext;
use pyrite_proto::attempt::FailedAttempt;
use pyrite_python::{AttemptNumber, TaskPartitions};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::shuffle_files::ShuffleFiles;

/// Client of the driver's scheduler.
pub(crate) type SchedulerClient = SchedulerGrpcClient<Channel>;

/// Time between signs of life to the scheduler.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Signs of life without an answer after which the scheduler counts as gone.
const MAX_MISSED_HEARTBEATS: u32 = 6;

/// Attempts to tell the scheduler how tasks ended.
const STATUS_ATTEMPTS: u32 = 5;

/// Outcomes that wait to be reported.
const STATUS_BUFFER: usize = 1024;

/// What the server and its tasks share.
pub(crate) struct TaskRunner {
    pub executor: Arc<Executor>,
    pub engine: Arc<dyn ExecutionEngine>,
    pub codec: BallistaCodec,
    pub scheduler: SchedulerClient,
    pub shuffle_files: Arc<ShuffleFiles>,
    /// Where tasks run, apart from the threads that answer the network.
    pub threads: Handle,
}

/// The service that the scheduler calls.
#[derive(Clone)]
pub(crate) struct TaskServer {
    runner: Arc<TaskRunner>,
    outcomes: mpsc::Sender<TaskStatus>,
    given_up: mpsc::Sender<String>,
}

impl TaskServer {
    /// Creates the service. `given_up` gets the reason when the scheduler wants no more of this
    /// executor. The returned future reports outcomes and must be driven.
    pub fn new(
        runner: Arc<TaskRunner>,
        given_up: mpsc::Sender<String>,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (outcomes, receiver) = mpsc::channel(STATUS_BUFFER);
        let reporter = report_outcomes(runner.clone(), receiver);
        let server = Self {
            runner,
            outcomes,
            given_up,
        };
        (server, reporter)
    }

    fn decode(&self, tasks: MultiTaskDefinition) -> Result<Vec<TaskDefinition>, BallistaError> {
        let executor = &self.runner.executor;
        let functions = &executor.function_registry;
        get_task_definition_vec(
            tasks,
            executor.runtime_producer.clone(),
            executor.produce_config(),
            functions.scalar_functions.clone(),
            functions.aggregate_functions.clone(),
            functions.window_functions.clone(),
            functions.higher_order_functions.clone(),
            self.runner.codec.clone(),
        )
    }

    fn start(&self, task: TaskDefinition) {
        let runner = self.runner.clone();
        let outcomes = self.outcomes.clone();
        runner.shuffle_files.task_started(task.job_id.as_str());
        self.runner.threads.spawn(async move {
            let outcome = runner.run(task).await;
            let job = outcome.job_id.clone();
            // The executor is ending when nobody takes it.
            let _ = outcomes.send(outcome).await;
            runner.shuffle_files.task_ended(&job).await;
        });
    }
}

impl TaskRunner {
    async fn run(&self, task: TaskDefinition) -> TaskStatus {
        let start_exec_time = now_millis();
        let mut status = TaskStatus {
            task_id: to_u32(task.task_id),
            job_id: task.job_id.as_str().to_owned(),
            stage_id: to_u32(task.stage_id),
            stage_attempt_num: to_u32(task.stage_attempt_num),
            launch_time: task.launch_time,
            start_exec_time,
            end_exec_time: start_exec_time,
            metrics: vec![],
            status: None,
        };
        let name = format!("{}/{}/{}", task.job_id, task.stage_id, task.task_id);
        tracing::debug!(task = name, partitions = ?task.global_output_partition_ids, "task started");
        let attempt = self.attempt(&task);
        let outcome = match self.execute(task).await {
            Ok((stage, partitions)) => {
                status.metrics = stage
                    .collect_plan_metrics()
                    .into_iter()
                    .map(TryInto::try_into)
                    .collect::<Result<_, _>>()
                    .unwrap_or_default();
                self.successful(stage.as_ref(), partitions)
            }
            Err(error) => Err(error),
        };
        status.end_exec_time = now_millis();
        let took_millis = status.end_exec_time.saturating_sub(start_exec_time);
        status.status = Some(match outcome {
            Ok(successful) => {
                tracing::debug!(task = name, took_millis, "task finished");
                task_status::Status::Successful(successful)
            }
            Err(error) => {
                let failed = failed_attempt(error, &attempt);
                tracing::info!(
                    task = name,
                    took_millis,
                    retryable = failed.retryable,
                    "task failed"
                );
                task_status::Status::Failed(failed)
            }
        });
        status
    }

    /// What to call this attempt if it fails.
    fn attempt(&self, task: &TaskDefinition) -> FailedAttempt {
        let metadata = &self.executor.metadata;
        FailedAttempt {
            // Plans are scheduled one partition a task.
            partition: task
                .global_output_partition_ids
                .first()
                .copied()
                .unwrap_or_default(),
            stage_attempt: task.stage_attempt_num,
            attempt: task.task_attempt_num,
            task_id: task.task_id,
            executor_id: metadata.id.clone(),
            host: metadata.host.clone().unwrap_or_default(),
        }
    }

    async fn execute(
        &self,
        task: TaskDefinition,
    ) -> Result<(Arc<dyn QueryStageExecutor>, Vec<ShuffleWritePartition>), BallistaError> {
        // A task numbers its partitions from 0; what they are in the stage tells apart the
        // reports of its Python functions. Operators of RDDs bring numbers of their own.
        let numbers = task.global_output_partition_ids.clone();
        let session_config = task
            .session_config
            .clone()
            .with_extension(Arc::new(TaskPartitions(numbers)))
            .with_extension(Arc::new(AttemptNumber(task.task_attempt_num)));
        let stage = self.engine.create_query_stage_exec(
            task.job_id.clone(),
            task.stage_id,
            task.task_id,
            task.global_output_partition_ids,
            task.plan,
            self.executor.work_dir(),
            &task.session_config,
        )?;
        let runtime_env = self.executor.produce_runtime(&task.session_config)?;
        let functions = task.function_registry;
        let context = TaskContext::new(
            Some(format!(
                "{}/{}/{}",
                task.job_id, task.stage_id, task.task_id
            )),
            task.session_id,
            session_config,
            functions.scalar_functions.clone(),
            functions.higher_order_functions.clone(),
            functions.aggregate_functions.clone(),
            functions.window_functions.clone(),
            runtime_env,
        );
        let key = TaskKey {
            job_id: task.job_id,
            stage_id: task.stage_id,
            task_id: task.task_id,
        };
        let partitions = self
            .executor
            .execute_query_stage(key, stage.clone(), Arc::new(context))
            .await?;
        Ok((stage, partitions))
    }

    fn successful(
        &self,
        stage: &dyn QueryStageExecutor,
        partitions: Vec<ShuffleWritePartition>,
    ) -> Result<SuccessfulTask, BallistaError> {
        Ok(SuccessfulTask {
            executor_id: self.executor.metadata.id.clone(),
            partitions,
            runtime_stats: stage.collect_runtime_stats_reports(),
            window_state: stage.collect_window_state_reports()?,
            task_column_stats: stage.collect_column_stats(),
        })
    }

    /// Makes the scheduler know this executor.
    pub async fn register(&self) -> Result<(), BallistaError> {
        let params = RegisterExecutorParams {
            metadata: Some(self.executor.metadata.clone()),
        };
        let reply = self.scheduler.clone().register_executor(params).await?;
        if reply.into_inner().success {
            Ok(())
        } else {
            Err(BallistaError::General(
                "the scheduler refused the registration".into(),
            ))
        }
    }

    /// Tells the scheduler that this executor lives; ends when the scheduler does not answer.
    pub async fn keep_alive(&self) {
        let mut missed = 0;
        let metadata: ExecutorRegistration = self.executor.metadata.clone();
        while missed < MAX_MISSED_HEARTBEATS {
            tokio::time::sleep(HEARTBEAT).await;
            let params = HeartBeatParams {
                executor_id: metadata.id.clone(),
                metrics: vec![],
                status: Some(ExecutorStatus {
                    status: Some(executor_status::Status::Active(String::new())),
                }),
                metadata: Some(metadata.clone()),
            };
            let mut scheduler = self.scheduler.clone();
            match tokio::time::timeout(HEARTBEAT, scheduler.heart_beat_from_executor(params)).await
            {
                Ok(Ok(_)) => missed = 0,
                Ok(Err(status)) => {
                    missed += 1;
                    tracing::warn!(%status, missed, "the scheduler did not take a heartbeat");
                }
                Err(_) => {
                    missed += 1;
                    tracing::warn!(missed, "the scheduler did not answer a heartbeat");
                }
            }
        }
    }
}

/// Sends outcomes to the scheduler, those that are ready together.
async fn report_outcomes(runner: Arc<TaskRunner>, mut outcomes: mpsc::Receiver<TaskStatus>) {
    let mut ready = Vec::new();
    while outcomes.recv_many(&mut ready, STATUS_BUFFER).await > 0 {
        let params = UpdateTaskStatusParams {
            executor_id: runner.executor.metadata.id.clone(),
            task_status: std::mem::take(&mut ready),
        };
        let mut attempt = 1;
        // Without its outcomes a job would wait for ever.
        while let Err(status) = runner
            .scheduler
            .clone()
            .update_task_status(params.clone())
            .await
        {
            if attempt == STATUS_ATTEMPTS {
                tracing::error!(%status, "could not report the outcome of tasks");
                break;
            }
            tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
            attempt += 1;
        }
    }
}

#[tonic::async_trait]
impl ExecutorGrpc for TaskServer {
    async fn launch_task(
        &self,
        _request: Request<LaunchTaskParams>,
    ) -> Result<Response<LaunchTaskResult>, Status> {
        Err(Status::unimplemented(
            "tasks are launched by launch_multi_task",
        ))
    }

    async fn launch_multi_task(
        &self,
        request: Request<LaunchMultiTaskParams>,
    ) -> Result<Response<LaunchMultiTaskResult>, Status> {
        let mut failed_jobs = Vec::new();
        for tasks in request.into_inner().multi_tasks {
            let (job_id, stage_id) = (tasks.job_id.clone(), tasks.stage_id);
            let failures = failures_of(&tasks);
            match self.decode(tasks) {
                Ok(tasks) => tasks.into_iter().for_each(|task| self.start(task)),
                Err(error) => {
                    tracing::error!(job_id, stage_id, %error, "cannot read a task");
                    if self.report_unreadable(failures, error).await.is_err() {
                        failed_jobs.push(job_id);
                    }
                }
            }
        }
        Ok(Response::new(LaunchMultiTaskResult { failed_jobs }))
    }

    async fn stop_executor(
        &self,
        request: Request<StopExecutorParams>,
    ) -> Result<Response<StopExecutorResult>, Status> {
        let StopExecutorParams {
            executor_id,
            reason,
            ..
        } = request.into_inner();
        if executor_id == self.runner.executor.metadata.id {
            // It is ending already when nobody listens.
            let _ = self.given_up.try_send(reason);
        }
        Ok(Response::new(StopExecutorResult {}))
    }

    async fn cancel_tasks(
        &self,
        request: Request<CancelTasksParams>,
    ) -> Result<Response<CancelTasksResult>, Status> {
        let mut cancelled = true;
        for task in request.into_inner().task_infos {
            tracing::debug!(
                job_id = task.job_id,
                stage_id = task.stage_id,
                task_id = task.task_id,
                "task cancelled"
            );
            cancelled &= self
                .runner
                .executor
                .cancel_task(
                    task.job_id.into(),
                    task.stage_id as usize,
                    task.task_id as usize,
                )
                .await
                .unwrap_or(false);
        }
        Ok(Response::new(CancelTasksResult { cancelled }))
    }

    async fn remove_job_data(
        &self,
        request: Request<RemoveJobDataParams>,
    ) -> Result<Response<RemoveJobDataResult>, Status> {
        let RemoveJobDataParams {
            job_id,
            remove_stage_ids,
        } = request.into_inner();
        let removed = self.runner.shuffle_files.remove(&job_id, &remove_stage_ids);
        removed.await.map_err(|error| match error.kind() {
            ErrorKind::InvalidInput => Status::invalid_argument(error.to_string()),
            _ => Status::internal(error.to_string()),
        })?;
        Ok(Response::new(RemoveJobDataResult {}))
    }
}

impl TaskServer {
    /// Fails tasks that cannot be read with the reason, which the scheduler by itself would not
    /// pass on.
    async fn report_unreadable(
        &self,
        failures: Vec<TaskStatus>,
        error: BallistaError,
    ) -> Result<(), mpsc::error::SendError<TaskStatus>> {
        let error = match error {
            BallistaError::DataFusionError(error) => *error,
            other => other.into_datafusion(),
        };
        let error = BallistaError::from(pyrite_runtime::error::seal(error));
        let failed = FailedTask::from(error);
        for mut status in failures {
            status.status = Some(task_status::Status::Failed(failed.clone()));
            self.outcomes.send(status).await?;
        }
        Ok(())
    }
}

/// A failure as the scheduler shall treat it: as in Spark, any task is tried again up to
/// `spark.task.maxFailures` times, whatever it failed with. Ballista would only do so after trouble
/// with disk or network, so everything that is not about the input's whereabouts is called that.
fn failed_attempt(error: BallistaError, attempt: &FailedAttempt) -> FailedTask {
    let mut failed = FailedTask::from(error);
    if let Some(failed_task::FailedReason::ExecutionError(_)) = failed.failed_reason {
        failed.retryable = true;
        failed.count_to_failures = true;
        failed.failed_reason = Some(failed_task::FailedReason::IoError(IoError {}));
        failed.error = attempt.mark(&failed.error);
    }
    failed
}

fn failures_of(tasks: &MultiTaskDefinition) -> Vec<TaskStatus> {
    tasks
        .task_ids
        .iter()
        .map(|task| TaskStatus {
            task_id: task.task_id,
            job_id: tasks.job_id.clone(),
            stage_id: tasks.stage_id,
            stage_attempt_num: tasks.stage_attempt_num,
            launch_time: tasks.launch_time,
            start_exec_time: now_millis(),
            end_exec_time: now_millis(),
            metrics: vec![],
            status: None,
        })
        .collect()
}

fn now_millis() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| {
            u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
        })
}

/// Ballista's numbers for tasks and stages are 32 bits wide on the wire.
fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
