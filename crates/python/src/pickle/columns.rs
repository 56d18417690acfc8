//! Turns Python values into Arrow columns by the rules of Spark's `makeFromJava`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryBuilder, BooleanBuilder, Decimal128Array,
    LargeBinaryBuilder, LargeStringBuilder, ListArray, MapArray, NullArray, PrimitiveArray,
    StringBuilder, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Date32Type, DurationMicrosecondType, Field, FieldRef, Fields, Float32Type,
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, IntervalUnit, IntervalYearMonthType,
    Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
};
use pyrite_proto::error::{SparkError, class};

use super::text::write_text;
use super::{Object, Unpickler, Value};
use crate::errors::internal;

/// Gathers values of one type.
///
/// A value of the wrong Python type is null: a `float` column takes no `int`. Strings take
/// everything that has a text.
#[derive(Debug)]
pub struct ColumnBuilder {
    data_type: DataType,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Null(usize),
    Bool(BooleanBuilder),
    Int(Vec<Option<i64>>),
    Float(Vec<Option<f64>>),
    Decimal(Vec<Option<i128>>),
    Str(StringBuilder),
    LargeStr(LargeStringBuilder),
    Bytes(BinaryBuilder),
    LargeBytes(LargeBinaryBuilder),
    List(Nested, FieldRef, Box<ColumnBuilder>),
    Map(
        Nested,
        FieldRef,
        Fields,
        Box<ColumnBuilder>,
        Box<ColumnBuilder>,
    ),
    Struct(Vec<bool>, Fields, Vec<ColumnBuilder>),
}

/// Offsets and validity of lists and maps.
#[derive(Debug)]
struct Nested {
    offsets: Vec<i32>,
    valid: Vec<bool>,
}

impl Nested {
    fn new() -> Self {
        Self {
            offsets: vec![0],
            valid: Vec::new(),
        }
    }

    fn push(&mut self, length: Option<usize>) -> Result<(), SparkError> {
        let last = self.offsets[self.offsets.len() - 1];
        let length = i32::try_from(length.unwrap_or(0)).ok();
        let next = length.and_then(|length| last.checked_add(length));
        self.offsets.push(next.ok_or_else(|| {
            SparkError::other("the lists that a Python function returned exceed 2^31 elements")
        })?);
        Ok(())
    }

    fn parts(self) -> (OffsetBuffer<i32>, Option<NullBuffer>) {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        (offsets, Some(NullBuffer::from(self.valid)))
    }
}

impl ColumnBuilder {
    /// Prepares a column.
    ///
    /// # Errors
    /// When no Python value converts to the type.
    pub fn new(data_type: &DataType) -> Result<Self, SparkError> {
        let values = match data_type {
            DataType::Null => Values::Null(0),
            DataType::Boolean => Values::Bool(BooleanBuilder::new()),
            DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Date32
            | DataType::Timestamp(TimeUnit::Microsecond, _)
            | DataType::Duration(TimeUnit::Microsecond)
            | DataType::Time64(TimeUnit::Nanosecond)
            | DataType::Interval(IntervalUnit::YearMonth) => Values::Int(Vec::new()),
            DataType::Float32 | DataType::Float64 => Values::Float(Vec::new()),
            DataType::Decimal128(..) => Values::Decimal(Vec::new()),
            DataType::Utf8 => Values::Str(StringBuilder::new()),
            DataType::LargeUtf8 => Values::LargeStr(LargeStringBuilder::new()),
            DataType::Binary => Values::Bytes(BinaryBuilder::new()),
            DataType::LargeBinary => Values::LargeBytes(LargeBinaryBuilder::new()),
            DataType::List(item) => {
                let child = Self::new(item.data_type())?;
                Values::List(Nested::new(), Arc::clone(item), Box::new(child))
            }
            DataType::Map(entries, _) => map_values(entries)?,
            DataType::Struct(fields) => {
                let children = fields.iter().map(|field| Self::new(field.data_type()));
                let children = children.collect::<Result<Vec<_>, _>>()?;
                Values::Struct(Vec::new(), fields.clone(), children)
            }
            other => {
                return Err(SparkError::not_supported(format!(
                    "the type {other} as the result of a Python function"
                )));
            }
        };
        Ok(Self {
            data_type: data_type.clone(),
            values,
        })
    }

    /// Appends a value that `unpickler` read from `pickle`.
    ///
    /// # Errors
    /// When the value is neither convertible nor null by Spark's rules.
    pub fn append(
        &mut self,
        value: Value,
        unpickler: &Unpickler,
        pickle: &[u8],
    ) -> Result<(), SparkError> {
        let object = match value {
            Value::Object(index) => Some(unpickler.object(index)),
            _ => None,
        };
        match &mut self.values {
            Values::Null(count) => *count += 1,
            Values::Bool(out) => out.append_option(match value {
                Value::Bool(value) => Some(value),
                _ => None,
            }),
            Values::Int(out) => out.push(match value {
                Value::Int(value) => Some(value),
                _ => None,
            }),
            Values::Float(out) => out.push(match value {
                Value::Float(value) => Some(value),
                _ => None,
            }),
            Values::Decimal(out) => out.push(match object {
                Some(Object::Decimal(text)) => Some(decimal(text, &self.data_type)?),
                _ => None,
            }),
            Values::Str(out) => match string(value, unpickler, pickle)? {
                Some(text) => out.append_value(text),
                None => out.append_null(),
            },
            Values::LargeStr(out) => match string(value, unpickler, pickle)? {
                Some(text) => out.append_value(text),
                None => out.append_null(),
            },
            Values::Bytes(out) => out.append_option(binary(value, unpickler, pickle)),
            Values::LargeBytes(out) => out.append_option(binary(value, unpickler, pickle)),
            Values::List(nested, _, child) => {
                let items = match object {
                    Some(Object::List(items) | Object::Tuple(items)) => Some(items),
                    _ => None,
                };
                nested.push(items.map(Vec::len))?;
                nested.valid.push(items.is_some());
                for item in items.into_iter().flatten() {
                    child.append(*item, unpickler, pickle)?;
                }
            }
            Values::Map(nested, _, _, keys, values) => {
                let pairs = match object {
                    Some(Object::Dict(pairs)) => Some(pairs),
                    _ => None,
                };
                nested.push(pairs.map(Vec::len))?;
                nested.valid.push(pairs.is_some());
                for (key, value) in pairs.into_iter().flatten() {
                    keys.append(*key, unpickler, pickle)?;
                    values.append(*value, unpickler, pickle)?;
                }
            }
            Values::Struct(valid, fields, children) => {
                let items = match object {
                    Some(Object::Tuple(items)) => Some(items),
                    _ => None,
                };
                if let Some(items) = items
                    && items.len() != fields.len()
                {
                    return Err(wrong_width(fields.len(), items.len()));
                }
                valid.push(items.is_some());
                for (index, child) in children.iter_mut().enumerate() {
                    let item = items.map_or(Value::None, |items| items[index]);
                    child.append(item, unpickler, pickle)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the column.
    ///
    /// # Errors
    /// When a null stands where the type forbids it.
    pub fn finish(self) -> Result<ArrayRef, SparkError> {
        let data_type = self.data_type;
        let invalid = |error: arrow::error::ArrowError| {
            SparkError::other(format!(
                "the result of a Python function is not valid: {error}"
            ))
        };
        Ok(match self.values {
            Values::Null(count) => Arc::new(NullArray::new(count)),
            Values::Bool(mut out) => Arc::new(out.finish()),
            Values::Int(values) => ints(values, &data_type)?,
            Values::Float(values) if data_type == DataType::Float32 => {
                #[expect(clippy::cast_possible_truncation, reason = "Spark narrows as well")]
                let narrow = values.into_iter().map(|value| value.map(|v| v as f32));
                Arc::new(PrimitiveArray::<Float32Type>::from_iter(narrow))
            }
            Values::Float(values) => Arc::new(PrimitiveArray::<Float64Type>::from_iter(values)),
            Values::Decimal(values) => {
                Arc::new(Decimal128Array::from_iter(values).with_data_type(data_type))
            }
            Values::Str(mut out) => Arc::new(out.finish()),
            Values::LargeStr(mut out) => Arc::new(out.finish()),
            Values::Bytes(mut out) => Arc::new(out.finish()),
            Values::LargeBytes(mut out) => Arc::new(out.finish()),
            Values::List(nested, item, child) => {
                let (offsets, nulls) = nested.parts();
                let values = child.finish()?;
                Arc::new(ListArray::try_new(item, offsets, values, nulls).map_err(invalid)?)
            }
            Values::Map(nested, entries, fields, keys, values) => {
                let (offsets, nulls) = nested.parts();
                let columns = vec![keys.finish()?, values.finish()?];
                let structure = StructArray::try_new(fields, columns, None).map_err(invalid)?;
                let map = MapArray::try_new(entries, offsets, structure, nulls, false);
                Arc::new(map.map_err(invalid)?)
            }
            Values::Struct(valid, fields, children) => {
                let length = valid.len();
                let columns = children.into_iter().map(Self::finish);
                let columns = columns.collect::<Result<Vec<_>, _>>()?;
                let nulls = Some(NullBuffer::from(valid));
                let structure = StructArray::try_new_with_length(fields, columns, nulls, length);
                Arc::new(structure.map_err(invalid)?)
            }
        })
    }
}

fn map_values(entries: &FieldRef) -> Result<Values, SparkError> {
    match entries.data_type() {
        DataType::Struct(fields) if fields.len() == 2 => Ok(Values::Map(
            Nested::new(),
            Arc::clone(entries),
            fields.clone(),
            Box::new(ColumnBuilder::new(field_type(&fields[0]))?),
            Box::new(ColumnBuilder::new(field_type(&fields[1]))?),
        )),
        other => Err(internal(format!("a map of {other}"))),
    }
}

fn field_type(field: &Field) -> &DataType {
    field.data_type()
}

fn wrong_width(wanted: usize, given: usize) -> SparkError {
    SparkError::new(
        class::ILLEGAL_ARGUMENT,
        "STRUCT_ARRAY_LENGTH_MISMATCH",
        "2201E",
        format!(
            "Input row doesn't have expected number of values required by the schema. {wanted} \
             fields are required while {given} values are provided."
        ),
    )
    .with("expected", wanted.to_string())
    .with("actual", given.to_string())
}

fn string(
    value: Value,
    unpickler: &Unpickler,
    pickle: &[u8],
) -> Result<Option<String>, SparkError> {
    if value == Value::None {
        return Ok(None);
    }
    let mut text = String::new();
    write_text(value, unpickler, pickle, &mut text)?;
    Ok(Some(text))
}

fn binary<'a>(value: Value, unpickler: &'a Unpickler, pickle: &'a [u8]) -> Option<&'a [u8]> {
    match value {
        Value::Bytes(start, end) => Some(&pickle[start..end]),
        _ => unpickler.str(value, pickle).map(str::as_bytes),
    }
}

/// Integers wrap around in narrower types, as Java's casts do.
fn ints(values: Vec<Option<i64>>, data_type: &DataType) -> Result<ArrayRef, SparkError> {
    fn narrow<T: ArrowPrimitiveType>(
        values: Vec<Option<i64>>,
        data_type: &DataType,
        cast: fn(i64) -> T::Native,
    ) -> ArrayRef {
        let array: PrimitiveArray<T> = values.into_iter().map(|v| v.map(cast)).collect();
        Arc::new(array.with_data_type(data_type.clone()))
    }
    #[expect(clippy::cast_possible_truncation, reason = "Spark wraps as well")]
    Ok(match data_type {
        DataType::Int8 => narrow::<Int8Type>(values, data_type, |v| v as i8),
        DataType::Int16 => narrow::<Int16Type>(values, data_type, |v| v as i16),
        DataType::Int32 => narrow::<Int32Type>(values, data_type, |v| v as i32),
        DataType::Int64 => narrow::<Int64Type>(values, data_type, |v| v),
        DataType::Date32 => narrow::<Date32Type>(values, data_type, |v| v as i32),
        DataType::Timestamp(..) => narrow::<TimestampMicrosecondType>(values, data_type, |v| v),
        DataType::Duration(_) => narrow::<DurationMicrosecondType>(values, data_type, |v| v),
        DataType::Time64(_) => narrow::<Time64NanosecondType>(values, data_type, |v| v),
        DataType::Interval(_) => narrow::<IntervalYearMonthType>(values, data_type, |v| v as i32),
        other => return Err(internal(format!("{other} is not an integer type"))),
    })
}

/// Rescales a `decimal.Decimal` by rounding half up, as Spark's `Decimal` does.
fn decimal(text: &str, data_type: &DataType) -> Result<i128, SparkError> {
    let DataType::Decimal128(precision, scale) = data_type else {
        return Err(internal("not a decimal column"));
    };
    let unscaled = parse_decimal(text, i32::from(*scale));
    let limit = 10_i128.pow(u32::from(*precision));
    unscaled.filter(|value| value.abs() < limit).ok_or_else(|| {
        SparkError::new(
            class::ARITHMETIC,
            "NUMERIC_VALUE_OUT_OF_RANGE.WITHOUT_SUGGESTION",
            "22003",
            format!(
                "The {text} rounded half up from {text} cannot be represented as \
                 Decimal({precision}, {scale})."
            ),
        )
    })
}

/// Parses `[-]digits[.digits][E[+-]digits]` into an integer of the given scale; `None` when
/// it is no finite number or does not fit.
fn parse_decimal(text: &str, scale: i32) -> Option<i128> {
    let (negative, body) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match body.split_once(['E', 'e']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (body, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // Digits before the point once the value is multiplied by 10^scale.
    let fraction_digits = i32::try_from(fraction.len()).ok()?;
    let shift = exponent.checked_add(scale)?.checked_sub(fraction_digits)?;
    let kept = i32::try_from(digits.len()).ok()?.checked_add(shift)?;
    let mut value = 0_i128;
    for index in 0..kept.max(0) {
        let digit = usize::try_from(index)
            .ok()
            .and_then(|index| digits.get(index));
        let digit = digit.map_or(0, |digit| i128::from(digit - b'0'));
        value = value.checked_mul(10)?.checked_add(digit)?;
    }
    let next = usize::try_from(kept)
        .ok()
        .and_then(|index| digits.get(index));
    if next.is_some_and(|digit| *digit >= b'5') {
        value = value.checked_add(1)?;
    }
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_round_half_up() {
        let cases = [
            ("1.005", 2, Some(101)),
            ("-1.005", 2, Some(-101)),
            ("12", 2, Some(1200)),
            ("1E+3", 0, Some(1000)),
            ("5E-1", 0, Some(1)),
            ("4E-1", 0, Some(0)),
            ("0.05", 0, Some(0)),
            ("NaN", 2, None),
            ("1E+60", 0, None),
        ];
        for (text, scale, expected) in cases {
            assert_eq!(
                parse_decimal(text, scale),
                expected,
                "{text} at scale {scale}"
            );
        }
    }
}
