//! Literals: numbers with Spark's suffixes, strings with its escapes, typed literals.

use pyrite_proto::error::SparkError;
use spark_connect_proto::expression::literal::Decimal;
use spark_connect_proto::{DataType, Expression, data_type};

use crate::data_type::of_kind;
use crate::datetime::{ParsedTimestamp, parse_date, parse_time, parse_timestamp};
use crate::error::{Result, parse_error};
use crate::lexer::TokenKind;
use crate::message::{LiteralType, cast, literal, string};
use crate::parser::Parser;

/// Digits that a decimal can hold.
const MAX_DECIMAL_PRECISION: usize = 38;

/// Applies Spark's escapes to the inside of a string literal delimited by `quote`.
pub(crate) fn unescape_string(raw: &str, quote: char) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(ch) = rest.chars().next() {
        let tail = &rest[ch.len_utf8()..];
        if ch == quote {
            // A doubled quote is one quote.
            out.push(quote);
            rest = tail.strip_prefix(quote).unwrap_or(tail);
        } else if ch == '\\' {
            rest = unescape_one(tail, &mut out);
        } else {
            out.push(ch);
            rest = tail;
        }
    }
    out
}

/// Handles what follows a backslash and returns the remainder.
fn unescape_one<'a>(tail: &'a str, out: &mut String) -> &'a str {
    let Some(ch) = tail.chars().next() else {
        out.push('\\');
        return tail;
    };
    let code_point = |digits: usize| {
        let hex = tail.get(1..1 + digits)?;
        char::from_u32(u32::from_str_radix(hex, 16).ok()?)
    };
    let after = &tail[ch.len_utf8()..];
    match ch {
        'u' if code_point(4).is_some() => {
            out.extend(code_point(4));
            return &tail[5..];
        }
        'U' if code_point(8).is_some() => {
            out.extend(code_point(8));
            return &tail[9..];
        }
        '0' | '1'
            if tail
                .get(..3)
                .is_some_and(|d| d.bytes().all(|b| (b'0'..=b'7').contains(&b))) =>
        {
            let code = u32::from_str_radix(&tail[..3], 8)
                .ok()
                .and_then(char::from_u32);
            out.extend(code);
            return &tail[3..];
        }
        '0' => out.push('\0'),
        'b' => out.push('\u{8}'),
        'n' => out.push('\n'),
        'r' => out.push('\r'),
        't' => out.push('\t'),
        'Z' => out.push('\u{1a}'),
        // The escapes of LIKE stay for LIKE.
        '%' | '_' => {
            out.push('\\');
            out.push(ch);
        }
        other => out.push(other),
    }
    after
}

/// The suffix of a numeric literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suffix {
    None,
    Byte,
    Short,
    Long,
    Float,
    Double,
    Decimal,
}

/// Splits `1L`, `2.5BD`, `1e3` into digits and suffix; `None` when the word is no number.
pub(crate) fn split_number(word: &str) -> Option<(&str, Suffix)> {
    if !word.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let upper = word.to_ascii_uppercase();
    let suffixes = [
        ("BD", Suffix::Decimal),
        ("D", Suffix::Double),
        ("F", Suffix::Float),
        ("L", Suffix::Long),
        ("S", Suffix::Short),
        ("Y", Suffix::Byte),
    ];
    let (digits, suffix) = suffixes
        .into_iter()
        .find_map(|(text, suffix)| upper.strip_suffix(text).map(|d| (&word[..d.len()], suffix)))
        .unwrap_or((word, Suffix::None));
    let mut seen_digit = false;
    let mut rest = digits.bytes().peekable();
    let mut dots = 0;
    while let Some(b) = rest.next() {
        match b {
            b'0'..=b'9' => seen_digit = true,
            b'.' if dots == 0 => dots = 1,
            b'e' | b'E' if seen_digit => {
                rest.next_if(|b| matches!(b, b'+' | b'-'));
                rest.peek()?;
                return rest.all(|b| b.is_ascii_digit()).then_some((digits, suffix));
            }
            _ => return None,
        }
    }
    let whole = matches!(suffix, Suffix::Byte | Suffix::Short | Suffix::Long);
    (seen_digit && !(whole && dots > 0)).then_some((digits, suffix))
}

/// The literal for a number as written, or `None` when `word` is no number.
pub(crate) fn number(word: &str, negative: bool) -> Result<Option<Expression>> {
    let Some((digits, suffix)) = split_number(word) else {
        return Ok(None);
    };
    let text = if negative {
        format!("-{digits}")
    } else {
        digits.to_owned()
    };
    let value = match suffix {
        Suffix::Byte => {
            LiteralType::Byte(ranged(&text, i8::MIN.into(), i8::MAX.into(), "tinyint")? as i32)
        }
        Suffix::Short => {
            LiteralType::Short(ranged(&text, i16::MIN.into(), i16::MAX.into(), "smallint")? as i32)
        }
        Suffix::Long => LiteralType::Long(ranged(&text, i64::MIN, i64::MAX, "bigint")?),
        Suffix::Float => LiteralType::Float(text.parse().map_err(|_| invalid_number(&text))?),
        Suffix::Double => LiteralType::Double(text.parse().map_err(|_| invalid_number(&text))?),
        Suffix::Decimal => decimal(&text)?,
        Suffix::None if text.contains(['e', 'E']) => {
            LiteralType::Double(text.parse().map_err(|_| invalid_number(&text))?)
        }
        Suffix::None if text.contains('.') => decimal(&text)?,
        Suffix::None => match text.parse::<i64>() {
            Ok(n) => i32::try_from(n).map_or(LiteralType::Long(n), LiteralType::Integer),
            Err(_) => decimal(&text)?,
        },
    };
    Ok(Some(literal(value)))
}

fn invalid_number(text: &str) -> SparkError {
    parse_error(
        "INVALID_NUMERIC_LITERAL_RANGE",
        "22003",
        format!("`{text}` is not a number"),
    )
}

fn ranged(text: &str, min: i64, max: i64, type_name: &str) -> Result<i64> {
    let value = text.parse::<i64>().ok().filter(|v| (min..=max).contains(v));
    value.ok_or_else(|| {
        parse_error(
            "INVALID_NUMERIC_LITERAL_RANGE",
            "22003",
            format!(
                "Numeric literal {text} is outside the valid range for {type_name} with minimum value of {min} \
                 and maximum value of {max}. Please adjust the value accordingly."
            ),
        )
        .with("rawStrippedQualifier", text)
        .with("minValue", min.to_string())
        .with("maxValue", max.to_string())
        .with("typeName", type_name)
    })
}

/// A decimal with the precision and scale that its digits need.
fn decimal(text: &str) -> Result<LiteralType> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((m, e)) => (m, e.parse::<i64>().map_err(|_| invalid_number(text))?),
        None => (text, 0),
    };
    let negative = mantissa.starts_with('-');
    let unsigned = mantissa.trim_start_matches(['-', '+']);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let mut digits = format!("{whole}{fraction}");
    let mut scale = fraction.len() as i64 - exponent;
    if scale < 0 {
        // Keeps absurd exponents from filling memory: they are refused below anyway.
        let zeros = scale.unsigned_abs().min(2 * MAX_DECIMAL_PRECISION as u64) as usize;
        digits.push_str(&"0".repeat(zeros));
        scale = 0;
    }
    let significant = digits.trim_start_matches('0').len().max(1);
    let precision = (significant as i64).max(scale);
    if precision > MAX_DECIMAL_PRECISION as i64 {
        return Err(parse_error(
            "DECIMAL_PRECISION_EXCEEDS_MAX_PRECISION",
            "22003",
            format!("Decimal precision {precision} exceeds max precision {MAX_DECIMAL_PRECISION}."),
        )
        .with("precision", precision.to_string())
        .with("maxPrecision", MAX_DECIMAL_PRECISION.to_string()));
    }
    let scale_digits = scale as usize;
    let padded = format!("{digits:0>width$}", width = scale_digits + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale_digits);
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let sign = if negative { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    Ok(LiteralType::Decimal(Decimal {
        value: format!("{sign}{whole}{point}{fraction}"),
        precision: Some(precision as i32),
        scale: Some(scale as i32),
    }))
}

/// Bytes of the hexadecimal digits in `X'...'`; an odd count gets a leading zero.
pub(crate) fn binary(digits: &str) -> Option<Expression> {
    let padded = if digits.len() % 2 == 1 {
        format!("0{digits}")
    } else {
        digits.to_owned()
    };
    let bytes: Option<Vec<u8>> = padded
        .as_bytes()
        .chunks(2)
        .map(|pair| {
            std::str::from_utf8(pair)
                .ok()
                .and_then(|p| u8::from_str_radix(p, 16).ok())
        })
        .collect();
    Some(literal(LiteralType::Binary(bytes?.into())))
}

/// The literal `NULL`.
pub(crate) fn null() -> Expression {
    literal(LiteralType::Null(of_kind(data_type::Kind::Null(
        data_type::Null::default(),
    ))))
}

impl Parser<'_> {
    /// Adjacent string literals, as one string.
    pub(crate) fn string_literal(&mut self) -> Result<String> {
        let TokenKind::Text(text) = self.peek() else {
            return Err(self.unexpected());
        };
        let mut text = text.clone();
        self.advance();
        while let TokenKind::Text(more) = self.peek() {
            text.push_str(more);
            self.advance();
        }
        Ok(text)
    }

    /// `DATE '...'` and its kin, when a word is followed by a string; `None` for other words.
    pub(crate) fn typed_literal(&mut self) -> Result<Option<Expression>> {
        let (TokenKind::Word(word), TokenKind::Text(_)) = (self.peek(), self.peek_at(1)) else {
            return Ok(None);
        };
        let word = word.to_ascii_lowercase();
        if !matches!(
            word.as_str(),
            "date" | "timestamp" | "timestamp_ntz" | "timestamp_ltz" | "time" | "x"
        ) {
            return Ok(None);
        }
        self.advance();
        let text = self.string_literal()?;
        let value = match word.as_str() {
            "date" => parse_date(&text).map(|days| literal(LiteralType::Date(days))),
            "time" => parse_time(&text).map(|nano| {
                literal(LiteralType::Time(
                    spark_connect_proto::expression::literal::Time {
                        nano,
                        precision: Some(6),
                    },
                ))
            }),
            "x" => binary(&text),
            "timestamp_ntz" => match parse_timestamp(&text) {
                Some(
                    ParsedTimestamp::Local(micros) | ParsedTimestamp::Instant { local: micros, .. },
                ) => Some(literal(LiteralType::TimestampNtz(micros))),
                Some(ParsedTimestamp::Region) | None => None,
            },
            _ => parse_timestamp(&text).map(|parsed| match parsed {
                ParsedTimestamp::Instant { utc, .. } => literal(LiteralType::Timestamp(utc)),
                ParsedTimestamp::Local(_) | ParsedTimestamp::Region => {
                    cast(string(text.as_str()), timestamp_type(), false)
                }
            }),
        };
        value.map(Some).ok_or_else(|| {
            let type_name = word.to_ascii_uppercase();
            parse_error(
                "INVALID_TYPED_LITERAL",
                "42604",
                format!("The value of the typed literal \"{type_name}\" is invalid: '{text}'."),
            )
            .with("valueType", format!("\"{type_name}\""))
            .with("value", format!("'{text}'"))
        })
    }
}

fn timestamp_type() -> DataType {
    of_kind(data_type::Kind::Timestamp(data_type::Timestamp::default()))
}
