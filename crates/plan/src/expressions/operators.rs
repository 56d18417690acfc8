//! Calls: who answers to a function's name.

use datafusion::logical_expr::{Expr, SortExpr};
use pyrite_proto::connect::Expression;
use pyrite_proto::connect::expression::{ExprType, UnresolvedFunction};
use pyrite_proto::error::SparkError;

use crate::analyzer::{Analyzer, Scope, Typed};
use crate::errors::{self, Result};
use crate::functions::{self, Call};

impl Analyzer<'_> {
    /// Resolves a call.
    pub fn function(&self, call: &UnresolvedFunction, scope: &Scope) -> Result<Typed> {
        if call.is_internal == Some(true)
            && let Some(typed) = self.internal(call, scope)?
        {
            return Ok(typed);
        }
        let lower = call.function_name.to_lowercase();
        let name = lower
            .strip_prefix("system.builtin.")
            .or(lower.strip_prefix("builtin."))
            .or(lower.strip_prefix("system.session."))
            .or(lower.strip_prefix("session."))
            .unwrap_or(&lower);
        if let Some(function) = self.catalog.functions.get(name) {
            let args = self.arguments(&call.arguments, scope)?;
            return self.python_call(
                &function.name,
                &function.udf,
                function.deterministic,
                args,
                scope,
            );
        }
        if call.arguments.iter().any(is_lambda)
            && let Some(typed) = functions::higher_order(self, name, &call.arguments, scope)?
        {
            return Ok(typed);
        }
        let mut arguments = call.arguments.clone();
        if name == "count"
            && matches!(arguments.as_slice(), [one] if is_bare_star(one))
            && !call.is_distinct
        {
            // count(*) counts rows whatever the columns are.
            arguments = vec![Expression {
                common: None,
                expr_type: Some(ExprType::Literal(
                    pyrite_proto::connect::expression::Literal {
                        literal_type: Some(
                            pyrite_proto::connect::expression::literal::LiteralType::Integer(1),
                        ),
                        data_type: None,
                    },
                )),
            }];
        }
        let args = self.arguments(&arguments, scope)?;
        if let Some(named) = args.iter().find_map(|a| a.name.as_ref()) {
            return Err(SparkError::not_supported(format!(
                "argument `{named}` by name of function `{name}`"
            )));
        }
        let resolved = Call {
            name: name.to_owned(),
            args: args.into_iter().map(|a| a.typed).collect(),
            distinct: call.is_distinct,
            scope,
        };
        match functions::build(self, &resolved)? {
            Some(typed) => Ok(typed),
            None => Err(errors::unresolved_routine(&call.function_name)),
        }
    }

    /// Syntax without a message of its own.
    fn internal(&self, call: &UnresolvedFunction, scope: &Scope) -> Result<Option<Typed>> {
        match (call.function_name.as_str(), call.arguments.as_slice()) {
            ("aggregate_filter", [function, condition]) => {
                let typed = self.expression(function, scope)?;
                let condition = self.condition(condition, scope)?;
                let name = format!("{} FILTER (WHERE {})", typed.name, condition.name);
                let Expr::AggregateFunction(mut aggregate) = typed.expr else {
                    return Err(SparkError::not_supported(format!(
                        "FILTER on {}",
                        typed.name
                    )));
                };
                aggregate.params.filter = Some(Box::new(condition.expr));
                Ok(Some(Typed {
                    expr: Expr::AggregateFunction(aggregate),
                    name,
                    ..typed
                }))
            }
            ("within_group", [function, orders @ ..]) => {
                self.within_group(function, orders, scope).map(Some)
            }
            ("ignore_nulls", [function]) => {
                let typed = self.expression(function, scope)?;
                Ok(Some(typed))
            }
            _ => Ok(None),
        }
    }

    /// `percentile_cont(0.5) WITHIN GROUP (ORDER BY x)`, `listagg(x) WITHIN GROUP (ORDER BY x)`
    fn within_group(
        &self,
        function: &Expression,
        orders: &[Expression],
        scope: &Scope,
    ) -> Result<Typed> {
        let mut keys = vec![];
        for order in orders {
            let Some(ExprType::SortOrder(order)) = &order.expr_type else {
                return Err(errors::invalid_message("SortOrder"));
            };
            keys.push(self.sort_order(order, scope)?);
        }
        let Some(ExprType::UnresolvedFunction(call)) = &function.expr_type else {
            return Err(SparkError::not_supported(
                "WITHIN GROUP after this expression",
            ));
        };
        let name = call.function_name.to_lowercase();
        if matches!(
            name.as_str(),
            "percentile_cont" | "percentile_disc" | "mode"
        ) {
            let Some((key, ascending, _)) = keys.into_iter().next() else {
                return Err(errors::invalid_message("a sort key in WITHIN GROUP"));
            };
            let mut args = vec![key];
            args.extend(
                self.arguments(&call.arguments, scope)?
                    .into_iter()
                    .map(|a| a.typed),
            );
            return functions::ordered_set(self, &name, args, ascending, scope);
        }
        let typed = self.function(call, scope)?;
        let Expr::AggregateFunction(mut aggregate) = typed.expr else {
            return Err(SparkError::not_supported(format!(
                "WITHIN GROUP after {}",
                typed.name
            )));
        };
        aggregate.params.order_by = keys
            .into_iter()
            .map(|(key, ascending, nulls_first)| SortExpr::new(key.expr, ascending, nulls_first))
            .collect();
        Ok(Typed {
            expr: Expr::AggregateFunction(aggregate),
            ..typed
        })
    }
}

fn is_lambda(expression: &Expression) -> bool {
    matches!(expression.expr_type, Some(ExprType::LambdaFunction(_)))
}

fn is_bare_star(expression: &Expression) -> bool {
    matches!(&expression.expr_type, Some(ExprType::UnresolvedStar(star)) if star.unparsed_target.is_none())
}
