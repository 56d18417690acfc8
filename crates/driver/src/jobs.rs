//! Jobs of the application: numbers, cancellation, accumulator updates, events.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::{Stream, StreamExt};
use parking_lot::Mutex;
use pyrite_proto::error::{SparkError, class};
use pyrite_python::{PythonTaskReport, TaskReports};
use pyrite_runtime::{JobEvent, JobRequest, JobStream, Runtime};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::listener;

/// What is known of a job before it starts.
#[derive(Debug, Clone, Default)]
pub struct JobInfo {
    /// What the user called, such as `collect at main.py:12`.
    pub call_site: String,
    /// `spark.job.description`.
    pub description: String,
    /// `SparkContext.setJobGroup`.
    pub group: String,
    /// `addJobTag` and the tags of a Connect execution.
    pub tags: Vec<String>,
}

/// Which jobs to cancel.
#[derive(Debug, Clone)]
pub enum JobFilter {
    /// Every job.
    All,
    /// Jobs of a group.
    Group(String),
    /// Jobs with a tag.
    Tag(String),
    /// One job.
    Id(i64),
}

impl JobFilter {
    fn matches(&self, job: &JobState) -> bool {
        match self {
            Self::All => true,
            Self::Group(group) => job.info.group == *group,
            Self::Tag(tag) => job.info.tags.contains(tag),
            Self::Id(id) => job.id == *id,
        }
    }
}

/// Report numbers start here and go down, far from those of jobs.
const FIRST_REPORT_ID: i64 = -1_000_000_000;

tokio::task_local! {
    /// The job that is being planned.
    static PLANNING: (Arc<Jobs>, Arc<JobState>);
}

/// A number for tasks of the job that is being planned to report under; `None` outside of
/// [`Job::planning`].
///
/// Each planner of a job numbers its operators from 0. Where planners meet (an RDD of a
/// DataFrame of an RDD), each takes a number of its own, so that two operators are never
/// mistaken for each other and every accumulator update counts.
pub fn report_id() -> Option<i64> {
    PLANNING
        .try_with(|(jobs, state)| {
            let id = FIRST_REPORT_ID - jobs.next_report_id.fetch_add(1, Ordering::Relaxed);
            jobs.report_ids.lock().insert(id, Arc::clone(state));
            id
        })
        .ok()
}

/// All jobs of the application. Reports of Python tasks end here.
#[derive(Default)]
pub struct Jobs {
    next_id: AtomicI64,
    active: Mutex<BTreeMap<i64, Arc<JobState>>>,
    /// Further numbers under which tasks of active jobs report; see [`report_id`].
    report_ids: Mutex<HashMap<i64, Arc<JobState>>>,
    next_report_id: AtomicI64,
    /// Set when no job can run any more; the reason.
    dead: Mutex<Option<String>>,
}

struct JobState {
    id: i64,
    info: JobInfo,
    cancel: CancellationToken,
    /// Why the job was cancelled.
    reason: Mutex<Option<SparkError>>,
    accumulators: Mutex<Accumulators>,
    partitions: AtomicUsize,
    started: Instant,
}

/// Updates that the application has not got yet, and those that count no more.
#[derive(Default)]
struct Accumulators {
    seen: HashSet<(i64, i64, usize)>,
    pending: Vec<Bytes>,
}

impl Jobs {
    /// Starts a job: gives it a number and makes it cancellable.
    ///
    /// # Errors
    /// When the application can run no jobs any more.
    pub fn start(self: &Arc<Self>, info: JobInfo) -> Result<Job, SparkError> {
        if let Some(reason) = self.dead.lock().clone() {
            return Err(SparkError::other(reason));
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let state = Arc::new(JobState {
            id,
            info,
            cancel: CancellationToken::new(),
            reason: Mutex::default(),
            accumulators: Mutex::default(),
            partitions: AtomicUsize::new(0),
            started: Instant::now(),
        });
        self.active.lock().insert(id, Arc::clone(&state));
        Ok(Job {
            jobs: Arc::clone(self),
            state,
            ended: false,
        })
    }

    /// Cancels jobs and returns their numbers.
    pub fn cancel(&self, filter: &JobFilter, reason: &str) -> Vec<i64> {
        let jobs: Vec<_> = self
            .active
            .lock()
            .values()
            .filter(|job| filter.matches(job))
            .cloned()
            .collect();
        for job in &jobs {
            job.cancel_with(cancelled(job.id, reason));
        }
        jobs.iter().map(|job| job.id).collect()
    }

    /// Fails all jobs, now and later: the application has lost its cluster or stops.
    pub fn fail_all(&self, message: &str) {
        self.dead.lock().get_or_insert_with(|| message.to_owned());
        let jobs: Vec<_> = self.active.lock().values().cloned().collect();
        for job in jobs {
            job.cancel_with(SparkError::other(format!(
                "Job aborted due to stage failure: {message}"
            )));
        }
    }

    /// Numbers of the jobs that run now.
    pub fn active_ids(&self) -> Vec<i64> {
        self.active.lock().keys().copied().collect()
    }
}

#[async_trait]
impl TaskReports for Jobs {
    async fn python_task(&self, report: PythonTaskReport) -> datafusion::common::Result<()> {
        let job = self
            .active
            .lock()
            .get(&report.job_id)
            .or(self.report_ids.lock().get(&report.job_id))
            .cloned();
        // A report of a job that has ended comes from a task that lost a race.
        if let Some(job) = job {
            let mut accumulators = job.accumulators.lock();
            if accumulators
                .seen
                .insert((report.job_id, report.operator_id, report.partition))
            {
                accumulators.pending.extend(report.accumulator_updates);
            }
        }
        Ok(())
    }
}

impl JobState {
    fn cancel_with(&self, error: SparkError) {
        self.reason.lock().get_or_insert(error);
        self.cancel.cancel();
    }

    fn cancelled_error(&self) -> SparkError {
        self.reason
            .lock()
            .clone()
            .unwrap_or_else(|| cancelled(self.id, ""))
    }
}

fn cancelled(job_id: i64, reason: &str) -> SparkError {
    SparkError::new(
        class::SPARK,
        "SPARK_JOB_CANCELLED",
        "XXKDA",
        format!("Job {job_id} cancelled {reason}").trim_end(),
    )
    .with("jobId", job_id.to_string())
    .with("reason", reason)
}

/// One job of the application. Dropped without [`Job::finish`], it counts as failed.
pub struct Job {
    jobs: Arc<Jobs>,
    state: Arc<JobState>,
    ended: bool,
}

impl Job {
    /// The job's number.
    pub fn id(&self) -> i64 {
        self.state.id
    }

    /// What the job is called in logs.
    pub fn name(&self) -> &str {
        let info = &self.state.info;
        if info.call_site.is_empty() {
            &info.description
        } else {
            &info.call_site
        }
    }

    /// Runs `work`, which plans this job: inside, [`report_id`] belongs to it.
    pub async fn planning<T>(&self, work: impl Future<Output = T>) -> T {
        let scope = (Arc::clone(&self.jobs), Arc::clone(&self.state));
        PLANNING.scope(scope, work).await
    }

    /// Runs `plan`. The stream ends with an error when the job is cancelled; dropping it
    /// cancels the job.
    ///
    /// # Errors
    /// When the runtime refuses the plan.
    pub async fn run(
        &self,
        runtime: &dyn Runtime,
        plan: Arc<dyn ExecutionPlan>,
    ) -> Result<JobEvents, SparkError> {
        let partitions = plan.output_partitioning().partition_count();
        self.state.partitions.store(partitions, Ordering::Relaxed);
        listener::job_started(self.id(), self.name(), partitions);
        let request = JobRequest {
            job_id: self.id(),
            name: self.name().to_owned(),
            plan,
        };
        let cancel = self.state.cancel.clone();
        let stream = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(self.state.cancelled_error()),
            stream = runtime.run(request) => stream?,
        };
        Ok(JobEvents {
            stream,
            state: Arc::clone(&self.state),
            cancelled: Box::pin(cancel.cancelled_owned()),
        })
    }

    /// Takes the accumulator updates that have come since the last call.
    pub fn take_accumulator_updates(&self) -> Vec<Bytes> {
        std::mem::take(&mut self.state.accumulators.lock().pending)
    }

    /// Ends the job.
    pub fn finish(mut self, result: Result<(), &SparkError>) {
        self.ended = true;
        let took = self.state.started.elapsed();
        match result {
            Ok(()) => listener::job_finished(self.id(), self.name(), took),
            Err(error) => listener::job_failed(self.id(), self.name(), took, error),
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.jobs.active.lock().remove(&self.state.id);
        self.jobs
            .report_ids
            .lock()
            .retain(|_, state| !Arc::ptr_eq(state, &self.state));
        if !self.ended {
            listener::job_failed(
                self.id(),
                self.name(),
                self.state.started.elapsed(),
                &cancelled(self.id(), "because nobody waits for its result any more"),
            );
        }
    }
}

/// Events of a running job; ends early with an error when the job is cancelled.
pub struct JobEvents {
    stream: JobStream,
    state: Arc<JobState>,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Stream for JobEvents {
    type Item = Result<JobEvent, SparkError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.cancelled.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(self.state.cancelled_error())));
        }
        self.stream.poll_next_unpin(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged(group: &str, tag: &str) -> JobInfo {
        JobInfo {
            group: group.to_owned(),
            tags: vec![tag.to_owned()],
            ..JobInfo::default()
        }
    }

    #[test]
    fn jobs_are_cancelled_by_group_tag_and_number() {
        let jobs = Arc::new(Jobs::default());
        let a = jobs.start(tagged("g1", "t1")).unwrap();
        let b = jobs.start(tagged("g2", "t1")).unwrap();
        let c = jobs.start(tagged("g2", "t2")).unwrap();
        assert_eq!(
            jobs.cancel(&JobFilter::Group("g2".into()), "r"),
            [b.id(), c.id()]
        );
        assert_eq!(
            jobs.cancel(&JobFilter::Tag("t1".into()), "r"),
            [a.id(), b.id()]
        );
        assert_eq!(jobs.cancel(&JobFilter::Id(c.id()), "r"), [c.id()]);
        drop(a);
        assert_eq!(jobs.cancel(&JobFilter::All, "r"), [b.id(), c.id()]);
        assert_eq!(jobs.active_ids(), [b.id(), c.id()]);
    }

    #[tokio::test]
    async fn an_accumulator_update_counts_once_for_each_partition() {
        let jobs = Arc::new(Jobs::default());
        let job = jobs.start(JobInfo::default()).unwrap();
        let report = |operator_id, partition| PythonTaskReport {
            job_id: job.id(),
            operator_id,
            partition,
            accumulator_updates: vec![Bytes::from_static(b"u")],
        };
        for (operator, partition) in [(0, 0), (0, 0), (0, 1), (1, 0)] {
            jobs.python_task(report(operator, partition)).await.unwrap();
        }
        assert_eq!(job.take_accumulator_updates().len(), 3);
        jobs.python_task(report(0, 1)).await.unwrap();
        assert!(job.take_accumulator_updates().is_empty());
    }

    #[tokio::test]
    async fn planners_within_one_job_report_apart() {
        let jobs = Arc::new(Jobs::default());
        assert_eq!(report_id(), None);
        let job = jobs.start(JobInfo::default()).unwrap();
        let (a, b) = job
            .planning(async { (report_id().unwrap(), report_id().unwrap()) })
            .await;
        for job_id in [job.id(), a, b, b] {
            let report = PythonTaskReport {
                job_id,
                operator_id: 0,
                partition: 0,
                accumulator_updates: vec![Bytes::from_static(b"u")],
            };
            jobs.python_task(report).await.unwrap();
        }
        assert_eq!(job.take_accumulator_updates().len(), 3);
        job.finish(Ok(()));
        assert!(jobs.report_ids.lock().is_empty());
    }

    #[test]
    fn a_dead_application_runs_nothing_more() {
        let jobs = Arc::new(Jobs::default());
        let job = jobs.start(JobInfo::default()).unwrap();
        jobs.fail_all("the master removed the application");
        assert!(job.state.cancel.is_cancelled());
        assert!(job.state.cancelled_error().message.contains("removed"));
        assert!(jobs.start(JobInfo::default()).is_err());
    }
}
