//! Syntax errors in Spark's shape.

use pyrite_proto::error::{SparkError, class};

/// Result of parsing.
pub type Result<T> = std::result::Result<T, SparkError>;

/// A place in SQL text: line from 1, column from 0, both counted in characters as Spark does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub line: usize,
    pub column: usize,
}

/// `PARSE_SYNTAX_ERROR` at `position`; `near` is the offending token as written, `hint` may be empty.
pub(crate) fn syntax_error(sql: &str, position: Position, near: &str, hint: &str) -> SparkError {
    let message = format!("Syntax error at or near {near}{hint}.");
    SparkError::new(
        class::PARSE,
        "PARSE_SYNTAX_ERROR",
        "42601",
        with_context(sql, position, &message),
    )
    .with("error", near)
    .with("hint", hint)
}

/// `PARSE_EMPTY_STATEMENT`: nothing but white space and comments.
pub(crate) fn empty_statement(sql: &str) -> SparkError {
    let position = Position { line: 1, column: 0 };
    let message = "Syntax error, unexpected empty statement.";
    SparkError::new(
        class::PARSE,
        "PARSE_EMPTY_STATEMENT",
        "42617",
        with_context(sql, position, message),
    )
}

/// A parse error with another condition than the general one.
pub(crate) fn parse_error(
    condition: &str,
    sql_state: &str,
    message: impl Into<String>,
) -> SparkError {
    SparkError::new(class::PARSE, condition, sql_state, message)
}

/// `UNBOUND_SQL_PARAMETER` for a `:name` or `?` without an argument.
pub(crate) fn unbound_parameter(name: &str) -> SparkError {
    let message = format!(
        "Found the unbound parameter: {name}. Please, fix `args` and provide a mapping of the parameter to \
         either a SQL literal or collection constructor functions such as `map()`, `array()`, `struct()`."
    );
    SparkError::new(class::ANALYSIS, "UNBOUND_SQL_PARAMETER", "42P02", message).with("name", name)
}

/// Adds Spark's context block: where the error is, and the text with a marker below the line.
fn with_context(sql: &str, position: Position, message: &str) -> String {
    let mut text = format!(
        "{message} (line {}, pos {})\n\n== SQL ==\n",
        position.line, position.column
    );
    for (index, line) in sql.lines().enumerate() {
        text.push_str(line);
        text.push('\n');
        if index + 1 == position.line {
            text.push_str(&"-".repeat(position.column));
            text.push_str("^^^\n");
        }
    }
    if sql.is_empty() {
        text.push_str("\n^^^\n");
    }
    text
}
