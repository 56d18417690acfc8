//! Spark's runtime errors, as DataFusion carries them.

use datafusion::common::DataFusionError;
use pyrite_proto::error::{SparkError, class};

const ANSI_HINT: &str =
    "If necessary set \"spark.sql.ansi.enabled\" to \"false\" to bypass this error.";

/// Wraps a structured error for its way through the engine.
pub fn external(error: SparkError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// `DIVIDE_BY_ZERO`
pub fn divide_by_zero() -> DataFusionError {
    external(
        SparkError::new(
            class::ARITHMETIC,
            "DIVIDE_BY_ZERO",
            "22012",
            format!(
                "Division by zero. Use `try_divide` to tolerate divisor being 0 and return NULL \
                 instead. {ANSI_HINT}"
            ),
        )
        .with("config", "\"spark.sql.ansi.enabled\""),
    )
}

/// `REMAINDER_BY_ZERO`
pub fn remainder_by_zero() -> DataFusionError {
    external(
        SparkError::new(
            class::ARITHMETIC,
            "REMAINDER_BY_ZERO",
            "22012",
            format!(
                "Remainder by zero. Use `try_mod` to tolerate divisor being 0 and return NULL \
                 instead. {ANSI_HINT}"
            ),
        )
        .with("config", "\"spark.sql.ansi.enabled\""),
    )
}

/// `ARITHMETIC_OVERFLOW`; `alternative` is the function that returns NULL instead.
pub fn arithmetic_overflow(what: &str, alternative: &str) -> DataFusionError {
    let way_out = if alternative.is_empty() {
        String::new()
    } else {
        format!(" Use '{alternative}' to tolerate overflow and return NULL instead.")
    };
    external(
        SparkError::new(
            class::ARITHMETIC,
            "ARITHMETIC_OVERFLOW",
            "22003",
            format!("{what}.{way_out} {ANSI_HINT}"),
        )
        .with("message", what)
        .with("alternative", way_out.as_str())
        .with("config", "\"spark.sql.ansi.enabled\""),
    )
}

/// `NUMERIC_VALUE_OUT_OF_RANGE` for a value that a decimal type cannot hold.
pub fn decimal_out_of_range(value: &str, precision: u8, scale: i8) -> DataFusionError {
    external(
        SparkError::new(
            class::ARITHMETIC,
            "NUMERIC_VALUE_OUT_OF_RANGE.WITH_SUGGESTION",
            "22003",
            format!(
                "The {value} cannot be represented as Decimal({precision}, {scale}). If necessary \
                 set \"spark.sql.ansi.enabled\" to \"false\" to bypass this error, and return NULL \
                 instead."
            ),
        )
        .with("value", value)
        .with("precision", precision.to_string())
        .with("scale", scale.to_string())
        .with("config", "\"spark.sql.ansi.enabled\""),
    )
}

/// `CAST_INVALID_INPUT`: `value` as SQL would write it, types as `"STRING"`.
pub fn cast_invalid_input(value: &str, from: &str, to: &str) -> DataFusionError {
    let class_name = match to {
        "DATE" | "TIMESTAMP" | "TIMESTAMP_NTZ" => class::DATE_TIME,
        "BOOLEAN" => class::RUNTIME,
        _ => class::NUMBER_FORMAT,
    };
    external(
        SparkError::new(
            class_name,
            "CAST_INVALID_INPUT",
            "22018",
            format!(
                "The value {value} of the type \"{from}\" cannot be cast to \"{to}\" because it is \
                 malformed. Correct the value as per the syntax, or change its target type. Use \
                 `try_cast` to tolerate malformed input and return NULL instead."
            ),
        )
        .with("expression", value)
        .with("sourceType", format!("\"{from}\""))
        .with("targetType", format!("\"{to}\""))
        .with("ansiConfig", "\"spark.sql.ansi.enabled\""),
    )
}

/// `CAST_OVERFLOW`: a number outside the range of its target.
pub fn cast_overflow(value: &str, from: &str, to: &str) -> DataFusionError {
    external(
        SparkError::new(
            class::ARITHMETIC,
            "CAST_OVERFLOW",
            "22003",
            format!(
                "The value {value} of the type \"{from}\" cannot be cast to \"{to}\" due to an \
                 overflow. Use `try_cast` to tolerate overflow and return NULL instead."
            ),
        )
        .with("value", value)
        .with("sourceType", format!("\"{from}\""))
        .with("targetType", format!("\"{to}\""))
        .with("ansiConfig", "\"spark.sql.ansi.enabled\""),
    )
}

/// An argument that a function cannot work with, without a condition of its own here.
pub fn illegal_argument(
    condition: &str,
    sql_state: &str,
    message: impl Into<String>,
) -> DataFusionError {
    external(SparkError::new(
        class::ILLEGAL_ARGUMENT,
        condition,
        sql_state,
        message,
    ))
}
