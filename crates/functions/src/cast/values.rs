//! What casts share: plain Arrow casts, narrowing, and values as error messages show them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Decimal128Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use datafusion::common::{Result, exec_err};

use crate::format::{ValueFormat, write_decimal, write_double};
use crate::type_names::sql_name;

pub(super) fn plain(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    Ok(cast_with_options(
        array,
        to,
        &CastOptions {
            safe: true,
            ..Default::default()
        },
    )?)
}

/// Relabels microsecond timestamps with the zone of `to`.
pub(super) fn with_type(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let data = array
        .to_data()
        .into_builder()
        .data_type(to.clone())
        .build()?;
    Ok(arrow::array::make_array(data))
}

pub(super) fn non_zero(array: &ArrayRef) -> Result<BooleanArray> {
    match array.data_type() {
        DataType::Decimal128(_, _) => {
            let values = array.as_primitive::<Decimal128Type>();
            Ok(values.iter().map(|v| v.map(|v| v != 0)).collect())
        }
        DataType::Timestamp(_, _) => {
            let values = array.as_primitive::<TimestampMicrosecondType>();
            Ok(values.iter().map(|v| v.map(|v| v != 0)).collect())
        }
        from if from.is_numeric() => Ok(plain(array, &DataType::Boolean)?.as_boolean().clone()),
        from => exec_err!("{} cannot be cast to BOOLEAN", sql_name(from)),
    }
}

pub(super) fn fits(value: i128, precision: u8) -> bool {
    10_i128
        .checked_pow(u32::from(precision))
        .is_none_or(|limit| value.abs() < limit)
}

pub(super) fn integers_as_i128(array: &ArrayRef) -> Option<Vec<i128>> {
    if !array.data_type().is_integer() && *array.data_type() != DataType::Boolean {
        return None;
    }
    let wide = plain(array, &DataType::Int64).ok()?;
    Some(
        wide.as_primitive::<Int64Type>()
            .values()
            .iter()
            .map(|v| i128::from(*v))
            .collect(),
    )
}

/// Java's narrowing: integers lose their upper bits, floats stop at the limits.
pub(super) fn wrap_integers(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let wide: PrimitiveArray<Int64Type> = match array.data_type() {
        DataType::Float32 | DataType::Float64 => {
            let source = plain(array, &DataType::Float64)?;
            let narrow = !matches!(to, DataType::Int64);
            source.as_primitive::<Float64Type>().unary(|v| {
                if narrow {
                    i64::from(v as i32)
                } else {
                    v as i64
                }
            })
        }
        DataType::Decimal128(_, _) => array.as_primitive::<Decimal128Type>().unary(|v| v as i64),
        _ => plain(array, &DataType::Int64)?
            .as_primitive::<Int64Type>()
            .clone(),
    };
    Ok(match to {
        DataType::Int8 => Arc::new(wide.unary::<_, Int8Type>(|v| v as i8)),
        DataType::Int16 => Arc::new(wide.unary::<_, Int16Type>(|v| v as i16)),
        DataType::Int32 => Arc::new(wide.unary::<_, Int32Type>(|v| v as i32)),
        _ => Arc::new(wide),
    })
}

pub(super) fn text_of(array: &ArrayRef, row: usize) -> Result<String> {
    let mut text = String::new();
    match array.data_type() {
        DataType::Decimal128(_, scale) => {
            write_decimal(
                array.as_primitive::<Decimal128Type>().value(row),
                *scale,
                &mut text,
            );
        }
        DataType::Float64 => {
            write_double(array.as_primitive::<Float64Type>().value(row), &mut text);
        }
        _ => ValueFormat::cast("UTC")?.write(array.as_ref(), row, &mut text)?,
    }
    Ok(text)
}

/// What Spark's SQL appends to a literal of this type.
pub(super) fn literal_suffix(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Int8 => "Y",
        DataType::Int16 => "S",
        DataType::Int64 => "L",
        DataType::Float64 => "D",
        DataType::Decimal128(_, _) => "BD",
        _ => "",
    }
}
