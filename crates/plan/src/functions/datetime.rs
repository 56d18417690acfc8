//! Dates and times.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, cast, lit};
use pyrite_proto::error::SparkError;

use super::table::coerced;
use super::{Call, engine};
use crate::analyzer::{Analyzer, Typed};
use crate::errors::Result;
use crate::types;

pub(super) fn build(a: &Analyzer, call: &Call) -> Result<Option<Typed>> {
    let typed = match call.name.as_str() {
        "current_date" | "curdate" => {
            let zone = pyrite_functions::format::parse_zone(&a.time_zone)
                .map_err(crate::errors::from_datafusion)?;
            let days = pyrite_functions::cast::date_in_zone(a.now, &zone);
            call.named(lit(ScalarValue::Date32(Some(days))), "current_date()")?
        }
        "current_timestamp" | "now" => {
            let micros = a.now.timestamp_micros();
            let now = ScalarValue::TimestampMicrosecond(Some(micros), Some(types::UTC.into()));
            call.named(lit(now), format!("{}()", call.name))?
        }
        "localtimestamp" => {
            let micros = a.now.timestamp_micros();
            let now = lit(ScalarValue::TimestampMicrosecond(
                Some(micros),
                Some(types::UTC.into()),
            ));
            let local = a.cast_expr(
                now,
                &types::timestamp(),
                &types::timestamp_ntz(),
                a.cast_mode(),
            );
            call.named(local, "localtimestamp()")?
        }
        "current_timezone" => call.named(lit(a.time_zone.as_str()), "current_timezone()")?,
        "year" | "quarter" | "month" | "day" | "dayofmonth" | "dayofyear" | "weekofyear"
        | "dayofweek" | "hour" | "minute" | "second" => {
            call.expect(1, 1)?;
            let expr = part(a, &call.name, call.arg(0)?)?;
            call.typed(expr)?
        }
        "extract" | "date_part" | "datepart" => {
            call.expect(2, 2)?;
            let Expr::Literal(ScalarValue::Utf8(Some(field)), _) = &call.arg(0)?.expr else {
                return Err(SparkError::not_supported("a date part that is no literal"));
            };
            let expr = part(a, field, call.arg(1)?)?;
            let shown = if call.name == "extract" {
                format!("extract({field} FROM {})", call.arg(1)?.name)
            } else {
                call.text()
            };
            call.named(expr, shown)?
        }
        "to_date" | "date" => {
            call.expect(1, 2)?;
            if call.args.len() == 2 {
                formatted(a, call, &DataType::Date32)?
            } else {
                call.typed(coerced(a, call, 0, call.arg(0)?, &DataType::Date32)?)?
            }
        }
        "to_timestamp" | "timestamp" | "to_timestamp_ltz" => {
            call.expect(1, 2)?;
            if call.args.len() == 2 {
                formatted(a, call, &types::timestamp())?
            } else {
                call.typed(coerced(a, call, 0, call.arg(0)?, &types::timestamp())?)?
            }
        }
        "to_timestamp_ntz" => {
            call.expect(1, 1)?;
            call.typed(coerced(a, call, 0, call.arg(0)?, &types::timestamp_ntz())?)?
        }
        "trunc" => {
            call.expect(2, 2)?;
            let date = coerced(a, call, 0, call.arg(0)?, &DataType::Date32)?;
            call.typed(engine::call_spark(
                "trunc",
                vec![date, call.arg(1)?.expr.clone()],
            )?)?
        }
        "date_trunc" => {
            call.expect(2, 2)?;
            let instant = coerced(a, call, 1, call.arg(1)?, &types::timestamp())?;
            let local = a.cast_expr(
                instant,
                &types::timestamp(),
                &types::timestamp_ntz(),
                a.cast_mode(),
            );
            let truncated =
                engine::call_spark("date_trunc", vec![call.arg(0)?.expr.clone(), local])?;
            let truncated = cast(truncated, types::timestamp_ntz());
            call.typed(a.cast_expr(
                truncated,
                &types::timestamp_ntz(),
                &types::timestamp(),
                a.cast_mode(),
            ))?
        }
        "unix_timestamp" | "to_unix_timestamp" => unix_timestamp(a, call)?,
        "from_unixtime" => {
            call.expect(1, 2)?;
            let seconds = coerced(a, call, 0, call.arg(0)?, &DataType::Int64)?;
            let instant = a.cast_expr(
                seconds,
                &DataType::Int64,
                &types::timestamp(),
                a.cast_mode(),
            );
            let pattern = match call.args.get(1) {
                Some(pattern) => pattern.expr.clone(),
                None => lit("yyyy-MM-dd HH:mm:ss"),
            };
            let shown = match call.args.len() {
                1 => format!("from_unixtime({}, yyyy-MM-dd HH:mm:ss)", call.arg(0)?.name),
                _ => call.text(),
            };
            let args = vec![instant, pattern, lit(a.time_zone.as_str())];
            call.named(engine::call("spark_date_format", args)?, shown)?
        }
        "date_format" => {
            call.expect(2, 2)?;
            let instant = coerced(a, call, 0, call.arg(0)?, &types::timestamp())?;
            let args = vec![
                instant,
                call.arg(1)?.expr.clone(),
                lit(a.time_zone.as_str()),
            ];
            call.typed(engine::call("spark_date_format", args)?)?
        }
        "make_date" => {
            call.expect(3, 3)?;
            let args = (0..3)
                .map(|i| coerced(a, call, i, call.arg(i)?, &DataType::Int32))
                .collect::<Result<_>>()?;
            call.typed(engine::call("make_date", args)?)?
        }
        "timestamp_seconds" => {
            call.expect(1, 1)?;
            call.typed(coerced(a, call, 0, call.arg(0)?, &types::timestamp())?)?
        }
        "timestamp_millis" | "timestamp_micros" => {
            call.expect(1, 1)?;
            let value = coerced(a, call, 0, call.arg(0)?, &DataType::Int64)?;
            let micros = if call.name == "timestamp_millis" {
                value * lit(1000_i64)
            } else {
                value
            };
            call.typed(cast(micros, types::timestamp()))?
        }
        "unix_seconds" | "unix_millis" | "unix_micros" => {
            call.expect(1, 1)?;
            let instant = cast(
                coerced(a, call, 0, call.arg(0)?, &types::timestamp())?,
                DataType::Int64,
            );
            let divisor = match call.name.as_str() {
                "unix_seconds" => 1_000_000_i64,
                "unix_millis" => 1000,
                _ => 1,
            };
            call.typed(if divisor == 1 {
                instant
            } else {
                instant / lit(divisor)
            })?
        }
        "date_from_unix_date" => {
            call.expect(1, 1)?;
            call.typed(cast(
                coerced(a, call, 0, call.arg(0)?, &DataType::Int32)?,
                DataType::Date32,
            ))?
        }
        "from_utc_timestamp" | "to_utc_timestamp" => {
            call.expect(2, 2)?;
            let instant = coerced(a, call, 0, call.arg(0)?, &types::timestamp())?;
            let plain = cast(instant, types::timestamp_ntz());
            let moved = engine::call_spark(&call.name, vec![plain, call.arg(1)?.expr.clone()])?;
            call.typed(cast(
                cast(moved, types::timestamp_ntz()),
                types::timestamp(),
            ))?
        }
        "months_between" => {
            call.expect(2, 3)?;
            let left = coerced(a, call, 0, call.arg(0)?, &types::timestamp())?;
            let right = coerced(a, call, 1, call.arg(1)?, &types::timestamp())?;
            let round = match call.args.get(2) {
                Some(round) => round.expr.clone(),
                None => lit(true),
            };
            let shown = match call.args.len() {
                2 => format!(
                    "months_between({}, {}, true)",
                    call.arg(0)?.name,
                    call.arg(1)?.name
                ),
                _ => call.text(),
            };
            let args = vec![left, right, round, lit(a.time_zone.as_str())];
            call.named(engine::call("spark_months_between", args)?, shown)?
        }
        "dayname" => {
            call.expect(1, 1)?;
            let instant = coerced(a, call, 0, call.arg(0)?, &types::timestamp())?;
            let args = vec![instant, lit("EEE"), lit(a.time_zone.as_str())];
            call.typed(engine::call("spark_date_format", args)?)?
        }
        "timestampadd" | "timestampdiff" | "make_timestamp" | "window" | "session_window"
        | "window_time" => {
            return Err(SparkError::not_supported(format!(
                "function `{}`",
                call.name
            )));
        }
        _ => return Ok(None),
    };
    Ok(Some(typed))
}

/// A field of a date or, on the session's clocks, of a timestamp.
fn part(a: &Analyzer, field: &str, of: &Typed) -> Result<Expr> {
    let lower = field.to_lowercase();
    let name = match lower.as_str() {
        "dayofmonth" | "days" | "d" => "day",
        "dayofyear" => "doy",
        "weekofyear" | "weeks" | "w" => "week",
        "dow" | "dayofweek" => "dow",
        "dow_iso" | "dayofweek_iso" => "isodow",
        "years" | "y" | "yr" => "year",
        "mon" | "mons" | "months" => "month",
        "hours" | "h" => "hour",
        "min" | "mins" | "minutes" => "minute",
        "sec" | "secs" | "seconds" => "second",
        "qtr" => "quarter",
        other => other,
    };
    let timed = matches!(name, "hour" | "minute" | "second");
    let value = match &of.data_type {
        DataType::Date32 if !timed => of.expr.clone(),
        DataType::Timestamp(_, None) => of.expr.clone(),
        _ => {
            let instant = a.coerce(of.clone(), &types::timestamp())?;
            a.cast_expr(
                instant,
                &types::timestamp(),
                &types::timestamp_ntz(),
                a.cast_mode(),
            )
        }
    };
    let number = cast(
        engine::call("date_part", vec![lit(name), value])?,
        DataType::Int32,
    );
    Ok(if name == "dow" {
        number + lit(1)
    } else {
        number
    })
}

/// `to_date(text, pattern)` and `to_timestamp(text, pattern)`.
fn formatted(a: &Analyzer, call: &Call, to: &DataType) -> Result<Typed> {
    let value = call.arg(0)?;
    if value.data_type != DataType::Utf8 {
        return call.typed(coerced(a, call, 0, value, to)?);
    }
    let mode = if a.ansi { "ansi" } else { "legacy" };
    let args = vec![
        value.expr.clone(),
        call.arg(1)?.expr.clone(),
        lit(a.time_zone.as_str()),
        lit(mode),
    ];
    let parsed = engine::call("spark_parse_timestamp", args)?;
    call.typed(a.cast_expr(parsed, &types::timestamp(), to, a.cast_mode()))
}

fn unix_timestamp(a: &Analyzer, call: &Call) -> Result<Typed> {
    call.expect(0, 2)?;
    let Some(value) = call.args.first() else {
        let pattern = "unix_timestamp(current_timestamp(), yyyy-MM-dd HH:mm:ss)";
        return call.named(lit(a.now.timestamp()), pattern);
    };
    let shown = match call.args.len() {
        1 => format!("{}({}, yyyy-MM-dd HH:mm:ss)", call.name, value.name),
        _ => call.text(),
    };
    let instant = match &value.data_type {
        DataType::Utf8 => {
            let pattern = match call.args.get(1) {
                Some(pattern) => pattern.expr.clone(),
                None => lit("yyyy-MM-dd HH:mm:ss"),
            };
            let mode = if a.ansi { "ansi" } else { "legacy" };
            let args = vec![
                value.expr.clone(),
                pattern,
                lit(a.time_zone.as_str()),
                lit(mode),
            ];
            engine::call("spark_parse_timestamp", args)?
        }
        _ => coerced(a, call, 0, value, &types::timestamp())?,
    };
    let seconds = a.cast_expr(
        instant,
        &types::timestamp(),
        &DataType::Int64,
        a.cast_mode(),
    );
    call.named(seconds, shown)
}
