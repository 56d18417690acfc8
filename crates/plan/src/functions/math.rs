//! Numbers.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, Operator, binary_expr, cast, lit, when};

use super::{Call, engine};
use crate::analyzer::{Analyzer, Typed};
use crate::errors::{Result, from_datafusion};

fn double(a: &Analyzer, typed: &Typed) -> Result<Expr> {
    a.coerce(typed.clone(), &DataType::Float64)
}

pub(super) fn build(a: &Analyzer, call: &Call) -> Result<Option<Typed>> {
    let typed = match call.name.as_str() {
        "abs" => {
            call.expect(1, 1)?;
            let arg = call.arg(0)?;
            let value = if arg.data_type == DataType::Utf8 {
                double(a, arg)?
            } else {
                arg.expr.clone()
            };
            call.typed(engine::call("abs", vec![value])?)?
        }
        "ceil" | "ceiling" | "floor" => ceil_floor(a, call)?,
        "round" | "bround" => round(a, call)?,
        "pow" | "power" => {
            call.expect(2, 2)?;
            let name = if call.name == "pow" { "pow" } else { "POWER" };
            let args = vec![double(a, call.arg(0)?)?, double(a, call.arg(1)?)?];
            call.named(engine::call("power", args)?, call.text_as(name))?
        }
        "ln" | "log" | "log10" | "log2" | "log1p" => logarithm(a, call)?,
        "e" => call.named(lit(std::f64::consts::E), "E()")?,
        "hex" => {
            call.expect(1, 1)?;
            let arg = call.arg(0)?;
            let value = if arg.data_type.is_integer() {
                cast(arg.expr.clone(), DataType::Int64)
            } else {
                arg.expr.clone()
            };
            call.typed(cast(
                engine::call_spark("hex", vec![value])?,
                DataType::Utf8,
            ))?
        }
        "rand" | "random" | "randn" => random(call, a)?,
        "conv" => {
            return Err(pyrite_proto::error::SparkError::not_supported(
                "function `conv`",
            ));
        }
        _ => return Ok(None),
    };
    Ok(Some(typed))
}

fn ceil_floor(a: &Analyzer, call: &Call) -> Result<Typed> {
    call.expect(1, 2)?;
    if call.args.len() == 2 {
        return Err(pyrite_proto::error::SparkError::not_supported(format!(
            "{} with a scale",
            call.name
        )));
    }
    let arg = call.arg(0)?;
    let function = if call.name == "floor" {
        "floor"
    } else {
        "ceil"
    };
    let text = call.text_as(if call.name == "floor" {
        "FLOOR"
    } else {
        "CEIL"
    });
    match &arg.data_type {
        t if t.is_integer() => call.named(cast(arg.expr.clone(), DataType::Int64), text),
        DataType::Decimal128(p, s) => {
            let whole = DataType::Decimal128((p - *s as u8 + 1).clamp(1, 38), 0);
            let mode = a.cast_mode();
            let up = engine::call(function, vec![arg.expr.clone()])?;
            let from = call.named(up.clone(), "")?.data_type;
            call.named(a.cast_expr(up, &from, &whole, mode), text)
        }
        _ => {
            let value = engine::call(function, vec![double(a, arg)?])?;
            call.named(
                a.cast_expr(value, &DataType::Float64, &DataType::Int64, a.cast_mode()),
                text,
            )
        }
    }
}

fn round(a: &Analyzer, call: &Call) -> Result<Typed> {
    call.expect(1, 2)?;
    let arg = call.arg(0)?;
    let places = match call.args.get(1) {
        Some(places) => a.coerce(places.clone(), &DataType::Int32)?,
        None => lit(0),
    };
    let text = match call.args.get(1) {
        Some(_) => call.text(),
        None => format!("{}({}, 0)", call.name, arg.name),
    };
    let value = match &arg.data_type {
        DataType::Utf8 | DataType::Null => double(a, arg)?,
        _ => arg.expr.clone(),
    };
    let mode = if call.name == "bround" {
        "half_even"
    } else {
        "half_up"
    };
    call.named(
        engine::call("spark_round", vec![value, places, lit(mode)])?,
        text,
    )
}

/// Logarithms of numbers that are not positive are NULL, as in Hive.
fn logarithm(a: &Analyzer, call: &Call) -> Result<Typed> {
    call.expect(1, 2)?;
    let value = double(a, call.args.last().map_or(call.arg(0), Ok)?)?;
    let positive = |e: &Expr| binary_expr(e.clone(), Operator::Gt, lit(0.0));
    let (expr, domain, text) = match (call.name.as_str(), call.args.len()) {
        ("log", 2) => {
            let base = double(a, call.arg(0)?)?;
            let domain = positive(&base).and(positive(&value));
            let quotient =
                engine::call("ln", vec![value.clone()])? / engine::call("ln", vec![base])?;
            (quotient, domain, call.text_as("LOG"))
        }
        ("log", _) => (
            engine::call("ln", vec![value.clone()])?,
            positive(&value),
            call.text_as("ln"),
        ),
        ("log1p", _) => {
            let domain = binary_expr(value.clone(), Operator::Gt, lit(-1.0));
            (
                engine::call("ln", vec![value.clone() + lit(1.0)])?,
                domain,
                call.text_as("LOG1P"),
            )
        }
        ("log10" | "log2", _) => {
            let upper = call.text_as(&call.name.to_uppercase());
            (
                engine::call(&call.name, vec![value.clone()])?,
                positive(&value),
                upper,
            )
        }
        _ => (
            engine::call("ln", vec![value.clone()])?,
            positive(&value),
            call.text(),
        ),
    };
    let null = lit(ScalarValue::Float64(None));
    call.named(
        when(domain, expr)
            .otherwise(null)
            .map_err(from_datafusion)?,
        text,
    )
}

fn random(call: &Call, a: &Analyzer) -> Result<Typed> {
    call.expect(0, 1)?;
    let seed = match call.args.first() {
        Some(seed) => a.coerce(seed.clone(), &DataType::Int64)?,
        None => lit(a.now.timestamp_micros()),
    };
    let function = if call.name == "randn" {
        "spark_randn"
    } else {
        "spark_rand"
    };
    let mut typed = call.named(
        engine::random(function, seed)?,
        call.text_as(if call.name == "randn" {
            "randn"
        } else {
            "rand"
        }),
    )?;
    typed.nullable = false;
    Ok(typed)
}
