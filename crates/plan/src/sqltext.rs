//! The SQL parser's functions, as analysis calls them, and types written as JSON.

use pyrite_proto::connect;
use pyrite_proto::error::SparkError;

use crate::json_schema;

/// Parses a type such as `array<int>`.
///
/// # Errors
/// Spark's parse errors.
pub fn data_type(text: &str) -> Result<connect::DataType, SparkError> {
    pyrite_sql::parse_data_type(text)
}

/// Parses an expression such as `a + 1 AS b`.
///
/// # Errors
/// Spark's parse errors.
pub fn expression(text: &str) -> Result<connect::Expression, SparkError> {
    pyrite_sql::parse_expression(text)
}

/// Parses a schema, written as JSON or as `a INT, b STRING`.
///
/// # Errors
/// Spark's parse errors.
pub fn schema(text: &str) -> Result<connect::DataType, SparkError> {
    let trimmed = text.trim_start();
    if trimmed.starts_with('{') || trimmed.starts_with('"') {
        return json_schema::parse(trimmed);
    }
    match pyrite_sql::parse_schema(text) {
        Ok(schema) => Ok(schema),
        Err(error) => pyrite_sql::parse_data_type(text).map_err(|_| error),
    }
}

/// Splits a name such as `` a.`b c` `` into its parts.
///
/// # Errors
/// Spark's parse errors.
pub fn identifier(text: &str) -> Result<Vec<String>, SparkError> {
    let plain = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_alphanumeric() || c == '_' || c == '#')
    };
    if plain(text) {
        return Ok(vec![text.to_owned()]);
    }
    quoted_parts(text).ok_or_else(|| crate::errors::invalid_attribute(text))
}

/// Spark's `UnresolvedAttribute.parseAttributeName`: everything but dots and backticks counts.
fn quoted_parts(text: &str) -> Option<Vec<String>> {
    let mut parts = vec![];
    let mut chars = text.chars().peekable();
    loop {
        let mut part = String::new();
        if chars.peek() == Some(&'`') {
            chars.next();
            loop {
                match chars.next()? {
                    '`' if chars.peek() == Some(&'`') => {
                        chars.next();
                        part.push('`');
                    }
                    '`' => break,
                    c => part.push(c),
                }
            }
            if !matches!(chars.peek(), None | Some('.')) {
                return None;
            }
        } else {
            while let Some(c) = chars.next_if(|c| *c != '.') {
                if c == '`' {
                    return None;
                }
                part.push(c);
            }
        }
        if part.is_empty() {
            return None;
        }
        parts.push(part);
        match chars.next() {
            None => return Some(parts),
            Some(_) => continue,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_split_at_dots_outside_quotes() {
        assert_eq!(identifier("a.b").unwrap(), ["a", "b"]);
        assert_eq!(identifier("`a.b`.c").unwrap(), ["a.b", "c"]);
        assert_eq!(identifier("(a + 1)").unwrap(), ["(a + 1)"]);
        assert_eq!(identifier("`a``b`").unwrap(), ["a`b"]);
        assert!(identifier("a..b").is_err());
        assert!(identifier("`a").is_err());
    }
}
