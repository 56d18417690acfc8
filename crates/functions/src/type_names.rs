//! Names of types as Spark's SQL and error messages write them.

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};

/// `DataType.sql` in Spark: `INT`, `DECIMAL(10,2)`, `ARRAY<STRING>`.
pub fn sql_name(data_type: &DataType) -> String {
    match data_type {
        DataType::List(f) | DataType::LargeList(f) => format!("ARRAY<{}>", sql_name(f.data_type())),
        DataType::Map(entries, _) => {
            let (key, value) = key_value(entries);
            format!(
                "MAP<{}, {}>",
                sql_name(key.data_type()),
                sql_name(value.data_type())
            )
        }
        DataType::Struct(fields) => {
            let inner: Vec<String> = fields
                .iter()
                .map(|f| {
                    let not_null = if f.is_nullable() { "" } else { " NOT NULL" };
                    format!("{}: {}{not_null}", f.name(), sql_name(f.data_type()))
                })
                .collect();
            format!("STRUCT<{}>", inner.join(", "))
        }
        other => simple_name(other).to_uppercase(),
    }
}

/// `DataType.simpleString` in Spark: `int`, `decimal(10,2)`, `array<string>`.
pub fn simple_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "void".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Int8 => "tinyint".into(),
        DataType::Int16 | DataType::UInt8 => "smallint".into(),
        DataType::Int32 | DataType::UInt16 => "int".into(),
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => "bigint".into(),
        DataType::Float16 | DataType::Float32 => "float".into(),
        DataType::Float64 => "double".into(),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => format!("decimal({p},{s})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".into(),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "binary".into(),
        DataType::Date32 | DataType::Date64 => "date".into(),
        DataType::Timestamp(_, Some(_)) => "timestamp".into(),
        DataType::Timestamp(_, None) => "timestamp_ntz".into(),
        DataType::Time32(_) | DataType::Time64(_) => "time(6)".into(),
        DataType::Duration(_) => "interval day to second".into(),
        DataType::Interval(IntervalUnit::YearMonth) => "interval year to month".into(),
        DataType::Interval(_) => "interval".into(),
        DataType::List(f) | DataType::LargeList(f) | DataType::ListView(f) => {
            format!("array<{}>", simple_name(f.data_type()))
        }
        DataType::Map(entries, _) => {
            let (key, value) = key_value(entries);
            format!(
                "map<{},{}>",
                simple_name(key.data_type()),
                simple_name(value.data_type())
            )
        }
        DataType::Struct(fields) => {
            let inner: Vec<String> = fields
                .iter()
                .map(|f| format!("{}:{}", f.name(), simple_name(f.data_type())))
                .collect();
            format!("struct<{}>", inner.join(","))
        }
        DataType::Dictionary(_, value) => simple_name(value),
        other => other.to_string().to_lowercase(),
    }
}

/// Key and value fields of a map's entries field.
///
/// # Panics
/// When the entries are not a struct of two fields, which Arrow's map type rules out.
pub fn key_value(entries: &Field) -> (&Field, &Field) {
    match entries.data_type() {
        DataType::Struct(fields) if fields.len() == 2 => (&fields[0], &fields[1]),
        other => panic!("the entries of a map must be a struct of two fields, not {other}"),
    }
}

/// Spark's timestamp type for the given zone: microseconds.
pub fn timestamp(zone: &str) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into()))
}
