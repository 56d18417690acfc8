//! Spark's types and Arrow's.
//!
//! | Spark | Arrow |
//! |---|---|
//! | TIMESTAMP | `Timestamp(Microsecond, "UTC")`; the session's zone matters to functions only |
//! | TIMESTAMP_NTZ | `Timestamp(Microsecond, None)` |
//! | INTERVAL DAY TO SECOND | `Duration(Microsecond)` |
//! | INTERVAL YEAR TO MONTH | `Interval(YearMonth)` |
//! | CHAR, VARCHAR | `Utf8` |

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, TimeUnit};
use pyrite_functions::type_names::key_value;
use pyrite_proto::connect;
use pyrite_proto::connect::data_type as dt;
use pyrite_proto::connect::data_type::Kind;
use pyrite_proto::error::SparkError;

use crate::errors;
use crate::resolved::ResolvedField;
use crate::sqltext;

/// The zone that every TIMESTAMP column is labelled with.
pub const UTC: &str = "UTC";

/// Spark's TIMESTAMP.
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()))
}

/// Spark's TIMESTAMP_NTZ.
pub fn timestamp_ntz() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

/// Spark's INTERVAL DAY TO SECOND.
pub fn day_time() -> DataType {
    DataType::Duration(TimeUnit::Microsecond)
}

/// Spark's INTERVAL YEAR TO MONTH.
pub fn year_month() -> DataType {
    DataType::Interval(IntervalUnit::YearMonth)
}

/// An array of `item`.
pub fn list_of(item: DataType, nullable: bool) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, nullable)))
}

/// A map.
pub fn map_of(key: DataType, value: DataType, value_nullable: bool) -> DataType {
    let entries = Fields::from(vec![
        Field::new("key", key, false),
        Field::new("value", value, value_nullable),
    ]);
    DataType::Map(
        Arc::new(Field::new("entries", DataType::Struct(entries), false)),
        false,
    )
}

fn kind(kind: Kind) -> connect::DataType {
    connect::DataType { kind: Some(kind) }
}

/// The Spark type of an Arrow type.
///
/// # Errors
/// When Spark has no such type.
pub fn to_spark(data_type: &DataType) -> Result<connect::DataType, SparkError> {
    Ok(kind(match data_type {
        DataType::Null => Kind::Null(dt::Null::default()),
        DataType::Boolean => Kind::Boolean(dt::Boolean::default()),
        DataType::Int8 => Kind::Byte(dt::Byte::default()),
        DataType::Int16 | DataType::UInt8 => Kind::Short(dt::Short::default()),
        DataType::Int32 | DataType::UInt16 => Kind::Integer(dt::Integer::default()),
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => Kind::Long(dt::Long::default()),
        DataType::Float16 | DataType::Float32 => Kind::Float(dt::Float::default()),
        DataType::Float64 => Kind::Double(dt::Double::default()),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => Kind::Decimal(dt::Decimal {
            precision: Some(i32::from(*p)),
            scale: Some(i32::from(*s)),
            type_variation_reference: 0,
        }),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Kind::String(dt::String {
            collation: "UTF8_BINARY".into(),
            ..Default::default()
        }),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => Kind::Binary(dt::Binary::default()),
        DataType::Date32 | DataType::Date64 => Kind::Date(dt::Date::default()),
        DataType::Timestamp(_, Some(_)) => Kind::Timestamp(dt::Timestamp::default()),
        DataType::Timestamp(_, None) => Kind::TimestampNtz(dt::TimestampNtz::default()),
        DataType::Time32(_) | DataType::Time64(_) => Kind::Time(dt::Time {
            precision: Some(6),
            type_variation_reference: 0,
        }),
        DataType::Duration(_) => Kind::DayTimeInterval(dt::DayTimeInterval {
            start_field: Some(0),
            end_field: Some(3),
            type_variation_reference: 0,
        }),
        DataType::Interval(IntervalUnit::YearMonth) => {
            Kind::YearMonthInterval(dt::YearMonthInterval {
                start_field: Some(0),
                end_field: Some(1),
                type_variation_reference: 0,
            })
        }
        DataType::Interval(_) => Kind::CalendarInterval(dt::CalendarInterval::default()),
        DataType::List(f)
        | DataType::LargeList(f)
        | DataType::ListView(f)
        | DataType::FixedSizeList(f, _) => Kind::Array(Box::new(dt::Array {
            element_type: Some(Box::new(to_spark(f.data_type())?)),
            contains_null: f.is_nullable(),
            type_variation_reference: 0,
        })),
        DataType::Map(entries, _) => {
            let (key, value) = key_value(entries);
            Kind::Map(Box::new(dt::Map {
                key_type: Some(Box::new(to_spark(key.data_type())?)),
                value_type: Some(Box::new(to_spark(value.data_type())?)),
                value_contains_null: value.is_nullable(),
                type_variation_reference: 0,
            }))
        }
        DataType::Struct(fields) => Kind::Struct(dt::Struct {
            fields: fields
                .iter()
                .map(|f| {
                    Ok(dt::StructField {
                        name: f.name().clone(),
                        data_type: Some(to_spark(f.data_type())?),
                        nullable: f.is_nullable(),
                        metadata: None,
                    })
                })
                .collect::<Result<_, SparkError>>()?,
            type_variation_reference: 0,
        }),
        DataType::Dictionary(_, value) => return to_spark(value),
        other => return Err(SparkError::not_supported(format!("type {other}"))),
    }))
}

/// The Arrow type of a Spark type.
///
/// # Errors
/// When the type is not supported, or is text that does not parse.
pub fn to_arrow(data_type: &connect::DataType) -> Result<DataType, SparkError> {
    let kind = data_type
        .kind
        .as_ref()
        .ok_or_else(|| errors::invalid_message("DataType.kind"))?;
    Ok(match kind {
        Kind::Null(_) => DataType::Null,
        Kind::Binary(_) => DataType::Binary,
        Kind::Boolean(_) => DataType::Boolean,
        Kind::Byte(_) => DataType::Int8,
        Kind::Short(_) => DataType::Int16,
        Kind::Integer(_) => DataType::Int32,
        Kind::Long(_) => DataType::Int64,
        Kind::Float(_) => DataType::Float32,
        Kind::Double(_) => DataType::Float64,
        Kind::Decimal(d) => decimal(d.precision.unwrap_or(10), d.scale.unwrap_or(0))?,
        Kind::String(_) | Kind::Char(_) | Kind::VarChar(_) => DataType::Utf8,
        Kind::Date(_) => DataType::Date32,
        Kind::Timestamp(_) => timestamp(),
        Kind::TimestampNtz(_) => timestamp_ntz(),
        Kind::CalendarInterval(_) => DataType::Interval(IntervalUnit::MonthDayNano),
        Kind::YearMonthInterval(_) => year_month(),
        Kind::DayTimeInterval(_) => day_time(),
        Kind::Time(_) => DataType::Time64(TimeUnit::Microsecond),
        Kind::Array(a) => {
            let element = a.element_type.as_ref();
            let element = element.ok_or_else(|| errors::invalid_message("Array.element_type"))?;
            list_of(to_arrow(element)?, a.contains_null)
        }
        Kind::Struct(s) => DataType::Struct(struct_fields(s)?),
        Kind::Map(m) => {
            let key = m
                .key_type
                .as_ref()
                .ok_or_else(|| errors::invalid_message("Map.key_type"))?;
            let value = m
                .value_type
                .as_ref()
                .ok_or_else(|| errors::invalid_message("Map.value_type"))?;
            map_of(to_arrow(key)?, to_arrow(value)?, m.value_contains_null)
        }
        Kind::Udt(u) => {
            let inner = u
                .sql_type
                .as_ref()
                .ok_or_else(|| errors::invalid_message("UDT.sql_type"))?;
            to_arrow(inner)?
        }
        Kind::Unparsed(u) => to_arrow(&sqltext::data_type(&u.data_type_string)?)?,
        Kind::Variant(_) => return Err(SparkError::not_supported("VARIANT")),
        Kind::Geometry(_) | Kind::Geography(_) => {
            return Err(SparkError::not_supported("spatial types"));
        }
        Kind::TimestampNtzNanos(_) | Kind::TimestampLtzNanos(_) => {
            return Err(SparkError::not_supported("timestamps of nanoseconds"));
        }
    })
}

/// A decimal type, if Spark allows its digits.
///
/// # Errors
/// When there are more than 38, or more after the point than in all.
pub fn decimal(precision: i32, scale: i32) -> Result<DataType, SparkError> {
    if !(1..=38).contains(&precision) {
        return Err(errors::decimal_precision(precision));
    }
    if scale > precision || scale < 0 {
        return Err(errors::decimal_scale(precision, scale));
    }
    Ok(DataType::Decimal128(precision as u8, scale as i8))
}

/// Arrow fields of a Spark struct.
///
/// # Errors
/// As [`to_arrow`].
pub fn struct_fields(structure: &dt::Struct) -> Result<Fields, SparkError> {
    structure
        .fields
        .iter()
        .map(|f| {
            let inner = f
                .data_type
                .as_ref()
                .ok_or_else(|| errors::invalid_message("StructField.data_type"))?;
            Ok(Field::new(&f.name, to_arrow(inner)?, f.nullable))
        })
        .collect()
}

/// The Arrow type that Spark's clients expect in batches for a column of this type:
/// views become plain strings and binaries, dictionaries are unpacked.
pub fn output_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => {
            DataType::Binary
        }
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::Date64 => DataType::Date32,
        DataType::Timestamp(_, Some(_)) => timestamp(),
        DataType::Timestamp(_, None) => timestamp_ntz(),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) => DataType::Decimal128(*p, *s),
        DataType::Duration(_) => day_time(),
        DataType::Dictionary(_, value) => output_type(value),
        DataType::List(f)
        | DataType::LargeList(f)
        | DataType::ListView(f)
        | DataType::LargeListView(f)
        | DataType::FixedSizeList(f, _) => list_of(output_type(f.data_type()), f.is_nullable()),
        DataType::Map(entries, _) => {
            let (key, value) = key_value(entries);
            map_of(
                output_type(key.data_type()),
                output_type(value.data_type()),
                value.is_nullable(),
            )
        }
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|f| Arc::new(output_field(f))).collect())
        }
        other => other.clone(),
    }
}

fn output_field(field: &Field) -> Field {
    Field::new(
        field.name(),
        output_type(field.data_type()),
        field.is_nullable(),
    )
}

/// Struct type of one string column.
pub fn single_string(name: &str) -> connect::DataType {
    let string = kind(Kind::String(dt::String::default()));
    let field = dt::StructField {
        name: name.to_owned(),
        data_type: Some(string),
        nullable: false,
        metadata: None,
    };
    kind(Kind::Struct(dt::Struct {
        fields: vec![field],
        ..Default::default()
    }))
}

/// Struct type of resolved columns.
///
/// # Errors
/// When a column has a type that Spark has no name for.
pub fn struct_of<'a>(
    fields: impl Iterator<Item = &'a ResolvedField>,
) -> Result<connect::DataType, SparkError> {
    let fields = fields
        .map(|f| {
            Ok(dt::StructField {
                name: f.name.clone(),
                data_type: Some(to_spark(&f.data_type)?),
                nullable: f.nullable,
                metadata: f.metadata.clone(),
            })
        })
        .collect::<Result<_, SparkError>>()?;
    Ok(kind(Kind::Struct(dt::Struct {
        fields,
        ..Default::default()
    })))
}
