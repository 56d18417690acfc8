//! One job, from its submission to its last row.

use std::collections::HashMap;
use std::sync::Arc;

use ballista_core::JobId;
use ballista_core::serde::protobuf::job_status::Status;
use ballista_core::serde::protobuf::{JobStatus, PartitionLocation};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use pyrite_proto::attempt::FailedAttempt;
use pyrite_proto::error::SparkError;
use pyrite_rdd::operators::is_lost_rows;
use tokio::sync::{mpsc, watch};

use super::map_output::{MapOutputExec, MapStageExec, is_lost_output};
use super::map_outputs::{JobData, MapOutput};
use super::numbers::number_partitions;
use super::results::{Events, FetchError};
use super::scheduler::Scheduler;
use super::service::Executors;
use crate::api::{JobRequest, JobStream};
use crate::error::{to_spark_error, unseal};
use crate::local::{cancelled_error, event_stream};
use crate::reports::OnceReports;

/// Submissions of a job whose results were lost with an executor before it fails.
const MAX_SUBMISSIONS: usize = 4;

/// Room for status changes of one submission.
const STATUS_BUFFER: usize = 4096;

/// Room for events that the job's reader has not taken yet.
const EVENT_BUFFER: usize = 16;

pub(super) async fn start(
    scheduler: Arc<Scheduler>,
    executors: Arc<Executors>,
    reports: Arc<OnceReports>,
    job: JobRequest,
) -> Result<JobStream, SparkError> {
    let plan = pyrite_rdd::prepare_cluster(job.plan)
        .and_then(number_partitions)
        .map_err(to_spark_error)?;
    let (events, receiver) = mpsc::channel(EVENT_BUFFER);
    let cancelled = scheduler.running(job.job_id);
    let running = RunningJob {
        job_id: job.job_id,
        name: job.name,
        plan,
        scheduler,
        executors,
        reports,
        events,
    };
    let task = tokio::spawn(running.drive(cancelled));
    Ok(event_stream(receiver, task.abort_handle()))
}

struct RunningJob {
    job_id: i64,
    name: String,
    plan: Arc<dyn ExecutionPlan>,
    scheduler: Arc<Scheduler>,
    executors: Arc<Executors>,
    reports: Arc<OnceReports>,
    events: Events,
}

/// Outputs of map stages that a submission reads, by RDD.
type Reused = HashMap<i64, Arc<MapOutput>>;

/// Why a submission of a job has not led to its end.
enum Setback {
    /// What the job has read or written is gone with an executor; it can be run again.
    Lost(SparkError),
    Failed(SparkError),
}

impl From<SparkError> for Setback {
    fn from(error: SparkError) -> Self {
        Self::Failed(error)
    }
}

impl Drop for RunningJob {
    fn drop(&mut self) {
        self.scheduler.no_longer_running(self.job_id);
        self.reports.forget_job(self.job_id);
    }
}

impl RunningJob {
    async fn drive(self, mut cancelled: watch::Receiver<bool>) {
        let result = tokio::select! {
            result = self.run() => result,
            _ = cancelled.wait_for(|cancelled| *cancelled) => Err(cancelled_error()),
        };
        if let Err(error) = result {
            // The reader may have gone, which is what ended the job.
            let _ = self.events.send(Err(error)).await;
        }
    }

    async fn run(&self) -> Result<(), SparkError> {
        let partitions = self.plan.output_partitioning().partition_count();
        if partitions == 0 {
            // Ballista runs at least one task for a stage, even for an RDD without partitions.
            return Ok(());
        }
        let mut pending = vec![true; partitions];
        let mut submissions = 0;
        loop {
            submissions += 1;
            let mut reused = Reused::new();
            match self.attempt(&mut pending, &mut reused, submissions).await {
                Ok(()) => return Ok(()),
                Err(Setback::Lost(error)) if submissions < MAX_SUBMISSIONS => {
                    self.scheduler.map_outputs().forget(&reused);
                    if is_lost_rows(&error) {
                        self.scheduler.filled().forget_all();
                    }
                    tracing::warn!(job_id = self.job_id, %error, "results were lost, running the job again");
                }
                Err(Setback::Lost(error) | Setback::Failed(error)) => return Err(error),
            }
        }
    }

    /// Runs what has not run yet and passes on the results.
    async fn attempt(
        &self,
        pending: &mut [bool],
        reused: &mut Reused,
        submissions: usize,
    ) -> Result<(), Setback> {
        let plan = self.with_cached_rows(submissions, reused).await?;
        let plan = self.with_map_outputs(plan, reused).await?;
        let (submission, locations) = self.submit(plan).await?;
        let fetcher = self.scheduler.fetcher();
        let fetched = fetcher.fetch(locations, pending, &self.events).await;
        drop(submission);
        match fetched {
            Ok(()) | Err(FetchError::NoReader) => Ok(()),
            Err(FetchError::Lost(error)) => Err(Setback::Lost(error)),
            Err(FetchError::Broken(error)) => Err(Setback::Failed(error)),
        }
    }

    /// The job's plan without the lineage of cached rows that executors keep. Rows that are
    /// computed from an exchange are all kept first, by a submission of their own.
    async fn with_cached_rows(
        &self,
        submissions: usize,
        reused: &mut Reused,
    ) -> Result<Arc<dyn ExecutionPlan>, Setback> {
        let mut plan = Arc::clone(&self.plan);
        let filled = self.scheduler.filled();
        // Rows that were kept before what they were computed from came to have an exchange, as
        // it does when that is not cached any more. They may be gone since.
        let placed = |id, count| submissions == 1 && self.scheduler.has_placed(id, count);
        // Rows that go missing again and again are computed where they are read.
        if submissions >= MAX_SUBMISSIONS - 1 {
            return Ok(plan);
        }
        loop {
            let is_filled = |id, count| filled.contains(id) || placed(id, count);
            plan = pyrite_rdd::without_lineage(plan, is_filled).map_err(to_spark_error)?;
            let missing = pyrite_rdd::filling(&plan, &|id, count| !is_filled(id, count));
            let Some((id, filling)) = missing.map_err(to_spark_error)? else {
                return Ok(plan);
            };
            let _only_filler = filled.lock(id).await;
            if !filled.contains(id) {
                let filling = self.with_map_outputs(filling, reused).await?;
                self.submit(filling).await?;
                filled.insert(id);
            }
        }
    }

    /// A plan with the outputs of map stages in it that have run. A stage that stands in the
    /// plan more than once runs first, as in Spark, where it is one stage.
    async fn with_map_outputs(
        &self,
        mut plan: Arc<dyn ExecutionPlan>,
        reused: &mut Reused,
    ) -> Result<Arc<dyn ExecutionPlan>, Setback> {
        loop {
            plan = pyrite_rdd::replace_exchanges(plan, |rdd_id| {
                let known = reused.get(&rdd_id).cloned();
                let Some(output) = known.or_else(|| self.scheduler.map_outputs().get(rdd_id))
                else {
                    return Ok(None);
                };
                let read = MapOutputExec::try_new(&output.partitions)?;
                reused.insert(rdd_id, output);
                Ok(Some(Arc::new(read) as _))
            })
            .map_err(to_spark_error)?;
            let counts = pyrite_rdd::count_exchanges(&plan).map_err(to_spark_error)?;
            let is_shared = |rdd_id| counts.get(&rdd_id).is_some_and(|count| *count > 1);
            let shared =
                pyrite_rdd::innermost_exchange(&plan, is_shared).map_err(to_spark_error)?;
            let Some((rdd_id, exchange)) = shared else {
                return Ok(plan);
            };
            self.submit(Arc::new(MapStageExec::new(exchange))).await?;
            if let Some(output) = self.scheduler.map_outputs().get(rdd_id) {
                reused.insert(rdd_id, output);
            } else {
                let error = SparkError::other("the output of a map stage is lost");
                return Err(Setback::Lost(error));
            }
        }
    }

    /// Runs a plan once; returns where its results are.
    async fn submit(
        &self,
        plan: Arc<dyn ExecutionPlan>,
    ) -> Result<(Submission, Vec<PartitionLocation>), Setback> {
        let has_map_stages = !pyrite_rdd::count_exchanges(&plan)
            .map_err(to_spark_error)?
            .is_empty();
        let (status, mut statuses) = mpsc::channel(STATUS_BUFFER);
        let job = self
            .scheduler
            .submit(self.job_id, &self.name, plan, status)
            .await?;
        let mut submission = Submission {
            scheduler: self.scheduler.clone(),
            // Goes with the submission, unless its outputs are kept.
            data: has_map_stages.then(|| JobData::new(job.clone(), &self.executors)),
            job: Some(job),
            ended: false,
        };
        while let Some(JobStatus { status, .. }) = statuses.recv().await {
            match status {
                Some(Status::Successful(successful)) => {
                    submission.end(true).await;
                    return Ok((submission, successful.partition_location));
                }
                Some(Status::Failed(failed)) => {
                    submission.end(false).await;
                    return Err(match unseal(&failed.error) {
                        Some(error) if is_lost_output(&error) || is_lost_rows(&error) => {
                            Setback::Lost(error)
                        }
                        _ => Setback::Failed(failure(self.job_id, &failed.error)),
                    });
                }
                Some(Status::Queued(_) | Status::Running(_)) | None => {}
            }
        }
        Err(SparkError::other("the scheduler has dropped the job").into())
    }
}

/// The error that a job failed with. Ballista wraps texts of its own around ours.
fn failure(job_id: i64, text: &str) -> SparkError {
    let error = unseal(text).map(|error| match FailedAttempt::find(text) {
        Some(attempt) => attempt.ends_job(job_id, error),
        None => error,
    });
    error.unwrap_or_else(|| {
        if text.trim() == "Cancelled" {
            cancelled_error()
        } else {
            SparkError::other(format!("Job aborted due to stage failure: {}", text.trim()))
        }
    })
}

/// A job that Ballista knows of. However it goes, nothing of it stays on executors but outputs
/// of map stages that are kept.
struct Submission {
    scheduler: Arc<Scheduler>,
    job: Option<JobId>,
    data: Option<Arc<JobData>>,
    ended: bool,
}

impl Submission {
    async fn end(&mut self, successfully: bool) {
        self.ended = true;
        if let Some(job) = &self.job {
            let keep = self.data.as_ref().filter(|_| successfully);
            self.scheduler.job_ended(job, keep).await;
        }
    }
}

impl Drop for Submission {
    fn drop(&mut self) {
        let Some(job) = self.job.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let scheduler = self.scheduler.clone();
        if self.ended {
            let _inside = runtime.enter();
            scheduler.clean_up(job);
        } else {
            let data = self.data.take();
            runtime.spawn(async move {
                scheduler.abandon(job).await;
                drop(data);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_ballistas_own_keeps_its_text() {
        let error = failure(0, "Job failed due to stage 1 failed: no space\n");
        assert!(error.message.contains("no space"), "{error}");
        assert_eq!(failure(0, "Cancelled"), cancelled_error());
    }
}
