//! One job, from its submission to its last row.

use std::sync::Arc;

use ballista_core::JobId;
use ballista_core::serde::protobuf::job_status::Status;
use ballista_core::serde::protobuf::{JobStatus, PartitionLocation};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use pyrite_proto::attempt::FailedAttempt;
use pyrite_proto::error::SparkError;
use tokio::sync::{mpsc, watch};

use super::numbers::number_partitions;
use super::results::{Events, FetchError};
use super::scheduler::Scheduler;
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
    reports: Arc<OnceReports>,
    events: Events,
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
            let (submission, locations) = self.submit().await?;
            let fetched = self
                .scheduler
                .fetcher()
                .fetch(locations, &mut pending, &self.events)
                .await;
            drop(submission);
            match fetched {
                Ok(()) | Err(FetchError::NoReader) => return Ok(()),
                Err(FetchError::Lost(error)) if submissions < MAX_SUBMISSIONS => {
                    tracing::warn!(job_id = self.job_id, %error, "results were lost, running the job again");
                }
                Err(FetchError::Lost(error) | FetchError::Broken(error)) => return Err(error),
            }
        }
    }

    /// Runs the plan once; returns where its results are.
    async fn submit(&self) -> Result<(Submission, Vec<PartitionLocation>), SparkError> {
        let (status, mut statuses) = mpsc::channel(STATUS_BUFFER);
        let job = self
            .scheduler
            .submit(self.job_id, &self.name, self.plan.clone(), status)
            .await?;
        let mut submission = Submission {
            scheduler: self.scheduler.clone(),
            job: Some(job),
            ended: false,
        };
        while let Some(JobStatus { status, .. }) = statuses.recv().await {
            match status {
                Some(Status::Successful(successful)) => {
                    submission.end().await;
                    return Ok((submission, successful.partition_location));
                }
                Some(Status::Failed(failed)) => {
                    submission.end().await;
                    return Err(failure(self.job_id, &failed.error));
                }
                Some(Status::Queued(_) | Status::Running(_)) | None => {}
            }
        }
        Err(SparkError::other("the scheduler has dropped the job"))
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

/// A job that Ballista knows of. However it goes, nothing of it stays on executors.
struct Submission {
    scheduler: Arc<Scheduler>,
    job: Option<JobId>,
    ended: bool,
}

impl Submission {
    async fn end(&mut self) {
        self.ended = true;
        if let Some(job) = &self.job {
            self.scheduler.job_ended(job).await;
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
            runtime.spawn(async move { scheduler.abandon(job).await });
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
