//! Functions about the session and the query.

use datafusion::logical_expr::lit;
use pyrite_functions::type_names::simple_name;
use pyrite_proto::error::SparkError;

use super::{Call, engine};
use crate::analyzer::{Analyzer, Typed};
use crate::errors::Result;

pub(super) fn build(a: &Analyzer, call: &Call) -> Result<Option<Typed>> {
    let typed = match call.name.as_str() {
        "current_database" | "current_schema" => {
            call.named(lit(a.catalog.current_database()), "current_schema()")?
        }
        "current_catalog" => call.named(lit("spark_catalog"), "current_catalog()")?,
        "current_user" | "user" | "session_user" => {
            let user = std::env::var("USER").unwrap_or_else(|_| "root".into());
            call.named(lit(user), format!("{}()", call.name))?
        }
        "version" => call.named(lit(crate::SPARK_VERSION), "version()")?,
        "typeof" => {
            call.expect(1, 1)?;
            call.typed(lit(simple_name(&call.arg(0)?.data_type)))?
        }
        "monotonically_increasing_id" => {
            let id = engine::call("spark_row_id", vec![])?;
            let mut typed = call.typed(id)?;
            typed.nullable = false;
            typed
        }
        "spark_partition_id" | "input_file_name" => {
            return Err(SparkError::not_supported(format!(
                "function `{}`",
                call.name
            )));
        }
        "assert_true" | "raise_error" => {
            return Err(SparkError::not_supported(format!(
                "function `{}`",
                call.name
            )));
        }
        name if to_type(name).is_some() && call.args.len() == 1 => {
            let Some(to) = to_type(name) else {
                return Ok(None);
            };
            let arg = call.arg(0)?;
            let expr = a.cast_expr(arg.expr.clone(), &arg.data_type, &to, a.cast_mode());
            call.typed(expr)?
        }
        _ => return Ok(None),
    };
    Ok(Some(typed))
}

/// Functions named like types cast to them.
fn to_type(name: &str) -> Option<arrow::datatypes::DataType> {
    use arrow::datatypes::DataType as T;
    Some(match name {
        "int" => T::Int32,
        "bigint" => T::Int64,
        "smallint" => T::Int16,
        "tinyint" => T::Int8,
        "float" => T::Float32,
        "double" => T::Float64,
        "string" => T::Utf8,
        "boolean" => T::Boolean,
        "binary" => T::Binary,
        "decimal" => T::Decimal128(10, 0),
        _ => return None,
    })
}
