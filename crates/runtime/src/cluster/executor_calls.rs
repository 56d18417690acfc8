//! What executors may ask of Ballista's scheduler, and nothing else that it can do.

use std::sync::Arc;

use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpc;
use ballista_core::serde::protobuf::{
    CancelJobParams, CancelJobResult, CleanJobDataParams, CleanJobDataResult,
    CreateUpdateSessionParams, CreateUpdateSessionResult, ExecuteQueryParams, ExecuteQueryResult,
    ExecutorStoppedParams, ExecutorStoppedResult, GetJobMetricsParams, GetJobMetricsResult,
    GetJobStatusParams, GetJobStatusResult, HeartBeatParams, HeartBeatResult, PollWorkParams,
    PollWorkResult, RegisterExecutorParams, RegisterExecutorResult, RemoveSessionParams,
    RemoveSessionResult, UpdateTaskStatusParams, UpdateTaskStatusResult,
};
use tonic::{Request, Response, Status};

use super::scheduler::Server;
use super::slots::Slots;

type Reply<T> = Result<Response<T>, Status>;

/// The executors' side of the scheduler's service.
pub(super) struct ExecutorCalls {
    pub server: Server,
    pub slots: Arc<Slots>,
}

fn only_the_driver<T>() -> Reply<T> {
    Err(Status::unimplemented(
        "only the driver submits and watches jobs",
    ))
}

#[tonic::async_trait]
impl SchedulerGrpc for ExecutorCalls {
    async fn register_executor(
        &self,
        request: Request<RegisterExecutorParams>,
    ) -> Reply<RegisterExecutorResult> {
        SchedulerGrpc::register_executor(&self.server, request).await
    }

    async fn heart_beat_from_executor(
        &self,
        request: Request<HeartBeatParams>,
    ) -> Reply<HeartBeatResult> {
        self.server.heart_beat_from_executor(request).await
    }

    async fn update_task_status(
        &self,
        request: Request<UpdateTaskStatusParams>,
    ) -> Reply<UpdateTaskStatusResult> {
        let params = request.get_ref();
        self.slots
            .finished(&params.executor_id, &params.task_status)
            .await
            .map_err(|error| Status::internal(error.to_string()))?;
        // Offers the free slots as well.
        SchedulerGrpc::update_task_status(&self.server, request).await
    }

    async fn executor_stopped(
        &self,
        request: Request<ExecutorStoppedParams>,
    ) -> Reply<ExecutorStoppedResult> {
        self.server.executor_stopped(request).await
    }

    async fn poll_work(&self, _: Request<PollWorkParams>) -> Reply<PollWorkResult> {
        Err(Status::unimplemented("tasks are pushed"))
    }

    async fn create_update_session(
        &self,
        _: Request<CreateUpdateSessionParams>,
    ) -> Reply<CreateUpdateSessionResult> {
        only_the_driver()
    }

    async fn remove_session(&self, _: Request<RemoveSessionParams>) -> Reply<RemoveSessionResult> {
        only_the_driver()
    }

    type ExecuteQueryPushStream = tokio_stream::Empty<Result<GetJobStatusResult, Status>>;

    async fn execute_query_push(
        &self,
        _: Request<ExecuteQueryParams>,
    ) -> Reply<Self::ExecuteQueryPushStream> {
        only_the_driver()
    }

    async fn execute_query(&self, _: Request<ExecuteQueryParams>) -> Reply<ExecuteQueryResult> {
        only_the_driver()
    }

    async fn get_job_status(&self, _: Request<GetJobStatusParams>) -> Reply<GetJobStatusResult> {
        only_the_driver()
    }

    async fn get_job_metrics(&self, _: Request<GetJobMetricsParams>) -> Reply<GetJobMetricsResult> {
        only_the_driver()
    }

    async fn cancel_job(&self, _: Request<CancelJobParams>) -> Reply<CancelJobResult> {
        only_the_driver()
    }

    async fn clean_job_data(&self, _: Request<CleanJobDataParams>) -> Reply<CleanJobDataResult> {
        only_the_driver()
    }
}
