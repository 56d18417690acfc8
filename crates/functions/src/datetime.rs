//! `spark_date_format`, `spark_parse_timestamp`, `spark_months_between`.

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Builder, StringBuilder,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use chrono::{Datelike, NaiveDateTime, Offset, TimeZone, Timelike};
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use pyrite_proto::error::{SparkError, class};

use crate::datetime_pattern::Pattern;
use crate::error::external;
use crate::format::{local_time, parse_zone};
use crate::parse::in_zone;

fn literal(value: &ColumnarValue) -> Result<&str> {
    match value {
        ColumnarValue::Scalar(ScalarValue::Utf8(Some(text))) => Ok(text),
        _ => internal_err!("a literal string is needed"),
    }
}

/// The last pattern, since a column of patterns is nearly always one pattern.
#[derive(Default)]
struct Cached(Option<(String, Pattern)>);

impl Cached {
    fn get(&mut self, text: &str) -> Result<&Pattern> {
        let known = matches!(&self.0, Some((known, _)) if known == text);
        if !known {
            self.0 = Some((text.to_owned(), Pattern::parse(text)?));
        }
        match &self.0 {
            Some((_, pattern)) => Ok(pattern),
            None => internal_err!("a pattern was just parsed"),
        }
    }
}

/// `spark_date_format(timestamp, pattern, zone)`
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct DateFormat {
    signature: Signature,
}

impl Default for DateFormat {
    fn default() -> Self {
        Self {
            signature: Signature::any(3, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for DateFormat {
    fn name(&self) -> &str {
        "spark_date_format"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let name = literal(&args.args[2])?;
        let zone = parse_zone(name)?;
        let times = args.args[0].to_array(args.number_rows)?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let patterns = args.args[1].to_array(args.number_rows)?;
        let patterns = patterns.as_string::<i32>();
        let mut cached = Cached::default();
        let mut builder = StringBuilder::new();
        for row in 0..args.number_rows {
            if times.is_null(row) || patterns.is_null(row) {
                builder.append_null();
                continue;
            }
            let pattern = cached.get(patterns.value(row))?;
            match local_time(times.value(row), Some(&zone)) {
                Some(local) => {
                    let offset = offset_at(times.value(row), &zone);
                    builder.append_value(pattern.format(local, offset, name));
                }
                None => builder.append_null(),
            }
        }
        Ok(ColumnarValue::Array(Arc::new(builder.finish())))
    }
}

fn offset_at(micros: i64, zone: &Tz) -> i32 {
    match chrono::DateTime::from_timestamp_micros(micros) {
        Some(time) => zone
            .offset_from_utc_datetime(&time.naive_utc())
            .fix()
            .local_minus_utc(),
        None => 0,
    }
}

/// `spark_parse_timestamp(text, pattern, zone, mode)`
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ParseTimestamp {
    signature: Signature,
}

impl Default for ParseTimestamp {
    fn default() -> Self {
        Self {
            signature: Signature::any(4, Volatility::Immutable),
        }
    }
}

fn cannot_parse(text: &str) -> DataFusionError {
    external(
        SparkError::new(
            class::DATE_TIME,
            "CANNOT_PARSE_TIMESTAMP",
            "22007",
            format!("Text '{text}' could not be parsed. Use `try_to_timestamp` to tolerate invalid input string and return NULL instead."),
        )
        .with("func", "`try_to_timestamp`"),
    )
}

impl ScalarUDFImpl for ParseTimestamp {
    fn name(&self) -> &str {
        "spark_parse_timestamp"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Timestamp(
            TimeUnit::Microsecond,
            Some("UTC".into()),
        ))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let zone = parse_zone(literal(&args.args[2])?)?;
        let ansi = literal(&args.args[3])? == "ansi";
        let texts = args.args[0].to_array(args.number_rows)?;
        let texts = texts.as_string::<i32>();
        let patterns = args.args[1].to_array(args.number_rows)?;
        let patterns = patterns.as_string::<i32>();
        let mut cached = Cached::default();
        let mut out = Vec::with_capacity(args.number_rows);
        for row in 0..args.number_rows {
            if texts.is_null(row) || patterns.is_null(row) {
                out.push(None);
                continue;
            }
            let text = texts.value(row);
            let instant = cached.get(patterns.value(row))?.read(text).and_then(
                |(local, offset)| match offset {
                    Some(seconds) => {
                        Some(local.and_utc().timestamp_micros() - i64::from(seconds) * 1_000_000)
                    }
                    None => in_zone(local, &zone),
                },
            );
            if instant.is_none() && ansi {
                return Err(cannot_parse(text));
            }
            out.push(instant);
        }
        let array = TimestampMicrosecondArray::from(out).with_timezone("UTC");
        Ok(ColumnarValue::Array(Arc::new(array) as ArrayRef))
    }
}

/// `spark_months_between(a, b, round off, zone)`
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct MonthsBetween {
    signature: Signature,
}

impl Default for MonthsBetween {
    fn default() -> Self {
        Self {
            signature: Signature::any(4, Volatility::Immutable),
        }
    }
}

fn months_between(a: NaiveDateTime, b: NaiveDateTime, round: bool) -> f64 {
    let last = |t: NaiveDateTime| t.date().num_days_in_month() as u32 == t.day();
    let months = f64::from((a.year() - b.year()) * 12 + a.month() as i32 - b.month() as i32);
    if a.day() == b.day() || (last(a) && last(b)) {
        return months;
    }
    let seconds =
        |t: NaiveDateTime| i64::from(t.day()) * 86_400 + i64::from(t.num_seconds_from_midnight());
    let value = months + (seconds(a) - seconds(b)) as f64 / (31.0 * 86_400.0);
    if round {
        (value * 1e8).round() / 1e8
    } else {
        value
    }
}

impl ScalarUDFImpl for MonthsBetween {
    fn name(&self) -> &str {
        "spark_months_between"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let zone = parse_zone(literal(&args.args[3])?)?;
        let columns: Vec<ArrayRef> = args.args[..3]
            .iter()
            .map(|a| a.to_array(args.number_rows))
            .collect::<Result<_>>()?;
        let left = columns[0].as_primitive::<TimestampMicrosecondType>();
        let right = columns[1].as_primitive::<TimestampMicrosecondType>();
        let round: &BooleanArray = columns[2].as_boolean();
        let mut builder = Float64Builder::new();
        for row in 0..args.number_rows {
            let local = |a: &arrow::array::PrimitiveArray<TimestampMicrosecondType>| {
                a.is_valid(row)
                    .then(|| local_time(a.value(row), Some(&zone)))
                    .flatten()
            };
            builder.append_option(match (local(left), local(right)) {
                (Some(a), Some(b)) => Some(months_between(a, b, round.value(row))),
                _ => None,
            });
        }
        Ok(ColumnarValue::Array(Arc::new(builder.finish())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_between_dates() {
        let at = |t: &str| t.parse::<NaiveDateTime>().unwrap();
        let between = |a: &str, b: &str| months_between(at(a), at(b), true);
        assert_eq!(between("2020-02-29T00:00:00", "2020-01-31T05:00:00"), 1.0);
        assert_eq!(
            between("1997-02-28T10:30:00", "1996-10-30T00:00:00"),
            3.94959677
        );
    }
}
