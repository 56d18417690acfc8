//! `spark_round(value, places, mode)`: half up, or half to even; types as in Spark.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, PrimitiveArray};
use arrow::datatypes::{
    DataType, Decimal128Type, Field, FieldRef, Float32Type, Float64Type, Int64Type,
};
use datafusion::common::{Result, ScalarValue, exec_err, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct SparkRound {
    signature: Signature,
}

impl Default for SparkRound {
    fn default() -> Self {
        Self {
            signature: Signature::any(3, Volatility::Immutable),
        }
    }
}

fn places_of(value: Option<&ScalarValue>) -> Result<i32> {
    match value {
        Some(ScalarValue::Int32(Some(places))) => Ok(*places),
        _ => exec_err!("round needs a literal number of places"),
    }
}

/// Spark's `RoundBase.dataType` for decimals.
fn decimal_result(precision: u8, scale: i8, places: i32) -> DataType {
    let whole = i32::from(precision) - i32::from(scale) + 1;
    if places < 0 {
        let digits = whole.max(-places + 1).min(38);
        return DataType::Decimal128(digits as u8, 0);
    }
    let new_scale = places.min(i32::from(scale));
    DataType::Decimal128((whole + new_scale).clamp(1, 38) as u8, new_scale as i8)
}

impl ScalarUDFImpl for SparkRound {
    fn name(&self) -> &str {
        "spark_round"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        internal_err!("the type of spark_round depends on its argument's value")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let places = places_of(args.scalar_arguments[1])?;
        let to = match args.arg_fields[0].data_type() {
            DataType::Decimal128(p, s) => decimal_result(*p, *s, places),
            other => other.clone(),
        };
        Ok(Arc::new(Field::new(
            self.name(),
            to,
            args.arg_fields[0].is_nullable(),
        )))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (ColumnarValue::Scalar(places), ColumnarValue::Scalar(mode)) =
            (&args.args[1], &args.args[2])
        else {
            return internal_err!("spark_round needs literals");
        };
        let places = places_of(Some(places))?;
        let even = *mode == ScalarValue::from("half_even");
        let to = args.return_field.data_type();
        match &args.args[0] {
            ColumnarValue::Array(array) => {
                Ok(ColumnarValue::Array(round(array, places, even, to)?))
            }
            ColumnarValue::Scalar(scalar) => {
                let out = round(&scalar.to_array()?, places, even, to)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&out, 0)?))
            }
        }
    }
}

fn round(array: &ArrayRef, places: i32, even: bool, to: &DataType) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>();
            Arc::new(values.unary::<_, Float64Type>(|v| round_double(v, places, even)))
        }
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>();
            Arc::new(values.unary::<_, Float32Type>(|v| round_float(v, places, even)))
        }
        DataType::Decimal128(_, scale) => {
            let values = array.as_primitive::<Decimal128Type>();
            let DataType::Decimal128(precision, new_scale) = to else {
                return internal_err!("a rounded decimal is a decimal");
            };
            let (from, new) = (i32::from(*scale), i32::from(*new_scale));
            let out: Decimal128Array = values.unary(|v| {
                let cut = round_digits(v, from - places.min(from), even);
                // Digits before the point that were rounded away come back as zeros.
                if places < 0 {
                    cut * 10_i128.pow(-places as u32)
                } else {
                    cut * 10_i128.pow((new - places.min(from)).max(0) as u32)
                }
            });
            Arc::new(out.with_precision_and_scale(*precision, *new_scale)?)
        }
        other if other.is_integer() => {
            if places >= 0 {
                return Ok(Arc::clone(array));
            }
            let wide = arrow::compute::cast(array, &DataType::Int64)?;
            let unit = 10_i128.checked_pow(-places as u32);
            let out: PrimitiveArray<Int64Type> =
                wide.as_primitive::<Int64Type>().unary(|v| match unit {
                    Some(unit) => (round_digits(i128::from(v), -places, even) * unit) as i64,
                    None => 0,
                });
            arrow::compute::cast(&out, other)?
        }
        other => return exec_err!("round does not take {other}"),
    })
}

/// Drops `digits` digits, rounding.
fn round_digits(value: i128, digits: i32, even: bool) -> i128 {
    if digits <= 0 {
        return value;
    }
    let Some(unit) = 10_i128.checked_pow(digits as u32) else {
        return 0;
    };
    let (quotient, rest) = (value / unit, (value % unit).abs());
    let up = match (rest * 2).cmp(&unit) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => !even || quotient % 2 != 0,
    };
    if up {
        quotient + value.signum()
    } else {
        quotient
    }
}

/// Rounds the decimal text of a number, as Java's `BigDecimal` of a double does.
fn round_text(text: &str, places: i32, even: bool) -> Option<f64> {
    let (digits, scale) = crate::parse::decimal(text)?;
    let drop = scale - places;
    if drop <= 0 {
        return None;
    }
    let rounded = round_digits(digits, drop, even);
    format!("{rounded}e{}", -places).parse().ok()
}

fn round_double(value: f64, places: i32, even: bool) -> f64 {
    if !value.is_finite() {
        return value;
    }
    round_text(&format!("{value:e}"), places, even).unwrap_or(value)
}

fn round_float(value: f32, places: i32, even: bool) -> f32 {
    if !value.is_finite() {
        return value;
    }
    round_text(&format!("{value:e}"), places, even).map_or(value, |v| v as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_up_or_to_even() {
        assert_eq!(round_double(2.5, 0, false), 3.0);
        assert_eq!(round_double(2.5, 0, true), 2.0);
        assert_eq!(round_double(-2.5, 0, false), -3.0);
        assert_eq!(round_double(1.005, 2, false), 1.01);
        assert_eq!(round_double(1234.5, -2, false), 1200.0);
        assert_eq!(round_digits(25, 1, true), 2);
    }
}
