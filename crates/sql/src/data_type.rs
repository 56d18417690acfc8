//! Data types and table schemas in DDL form.

use spark_connect_proto::DataType;
use spark_connect_proto::data_type::{self, Kind};

use crate::error::{Result, parse_error};
use crate::interval::{day_time_type, year_month_type};
use crate::lexer::TokenKind;
use crate::parser::Parser;

pub(crate) fn of_kind(kind: Kind) -> DataType {
    DataType { kind: Some(kind) }
}

/// Whether a day-time or year-month unit, and its field number.
fn interval_field(word: &str) -> Option<(bool, i32)> {
    Some(match word.to_ascii_lowercase().as_str() {
        "year" => (true, 0),
        "month" => (true, 1),
        "day" => (false, 0),
        "hour" => (false, 1),
        "minute" => (false, 2),
        "second" => (false, 3),
        _ => return None,
    })
}

fn simple_type(name: &str) -> Option<DataType> {
    Some(of_kind(match name {
        "boolean" => Kind::Boolean(data_type::Boolean::default()),
        "tinyint" | "byte" => Kind::Byte(data_type::Byte::default()),
        "smallint" | "short" => Kind::Short(data_type::Short::default()),
        "int" | "integer" => Kind::Integer(data_type::Integer::default()),
        "bigint" | "long" => Kind::Long(data_type::Long::default()),
        "float" | "real" => Kind::Float(data_type::Float::default()),
        "double" => Kind::Double(data_type::Double::default()),
        "date" => Kind::Date(data_type::Date::default()),
        "timestamp" | "timestamp_ltz" => Kind::Timestamp(data_type::Timestamp::default()),
        "timestamp_ntz" => Kind::TimestampNtz(data_type::TimestampNtz::default()),
        "string" => Kind::String(data_type::String::default()),
        "binary" => Kind::Binary(data_type::Binary::default()),
        "void" | "null" => Kind::Null(data_type::Null::default()),
        "variant" => Kind::Variant(data_type::Variant::default()),
        _ => return None,
    }))
}

impl Parser<'_> {
    /// One data type.
    pub(crate) fn data_type(&mut self) -> Result<DataType> {
        self.nested(Self::data_type_here)
    }

    fn data_type_here(&mut self) -> Result<DataType> {
        let TokenKind::Word(word) = self.peek() else {
            return Err(self.unexpected());
        };
        let name = word.to_ascii_lowercase();
        let start = self.index;
        self.advance();
        match name.as_str() {
            "array" => {
                self.expect_symbol("<")?;
                let element = self.data_type()?;
                self.expect_closing_angle()?;
                Ok(array(element))
            }
            "map" => {
                self.expect_symbol("<")?;
                let key = self.data_type()?;
                self.expect_symbol(",")?;
                let value = self.data_type()?;
                self.expect_closing_angle()?;
                Ok(of_kind(Kind::Map(Box::new(data_type::Map {
                    key_type: Some(Box::new(key)),
                    value_type: Some(Box::new(value)),
                    value_contains_null: true,
                    type_variation_reference: 0,
                }))))
            }
            "struct" => self.struct_type(),
            "decimal" | "dec" | "numeric" => self.decimal_type(),
            "char" | "character" => Ok(of_kind(Kind::Char(data_type::Char {
                length: self.type_length()?,
                type_variation_reference: 0,
            }))),
            "varchar" => Ok(of_kind(Kind::VarChar(data_type::VarChar {
                length: self.type_length()?,
                type_variation_reference: 0,
            }))),
            "string" if self.eat_word("collate") => Ok(of_kind(Kind::String(data_type::String {
                type_variation_reference: 0,
                collation: self.multipart_identifier()?.join("."),
            }))),
            "time" => {
                let precision = self.type_parameters()?.first().copied().unwrap_or(6);
                Ok(of_kind(Kind::Time(data_type::Time {
                    precision: Some(precision),
                    type_variation_reference: 0,
                })))
            }
            "interval" => self.interval_type(),
            "timestamp" if self.eat_words(&["without", "time", "zone"]) => Ok(of_kind(
                Kind::TimestampNtz(data_type::TimestampNtz::default()),
            )),
            "timestamp" if self.eat_words(&["with", "local", "time", "zone"]) => {
                Ok(of_kind(Kind::Timestamp(data_type::Timestamp::default())))
            }
            other => match simple_type(other) {
                Some(simple) if !self.is_symbol("(") => Ok(simple),
                _ => {
                    self.type_parameters().ok();
                    let text = self.text_since(start).to_uppercase();
                    Err(parse_error(
                        "UNSUPPORTED_DATATYPE",
                        "0A000",
                        format!("Unsupported data type \"{text}\"."),
                    )
                    .with("typeName", format!("\"{text}\"")))
                }
            },
        }
    }

    fn struct_type(&mut self) -> Result<DataType> {
        self.expect_symbol_or_neq("<")?;
        if self.previous_is_neq() {
            return Ok(struct_of(Vec::new()));
        }
        let mut fields = Vec::new();
        if !self.is_symbol(">") && !self.is_symbol(">>") {
            fields = self.comma_separated(Self::struct_field)?;
        }
        self.expect_closing_angle()?;
        Ok(struct_of(fields))
    }

    /// `struct<>` reaches us as the operator `<>`.
    fn expect_symbol_or_neq(&mut self, symbol: &str) -> Result<()> {
        if self.eat_symbol("<>") {
            Ok(())
        } else {
            self.expect_symbol(symbol)
        }
    }

    fn previous_is_neq(&self) -> bool {
        matches!(&self.previous().kind, TokenKind::Symbol(s) if s == "<>")
    }

    fn struct_field(&mut self) -> Result<data_type::StructField> {
        let name = self.identifier()?;
        self.eat_symbol(":");
        self.column_rest(name)
    }

    /// Type, nullability and comment of a column whose name has been read.
    fn column_rest(&mut self, name: String) -> Result<data_type::StructField> {
        let data_type = self.data_type()?;
        let mut nullable = true;
        let mut metadata = None;
        loop {
            if self.eat_words(&["not", "null"]) {
                nullable = false;
            } else if self.eat_word("comment") {
                metadata = Some(comment_metadata(&self.string_literal()?));
            } else if self.is_word("default") || self.is_words(&["generated", "always"]) {
                return Err(pyrite_proto::error::SparkError::not_supported(
                    "a column default or generated column",
                ));
            } else {
                break;
            }
        }
        Ok(data_type::StructField {
            name,
            data_type: Some(data_type),
            nullable,
            metadata,
        })
    }

    /// `a INT NOT NULL COMMENT 'x', b STRING`, without the parentheses.
    pub(crate) fn table_schema(&mut self) -> Result<DataType> {
        let fields = self.comma_separated(|p| {
            let name = p.identifier()?;
            p.eat_symbol(":");
            p.column_rest(name)
        })?;
        Ok(struct_of(fields))
    }

    fn decimal_type(&mut self) -> Result<DataType> {
        let parameters = self.type_parameters()?;
        let (precision, scale) = match parameters[..] {
            [] => (10, 0),
            [precision] => (precision, 0),
            [precision, scale] => (precision, scale),
            _ => return Err(self.unexpected()),
        };
        if precision > 38 {
            return Err(parse_error(
                "DECIMAL_PRECISION_EXCEEDS_MAX_PRECISION",
                "22003",
                format!("Decimal precision {precision} exceeds max precision 38."),
            )
            .with("precision", precision.to_string())
            .with("maxPrecision", "38"));
        }
        Ok(of_kind(Kind::Decimal(data_type::Decimal {
            scale: Some(scale),
            precision: Some(precision),
            type_variation_reference: 0,
        })))
    }

    fn type_length(&mut self) -> Result<i32> {
        match self.type_parameters()?[..] {
            [length] if length > 0 => Ok(length),
            _ => Err(parse_error(
                "DATATYPE_MISSING_SIZE",
                "42K01",
                "DataType \"CHAR\" or \"VARCHAR\" requires a length parameter, for example \"CHAR\"(10). Please specify the length.",
            )),
        }
    }

    /// `(1, 2)` behind a type name, or nothing.
    fn type_parameters(&mut self) -> Result<Vec<i32>> {
        if !self.is_symbol("(") {
            return Ok(Vec::new());
        }
        self.parenthesized(|p| {
            let negative = p.eat_symbol("-");
            let TokenKind::Number(text) = p.peek() else {
                return Err(p.unexpected());
            };
            let value: i32 = text.parse().map_err(|_| p.unexpected())?;
            p.advance();
            Ok(if negative { -value } else { value })
        })
    }

    fn interval_type(&mut self) -> Result<DataType> {
        let TokenKind::Word(word) = self.peek() else {
            return Ok(calendar_interval());
        };
        let Some((is_year_month, start)) = interval_field(word) else {
            return Ok(calendar_interval());
        };
        self.advance();
        let mut end = start;
        if self.eat_word("to") {
            let TokenKind::Word(word) = self.peek() else {
                return Err(self.unexpected());
            };
            end = match interval_field(word) {
                Some((family, field)) if family == is_year_month && field > start => field,
                _ => return Err(self.unexpected()),
            };
            self.advance();
        }
        Ok(if is_year_month {
            year_month_type((start, end))
        } else {
            day_time_type((start, end))
        })
    }
}

pub(crate) fn array(element: DataType) -> DataType {
    of_kind(Kind::Array(Box::new(data_type::Array {
        element_type: Some(Box::new(element)),
        contains_null: true,
        type_variation_reference: 0,
    })))
}

pub(crate) fn struct_of(fields: Vec<data_type::StructField>) -> DataType {
    of_kind(Kind::Struct(data_type::Struct {
        fields,
        type_variation_reference: 0,
    }))
}

fn calendar_interval() -> DataType {
    of_kind(Kind::CalendarInterval(
        data_type::CalendarInterval::default(),
    ))
}

/// The metadata of a column with a comment, as JSON.
fn comment_metadata(comment: &str) -> String {
    let mut escaped = String::with_capacity(comment.len());
    for ch in comment.chars() {
        match ch {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            c if (c as u32) < 0x20 => escaped.push_str(&format!("\\u{:04x}", c as u32)),
            c => escaped.push(c),
        }
    }
    format!("{{\"comment\":\"{escaped}\"}}")
}
