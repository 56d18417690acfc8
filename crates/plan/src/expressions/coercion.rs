//! Implicit casts: Spark's `AnsiTypeCoercion` and, without ANSI mode, `TypeCoercion`.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, cast};
use pyrite_functions::cast::CastMode;
use pyrite_functions::type_names::{key_value, sql_name};

use super::text_literal;
use crate::analyzer::{Analyzer, Typed};
use crate::errors::{self, Result};
use crate::functions::engine;
use crate::types;

impl Analyzer<'_> {
    /// Casts an expression, with the engine's own cast where nothing can go wrong.
    pub fn cast_expr(&self, expr: Expr, from: &DataType, to: &DataType, mode: CastMode) -> Expr {
        if from == to {
            return expr;
        }
        if let Expr::Literal(value, _) = &expr
            && value.is_null()
            && let Ok(null) = ScalarValue::try_from(to)
        {
            return Expr::Literal(null, None);
        }
        if is_lossless(from, to) {
            if let Expr::Literal(value, _) = &expr
                && let Ok(folded) = value.cast_to(to)
            {
                return Expr::Literal(folded, None);
            }
            return cast(expr, to.clone());
        }
        let null = ScalarValue::try_from(to).unwrap_or(ScalarValue::Null);
        let args = vec![
            expr,
            Expr::Literal(null, None),
            text_literal(mode.as_str()),
            text_literal(&self.time_zone),
        ];
        engine::spark_cast(args)
    }

    /// Casts a value implicitly, where Spark would.
    pub fn coerce(&self, typed: Typed, to: &DataType) -> Result<Expr> {
        if typed.data_type == *to {
            return Ok(typed.expr);
        }
        if !castable(&typed.data_type, to) {
            return Err(errors::unexpected_input(
                &typed.name,
                0,
                &sql_name(to),
                &typed.name,
                &typed.spark_type(),
            ));
        }
        Ok(self.cast_expr(typed.expr, &typed.data_type, to, self.cast_mode()))
    }

    /// The type that values of both types are brought to, as in `coalesce` and comparisons.
    pub fn wider(&self, a: &DataType, b: &DataType) -> Option<DataType> {
        wider(a, b, self.ansi)
    }

    /// Brings values to their common type.
    pub fn unify(&self, values: Vec<Typed>, expression: &str) -> Result<(Vec<Expr>, DataType)> {
        let mut common = DataType::Null;
        for value in &values {
            common = self.wider(&common, &value.data_type).ok_or_else(|| {
                let found: Vec<String> = values
                    .iter()
                    .map(|v| format!("\"{}\"", v.spark_type()))
                    .collect();
                errors::type_mismatch(
                    "DATA_DIFF_TYPES",
                    expression,
                    format!(
                        "Input to `{}` should all be the same type, but it's ({}).",
                        expression
                            .split('(')
                            .next()
                            .unwrap_or_default()
                            .to_lowercase(),
                        found.join(" or ")
                    ),
                )
            })?;
        }
        let exprs = values
            .into_iter()
            .map(|v| self.cast_expr(v.expr, &v.data_type, &common, self.cast_mode()))
            .collect();
        Ok((exprs, common))
    }
}

/// Rank of a numeric type: the wider wins.
fn rank(data_type: &DataType) -> Option<u8> {
    Some(match data_type {
        DataType::Int8 => 1,
        DataType::Int16 => 2,
        DataType::Int32 => 3,
        DataType::Int64 => 4,
        DataType::Float32 => 6,
        DataType::Float64 => 7,
        _ => return None,
    })
}

/// The decimal that holds every value of a type.
pub(crate) fn decimal_for(data_type: &DataType) -> Option<(u8, i8)> {
    Some(match data_type {
        DataType::Int8 => (3, 0),
        DataType::Int16 => (5, 0),
        DataType::Int32 => (10, 0),
        DataType::Int64 => (20, 0),
        DataType::Decimal128(p, s) => (*p, *s),
        _ => return None,
    })
}

/// The decimal that both fit in, cut to 38 digits.
fn wider_decimal((p1, s1): (u8, i8), (p2, s2): (u8, i8)) -> DataType {
    let scale = s1.max(s2);
    let whole = (p1 as i8 - s1).max(p2 as i8 - s2);
    let precision = (whole + scale).min(38);
    DataType::Decimal128(precision as u8, scale.min(38))
}

/// The common type of two, or `None`.
pub(crate) fn wider(a: &DataType, b: &DataType, ansi: bool) -> Option<DataType> {
    use DataType as T;
    if a == b {
        return Some(a.clone());
    }
    Some(match (a, b) {
        (T::Null, other) | (other, T::Null) => other.clone(),
        (T::Utf8, other) | (other, T::Utf8) => return with_text(other, ansi),
        (T::Decimal128(_, _), T::Float32 | T::Float64)
        | (T::Float32 | T::Float64, T::Decimal128(_, _)) => T::Float64,
        (T::Decimal128(_, _), other) | (other, T::Decimal128(_, _))
            if decimal_for(other).is_some() =>
        {
            wider_decimal(decimal_for(a)?, decimal_for(b)?)
        }
        (T::Float32, other) | (other, T::Float32)
            if ansi && matches!(other, T::Int32 | T::Int64) =>
        {
            T::Float64
        }
        (T::Date32, T::Timestamp(u, z)) | (T::Timestamp(u, z), T::Date32) => {
            T::Timestamp(*u, z.clone())
        }
        (T::Timestamp(_, _), T::Timestamp(_, _)) => types::timestamp(),
        (T::List(x), T::List(y)) => {
            let item = wider(x.data_type(), y.data_type(), ansi)?;
            types::list_of(item, x.is_nullable() || y.is_nullable())
        }
        (T::Map(x, _), T::Map(y, _)) => {
            let ((k1, v1), (k2, v2)) = (key_value(x), key_value(y));
            types::map_of(
                wider(k1.data_type(), k2.data_type(), ansi)?,
                wider(v1.data_type(), v2.data_type(), ansi)?,
                v1.is_nullable() || v2.is_nullable(),
            )
        }
        (T::Struct(x), T::Struct(y)) if x.len() == y.len() => T::Struct(wider_fields(x, y, ansi)?),
        _ => match (rank(a), rank(b)) {
            (Some(x), Some(y)) => {
                if x >= y {
                    a.clone()
                } else {
                    b.clone()
                }
            }
            _ => return None,
        },
    })
}

fn wider_fields(x: &Fields, y: &Fields, ansi: bool) -> Option<Fields> {
    x.iter()
        .zip(y)
        .map(|(f, g)| {
            if !f.name().eq_ignore_ascii_case(g.name()) {
                return None;
            }
            let data_type = wider(f.data_type(), g.data_type(), ansi)?;
            let field = Field::new(f.name(), data_type, f.is_nullable() || g.is_nullable());
            Some(Arc::new(field))
        })
        .collect()
}

/// What a string and a value of another type become.
fn with_text(other: &DataType, ansi: bool) -> Option<DataType> {
    if !ansi {
        return (!other.is_nested()).then_some(DataType::Utf8);
    }
    Some(match other {
        t if t.is_integer() => DataType::Int64,
        DataType::Float32 | DataType::Float64 | DataType::Decimal128(_, _) => DataType::Float64,
        t if t.is_nested() => return None,
        t => t.clone(),
    })
}

/// Claims that the engine's cast does what Spark's does, and never fails.
fn is_lossless(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    match (from, to) {
        (T::Null, _) => true,
        (a, b) if rank(a).is_some() && rank(b).is_some() => rank(a) < rank(b),
        (a, T::Decimal128(p, s)) if a.is_integer() => {
            decimal_for(a).is_some_and(|(need, _)| *p as i8 - *s >= need as i8)
        }
        (T::Decimal128(p1, s1), T::Decimal128(p2, s2)) => {
            s2 >= s1 && *p2 as i8 - s2 >= *p1 as i8 - s1
        }
        (T::Decimal128(_, _), T::Float64) => true,
        (T::Boolean, T::Int8 | T::Int16 | T::Int32 | T::Int64) => true,
        (a, T::Utf8) => a.is_integer() || *a == T::Boolean,
        (T::Date32, T::Timestamp(TimeUnit::Microsecond, None)) => true,
        (T::List(a), T::List(b)) => {
            a.data_type() == b.data_type() && (b.is_nullable() || !a.is_nullable())
        }
        _ => false,
    }
}

/// Claims that Spark casts between the types at all (`Cast.canAnsiCast`, roughly).
pub(crate) fn castable(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    let numeric = |t: &T| t.is_numeric();
    match (from, to) {
        (a, b) if a == b => true,
        (T::Null, _) | (_, T::Utf8) => true,
        (T::Utf8, b) => !b.is_nested(),
        (T::Boolean, b) => numeric(b) || matches!(b, T::Timestamp(_, Some(_))),
        (a, T::Boolean) => numeric(a),
        (a, b) if numeric(a) && numeric(b) => true,
        (a, T::Timestamp(_, Some(_))) if numeric(a) => true,
        (T::Timestamp(_, Some(_)), b) if numeric(b) => true,
        (T::Date32, T::Timestamp(_, _)) | (T::Timestamp(_, _), T::Date32 | T::Timestamp(_, _)) => {
            true
        }
        (T::Duration(_), b) if numeric(b) => true,
        (T::Interval(_), b) if numeric(b) => true,
        (a, T::Duration(_) | T::Interval(_)) if a.is_integer() => true,
        (a, T::Binary) if a.is_integer() => true,
        (T::List(a), T::List(b)) => castable(a.data_type(), b.data_type()),
        (T::Map(a, _), T::Map(b, _)) => {
            let ((k1, v1), (k2, v2)) = (key_value(a), key_value(b));
            castable(k1.data_type(), k2.data_type()) && castable(v1.data_type(), v2.data_type())
        }
        (T::Struct(a), T::Struct(b)) => {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|(x, y)| castable(x.data_type(), y.data_type()))
        }
        _ => false,
    }
}

/// Refuses casts that Spark refuses.
pub(crate) fn check_cast(from: &DataType, to: &DataType, expression: &str) -> Result<()> {
    if castable(from, to) {
        return Ok(());
    }
    let (source, target) = (sql_name(from), sql_name(to));
    Err(errors::type_mismatch(
        "CAST_WITHOUT_SUGGESTION",
        expression,
        format!("cannot cast \"{source}\" to \"{target}\"."),
    )
    .with("srcType", format!("\"{source}\""))
    .with("targetType", format!("\"{target}\"")))
}
