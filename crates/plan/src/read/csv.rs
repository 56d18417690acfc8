//! CSV: read as text, then cast with Spark's rules.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use pyrite_functions::cast::CastMode;
use pyrite_functions::format::parse_zone;
use pyrite_functions::parse;
use pyrite_proto::error::SparkError;

use super::{FoundFiles, LoadedFiles, finish, infer};
use crate::errors::{self, Result, from_datafusion};
use crate::functions::engine;
use crate::leaves::FileScan;
use crate::resolved::ResolvedField;
use crate::types;

/// The casts over a table of text columns.
#[derive(Debug, Clone)]
pub(super) struct Casts {
    targets: Vec<DataType>,
    null_value: String,
    time_zone: String,
    trim_left: bool,
    trim_right: bool,
    fail_fast: bool,
}

impl Casts {
    /// The wanted type of a column and the expression for it.
    pub fn apply(&self, index: usize, field: &ResolvedField) -> Result<(DataType, Expr)> {
        let mut expr = field.expr();
        let target = match self.targets.get(index) {
            Some(target) if field.data_type == DataType::Utf8 => target.clone(),
            // Partition columns have their types.
            _ => return Ok((field.data_type.clone(), expr)),
        };
        if !self.null_value.is_empty() {
            expr = engine::call("nullif", vec![expr, lit(self.null_value.as_str())])?;
        }
        if self.trim_left {
            expr = engine::call("ltrim", vec![expr])?;
        }
        if self.trim_right {
            expr = engine::call("rtrim", vec![expr])?;
        }
        if target == DataType::Utf8 {
            return Ok((target, expr));
        }
        let mode = if self.fail_fast {
            CastMode::Ansi
        } else {
            CastMode::Try
        };
        let null = datafusion::common::ScalarValue::try_from(&target).map_err(from_datafusion)?;
        let args = vec![
            expr,
            lit(null),
            lit(mode.as_str()),
            lit(self.time_zone.as_str()),
        ];
        Ok((target, engine::spark_cast(args)))
    }
}

fn flag(scan: &FileScan, key: &str) -> bool {
    scan.options
        .get(key)
        .is_some_and(|v| v.eq_ignore_ascii_case("true"))
}

fn byte(scan: &FileScan, keys: &[&str], default: u8) -> Result<u8> {
    let Some(text) = keys.iter().find_map(|k| scan.options.get(*k)) else {
        return Ok(default);
    };
    match text.as_str() {
        "\\t" => Ok(b'\t'),
        "" if keys.contains(&"quote") => Ok(0),
        one if one.len() == 1 => Ok(one.as_bytes()[0]),
        _ => Err(SparkError::not_supported(format!(
            "CSV option {} of {text:?}",
            keys[0]
        ))),
    }
}

pub(super) async fn load(
    scan: &FileScan,
    found: FoundFiles,
    wanted: Option<SchemaRef>,
    context: &SessionContext,
    time_zone: &str,
) -> Result<LoadedFiles> {
    let header = flag(scan, "header");
    let mut csv = CsvFormat::default()
        .with_has_header(header)
        .with_delimiter(byte(scan, &["sep", "delimiter"], b',')?)
        .with_quote(byte(scan, &["quote"], b'"')?)
        .with_escape(Some(byte(scan, &["escape"], b'\\')?))
        .with_newlines_in_values(flag(scan, "multiline"))
        .with_truncated_rows(true);
    if scan.options.get("comment").is_some_and(|c| !c.is_empty()) {
        csv = csv.with_comment(Some(byte(scan, &["comment"], b'#')?));
    }
    let format: Arc<dyn FileFormat> = Arc::new(csv);
    let names = match &wanted {
        Some(schema) => schema.fields().iter().map(|f| f.name().clone()).collect(),
        None => {
            let Some(first) = found.files.iter().position(|f| f.meta.size > 0) else {
                return Err(errors::cannot_infer_schema("CSV"));
            };
            let inferred = infer(&format, &found.files[first..=first], &found, context).await?;
            column_names(&inferred, header)
        }
    };
    let text: Vec<Field> = names
        .iter()
        .map(|n| Field::new(n, DataType::Utf8, true))
        .collect();
    let text = Arc::new(Schema::new(text));
    let targets = match wanted {
        Some(schema) => schema
            .fields()
            .iter()
            .map(|f| f.data_type().clone())
            .collect(),
        None if flag(scan, "inferschema") => {
            let table = finish(found.clone(), Arc::clone(&format), Arc::clone(&text), None)?;
            infer_types(&table, names.len(), scan, context, time_zone).await?
        }
        None => vec![DataType::Utf8; names.len()],
    };
    let casts = Casts {
        targets,
        null_value: scan.options.get("nullvalue").cloned().unwrap_or_default(),
        time_zone: time_zone.to_owned(),
        trim_left: flag(scan, "ignoreleadingwhitespace"),
        trim_right: flag(scan, "ignoretrailingwhitespace"),
        fail_fast: scan
            .options
            .get("mode")
            .is_some_and(|m| m.eq_ignore_ascii_case("failfast")),
    };
    finish(found, format, text, Some(casts))
}

/// Names from the header, or `_c0`, `_c1`, ...; repeated names get their place appended.
fn column_names(inferred: &SchemaRef, header: bool) -> Vec<String> {
    let fields = inferred.fields();
    (0..fields.len())
        .map(|i| {
            let name = fields[i].name();
            if !header || name.is_empty() {
                return format!("_c{i}");
            }
            let repeated = fields
                .iter()
                .filter(|f| f.name().eq_ignore_ascii_case(name))
                .count()
                > 1;
            if repeated {
                format!("{name}{i}")
            } else {
                name.clone()
            }
        })
        .collect()
}

/// The narrowest type that fits all values of each column, in Spark's order.
async fn infer_types(
    table: &LoadedFiles,
    columns: usize,
    scan: &FileScan,
    context: &SessionContext,
    time_zone: &str,
) -> Result<Vec<DataType>> {
    let null_value = scan.options.get("nullvalue").cloned().unwrap_or_default();
    let zone = parse_zone(time_zone).map_err(from_datafusion)?;
    let frame = context
        .read_table(Arc::clone(&table.table))
        .map_err(from_datafusion)?;
    let mut stream = frame.execute_stream().await.map_err(from_datafusion)?;
    let mut found = vec![DataType::Null; columns];
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(from_datafusion)?;
        for (index, data_type) in found.iter_mut().enumerate() {
            let column = batch.column(index).as_string::<i32>();
            for value in column.iter().flatten() {
                if value.is_empty() || value == null_value {
                    continue;
                }
                if *data_type == DataType::Utf8 {
                    break;
                }
                *data_type = widened(data_type, value, &zone);
            }
        }
    }
    Ok(found
        .into_iter()
        .map(|t| if t.is_null() { DataType::Utf8 } else { t })
        .collect())
}

/// The type for the values so far and one more.
fn widened(so_far: &DataType, value: &str, zone: &arrow::array::timezone::Tz) -> DataType {
    use DataType as T;
    let of_value = type_of(value, zone);
    match (so_far, &of_value) {
        (T::Null, _) => of_value,
        (a, b) if a == b => of_value,
        (T::Int32 | T::Int64 | T::Float64, T::Int32 | T::Int64 | T::Float64) => {
            let rank = |t: &T| match t {
                T::Int32 => 0,
                T::Int64 => 1,
                _ => 2,
            };
            if rank(so_far) >= rank(&of_value) {
                so_far.clone()
            } else {
                of_value
            }
        }
        (T::Date32, T::Timestamp(_, _)) | (T::Timestamp(_, _), T::Date32) => types::timestamp(),
        _ => T::Utf8,
    }
}

fn type_of(value: &str, zone: &arrow::array::timezone::Tz) -> DataType {
    let dated = value.len() >= 8
        && value.as_bytes()[..4].iter().all(u8::is_ascii_digit)
        && value.contains('-');
    if parse::integer(value, true).is_some_and(|v| i32::try_from(v).is_ok()) {
        DataType::Int32
    } else if parse::integer(value, true).is_some() {
        DataType::Int64
    } else if parse::double(value).is_some() {
        DataType::Float64
    } else if dated && value.len() == 10 && parse::date(value).is_some() {
        DataType::Date32
    } else if dated && parse::timestamp(value, zone).is_some() {
        types::timestamp()
    } else if value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") {
        DataType::Boolean
    } else {
        DataType::Utf8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_widen_as_values_come() {
        let zone = parse_zone("UTC").unwrap();
        let of = |values: &[&str]| {
            values
                .iter()
                .fold(DataType::Null, |t, v| widened(&t, v, &zone))
        };
        assert_eq!(of(&["1", "2"]), DataType::Int32);
        assert_eq!(of(&["1", "3000000000"]), DataType::Int64);
        assert_eq!(of(&["1", "2.5"]), DataType::Float64);
        assert_eq!(of(&["2020-01-01"]), DataType::Date32);
        assert_eq!(
            of(&["2020-01-01", "2020-01-01 10:00:00"]),
            types::timestamp()
        );
        assert_eq!(of(&["true", "1"]), DataType::Utf8);
    }
}
