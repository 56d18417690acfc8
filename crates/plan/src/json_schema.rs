//! Types in Spark's JSON form: `"long"`, `{"type":"struct","fields":[...]}`.

use pyrite_proto::connect;
use pyrite_proto::connect::data_type as dt;
use pyrite_proto::connect::data_type::Kind;
use pyrite_proto::error::{SparkError, class};
use serde_json::{Value, json};

use crate::errors;

/// Parses the JSON form.
///
/// # Errors
/// When it is not one of Spark's types.
pub fn parse(text: &str) -> Result<connect::DataType, SparkError> {
    let value: Value = serde_json::from_str(text).map_err(|e| malformed(text, &e.to_string()))?;
    from_value(&value)
}

fn malformed(text: &str, why: &str) -> SparkError {
    SparkError::new(
        class::ILLEGAL_ARGUMENT,
        "INVALID_JSON_DATA_TYPE",
        "2203G",
        format!("Failed to convert the JSON string '{text}' to a data type: {why}. Please enter a valid data type."),
    )
    .with("invalidType", text)
}

fn from_value(value: &Value) -> Result<connect::DataType, SparkError> {
    let kind = match value {
        Value::String(name) => return crate::sqltext::data_type(name_in_sql(name)),
        Value::Object(object) => match object.get("type").and_then(Value::as_str) {
            Some("struct") => Kind::Struct(structure(value)?),
            Some("array") => Kind::Array(Box::new(dt::Array {
                element_type: Some(Box::new(from_value(&value["elementType"])?)),
                contains_null: value["containsNull"].as_bool().unwrap_or(true),
                type_variation_reference: 0,
            })),
            Some("map") => Kind::Map(Box::new(dt::Map {
                key_type: Some(Box::new(from_value(&value["keyType"])?)),
                value_type: Some(Box::new(from_value(&value["valueType"])?)),
                value_contains_null: value["valueContainsNull"].as_bool().unwrap_or(true),
                type_variation_reference: 0,
            })),
            Some("udt") => Kind::Udt(Box::new(dt::Udt {
                r#type: "udt".into(),
                jvm_class: value["class"].as_str().map(str::to_owned),
                python_class: value["pyClass"].as_str().map(str::to_owned),
                serialized_python_class: value["serializedClass"].as_str().map(str::to_owned),
                sql_type: Some(Box::new(from_value(&value["sqlType"])?)),
            })),
            _ => return Err(malformed(&value.to_string(), "unknown type")),
        },
        other => {
            return Err(malformed(
                &other.to_string(),
                "a type is a string or an object",
            ));
        }
    };
    Ok(connect::DataType { kind: Some(kind) })
}

/// JSON names that SQL writes differently.
fn name_in_sql(name: &str) -> &str {
    match name {
        "null" => "void",
        "long" => "bigint",
        "short" => "smallint",
        "byte" => "tinyint",
        "integer" => "int",
        other => other,
    }
}

fn structure(value: &Value) -> Result<dt::Struct, SparkError> {
    let fields = value["fields"]
        .as_array()
        .ok_or_else(|| malformed(&value.to_string(), "a struct has fields"))?
        .iter()
        .map(|field| {
            let name = field["name"]
                .as_str()
                .ok_or_else(|| malformed(&field.to_string(), "a field has a name"))?;
            let metadata = match &field["metadata"] {
                Value::Object(map) if !map.is_empty() => Some(field["metadata"].to_string()),
                _ => None,
            };
            Ok(dt::StructField {
                name: name.to_owned(),
                data_type: Some(from_value(&field["type"])?),
                nullable: field["nullable"].as_bool().unwrap_or(true),
                metadata,
            })
        })
        .collect::<Result<_, SparkError>>()?;
    Ok(dt::Struct {
        fields,
        type_variation_reference: 0,
    })
}

/// Writes the JSON form.
///
/// # Errors
/// When the type has none.
pub fn to_json(data_type: &connect::DataType) -> Result<Value, SparkError> {
    let kind = data_type
        .kind
        .as_ref()
        .ok_or_else(|| errors::invalid_message("DataType.kind"))?;
    Ok(match kind {
        Kind::Null(_) => json!("void"),
        Kind::Binary(_) => json!("binary"),
        Kind::Boolean(_) => json!("boolean"),
        Kind::Byte(_) => json!("byte"),
        Kind::Short(_) => json!("short"),
        Kind::Integer(_) => json!("integer"),
        Kind::Long(_) => json!("long"),
        Kind::Float(_) => json!("float"),
        Kind::Double(_) => json!("double"),
        Kind::Decimal(d) => {
            json!(format!(
                "decimal({},{})",
                d.precision.unwrap_or(10),
                d.scale.unwrap_or(0)
            ))
        }
        Kind::String(_) => json!("string"),
        Kind::Char(c) => json!(format!("char({})", c.length)),
        Kind::VarChar(c) => json!(format!("varchar({})", c.length)),
        Kind::Date(_) => json!("date"),
        Kind::Timestamp(_) => json!("timestamp"),
        Kind::TimestampNtz(_) => json!("timestamp_ntz"),
        Kind::Time(t) => json!(format!("time({})", t.precision.unwrap_or(6))),
        Kind::CalendarInterval(_) => json!("interval"),
        Kind::DayTimeInterval(_) => json!("interval day to second"),
        Kind::YearMonthInterval(_) => json!("interval year to month"),
        Kind::Variant(_) => json!("variant"),
        Kind::Array(a) => json!({
            "type": "array",
            "elementType": to_json(inner(a.element_type.as_deref())?)?,
            "containsNull": a.contains_null,
        }),
        Kind::Map(m) => json!({
            "type": "map",
            "keyType": to_json(inner(m.key_type.as_deref())?)?,
            "valueType": to_json(inner(m.value_type.as_deref())?)?,
            "valueContainsNull": m.value_contains_null,
        }),
        Kind::Struct(s) => {
            let fields = s
                .fields
                .iter()
                .map(|f| {
                    let metadata: Value = f
                        .metadata
                        .as_deref()
                        .and_then(|m| serde_json::from_str(m).ok())
                        .unwrap_or_else(|| json!({}));
                    Ok(json!({
                        "name": f.name,
                        "type": to_json(inner(f.data_type.as_ref())?)?,
                        "nullable": f.nullable,
                        "metadata": metadata,
                    }))
                })
                .collect::<Result<Vec<_>, SparkError>>()?;
            json!({"type": "struct", "fields": fields})
        }
        Kind::Udt(u) => json!({
            "type": "udt",
            "class": u.jvm_class,
            "pyClass": u.python_class,
            "serializedClass": u.serialized_python_class,
            "sqlType": to_json(inner(u.sql_type.as_deref())?)?,
        }),
        other => {
            return Err(SparkError::not_supported(format!(
                "JSON of the type {other:?}"
            )));
        }
    })
}

fn inner(data_type: Option<&connect::DataType>) -> Result<&connect::DataType, SparkError> {
    data_type.ok_or_else(|| errors::invalid_message("an inner DataType"))
}
