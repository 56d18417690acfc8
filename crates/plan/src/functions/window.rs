//! Functions that only windows have.

use arrow::datatypes::DataType;
use datafusion::logical_expr::expr::{NullTreatment, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{Expr, WindowFrame, WindowFunctionDefinition, lit};

use super::engine;
use crate::analyzer::{Analyzer, Typed};
use crate::errors::{self, Result};

/// Claims that the name is a window function, not an aggregate.
pub(crate) fn is_window_function(name: &str) -> bool {
    matches!(
        name,
        "row_number"
            | "rank"
            | "dense_rank"
            | "percent_rank"
            | "cume_dist"
            | "ntile"
            | "lag"
            | "lead"
            | "nth_value"
    )
}

/// Builds the call; its frame and keys are filled in by the caller.
pub(crate) fn window_call(
    a: &Analyzer,
    name: &str,
    args: Vec<Typed>,
    ignore_nulls: bool,
) -> Result<(Typed, WindowFunction)> {
    let shown: Vec<&str> = args.iter().map(|arg| arg.name.as_str()).collect();
    let mut text = format!("{name}({})", shown.join(", "));
    let mut exprs: Vec<Expr> = args.iter().map(|arg| arg.expr.clone()).collect();
    let data_type = match name {
        "row_number" | "rank" | "dense_rank" => DataType::Int32,
        "percent_rank" | "cume_dist" => DataType::Float64,
        "ntile" => {
            if exprs.is_empty() {
                exprs.push(lit(1_i64));
                text = "ntile(1)".into();
            } else if let Some(count) = args.first() {
                exprs[0] = a.coerce(count.clone(), &DataType::Int64)?;
            }
            DataType::Int32
        }
        "lag" | "lead" => {
            let value = args
                .first()
                .ok_or_else(|| errors::wrong_arguments(name, "[1, 2, 3]", 0))?;
            let offset = match args.get(1) {
                Some(offset) => a.coerce(offset.clone(), &DataType::Int64)?,
                None => lit(1_i64),
            };
            let default = args.get(2).filter(|d| !d.data_type.is_null());
            let offset_text = args.get(1).map_or("1", |o| o.name.as_str());
            let default_text = args.get(2).map_or("NULL", |d| d.name.as_str());
            text = format!("{name}({}, {offset_text}, {default_text})", value.name);
            exprs = vec![value.expr.clone(), offset];
            if let Some(default) = default {
                exprs.push(a.coerce(default.clone(), &value.data_type)?);
            }
            value.data_type.clone()
        }
        _ => {
            let value = args
                .first()
                .ok_or_else(|| errors::wrong_arguments(name, "2", 0))?;
            let place = args
                .get(1)
                .ok_or_else(|| errors::wrong_arguments(name, "2", 1))?;
            exprs = vec![
                value.expr.clone(),
                a.coerce(place.clone(), &DataType::Int64)?,
            ];
            value.data_type.clone()
        }
    };
    // The third argument of nth_value and of lag says whether nulls count.
    let skips = name == "nth_value"
        && matches!(args.get(2).map(|t| &t.expr), Some(Expr::Literal(v, _)) if *v == true.into());
    let call = WindowFunction {
        fun: WindowFunctionDefinition::WindowUDF(engine::window(name)?),
        params: WindowFunctionParams {
            args: exprs,
            partition_by: vec![],
            order_by: vec![],
            window_frame: WindowFrame::new(None),
            filter: None,
            null_treatment: (skips || ignore_nulls).then_some(NullTreatment::IgnoreNulls),
            distinct: false,
        },
    };
    let typed = Typed {
        expr: lit(0),
        name: text,
        column_name: None,
        nullable: !matches!(
            name,
            "row_number" | "rank" | "dense_rank" | "percent_rank" | "cume_dist" | "ntile"
        ),
        data_type,
        metadata: None,
        source: None,
        aliased: false,
        interval: None,
    };
    Ok((typed, call))
}
