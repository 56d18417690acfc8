//! Errors of this crate: Spark's shape, carried by DataFusion's error.

use datafusion::common::DataFusionError;
use pyrite_proto::error::SparkError;

/// Wraps a [`SparkError`] for its way through DataFusion.
pub fn external(error: SparkError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// An error of Hadoop's file formats; `class` is the exception's name.
pub(crate) fn hadoop(class: &str, message: impl Into<String>) -> DataFusionError {
    external(SparkError::new(class, "", "", message))
}

/// A fault of ours.
pub(crate) fn internal(message: impl Into<String>) -> DataFusionError {
    DataFusionError::Internal(message.into())
}

/// A failed access to a file.
pub(crate) fn io(what: &str, path: &std::path::Path, source: &std::io::Error) -> DataFusionError {
    external(SparkError::new(
        "java.io.IOException",
        "",
        "",
        format!("cannot {what} `{}`: {source}", path.display()),
    ))
}
