//! Window functions.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    Expr, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
};
use pyrite_proto::connect::Expression;
use pyrite_proto::connect::expression::sort_order::{NullOrdering, SortDirection};
use pyrite_proto::connect::expression::window::window_frame::frame_boundary::Boundary;
use pyrite_proto::connect::expression::window::window_frame::{FrameBoundary, FrameType};
use pyrite_proto::connect::expression::{ExprType, SortOrder, Window};
use pyrite_proto::error::SparkError;

use super::required;
use crate::analyzer::{Analyzer, Scope, Typed};
use crate::errors::{self, Result};
use crate::functions::{self, is_window_function};

impl Analyzer<'_> {
    pub(super) fn window(&self, window: &Window, scope: &Scope) -> Result<Typed> {
        let function = required(window.window_function.as_deref(), "Window.window_function")?;
        let partition_by = window
            .partition_spec
            .iter()
            .map(|e| self.expression(e, scope))
            .collect::<Result<Vec<_>>>()?;
        let order_by = self.sort_keys(&window.order_spec, scope)?;
        let order_text = self.order_text(&window.order_spec, scope)?;
        let (typed, mut call) = self.window_call(function, scope)?;
        let default_text;
        call.params.window_frame = match &window.frame_spec {
            Some(frame) => {
                let units = match frame.frame_type() {
                    FrameType::Row => WindowFrameUnits::Rows,
                    _ => WindowFrameUnits::Range,
                };
                let lower = self.bound(frame.lower.as_deref(), true, units, scope)?;
                let upper = self.bound(frame.upper.as_deref(), false, units, scope)?;
                default_text = frame_text(units, &lower, &upper);
                WindowFrame::new_bounds(units, lower, upper)
            }
            None => {
                let ranked = is_ranked(&typed.name);
                default_text = match (order_by.is_empty(), ranked) {
                    (false, false) => {
                        "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW".to_owned()
                    }
                    _ => "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW".to_owned(),
                };
                WindowFrame::new(if order_by.is_empty() {
                    None
                } else {
                    Some(false)
                })
            }
        };
        let frame_shown = match (
            &window.frame_spec,
            order_by.is_empty(),
            is_ranked(&typed.name),
        ) {
            (None, true, false) => {
                "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING".to_owned()
            }
            (_, _, true) => match typed.name.split('(').next() {
                Some("lag") => "ROWS BETWEEN -1 FOLLOWING AND -1 FOLLOWING".to_owned(),
                Some("lead") => "ROWS BETWEEN 1 FOLLOWING AND 1 FOLLOWING".to_owned(),
                _ => "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW".to_owned(),
            },
            _ => default_text,
        };
        if order_by.is_empty() && is_ranked(&typed.name) {
            return Err(errors::with_condition(
                "WINDOW_FUNCTION_WITHOUT_ORDER_BY",
                "42601",
                format!(
                    "Window function {} requires window to be ordered, please add ORDER BY clause. For example SELECT {}(value_expr) OVER (PARTITION BY window_partition ORDER BY window_ordering) from table.",
                    typed.name, typed.name
                ),
            ));
        }
        let mut parts = vec![];
        if !partition_by.is_empty() {
            let keys: Vec<&str> = partition_by.iter().map(|p| p.name.as_str()).collect();
            parts.push(format!("PARTITION BY {}", keys.join(", ")));
        }
        if !order_text.is_empty() {
            parts.push(format!("ORDER BY {order_text}"));
        }
        parts.push(frame_shown);
        let name = format!("{} OVER ({})", typed.name, parts.join(" "));
        call.params.partition_by = partition_by.into_iter().map(|p| p.expr).collect();
        call.params.order_by = order_by;
        let mut out = scope.typed(Expr::WindowFunction(Box::new(call)), name)?;
        if out.data_type != typed.data_type {
            let inner = std::mem::replace(&mut out.expr, super::text_literal(""));
            out.expr = datafusion::logical_expr::cast(inner, typed.data_type.clone());
            out.data_type = typed.data_type;
        }
        Ok(out)
    }

    /// The function of a window: an aggregate, or one of the ranking kind.
    fn window_call(&self, function: &Expression, scope: &Scope) -> Result<(Typed, WindowFunction)> {
        let (function, ignore_nulls) = match &function.expr_type {
            Some(ExprType::UnresolvedFunction(call))
                if call.is_internal == Some(true) && call.function_name == "ignore_nulls" =>
            {
                (required(call.arguments.first(), "ignore_nulls")?, true)
            }
            _ => (function, false),
        };
        if let Some(ExprType::UnresolvedFunction(call)) = &function.expr_type
            && is_window_function(&call.function_name.to_lowercase())
        {
            let args = self
                .arguments(&call.arguments, scope)?
                .into_iter()
                .map(|a| a.typed)
                .collect();
            return functions::window_call(
                self,
                &call.function_name.to_lowercase(),
                args,
                ignore_nulls,
            );
        }
        let typed = self.expression(function, scope)?;
        let Expr::AggregateFunction(aggregate) = &typed.expr else {
            return Err(errors::with_condition(
                "UNSUPPORTED_EXPR_FOR_WINDOW",
                "42P20",
                format!(
                    "Expression \"{}\" not supported within a window function.",
                    typed.name
                ),
            ));
        };
        let call = WindowFunction {
            fun: WindowFunctionDefinition::AggregateUDF(aggregate.func.clone()),
            params: WindowFunctionParams {
                args: aggregate.params.args.clone(),
                partition_by: vec![],
                order_by: vec![],
                window_frame: WindowFrame::new(None),
                filter: aggregate.params.filter.clone(),
                null_treatment: aggregate.params.null_treatment,
                distinct: aggregate.params.distinct,
            },
        };
        Ok((typed, call))
    }

    fn order_text(&self, orders: &[SortOrder], scope: &Scope) -> Result<String> {
        let mut out = vec![];
        for order in orders {
            let (typed, ascending, _) = self.sort_order(order, scope)?;
            let nulls = match (order.null_ordering(), order.direction()) {
                (NullOrdering::SortNullsFirst, _) => "FIRST",
                (NullOrdering::SortNullsLast, _) => "LAST",
                (_, SortDirection::Descending) => "LAST",
                _ => "FIRST",
            };
            let direction = if ascending { "ASC" } else { "DESC" };
            out.push(format!("{} {direction} NULLS {nulls}", typed.name));
        }
        Ok(out.join(", "))
    }

    fn bound(
        &self,
        bound: Option<&FrameBoundary>,
        lower: bool,
        units: WindowFrameUnits,
        scope: &Scope,
    ) -> Result<WindowFrameBound> {
        let boundary = required(
            bound.and_then(|b| b.boundary.as_ref()),
            "FrameBoundary.boundary",
        )?;
        match boundary {
            Boundary::CurrentRow(_) => Ok(WindowFrameBound::CurrentRow),
            Boundary::Unbounded(_) if lower => {
                Ok(WindowFrameBound::Preceding(ScalarValue::UInt64(None)))
            }
            Boundary::Unbounded(_) => Ok(WindowFrameBound::Following(ScalarValue::UInt64(None))),
            Boundary::Value(value) => {
                let typed = self.expression(value, scope)?;
                offset(&typed, units)
            }
        }
    }
}

/// A frame bound: negative is before the current row.
fn offset(typed: &Typed, units: WindowFrameUnits) -> Result<WindowFrameBound> {
    let Expr::Literal(value, _) = &typed.expr else {
        return Err(SparkError::not_supported(format!(
            "{} as bound of a window frame",
            typed.name
        )));
    };
    let number = match value.cast_to(&arrow::datatypes::DataType::Int64) {
        Ok(ScalarValue::Int64(Some(number))) => number,
        _ => {
            return Err(SparkError::not_supported(format!(
                "{} as bound of a window frame",
                typed.name
            )));
        }
    };
    if number == 0 {
        return Ok(WindowFrameBound::CurrentRow);
    }
    let distance = match (units, value) {
        (WindowFrameUnits::Rows, _) => ScalarValue::UInt64(Some(number.unsigned_abs())),
        (_, ScalarValue::DurationMicrosecond(_)) => {
            let nanos = number.abs().saturating_mul(1000);
            ScalarValue::new_interval_mdn(0, 0, nanos)
        }
        (_, ScalarValue::IntervalYearMonth(_)) => {
            ScalarValue::new_interval_mdn(number.abs() as i32, 0, 0)
        }
        (_, ScalarValue::Float64(Some(v))) => ScalarValue::Float64(Some(v.abs())),
        _ => ScalarValue::Int64(Some(number.abs())),
    };
    Ok(if number < 0 {
        WindowFrameBound::Preceding(distance)
    } else {
        WindowFrameBound::Following(distance)
    })
}

fn frame_text(
    units: WindowFrameUnits,
    lower: &WindowFrameBound,
    upper: &WindowFrameBound,
) -> String {
    let word = if units == WindowFrameUnits::Rows {
        "ROWS"
    } else {
        "RANGE"
    };
    format!(
        "{word} BETWEEN {} AND {}",
        bound_text(lower),
        bound_text(upper)
    )
}

fn bound_text(bound: &WindowFrameBound) -> String {
    match bound {
        WindowFrameBound::CurrentRow => "CURRENT ROW".into(),
        WindowFrameBound::Preceding(v) if v.is_null() => "UNBOUNDED PRECEDING".into(),
        WindowFrameBound::Following(v) if v.is_null() => "UNBOUNDED FOLLOWING".into(),
        WindowFrameBound::Preceding(v) => format!("{v} PRECEDING"),
        WindowFrameBound::Following(v) => format!("{v} FOLLOWING"),
    }
}

/// Claims that the function has a frame of its own and needs an order.
fn is_ranked(name: &str) -> bool {
    let name = name.split('(').next().unwrap_or_default();
    is_window_function(name) && !matches!(name, "first_value" | "last_value" | "nth_value")
}
