//! Functions that take lambda functions.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::{
    HigherOrderFunction, Lambda, LambdaVariable as EngineVariable,
};
use pyrite_proto::connect::Expression;
use pyrite_proto::connect::expression::{ExprType, LambdaFunction};
use pyrite_proto::error::SparkError;

use super::engine;
use crate::analyzer::{Analyzer, LambdaVariable, Scope, Typed, unique_name};
use crate::errors::{self, Result};
use crate::expressions::required;

/// Builds a call with a lambda function; `None` when no such function is known.
pub(crate) fn higher_order(
    a: &Analyzer,
    name: &str,
    arguments: &[Expression],
    scope: &Scope,
) -> Result<Option<Typed>> {
    let engine_name = match name {
        "transform" => "array_transform",
        "filter" => "array_filter",
        "exists" => "array_any_match",
        "forall" | "aggregate" | "reduce" | "zip_with" | "transform_keys" | "transform_values"
        | "map_filter" | "map_zip_with" | "array_sort" => {
            return Err(SparkError::not_supported(format!(
                "function `{name}` with a lambda function"
            )));
        }
        _ => return Ok(None),
    };
    let [list, function] = arguments else {
        return Err(errors::wrong_arguments(name, "2", arguments.len()));
    };
    let list = a.expression(list, scope)?;
    let DataType::List(item) = list.data_type.clone() else {
        return Err(errors::unexpected_input(
            name,
            0,
            "ARRAY",
            &list.name,
            &list.spark_type(),
        ));
    };
    // The engine wants the item's field as its own analysis has it.
    let item = match scope.typed(list.expr.clone(), "")?.data_type {
        DataType::List(own) => own,
        _ => item,
    };
    let Some(ExprType::LambdaFunction(function)) = &function.expr_type else {
        return Err(errors::invalid_message("LambdaFunction"));
    };
    if function.arguments.len() != 1 {
        return Err(SparkError::not_supported(format!(
            "`{name}` with an index in its lambda function"
        )));
    }
    let (lambda, body) = one_variable(a, function, &item, scope)?;
    let text = format!(
        "{name}({}, lambdafunction({}, {}))",
        list.name, body.name, "namedlambdavariable()"
    );
    let call =
        HigherOrderFunction::new(engine::higher_order(engine_name)?, vec![list.expr, lambda]);
    let mut typed = scope.typed(Expr::HigherOrderFunction(call), text)?;
    typed.nullable = list.nullable;
    Ok(Some(typed))
}

fn one_variable(
    a: &Analyzer,
    function: &LambdaFunction,
    item: &Arc<Field>,
    scope: &Scope,
) -> Result<(Expr, Typed)> {
    let argument = required(function.arguments.first(), "a lambda argument")?;
    let name = required(argument.name_parts.first(), "a lambda argument's name")?;
    let internal = unique_name(name);
    let field = Arc::new(Field::new(
        &internal,
        item.data_type().clone(),
        item.is_nullable(),
    ));
    let variable = Typed {
        expr: Expr::LambdaVariable(EngineVariable::new(internal.clone(), Some(field))),
        name: "namedlambdavariable()".into(),
        column_name: None,
        data_type: item.data_type().clone(),
        nullable: item.is_nullable(),
        metadata: None,
        source: None,
        aliased: false,
        interval: None,
    };
    let mut inner = scope.clone();
    inner.lambda.push(LambdaVariable {
        name: name.clone(),
        typed: variable,
    });
    let body = required(function.function.as_deref(), "LambdaFunction.function")?;
    let body = a.expression(body, &inner)?;
    let lambda = Expr::Lambda(Lambda::new(vec![internal], body.expr.clone()));
    Ok((lambda, body))
}
