//! Spark's error shape: condition, SQLSTATE, parameters and the class that pyspark maps.

use std::collections::BTreeMap;
use std::fmt;

use crate::exec;

/// Class names that `pyspark.errors.exceptions.connect` maps to Python exception classes.
pub mod class {
    /// `pyspark.errors.AnalysisException`
    pub const ANALYSIS: &str = "org.apache.spark.sql.AnalysisException";
    /// `pyspark.errors.ParseException`
    pub const PARSE: &str = "org.apache.spark.sql.catalyst.parser.ParseException";
    /// `pyspark.errors.PythonException`
    pub const PYTHON: &str = "org.apache.spark.api.python.PythonException";
    /// `pyspark.errors.ArithmeticException`
    pub const ARITHMETIC: &str = "org.apache.spark.SparkArithmeticException";
    /// `pyspark.errors.NumberFormatException`
    pub const NUMBER_FORMAT: &str = "org.apache.spark.SparkNumberFormatException";
    /// `pyspark.errors.DateTimeException`
    pub const DATE_TIME: &str = "org.apache.spark.SparkDateTimeException";
    /// `pyspark.errors.ArrayIndexOutOfBoundsException`
    pub const ARRAY_INDEX: &str = "org.apache.spark.SparkArrayIndexOutOfBoundsException";
    /// `pyspark.errors.IllegalArgumentException`
    pub const ILLEGAL_ARGUMENT: &str = "org.apache.spark.SparkIllegalArgumentException";
    /// `pyspark.errors.UnsupportedOperationException`
    pub const UNSUPPORTED: &str = "org.apache.spark.SparkUnsupportedOperationException";
    /// `pyspark.errors.SparkRuntimeException`
    pub const RUNTIME: &str = "org.apache.spark.SparkRuntimeException";
    /// Everything else.
    pub const SPARK: &str = "org.apache.spark.SparkException";
}

/// An error as Spark's Python half expects it. Travels as a value through DataFusion
/// (`DataFusionError::External`), Ballista and gRPC; nothing decides from its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SparkError {
    /// One of [`class`], or another class of Spark's.
    pub class_name: String,
    /// Error condition such as `DIVIDE_BY_ZERO`; empty when there is none.
    pub condition: String,
    /// Five-character SQLSTATE; empty when there is none.
    pub sql_state: String,
    /// Message parameters by name.
    pub parameters: BTreeMap<String, String>,
    /// Text after the `[CONDITION]` prefix.
    pub message: String,
}

impl SparkError {
    /// Creates an error with a condition and its SQLSTATE.
    pub fn new(
        class_name: &str,
        condition: &str,
        sql_state: &str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            class_name: class_name.to_owned(),
            condition: condition.to_owned(),
            sql_state: sql_state.to_owned(),
            parameters: BTreeMap::new(),
            message: message.into(),
        }
    }

    /// An error of Spark's general class, without a condition.
    pub fn other(message: impl Into<String>) -> Self {
        Self::new(class::SPARK, "", "", message)
    }

    /// A feature that is not there yet; `feature` names it.
    pub fn not_supported(feature: impl fmt::Display) -> Self {
        Self::new(
            class::UNSUPPORTED,
            "UNSUPPORTED_FEATURE",
            "0A000",
            format!("{feature} is not supported yet"),
        )
        .with("feature", feature.to_string())
    }

    /// An error in a Python function; `traceback` is the user's.
    pub fn python(traceback: impl Into<String>) -> Self {
        Self::new(class::PYTHON, "", "", traceback)
    }

    /// Adds a message parameter.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.parameters.insert(name.to_owned(), value.into());
        self
    }
}

impl fmt::Display for SparkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.condition.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "[{}] {}", self.condition, self.message)?;
        if !self.sql_state.is_empty() {
            write!(f, " SQLSTATE: {}", self.sql_state)?;
        }
        Ok(())
    }
}

impl std::error::Error for SparkError {}

impl From<exec::SparkError> for SparkError {
    fn from(e: exec::SparkError) -> Self {
        Self {
            class_name: e.class_name,
            condition: e.condition,
            sql_state: e.sql_state,
            parameters: e.parameters,
            message: e.message,
        }
    }
}

impl From<&SparkError> for exec::SparkError {
    fn from(e: &SparkError) -> Self {
        Self {
            class_name: e.class_name.clone(),
            condition: e.condition.clone(),
            sql_state: e.sql_state.clone(),
            parameters: e.parameters.clone(),
            message: e.message.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_wire() {
        let error = SparkError::new(
            class::ARITHMETIC,
            "DIVIDE_BY_ZERO",
            "22012",
            "division by zero",
        )
        .with("config", "spark.sql.ansi.enabled");
        let wire = exec::SparkError::from(&error);
        assert_eq!(SparkError::from(wire), error);
        assert_eq!(
            error.to_string(),
            "[DIVIDE_BY_ZERO] division by zero SQLSTATE: 22012"
        );
    }
}
