//! Attempts of tasks: their numbers, and trying again in a process that runs whole jobs.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::TaskContext;
use pyrite_proto::attempt::FailedAttempt;
use tracing::warn;

use crate::errors::{external, find_spark_error};

/// Which attempt of its task this is, from 0; without the extension, the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptNumber(pub usize);

impl AttemptNumber {
    /// The number in a task's context.
    pub fn of(context: &TaskContext) -> usize {
        context
            .session_config()
            .get_extension::<Self>()
            .map_or(0, |attempt| attempt.0)
    }

    /// A copy of a context for this attempt.
    fn put_into(self, context: &TaskContext) -> Arc<TaskContext> {
        Arc::new(TaskContext::new(
            context.task_id(),
            context.session_id(),
            context
                .session_config()
                .clone()
                .with_extension(Arc::new(self)),
            context.scalar_functions().clone(),
            context.higher_order_functions().clone(),
            context.aggregate_functions().clone(),
            context.window_functions().clone(),
            context.runtime_env(),
        ))
    }
}

/// How a process that runs whole jobs by itself treats failed tasks. Executors leave that to the
/// scheduler and do not have this extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalAttempts {
    /// The job.
    pub job_id: i64,
    /// Attempts of a task before the job fails.
    pub max_failures: usize,
}

impl LocalAttempts {
    /// What a task's context says; without the extension, nothing is tried again.
    pub fn of(context: &TaskContext) -> Self {
        let extension = context.session_config().get_extension::<Self>();
        extension.map_or(
            Self {
                job_id: 0,
                max_failures: 1,
            },
            |attempts| *attempts,
        )
    }

    /// Runs a task until it succeeds or has failed too often. `task` gets the context of each
    /// attempt and must leave nothing behind when it fails.
    ///
    /// # Errors
    /// What the last attempt failed with, as the end of a job.
    pub async fn run<T, F>(
        self,
        partition: usize,
        context: &TaskContext,
        task: impl Fn(Arc<TaskContext>) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut attempt = 0;
        loop {
            let error = match task(AttemptNumber(attempt).put_into(context)).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            attempt += 1;
            if attempt >= self.max_failures {
                let failed = FailedAttempt::local(partition, attempt - 1);
                return Err(match find_spark_error(&error) {
                    Some(spark) => external(failed.ends_job(self.job_id, spark)),
                    None => error,
                });
            }
            warn!(partition, attempt, %error, "a task failed and is tried again");
        }
    }
}
