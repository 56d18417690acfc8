//! The RPCs of `pyrite.core.CoreService`.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::physical_plan::ExecutionPlan;
use futures::{Stream, StreamExt};
use prost::Message;
use pyrite_proto::core::cancel_jobs_request::Which;
use pyrite_proto::core::core_service_server::CoreService;
use pyrite_proto::core::run_job_response::Event;
use pyrite_proto::core::*;
use pyrite_proto::error::SparkError;
use pyrite_proto::exec;
use pyrite_rdd::{RddPlanner, num_partitions, select_partitions, write_text_file};
use pyrite_runtime::{JobEvent, to_spark_error};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Request, Response, Status};

use super::results::{FrameChunks, accumulators, response};
use crate::application::Application;
use crate::extensions::FramesOf;
use crate::jobs::{Job, JobFilter, JobInfo};

/// Name of the trailer that carries an error as a value.
const ERROR_TRAILER: &str = "pyrite-error-bin";
/// Longest text in the trailer: clients take 8 KiB of metadata by default, and it is sent
/// in base64.
const MAX_TRAILER_TEXT_BYTES: usize = 4500;
/// Messages of a job that may wait for the application.
const WAITING_MESSAGES: usize = 8;

/// Serves RDDs and job control for one application.
#[derive(Clone)]
pub struct Core {
    application: Arc<Application>,
}

type JobResponses = Pin<Box<dyn Stream<Item = Result<RunJobResponse, Status>> + Send>>;

impl Core {
    /// Serves `application`.
    pub fn new(application: Arc<Application>) -> Self {
        Self { application }
    }

    fn frames_of(&self) -> FramesOf {
        FramesOf {
            application: Arc::clone(&self.application),
        }
    }
}

/// An error of the core service: a short text in the status, the error itself in the trailer.
pub fn to_status(error: &SparkError) -> Status {
    let mut wire = exec::SparkError::from(error);
    wire.message = shorten(&wire.message, MAX_TRAILER_TEXT_BYTES);
    let mut trailers = MetadataMap::new();
    trailers.insert_bin(
        ERROR_TRAILER,
        MetadataValue::from_bytes(&wire.encode_to_vec()),
    );
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    let short: String = line.chars().take(200).collect();
    Status::with_details_and_metadata(Code::Internal, short, Bytes::new(), trailers)
}

/// Cuts the middle out of a long text: tracebacks say the most at both ends.
fn shorten(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut head = limit / 3;
    while !text.is_char_boundary(head) {
        head -= 1;
    }
    let mut tail = text.len() - (limit - head - 32);
    while !text.is_char_boundary(tail) {
        tail += 1;
    }
    format!(
        "{}\n  ... ({} bytes) ...\n{}",
        &text[..head],
        tail - head,
        &text[tail..]
    )
}

#[tonic::async_trait]
impl CoreService for Core {
    type RunJobStream = JobResponses;

    async fn run_job(
        &self,
        request: Request<RunJobRequest>,
    ) -> Result<Response<JobResponses>, Status> {
        let request = request.into_inner();
        self.application
            .runtime
            .forget_exchanges(&request.dropped_exchanges);
        let job = self
            .application
            .jobs
            .start(job_info(&request))
            .map_err(|e| to_status(&e))?;
        let (sender, receiver) = mpsc::channel(WAITING_MESSAGES);
        let run = RunJob {
            core: self.clone(),
            responses: sender,
        };
        self.application.tasks.spawn(run.run(job, request));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn describe_rdd(
        &self,
        request: Request<DescribeRddRequest>,
    ) -> Result<Response<DescribeRddResponse>, Status> {
        let graph = request.into_inner().graph.unwrap_or_default();
        let partitions = num_partitions(&graph, &self.frames_of())
            .await
            .map_err(|e| to_status(&to_spark_error(e)))?;
        Ok(Response::new(DescribeRddResponse {
            num_partitions: partitions as i32,
        }))
    }

    async fn unpersist_rdd(
        &self,
        request: Request<UnpersistRddRequest>,
    ) -> Result<Response<UnpersistRddResponse>, Status> {
        let request = request.into_inner();
        let runtime = Arc::clone(&self.application.runtime);
        let remove = async move { runtime.remove_rdd(request.rdd_id).await };
        if request.blocking {
            remove.await;
        } else {
            self.application.tasks.spawn(remove);
        }
        Ok(Response::new(UnpersistRddResponse {}))
    }

    async fn remove_broadcast(
        &self,
        request: Request<RemoveBroadcastRequest>,
    ) -> Result<Response<RemoveBroadcastResponse>, Status> {
        let request = request.into_inner();
        let runtime = Arc::clone(&self.application.runtime);
        let remove = async move { runtime.remove_broadcast(request.broadcast_id).await };
        if request.blocking {
            remove.await;
        } else {
            self.application.tasks.spawn(remove);
        }
        Ok(Response::new(RemoveBroadcastResponse {}))
    }

    async fn cancel_jobs(
        &self,
        request: Request<CancelJobsRequest>,
    ) -> Result<Response<CancelJobsResponse>, Status> {
        let request = request.into_inner();
        let filter = match request.which {
            Some(Which::All(_)) => JobFilter::All,
            Some(Which::JobGroup(group)) => JobFilter::Group(group),
            Some(Which::Tag(tag)) => JobFilter::Tag(tag),
            Some(Which::JobId(id)) => JobFilter::Id(id),
            None => {
                return Err(Status::invalid_argument(
                    "the request does not say what to cancel",
                ));
            }
        };
        let job_ids = self.application.jobs.cancel(&filter, &request.reason);
        Ok(Response::new(CancelJobsResponse { job_ids }))
    }

    async fn get_status(
        &self,
        _request: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        let executors = self
            .application
            .runtime
            .executors()
            .into_iter()
            .map(|executor| ExecutorStatus {
                id: executor.executor_id,
                host: executor.host,
                cores: executor.cores as i32,
                registered: true,
            })
            .collect();
        Ok(Response::new(GetStatusResponse {
            default_parallelism: self.application.default_parallelism() as i32,
            executors,
            active_job_ids: self.application.jobs.active_ids(),
        }))
    }

    async fn stop(&self, request: Request<StopRequest>) -> Result<Response<StopResponse>, Status> {
        let exit_code = request.into_inner().exit_code;
        tracing::info!(exit_code, "application asks to stop");
        self.application.request_stop(exit_code != 0);
        Ok(Response::new(StopResponse {}))
    }
}

fn job_info(request: &RunJobRequest) -> JobInfo {
    JobInfo {
        call_site: request.call_site.clone(),
        description: request.description.clone(),
        group: request.job_group.clone(),
        tags: request.tags.clone(),
    }
}

/// One `RunJob` on its way.
struct RunJob {
    core: Core,
    responses: mpsc::Sender<Result<RunJobResponse, Status>>,
}

/// The application has closed the response stream.
struct Gone;

enum Failure {
    Gone,
    Error(SparkError),
}

impl From<SparkError> for Failure {
    fn from(error: SparkError) -> Self {
        Self::Error(error)
    }
}

impl From<Gone> for Failure {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

impl RunJob {
    async fn run(self, job: Job, request: RunJobRequest) {
        let responses = self.responses.clone();
        // A job without batches notices only here that its reader has gone.
        let result = tokio::select! {
            result = self.stream(&job, request) => result,
            () = responses.closed() => Err(Failure::Gone),
        };
        match result {
            Ok(()) => job.finish(Ok(())),
            Err(Failure::Gone) => drop(job),
            Err(Failure::Error(error)) => {
                // Updates of tasks that did finish count, as in Spark.
                let updates = accumulators(job.take_accumulator_updates());
                job.finish(Err(&error));
                if let Some(event) = updates
                    && responses.send(Ok(response(event))).await.is_err()
                {
                    return;
                }
                // Nobody to tell is no further failure.
                let _ = responses.send(Err(to_status(&error))).await;
            }
        }
    }

    async fn stream(&self, job: &Job, request: RunJobRequest) -> Result<(), Failure> {
        let graph = request.graph.unwrap_or_default();
        let frames_of = self.core.frames_of();
        let planner = RddPlanner::new(&graph, job.id(), &frames_of);
        let plan = job.planning(planner.plan()).await.map_err(to_spark_error)?;
        let total = partitions_of(&plan);
        let (plan, numbers) = selected(plan, &request.partitions)?;
        self.send(Event::Started(JobStarted {
            job_id: job.id(),
            num_partitions: total as i32,
        }))
        .await?;
        match request.text_file_sink {
            None => self.collect(job, plan, &numbers).await?,
            Some(sink) => self.save(job, plan, sink).await?,
        }
        if let Some(event) = accumulators(job.take_accumulator_updates()) {
            self.send(event).await?;
        }
        self.send(Event::Done(JobDone {})).await?;
        Ok(())
    }

    /// Sends the frames of every partition; `numbers` are the RDD's numbers of the plan's
    /// partitions.
    async fn collect(
        &self,
        job: &Job,
        plan: Arc<dyn ExecutionPlan>,
        numbers: &[usize],
    ) -> Result<(), Failure> {
        let mut events = job
            .run(self.core.application.runtime.as_ref(), plan)
            .await?;
        let mut chunks = FrameChunks::default();
        while let Some(event) = events.next().await.transpose()? {
            match event {
                JobEvent::Batch { partition, batch } => {
                    for event in chunks.push(number(numbers, partition)?, &batch)? {
                        self.send(event).await?;
                    }
                }
                JobEvent::PartitionDone(partition) => {
                    if let Some(event) = accumulators(job.take_accumulator_updates()) {
                        self.send(event).await?;
                    }
                    for event in chunks.done(number(numbers, partition)?) {
                        self.send(event).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes every frame as a line of a text file.
    async fn save(
        &self,
        job: &Job,
        plan: Arc<dyn ExecutionPlan>,
        sink: TextFileSink,
    ) -> Result<(), Failure> {
        // Dropped without a commit, it removes what was written.
        let (plan, commit) = write_text_file(plan, &sink, job.id()).map_err(to_spark_error)?;
        self.write_all(job, plan).await?;
        commit.commit().await.map_err(to_spark_error)?;
        Ok(())
    }

    async fn write_all(&self, job: &Job, plan: Arc<dyn ExecutionPlan>) -> Result<(), Failure> {
        let mut events = job
            .run(self.core.application.runtime.as_ref(), plan)
            .await?;
        while let Some(event) = events.next().await.transpose()? {
            if let JobEvent::PartitionDone(partition) = event {
                let partition = partition as i32;
                self.send(Event::PartitionDone(PartitionDone { partition }))
                    .await?;
            }
        }
        Ok(())
    }

    async fn send(&self, event: Event) -> Result<(), Gone> {
        self.responses
            .send(Ok(response(event)))
            .await
            .map_err(|_| Gone)
    }
}

fn partitions_of(plan: &Arc<dyn ExecutionPlan>) -> usize {
    use datafusion::physical_plan::ExecutionPlanProperties;
    plan.output_partitioning().partition_count()
}

fn number(numbers: &[usize], partition: usize) -> Result<usize, SparkError> {
    numbers.get(partition).copied().ok_or_else(|| {
        SparkError::other(format!(
            "the engine reports partition {partition}, which the job has not"
        ))
    })
}

/// The plan with the wanted partitions only, and their numbers in the RDD.
fn selected(
    plan: Arc<dyn ExecutionPlan>,
    wanted: &[i32],
) -> Result<(Arc<dyn ExecutionPlan>, Vec<usize>), SparkError> {
    let total = partitions_of(&plan);
    if wanted.is_empty() {
        return Ok((plan, (0..total).collect()));
    }
    let numbers = wanted
        .iter()
        .map(|&p| {
            usize::try_from(p)
                .ok()
                .filter(|p| *p < total)
                .ok_or_else(|| {
                    SparkError::other(format!("there is no partition {p}: the RDD has {total}"))
                })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let plan = select_partitions(plan, &numbers).map_err(to_spark_error)?;
    Ok((plan, numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_travel_as_values_and_stay_small() {
        let error = SparkError::python("é".repeat(10_000)).with("a", "b");
        let status = to_status(&error);
        let bytes = status
            .metadata()
            .get_bin(ERROR_TRAILER)
            .unwrap()
            .to_bytes()
            .unwrap();
        assert!(bytes.len() < 5000);
        let wire = exec::SparkError::decode(bytes).unwrap();
        let back = SparkError::from(wire);
        assert_eq!(
            (back.class_name, back.parameters),
            (error.class_name, error.parameters)
        );
        assert!(back.message.contains("bytes) ..."));
    }

    #[test]
    fn short_texts_stay_whole() {
        assert_eq!(shorten("abc", 10), "abc");
    }
}
