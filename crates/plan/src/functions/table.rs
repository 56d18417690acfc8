//! Functions that are one of the engine's, with Spark's argument types.
//!
//! `arguments` has a letter for each: `s` string, `i` int, `l` bigint, `d` double, `b`
//! boolean, `x` binary, `t` date, `u` timestamp, `*` as it is, `n` any number as it is;
//! after `?` they are optional, a last `+` repeats the one before. `result` is Spark's type
//! where the engine's is another one.

use arrow::datatypes::DataType;
use datafusion::logical_expr::cast;

use super::{Call, engine};
use crate::analyzer::{Analyzer, Typed};
use crate::errors::{self, Result};
use crate::types;

struct Entry(&'static str, &'static str, &'static str, &'static str);

/// Spark's name, the engine's function, arguments, result.
const TABLE: &[Entry] = &[
    // Strings.
    Entry("upper", "upper", "s", ""),
    Entry("ucase", "upper", "s", ""),
    Entry("lower", "lower", "s", ""),
    Entry("lcase", "lower", "s", ""),
    Entry("initcap", "initcap", "s", ""),
    Entry("ascii", "spark:ascii", "s", "i"),
    Entry("base64", "spark:base64", "x", "s"),
    Entry("unbase64", "spark:unbase64", "s", "x"),
    Entry("bit_length", "bit_length", "s", "i"),
    Entry("octet_length", "octet_length", "s", "i"),
    Entry("chr", "spark:char", "l", ""),
    Entry("char", "spark:char", "l", ""),
    Entry("contains", "contains", "ss", ""),
    Entry("startswith", "starts_with", "ss", ""),
    Entry("endswith", "ends_with", "ss", ""),
    Entry("find_in_set", "find_in_set", "ss", "i"),
    Entry("instr", "strpos", "ss", "i"),
    Entry("lpad", "lpad", "sl?s", ""),
    Entry("rpad", "rpad", "sl?s", ""),
    Entry("repeat", "repeat", "sl", ""),
    Entry("left", "left", "sl", ""),
    Entry("right", "right", "sl", ""),
    Entry("space", "spark:space", "i", ""),
    Entry("soundex", "spark:soundex", "s", ""),
    Entry("substring_index", "substr_index", "ssl", ""),
    Entry("translate", "translate", "sss", ""),
    Entry("luhn_check", "spark:luhn_check", "s", ""),
    Entry("is_valid_utf8", "spark:is_valid_utf8", "s", ""),
    Entry("make_valid_utf8", "spark:make_valid_utf8", "s", ""),
    Entry("quote", "spark:quote", "s", ""),
    Entry("crc32", "spark:crc32", "x", "l"),
    Entry("md5", "md5", "x", "s"),
    Entry("sha1", "spark:sha1", "x", "s"),
    Entry("sha", "spark:sha1", "x", "s"),
    Entry("sha2", "spark:sha2", "xi", "s"),
    Entry("xxhash64", "spark:xxhash64", "*+", "l"),
    Entry("parse_url", "spark:parse_url", "ss?s", ""),
    Entry("try_parse_url", "spark:try_parse_url", "ss?s", ""),
    Entry("url_decode", "spark:url_decode", "s", ""),
    Entry("try_url_decode", "spark:try_url_decode", "s", ""),
    Entry("url_encode", "spark:url_encode", "s", ""),
    Entry("uuid", "uuid", "", "s"),
    // Numbers.
    Entry("acos", "acos", "d", "d"),
    Entry("acosh", "acosh", "d", "d"),
    Entry("asin", "asin", "d", "d"),
    Entry("asinh", "asinh", "d", "d"),
    Entry("atan", "atan", "d", "d"),
    Entry("atan2", "spark:atan2", "dd", "d"),
    Entry("atanh", "atanh", "d", "d"),
    Entry("cbrt", "cbrt", "d", "d"),
    Entry("cos", "cos", "d", "d"),
    Entry("cosh", "cosh", "d", "d"),
    Entry("cot", "cot", "d", "d"),
    Entry("csc", "spark:csc", "d", "d"),
    Entry("sec", "spark:sec", "d", "d"),
    Entry("degrees", "degrees", "d", "d"),
    Entry("exp", "exp", "d", "d"),
    Entry("expm1", "spark:expm1", "d", "d"),
    Entry("hypot", "spark:hypot", "dd", "d"),
    Entry("radians", "radians", "d", "d"),
    Entry("rint", "spark:rint", "d", "d"),
    Entry("signum", "signum", "d", "d"),
    Entry("sign", "signum", "d", "d"),
    Entry("sin", "sin", "d", "d"),
    Entry("sinh", "sinh", "d", "d"),
    Entry("sqrt", "sqrt", "d", "d"),
    Entry("tan", "tan", "d", "d"),
    Entry("tanh", "tanh", "d", "d"),
    Entry("pi", "pi", "", "d"),
    Entry("factorial", "spark:factorial", "i", "l"),
    Entry("bin", "spark:bin", "l", "s"),
    Entry("unhex", "spark:unhex", "s", "x"),
    Entry("width_bucket", "spark:width_bucket", "dddl", "l"),
    Entry("bit_count", "spark:bit_count", "*", "i"),
    Entry("bit_get", "spark:bit_get", "*i", ""),
    Entry("getbit", "spark:bit_get", "*i", ""),
    // Dates.
    Entry("date_add", "spark:date_add", "ti", "t"),
    Entry("dateadd", "spark:date_add", "ti", "t"),
    Entry("date_sub", "spark:date_sub", "ti", "t"),
    Entry("datediff", "spark:date_diff", "tt", "i"),
    Entry("date_diff", "spark:date_diff", "tt", "i"),
    Entry("add_months", "spark:add_months", "ti", "t"),
    Entry("last_day", "spark:last_day", "t", "t"),
    Entry("next_day", "spark:next_day", "ts", "t"),
    Entry("weekday", "spark:weekday", "t", "i"),
    Entry("monthname", "spark:monthname", "t", "s"),
    Entry("unix_date", "spark:unix_date", "t", "i"),
    // Collections.
    Entry("array_distinct", "array_distinct", "*", ""),
    Entry("array_compact", "array_compact", "*", ""),
    Entry("array_max", "array_max", "*", ""),
    Entry("array_min", "array_min", "*", ""),
    Entry("array_repeat", "spark:array_repeat", "*l", ""),
    Entry("flatten", "flatten", "*", ""),
    Entry("map_keys", "map_keys", "*", ""),
    Entry("map_values", "map_values", "*", ""),
    Entry("map_entries", "map_entries", "*", ""),
    Entry("map_from_arrays", "spark:map_from_arrays", "**", ""),
    Entry("map_from_entries", "spark:map_from_entries", "*", ""),
    Entry("str_to_map", "spark:str_to_map", "s?ss", ""),
    Entry("shuffle", "spark:shuffle", "*", ""),
];

/// Functions whose columns Spark names in upper case.
const UPPER: [&str; 25] = [
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "cos", "cosh", "cot",
    "csc", "degrees", "exp", "expm1", "hypot", "pi", "radians", "sec", "signum", "sin", "sinh",
    "sqrt", "tan", "tanh",
];

fn type_of(letter: char) -> Option<DataType> {
    Some(match letter {
        's' => DataType::Utf8,
        'i' => DataType::Int32,
        'l' => DataType::Int64,
        'd' => DataType::Float64,
        'b' => DataType::Boolean,
        'x' => DataType::Binary,
        't' => DataType::Date32,
        'u' => types::timestamp(),
        _ => return None,
    })
}

pub(super) fn build(a: &Analyzer, call: &Call) -> Result<Option<Typed>> {
    let Some(entry) = TABLE.iter().find(|e| e.0 == call.name) else {
        return Ok(None);
    };
    let Entry(name, function, arguments, result) = *entry;
    let (required, optional) = arguments.split_once('?').unwrap_or((arguments, ""));
    let repeats = required.ends_with('+');
    let letters: Vec<char> = required
        .chars()
        .chain(optional.chars())
        .filter(|c| *c != '+')
        .collect();
    let min = required.chars().filter(|c| *c != '+').count();
    call.expect(min, if repeats { usize::MAX } else { letters.len() })?;
    let mut args = vec![];
    for (index, arg) in call.args.iter().enumerate() {
        let letter = letters
            .get(index)
            .or(letters.last())
            .copied()
            .unwrap_or('*');
        let expr = match type_of(letter) {
            Some(data_type) => coerced(a, call, index, arg, &data_type)?,
            None => arg.expr.clone(),
        };
        args.push(expr);
    }
    let mut expr = engine::call(function, args)?;
    let shown = match name {
        "str_to_map" if call.args.len() == 1 => format!("str_to_map({}, ,, :)", call.arg(0)?.name),
        _ if UPPER.contains(&name) => call.text_as(&name.to_uppercase()),
        _ => call.text(),
    };
    let typed = call.named(expr.clone(), shown)?;
    if let Some(wanted) = result.chars().next().and_then(type_of)
        && typed.data_type != wanted
    {
        expr = cast(expr, wanted);
        return call.named(expr, typed.name).map(Some);
    }
    Ok(Some(typed))
}

/// An argument brought to its type, with Spark's error when it cannot be.
pub(super) fn coerced(
    a: &Analyzer,
    call: &Call,
    index: usize,
    arg: &Typed,
    wanted: &DataType,
) -> Result<datafusion::logical_expr::Expr> {
    a.coerce(arg.clone(), wanted).map_err(|_| {
        errors::unexpected_input(
            &call.text(),
            index,
            &pyrite_functions::type_names::sql_name(wanted),
            &arg.name,
            &arg.spark_type(),
        )
    })
}
