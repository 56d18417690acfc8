//! `+ - * / % div pmod` and negation with Spark's overflow rules.
//!
//! One function per operator and mode, such as `spark_add_ansi`, so that the name alone says
//! everything when a plan is serialised. Both arguments have the same type, except decimals,
//! which keep their own scales; the planner sees to that.

mod decimals;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, Datum, Decimal128Array,
    PrimitiveArray,
};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{
    DataType, Decimal128Type, Field, FieldRef, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, i256,
};
use arrow::error::ArrowError;
use datafusion::common::{Result, ScalarValue, exec_err, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use crate::cast::CastMode;
use crate::error::{arithmetic_overflow, decimal_out_of_range, divide_by_zero, remainder_by_zero};
use decimals::{rescale, widen};

/// An arithmetic operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/` on doubles and decimals
    Divide,
    /// `%`
    Remainder,
    /// `div`: a bigint
    IntegerDivide,
    /// `pmod`: the remainder that is never negative
    PositiveRemainder,
}

impl Operator {
    /// Every operator.
    pub const ALL: [Self; 7] = [
        Self::Add,
        Self::Subtract,
        Self::Multiply,
        Self::Divide,
        Self::Remainder,
        Self::IntegerDivide,
        Self::PositiveRemainder,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Subtract => "subtract",
            Self::Multiply => "multiply",
            Self::Divide => "divide",
            Self::Remainder => "mod",
            Self::IntegerDivide => "integer_divide",
            Self::PositiveRemainder => "pmod",
        }
    }

    /// Spark's result type for decimals, before it is bounded to 38 digits.
    pub fn decimal_type(self, left: (u8, i8), right: (u8, i8)) -> (u8, i8) {
        let (p1, s1) = (i32::from(left.0), i32::from(left.1));
        let (p2, s2) = (i32::from(right.0), i32::from(right.1));
        let (precision, scale) = match self {
            Self::Add | Self::Subtract => {
                let scale = s1.max(s2);
                ((p1 - s1).max(p2 - s2) + scale + 1, scale)
            }
            Self::Multiply => (p1 + p2 + 1, s1 + s2),
            Self::Divide => {
                let scale = 6.max(s1 + p2 + 1);
                (p1 - s1 + s2 + scale, scale)
            }
            Self::Remainder | Self::PositiveRemainder => {
                let scale = s1.max(s2);
                ((p1 - s1).min(p2 - s2) + scale, scale)
            }
            Self::IntegerDivide => ((p1 - s1 + s2).max(1), 0),
        };
        bounded(precision, scale)
    }
}

/// `DecimalType.adjustPrecisionScale`: keeps whole digits, and at least six of the fraction.
fn bounded(precision: i32, scale: i32) -> (u8, i8) {
    if precision <= 38 {
        return (precision as u8, scale as i8);
    }
    let whole = precision - scale;
    let scale = (38 - whole).max(scale.min(6));
    (38, scale as i8)
}

/// An operator in a mode, as a function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Arithmetic {
    name: String,
    operator: Operator,
    mode: Mode,
    signature: Signature,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Mode {
    Ansi,
    Legacy,
    Try,
}

impl Arithmetic {
    /// The function for an operator in a mode.
    pub fn new(operator: Operator, mode: CastMode) -> Self {
        let mode_of = match mode {
            CastMode::Ansi => Mode::Ansi,
            CastMode::Legacy => Mode::Legacy,
            CastMode::Try => Mode::Try,
        };
        Self {
            name: format!("spark_{}_{}", operator.word(), mode.as_str()),
            operator,
            mode: mode_of,
            signature: Signature::any(2, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        if self.operator == Operator::IntegerDivide {
            return Ok(DataType::Int64);
        }
        match (&arg_types[0], &arg_types[1]) {
            (DataType::Decimal128(p1, s1), DataType::Decimal128(p2, s2)) => {
                let (precision, scale) = self.operator.decimal_type((*p1, *s1), (*p2, *s2));
                Ok(DataType::Decimal128(precision, scale))
            }
            (left, _) => Ok(left.clone()),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args
            .arg_fields
            .iter()
            .map(|f| f.data_type().clone())
            .collect();
        let to = self.return_type(&types)?;
        let total = self.mode == Mode::Ansi
            || (self.mode == Mode::Legacy
                && to.is_integer()
                && matches!(
                    self.operator,
                    Operator::Add | Operator::Subtract | Operator::Multiply
                ));
        // Division is nullable in Spark's schemas even where ANSI mode would raise an error.
        let divides = !matches!(
            self.operator,
            Operator::Add | Operator::Subtract | Operator::Multiply
        );
        let decimal = matches!(to, DataType::Decimal128(_, _)) && self.mode != Mode::Ansi;
        let nullable =
            args.arg_fields.iter().any(|f| f.is_nullable()) || !total || decimal || divides;
        Ok(Arc::new(Field::new(self.name(), to, nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else {
            return internal_err!("{} takes two arguments", self.name);
        };
        let scalar = matches!(
            (left, right),
            (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_))
        );
        let out = match left.data_type() {
            DataType::Decimal128(_, _) => {
                let rows = if scalar { 1 } else { args.number_rows };
                self.decimals(left, right, rows, args.return_field.data_type())?
            }
            DataType::Float32 | DataType::Float64 => self.floats(left, right, args.number_rows)?,
            DataType::Int8 => self.integers::<Int8Type>(left, right, args.number_rows)?,
            DataType::Int16 => self.integers::<Int16Type>(left, right, args.number_rows)?,
            DataType::Int32 => self.integers::<Int32Type>(left, right, args.number_rows)?,
            DataType::Int64 => self.integers::<Int64Type>(left, right, args.number_rows)?,
            other => return exec_err!("{} does not take {other}", self.name),
        };
        if scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&out, 0)?));
        }
        Ok(ColumnarValue::Array(out))
    }
}

/// Runs an Arrow kernel on columns or scalars without spreading scalars out.
fn kernel(
    left: &ColumnarValue,
    right: &ColumnarValue,
    run: impl Fn(&dyn Datum, &dyn Datum) -> std::result::Result<ArrayRef, ArrowError>,
) -> Result<std::result::Result<ArrayRef, ArrowError>> {
    Ok(match (left, right) {
        (ColumnarValue::Array(l), ColumnarValue::Array(r)) => run(l, r),
        (ColumnarValue::Array(l), ColumnarValue::Scalar(r)) => run(l, &r.to_scalar()?),
        (ColumnarValue::Scalar(l), ColumnarValue::Array(r)) => run(&l.to_scalar()?, r),
        (ColumnarValue::Scalar(l), ColumnarValue::Scalar(r)) => {
            run(&l.to_scalar()?, &r.to_scalar()?)
        }
    })
}

impl Arithmetic {
    fn zero_divisor(&self) -> datafusion::common::DataFusionError {
        match self.operator {
            Operator::Divide | Operator::IntegerDivide => divide_by_zero(),
            _ => remainder_by_zero(),
        }
    }

    fn overflow(&self, data_type: &DataType) -> datafusion::common::DataFusionError {
        let what = match data_type {
            DataType::Int64 => "long overflow",
            DataType::Int32 => "integer overflow",
            DataType::Int16 => "short overflow",
            _ => "byte overflow",
        };
        let alternative = match self.operator {
            Operator::Add => "try_add",
            Operator::Subtract => "try_subtract",
            Operator::Multiply => "try_multiply",
            Operator::Divide | Operator::IntegerDivide => "try_divide",
            Operator::Remainder | Operator::PositiveRemainder => "try_mod",
        };
        arithmetic_overflow(what, alternative)
    }

    fn integers<T>(
        &self,
        left: &ColumnarValue,
        right: &ColumnarValue,
        rows: usize,
    ) -> Result<ArrayRef>
    where
        T: ArrowPrimitiveType,
        T::Native: ArrowNativeTypeOp + Into<i64>,
    {
        let fast = match (self.operator, self.mode) {
            (Operator::Add, Mode::Legacy) => Some(kernel(left, right, numeric::add_wrapping)?),
            (Operator::Subtract, Mode::Legacy) => Some(kernel(left, right, numeric::sub_wrapping)?),
            (Operator::Multiply, Mode::Legacy) => Some(kernel(left, right, numeric::mul_wrapping)?),
            (Operator::Add, _) => Some(kernel(left, right, numeric::add)?),
            (Operator::Subtract, _) => Some(kernel(left, right, numeric::sub)?),
            (Operator::Multiply, _) => Some(kernel(left, right, numeric::mul)?),
            _ => None,
        };
        match fast {
            Some(Ok(array)) => return Ok(array),
            Some(Err(ArrowError::ArithmeticOverflow(_))) if self.mode == Mode::Ansi => {
                return Err(self.overflow(&T::DATA_TYPE));
            }
            Some(Err(ArrowError::ArithmeticOverflow(_))) | None => {}
            Some(Err(other)) => return Err(other.into()),
        }
        let (left, right) = arrays(left, right, rows)?;
        let (left, right) = (left.as_primitive::<T>(), right.as_primitive::<T>());
        if self.operator == Operator::IntegerDivide {
            let out: Vec<Option<i64>> = zip(left, right, |a, b| {
                self.integer_quotient(a.into(), b.into())
            })?;
            return Ok(Arc::new(PrimitiveArray::<Int64Type>::from_iter(out)));
        }
        let out = zip(left, right, |a, b| self.integer_step::<T>(a, b))?;
        Ok(Arc::new(PrimitiveArray::<T>::from_iter(out)))
    }

    fn integer_quotient(&self, a: i64, b: i64) -> Result<Option<i64>> {
        match (b, self.mode) {
            (0, Mode::Ansi) => Err(divide_by_zero()),
            (0, _) => Ok(None),
            _ => match (a.checked_div(b), self.mode) {
                (Some(value), _) => Ok(Some(value)),
                (None, Mode::Ansi) => Err(arithmetic_overflow(
                    "Overflow in integral divide",
                    "try_divide",
                )),
                (None, Mode::Legacy) => Ok(Some(a.wrapping_div(b))),
                (None, Mode::Try) => Ok(None),
            },
        }
    }

    fn integer_step<T>(&self, a: T::Native, b: T::Native) -> Result<Option<T::Native>>
    where
        T: ArrowPrimitiveType,
        T::Native: ArrowNativeTypeOp,
    {
        let value = match self.operator {
            Operator::Add => a.add_checked(b).ok(),
            Operator::Subtract => a.sub_checked(b).ok(),
            Operator::Multiply => a.mul_checked(b).ok(),
            _ if b.is_zero() && self.mode == Mode::Ansi => return Err(self.zero_divisor()),
            _ if b.is_zero() => return Ok(None),
            Operator::PositiveRemainder => {
                let rest = a.mod_wrapping(b);
                let negative = rest.is_lt(T::Native::ZERO);
                Some(if negative {
                    rest.add_wrapping(b).mod_wrapping(b)
                } else {
                    rest
                })
            }
            _ => Some(a.mod_wrapping(b)),
        };
        Ok(value)
    }

    fn floats(&self, left: &ColumnarValue, right: &ColumnarValue, rows: usize) -> Result<ArrayRef> {
        let done = match self.operator {
            Operator::Add => kernel(left, right, numeric::add)?,
            Operator::Subtract => kernel(left, right, numeric::sub)?,
            Operator::Multiply => kernel(left, right, numeric::mul)?,
            _ => {
                let (left, right) = arrays(left, right, rows)?;
                return match left.data_type() {
                    DataType::Float32 => self.float_steps::<Float32Type>(&left, &right),
                    _ => self.float_steps::<Float64Type>(&left, &right),
                };
            }
        };
        Ok(done?)
    }

    fn float_steps<T>(&self, left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef>
    where
        T: ArrowPrimitiveType,
        T::Native: ArrowNativeTypeOp + Into<f64>,
    {
        let (left, right) = (left.as_primitive::<T>(), right.as_primitive::<T>());
        let step = |a: T::Native, b: T::Native| {
            let divisor: f64 = b.into();
            if divisor == 0.0 {
                return if self.mode == Mode::Ansi {
                    Err(self.zero_divisor())
                } else {
                    Ok(None)
                };
            }
            Ok(Some(match self.operator {
                Operator::Divide | Operator::IntegerDivide => a.div_wrapping(b),
                Operator::PositiveRemainder => {
                    let rest = a.mod_wrapping(b);
                    let value: f64 = rest.into();
                    if value < 0.0 {
                        rest.add_wrapping(b).mod_wrapping(b)
                    } else {
                        rest
                    }
                }
                _ => a.mod_wrapping(b),
            }))
        };
        let out = zip(left, right, step)?;
        Ok(Arc::new(PrimitiveArray::<T>::from_iter(out)))
    }

    fn decimals(
        &self,
        left: &ColumnarValue,
        right: &ColumnarValue,
        rows: usize,
        to: &DataType,
    ) -> Result<ArrayRef> {
        let (left, right) = arrays(left, right, rows)?;
        let (DataType::Decimal128(_, s1), DataType::Decimal128(_, s2)) =
            (left.data_type(), right.data_type())
        else {
            return internal_err!("{} needs two decimals", self.name);
        };
        let (s1, s2) = (i32::from(*s1), i32::from(*s2));
        let (left, right) = (
            left.as_primitive::<Decimal128Type>(),
            right.as_primitive::<Decimal128Type>(),
        );
        if let DataType::Decimal128(precision, scale) = to {
            let (precision, scale) = (*precision, *scale);
            let out = zip(left, right, |a, b| {
                if b == 0
                    && !matches!(
                        self.operator,
                        Operator::Add | Operator::Subtract | Operator::Multiply
                    )
                {
                    return if self.mode == Mode::Ansi {
                        Err(self.zero_divisor())
                    } else {
                        Ok(None)
                    };
                }
                let value = self
                    .decimal_step(a, s1, b, s2, i32::from(scale))
                    .and_then(i256::to_i128)
                    .filter(|v| v.unsigned_abs() < 10_u128.pow(u32::from(precision)));
                match value {
                    Some(value) => Ok(Some(value)),
                    None if self.mode == Mode::Ansi => {
                        Err(decimal_out_of_range("result", precision, scale))
                    }
                    None => Ok(None),
                }
            })?;
            let array =
                Decimal128Array::from_iter(out).with_precision_and_scale(precision, scale)?;
            return Ok(Arc::new(array));
        }
        let out = zip(left, right, |a, b| {
            if b == 0 {
                return if self.mode == Mode::Ansi {
                    Err(divide_by_zero())
                } else {
                    Ok(None)
                };
            }
            let common = s1.max(s2);
            let quotient = widen(a, s1, common)
                .zip(widen(b, s2, common))
                .and_then(|(a, b)| a.checked_div(b))
                .and_then(i256::to_i128)
                .and_then(|v| i64::try_from(v).ok());
            match quotient {
                None if self.mode == Mode::Ansi => Err(arithmetic_overflow(
                    "Overflow in integral divide",
                    "try_divide",
                )),
                value => Ok(value),
            }
        })?;
        Ok(Arc::new(PrimitiveArray::<Int64Type>::from_iter(out)))
    }

    /// The result at the wanted scale, rounded half up.
    fn decimal_step(&self, a: i128, s1: i32, b: i128, s2: i32, scale: i32) -> Option<i256> {
        let common = s1.max(s2);
        match self.operator {
            Operator::Add => {
                let sum = widen(a, s1, common)?.checked_add(widen(b, s2, common)?)?;
                rescale(sum, common, scale)
            }
            Operator::Subtract => {
                let sum = widen(a, s1, common)?.checked_sub(widen(b, s2, common)?)?;
                rescale(sum, common, scale)
            }
            Operator::Multiply => rescale(
                i256::from_i128(a).checked_mul(i256::from_i128(b))?,
                s1 + s2,
                scale,
            ),
            Operator::Divide | Operator::IntegerDivide => {
                // a / 10^s1 / (b / 10^s2), with one digit more to round by.
                let shift = scale + 1 + s2 - s1;
                let (mut top, mut bottom) = (i256::from_i128(a), i256::from_i128(b));
                if shift >= 0 {
                    top = top.checked_mul(i256::from_i128(10).checked_pow(shift as u32)?)?;
                } else {
                    bottom = bottom.checked_mul(i256::from_i128(10).checked_pow(-shift as u32)?)?;
                }
                rescale(top.checked_div(bottom)?, scale + 1, scale)
            }
            Operator::Remainder | Operator::PositiveRemainder => {
                let divisor = widen(b, s2, common)?;
                let mut rest = widen(a, s1, common)?.checked_rem(divisor)?;
                if self.operator == Operator::PositiveRemainder && rest < i256::ZERO {
                    rest = rest.checked_add(divisor)?.checked_rem(divisor)?;
                }
                rescale(rest, common, scale)
            }
        }
    }
}

fn arrays(
    left: &ColumnarValue,
    right: &ColumnarValue,
    rows: usize,
) -> Result<(ArrayRef, ArrayRef)> {
    let rows = match (left, right) {
        (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)) => 1,
        _ => rows,
    };
    Ok((left.to_array(rows)?, right.to_array(rows)?))
}

fn zip<T: ArrowPrimitiveType, R>(
    left: &PrimitiveArray<T>,
    right: &PrimitiveArray<T>,
    step: impl Fn(T::Native, T::Native) -> Result<Option<R>>,
) -> Result<Vec<Option<R>>> {
    left.iter()
        .zip(right.iter())
        .map(|pair| match pair {
            (Some(a), Some(b)) => step(a, b),
            _ => Ok(None),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, Int32Array};
    use datafusion::config::ConfigOptions;

    fn run(
        operator: Operator,
        mode: CastMode,
        left: ArrayRef,
        right: ArrayRef,
    ) -> Result<ArrayRef> {
        let function = Arithmetic::new(operator, mode);
        let types = [left.data_type().clone(), right.data_type().clone()];
        let to = function.return_type(&types)?;
        let rows = left.len();
        let args = ScalarFunctionArgs {
            args: vec![ColumnarValue::Array(left), ColumnarValue::Array(right)],
            arg_fields: vec![],
            number_rows: rows,
            return_field: Arc::new(Field::new("x", to, true)),
            config_options: Arc::new(ConfigOptions::default()),
        };
        function.invoke_with_args(args)?.into_array(rows)
    }

    #[test]
    fn overflow_depends_on_the_mode() {
        let max: ArrayRef = Arc::new(Int32Array::from(vec![i32::MAX, 1]));
        let one: ArrayRef = Arc::new(Int32Array::from(vec![1, 1]));
        let ansi = run(
            Operator::Add,
            CastMode::Ansi,
            Arc::clone(&max),
            Arc::clone(&one),
        );
        assert!(
            ansi.unwrap_err()
                .to_string()
                .contains("ARITHMETIC_OVERFLOW")
        );
        let wrapped = run(
            Operator::Add,
            CastMode::Legacy,
            Arc::clone(&max),
            Arc::clone(&one),
        )
        .unwrap();
        assert_eq!(
            wrapped.as_primitive::<Int32Type>(),
            &Int32Array::from(vec![i32::MIN, 2])
        );
        let null = run(Operator::Add, CastMode::Try, max, one).unwrap();
        assert_eq!(
            null.as_primitive::<Int32Type>(),
            &Int32Array::from(vec![None, Some(2)])
        );
    }

    #[test]
    fn division_by_zero() {
        let one: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
        let zero: ArrayRef = Arc::new(Float64Array::from(vec![0.0]));
        let ansi = run(
            Operator::Divide,
            CastMode::Ansi,
            Arc::clone(&one),
            Arc::clone(&zero),
        );
        assert!(ansi.unwrap_err().to_string().contains("DIVIDE_BY_ZERO"));
        let null = run(Operator::Divide, CastMode::Legacy, one, zero).unwrap();
        assert!(null.is_null(0));
    }

    #[test]
    fn decimal_types_follow_spark() {
        assert_eq!(Operator::Add.decimal_type((10, 2), (5, 3)), (12, 3));
        assert_eq!(Operator::Multiply.decimal_type((10, 2), (5, 3)), (16, 5));
        assert_eq!(Operator::Divide.decimal_type((10, 2), (5, 3)), (19, 8));
        assert_eq!(Operator::Multiply.decimal_type((38, 10), (38, 10)), (38, 6));
    }
}
