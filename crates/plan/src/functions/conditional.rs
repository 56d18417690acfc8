//! Functions that choose between values.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::conditional_expressions::CaseBuilder;
use datafusion::logical_expr::{Expr, lit};

use super::{Call, engine};
use crate::analyzer::{Analyzer, Typed};
use crate::errors::{Result, from_datafusion};

pub(super) fn build(a: &Analyzer, call: &Call) -> Result<Option<Typed>> {
    let typed = match call.name.as_str() {
        "when" => case_when(a, call)?,
        "if" | "iff" => {
            call.expect(3, 3)?;
            let condition = a.coerce(call.arg(0)?.clone(), &DataType::Boolean)?;
            let text = format!(
                "(IF({}, {}, {}))",
                call.arg(0)?.name,
                call.arg(1)?.name,
                call.arg(2)?.name
            );
            let (values, _) = a.unify(call.args[1..].to_vec(), &text)?;
            let expr = choose(
                vec![(condition, values[0].clone())],
                Some(values[1].clone()),
            )?;
            nullable_by(call.named(expr, text)?, &call.args[1..])
        }
        "coalesce" | "ifnull" | "nvl" => {
            call.expect(1, usize::MAX)?;
            let (values, _) = a.unify(call.args.clone(), &call.text())?;
            let mut typed = call.typed(engine::call("coalesce", values)?)?;
            typed.nullable = call.args.iter().all(|arg| arg.nullable);
            typed
        }
        "nullif" => {
            call.expect(2, 2)?;
            let (values, _) = a.unify(call.args.clone(), &call.text())?;
            let equal = values[0].clone().eq(values[1].clone());
            let null = ScalarValue::try_from(&call.arg(0)?.data_type).map_err(from_datafusion)?;
            call.typed(choose(
                vec![(equal, lit(null))],
                Some(call.arg(0)?.expr.clone()),
            )?)?
        }
        "nvl2" => {
            call.expect(3, 3)?;
            let (values, _) = a.unify(call.args[1..].to_vec(), &call.text())?;
            let there = call.arg(0)?.expr.clone().is_not_null();
            let expr = choose(vec![(there, values[0].clone())], Some(values[1].clone()))?;
            nullable_by(call.typed(expr)?, &call.args[1..])
        }
        "nullifzero" | "zeroifnull" => {
            call.expect(1, 1)?;
            let arg = call.arg(0)?;
            let data_type = if arg.data_type.is_null() {
                DataType::Int32
            } else {
                arg.data_type.clone()
            };
            let value = a.coerce(arg.clone(), &data_type)?;
            let zero = ScalarValue::new_zero(&data_type).map_err(from_datafusion)?;
            let null = ScalarValue::try_from(&data_type).map_err(from_datafusion)?;
            let expr = if call.name == "nullifzero" {
                choose(vec![(value.clone().eq(lit(zero)), lit(null))], Some(value))?
            } else {
                engine::call("coalesce", vec![value, lit(zero)])?
            };
            call.typed(expr)?
        }
        "greatest" | "least" => {
            call.expect(2, usize::MAX)?;
            let (values, _) = a.unify(call.args.clone(), &call.text())?;
            let mut typed = call.typed(engine::call(&call.name, values)?)?;
            typed.nullable = call.args.iter().all(|arg| arg.nullable);
            typed
        }
        "nanvl" => {
            call.expect(2, 2)?;
            let (values, _) = a.unify(call.args.clone(), &call.text())?;
            call.typed(engine::call("nanvl", values)?)?
        }
        "isnan" => {
            call.expect(1, 1)?;
            let arg = a.coerce(call.arg(0)?.clone(), &DataType::Float64)?;
            let tested = engine::call("isnan", vec![arg])?;
            let mut typed = call.typed(engine::call("coalesce", vec![tested, lit(false)])?)?;
            typed.nullable = false;
            typed
        }
        _ => return Ok(None),
    };
    Ok(Some(typed))
}

fn nullable_by(mut typed: Typed, values: &[Typed]) -> Typed {
    typed.nullable = values.iter().any(|v| v.nullable);
    typed
}

fn choose(branches: Vec<(Expr, Expr)>, default: Option<Expr>) -> Result<Expr> {
    let (conditions, values): (Vec<Expr>, Vec<Expr>) = branches.into_iter().unzip();
    let default = default.map(Box::new);
    CaseBuilder::new(None, conditions, values, default)
        .end()
        .map_err(from_datafusion)
}

/// `CASE WHEN c THEN x ... ELSE y END`, as conditions and values in turn.
fn case_when(a: &Analyzer, call: &Call) -> Result<Typed> {
    call.expect(2, usize::MAX)?;
    let mut text = "CASE".to_owned();
    let (pairs, rest) = call.args.as_chunks::<2>();
    for [condition, value] in pairs {
        text.push_str(&format!(" WHEN {} THEN {}", condition.name, value.name));
    }
    let default = rest.first();
    if let Some(default) = default {
        text.push_str(&format!(" ELSE {}", default.name));
    }
    text.push_str(" END");
    let mut values: Vec<Typed> = pairs.iter().map(|[_, value]| value.clone()).collect();
    values.extend(default.cloned());
    let nullable = default.is_none() || values.iter().any(|v| v.nullable);
    let (mut exprs, _) = a.unify(values, &text)?;
    let otherwise = if default.is_some() { exprs.pop() } else { None };
    let branches = pairs
        .iter()
        .zip(exprs)
        .map(|([condition, _], value)| {
            Ok((a.coerce(condition.clone(), &DataType::Boolean)?, value))
        })
        .collect::<Result<Vec<_>>>()?;
    let mut typed = call.named(choose(branches, otherwise)?, text)?;
    typed.nullable = nullable;
    Ok(typed)
}
