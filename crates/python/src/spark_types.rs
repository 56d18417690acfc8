//! Spark's JSON form of data types, from Arrow's.

use arrow::datatypes::{DataType, Field, IntervalUnit};
use pyrite_proto::error::SparkError;
use serde_json::{Value, json};

/// The JSON form of a type, as `pyspark.sql.types._parse_datatype_json_string` reads it.
///
/// # Errors
/// When Spark has no such type.
pub fn to_json(data_type: &DataType) -> Result<Value, SparkError> {
    Ok(match data_type {
        DataType::Null => json!("void"),
        DataType::Boolean => json!("boolean"),
        DataType::Int8 => json!("byte"),
        DataType::Int16 => json!("short"),
        DataType::Int32 => json!("integer"),
        DataType::Int64 => json!("long"),
        DataType::Float32 => json!("float"),
        DataType::Float64 => json!("double"),
        DataType::Decimal128(precision, scale) => json!(format!("decimal({precision},{scale})")),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => json!("string"),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => json!("binary"),
        DataType::Date32 => json!("date"),
        DataType::Timestamp(_, Some(_)) => json!("timestamp"),
        DataType::Timestamp(_, None) => json!("timestamp_ntz"),
        DataType::Time64(_) => json!("time(6)"),
        DataType::Duration(_) => json!("interval day to second"),
        DataType::Interval(IntervalUnit::YearMonth) => json!("interval year to month"),
        DataType::List(item) | DataType::LargeList(item) => json!({
            "type": "array",
            "elementType": to_json(item.data_type())?,
            "containsNull": item.is_nullable(),
        }),
        DataType::Map(entries, _) => map_json(entries)?,
        DataType::Struct(fields) => struct_json(fields.iter().map(|f| f.as_ref()))?,
        other => {
            return Err(SparkError::not_supported(format!(
                "the type {other} in a Python function"
            )));
        }
    })
}

fn map_json(entries: &Field) -> Result<Value, SparkError> {
    match entries.data_type() {
        DataType::Struct(fields) if fields.len() == 2 => Ok(json!({
            "type": "map",
            "keyType": to_json(fields[0].data_type())?,
            "valueType": to_json(fields[1].data_type())?,
            "valueContainsNull": fields[1].is_nullable(),
        })),
        other => Err(crate::internal(format!("a map of {other}"))),
    }
}

fn struct_json<'a>(fields: impl Iterator<Item = &'a Field>) -> Result<Value, SparkError> {
    let fields = fields
        .map(|field| {
            Ok(json!({
                "name": field.name(),
                "type": to_json(field.data_type())?,
                "nullable": field.is_nullable(),
                "metadata": {},
            }))
        })
        .collect::<Result<Vec<_>, SparkError>>()?;
    Ok(json!({"type": "struct", "fields": fields}))
}

/// The struct type of a row of arguments: fields `_0`, `_1` and so on.
///
/// # Errors
/// As [`to_json`].
pub fn row_json(types: &[DataType]) -> Result<String, SparkError> {
    let fields: Vec<_> = types
        .iter()
        .enumerate()
        .map(|(index, data_type)| Field::new(format!("_{index}"), data_type.clone(), true))
        .collect();
    Ok(struct_json(fields.iter())?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_types_keep_their_nullability() {
        let list = DataType::new_list(DataType::Decimal128(10, 2), false);
        assert_eq!(
            to_json(&list).unwrap(),
            json!({"type": "array", "elementType": "decimal(10,2)", "containsNull": false})
        );
        assert_eq!(
            row_json(&[DataType::Int64]).unwrap(),
            r#"{"fields":[{"metadata":{},"name":"_0","nullable":true,"type":"long"}],"type":"struct"}"#
        );
    }
}
