//! Literals.

use std::sync::Arc;

use arrow::array::{ArrayRef, MapArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, IntervalMonthDayNano};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use pyrite_functions::format::{ValueFormat, write_date, write_day_time, write_year_month};
use pyrite_functions::parse;
use pyrite_proto::connect::expression::Literal;
use pyrite_proto::connect::expression::literal::{LiteralType, specialized_array};
use pyrite_proto::error::SparkError;

use crate::analyzer::{Analyzer, Typed};
use crate::errors::{self, Result, from_datafusion};
use crate::types;

impl Analyzer<'_> {
    /// Resolves a literal.
    pub fn literal(&self, literal: &Literal) -> Result<Typed> {
        let value = literal_value(literal)?;
        let interval = interval_fields(literal);
        let name = match (interval, interval_number(&value)) {
            (Some((start, end)), Some(number)) => write_interval(
                number,
                start,
                end,
                matches!(value, ScalarValue::IntervalYearMonth(_)),
            ),
            _ => self.literal_name(&value)?,
        };
        Ok(Typed {
            interval,
            ..self.typed_literal(value, name)
        })
    }

    /// A literal with a name of its own.
    pub fn typed_literal(&self, value: ScalarValue, name: String) -> Typed {
        Typed {
            data_type: value.data_type(),
            nullable: value.is_null(),
            expr: Expr::Literal(value, None),
            name,
            column_name: None,
            metadata: None,
            source: None,
            aliased: false,
            interval: None,
        }
    }

    fn literal_name(&self, value: &ScalarValue) -> Result<String> {
        if value.is_null() {
            return Ok("NULL".into());
        }
        let mut text = String::new();
        match value {
            ScalarValue::Binary(Some(bytes)) => {
                let hex: String = bytes.iter().map(|b| format!("{b:02X}")).collect();
                return Ok(format!("X'{hex}'"));
            }
            ScalarValue::Date32(Some(days)) => write_date(*days, &mut text),
            ScalarValue::DurationMicrosecond(Some(v)) => {
                write_day_time(*v, &mut text);
                return Ok(text);
            }
            ScalarValue::IntervalYearMonth(Some(v)) => {
                write_year_month(*v, &mut text);
                return Ok(text);
            }
            other => {
                let array = other.to_array().map_err(from_datafusion)?;
                let format = ValueFormat::cast(&self.time_zone).map_err(from_datafusion)?;
                format
                    .write(array.as_ref(), 0, &mut text)
                    .map_err(from_datafusion)?;
            }
        }
        Ok(match value {
            ScalarValue::Date32(_) => format!("DATE '{text}'"),
            ScalarValue::TimestampMicrosecond(_, Some(_)) => format!("TIMESTAMP '{text}'"),
            ScalarValue::TimestampMicrosecond(_, None) => format!("TIMESTAMP_NTZ '{text}'"),
            _ => text,
        })
    }
}

/// The fields that an interval was written with.
fn interval_fields(literal: &Literal) -> Option<(i32, i32)> {
    use pyrite_proto::connect::data_type::Kind;
    match literal.data_type.as_ref()?.kind.as_ref()? {
        Kind::DayTimeInterval(t) => Some((t.start_field?, t.end_field?)),
        Kind::YearMonthInterval(t) => Some((t.start_field?, t.end_field?)),
        _ => None,
    }
}

fn interval_number(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::DurationMicrosecond(value) => *value,
        ScalarValue::IntervalYearMonth(value) => value.map(i64::from),
        _ => None,
    }
}

/// `INTERVAL '1' DAY`, `INTERVAL '1-2' YEAR TO MONTH`: with just the fields it has.
pub(crate) fn write_interval(number: i64, start: i32, end: i32, months: bool) -> String {
    let sign = if number < 0 { "-" } else { "" };
    let total = number.unsigned_abs();
    let names: &[&str] = if months {
        &["YEAR", "MONTH"]
    } else {
        &["DAY", "HOUR", "MINUTE", "SECOND"]
    };
    let units: &[u64] = if months {
        &[12, 1]
    } else {
        &[86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000]
    };
    let separators: &[&str] = if months {
        &["", "-"]
    } else {
        &["", " ", ":", ":"]
    };
    let (first, last) = (start.clamp(0, 3) as usize, end.clamp(0, 3) as usize);
    let mut rest = total;
    let mut text = String::new();
    for field in first..=last.min(names.len() - 1) {
        let value = rest / units[field];
        rest %= units[field];
        if field > first {
            text.push_str(separators[field]);
        }
        let padded = !months && field > 0;
        text.push_str(&if padded {
            format!("{value:02}")
        } else {
            value.to_string()
        });
    }
    if !months && last == 3 && rest > 0 {
        text.push('.');
        text.push_str(format!("{rest:06}").trim_end_matches('0'));
    }
    let unit = if first == last {
        names[first].to_owned()
    } else {
        format!("{} TO {}", names[first], names[last])
    };
    format!("INTERVAL '{sign}{text}' {unit}")
}

/// The value of a literal.
///
/// # Errors
/// When its parts are missing or do not fit together.
pub(crate) fn literal_value(literal: &Literal) -> Result<ScalarValue> {
    let kind = literal
        .literal_type
        .as_ref()
        .ok_or_else(|| errors::invalid_message("Literal.literal_type"))?;
    Ok(match kind {
        LiteralType::Null(data_type) => match &data_type.kind {
            None => ScalarValue::Null,
            Some(_) => null_of(&types::to_arrow(data_type)?)?,
        },
        LiteralType::Binary(bytes) => ScalarValue::Binary(Some(bytes.to_vec())),
        LiteralType::Boolean(v) => ScalarValue::Boolean(Some(*v)),
        LiteralType::Byte(v) => ScalarValue::Int8(Some(*v as i8)),
        LiteralType::Short(v) => ScalarValue::Int16(Some(*v as i16)),
        LiteralType::Integer(v) => ScalarValue::Int32(Some(*v)),
        LiteralType::Long(v) => ScalarValue::Int64(Some(*v)),
        LiteralType::Float(v) => ScalarValue::Float32(Some(*v)),
        LiteralType::Double(v) => ScalarValue::Float64(Some(*v)),
        LiteralType::Decimal(d) => decimal(&d.value, d.precision, d.scale)?,
        LiteralType::String(v) => ScalarValue::Utf8(Some(v.clone())),
        LiteralType::Date(v) => ScalarValue::Date32(Some(*v)),
        LiteralType::Timestamp(v) => {
            ScalarValue::TimestampMicrosecond(Some(*v), Some(types::UTC.into()))
        }
        LiteralType::TimestampNtz(v) => ScalarValue::TimestampMicrosecond(Some(*v), None),
        LiteralType::CalendarInterval(i) => {
            let nanos = i.microseconds.checked_mul(1000).ok_or_else(|| {
                SparkError::not_supported("calendar intervals of more than 292 years of time")
            })?;
            ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(
                i.months, i.days, nanos,
            )))
        }
        LiteralType::YearMonthInterval(v) => ScalarValue::IntervalYearMonth(Some(*v)),
        LiteralType::DayTimeInterval(v) => ScalarValue::DurationMicrosecond(Some(*v)),
        LiteralType::Time(t) => ScalarValue::Time64Microsecond(Some(t.nano / 1000)),
        LiteralType::Array(array) => {
            let values = array
                .elements
                .iter()
                .map(literal_value)
                .collect::<Result<Vec<_>>>()?;
            list(&values)?
        }
        LiteralType::Map(map) => {
            let keys = map
                .keys
                .iter()
                .map(literal_value)
                .collect::<Result<Vec<_>>>()?;
            let values = map
                .values
                .iter()
                .map(literal_value)
                .collect::<Result<Vec<_>>>()?;
            map_value(&keys, &values)?
        }
        LiteralType::Struct(structure) => {
            let values = structure
                .elements
                .iter()
                .map(literal_value)
                .collect::<Result<Vec<_>>>()?;
            struct_value(literal, structure, &values)?
        }
        LiteralType::SpecializedArray(array) => specialized(array)?,
        LiteralType::TimestampNtzNanos(_) | LiteralType::TimestampLtzNanos(_) => {
            return Err(SparkError::not_supported("timestamps of nanoseconds"));
        }
    })
}

/// A null of a type.
pub(crate) fn null_of(data_type: &DataType) -> Result<ScalarValue> {
    ScalarValue::try_from(data_type).map_err(from_datafusion)
}

fn decimal(text: &str, precision: Option<i32>, scale: Option<i32>) -> Result<ScalarValue> {
    let malformed = || SparkError::other(format!("`{text}` is not a decimal"));
    let (digits, own_scale) = parse::decimal(text).ok_or_else(malformed)?;
    let own_scale_up = own_scale.max(0);
    let scale = scale.unwrap_or(own_scale_up);
    let value = parse::rescale(digits, own_scale, scale).ok_or_else(malformed)?;
    let own_digits = value.unsigned_abs().to_string().len() as i32;
    let precision = precision.unwrap_or_else(|| own_digits.max(scale).max(1));
    types::decimal(precision, scale)?;
    Ok(ScalarValue::Decimal128(
        Some(value),
        precision as u8,
        scale as i8,
    ))
}

fn common_type(values: &[ScalarValue]) -> DataType {
    values
        .iter()
        .find(|v| !v.data_type().is_null())
        .map_or(DataType::Null, ScalarValue::data_type)
}

fn to_array(values: &[ScalarValue], data_type: &DataType) -> Result<ArrayRef> {
    if values.is_empty() {
        return Ok(arrow::array::new_empty_array(data_type));
    }
    let values = values.iter().map(|v| {
        if v.is_null() {
            ScalarValue::try_from(data_type)
        } else {
            v.cast_to(data_type)
        }
    });
    let values = values
        .collect::<Result<Vec<_>, _>>()
        .map_err(from_datafusion)?;
    ScalarValue::iter_to_array(values).map_err(from_datafusion)
}

fn list(values: &[ScalarValue]) -> Result<ScalarValue> {
    let item = common_type(values);
    let array = to_array(values, &item)?;
    let nullable = values.iter().any(ScalarValue::is_null);
    let field = Arc::new(Field::new("item", item, nullable));
    let offsets = OffsetBuffer::from_lengths([values.len()]);
    let list = arrow::array::ListArray::new(field, offsets, array, None);
    Ok(ScalarValue::List(Arc::new(list)))
}

fn map_value(keys: &[ScalarValue], values: &[ScalarValue]) -> Result<ScalarValue> {
    let (key_type, value_type) = (common_type(keys), common_type(values));
    let fields = Fields::from(vec![
        Field::new("key", key_type.clone(), false),
        Field::new("value", value_type.clone(), true),
    ]);
    let columns = vec![to_array(keys, &key_type)?, to_array(values, &value_type)?];
    let entries = StructArray::new(fields.clone(), columns, None);
    let field = Arc::new(Field::new("entries", DataType::Struct(fields), false));
    let map = MapArray::new(
        field,
        OffsetBuffer::from_lengths([keys.len()]),
        entries,
        None,
        false,
    );
    Ok(ScalarValue::Map(Arc::new(map)))
}

fn struct_value(
    literal: &Literal,
    structure: &pyrite_proto::connect::expression::literal::Struct,
    values: &[ScalarValue],
) -> Result<ScalarValue> {
    use pyrite_proto::connect::data_type::Kind;
    #[expect(deprecated, reason = "older clients put the type there")]
    let declared = literal
        .data_type
        .as_ref()
        .or(structure.struct_type.as_ref());
    let fields = match declared.and_then(|d| d.kind.as_ref()) {
        Some(Kind::Struct(s)) if s.fields.len() == values.len() => s
            .fields
            .iter()
            .zip(values)
            .map(|(field, value)| {
                let data_type = match &field.data_type {
                    Some(d) if d.kind.is_some() => types::to_arrow(d)?,
                    _ => value.data_type(),
                };
                Ok(Field::new(&field.name, data_type, true))
            })
            .collect::<Result<Fields>>()?,
        _ => values
            .iter()
            .enumerate()
            .map(|(i, v)| Field::new(format!("col{}", i + 1), v.data_type(), true))
            .collect(),
    };
    let columns = values
        .iter()
        .zip(&fields)
        .map(|(value, field)| to_array(std::slice::from_ref(value), field.data_type()))
        .collect::<Result<Vec<_>>>()?;
    let array = StructArray::new(fields, columns, None);
    Ok(ScalarValue::Struct(Arc::new(array)))
}

fn specialized(
    array: &pyrite_proto::connect::expression::literal::SpecializedArray,
) -> Result<ScalarValue> {
    use specialized_array::ValueType;
    let values: Vec<ScalarValue> = match &array.value_type {
        Some(ValueType::Bools(v)) => v.values.iter().map(|v| (*v).into()).collect(),
        Some(ValueType::Ints(v)) => v.values.iter().map(|v| (*v).into()).collect(),
        Some(ValueType::Longs(v)) => v.values.iter().map(|v| (*v).into()).collect(),
        Some(ValueType::Floats(v)) => v.values.iter().map(|v| (*v).into()).collect(),
        Some(ValueType::Doubles(v)) => v.values.iter().map(|v| (*v).into()).collect(),
        Some(ValueType::Strings(v)) => v
            .values
            .iter()
            .map(|v| ScalarValue::Utf8(Some(v.clone())))
            .collect(),
        None => return Err(errors::invalid_message("SpecializedArray.value_type")),
    };
    list(&values)
}
