//! Operators: arithmetic, comparisons, logic, bits.

use arrow::datatypes::{DataType, IntervalUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, Operator as Engine, binary_expr, cast, lit, not};
use pyrite_functions::arithmetic::Operator;
use pyrite_functions::cast::CastMode;

use super::{Call, engine};
use crate::analyzer::{Analyzer, Typed};
use crate::errors::{self, Result};
use crate::expressions::coercion::decimal_for;
use crate::types;

pub(super) fn build(a: &Analyzer, call: &Call) -> Result<Option<Typed>> {
    let name = call.name.as_str();
    let typed = match name {
        "-" if call.args.len() == 1 => negative(a, call)?,
        "+" | "-" | "*" | "/" | "%" | "div" | "pmod" | "mod" | "try_add" | "try_subtract"
        | "try_multiply" | "try_divide" | "try_mod" => arithmetic(a, call)?,
        "negative" => negative(a, call)?,
        "positive" => {
            let arg = call.arg(0)?.clone();
            Typed {
                name: format!("(+ {})", arg.name),
                column_name: None,
                source: None,
                ..arg
            }
        }
        "==" | "=" | "<=>" | "<" | "<=" | ">" | ">=" | "!=" | "<>" | "equal_null" => {
            comparison(a, call)?
        }
        "and" | "or" => logical(a, call)?,
        "not" | "!" => {
            call.expect(1, 1)?;
            let arg = call.arg(0)?;
            let expr = not(boolean(a, arg)?);
            call.named(expr, format!("(NOT {})", arg.name))?
        }
        "isnull" => {
            call.expect(1, 1)?;
            let arg = call.arg(0)?;
            call.named(
                arg.expr.clone().is_null(),
                format!("({} IS NULL)", arg.name),
            )?
        }
        "isnotnull" => {
            call.expect(1, 1)?;
            let arg = call.arg(0)?;
            call.named(
                arg.expr.clone().is_not_null(),
                format!("({} IS NOT NULL)", arg.name),
            )?
        }
        "in" => in_list(a, call)?,
        "between" => between(a, call)?,
        "&" | "|" | "^" => bits(a, call)?,
        "~" => {
            let arg = call.arg(0)?;
            let expr = engine::call_spark("bitwise_not", vec![arg.expr.clone()])?;
            call.named(expr, format!("~{}", arg.name))?
        }
        "shiftleft" | "shiftright" | "shiftrightunsigned" | "<<" | ">>" | ">>>" => shift(a, call)?,
        _ => return Ok(None),
    };
    Ok(Some(typed))
}

fn boolean(a: &Analyzer, typed: &Typed) -> Result<Expr> {
    a.coerce(typed.clone(), &DataType::Boolean)
}

fn logical(a: &Analyzer, call: &Call) -> Result<Typed> {
    let (word, op) = if call.name == "and" {
        ("AND", Engine::And)
    } else {
        ("OR", Engine::Or)
    };
    let mut args = call.args.iter();
    let first = args
        .next()
        .ok_or_else(|| errors::wrong_arguments(&call.name, "2", 0))?;
    let mut expr = boolean(a, first)?;
    let mut text = first.name.clone();
    for arg in args {
        expr = binary_expr(expr, op, boolean(a, arg)?);
        text = format!("({text} {word} {})", arg.name);
    }
    call.named(expr, text)
}

/// Brings both sides of a comparison to one type.
fn compared(a: &Analyzer, left: &Typed, right: &Typed, text: &str) -> Result<(Expr, Expr)> {
    let common = a
        .wider(&left.data_type, &right.data_type)
        .ok_or_else(|| errors::different_types(text, &left.spark_type(), &right.spark_type()))?;
    let common = if common.is_null() {
        DataType::Boolean
    } else {
        common
    };
    let mode = a.cast_mode();
    Ok((
        a.cast_expr(left.expr.clone(), &left.data_type, &common, mode),
        a.cast_expr(right.expr.clone(), &right.data_type, &common, mode),
    ))
}

fn comparison(a: &Analyzer, call: &Call) -> Result<Typed> {
    call.expect(2, 2)?;
    let (left, right) = (call.arg(0)?, call.arg(1)?);
    let (word, op) = match call.name.as_str() {
        "==" | "=" => ("=", Engine::Eq),
        "<=>" | "equal_null" => ("<=>", Engine::IsNotDistinctFrom),
        "!=" | "<>" => ("<>", Engine::NotEq),
        "<" => ("<", Engine::Lt),
        "<=" => ("<=", Engine::LtEq),
        ">" => (">", Engine::Gt),
        _ => (">=", Engine::GtEq),
    };
    let text = match call.name.as_str() {
        "equal_null" => call.text(),
        "!=" | "<>" => format!("(NOT ({} = {}))", left.name, right.name),
        _ => format!("({} {word} {})", left.name, right.name),
    };
    let (l, r) = compared(a, left, right, &text)?;
    call.named(binary_expr(l, op, r), text)
}

fn in_list(a: &Analyzer, call: &Call) -> Result<Typed> {
    let value = call.arg(0)?;
    let items: Vec<&str> = call.args[1..].iter().map(|i| i.name.as_str()).collect();
    let text = format!("({} IN ({}))", value.name, items.join(", "));
    if call.args.len() == 1 {
        return call.named(lit(false), text);
    }
    let (mut exprs, _) = a.unify(call.args.clone(), &text)?;
    let first = exprs.remove(0);
    call.named(first.in_list(exprs, false), text)
}

fn between(a: &Analyzer, call: &Call) -> Result<Typed> {
    call.expect(3, 3)?;
    let (value, low, high) = (call.arg(0)?, call.arg(1)?, call.arg(2)?);
    let text = call.text();
    let (v1, low) = compared(a, value, low, &text)?;
    let (v2, high) = compared(a, value, high, &text)?;
    call.named(v1.gt_eq(low).and(v2.lt_eq(high)), text)
}

fn bits(a: &Analyzer, call: &Call) -> Result<Typed> {
    call.expect(2, 2)?;
    let (left, right) = (call.arg(0)?, call.arg(1)?);
    let text = format!("({} {} {})", left.name, call.name, right.name);
    let op = match call.name.as_str() {
        "&" => Engine::BitwiseAnd,
        "|" => Engine::BitwiseOr,
        _ => Engine::BitwiseXor,
    };
    if left.data_type == DataType::Boolean {
        // The DataFrame API sends `&` for booleans only as `and`; SQL refuses it.
        return Err(errors::different_types(
            &text,
            &left.spark_type(),
            &right.spark_type(),
        ));
    }
    let (l, r) = compared(a, left, right, &text)?;
    call.named(binary_expr(l, op, r), text)
}

fn shift(a: &Analyzer, call: &Call) -> Result<Typed> {
    call.expect(2, 2)?;
    let (function, word) = match call.name.as_str() {
        "shiftleft" | "<<" => ("shiftleft", "<<"),
        "shiftright" | ">>" => ("shiftright", ">>"),
        _ => ("shiftrightunsigned", ">>>"),
    };
    let (value, count) = (call.arg(0)?, call.arg(1)?);
    let to = if value.data_type == DataType::Int64 {
        DataType::Int64
    } else {
        DataType::Int32
    };
    let args = vec![
        a.coerce(value.clone(), &to)?,
        a.coerce(count.clone(), &DataType::Int32)?,
    ];
    let text = if call.name == function {
        call.text()
    } else {
        format!("({} {word} {})", value.name, count.name)
    };
    call.named(engine::call_spark(function, args)?, text)
}

fn negative(a: &Analyzer, call: &Call) -> Result<Typed> {
    call.expect(1, 1)?;
    let arg = call.arg(0)?;
    let text = match call.name.as_str() {
        "-" => format!("(- {})", arg.name),
        _ => format!("negative({})", arg.name),
    };
    match &arg.data_type {
        DataType::Duration(_) | DataType::Interval(_) | DataType::Float32 | DataType::Float64 => {
            call.named(Expr::Negative(Box::new(arg.expr.clone())), text)
        }
        other if other.is_integer() => {
            let zero = ScalarValue::new_zero(other).map_err(errors::from_datafusion)?;
            let function = Operator::Subtract;
            call.named(
                operate(
                    function,
                    a.cast_mode(),
                    Expr::Literal(zero, None),
                    arg.expr.clone(),
                ),
                text,
            )
        }
        DataType::Decimal128(_, _) => call.named(Expr::Negative(Box::new(arg.expr.clone())), text),
        _ => {
            let expr = a.coerce(arg.clone(), &DataType::Float64)?;
            call.named(Expr::Negative(Box::new(expr)), text)
        }
    }
}

fn operate(operator: Operator, mode: CastMode, left: Expr, right: Expr) -> Expr {
    engine::arithmetic(operator, mode, left, right)
}

fn arithmetic(a: &Analyzer, call: &Call) -> Result<Typed> {
    call.expect(2, 2)?;
    let (operator, word) = match call.name.as_str() {
        "+" | "try_add" => (Operator::Add, "+"),
        "-" | "try_subtract" => (Operator::Subtract, "-"),
        "*" | "try_multiply" => (Operator::Multiply, "*"),
        "/" | "try_divide" => (Operator::Divide, "/"),
        "%" | "mod" | "try_mod" => (Operator::Remainder, "%"),
        "div" => (Operator::IntegerDivide, "div"),
        _ => (Operator::PositiveRemainder, "pmod"),
    };
    let mode = if call.name.starts_with("try_") {
        CastMode::Try
    } else {
        a.cast_mode()
    };
    let (left, right) = (call.arg(0)?, call.arg(1)?);
    let text = match call.name.as_str() {
        "pmod" | "mod" => call.text(),
        name if name.starts_with("try_") => call.text(),
        _ => format!("({} {word} {})", left.name, right.name),
    };
    if is_temporal(&left.data_type) || is_temporal(&right.data_type) {
        return temporal(a, call, operator, &text);
    }
    let expr = numeric(a, operator, mode, left, right, &text)?;
    call.named(expr, text)
}

fn numeric(
    a: &Analyzer,
    operator: Operator,
    mode: CastMode,
    left: &Typed,
    right: &Typed,
    text: &str,
) -> Result<Expr> {
    let mismatch = || errors::different_types(text, &left.spark_type(), &right.spark_type());
    let number = |t: &DataType| t.is_numeric() || matches!(t, DataType::Null | DataType::Utf8);
    if !number(&left.data_type) || !number(&right.data_type) {
        return Err(mismatch());
    }
    let common = match (&left.data_type, &right.data_type) {
        (DataType::Utf8, DataType::Utf8)
        | (DataType::Null, DataType::Utf8)
        | (DataType::Utf8, DataType::Null) => DataType::Float64,
        (DataType::Null, DataType::Null) => DataType::Int32,
        (l, r) if !a.ansi && (*l == DataType::Utf8 || *r == DataType::Utf8) => DataType::Float64,
        (l, r) => a.wider(l, r).ok_or_else(mismatch)?,
    };
    let cast_to =
        |t: &Typed, to: &DataType| a.cast_expr(t.expr.clone(), &t.data_type, to, a.cast_mode());
    match &common {
        DataType::Decimal128(_, _) => {
            let (l, r) = (decimal_side(a, left, right)?, decimal_side(a, right, left)?);
            Ok(operate(operator, mode, l, r))
        }
        _ if operator == Operator::Divide => {
            let (l, r) = (
                cast_to(left, &DataType::Float64),
                cast_to(right, &DataType::Float64),
            );
            Ok(operate(operator, mode, l, r))
        }
        DataType::Float32 | DataType::Float64 => {
            let (l, r) = (cast_to(left, &common), cast_to(right, &common));
            Ok(match operator {
                Operator::Add => l + r,
                Operator::Subtract => l - r,
                Operator::Multiply => l * r,
                _ => operate(operator, mode, l, r),
            })
        }
        // `div` is on bigints whatever the integers' width.
        _ if operator == Operator::IntegerDivide => {
            let (l, r) = (
                cast_to(left, &DataType::Int64),
                cast_to(right, &DataType::Int64),
            );
            Ok(operate(operator, mode, l, r))
        }
        _ => Ok(operate(
            operator,
            mode,
            cast_to(left, &common),
            cast_to(right, &common),
        )),
    }
}

/// One side of decimal arithmetic as a decimal: integer literals with just their digits.
fn decimal_side(a: &Analyzer, side: &Typed, other: &Typed) -> Result<Expr> {
    let to = match (&side.expr, &side.data_type) {
        (_, DataType::Decimal128(_, _)) => return Ok(side.expr.clone()),
        (Expr::Literal(value, _), t) if t.is_integer() => {
            let digits = value.to_string().trim_start_matches('-').len() as u8;
            DataType::Decimal128(digits.max(1), 0)
        }
        (_, DataType::Null) => other.data_type.clone(),
        (_, t) => {
            let (precision, scale) = decimal_for(t).unwrap_or((38, 18));
            DataType::Decimal128(precision, scale)
        }
    };
    Ok(a.cast_expr(side.expr.clone(), &side.data_type, &to, a.cast_mode()))
}

fn is_temporal(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Date32
            | DataType::Timestamp(_, _)
            | DataType::Duration(_)
            | DataType::Interval(_)
    )
}

/// Dates, timestamps and intervals.
fn temporal(a: &Analyzer, call: &Call, operator: Operator, text: &str) -> Result<Typed> {
    use DataType as T;
    let (left, right) = (call.arg(0)?, call.arg(1)?);
    let mismatch = || errors::different_types(text, &left.spark_type(), &right.spark_type());
    let sum = |l: Expr, r: Expr| {
        if operator == Operator::Add {
            l + r
        } else {
            l - r
        }
    };
    let int = |t: &Typed| a.coerce(t.clone(), &T::Int32);
    let (l, r) = (left.expr.clone(), right.expr.clone());
    let interval = |t: &T| matches!(t, T::Duration(_) | T::Interval(_));
    let expr = match (&left.data_type, operator, &right.data_type) {
        (T::Date32, Operator::Add, t) if t.is_integer() => {
            return call.named(
                engine::call_spark("date_add", vec![l, int(right)?])?,
                format!("date_add({}, {})", left.name, right.name),
            );
        }
        (t, Operator::Add, T::Date32) if t.is_integer() => {
            return call.named(
                engine::call_spark("date_add", vec![r, int(left)?])?,
                format!("date_add({}, {})", right.name, left.name),
            );
        }
        (T::Date32, Operator::Subtract, t) if t.is_integer() => {
            return call.named(
                engine::call_spark("date_sub", vec![l, int(right)?])?,
                format!("date_sub({}, {})", left.name, right.name),
            );
        }
        (T::Date32 | T::Timestamp(_, _), Operator::Subtract, T::Date32 | T::Timestamp(_, _)) => {
            let common = if left.data_type == T::Date32 && right.data_type == T::Date32 {
                types::timestamp_ntz()
            } else {
                types::timestamp()
            };
            let mode = a.cast_mode();
            let l = a.cast_expr(l, &left.data_type, &common, mode);
            let r = a.cast_expr(r, &right.data_type, &common, mode);
            cast(l - r, types::day_time())
        }
        // Whole days move a date to a date.
        (T::Date32, Operator::Add | Operator::Subtract, T::Duration(_))
            if right.interval == Some((0, 0)) =>
        {
            let days = cast(
                cast(r, T::Int64) / datafusion::logical_expr::lit(86_400_000_000_i64),
                T::Int32,
            );
            let function = if operator == Operator::Add {
                "date_add"
            } else {
                "date_sub"
            };
            let sign = if operator == Operator::Add { "" } else { "- " };
            let days_text = format!("extractansiintervaldays({})", right.name);
            let days_text = if sign.is_empty() {
                days_text
            } else {
                format!("({sign}{days_text})")
            };
            let shown = format!("date_add({}, {days_text})", left.name);
            return call.named(engine::call_spark(function, vec![l, days])?, shown);
        }
        (T::Date32, Operator::Add | Operator::Subtract, T::Duration(_)) => {
            let l = a.cast_expr(l, &T::Date32, &types::timestamp(), a.cast_mode());
            sum(l, r)
        }
        (T::Duration(_), Operator::Add, T::Date32) => {
            a.cast_expr(r, &T::Date32, &types::timestamp(), a.cast_mode()) + l
        }
        (T::Date32 | T::Timestamp(_, _), Operator::Add | Operator::Subtract, t) if interval(t) => {
            sum(l, r)
        }
        (t, Operator::Add, T::Date32 | T::Timestamp(_, _)) if interval(t) => r + l,
        (T::Duration(_), Operator::Add | Operator::Subtract, T::Duration(_)) => sum(l, r),
        (T::Interval(x), Operator::Add | Operator::Subtract, T::Interval(y)) if x == y => sum(l, r),
        (T::Duration(_), Operator::Multiply | Operator::Divide, t) if t.is_numeric() => {
            scaled(a, left, right, operator, CastMode::Ansi, text)?
        }
        (t, Operator::Multiply, T::Duration(_)) if t.is_numeric() => {
            scaled(a, right, left, operator, CastMode::Ansi, text)?
        }
        (T::Interval(IntervalUnit::YearMonth), Operator::Multiply | Operator::Divide, t)
            if t.is_numeric() =>
        {
            scaled(a, left, right, operator, CastMode::Ansi, text)?
        }
        (t, Operator::Multiply, T::Interval(IntervalUnit::YearMonth)) if t.is_numeric() => {
            scaled(a, right, left, operator, CastMode::Ansi, text)?
        }
        (T::Date32 | T::Timestamp(_, _), _, T::Utf8) => {
            let r = a.cast_expr(r, &T::Utf8, &left.data_type, a.cast_mode());
            if operator != Operator::Subtract {
                return Err(mismatch());
            }
            l - r
        }
        (T::Null, Operator::Add | Operator::Subtract, t) => Expr::Literal(
            ScalarValue::try_from(t).map_err(errors::from_datafusion)?,
            None,
        ),
        (t, Operator::Add | Operator::Subtract, T::Null) => Expr::Literal(
            ScalarValue::try_from(t).map_err(errors::from_datafusion)?,
            None,
        ),
        _ => return Err(mismatch()),
    };
    let moved =
        matches!(left.data_type, T::Date32 | T::Timestamp(_, _)) && interval(&right.data_type);
    let text = if moved {
        text.trim_start_matches('(').trim_end_matches(')')
    } else {
        text
    };
    let mut typed = call.named(expr, text)?;
    if left.data_type == T::Date32 && right.data_type == T::Date32 {
        typed.interval = Some((0, 0));
    }
    Ok(typed)
}

/// An interval times or divided by a number, rounded half up.
fn scaled(
    a: &Analyzer,
    interval: &Typed,
    number: &Typed,
    operator: Operator,
    mode: CastMode,
    text: &str,
) -> Result<Expr> {
    let year_month = matches!(interval.data_type, DataType::Interval(_));
    let wide = if year_month {
        DataType::Int32
    } else {
        DataType::Int64
    };
    let plain = cast(interval.expr.clone(), wide.clone());
    let plain = Typed {
        expr: plain,
        data_type: wide.clone(),
        ..interval.clone()
    };
    let product = numeric(a, operator, mode, &plain, number, text)?;
    let rounded = engine::call("round", vec![cast(product, DataType::Float64)])?;
    Ok(cast(cast(rounded, wide), interval.data_type.clone()))
}
