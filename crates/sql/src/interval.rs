//! `INTERVAL` literals.

use spark_connect_proto::expression::{self, ExprType};
use spark_connect_proto::{DataType, Expression, data_type};

use crate::data_type::of_kind;
use crate::error::Result;
use crate::lexer::TokenKind;
use crate::message::{LiteralType, expression};
use crate::parser::Parser;

const MICROS_PER_SECOND: i64 = 1_000_000;

/// A unit: which family and field it belongs to, and how much one of it is.
#[derive(Debug, Clone, Copy)]
struct Unit {
    is_year_month: bool,
    /// Number of the field in Spark's interval types: year 0, month 1; day 0, hour 1, minute 2, second 3.
    field: i32,
    /// Months, or microseconds.
    amount: i64,
}

fn unit(word: &str) -> Option<Unit> {
    let lower = word.to_ascii_lowercase();
    let singular = lower.strip_suffix('s').unwrap_or(&lower);
    let (is_year_month, field, amount) = match singular {
        "year" => (true, 0, 12),
        "month" => (true, 1, 1),
        "week" => (false, 0, 7 * 86_400 * MICROS_PER_SECOND),
        "day" => (false, 0, 86_400 * MICROS_PER_SECOND),
        "hour" => (false, 1, 3_600 * MICROS_PER_SECOND),
        "minute" => (false, 2, 60 * MICROS_PER_SECOND),
        "second" => (false, 3, MICROS_PER_SECOND),
        "millisecond" => (false, 3, 1_000),
        "microsecond" => (false, 3, 1),
        _ => return None,
    };
    Some(Unit {
        is_year_month,
        field,
        amount,
    })
}

/// Adds up the parts of an interval, which must be of one family.
#[derive(Debug, Default)]
struct Sum {
    total: i64,
    family: Option<bool>,
    fields: Option<(i32, i32)>,
}

impl Sum {
    fn add(&mut self, value: &str, unit: Unit, negative: bool) -> Option<()> {
        if *self.family.get_or_insert(unit.is_year_month) != unit.is_year_month {
            return None;
        }
        let amount = scaled(value, unit)?;
        self.total = self
            .total
            .checked_add(if negative { -amount } else { amount })?;
        let (first, last) = self.fields.unwrap_or((unit.field, unit.field));
        self.fields = Some((first.min(unit.field), last.max(unit.field)));
        Some(())
    }

    fn literal(&self) -> Option<Expression> {
        let fields = self.fields?;
        if self.family? {
            let months = i32::try_from(self.total).ok()?;
            return Some(interval_literal(
                LiteralType::YearMonthInterval(months),
                year_month_type(fields),
            ));
        }
        Some(interval_literal(
            LiteralType::DayTimeInterval(self.total),
            day_time_type(fields),
        ))
    }
}

fn interval_literal(value: LiteralType, data_type: DataType) -> Expression {
    expression(ExprType::Literal(expression::Literal {
        literal_type: Some(value),
        data_type: Some(data_type),
    }))
}

pub(crate) fn year_month_type((start, end): (i32, i32)) -> DataType {
    of_kind(data_type::Kind::YearMonthInterval(
        data_type::YearMonthInterval {
            start_field: Some(start),
            end_field: Some(end),
            type_variation_reference: 0,
        },
    ))
}

pub(crate) fn day_time_type((start, end): (i32, i32)) -> DataType {
    of_kind(data_type::Kind::DayTimeInterval(
        data_type::DayTimeInterval {
            start_field: Some(start),
            end_field: Some(end),
            type_variation_reference: 0,
        },
    ))
}

/// `value` units; only seconds may have a fraction.
fn scaled(value: &str, unit: Unit) -> Option<i64> {
    let (negative, unsigned) = match value.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, value.strip_prefix('+').unwrap_or(value)),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    if (!fraction.is_empty() && unit.amount != MICROS_PER_SECOND)
        || (whole.is_empty() && fraction.is_empty())
    {
        return None;
    }
    let whole: i64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let micros: String = fraction.chars().chain("000000".chars()).take(6).collect();
    let amount = whole
        .checked_mul(unit.amount)?
        .checked_add(micros.parse::<i64>().ok()?)?;
    Some(if negative { -amount } else { amount })
}

/// The text of `INTERVAL '1 day 2 hours'`.
fn from_text(text: &str) -> Option<Expression> {
    let lower = text.trim().to_ascii_lowercase();
    let mut words = lower
        .strip_prefix("interval ")
        .unwrap_or(&lower)
        .split_whitespace();
    let mut sum = Sum::default();
    while let Some(mut value) = words.next() {
        let negative = value == "-";
        if negative || value == "+" {
            value = words.next()?;
        }
        sum.add(value, unit(words.next()?)?, negative)?;
    }
    sum.literal()
}

/// The text of `INTERVAL '...' start TO end`.
fn from_range(text: &str, start: Unit, end: Unit, negative: bool) -> Option<Expression> {
    if start.is_year_month != end.is_year_month || start.field >= end.field {
        return None;
    }
    let text = text.trim();
    let (minus, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let units: Vec<Unit> = if start.is_year_month {
        ["year", "month"]
            .iter()
            .filter_map(|name| unit(name))
            .collect()
    } else {
        ["day", "hour", "minute", "second"]
            .iter()
            .filter_map(|name| unit(name))
            .collect()
    };
    let parts: Vec<&str> = unsigned.split(['-', ' ', ':']).collect();
    let wanted = &units[start.field as usize..=end.field as usize];
    if parts.len() != wanted.len() {
        return None;
    }
    let mut sum = Sum::default();
    for (part, unit) in parts.into_iter().zip(wanted) {
        sum.add(part, *unit, minus != negative)?;
    }
    sum.literal()
}

impl Parser<'_> {
    /// `INTERVAL ...` if one stands here; the word alone is a column.
    pub(crate) fn interval_literal(&mut self) -> Result<Option<Expression>> {
        if !self.is_word("interval") {
            return Ok(None);
        }
        let signed = self.is_symbol_at(1, "-") || self.is_symbol_at(1, "+");
        let ahead = if signed { 2 } else { 1 };
        let starts_value = match self.peek_at(ahead) {
            TokenKind::Text(_) => true,
            TokenKind::Number(_) => {
                matches!(self.peek_at(ahead + 1), TokenKind::Word(w) if unit(w).is_some())
            }
            _ => false,
        };
        if !starts_value {
            return Ok(None);
        }
        self.advance();
        let start = self.index;
        self.interval_body().and_then(|literal| {
            literal.map(Some).ok_or_else(|| {
                let text = self.text_since(start);
                crate::error::parse_error(
                    "INVALID_INTERVAL_FORMAT.INVALID_INTERVAL",
                    "22006",
                    format!("Error parsing '{text}' to interval. Please ensure that the value provided is in a valid format for defining an interval."),
                )
                .with("input", text)
            })
        })
    }

    /// What follows `INTERVAL`; `None` when it makes no interval.
    fn interval_body(&mut self) -> Result<Option<Expression>> {
        let mut sum = Sum::default();
        loop {
            let negative = self.eat_symbol("-");
            if !negative {
                self.eat_symbol("+");
            }
            let value = match self.peek() {
                TokenKind::Text(_) => self.string_literal()?,
                TokenKind::Number(text) => {
                    let text = text.clone();
                    self.advance();
                    text
                }
                _ => return Err(self.unexpected()),
            };
            let first = match self.peek() {
                TokenKind::Word(word) => unit(word),
                _ => None,
            };
            let Some(first) = first else {
                return Ok(if sum.fields.is_none() && !negative {
                    from_text(&value)
                } else {
                    None
                });
            };
            self.advance();
            if self.is_word("to") && sum.fields.is_none() {
                self.advance();
                let word = self.identifier()?;
                return Ok(unit(&word).and_then(|last| from_range(&value, first, last, negative)));
            }
            if sum.add(value.trim(), first, negative).is_none() {
                return Ok(None);
            }
            if !self.another_interval_part() {
                return Ok(sum.literal());
            }
        }
    }

    fn another_interval_part(&self) -> bool {
        let ahead = usize::from(self.is_symbol("-") || self.is_symbol("+"));
        let value = matches!(
            self.peek_at(ahead),
            TokenKind::Number(_) | TokenKind::Text(_)
        );
        value && matches!(self.peek_at(ahead + 1), TokenKind::Word(w) if unit(w).is_some())
    }
}
