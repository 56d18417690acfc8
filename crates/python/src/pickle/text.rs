//! The text that Spark shows for a Python value in a string column: Java's `toString`.

use std::fmt::Write;

use pyrite_proto::error::SparkError;

use super::{Object, Unpickler, Value};
use crate::errors::internal;

/// Appends a value as Java would print it.
pub(super) fn write_text(
    value: Value,
    unpickler: &Unpickler,
    pickle: &[u8],
    out: &mut String,
) -> Result<(), SparkError> {
    match value {
        Value::None => out.push_str("null"),
        Value::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        Value::Int(value) => {
            // Writing to a string cannot fail.
            let _ = write!(out, "{value}");
        }
        Value::Float(value) => out.push_str(&java_double(value)),
        Value::Str(..) => {
            let text = unpickler
                .str(value, pickle)
                .ok_or_else(|| internal("a Python worker sent a string that is not UTF-8"))?;
            out.push_str(text);
        }
        Value::Bytes(..) => {
            return Err(SparkError::not_supported(
                "bytes as the result of a Python function that returns strings",
            ));
        }
        Value::Object(index) => return write_object(index, unpickler, pickle, out),
    }
    Ok(())
}

fn write_object(
    index: usize,
    unpickler: &Unpickler,
    pickle: &[u8],
    out: &mut String,
) -> Result<(), SparkError> {
    match unpickler.object(index) {
        Object::Text(text) | Object::Decimal(text) => out.push_str(text),
        Object::BigInt(digits) => out.push_str(&big_int(digits)),
        // Java's sets order their elements by hash code; small integers keep their order.
        Object::List(items) | Object::Set(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_text(*item, unpickler, pickle, out)?;
            }
            out.push(']');
        }
        Object::Dict(pairs) => {
            out.push('{');
            for (index, (key, value)) in pairs.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_text(*key, unpickler, pickle, out)?;
                out.push('=');
                write_text(*value, unpickler, pickle, out)?;
            }
            out.push('}');
        }
        // Java prints arrays and most instances by their address.
        Object::Tuple(_) => return Err(no_text("tuple")),
        Object::Global(..) => return Err(no_text("class")),
        Object::Instance(name) => return Err(no_text(name)),
    }
    Ok(())
}

fn no_text(kind: &str) -> SparkError {
    SparkError::not_supported(format!(
        "a value of type {kind} as the result of a Python function that returns strings; \
         return `str(value)` instead"
    ))
}

/// The decimal digits of a little-endian two's complement number.
fn big_int(bytes: &[u8]) -> String {
    let negative = bytes.last().is_some_and(|high| high & 0x80 != 0);
    let mut carry = negative;
    let mut magnitude: Vec<u8> = Vec::with_capacity(bytes.len());
    for byte in bytes {
        let byte = if negative { !byte } else { *byte };
        let (sum, overflow) = byte.overflowing_add(u8::from(carry));
        carry = overflow;
        magnitude.push(sum);
    }
    // Little-endian digits in base 10^9.
    let mut digits: Vec<u32> = vec![0];
    for byte in magnitude.iter().rev() {
        let mut carry = u64::from(*byte);
        for digit in &mut digits {
            let value = u64::from(*digit) * 256 + carry;
            *digit = u32::try_from(value % 1_000_000_000).expect("below 10^9");
            carry = value / 1_000_000_000;
        }
        if carry > 0 {
            digits.push(u32::try_from(carry).expect("a byte and a carry stay small"));
        }
    }
    let mut text = String::new();
    if negative {
        text.push('-');
    }
    for (index, digit) in digits.iter().rev().enumerate() {
        let _ = if index == 0 {
            write!(text, "{digit}")
        } else {
            write!(text, "{digit:09}")
        };
    }
    text
}

/// `Double.toString`.
fn java_double(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.into();
    }
    let magnitude = value.abs();
    if magnitude == 0.0 || (1e-3..1e7).contains(&magnitude) {
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if digits.contains('.') => format!("{digits}E{exponent}"),
        Some((digits, exponent)) => format!("{digits}.0E{exponent}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_integers_keep_all_digits() {
        let mut two_to_80 = [0_u8; 11];
        two_to_80[10] = 1;
        assert_eq!(big_int(&two_to_80), "1208925819614629174706176");
        let mut minus = [0_u8; 11];
        minus[10] = 0xff;
        assert_eq!(big_int(&minus), "-1208925819614629174706176");
        assert_eq!(big_int(&i128::MAX.to_le_bytes()), i128::MAX.to_string());
        assert_eq!(big_int(&i128::MIN.to_le_bytes()), i128::MIN.to_string());
    }

    #[test]
    fn doubles_read_as_in_java() {
        let shown: Vec<_> = [1.0, 0.1, 1e10, 1.5e-5, -0.0, f64::INFINITY]
            .into_iter()
            .map(java_double)
            .collect();
        assert_eq!(
            shown,
            ["1.0", "0.1", "1.0E10", "1.5E-5", "-0.0", "Infinity"]
        );
    }
}
