//! Dates, times and timestamps in Spark's text forms.

use chrono::{Datelike, NaiveDate};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// What a timestamp text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParsedTimestamp {
    /// Microseconds of the wall clock since 1970-01-01T00:00; the text names no zone.
    Local(i64),
    /// The text names an offset: microseconds since the epoch, and of the wall clock.
    Instant { utc: i64, local: i64 },
    /// The text names a region such as `Europe/Berlin`.
    Region,
}

/// Days since 1970-01-01 of `[+-]y[-m[-d]]`, which may be followed by a time after `T` or a blank.
pub(crate) fn parse_date(text: &str) -> Option<i32> {
    let text = text.trim();
    let (date, rest) = split_date(text)?;
    (rest.is_empty() || rest.starts_with(['T', ' '])).then_some(date)
}

/// Nanoseconds since midnight of `h:m[:s[.f]]`.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    let (micros, rest) = split_time(text.trim())?;
    rest.is_empty().then_some(micros * 1000)
}

pub(crate) fn parse_timestamp(text: &str) -> Option<ParsedTimestamp> {
    let text = text.trim();
    let (days, rest) = split_date(text)?;
    let midnight = i64::from(days).checked_mul(MICROS_PER_DAY)?;
    if rest.is_empty() {
        return Some(ParsedTimestamp::Local(midnight));
    }
    let rest = rest.strip_prefix(['T', ' '])?;
    let (micros, rest) = split_time(rest)?;
    let local = midnight.checked_add(micros)?;
    let zone = rest.trim();
    if zone.is_empty() {
        return Some(ParsedTimestamp::Local(local));
    }
    match parse_offset(zone) {
        Some(seconds) => Some(ParsedTimestamp::Instant {
            utc: local.checked_sub(seconds * MICROS_PER_SECOND)?,
            local,
        }),
        None => {
            let plausible = zone
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '+' | '-' | ':'));
            plausible.then_some(ParsedTimestamp::Region)
        }
    }
}

/// Splits off a date; the remainder is what is not part of it.
fn split_date(text: &str) -> Option<(i32, &str)> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (year, rest) = split_digits(unsigned, 4, 7)?;
    let year = i32::try_from(if negative { -year } else { year }).ok()?;
    let (month, rest) = match rest.strip_prefix('-') {
        Some(rest) => split_digits(rest, 1, 2)?,
        None => (1, rest),
    };
    let (day, rest) = match rest.strip_prefix('-') {
        Some(rest) => split_digits(rest, 1, 2)?,
        None => (1, rest),
    };
    let date = NaiveDate::from_ymd_opt(year, u32::try_from(month).ok()?, u32::try_from(day).ok()?)?;
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?;
    Some((date.num_days_from_ce() - epoch.num_days_from_ce(), rest))
}

/// Splits off a time of day, in microseconds.
fn split_time(text: &str) -> Option<(i64, &str)> {
    let (hour, rest) = split_digits(text, 1, 2)?;
    let (minute, rest) = match rest.strip_prefix(':') {
        Some(rest) => split_digits(rest, 1, 2)?,
        None => return None,
    };
    let (second, rest) = match rest.strip_prefix(':') {
        Some(rest) => split_digits(rest, 1, 2)?,
        None => (0, rest),
    };
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => {
            let count = rest.bytes().take_while(u8::is_ascii_digit).count();
            let digits = &rest[..count];
            let kept: String = digits.chars().chain("000000".chars()).take(6).collect();
            (kept.parse::<i64>().ok()?, &rest[count..])
        }
        None => (0, rest),
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some((
        ((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND + fraction,
        rest,
    ))
}

fn split_digits(text: &str, min: usize, max: usize) -> Option<(i64, &str)> {
    let count = text.bytes().take_while(u8::is_ascii_digit).count();
    if count < min || count > max {
        return None;
    }
    Some((text[..count].parse().ok()?, &text[count..]))
}

/// Seconds east of Greenwich of `Z`, `UTC`, `GMT`, `+1`, `-08:00`, `UTC+01:30`.
fn parse_offset(zone: &str) -> Option<i64> {
    let upper = zone.to_ascii_uppercase();
    let rest = ["UTC", "GMT", "UT"]
        .iter()
        .find_map(|name| upper.strip_prefix(name))
        .unwrap_or(&upper);
    if (rest.is_empty() && !upper.is_empty()) || upper == "Z" {
        return Some(0);
    }
    let (sign, rest) = match rest.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, rest.strip_prefix('+')?),
    };
    let mut parts = rest.split(':');
    let mut seconds = 0;
    for (unit, limit) in [(3600, 18), (60, 59), (1, 59)] {
        let Some(part) = parts.next() else { break };
        let (value, tail) = split_digits(part, 1, 2)?;
        if !tail.is_empty() || value > limit {
            return None;
        }
        seconds += value * unit;
    }
    parts.next().is_none().then_some(sign * seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_may_be_short() {
        assert_eq!(parse_date("1970-01-02"), Some(1));
        assert_eq!(parse_date("2020-1"), parse_date("2020-01-01"));
        assert_eq!(parse_date("2020"), Some(18262));
        assert_eq!(parse_date("2020-02-30"), None);
        assert_eq!(parse_date("yesterday"), None);
    }

    #[test]
    fn timestamps_know_their_zone_or_not() {
        assert_eq!(
            parse_timestamp("1970-01-01 00:00:01"),
            Some(ParsedTimestamp::Local(1_000_000))
        );
        assert_eq!(
            parse_timestamp("1970-01-01T02:00:00.5+02:00"),
            Some(ParsedTimestamp::Instant {
                utc: 500_000,
                local: 7_200_500_000
            })
        );
        assert_eq!(
            parse_timestamp("1970-01-01 00:00:00 Europe/Berlin"),
            Some(ParsedTimestamp::Region)
        );
        assert_eq!(parse_timestamp("1970-01-01 25:00:00"), None);
    }
}
