//! Values as text, as Spark's `CAST(x AS STRING)` and `show()` write them.

use std::fmt::Write;

use arrow::array::timezone::Tz;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, DurationMicrosecondType, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType, IntervalUnit,
    IntervalYearMonthType, Time64MicrosecondType, Time64NanosecondType, TimeUnit,
    TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Offset, TimeZone, Timelike};
use datafusion::common::{DataFusionError, Result, exec_err};

/// How values become text.
#[derive(Debug, Clone)]
pub struct ValueFormat {
    zone: Tz,
    null: &'static str,
    pretty: bool,
}

impl ValueFormat {
    /// The text of `CAST(x AS STRING)`.
    ///
    /// # Errors
    /// When the time zone is unknown.
    pub fn cast(zone: &str) -> Result<Self> {
        Ok(Self {
            zone: parse_zone(zone)?,
            null: "null",
            pretty: false,
        })
    }

    /// The text of a cell of `show()`.
    ///
    /// # Errors
    /// When the time zone is unknown.
    pub fn show(zone: &str) -> Result<Self> {
        Ok(Self {
            zone: parse_zone(zone)?,
            null: "NULL",
            pretty: true,
        })
    }

    /// Appends the value at `row`; nulls as `null` (or `NULL` in `show()`).
    ///
    /// # Errors
    /// When the type has no textual form.
    pub fn write(&self, array: &dyn Array, row: usize, out: &mut String) -> Result<()> {
        if array.is_null(row) {
            out.push_str(self.null);
            return Ok(());
        }
        match array.data_type() {
            DataType::Null => out.push_str(self.null),
            DataType::Boolean => {
                out.push_str(if array.as_boolean().value(row) {
                    "true"
                } else {
                    "false"
                });
            }
            DataType::Utf8 => out.push_str(array.as_string::<i32>().value(row)),
            DataType::LargeUtf8 => out.push_str(array.as_string::<i64>().value(row)),
            DataType::Utf8View => out.push_str(array.as_string_view().value(row)),
            DataType::Binary => self.binary(array.as_binary::<i32>().value(row), out),
            DataType::LargeBinary => self.binary(array.as_binary::<i64>().value(row), out),
            DataType::BinaryView => self.binary(array.as_binary_view().value(row), out),
            DataType::FixedSizeBinary(_) => {
                self.binary(array.as_fixed_size_binary().value(row), out);
            }
            DataType::List(_) => {
                self.list(array.as_list::<i32>().value(row).as_ref(), out)?;
            }
            DataType::LargeList(_) => {
                self.list(array.as_list::<i64>().value(row).as_ref(), out)?;
            }
            DataType::Struct(_) => self.structure(array, row, out)?,
            DataType::Map(_, _) => self.map(array, row, out)?,
            DataType::Dictionary(_, value) => {
                let plain = arrow::compute::cast(&array.slice(row, 1), value)?;
                self.write(plain.as_ref(), 0, out)?;
            }
            _ => self.primitive(array, row, out)?,
        }
        Ok(())
    }

    fn primitive(&self, array: &dyn Array, row: usize, out: &mut String) -> Result<()> {
        macro_rules! number {
            ($type:ty) => {
                write!(out, "{}", array.as_primitive::<$type>().value(row)).map_err(fmt_error)?
            };
        }
        match array.data_type() {
            DataType::Int8 => number!(Int8Type),
            DataType::Int16 => number!(Int16Type),
            DataType::Int32 => number!(Int32Type),
            DataType::Int64 => number!(Int64Type),
            DataType::UInt8 => number!(UInt8Type),
            DataType::UInt16 => number!(UInt16Type),
            DataType::UInt32 => number!(UInt32Type),
            DataType::UInt64 => number!(UInt64Type),
            DataType::Float32 => write_float(array.as_primitive::<Float32Type>().value(row), out),
            DataType::Float64 => write_double(array.as_primitive::<Float64Type>().value(row), out),
            DataType::Decimal128(_, scale) => {
                write_decimal(
                    array.as_primitive::<Decimal128Type>().value(row),
                    *scale,
                    out,
                );
            }
            DataType::Date32 => write_date(array.as_primitive::<Date32Type>().value(row), out),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
                let zone = zone.as_ref().map(|_| &self.zone);
                write_timestamp(micros, zone, out);
            }
            DataType::Time64(TimeUnit::Microsecond) => {
                write_time(
                    array.as_primitive::<Time64MicrosecondType>().value(row),
                    out,
                );
            }
            DataType::Time64(TimeUnit::Nanosecond) => {
                write_time(
                    array.as_primitive::<Time64NanosecondType>().value(row) / 1000,
                    out,
                );
            }
            DataType::Duration(TimeUnit::Microsecond) => {
                write_day_time(
                    array.as_primitive::<DurationMicrosecondType>().value(row),
                    out,
                );
            }
            DataType::Interval(IntervalUnit::YearMonth) => {
                write_year_month(
                    array.as_primitive::<IntervalYearMonthType>().value(row),
                    out,
                );
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
                write_calendar(value.months, value.days, value.nanoseconds / 1000, out);
            }
            other => return exec_err!("values of type {other} have no text"),
        }
        Ok(())
    }

    fn binary(&self, value: &[u8], out: &mut String) {
        if !self.pretty {
            out.push_str(&String::from_utf8_lossy(value));
            return;
        }
        out.push('[');
        for (i, byte) in value.iter().enumerate() {
            if i > 0 {
                out.push(' ');
            }
            let _ = write!(out, "{byte:02X}");
        }
        out.push(']');
    }

    fn list(&self, values: &dyn Array, out: &mut String) -> Result<()> {
        out.push('[');
        for i in 0..values.len() {
            if i > 0 {
                out.push_str(", ");
            }
            self.write(values, i, out)?;
        }
        out.push(']');
        Ok(())
    }

    fn structure(&self, array: &dyn Array, row: usize, out: &mut String) -> Result<()> {
        out.push('{');
        for (i, column) in array.as_struct().columns().iter().enumerate() {
            if i > 0 {
                out.push_str(", ");
            }
            self.write(column.as_ref(), row, out)?;
        }
        out.push('}');
        Ok(())
    }

    fn map(&self, array: &dyn Array, row: usize, out: &mut String) -> Result<()> {
        let entries = array.as_map().value(row);
        out.push('{');
        for i in 0..entries.len() {
            if i > 0 {
                out.push_str(", ");
            }
            self.write(entries.column(0).as_ref(), i, out)?;
            out.push_str(" -> ");
            self.write(entries.column(1).as_ref(), i, out)?;
        }
        out.push('}');
        Ok(())
    }
}

fn fmt_error(error: std::fmt::Error) -> DataFusionError {
    DataFusionError::Internal(format!("writing to a string failed: {error}"))
}

/// Parses a session time zone: a region, `UTC`, `Z` or an offset.
///
/// # Errors
/// When it is none of these.
pub fn parse_zone(zone: &str) -> Result<Tz> {
    let name = match zone {
        "Z" | "GMT" | "UTC" | "Etc/UTC" => "+00:00",
        other => other
            .strip_prefix("GMT")
            .or(other.strip_prefix("UTC"))
            .unwrap_or(other),
    };
    name.parse::<Tz>().map_err(DataFusionError::from)
}

/// Java's `Double.toString`: plain between 10^-3 and 10^7, else `1.0E10`.
pub fn write_double(value: f64, out: &mut String) {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    } else {
        write_java_float(&format!("{value:e}"), out);
    }
}

/// Java's `Float.toString`.
pub fn write_float(value: f32, out: &mut String) {
    if value.is_nan() || value.is_infinite() {
        write_double(f64::from(value), out);
    } else {
        write_java_float(&format!("{value:e}"), out);
    }
}

/// Turns Rust's shortest `d.ddde±x` into Java's form.
fn write_java_float(scientific: &str, out: &mut String) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    out.push_str(sign);
    if digits.bytes().all(|b| b == b'0') {
        out.push_str("0.0");
    } else if (-3..7).contains(&exponent) {
        if exponent < 0 {
            out.push_str("0.");
            out.extend(std::iter::repeat_n('0', (-exponent - 1) as usize));
            out.push_str(&digits);
        } else {
            let whole = exponent as usize + 1;
            if digits.len() <= whole {
                out.push_str(&digits);
                out.extend(std::iter::repeat_n('0', whole - digits.len()));
                out.push_str(".0");
            } else {
                out.push_str(&digits[..whole]);
                out.push('.');
                out.push_str(&digits[whole..]);
            }
        }
    } else {
        out.push_str(&digits[..1]);
        out.push('.');
        out.push_str(if digits.len() > 1 { &digits[1..] } else { "0" });
        let _ = write!(out, "E{exponent}");
    }
}

/// A decimal in plain notation with all its digits after the point.
pub fn write_decimal(value: i128, scale: i8, out: &mut String) {
    let scale = usize::try_from(scale).unwrap_or(0);
    let digits = value.unsigned_abs().to_string();
    if value < 0 {
        out.push('-');
    }
    if scale == 0 {
        out.push_str(&digits);
        return;
    }
    if digits.len() <= scale {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', scale - digits.len()));
        out.push_str(&digits);
    } else {
        let point = digits.len() - scale;
        out.push_str(&digits[..point]);
        out.push('.');
        out.push_str(&digits[point..]);
    }
}

/// Days since 1970 as `yyyy-MM-dd`.
pub fn write_date(days: i32, out: &mut String) {
    match NaiveDate::from_epoch_days(days) {
        Some(date) => write_calendar_day(date, out),
        None => {
            let _ = write!(out, "{days}");
        }
    }
}

fn write_calendar_day(date: NaiveDate, out: &mut String) {
    let year = date.year();
    let _ = if year > 9999 {
        write!(out, "+{year}-{:02}-{:02}", date.month(), date.day())
    } else if year < 0 {
        write!(out, "-{:04}-{:02}-{:02}", -year, date.month(), date.day())
    } else {
        write!(out, "{year:04}-{:02}-{:02}", date.month(), date.day())
    };
}

/// Microseconds since 1970 as `yyyy-MM-dd HH:mm:ss[.ffffff]`, in the zone if there is one.
pub fn write_timestamp(micros: i64, zone: Option<&Tz>, out: &mut String) {
    let Some(local) = local_time(micros, zone) else {
        let _ = write!(out, "{micros}");
        return;
    };
    write_calendar_day(local.date(), out);
    out.push(' ');
    write_time(
        i64::from(local.num_seconds_from_midnight()) * 1_000_000
            + i64::from(local.nanosecond() / 1000),
        out,
    );
}

/// The wall clock's reading in a zone.
pub fn local_time(micros: i64, zone: Option<&Tz>) -> Option<NaiveDateTime> {
    let utc = DateTime::from_timestamp_micros(micros)?.naive_utc();
    match zone {
        None => Some(utc),
        Some(zone) => utc.checked_add_offset(zone.offset_from_utc_datetime(&utc).fix()),
    }
}

fn write_time(micros: i64, out: &mut String) {
    let seconds = micros / 1_000_000;
    let _ = write!(
        out,
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    write_fraction(micros % 1_000_000, out);
}

fn write_fraction(micros: i64, out: &mut String) {
    if micros != 0 {
        let text = format!("{micros:06}");
        out.push('.');
        out.push_str(text.trim_end_matches('0'));
    }
}

/// `INTERVAL '1 02:03:04.5' DAY TO SECOND`
pub fn write_day_time(micros: i64, out: &mut String) {
    let sign = if micros < 0 { "-" } else { "" };
    let total = micros.unsigned_abs();
    let seconds = total / 1_000_000;
    let _ = write!(
        out,
        "INTERVAL '{sign}{} {:02}:{:02}:{:02}",
        seconds / 86_400,
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60
    );
    write_fraction((total % 1_000_000) as i64, out);
    out.push_str("' DAY TO SECOND");
}

/// `INTERVAL '1-2' YEAR TO MONTH`
pub fn write_year_month(months: i32, out: &mut String) {
    let sign = if months < 0 { "-" } else { "" };
    let total = months.unsigned_abs();
    let _ = write!(
        out,
        "INTERVAL '{sign}{}-{}' YEAR TO MONTH",
        total / 12,
        total % 12
    );
}

/// `1 years 2 months 3 days 4 hours`
pub fn write_calendar(months: i32, days: i32, micros: i64, out: &mut String) {
    let start = out.len();
    let mut part = |value: i64, unit: &str| {
        if value != 0 {
            if out.len() > start {
                out.push(' ');
            }
            let _ = write!(out, "{value} {unit}");
        }
    };
    part(i64::from(months / 12), "years");
    part(i64::from(months % 12), "months");
    part(i64::from(days), "days");
    part(micros / 3_600_000_000, "hours");
    part(micros / 60_000_000 % 60, "minutes");
    let rest = micros % 60_000_000;
    if rest != 0 {
        if out.len() > start {
            out.push(' ');
        }
        if rest < 0 {
            out.push('-');
        }
        let _ = write!(out, "{}", rest.abs() / 1_000_000);
        write_fraction(rest.abs() % 1_000_000, out);
        out.push_str(" seconds");
    }
    if out.len() == start {
        out.push_str("0 seconds");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn double(value: f64) -> String {
        let mut out = String::new();
        write_double(value, &mut out);
        out
    }

    #[test]
    fn doubles_look_like_javas() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (100.0, "100.0"),
            (0.001, "0.001"),
            (0.0001, "1.0E-4"),
            (1234567.0, "1234567.0"),
            (12345678.0, "1.2345678E7"),
            (1e10, "1.0E10"),
            (3.5, "3.5"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(double(value), text);
        }
    }

    #[test]
    fn decimals_keep_their_scale() {
        let mut out = String::new();
        write_decimal(-5, 2, &mut out);
        assert_eq!(out, "-0.05");
    }

    #[test]
    fn timestamps_are_shown_in_the_zone() {
        let mut out = String::new();
        write_timestamp(
            1_500_000,
            Some(&parse_zone("Europe/Berlin").unwrap()),
            &mut out,
        );
        assert_eq!(out, "1970-01-01 01:00:01.5");
    }
}
