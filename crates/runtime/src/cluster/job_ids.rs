//! Names of jobs on Ballista's side.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use ballista_scheduler::scheduler_server::JobIdGenerator;

tokio::task_local! {
    /// The driver's job that this task submits.
    static SUBMITTING: i64;
}

/// Names a job after the driver's: `<job id>-<submission>`. One job may be submitted again when
/// its results were lost with an executor.
#[derive(Default)]
pub(super) struct JobIds {
    submissions: AtomicU64,
}

#[async_trait]
impl JobIdGenerator for JobIds {
    async fn next_id(&self) -> String {
        let job_id = SUBMITTING.try_with(|id| *id).unwrap_or(-1);
        let submission = self.submissions.fetch_add(1, Ordering::Relaxed);
        format!("{job_id}-{submission}")
    }
}

/// Runs a submission whose job gets a name after `job_id`.
pub(super) async fn naming<F: Future>(job_id: i64, submission: F) -> F::Output {
    SUBMITTING.scope(job_id, submission).await
}

/// The driver's job behind a name; `None` for jobs that are not the driver's.
pub(super) fn driver_job(name: &str) -> Option<i64> {
    name.rsplit_once('-')?.0.parse().ok().filter(|id| *id >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_lead_back_to_jobs() {
        let ids = JobIds::default();
        let first = naming(7, ids.next_id()).await;
        let second = naming(7, ids.next_id()).await;
        assert_ne!(first, second);
        assert_eq!(
            (driver_job(&first), driver_job(&second)),
            (Some(7), Some(7))
        );
        assert_eq!(driver_job(&ids.next_id().await), None);
    }
}
