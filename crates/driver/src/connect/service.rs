//! The RPCs of Spark Connect.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use pyrite_proto::connect::execute_plan_request::request_option::RequestOption;
use pyrite_proto::connect::get_status_response::OperationStatus;
use pyrite_proto::connect::get_status_response::operation_status::OperationState;
use pyrite_proto::connect::interrupt_request::{Interrupt, InterruptType};
use pyrite_proto::connect::release_execute_request::Release;
use pyrite_proto::connect::spark_connect_service_server::SparkConnectService;
use pyrite_proto::connect::*;
use pyrite_proto::error::SparkError;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::errors;
use super::execute::Execution;
use super::reattach::ResponseBuffer;
use super::session::{Operation, Session};
use super::{analyze, config};
use crate::application::Application;

/// Arrow messages are cut to this size for clients that put them together again.
const CHUNK_BYTES: usize = 16 << 20;
/// Smallest chunk a client may ask for.
const MIN_CHUNK_BYTES: usize = 1024;

/// Serves Spark Connect for one application.
#[derive(Clone)]
pub struct ConnectService {
    application: Arc<Application>,
}

type ResponseStream = Pin<Box<dyn Stream<Item = Result<ExecutePlanResponse, Status>> + Send>>;

impl ConnectService {
    /// Serves `application`.
    pub fn new(application: Arc<Application>) -> Self {
        Self { application }
    }

    /// The session of a request. `observed` is the server the client believes to talk to.
    fn session(
        &self,
        user: Option<&UserContext>,
        session_id: &str,
        observed: Option<&str>,
    ) -> Result<Arc<Session>, Status> {
        let server = self.server_id();
        if observed.is_some_and(|id| !id.is_empty() && id != server) {
            let error = errors::invalid_handle(
                "SESSION_CHANGED",
                session_id,
                "The existing Spark server driver instance has restarted. Please reconnect.",
            );
            return Err(errors::to_status(&error, None));
        }
        if uuid::Uuid::parse_str(session_id).is_err() {
            let error = errors::invalid_handle(
                "FORMAT",
                session_id,
                "Handle must be an UUID string of the format '00112233-4455-6677-8899-aabbccddeeff'",
            );
            return Err(errors::to_status(&error, None));
        }
        let user_id = user.map_or("", |u| u.user_id.as_str());
        self.application
            .sessions
            .get_or_create(&self.application, user_id, session_id)
            .map_err(|e| errors::to_status(&e, None))
    }

    fn server_id(&self) -> String {
        self.application.server_side_session_id.clone()
    }

    fn start(
        &self,
        session: &Arc<Session>,
        request: ExecutePlanRequest,
    ) -> Result<Arc<Operation>, SparkError> {
        let mut reattachable = false;
        let mut chunk_bytes = None;
        for option in request
            .request_options
            .iter()
            .filter_map(|o| o.request_option.as_ref())
        {
            match option {
                RequestOption::ReattachOptions(options) => reattachable = options.reattachable,
                RequestOption::ResultChunkingOptions(options) => {
                    chunk_bytes = options.allow_arrow_batch_chunking.then(|| {
                        let preferred = options.preferred_arrow_chunk_size.unwrap_or(0);
                        match usize::try_from(preferred) {
                            Ok(size) if size >= MIN_CHUNK_BYTES => size.min(CHUNK_BYTES),
                            _ => CHUNK_BYTES,
                        }
                    });
                }
                RequestOption::Extension(_) => {}
            }
        }
        let id = request
            .operation_id
            .unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let buffer = ResponseBuffer::new(&request.session_id, &self.server_id(), &id, reattachable);
        let operation = Arc::new(Operation {
            id,
            tags: request.tags,
            buffer: Arc::new(buffer),
            cancel: CancellationToken::new(),
        });
        session.add_operation(Arc::clone(&operation))?;
        let plan = request
            .plan
            .ok_or_else(|| errors::invalid_plan("the request has no plan"))?;
        let execution = Execution {
            application: Arc::clone(&self.application),
            session: Arc::clone(session),
            operation: Arc::clone(&operation),
            chunk_bytes,
        };
        let session = Arc::clone(session);
        let running = Arc::clone(&operation);
        self.application.tasks.spawn(async move {
            if reattachable {
                return execution.run(plan).await;
            }
            // The only reader's departure ends the work.
            tokio::select! {
                () = execution.run(plan) => running.buffer.read_to_end().await,
                () = running.buffer.read_to_end() => {}
            }
            session.release_operation(&running.id);
        });
        Ok(operation)
    }

    fn responses(
        session: Arc<Session>,
        operation: &Operation,
        last_response_id: Option<&str>,
    ) -> Result<ResponseStream, SparkError> {
        let responses = operation.buffer.read(last_response_id)?;
        Ok(Box::pin(responses.map(move |response| {
            response.map_err(|error| session.errors.status(&error))
        })))
    }
}

#[tonic::async_trait]
impl SparkConnectService for ConnectService {
    type ExecutePlanStream = ResponseStream;
    type ReattachExecuteStream = ResponseStream;

    async fn execute_plan(
        &self,
        request: Request<ExecutePlanRequest>,
    ) -> Result<Response<ResponseStream>, Status> {
        let request = request.into_inner();
        let session = self.session(
            request.user_context.as_ref(),
            &request.session_id,
            request.client_observed_server_side_session_id.as_deref(),
        )?;
        let responses = self
            .start(&session, request)
            .and_then(|operation| Self::responses(Arc::clone(&session), &operation, None));
        responses
            .map(Response::new)
            .map_err(|error| session.errors.status(&error))
    }

    async fn reattach_execute(
        &self,
        request: Request<ReattachExecuteRequest>,
    ) -> Result<Response<ResponseStream>, Status> {
        let request = request.into_inner();
        let session = self.session(
            request.user_context.as_ref(),
            &request.session_id,
            request.client_observed_server_side_session_id.as_deref(),
        )?;
        let responses = session
            .operation(&request.operation_id)
            .and_then(|operation| {
                Self::responses(
                    Arc::clone(&session),
                    &operation,
                    request.last_response_id.as_deref(),
                )
            });
        responses
            .map(Response::new)
            .map_err(|error| session.errors.status(&error))
    }

    async fn release_execute(
        &self,
        request: Request<ReleaseExecuteRequest>,
    ) -> Result<Response<ReleaseExecuteResponse>, Status> {
        let request = request.into_inner();
        let session = self.session(
            request.user_context.as_ref(),
            &request.session_id,
            request.client_observed_server_side_session_id.as_deref(),
        )?;
        let found = session.find_operation(&request.operation_id);
        let operation_id = found.as_ref().map(|operation| operation.id.clone());
        match (found, request.release) {
            (Some(operation), Some(Release::ReleaseUntil(until))) => {
                operation.buffer.release_until(&until.response_id);
            }
            (Some(operation), Some(Release::ReleaseAll(_))) => {
                session.release_operation(&operation.id);
            }
            (_, None) => {
                let error = errors::invalid_plan("the request does not say what to release");
                return Err(session.errors.status(&error));
            }
            (None, Some(_)) => {}
        }
        Ok(Response::new(ReleaseExecuteResponse {
            session_id: request.session_id,
            server_side_session_id: self.server_id(),
            operation_id,
        }))
    }

    async fn analyze_plan(
        &self,
        request: Request<AnalyzePlanRequest>,
    ) -> Result<Response<AnalyzePlanResponse>, Status> {
        let request = request.into_inner();
        let session = self.session(
            request.user_context.as_ref(),
            &request.session_id,
            request.client_observed_server_side_session_id.as_deref(),
        )?;
        let result = match &request.analyze {
            Some(question) => analyze::analyze(&session, question).await,
            None => Err(errors::invalid_plan("the request asks for nothing")),
        };
        Ok(Response::new(AnalyzePlanResponse {
            session_id: request.session_id,
            server_side_session_id: self.server_id(),
            result: Some(result.map_err(|e| session.errors.status(&e))?),
        }))
    }

    async fn config(
        &self,
        request: Request<ConfigRequest>,
    ) -> Result<Response<ConfigResponse>, Status> {
        let request = request.into_inner();
        let session = self.session(
            request.user_context.as_ref(),
            &request.session_id,
            request.client_observed_server_side_session_id.as_deref(),
        )?;
        let operation = request.operation.unwrap_or_default();
        let mut response = config::handle(&session.plan, operation)
            .map_err(|error| session.errors.status(&error))?;
        response.session_id = request.session_id;
        response.server_side_session_id = self.server_id();
        Ok(Response::new(response))
    }

    async fn add_artifacts(
        &self,
        request: Request<Streaming<AddArtifactsRequest>>,
    ) -> Result<Response<AddArtifactsResponse>, Status> {
        let mut requests = request.into_inner();
        let first = requests
            .message()
            .await?
            .ok_or_else(|| Status::invalid_argument("no artifacts were sent"))?;
        let session_id = first.session_id.clone();
        let session = self.session(
            first.user_context.as_ref(),
            &session_id,
            first.client_observed_server_side_session_id.as_deref(),
        )?;
        let artifacts = session
            .artifacts
            .receive(first, requests)
            .await
            .map_err(|error| session.errors.status(&error))?;
        Ok(Response::new(AddArtifactsResponse {
            session_id,
            server_side_session_id: self.server_id(),
            artifacts,
        }))
    }

    async fn artifact_status(
        &self,
        request: Request<ArtifactStatusesRequest>,
    ) -> Result<Response<ArtifactStatusesResponse>, Status> {
        let request = request.into_inner();
        let session = self.session(
            request.user_context.as_ref(),
            &request.session_id,
            request.client_observed_server_side_session_id.as_deref(),
        )?;
        let statuses = request
            .names
            .into_iter()
            .map(|name| {
                let exists = session.artifacts.contains(&name);
                (name, artifact_statuses_response::ArtifactStatus { exists })
            })
            .collect();
        Ok(Response::new(ArtifactStatusesResponse {
            session_id: request.session_id,
            server_side_session_id: self.server_id(),
            statuses,
        }))
    }

    async fn interrupt(
        &self,
        request: Request<InterruptRequest>,
    ) -> Result<Response<InterruptResponse>, Status> {
        let request = request.into_inner();
        let session = self.session(
            request.user_context.as_ref(),
            &request.session_id,
            request.client_observed_server_side_session_id.as_deref(),
        )?;
        let interrupted_ids = match (request.interrupt_type(), &request.interrupt) {
            (InterruptType::All, _) => session.interrupt(|_| true),
            (InterruptType::Tag, Some(Interrupt::OperationTag(tag))) => {
                session.interrupt(|operation| operation.tags.contains(tag))
            }
            (InterruptType::OperationId, Some(Interrupt::OperationId(id))) => {
                session.interrupt(|operation| operation.id == *id)
            }
            _ => {
                let error = errors::invalid_plan("the request does not say what to interrupt");
                return Err(session.errors.status(&error));
            }
        };
        Ok(Response::new(InterruptResponse {
            session_id: request.session_id,
            server_side_session_id: self.server_id(),
            interrupted_ids,
        }))
    }

    async fn release_session(
        &self,
        request: Request<ReleaseSessionRequest>,
    ) -> Result<Response<ReleaseSessionResponse>, Status> {
        let request = request.into_inner();
        let user_id = request.user_context.map(|u| u.user_id).unwrap_or_default();
        self.application
            .sessions
            .release(&user_id, &request.session_id, request.allow_reconnect);
        Ok(Response::new(ReleaseSessionResponse {
            session_id: request.session_id,
            server_side_session_id: self.server_id(),
        }))
    }

    async fn fetch_error_details(
        &self,
        request: Request<FetchErrorDetailsRequest>,
    ) -> Result<Response<FetchErrorDetailsResponse>, Status> {
        let request = request.into_inner();
        let user_id = request.user_context.map(|u| u.user_id).unwrap_or_default();
        let mut response = self
            .application
            .sessions
            .find(&user_id, &request.session_id)
            .map(|session| session.errors.details(&request.error_id))
            .unwrap_or_default();
        response.session_id = request.session_id;
        response.server_side_session_id = self.server_id();
        Ok(Response::new(response))
    }

    async fn clone_session(
        &self,
        _request: Request<CloneSessionRequest>,
    ) -> Result<Response<CloneSessionResponse>, Status> {
        let error = SparkError::not_supported("cloning a session");
        Err(errors::to_status(&error, None))
    }

    async fn get_status(
        &self,
        request: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        let request = request.into_inner();
        let session = self.session(
            request.user_context.as_ref(),
            &request.session_id,
            request.client_observed_server_side_session_id.as_deref(),
        )?;
        let wanted = request.operation_status.map(|o| o.operation_ids);
        Ok(Response::new(GetStatusResponse {
            session_id: request.session_id,
            server_side_session_id: self.server_id(),
            operation_statuses: wanted.map_or_else(Vec::new, |ids| statuses(&session, &ids)),
            extensions: Vec::new(),
        }))
    }
}

/// States of the executions `ids`, or of all that are known.
fn statuses(session: &Session, ids: &[String]) -> Vec<OperationStatus> {
    let outcome = |error: Option<&SparkError>| match error {
        None => OperationState::Succeeded,
        Some(e) if e.condition == "OPERATION_CANCELED" => OperationState::Cancelled,
        Some(_) => OperationState::Failed,
    };
    let ended = session.ended_operations();
    let mut known: Vec<(String, OperationState)> = ended
        .iter()
        .map(|(id, error)| (id.clone(), outcome(error.as_ref())))
        .collect();
    for operation in session.operations() {
        let state = if operation.buffer.is_finished() {
            outcome(operation.buffer.error().as_ref())
        } else if operation.cancel.is_cancelled() {
            OperationState::Terminating
        } else {
            OperationState::Running
        };
        known.push((operation.id.clone(), state));
    }
    if !ids.is_empty() {
        known = ids
            .iter()
            .map(|id| {
                let found = known.iter().find(|(known, _)| known == id);
                (
                    id.clone(),
                    found.map_or(OperationState::Unknown, |(_, state)| *state),
                )
            })
            .collect();
    }
    known
        .into_iter()
        .map(|(operation_id, state)| OperationStatus {
            operation_id,
            state: state.into(),
            extensions: Vec::new(),
        })
        .collect()
}

/// Largest request: local relations arrive whole up to this size.
pub const MAX_REQUEST_BYTES: usize = 1 << 30;
