//! Sizes and durations as Spark writes them.

use std::time::Duration;

/// The unit of a size that comes without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteUnit {
    /// Bytes.
    Byte,
    /// 1024 bytes.
    KiB,
    /// 1024 KiB.
    MiB,
    /// 1024 MiB.
    GiB,
}

impl ByteUnit {
    /// Bytes in one of this unit.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Byte => 1,
            Self::KiB => 1 << 10,
            Self::MiB => 1 << 20,
            Self::GiB => 1 << 30,
        }
    }
}

/// The unit of a duration that comes without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// Milliseconds.
    Millis,
    /// Seconds.
    Seconds,
}

/// Parses a size such as `512m`, `1g` or `100` (in `default_unit`) into bytes.
///
/// # Errors
/// Says what would have been right, in one sentence.
pub fn parse_bytes(text: &str, default_unit: ByteUnit) -> Result<u64, String> {
    let text = text.trim().to_ascii_lowercase();
    let (number, suffix) = split_number(&text);
    let factor = match suffix {
        "" => default_unit.bytes(),
        "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        "t" | "tb" => 1 << 40,
        "p" | "pb" => 1 << 50,
        _ => return Err(size_help(&text)),
    };
    let number: u64 = number.parse().map_err(|_| size_help(&text))?;
    number
        .checked_mul(factor)
        .filter(|bytes| i64::try_from(*bytes).is_ok())
        .ok_or_else(|| "the size is too large".to_owned())
}

/// Parses a size into whole MiB, rounding down, as Spark does for memory of processes.
///
/// # Errors
/// As [`parse_bytes`].
pub fn parse_mib(text: &str, default_unit: ByteUnit) -> Result<u64, String> {
    parse_bytes(text, default_unit).map(|bytes| bytes >> 20)
}

/// Parses a duration such as `120s`, `5min`, `100ms` or `30` (in `default_unit`).
///
/// # Errors
/// Says what would have been right, in one sentence.
pub fn parse_duration(text: &str, default_unit: TimeUnit) -> Result<Duration, String> {
    let text = text.trim().to_ascii_lowercase();
    let (number, suffix) = split_number(&text);
    let micros_per_unit: u64 = match suffix {
        "" => match default_unit {
            TimeUnit::Millis => 1_000,
            TimeUnit::Seconds => 1_000_000,
        },
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" | "min" => 60 * 1_000_000,
        "h" => 3_600 * 1_000_000,
        "d" => 86_400 * 1_000_000,
        _ => return Err(time_help(&text)),
    };
    let number: u64 = number.parse().map_err(|_| time_help(&text))?;
    number
        .checked_mul(micros_per_unit)
        .map(Duration::from_micros)
        .ok_or_else(|| "the duration is too long".to_owned())
}

fn split_number(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

fn size_help(text: &str) -> String {
    if text.contains('.') {
        return "sizes are whole numbers; use a smaller unit for a fraction, such as `1536m`"
            .into();
    }
    "a size is a whole number with a unit: b, k, m, g, t or p, such as `512m`".into()
}

fn time_help(text: &str) -> String {
    if text.contains('.') {
        return "durations are whole numbers; use a smaller unit for a fraction, such as `1500ms`"
            .into();
    }
    "a duration is a whole number with a unit: us, ms, s, m (or min), h or d, such as `120s`".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_units_and_defaults() {
        let mib = |text| parse_mib(text, ByteUnit::MiB);
        assert_eq!(mib("512m"), Ok(512));
        assert_eq!(mib("1G"), Ok(1024));
        assert_eq!(mib("2gb"), Ok(2048));
        assert_eq!(mib("700"), Ok(700));
        assert_eq!(mib("1536k"), Ok(1));
        assert_eq!(parse_bytes("64", ByteUnit::KiB), Ok(65536));
        assert_eq!(parse_bytes("1t", ByteUnit::Byte), Ok(1 << 40));
    }

    #[test]
    fn sizes_that_are_none_say_what_is_right() {
        for text in [
            "",
            "m",
            "1.5g",
            "-1g",
            "1 g",
            "1x",
            "99999999999999999999",
            "9000p",
            "16384p",
        ] {
            assert!(parse_bytes(text, ByteUnit::Byte).is_err(), "{text}");
        }
        assert!(
            parse_bytes("1.5g", ByteUnit::Byte)
                .unwrap_err()
                .contains("1536m")
        );
    }

    #[test]
    fn durations_take_units_and_defaults() {
        let secs = |text| parse_duration(text, TimeUnit::Seconds);
        assert_eq!(secs("120s"), Ok(Duration::from_secs(120)));
        assert_eq!(secs("60"), Ok(Duration::from_secs(60)));
        assert_eq!(secs("5min"), Ok(Duration::from_secs(300)));
        assert_eq!(secs("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(secs("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(secs("50us"), Ok(Duration::from_micros(50)));
        assert_eq!(
            parse_duration("250", TimeUnit::Millis),
            Ok(Duration::from_millis(250))
        );
        assert!(secs("1.5s").is_err());
        assert!(secs("soon").is_err());
        assert!(secs("1y").is_err());
    }
}
