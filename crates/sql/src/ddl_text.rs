//! Data types back into DDL text, for messages that carry a schema as a string.

use pyrite_proto::error::SparkError;
use spark_connect_proto::DataType;
use spark_connect_proto::data_type::{Kind, StructField};

use crate::error::Result;
use crate::message::quote_identifier;

/// `a INT NOT NULL, b STRING` for a struct type.
pub fn schema_text(schema: &DataType) -> Result<String> {
    let Some(Kind::Struct(s)) = &schema.kind else {
        return type_text(schema);
    };
    let fields = s.fields.iter().map(|field| field_text(field, " "));
    Ok(fields.collect::<Result<Vec<_>>>()?.join(", "))
}

fn field_text(field: &StructField, separator: &str) -> Result<String> {
    let data_type = field
        .data_type
        .as_ref()
        .ok_or_else(|| SparkError::other("a field without a type"))?;
    let not_null = if field.nullable { "" } else { " NOT NULL" };
    Ok(format!(
        "{}{separator}{}{not_null}",
        quote_identifier(&[&field.name]),
        type_text(data_type)?
    ))
}

/// A data type as `DataType.simpleString` has it.
pub fn type_text(data_type: &DataType) -> Result<String> {
    const YEAR_MONTH: &[&str] = &["year", "month"];
    const DAY_TIME: &[&str] = &["day", "hour", "minute", "second"];
    let interval = |names: &[&str], start: Option<i32>, end: Option<i32>| {
        let start = start.unwrap_or(0).clamp(0, names.len() as i32 - 1) as usize;
        let end = end.map_or(names.len() - 1, |e| {
            e.clamp(0, names.len() as i32 - 1) as usize
        });
        if start == end {
            format!("interval {}", names[start])
        } else {
            format!("interval {} to {}", names[start], names[end])
        }
    };
    let part = |inner: &Option<Box<DataType>>| match inner {
        Some(inner) => type_text(inner),
        None => Err(SparkError::other("a nested type without its element type")),
    };
    Ok(match &data_type.kind {
        Some(Kind::Null(_)) => "void".to_owned(),
        Some(Kind::Binary(_)) => "binary".to_owned(),
        Some(Kind::Boolean(_)) => "boolean".to_owned(),
        Some(Kind::Byte(_)) => "tinyint".to_owned(),
        Some(Kind::Short(_)) => "smallint".to_owned(),
        Some(Kind::Integer(_)) => "int".to_owned(),
        Some(Kind::Long(_)) => "bigint".to_owned(),
        Some(Kind::Float(_)) => "float".to_owned(),
        Some(Kind::Double(_)) => "double".to_owned(),
        Some(Kind::Decimal(d)) => format!(
            "decimal({},{})",
            d.precision.unwrap_or(10),
            d.scale.unwrap_or(0)
        ),
        Some(Kind::String(s)) if s.collation.is_empty() => "string".to_owned(),
        Some(Kind::String(s)) => format!("string collate {}", s.collation),
        Some(Kind::Char(c)) => format!("char({})", c.length),
        Some(Kind::VarChar(c)) => format!("varchar({})", c.length),
        Some(Kind::Date(_)) => "date".to_owned(),
        Some(Kind::Timestamp(_)) => "timestamp".to_owned(),
        Some(Kind::TimestampNtz(_)) => "timestamp_ntz".to_owned(),
        Some(Kind::Time(t)) => format!("time({})", t.precision.unwrap_or(6)),
        Some(Kind::CalendarInterval(_)) => "interval".to_owned(),
        Some(Kind::YearMonthInterval(i)) => interval(YEAR_MONTH, i.start_field, i.end_field),
        Some(Kind::DayTimeInterval(i)) => interval(DAY_TIME, i.start_field, i.end_field),
        Some(Kind::Variant(_)) => "variant".to_owned(),
        Some(Kind::Array(a)) => format!("array<{}>", part(&a.element_type)?),
        Some(Kind::Map(m)) => format!("map<{},{}>", part(&m.key_type)?, part(&m.value_type)?),
        Some(Kind::Struct(s)) => {
            let fields = s
                .fields
                .iter()
                .map(|field| field_text(field, ":"))
                .collect::<Result<Vec<_>>>()?;
            format!("struct<{}>", fields.join(","))
        }
        Some(Kind::Unparsed(u)) => u.data_type_string.clone(),
        _ => return Err(SparkError::not_supported("this data type as DDL text")),
    })
}
