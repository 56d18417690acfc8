//! Which attempt of a task failed, for the message that a job ends with.

use crate::error::{SparkError, class};

const OPEN: &str = "<pyrite-attempt:";
const CLOSE: &str = ">";
const JOB_ABORTED: &str = "Job aborted due to stage failure";

/// One failed attempt of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedAttempt {
    /// Partition of the stage.
    pub partition: usize,
    /// Attempt of the stage, from 0.
    pub stage_attempt: usize,
    /// Attempt of the task, from 0.
    pub attempt: usize,
    /// The task's number.
    pub task_id: usize,
    /// The executor's number, or `driver`.
    pub executor_id: String,
    /// The executor's machine.
    pub host: String,
}

impl FailedAttempt {
    /// An attempt in the driver's own process.
    pub fn local(partition: usize, attempt: usize) -> Self {
        Self {
            partition,
            stage_attempt: 0,
            attempt,
            task_id: partition,
            executor_id: "driver".to_owned(),
            host: "localhost".to_owned(),
        }
    }

    /// Adds itself to the text of an error that the scheduler carries.
    pub fn mark(&self, text: &str) -> String {
        let Self {
            partition,
            stage_attempt,
            attempt,
            task_id,
            executor_id,
            host,
        } = self;
        format!(
            "{OPEN}{partition}/{stage_attempt}/{attempt}/{task_id}/{executor_id}/{host}{CLOSE}{text}"
        )
    }

    /// Finds the attempt in a text that holds a marked one.
    pub fn find(text: &str) -> Option<Self> {
        let start = text.find(OPEN)? + OPEN.len();
        let end = start + text[start..].find(CLOSE)?;
        let mut parts = text[start..end].split('/');
        let mut next = || parts.next();
        Some(Self {
            partition: next()?.parse().ok()?,
            stage_attempt: next()?.parse().ok()?,
            attempt: next()?.parse().ok()?,
            task_id: next()?.parse().ok()?,
            executor_id: next()?.to_owned(),
            host: next()?.to_owned(),
        })
    }

    /// What ends the job: errors with a condition and those of Python functions as they are, as
    /// Spark's Python half unpacks them, any other told as Spark tells it. The stage has the
    /// number that `TaskContext.stageId` gives.
    pub fn ends_job(&self, job_id: i64, error: SparkError) -> SparkError {
        let told = error.message.starts_with(JOB_ABORTED);
        if told || error.class_name != class::SPARK || !error.condition.is_empty() {
            return error;
        }
        let Self {
            partition,
            stage_attempt,
            attempt,
            task_id,
            executor_id,
            host,
        } = self;
        let message = format!(
            "{JOB_ABORTED}: Task {partition} in stage {job_id}.{stage_attempt} failed {} \
             times, most recent failure: Lost task {partition}.{attempt} in stage {job_id}.{stage_attempt} \
             (TID {task_id}) ({host} executor {executor_id}): {}: {}",
            attempt + 1,
            error.class_name,
            error.message
        );
        SparkError { message, ..error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_attempt_is_named() {
        let attempt = FailedAttempt {
            partition: 2,
            stage_attempt: 0,
            attempt: 3,
            task_id: 9,
            executor_id: "1".to_owned(),
            host: "10.0.0.1".to_owned(),
        };
        let carried = format!("Job failed: {:?}", attempt.mark("Task failed"));
        assert_eq!(FailedAttempt::find(&carried), Some(attempt.clone()));
        let error = attempt.ends_job(5, SparkError::other("it crashed"));
        assert_eq!(
            error.message,
            "Job aborted due to stage failure: Task 2 in stage 5.0 failed 4 times, most recent failure: \
             Lost task 2.3 in stage 5.0 (TID 9) (10.0.0.1 executor 1): org.apache.spark.SparkException: it crashed"
        );
        let users = SparkError::python("Traceback");
        assert_eq!(attempt.ends_job(5, users.clone()), users);
    }
}
