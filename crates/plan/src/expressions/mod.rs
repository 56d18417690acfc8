//! Expressions: one file a topic, dispatched here.

mod attribute;
pub(crate) mod coercion;
mod literal;
mod operators;
mod subquery;
mod window;

use arrow::datatypes::DataType;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::SortExpr;
use pyrite_functions::cast::CastMode;
use pyrite_functions::type_names::sql_name;
use pyrite_proto::connect::expression::cast::{CastToType, EvalMode};
use pyrite_proto::connect::expression::sort_order::{NullOrdering, SortDirection};
use pyrite_proto::connect::expression::{self, ExprType};
use pyrite_proto::connect::{Expression, NamedArgumentExpression};
use pyrite_proto::error::SparkError;

use crate::analyzer::{Analyzer, Scope, Typed, with_stack};
use crate::errors::{self, Result};
use crate::{sqltext, types};

pub(crate) use attribute::attribute_name;
pub(crate) use literal::literal_value;

/// An argument as the client sent it, with the name it was passed by.
pub(crate) struct Argument {
    pub name: Option<String>,
    pub typed: Typed,
}

impl Analyzer<'_> {
    /// Resolves an expression that stands for one value.
    pub fn expression(&self, expression: &Expression, scope: &Scope) -> Result<Typed> {
        with_stack(|| self.expression_kind(expression, scope))
    }

    fn expression_kind(&self, expression: &Expression, scope: &Scope) -> Result<Typed> {
        let kind = expression
            .expr_type
            .as_ref()
            .ok_or_else(|| errors::invalid_message("Expression.expr_type"))?;
        match kind {
            ExprType::Literal(literal) => self.literal(literal),
            ExprType::UnresolvedAttribute(attribute) => self.attribute(attribute, scope),
            ExprType::UnresolvedFunction(call) => self.function(call, scope),
            ExprType::ExpressionString(text) => {
                self.expression(&sqltext::expression(&text.expression)?, scope)
            }
            ExprType::Alias(alias) => self.alias(alias, scope),
            ExprType::Cast(cast) => self.cast(cast, scope),
            ExprType::SortOrder(order) => {
                let child = required(order.child.as_deref(), "SortOrder.child")?;
                self.expression(child, scope)
            }
            ExprType::Window(window) => self.window(window, scope),
            ExprType::UnresolvedExtractValue(extract) => {
                let child = required(extract.child.as_deref(), "UnresolvedExtractValue.child")?;
                let key = required(
                    extract.extraction.as_deref(),
                    "UnresolvedExtractValue.extraction",
                )?;
                let child = self.expression(child, scope)?;
                let key = self.expression(key, scope)?;
                self.extract(child, key, scope)
            }
            ExprType::UpdateFields(update) => self.update_fields(update, scope),
            ExprType::UnresolvedNamedLambdaVariable(variable) => {
                self.lambda_variable(&variable.name_parts, scope)
            }
            ExprType::CommonInlineUserDefinedFunction(call) => self.inline_udf(call, scope),
            ExprType::CallFunction(call) => {
                let parts = sqltext::identifier(&call.function_name)?;
                let unresolved = expression::UnresolvedFunction {
                    function_name: parts.join("."),
                    arguments: call.arguments.clone(),
                    ..Default::default()
                };
                self.function(&unresolved, scope)
            }
            ExprType::NamedArgumentExpression(named) => {
                let value = required(named.value.as_deref(), "NamedArgumentExpression.value")?;
                self.expression(value, scope)
            }
            ExprType::SubqueryExpression(subquery) => self.subquery(subquery, scope),
            ExprType::UnresolvedStar(_) | ExprType::UnresolvedRegex(_) => {
                Err(errors::with_condition(
                    "INVALID_USAGE_OF_STAR_OR_REGEX",
                    "42000",
                    "Invalid usage of '*' in expression.",
                ))
            }
            ExprType::LambdaFunction(_) => Err(SparkError::not_supported(
                "a lambda function outside a higher-order function",
            )),
            ExprType::MergeAction(_) => Err(SparkError::not_supported("MERGE INTO")),
            ExprType::TypedAggregateExpression(_) => {
                Err(SparkError::not_supported("typed aggregates of Scala"))
            }
            ExprType::DirectShufflePartitionId(_) => {
                Err(SparkError::not_supported("repartitioning by partition id"))
            }
            ExprType::Extension(_) => Err(SparkError::not_supported("expression extensions")),
        }
    }

    /// Resolves arguments, which may be named and may hold stars.
    pub fn arguments(&self, arguments: &[Expression], scope: &Scope) -> Result<Vec<Argument>> {
        let mut out = vec![];
        for argument in arguments {
            match &argument.expr_type {
                Some(ExprType::NamedArgumentExpression(named)) => {
                    let NamedArgumentExpression { key, value } = named.as_ref();
                    let value = required(value.as_deref(), "NamedArgumentExpression.value")?;
                    let typed = self.expression(value, scope)?;
                    out.push(Argument {
                        name: Some(key.clone()),
                        typed,
                    });
                }
                _ => out.extend(
                    self.expand(argument, scope)?
                        .into_iter()
                        .map(|typed| Argument { name: None, typed }),
                ),
            }
        }
        Ok(out)
    }

    /// Resolves an item of a select list: stars and regular expressions become many.
    pub fn expand(&self, expression: &Expression, scope: &Scope) -> Result<Vec<Typed>> {
        match &expression.expr_type {
            Some(ExprType::UnresolvedStar(star)) => self.star(star, scope),
            Some(ExprType::UnresolvedRegex(regex)) => self.regex(regex, scope),
            Some(ExprType::ExpressionString(text)) => {
                self.expand(&sqltext::expression(&text.expression)?, scope)
            }
            Some(ExprType::UnresolvedFunction(call))
                if call.is_internal == Some(true) && call.function_name == "except" =>
            {
                self.star_except(&call.arguments, scope)
            }
            _ => Ok(vec![self.expression(expression, scope)?]),
        }
    }

    fn alias(&self, alias: &expression::Alias, scope: &Scope) -> Result<Typed> {
        let inner = required(alias.expr.as_deref(), "Alias.expr")?;
        let mut typed = self.expression(inner, scope)?;
        let [name] = alias.name.as_slice() else {
            return Err(SparkError::not_supported("several names for one column"));
        };
        typed.name = format!("{} AS {name}", typed.name);
        typed.column_name = Some(name.clone());
        typed.aliased = true;
        if alias.metadata.is_some() {
            typed.metadata.clone_from(&alias.metadata);
        }
        Ok(typed)
    }

    fn cast(&self, cast: &expression::Cast, scope: &Scope) -> Result<Typed> {
        let inner = required(cast.expr.as_deref(), "Cast.expr")?;
        let to = match &cast.cast_to_type {
            Some(CastToType::Type(data_type)) => types::to_arrow(data_type)?,
            Some(CastToType::TypeStr(text)) => types::to_arrow(&sqltext::data_type(text)?)?,
            None => return Err(errors::invalid_message("Cast.cast_to_type")),
        };
        let mode = match cast.eval_mode() {
            EvalMode::Unspecified => self.cast_mode(),
            EvalMode::Legacy => CastMode::Legacy,
            EvalMode::Ansi => CastMode::Ansi,
            EvalMode::Try => CastMode::Try,
        };
        let child = self.expression(inner, scope)?;
        let word = if mode == CastMode::Try {
            "TRY_CAST"
        } else {
            "CAST"
        };
        let name = format!("{word}({} AS {})", child.name, sql_name(&to));
        coercion::check_cast(&child.data_type, &to, &name)?;
        let column_name = child.source.as_ref().map(|f| f.name.clone());
        let column_name =
            column_name.or_else(|| child.aliased.then(|| child.output_name().to_owned()));
        let expr = self.cast_expr(child.expr, &child.data_type, &to, mode);
        let mut typed = scope.typed(expr, name)?;
        typed.nullable = typed.nullable && (child.nullable || mode != CastMode::Ansi);
        typed.column_name = column_name;
        Ok(typed)
    }

    /// Resolves a sort key.
    pub fn sort_order(
        &self,
        order: &expression::SortOrder,
        scope: &Scope,
    ) -> Result<(Typed, bool, bool)> {
        let child = required(order.child.as_deref(), "SortOrder.child")?;
        let typed = self.expression(child, scope)?;
        let ascending = order.direction() != SortDirection::Descending;
        let nulls_first = match order.null_ordering() {
            NullOrdering::SortNullsUnspecified => ascending,
            NullOrdering::SortNullsFirst => true,
            NullOrdering::SortNullsLast => false,
        };
        Ok((typed, ascending, nulls_first))
    }

    /// Resolves sort keys to the engine's form.
    pub fn sort_keys(
        &self,
        orders: &[expression::SortOrder],
        scope: &Scope,
    ) -> Result<Vec<SortExpr>> {
        orders
            .iter()
            .map(|order| {
                let (typed, ascending, nulls_first) = self.sort_order(order, scope)?;
                Ok(SortExpr::new(typed.expr, ascending, nulls_first))
            })
            .collect()
    }

    /// Resolves a condition.
    pub fn condition(&self, expression: &Expression, scope: &Scope) -> Result<Typed> {
        let typed = self.expression(expression, scope)?;
        match typed.data_type {
            DataType::Boolean => Ok(typed),
            DataType::Null | DataType::Utf8 => {
                let expr = self.cast_expr(
                    typed.expr,
                    &typed.data_type,
                    &DataType::Boolean,
                    self.cast_mode(),
                );
                Ok(Typed {
                    expr,
                    data_type: DataType::Boolean,
                    ..typed
                })
            }
            _ => Err(errors::with_condition(
                "DATATYPE_MISMATCH.FILTER_NOT_BOOLEAN",
                "42K09",
                format!(
                    "Cannot resolve \"{}\" due to data type mismatch: Filter expression \"{}\" of type \"{}\" is not a boolean.",
                    typed.name,
                    typed.name,
                    typed.spark_type()
                ),
            )),
        }
    }
}

/// A mandatory part of a message.
pub(crate) fn required<'a, T>(part: Option<&'a T>, what: &str) -> Result<&'a T> {
    part.ok_or_else(|| errors::invalid_message(what))
}

/// The integer of a literal such as an ordinal.
pub(crate) fn integer_literal(expression: &Expression) -> Option<i64> {
    use expression::literal::LiteralType;
    match &expression.expr_type {
        Some(ExprType::Literal(literal)) => match literal.literal_type {
            Some(LiteralType::Integer(v) | LiteralType::Short(v) | LiteralType::Byte(v)) => {
                Some(i64::from(v))
            }
            Some(LiteralType::Long(v)) => Some(v),
            _ => None,
        },
        _ => None,
    }
}

/// The engine's literal for text.
pub(crate) fn text_literal(text: &str) -> Expr {
    datafusion::logical_expr::lit(text)
}
