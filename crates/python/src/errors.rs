//! Errors of Python tasks, as values that survive DataFusion and the wire.

use std::process::ExitStatus;

use datafusion::common::DataFusionError;
use pyrite_proto::error::{SparkError, class};

/// Wraps a [`SparkError`] for its way through DataFusion.
pub(crate) fn external(error: SparkError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// A fault of ours, for example a message that does not follow the worker protocol.
pub fn internal(message: impl Into<String>) -> SparkError {
    SparkError::new(class::SPARK, "INTERNAL_ERROR", "XX000", message)
}

/// The [`SparkError`] that an engine error carries, if that is what it is at its root.
pub(crate) fn find_spark_error(error: &DataFusionError) -> Option<SparkError> {
    match error.find_root() {
        DataFusionError::External(source) => source.downcast_ref::<SparkError>().cloned(),
        _ => None,
    }
}

/// Takes the [`SparkError`] out of a DataFusion error, or makes one of its text.
pub fn to_spark_error(error: &DataFusionError) -> SparkError {
    match error.find_root() {
        DataFusionError::External(source) => source
            .downcast_ref::<SparkError>()
            .cloned()
            .unwrap_or_else(|| SparkError::other(source.to_string())),
        other => SparkError::other(other.to_string()),
    }
}

/// The worker went away in the middle of a task.
pub(crate) fn worker_crashed(how: &str) -> SparkError {
    let mut text = "Python worker exited unexpectedly (crashed)".to_owned();
    if !how.is_empty() {
        text.push_str(": ");
        text.push_str(how);
    }
    SparkError::other(text)
}

/// The daemon that forks workers did not start, or died.
pub(crate) fn daemon_failed(command: &str, how: &str) -> SparkError {
    SparkError::other(format!(
        "cannot start Python workers with `{command}`: {how}; set PYSPARK_PYTHON or \
         spark.pyspark.python to an interpreter that has pyspark installed"
    ))
}

/// Says how a child process ended.
pub(crate) fn describe_exit(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => match nix::sys::signal::Signal::try_from(signal) {
            Ok(name) => format!("killed by signal {signal} ({name})"),
            Err(_) => format!("killed by signal {signal}"),
        },
        (None, None) => "ended without a status".to_owned(),
    }
}
