//! Aggregate functions.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{AggregateFunction, NullTreatment};
use datafusion::logical_expr::{Expr, cast, lit, when};
use pyrite_proto::error::SparkError;

use super::{Call, engine};
use crate::analyzer::{Analyzer, Scope, Typed};
use crate::errors::{self, Result, from_datafusion};

/// An aggregate call of the engine.
fn aggregate(name: &str, args: Vec<Expr>, distinct: bool) -> Result<AggregateFunction> {
    Ok(AggregateFunction::new_udf(
        engine::aggregate(name)?,
        args,
        distinct,
        None,
        vec![],
        None,
    ))
}

fn plain(call: &Call, name: &str, args: Vec<Expr>) -> Result<Expr> {
    Ok(Expr::AggregateFunction(aggregate(
        name,
        args,
        call.distinct,
    )?))
}

fn double(a: &Analyzer, typed: &Typed) -> Result<Expr> {
    if !typed.data_type.is_numeric() && !matches!(typed.data_type, DataType::Null | DataType::Utf8)
    {
        return Err(errors::unexpected_input(
            &typed.name,
            0,
            "DOUBLE",
            &typed.name,
            &typed.spark_type(),
        ));
    }
    a.coerce(typed.clone(), &DataType::Float64)
}

pub(super) fn build(a: &Analyzer, call: &Call) -> Result<Option<Typed>> {
    let name = call.name.as_str();
    let typed = match name {
        "count" => count(call)?,
        "sum" | "try_sum" => sum(a, call)?,
        "avg" | "mean" | "try_avg" => average(a, call)?,
        "min" | "max" => {
            call.expect(1, 1)?;
            call.typed(plain(call, name, vec![call.arg(0)?.expr.clone()])?)?
        }
        "first" | "first_value" | "last" | "last_value" | "any_value" => first_or_last(call)?,
        "stddev" | "stddev_samp" | "std" | "stddev_pop" | "variance" | "var_samp" | "var_pop" => {
            call.expect(1, 1)?;
            let engine_name = match name {
                "stddev_pop" => "stddev_pop",
                "variance" | "var_samp" => "var",
                "var_pop" => "var_pop",
                _ => "stddev",
            };
            call.typed(plain(call, engine_name, vec![double(a, call.arg(0)?)?])?)?
        }
        "corr" | "covar_pop" | "covar_samp" => {
            call.expect(2, 2)?;
            let args = vec![double(a, call.arg(0)?)?, double(a, call.arg(1)?)?];
            call.typed(plain(call, name, args)?)?
        }
        "collect_list" | "array_agg" | "collect_set" => collect(call)?,
        "approx_count_distinct" => {
            call.expect(1, 2)?;
            let counted = plain(call, "approx_distinct", vec![call.arg(0)?.expr.clone()])?;
            not_null(call.typed(counted)?, &DataType::Int64)
        }
        "bool_and" | "every" | "bool_or" | "some" | "any" => {
            call.expect(1, 1)?;
            let engine_name = if matches!(name, "bool_and" | "every") {
                "bool_and"
            } else {
                "bool_or"
            };
            let arg = a.coerce(call.arg(0)?.clone(), &DataType::Boolean)?;
            call.typed(plain(call, engine_name, vec![arg])?)?
        }
        "bit_and" | "bit_or" | "bit_xor" => {
            call.expect(1, 1)?;
            call.typed(plain(call, name, vec![call.arg(0)?.expr.clone()])?)?
        }
        "count_if" => {
            call.expect(1, 1)?;
            let condition = a.coerce(call.arg(0)?.clone(), &DataType::Boolean)?;
            let one = when(condition, lit(1)).end().map_err(from_datafusion)?;
            not_null(
                call.typed(plain(call, "count", vec![one])?)?,
                &DataType::Int64,
            )
        }
        "median" => {
            call.expect(1, 1)?;
            let args = vec![double(a, call.arg(0)?)?, lit(0.5)];
            call.typed(plain(call, "percentile_cont", args)?)?
        }
        "percentile" => percentile(a, call)?,
        "percentile_approx" | "approx_percentile" => {
            call.expect(2, 3)?;
            let place = a.coerce(call.arg(1)?.clone(), &DataType::Float64)?;
            let value = call.arg(0)?;
            let args = vec![double(a, value)?, place];
            let estimate = plain(call, "approx_percentile_cont", args)?;
            let accuracy = call.args.get(2).map_or("10000", |a| a.name.as_str());
            let name = format!("{name}({}, {}, {accuracy})", value.name, call.arg(1)?.name);
            call.named(cast(estimate, value.data_type.clone()), name)?
        }
        "max_by" | "min_by" => by(a, call)?,
        "listagg" | "string_agg" => {
            call.expect(1, 2)?;
            let text = a.coerce(call.arg(0)?.clone(), &DataType::Utf8)?;
            let separator = match call.args.get(1) {
                Some(separator) if !separator.data_type.is_null() => separator.expr.clone(),
                _ => lit(""),
            };
            let joined = plain(call, "string_agg", vec![text, separator])?;
            call.typed(joined)?
        }
        "skewness" | "kurtosis" | "mode" | "histogram_numeric" | "regr_count" | "regr_avgx"
        | "regr_avgy" | "regr_slope" | "regr_intercept" | "regr_r2" | "regr_sxx" | "regr_syy"
        | "regr_sxy" | "product" | "count_min_sketch" => {
            return Err(SparkError::not_supported(format!(
                "aggregate function `{name}`"
            )));
        }
        "grouping" | "grouping_id" => grouping(call)?,
        _ => return Ok(None),
    };
    Ok(Some(typed))
}

fn not_null(mut typed: Typed, data_type: &DataType) -> Typed {
    if typed.data_type != *data_type {
        typed.expr = cast(typed.expr, data_type.clone());
        typed.data_type = data_type.clone();
    }
    typed.nullable = false;
    typed
}

fn count(call: &Call) -> Result<Typed> {
    if call.args.is_empty() {
        return Err(errors::wrong_arguments("count", "> 0", 0));
    }
    let counted = match call.args.as_slice() {
        [one] => one.expr.clone(),
        many if call.distinct => {
            // Rows in which one of the columns is null do not count.
            let all = many.iter().map(|m| m.expr.clone().is_not_null());
            let complete = all.reduce(Expr::and).unwrap_or_else(|| lit(true));
            let row = engine::call("struct", many.iter().map(|m| m.expr.clone()).collect())?;
            when(complete, row).end().map_err(from_datafusion)?
        }
        many => {
            let all = many.iter().map(|m| m.expr.clone().is_not_null());
            let complete = all.reduce(Expr::and).unwrap_or_else(|| lit(true));
            when(complete, lit(1)).end().map_err(from_datafusion)?
        }
    };
    let typed = call.typed(plain(call, "count", vec![counted])?)?;
    Ok(not_null(typed, &DataType::Int64))
}

/// Sums keep Spark's types: bigint, double, decimal with ten digits more.
fn sum(a: &Analyzer, call: &Call) -> Result<Typed> {
    call.expect(1, 1)?;
    let arg = call.arg(0)?;
    let summed = match &arg.data_type {
        t if t.is_integer() => cast(arg.expr.clone(), DataType::Int64),
        DataType::Float32 | DataType::Utf8 | DataType::Null => {
            a.coerce(arg.clone(), &DataType::Float64)?
        }
        DataType::Float64 | DataType::Decimal128(_, _) | DataType::Duration(_) => arg.expr.clone(),
        _ => {
            return Err(errors::unexpected_input(
                &call.text(),
                0,
                "NUMERIC\" or \"ANSI INTERVAL",
                &arg.name,
                &arg.spark_type(),
            ));
        }
    };
    if matches!(arg.data_type, DataType::Duration(_)) {
        let total = plain(call, "sum", vec![cast(summed, DataType::Int64)])?;
        return call.typed(cast(total, arg.data_type.clone()));
    }
    let function = match call.name.as_str() {
        "try_sum" => "try_sum",
        // Distinct values wrap: the engine keeps their set under the name `sum` only.
        _ if a.ansi && arg.data_type.is_integer() && !call.distinct => "spark_checked_sum",
        _ => "sum",
    };
    call.typed(plain(call, function, vec![summed])?)
}

fn average(a: &Analyzer, call: &Call) -> Result<Typed> {
    call.expect(1, 1)?;
    let arg = call.arg(0)?;
    let text = call.text_as(if call.name == "mean" {
        "mean"
    } else {
        &call.name
    });
    if let DataType::Duration(_) = arg.data_type {
        let mean = plain(
            call,
            "avg",
            vec![cast(
                cast(arg.expr.clone(), DataType::Int64),
                DataType::Float64,
            )],
        )?;
        return call.named(
            cast(cast(mean, DataType::Int64), arg.data_type.clone()),
            text,
        );
    }
    let value = match &arg.data_type {
        DataType::Decimal128(_, _) => arg.expr.clone(),
        t if t.is_numeric() || matches!(t, DataType::Null | DataType::Utf8) => {
            a.coerce(arg.clone(), &DataType::Float64)?
        }
        _ => {
            return Err(errors::unexpected_input(
                &call.text(),
                0,
                "NUMERIC\" or \"ANSI INTERVAL",
                &arg.name,
                &arg.spark_type(),
            ));
        }
    };
    call.named(plain(call, "avg", vec![value])?, text)
}

fn is_true(typed: Option<&Typed>) -> bool {
    matches!(
        typed.map(|t| &t.expr),
        Some(Expr::Literal(ScalarValue::Boolean(Some(true)), _))
    )
}

fn first_or_last(call: &Call) -> Result<Typed> {
    call.expect(1, 2)?;
    let engine_name = if call.name.starts_with("last") {
        "last_value"
    } else {
        "first_value"
    };
    let mut function = aggregate(engine_name, vec![call.arg(0)?.expr.clone()], false)?;
    let ignore = is_true(call.args.get(1));
    function.params.null_treatment = Some(if ignore {
        NullTreatment::IgnoreNulls
    } else {
        NullTreatment::RespectNulls
    });
    let suffix = if ignore { " ignore nulls" } else { "" };
    let text = format!("{}({}){suffix}", call.name, call.arg(0)?.name);
    call.named(Expr::AggregateFunction(function), text)
}

fn collect(call: &Call) -> Result<Typed> {
    call.expect(1, 1)?;
    let (function, shown) = match call.name.as_str() {
        "collect_set" => ("collect_set", "collect_set"),
        _ => ("collect_list", "collect_list"),
    };
    let text = call.text_as(shown);
    let mut typed = call.named(
        plain(call, function, vec![call.arg(0)?.expr.clone()])?,
        text,
    )?;
    typed.nullable = false;
    Ok(typed)
}

fn percentile(a: &Analyzer, call: &Call) -> Result<Typed> {
    call.expect(2, 3)?;
    if call.args.len() == 3 {
        return Err(SparkError::not_supported("percentile with frequencies"));
    }
    if call.arg(1)?.data_type.is_nested() {
        return Err(SparkError::not_supported("percentile at several places"));
    }
    let args = vec![
        double(a, call.arg(0)?)?,
        a.coerce(call.arg(1)?.clone(), &DataType::Float64)?,
    ];
    let name = format!(
        "percentile({}, {}, 1)",
        call.arg(0)?.name,
        call.arg(1)?.name
    );
    call.named(plain(call, "percentile_cont", args)?, name)
}

/// `max_by(x, y)`: `x` of the row with the largest `y`.
fn by(_a: &Analyzer, call: &Call) -> Result<Typed> {
    call.expect(2, 2)?;
    let (value, key) = (call.arg(0)?, call.arg(1)?);
    let mut function = aggregate("first_value", vec![value.expr.clone()], false)?;
    let ascending = call.name == "min_by";
    function.params.order_by = vec![key.expr.clone().sort(ascending, false)];
    function.params.filter = Some(Box::new(key.expr.clone().is_not_null()));
    function.params.null_treatment = Some(NullTreatment::RespectNulls);
    call.typed(Expr::AggregateFunction(function))
}

/// `grouping(a)` and `grouping_id()`: bits of the id that the aggregate makes.
fn grouping(call: &Call) -> Result<Typed> {
    let keys: Vec<Expr> = call.args.iter().map(|a| a.expr.clone()).collect();
    let function = crate::grouping::placeholder(&call.name, keys);
    let text = if call.args.is_empty() {
        "grouping_id()".to_owned()
    } else {
        call.text()
    };
    call.named(function, text)
}

/// `percentile_cont(p) WITHIN GROUP (ORDER BY x)` and its kin.
pub(crate) fn ordered_set(
    a: &Analyzer,
    name: &str,
    args: Vec<Typed>,
    ascending: bool,
    scope: &Scope,
) -> Result<Typed> {
    let [value, place] = args.as_slice() else {
        return Err(errors::wrong_arguments(
            name,
            "1",
            args.len().saturating_sub(1),
        ));
    };
    if name != "percentile_cont" {
        return Err(SparkError::not_supported(format!("{name} WITHIN GROUP")));
    }
    let place_expr = a.coerce(place.clone(), &DataType::Float64)?;
    let place_expr = if ascending {
        place_expr
    } else {
        lit(1.0) - place_expr
    };
    let args = vec![double(a, value)?, place_expr];
    let text = format!(
        "percentile_cont({}) WITHIN GROUP (ORDER BY {}{})",
        place.name,
        value.name,
        if ascending { "" } else { " DESC" }
    );
    scope.typed(
        Expr::AggregateFunction(aggregate("percentile_cont", args, false)?),
        text,
    )
}
