//! What happens in the application, as one line an event: on the console when it was asked
//! for, and always in the driver's log.

use std::time::Duration;

use pyrite_proto::error::SparkError;
use pyrite_runtime::StageEvent;
use tracing::{info, warn};

/// The application runs under this id.
pub fn application_started(app_id: &str, name: &str, master: &str) {
    info!(target: "application", app_id, name, master, "application started");
}

/// The application is over.
pub fn application_finished(app_id: &str, took: Duration) {
    info!(target: "application", app_id, seconds = took.as_secs_f64(), "application finished");
}

/// The master has granted an executor.
pub fn executor_granted(executor_id: u32, host: &str, cores: u32, memory_mib: u64) {
    info!(target: "executor", executor_id, host, cores, memory_mib, "executor granted");
}

/// An executor is gone.
pub fn executor_lost(executor_id: u32, reason: &str) {
    warn!(target: "executor", executor_id, reason, "executor lost");
}

/// A job starts to run.
pub fn job_started(job_id: i64, name: &str, partitions: usize) {
    info!(target: "job", job_id, name, partitions, "job started");
}

/// A job has ended well.
pub fn job_finished(job_id: i64, name: &str, took: Duration) {
    info!(target: "job", job_id, name, seconds = took.as_secs_f64(), "job finished");
}

/// A job has failed or was cancelled.
pub fn job_failed(job_id: i64, name: &str, took: Duration, error: &SparkError) {
    let message = error.to_string();
    // The whole error reaches the application; a log line says which one it was.
    let reason = message.lines().next().unwrap_or_default();
    info!(target: "job", job_id, name, seconds = took.as_secs_f64(), reason, "job failed");
}

/// What happens to a job's stages.
pub fn stage(event: &StageEvent) {
    match event {
        StageEvent::Submitted {
            job_id,
            stage_id,
            attempt,
            partitions,
        } => info!(target: "stage", job_id, stage_id, attempt, partitions, "stage started"),
        StageEvent::Finished {
            job_id,
            stage_id,
            attempt,
            partitions,
            tasks,
            executors,
        } => {
            let executors = executors.join(",");
            info!(
                target: "stage",
                job_id, stage_id, attempt, partitions, tasks, executors, "stage finished"
            );
        }
    }
}
