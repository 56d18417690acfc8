//! Errors on their way from an operator to the user, as values.
//!
//! Ballista carries a task's failure as text. [`seal`] puts a [`SparkError`] into an error
//! whose text holds it in full, and [`unseal`] gets it back, so that nothing in between has
//! to be understood.

use std::fmt;

use ballista_core::error::BallistaError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use datafusion::arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use prost::Message;
use pyrite_proto::error::{SparkError, class};
use pyrite_proto::exec;

const OPEN: &str = "<pyrite-error:";
const CLOSE: &str = ">";

/// Finds the Spark error in an engine error, or makes one that fits.
pub fn to_spark_error(error: DataFusionError) -> SparkError {
    find(&error).unwrap_or_else(|| classify(&error))
}

/// Turns a Ballista error into the Spark error that it carries, or makes one that fits.
pub(crate) fn from_ballista(error: &BallistaError) -> SparkError {
    find_in_ballista(error)
        .or_else(|| unseal(&error.to_string()))
        .unwrap_or_else(|| SparkError::other(error.to_string()))
}

/// An error whose `Debug` and `Display` hold a whole [`SparkError`].
struct Sealed(String);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Sealed {}

/// Makes an error for Ballista to carry. What Ballista can heal by itself (a lost shuffle
/// file, trouble with disk or network, a cancelled task) stays as it is, so that it still
/// recognises it.
pub fn seal(error: DataFusionError) -> DataFusionError {
    if heals_by_retry(&error) {
        return error;
    }
    let message = exec::SparkError::from(&to_spark_error(error));
    let text = format!("{OPEN}{}{CLOSE}", BASE64.encode(message.encode_to_vec()));
    DataFusionError::External(Box::new(Sealed(text)))
}

/// Gets a sealed error out of a text that it has become part of.
pub fn unseal(text: &str) -> Option<SparkError> {
    let start = text.find(OPEN)? + OPEN.len();
    let end = start + text[start..].find(CLOSE)?;
    let bytes = BASE64.decode(&text[start..end]).ok()?;
    Some(exec::SparkError::decode(bytes.as_slice()).ok()?.into())
}

fn find(error: &DataFusionError) -> Option<SparkError> {
    match error {
        DataFusionError::External(inner) => {
            if let Some(error) = inner.downcast_ref::<SparkError>() {
                Some(error.clone())
            } else if let Some(error) = inner.downcast_ref::<DataFusionError>() {
                find(error)
            } else if let Some(error) = inner.downcast_ref::<BallistaError>() {
                find_in_ballista(error)
            } else if let Some(error) = inner.downcast_ref::<ArrowError>() {
                find_in_arrow(error)
            } else {
                inner
                    .downcast_ref::<Sealed>()
                    .and_then(|sealed| unseal(&sealed.0))
            }
        }
        DataFusionError::ArrowError(error, _) => find_in_arrow(error),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => find(inner),
        DataFusionError::Shared(inner) => find(inner),
        DataFusionError::Collection(errors) => errors.iter().find_map(find),
        _ => None,
    }
}

fn find_in_arrow(error: &ArrowError) -> Option<SparkError> {
    let ArrowError::ExternalError(inner) = error else {
        return None;
    };
    inner
        .downcast_ref::<SparkError>()
        .cloned()
        .or_else(|| inner.downcast_ref::<DataFusionError>().and_then(find))
        .or_else(|| {
            inner
                .downcast_ref::<BallistaError>()
                .and_then(find_in_ballista)
        })
}

fn find_in_ballista(error: &BallistaError) -> Option<SparkError> {
    match error {
        BallistaError::DataFusionError(inner) => find(inner),
        BallistaError::ArrowError(inner) => find_in_arrow(inner),
        _ => None,
    }
}

fn heals_by_retry(error: &DataFusionError) -> bool {
    match error.find_root() {
        DataFusionError::IoError(_) => true,
        DataFusionError::External(inner) => inner
            .downcast_ref::<BallistaError>()
            .is_some_and(ballista_heals),
        _ => false,
    }
}

fn ballista_heals(error: &BallistaError) -> bool {
    match error {
        BallistaError::FetchFailed(..) | BallistaError::IoError(_) | BallistaError::Cancelled => {
            true
        }
        BallistaError::DataFusionError(inner) => heals_by_retry(inner),
        _ => false,
    }
}

/// Spark's class for an error that the engine made by itself.
fn classify(error: &DataFusionError) -> SparkError {
    match error.find_root() {
        DataFusionError::ArrowError(inner, _) => classify_arrow(inner),
        DataFusionError::External(inner) => classify_external(inner.as_ref()),
        DataFusionError::Plan(message) => SparkError::new(class::ANALYSIS, "", "", message.clone()),
        DataFusionError::NotImplemented(message) => SparkError::not_supported(message),
        DataFusionError::Execution(message) => {
            SparkError::new(class::RUNTIME, "", "", message.clone())
        }
        DataFusionError::ResourcesExhausted(message) => SparkError::new(
            class::SPARK,
            "",
            "",
            format!(
                "out of memory: {message} (raise spark.executor.memory or spark.driver.memory)"
            ),
        ),
        root => SparkError::other(root.to_string()),
    }
}

/// Looks below the wrappers that a stage's writer puts around an error.
fn classify_external(error: &(dyn std::error::Error + Send + Sync + 'static)) -> SparkError {
    if let Some(inner) = error.downcast_ref::<DataFusionError>() {
        return classify(inner);
    }
    if let Some(inner) = error.downcast_ref::<ArrowError>() {
        return classify_arrow(inner);
    }
    match error.downcast_ref::<BallistaError>() {
        Some(BallistaError::DataFusionError(inner)) => classify(inner),
        Some(BallistaError::ArrowError(inner)) => classify_arrow(inner),
        _ => SparkError::other(error.to_string()),
    }
}

fn classify_arrow(error: &ArrowError) -> SparkError {
    match error {
        ArrowError::DivideByZero => SparkError::new(
            class::ARITHMETIC,
            "DIVIDE_BY_ZERO",
            "22012",
            "Division by zero. Use `try_divide` to tolerate divisor being 0 and return NULL instead.",
        ),
        ArrowError::ArithmeticOverflow(message) => SparkError::new(
            class::ARITHMETIC,
            "ARITHMETIC_OVERFLOW",
            "22003",
            message.clone(),
        ),
        ArrowError::ExternalError(inner) => classify_external(inner.as_ref()),
        other => SparkError::new(class::RUNTIME, "", "", other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn user_error() -> SparkError {
        SparkError::python("Traceback (most recent call last):\n  \"é\" > \\ValueError")
            .with("a", "b")
    }

    #[test]
    fn a_sealed_error_survives_becoming_text() {
        let sealed = seal(DataFusionError::External(Box::new(user_error())));
        let shared = DataFusionError::Shared(Arc::new(sealed));
        let carried = BallistaError::DataFusionError(Box::new(shared));
        let text = format!("Job failed due to stage 1 failed: Task failed: {carried:?}\n");
        assert_eq!(unseal(&text), Some(user_error()));
    }

    #[test]
    fn errors_are_found_below_every_wrapper() {
        let inner = || DataFusionError::External(Box::new(user_error()));
        let wrapped = [
            inner().context("while reading"),
            DataFusionError::Shared(Arc::new(inner())),
            BallistaError::DataFusionError(Box::new(inner())).into_datafusion(),
            DataFusionError::ArrowError(
                Box::new(ArrowError::ExternalError(Box::new(inner()))),
                None,
            ),
        ];
        for error in wrapped {
            assert_eq!(to_spark_error(error), user_error());
        }
    }

    #[test]
    fn the_engines_own_errors_get_spark_classes_below_every_wrapper() {
        let inner = || DataFusionError::ArrowError(Box::new(ArrowError::DivideByZero), None);
        let by_writer = BallistaError::DataFusionError(Box::new(inner())).into_datafusion();
        for error in [inner(), DataFusionError::Shared(Arc::new(by_writer))] {
            assert_eq!(to_spark_error(error).condition, "DIVIDE_BY_ZERO");
        }
    }

    #[test]
    fn what_ballista_retries_is_left_alone() {
        let lost = BallistaError::FetchFailed("1".into(), 1, 2, "gone".into()).into_datafusion();
        let sealed = seal(DataFusionError::Shared(Arc::new(lost)));
        assert!(unseal(&format!("{sealed:?}")).is_none());
        let io = DataFusionError::IoError(std::io::Error::other("disk"));
        assert!(matches!(seal(io), DataFusionError::IoError(_)));
    }
}
