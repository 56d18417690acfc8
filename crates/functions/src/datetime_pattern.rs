//! Java's date patterns (`yyyy-MM-dd HH:mm:ss`), for reading and writing.

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use datafusion::common::{DataFusionError, Result};
use pyrite_proto::error::{SparkError, class};

use crate::error::external;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// A piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A letter and how often it stands.
    Field(char, usize),
}

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    pieces: Vec<Piece>,
}

fn unknown(pattern: &str) -> DataFusionError {
    external(
        SparkError::new(
            class::ILLEGAL_ARGUMENT,
            "INVALID_DATETIME_PATTERN.ILLEGAL_CHARACTER",
            "22007",
            format!("Unrecognized datetime pattern: {pattern}."),
        )
        .with("pattern", pattern),
    )
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// When it holds letters that mean nothing, or that are not supported.
    pub fn parse(pattern: &str) -> Result<Self> {
        let mut pieces = vec![];
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            if c == '\'' {
                let mut text = String::new();
                if chars.next_if_eq(&'\'').is_some() {
                    text.push('\'');
                } else {
                    while let Some(inner) = chars.next() {
                        if inner != '\'' {
                            text.push(inner);
                        } else if chars.next_if_eq(&'\'').is_some() {
                            text.push('\'');
                        } else {
                            break;
                        }
                    }
                }
                pieces.push(Piece::Text(text));
            } else if c.is_ascii_alphabetic() {
                if !"GyuMLdDEaHhKkmsSVzOXxZQq".contains(c) {
                    return Err(unknown(pattern));
                }
                let mut count = 1;
                while chars.next_if_eq(&c).is_some() {
                    count += 1;
                }
                pieces.push(Piece::Field(c, count));
            } else if matches!(c, '[' | ']') {
                // Optional sections are written always and may be missing when read.
            } else {
                pieces.push(Piece::Text(c.to_string()));
            }
        }
        Ok(Self { pieces })
    }

    /// Writes a time of the wall clock; `offset_seconds` and `zone` are the clock's.
    pub fn format(&self, time: NaiveDateTime, offset_seconds: i32, zone: &str) -> String {
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Field(letter, count) => {
                    out.push_str(&field(*letter, *count, time, offset_seconds, zone));
                }
            }
        }
        out
    }

    /// Reads a time of the wall clock, and the offset in seconds if the text has one.
    pub fn read(&self, text: &str) -> Option<(NaiveDateTime, Option<i32>)> {
        let mut parts = Parts::default();
        let mut rest = text;
        for (index, piece) in self.pieces.iter().enumerate() {
            match piece {
                Piece::Text(expected) => rest = rest.strip_prefix(expected.as_str())?,
                Piece::Field(letter, count) => {
                    // A number directly before another number has just its own width.
                    let adjacent = matches!(self.pieces.get(index + 1), Some(Piece::Field(..)));
                    rest = parts.take(*letter, *count, adjacent, rest)?;
                }
            }
        }
        rest.is_empty()
            .then(|| parts.time())
            .flatten()
            .map(|t| (t, parts.offset))
    }
}

fn field(letter: char, count: usize, time: NaiveDateTime, offset: i32, zone: &str) -> String {
    let padded = |value: u32| format!("{value:0count$}");
    match letter {
        'G' => {
            if time.year() > 0 {
                "AD".into()
            } else {
                "BC".into()
            }
        }
        'y' | 'u' if count == 2 => format!("{:02}", time.year().rem_euclid(100)),
        'y' | 'u' => format!("{:0count$}", time.year()),
        'M' | 'L' => match count {
            1 | 2 => padded(time.month()),
            3 => MONTHS[time.month0() as usize][..3].to_owned(),
            _ => MONTHS[time.month0() as usize].to_owned(),
        },
        'd' => padded(time.day()),
        'D' => padded(time.ordinal()),
        'E' => {
            let name = DAYS[time.weekday().num_days_from_monday() as usize];
            if count < 4 {
                name[..3].to_owned()
            } else {
                name.to_owned()
            }
        }
        'a' => {
            if time.hour() < 12 {
                "AM".into()
            } else {
                "PM".into()
            }
        }
        'H' => padded(time.hour()),
        'k' => padded(if time.hour() == 0 { 24 } else { time.hour() }),
        'K' => padded(time.hour() % 12),
        'h' => padded(if time.hour().is_multiple_of(12) {
            12
        } else {
            time.hour() % 12
        }),
        'm' => padded(time.minute()),
        's' => padded(time.second()),
        'S' => {
            let nanos = format!("{:09}", time.nanosecond());
            nanos
                .chars()
                .chain(std::iter::repeat('0'))
                .take(count)
                .collect()
        }
        'Q' | 'q' => match count {
            1 | 2 => padded(time.month0() / 3 + 1),
            3 => format!("Q{}", time.month0() / 3 + 1),
            _ => ["1st", "2nd", "3rd", "4th"][(time.month0() / 3) as usize].to_owned() + " quarter",
        },
        'V' | 'z' => zone.to_owned(),
        'X' if offset == 0 => "Z".into(),
        'X' | 'x' => offset_text(offset, count != 2 && count != 4, count == 1),
        'Z' if count == 5 => {
            if offset == 0 {
                "Z".into()
            } else {
                offset_text(offset, true, false)
            }
        }
        'Z' if count == 4 => format!(
            "GMT{}",
            if offset == 0 {
                String::new()
            } else {
                offset_text(offset, true, false)
            }
        ),
        'Z' => offset_text(offset, false, false),
        'O' => format!(
            "GMT{}",
            if offset == 0 {
                String::new()
            } else {
                offset_text(offset, true, false)
            }
        ),
        _ => String::new(),
    }
}

fn offset_text(offset: i32, colon: bool, short: bool) -> String {
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.abs() / 60;
    let (hours, minutes) = (minutes / 60, minutes % 60);
    match (short && minutes == 0, colon) {
        (true, _) => format!("{sign}{hours:02}"),
        (false, true) => format!("{sign}{hours:02}:{minutes:02}"),
        (false, false) => format!("{sign}{hours:02}{minutes:02}"),
    }
}

/// What has been read so far.
#[derive(Default)]
struct Parts {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    ordinal: Option<u32>,
    hour: Option<u32>,
    half_hour: Option<u32>,
    afternoon: Option<bool>,
    minute: u32,
    second: u32,
    nanos: u32,
    offset: Option<i32>,
}

impl Parts {
    fn take<'t>(
        &mut self,
        letter: char,
        count: usize,
        adjacent: bool,
        text: &'t str,
    ) -> Option<&'t str> {
        let number = |max: usize| -> Option<(u32, &'t str)> {
            let digits = text.bytes().take_while(u8::is_ascii_digit).count();
            let most = if adjacent { count } else { max.max(count) };
            let end = digits.min(most);
            // `dd` wants both digits, `d` one or two.
            if end == 0 || (count > 1 && end < count && letter != 'S') {
                return None;
            }
            Some((text[..end].parse().ok()?, &text[end..]))
        };
        match letter {
            'y' | 'u' => {
                let (value, rest) = number(if count == 2 { 2 } else { 9 })?;
                let value = i32::try_from(value).ok()?;
                self.year = Some(if count == 2 { 2000 + value } else { value });
                Some(rest)
            }
            'M' | 'L' if count <= 2 => {
                let (value, rest) = number(2)?;
                self.month = Some(value);
                Some(rest)
            }
            'M' | 'L' => {
                let length = if count == 3 { 3 } else { usize::MAX };
                let (index, name) = MONTHS.iter().enumerate().find_map(|(i, m)| {
                    let name = &m[..length.min(m.len())];
                    let head = text.get(..name.len())?;
                    head.eq_ignore_ascii_case(name).then_some((i, name))
                })?;
                self.month = Some(index as u32 + 1);
                Some(&text[name.len()..])
            }
            'd' => self.set(number(2)?, |p, v| p.day = Some(v)),
            'D' => self.set(number(3)?, |p, v| p.ordinal = Some(v)),
            'H' => self.set(number(2)?, |p, v| p.hour = Some(v)),
            'k' => self.set(number(2)?, |p, v| p.hour = Some(v % 24)),
            'h' | 'K' => self.set(number(2)?, |p, v| p.half_hour = Some(v % 12)),
            'm' => self.set(number(2)?, |p, v| p.minute = v),
            's' => self.set(number(2)?, |p, v| p.second = v),
            'S' => {
                let end = text
                    .bytes()
                    .take_while(u8::is_ascii_digit)
                    .count()
                    .min(count.min(9));
                if end == 0 {
                    return None;
                }
                self.nanos = format!("{:0<9}", &text[..end]).parse().ok()?;
                Some(&text[end..])
            }
            'a' => {
                let head = text.get(..2)?;
                self.afternoon = Some(head.eq_ignore_ascii_case("pm"));
                (head.eq_ignore_ascii_case("am") || head.eq_ignore_ascii_case("pm"))
                    .then(|| &text[2..])
            }
            'E' => {
                let end = text.bytes().take_while(u8::is_ascii_alphabetic).count();
                let known = DAYS.iter().any(|d| {
                    text[..end].eq_ignore_ascii_case(d) || text[..end].eq_ignore_ascii_case(&d[..3])
                });
                known.then(|| &text[end..])
            }
            'X' | 'x' | 'Z' => self.zone(text),
            _ => None,
        }
    }

    fn set<'t>(
        &mut self,
        (value, rest): (u32, &'t str),
        put: impl Fn(&mut Self, u32),
    ) -> Option<&'t str> {
        put(self, value);
        Some(rest)
    }

    fn zone<'t>(&mut self, text: &'t str) -> Option<&'t str> {
        if let Some(rest) = text.strip_prefix('Z') {
            self.offset = Some(0);
            return Some(rest);
        }
        let sign = match text.as_bytes().first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let hours: i32 = text.get(1..3)?.parse().ok()?;
        let after = &text[3..];
        let after = after.strip_prefix(':').unwrap_or(after);
        let (minutes, rest) = match after.get(..2).and_then(|m| m.parse::<i32>().ok()) {
            Some(minutes) => (minutes, &after[2..]),
            None => (0, after),
        };
        self.offset = Some(sign * (hours * 3600 + minutes * 60));
        Some(rest)
    }

    fn time(&self) -> Option<NaiveDateTime> {
        let year = self.year.unwrap_or(1970);
        let date = match self.ordinal {
            Some(ordinal) => NaiveDate::from_yo_opt(year, ordinal)?,
            None => NaiveDate::from_ymd_opt(year, self.month.unwrap_or(1), self.day.unwrap_or(1))?,
        };
        let hour = match (self.hour, self.half_hour) {
            (Some(hour), _) => hour,
            (None, Some(half)) => half + if self.afternoon == Some(true) { 12 } else { 0 },
            (None, None) => 0,
        };
        let time = NaiveTime::from_hms_nano_opt(hour, self.minute, self.second, self.nanos)?;
        Some(date.and_time(time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> NaiveDateTime {
        text.parse().unwrap()
    }

    #[test]
    fn patterns_write() {
        let time = at("2020-02-03T15:04:05.678");
        let write = |pattern: &str| {
            Pattern::parse(pattern)
                .unwrap()
                .format(time, 3600, "Europe/Berlin")
        };
        assert_eq!(write("yyyy-MM-dd HH:mm:ss.SSS"), "2020-02-03 15:04:05.678");
        assert_eq!(write("d/M/yy"), "3/2/20");
        assert_eq!(
            write("EEE, dd MMM yyyy hh:mm a"),
            "Mon, 03 Feb 2020 03:04 PM"
        );
        assert_eq!(write("yyyy'T'HHXXX"), "2020T15+01:00");
        assert!(Pattern::parse("bbb").is_err());
    }

    #[test]
    fn patterns_read() {
        let read = |pattern: &str, text: &str| Pattern::parse(pattern).unwrap().read(text);
        assert_eq!(
            read("yyyy-MM-dd", "2020-02-03"),
            Some((at("2020-02-03T00:00:00"), None))
        );
        assert_eq!(
            read("yyyyMMdd", "20200203"),
            Some((at("2020-02-03T00:00:00"), None))
        );
        assert_eq!(
            read("dd MMM yyyy", "03 Feb 2020"),
            Some((at("2020-02-03T00:00:00"), None))
        );
        assert_eq!(
            read("yyyy-MM-dd'T'HH:mm:ssXXX", "2020-02-03T04:05:06+01:00"),
            Some((at("2020-02-03T04:05:06"), Some(3600)))
        );
        assert_eq!(read("yyyy-MM-dd", "2020-13-03"), None);
        assert_eq!(read("yyyy-MM-dd", "2020-2-3"), None);
    }
}
