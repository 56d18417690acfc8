//! Text to values, by the rules of Spark's casts.

use arrow::array::timezone::Tz;
use chrono::{NaiveDate, NaiveDateTime, NaiveTime, TimeZone};

/// Whitespace and control characters that Spark's `UTF8String.trimAll` drops.
fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c <= ' ' || c == '\u{7f}')
}

/// `true`, `t`, `yes`, `y`, `1` and their opposites, in any case.
pub fn boolean(text: &str) -> Option<bool> {
    match trim(text).to_ascii_lowercase().as_str() {
        "t" | "true" | "y" | "yes" | "1" => Some(true),
        "f" | "false" | "n" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// A whole number. Without ANSI mode a fraction is cut off (`1.9` is 1).
pub fn integer(text: &str, ansi: bool) -> Option<i64> {
    let text = trim(text);
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let whole = match digits.split_once('.') {
        Some((whole, fraction)) if !ansi => {
            let plain = fraction.bytes().all(|b| b.is_ascii_digit());
            if !plain || (whole.is_empty() && fraction.is_empty()) {
                return None;
            }
            if whole.is_empty() { "0" } else { whole }
        }
        Some(_) => return None,
        None => digits,
    };
    if whole.is_empty() || !whole.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut value: i64 = 0;
    for byte in whole.bytes() {
        let digit = i64::from(byte - b'0');
        value = value.checked_mul(10)?;
        value = if negative {
            value.checked_sub(digit)?
        } else {
            value.checked_add(digit)?
        };
    }
    Some(value)
}

/// A floating point number, `Infinity`, `inf`, `NaN`, or Java's `1.0d` and `1f`.
pub fn double(text: &str) -> Option<f64> {
    let text = trim(text);
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "inf" | "+inf" | "infinity" | "+infinity" => return Some(f64::INFINITY),
        "-inf" | "-infinity" => return Some(f64::NEG_INFINITY),
        "nan" => return Some(f64::NAN),
        _ => {}
    }
    let number = lower.strip_suffix(['d', 'f']).unwrap_or(&lower);
    if !number
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e'))
    {
        return None;
    }
    number.parse().ok()
}

/// A decimal as digits and scale: `12.50` is (1250, 2). `None` when malformed; `Err` when it
/// has more digits than fit.
pub fn decimal(text: &str) -> Option<(i128, i32)> {
    let text = trim(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.as_bytes().first()? {
        b'-' => (true, &mantissa[1..]),
        b'+' => (false, &mantissa[1..]),
        _ => (false, mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value: i128 = 0;
    let mut dropped: i32 = 0;
    for byte in whole.bytes().chain(fraction.bytes()) {
        if !byte.is_ascii_digit() {
            return None;
        }
        // More digits than 38 cannot change a result that fits, but for their magnitude.
        match value
            .checked_mul(10)
            .and_then(|v| v.checked_add(i128::from(byte - b'0')))
        {
            Some(next) if dropped == 0 => value = next,
            _ => dropped += 1,
        }
    }
    let scale = i32::try_from(fraction.len()).ok()? - dropped - exponent;
    Some((if negative { -value } else { value }, scale))
}

/// Brings digits of scale `from` to scale `to`, rounding half up. `None` on overflow.
pub fn rescale(value: i128, from: i32, to: i32) -> Option<i128> {
    if to >= from {
        return value.checked_mul(10_i128.checked_pow((to - from) as u32)?);
    }
    let Some(divisor) = 10_i128.checked_pow((from - to) as u32) else {
        return Some(0);
    };
    let (quotient, rest) = (value / divisor, value % divisor);
    let round = if rest.abs() >= divisor - rest.abs() {
        rest.signum()
    } else {
        0
    };
    Some(quotient + round)
}

/// Digits of `text` up to `max`, and the rest.
fn number(text: &str, min: usize, max: usize) -> Option<(u32, &str)> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    if end < min || end > max {
        return None;
    }
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// `[+-]yyyy*[-m[m][-d[d]]]`, and what follows the day.
fn date_part(text: &str) -> Option<(NaiveDate, &str, bool)> {
    let (sign, text) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let (year, rest) = number(text, 4, 7)?;
    let year = sign * i32::try_from(year).ok()?;
    let Some(rest) = rest.strip_prefix('-') else {
        return Some((NaiveDate::from_ymd_opt(year, 1, 1)?, rest, false));
    };
    let (month, rest) = number(rest, 1, 2)?;
    let Some(rest) = rest.strip_prefix('-') else {
        return Some((NaiveDate::from_ymd_opt(year, month, 1)?, rest, false));
    };
    let (day, rest) = number(rest, 1, 2)?;
    Some((NaiveDate::from_ymd_opt(year, month, day)?, rest, true))
}

/// Days since 1970. Anything may follow the day after a space or `T`.
pub fn date(text: &str) -> Option<i32> {
    let (date, rest, complete) = date_part(trim(text))?;
    let allowed = rest.is_empty() || (complete && rest.starts_with([' ', 'T']));
    allowed.then(|| date.to_epoch_days())
}

/// Wall clock time and the zone after it, if any.
fn wall_clock(text: &str) -> Option<(NaiveDateTime, Option<&str>)> {
    let (date, rest, complete) = date_part(trim(text))?;
    if rest.is_empty() {
        return Some((date.and_time(NaiveTime::MIN), None));
    }
    let rest = rest.strip_prefix([' ', 'T']).filter(|_| complete)?;
    let (hour, rest) = number(rest, 1, 2)?;
    let mut parts = [hour, 0, 0];
    let mut rest = rest;
    for part in &mut parts[1..] {
        let Some(next) = rest.strip_prefix(':') else {
            break;
        };
        (*part, rest) = number(next, 1, 2)?;
    }
    let mut micros = 0;
    if let Some(next) = rest.strip_prefix('.') {
        let end = next.bytes().take_while(u8::is_ascii_digit).count();
        let digits = format!("{:0<6}", &next[..end.min(6)]);
        micros = digits.parse().ok()?;
        rest = &next[end..];
    }
    let time = NaiveTime::from_hms_micro_opt(parts[0], parts[1], parts[2], micros)?;
    let zone = rest.trim();
    Some((date.and_time(time), (!zone.is_empty()).then_some(zone)))
}

/// Microseconds since 1970 of a timestamp with time zone; text without a zone is in `zone`.
pub fn timestamp(text: &str, zone: &Tz) -> Option<i64> {
    let (local, explicit) = wall_clock(text)?;
    match explicit {
        Some(name) => in_zone(local, &crate::format::parse_zone(&full_offset(name)).ok()?),
        None => in_zone(local, zone),
    }
}

/// `+1`, `+1:30` and the like with all their digits.
fn full_offset(name: &str) -> String {
    let Some(sign) = name.chars().next().filter(|c| matches!(c, '+' | '-')) else {
        return name.to_owned();
    };
    match name[1..].split_once(':') {
        Some((hours, minutes)) => format!("{sign}{hours:0>2}:{minutes:0>2}"),
        None if name.len() <= 3 => format!("{sign}{:0>2}:00", &name[1..]),
        None => name.to_owned(),
    }
}

/// Microseconds since 1970 of a timestamp without time zone; a zone in the text is ignored.
pub fn timestamp_ntz(text: &str) -> Option<i64> {
    wall_clock(text).map(|(local, _)| local.and_utc().timestamp_micros())
}

/// The instant at which clocks in `zone` show `local`. In a gap the time after it counts, in
/// an overlap the earlier instant, as in Java.
pub fn in_zone(local: NaiveDateTime, zone: &Tz) -> Option<i64> {
    match zone.from_local_datetime(&local) {
        chrono::LocalResult::Single(t) | chrono::LocalResult::Ambiguous(t, _) => {
            Some(t.timestamp_micros())
        }
        chrono::LocalResult::None => {
            let before = local.checked_sub_signed(chrono::TimeDelta::hours(3))?;
            let earlier = zone.from_local_datetime(&before).earliest()?;
            Some(earlier.timestamp_micros() + 3 * 3_600_000_000)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers() {
        assert_eq!(integer(" 12 ", true), Some(12));
        assert_eq!(integer("-9223372036854775808", true), Some(i64::MIN));
        assert_eq!(integer("9223372036854775808", true), None);
        assert_eq!(integer("1.9", true), None);
        assert_eq!(integer("1.9", false), Some(1));
        assert_eq!(integer("abc", false), None);
        assert_eq!(integer("", true), None);
    }

    #[test]
    fn decimals_round_half_up() {
        assert_eq!(decimal("12.345"), Some((12345, 3)));
        assert_eq!(decimal("1e2"), Some((1, -2)));
        assert_eq!(rescale(12345, 3, 2), Some(1235));
        assert_eq!(rescale(-12345, 3, 2), Some(-1235));
        assert_eq!(rescale(1, -2, 1), Some(1000));
    }

    #[test]
    fn dates_and_timestamps() {
        assert_eq!(date("1970-01-02"), Some(1));
        assert_eq!(date("1970-1-2 whatever"), Some(1));
        assert_eq!(date("1970"), Some(0));
        assert_eq!(date("1970-13-01"), None);
        let utc = crate::format::parse_zone("UTC").unwrap();
        assert_eq!(timestamp("1970-01-01 00:00:01.5", &utc), Some(1_500_000));
        assert_eq!(timestamp("1970-01-01T01:00:00+01:00", &utc), Some(0));
        assert_eq!(
            timestamp("1970-01-01 01:00:00 Europe/Berlin", &utc),
            Some(0)
        );
        assert_eq!(timestamp("nonsense", &utc), None);
        assert_eq!(timestamp_ntz("1970-01-01 00:00:00+05:00"), Some(0));
    }
}
