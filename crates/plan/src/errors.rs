//! Spark's analysis errors, by condition.

use datafusion::common::DataFusionError;
use pyrite_proto::error::{SparkError, class};

/// Result of analysis.
pub type Result<T, E = SparkError> = std::result::Result<T, E>;

/// The structured error inside an engine's error, or the engine's text.
pub fn from_datafusion(error: DataFusionError) -> SparkError {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<SparkError>() {
            Ok(spark) => *spark,
            Err(other) => match other.downcast::<DataFusionError>() {
                Ok(nested) => from_datafusion(*nested),
                Err(other) => SparkError::other(other.to_string()),
            },
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            from_datafusion(*inner)
        }
        DataFusionError::ArrowError(inner, text) => match *inner {
            arrow::error::ArrowError::ExternalError(inner) => {
                from_datafusion(DataFusionError::External(inner))
            }
            other => {
                SparkError::other(DataFusionError::ArrowError(Box::new(other), text).to_string())
            }
        },
        DataFusionError::Shared(inner) => match inner.as_ref() {
            DataFusionError::External(e) => match e.downcast_ref::<SparkError>() {
                Some(spark) => spark.clone(),
                None => SparkError::other(e.to_string()),
            },
            other => SparkError::other(other.to_string()),
        },
        other => SparkError::other(other.to_string()),
    }
}

fn analysis(condition: &str, sql_state: &str, message: impl Into<String>) -> SparkError {
    SparkError::new(class::ANALYSIS, condition, sql_state, message)
}

/// A message without a mandatory part: the client's fault.
pub fn invalid_message(what: &str) -> SparkError {
    SparkError::new(
        class::ILLEGAL_ARGUMENT,
        "CONNECT_INVALID_PLAN",
        "56K00",
        format!("the Spark Connect plan is invalid: {what} is missing"),
    )
}

/// Writes a name as Spark quotes it: `` `a`.`b` ``.
pub fn quote<S: AsRef<str>>(parts: &[S]) -> String {
    let quoted: Vec<String> = parts
        .iter()
        .map(|p| format!("`{}`", p.as_ref().replace('`', "``")))
        .collect();
    quoted.join(".")
}

/// `TABLE_OR_VIEW_NOT_FOUND`
pub fn table_not_found<S: AsRef<str>>(parts: &[S]) -> SparkError {
    let name = quote(parts);
    analysis(
        "TABLE_OR_VIEW_NOT_FOUND",
        "42P01",
        format!(
            "The table or view {name} cannot be found. Verify the spelling and correctness of the \
             schema and catalog.\nIf you did not qualify the name with a schema, verify the \
             current_schema() output, or qualify the name with the correct schema and catalog.\n\
             To tolerate the error on drop use DROP VIEW IF EXISTS or DROP TABLE IF EXISTS."
        ),
    )
    .with("relationName", name)
}

/// `UNRESOLVED_COLUMN.WITH_SUGGESTION`, or `.WITHOUT_SUGGESTION` when nothing is there.
pub fn unresolved_column<S: AsRef<str>>(parts: &[S], known: &[String]) -> SparkError {
    let name = quote(parts);
    let what =
        format!("A column, variable, or function parameter with name {name} cannot be resolved.");
    if known.is_empty() {
        return analysis("UNRESOLVED_COLUMN.WITHOUT_SUGGESTION", "42703", what)
            .with("objectName", name);
    }
    let proposal = suggestions(parts.last().map_or("", AsRef::as_ref), known);
    analysis(
        "UNRESOLVED_COLUMN.WITH_SUGGESTION",
        "42703",
        format!("{what} Did you mean one of the following? [{proposal}]."),
    )
    .with("objectName", name)
    .with("proposal", proposal)
}

/// `FIELD_NOT_FOUND`
pub fn field_not_found(field: &str, known: &[String]) -> SparkError {
    let names = known
        .iter()
        .map(|k| quote(&[k]))
        .collect::<Vec<_>>()
        .join(", ");
    let field = quote(&[field]);
    analysis(
        "FIELD_NOT_FOUND",
        "42704",
        format!("No such struct field {field} in {names}."),
    )
    .with("fieldName", field)
    .with("fields", names)
}

/// The names closest to `wanted`, closest first.
fn suggestions(wanted: &str, known: &[String]) -> String {
    let wanted = wanted.to_lowercase();
    let mut ranked: Vec<(usize, &String)> = known
        .iter()
        .map(|k| (distance(&wanted, &k.to_lowercase()), k))
        .collect();
    ranked.sort_by_key(|(d, _)| *d);
    ranked
        .iter()
        .take(5)
        .map(|(_, k)| quote(&[k]))
        .collect::<Vec<_>>()
        .join(", ")
}

fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut previous = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let cost = previous + usize::from(ca != *cb);
            previous = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(previous + 1);
        }
    }
    row[b.len()]
}

/// `AMBIGUOUS_REFERENCE`
pub fn ambiguous_reference<S: AsRef<str>>(parts: &[S], candidates: &[String]) -> SparkError {
    let name = quote(parts);
    let found = format!("[{}]", candidates.join(", "));
    analysis(
        "AMBIGUOUS_REFERENCE",
        "42704",
        format!("Reference {name} is ambiguous, could be: {found}."),
    )
    .with("name", name)
    .with("referenceNames", found)
}

/// `AMBIGUOUS_COLUMN_REFERENCE`: a DataFrame's column after a self join.
pub fn ambiguous_column(name: &str) -> SparkError {
    let name = quote(&[name]);
    analysis(
        "AMBIGUOUS_COLUMN_REFERENCE",
        "42702",
        format!(
            "Column {name} is ambiguous. It's because you joined several DataFrame together, and \
             some of these DataFrames are the same.\nThis column points to one of the DataFrames \
             but Spark is unable to figure out which one.\nPlease alias the DataFrames with \
             different names via `DataFrame.alias` before joining them,\nand specify the column \
             using qualified name, e.g. `df.alias(\"a\").join(df.alias(\"b\"), col(\"a.id\") > \
             col(\"b.id\"))`."
        ),
    )
    .with("name", name)
}

/// `UNRESOLVED_ROUTINE`
pub fn unresolved_routine(name: &str) -> SparkError {
    let parts: Vec<&str> = name.split('.').collect();
    let name = quote(&parts);
    let path = "[`system`.`builtin`, `system`.`session`, `spark_catalog`.`default`]";
    analysis(
        "UNRESOLVED_ROUTINE",
        "42883",
        format!("Cannot resolve routine {name} on search path {path}.\nVerify the spelling of {name}, check that the routine exists, and confirm you have `USE` privilege on the catalog and schema, and EXECUTE on the routine."),
    )
    .with("routineName", name)
    .with("searchPath", path)
}

/// `INVALID_ATTRIBUTE_NAME_SYNTAX`
pub fn invalid_attribute(name: &str) -> SparkError {
    let quoted = quote(&[name]);
    analysis(
        "INVALID_ATTRIBUTE_NAME_SYNTAX",
        "42601",
        format!(
            "Syntax error in the attribute name: {quoted}. Check that backticks appear in pairs, a \
             quoted string is a complete name part and use a backtick only inside quoted name parts."
        ),
    )
    .with("name", quoted)
}

/// `DATATYPE_MISMATCH.*`; `expression` is the text of the failing expression.
pub fn type_mismatch(sub: &str, expression: &str, why: impl Into<String>) -> SparkError {
    let why = why.into();
    analysis(
        &format!("DATATYPE_MISMATCH.{sub}"),
        "42K09",
        format!("Cannot resolve \"{expression}\" due to data type mismatch: {why}"),
    )
    .with("sqlExpr", format!("\"{expression}\""))
}

/// `DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE`
pub fn unexpected_input(
    expression: &str,
    index: usize,
    required: &str,
    input: &str,
    actual: &str,
) -> SparkError {
    const ORDINALS: [&str; 6] = ["first", "second", "third", "fourth", "fifth", "sixth"];
    let ordinal = ORDINALS.get(index).copied().unwrap_or("next");
    type_mismatch(
        "UNEXPECTED_INPUT_TYPE",
        expression,
        format!(
            "The {ordinal} parameter requires the \"{required}\" type, however \"{input}\" has the \
             type \"{actual}\"."
        ),
    )
    .with("paramIndex", ordinal)
    .with("requiredType", format!("\"{required}\""))
    .with("inputSql", format!("\"{input}\""))
    .with("inputType", format!("\"{actual}\""))
}

/// `DATATYPE_MISMATCH.BINARY_OP_DIFF_TYPES`
pub fn different_types(expression: &str, left: &str, right: &str) -> SparkError {
    type_mismatch(
        "BINARY_OP_DIFF_TYPES",
        expression,
        format!("the left and right operands of the binary operator have incompatible types (\"{left}\" and \"{right}\")."),
    )
    .with("left", format!("\"{left}\""))
    .with("right", format!("\"{right}\""))
}

/// `WRONG_NUM_ARGS.WITHOUT_SUGGESTION`
pub fn wrong_arguments(name: &str, expected: &str, actual: usize) -> SparkError {
    let quoted = quote(&[name]);
    analysis(
        "WRONG_NUM_ARGS.WITHOUT_SUGGESTION",
        "42605",
        format!(
            "The {quoted} requires {expected} parameters but the actual number is {actual}. Please \
             refer to 'https://spark.apache.org/docs/latest/sql-ref-functions.html' for a fix."
        ),
    )
    .with("functionName", quoted)
    .with("expectedNum", expected)
    .with("actualNum", actual.to_string())
    .with("docroot", "https://spark.apache.org/docs/latest")
}

/// `MISSING_AGGREGATION`
pub fn missing_aggregation(expression: &str) -> SparkError {
    analysis(
        "MISSING_AGGREGATION",
        "42803",
        format!(
            "The non-aggregating expression \"{expression}\" is based on columns which are not \
             participating in the GROUP BY clause.\nAdd the columns or the expression to the GROUP \
             BY, aggregate the expression, or use \"any_value({expression})\" if you do not care \
             which of the values within a group is returned."
        ),
    )
    .with("expression", format!("\"{expression}\""))
    .with("expressionAnyValue", format!("\"any_value({expression})\""))
}

/// `MISSING_GROUP_BY`
pub fn missing_group_by() -> SparkError {
    analysis(
        "MISSING_GROUP_BY",
        "42803",
        "The query does not include a GROUP BY clause. Add GROUP BY or turn it into the window \
         functions using OVER clauses.",
    )
}

/// `NUM_COLUMNS_MISMATCH`
pub fn column_count_mismatch(operator: &str, first: usize, other: usize) -> SparkError {
    analysis(
        "NUM_COLUMNS_MISMATCH",
        "42826",
        format!(
            "{operator} can only be performed on inputs with the same number of columns, but the \
             first input has {first} columns and the second input has {other} columns."
        ),
    )
    .with("operator", operator)
    .with("firstNumColumns", first.to_string())
    .with("invalidOrdinalNum", "second")
    .with("invalidNumColumns", other.to_string())
}

/// `INCOMPATIBLE_COLUMN_TYPE`
pub fn incompatible_column(operator: &str, index: usize, left: &str, right: &str) -> SparkError {
    analysis(
        "INCOMPATIBLE_COLUMN_TYPE",
        "42825",
        format!(
            "{operator} can only be performed on tables with compatible column types. The column \
             {index} of the second table is \"{right}\" type which is not compatible with \
             \"{left}\" at the same column of the first table."
        ),
    )
}

/// `SCHEMA_NOT_FOUND`
pub fn schema_not_found(name: &str) -> SparkError {
    let name = quote(&["spark_catalog", name]);
    analysis(
        "SCHEMA_NOT_FOUND",
        "42704",
        format!(
            "The schema {name} cannot be found. Verify the spelling and correctness of the schema \
             and catalog.\nIf you did not qualify the name with a catalog, verify the \
             current_schema() output, or qualify the name with the correct catalog.\nTo tolerate \
             the error on drop use DROP SCHEMA IF EXISTS."
        ),
    )
    .with("schemaName", name)
}

/// `PATH_NOT_FOUND`
pub fn path_not_found(path: &str) -> SparkError {
    analysis(
        "PATH_NOT_FOUND",
        "42K03",
        format!("Path does not exist: {path}."),
    )
    .with("path", path)
}

/// `PATH_ALREADY_EXISTS`
pub fn path_exists(path: &str) -> SparkError {
    analysis(
        "PATH_ALREADY_EXISTS",
        "42K04",
        format!(
            "Path {path} already exists. Set mode as \"overwrite\" to overwrite the existing path."
        ),
    )
    .with("outputPath", path)
}

/// `TEMP_TABLE_OR_VIEW_ALREADY_EXISTS`
pub fn view_exists(name: &str) -> SparkError {
    let name = quote(&[name]);
    analysis(
        "TEMP_TABLE_OR_VIEW_ALREADY_EXISTS",
        "42P07",
        format!(
            "Cannot create the temporary view {name} because it already exists.\nChoose a different \
             name, drop or replace the existing view,  or add the IF NOT EXISTS clause to tolerate \
             pre-existing views."
        ),
    )
    .with("relationName", name)
}

/// `UNABLE_TO_INFER_SCHEMA`
pub fn cannot_infer_schema(format: &str) -> SparkError {
    analysis(
        "UNABLE_TO_INFER_SCHEMA",
        "42KD9",
        format!("Unable to infer schema for {format}. It must be specified manually."),
    )
    .with("format", format)
}

/// `DATA_SOURCE_NOT_FOUND`
pub fn unknown_format(format: &str) -> SparkError {
    SparkError::new(
        class::SPARK,
        "DATA_SOURCE_NOT_FOUND",
        "42K02",
        format!("Failed to find the data source: {format}. Make sure the provider name is correct and the package is properly registered and compatible with your Spark version."),
    )
    .with("provider", format)
}

/// `DECIMAL_PRECISION_EXCEEDS_MAX_PRECISION`
pub fn decimal_precision(precision: i32) -> SparkError {
    analysis(
        "DECIMAL_PRECISION_EXCEEDS_MAX_PRECISION",
        "22003",
        format!("Decimal precision {precision} exceeds max precision 38."),
    )
    .with("precision", precision.to_string())
    .with("maxPrecision", "38")
}

/// `DECIMAL_SCALE_EXCEEDS_PRECISION`
pub fn decimal_scale(precision: i32, scale: i32) -> SparkError {
    analysis(
        "INVALID_DECIMAL_SCALE",
        "22003",
        format!("Decimal scale ({scale}) cannot be greater than precision ({precision})."),
    )
}

/// An analysis error with a condition that needs no parameters here.
pub fn with_condition(condition: &str, sql_state: &str, message: impl Into<String>) -> SparkError {
    analysis(condition, sql_state, message)
}
