//! Strings.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, Like, Operator, binary_expr, cast, lit};
use pyrite_proto::error::SparkError;

use super::table::coerced;
use super::{Call, engine};
use crate::analyzer::{Analyzer, Typed};
use crate::errors::{Result, from_datafusion};

fn text(a: &Analyzer, call: &Call, index: usize) -> Result<Expr> {
    coerced(a, call, index, call.arg(index)?, &DataType::Utf8)
}

fn literal_text(typed: &Typed) -> Option<&str> {
    match &typed.expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => Some(text),
        _ => None,
    }
}

pub(super) fn build(a: &Analyzer, call: &Call) -> Result<Option<Typed>> {
    let typed = match call.name.as_str() {
        "concat"
            if call
                .args
                .iter()
                .any(|x| matches!(x.data_type, DataType::List(_))) =>
        {
            return Ok(None);
        }
        "concat" => concat(a, call)?,
        "concat_ws" => concat_ws(a, call)?,
        "length" | "char_length" | "character_length" | "len" => {
            call.expect(1, 1)?;
            let arg = call.arg(0)?;
            let (function, value) = if arg.data_type == DataType::Binary {
                ("octet_length", arg.expr.clone())
            } else {
                ("character_length", text(a, call, 0)?)
            };
            call.typed(cast(engine::call(function, vec![value])?, DataType::Int32))?
        }
        "substring" | "substr" => {
            call.expect(2, 3)?;
            let mut args = vec![text(a, call, 0)?];
            for arg in &call.args[1..] {
                args.push(a.coerce(arg.clone(), &DataType::Int64)?);
            }
            let shown = match call.args.len() {
                2 => format!(
                    "{}({}, {}, 2147483647)",
                    call.name,
                    call.arg(0)?.name,
                    call.arg(1)?.name
                ),
                _ => call.text(),
            };
            call.named(engine::call_spark("substring", args)?, shown)?
        }
        "trim" | "btrim" | "ltrim" | "rtrim" => trim(a, call)?,
        "replace" => {
            call.expect(2, 3)?;
            let mut args = vec![text(a, call, 0)?, text(a, call, 1)?];
            args.push(if call.args.len() == 3 {
                text(a, call, 2)?
            } else {
                lit("")
            });
            let shown = match call.args.len() {
                2 => format!("replace({}, {}, )", call.arg(0)?.name, call.arg(1)?.name),
                _ => call.text(),
            };
            call.named(engine::call("replace", args)?, shown)?
        }
        "reverse" if !matches!(call.arg(0)?.data_type, DataType::List(_)) => {
            call.expect(1, 1)?;
            call.typed(engine::call("reverse", vec![text(a, call, 0)?])?)?
        }
        "rpad" | "lpad" if call.args.len() == 2 => {
            let width = a.coerce(call.arg(1)?.clone(), &DataType::Int64)?;
            let shown = format!(
                "{}({}, {},  )",
                call.name,
                call.arg(0)?.name,
                call.arg(1)?.name
            );
            call.named(
                engine::call(&call.name, vec![text(a, call, 0)?, width])?,
                shown,
            )?
        }
        "position" | "locate" | "charindex" => position(a, call)?,
        "like" | "ilike" => like(a, call)?,
        "rlike" | "regexp_like" | "regexp" => {
            call.expect(2, 2)?;
            let shown = if call.name == "rlike" {
                format!("RLIKE({}, {})", call.arg(0)?.name, call.arg(1)?.name)
            } else {
                call.text()
            };
            call.named(
                engine::call("regexp_like", vec![text(a, call, 0)?, text(a, call, 1)?])?,
                shown,
            )?
        }
        "regexp_replace" => {
            call.expect(3, 4)?;
            let replacement = match literal_text(call.arg(2)?) {
                // Java writes groups as $1, the engine as \1 or ${1}.
                Some(java) => lit(java_groups(java)),
                None => text(a, call, 2)?,
            };
            let args = vec![text(a, call, 0)?, text(a, call, 1)?, replacement, lit("g")];
            let shown = match call.args.len() {
                3 => format!(
                    "regexp_replace({}, {}, {}, 1)",
                    call.arg(0)?.name,
                    call.arg(1)?.name,
                    call.arg(2)?.name
                ),
                _ => call.text(),
            };
            call.named(engine::call("regexp_replace", args)?, shown)?
        }
        "regexp_count" => {
            call.expect(2, 2)?;
            let counted = engine::call("regexp_count", vec![text(a, call, 0)?, text(a, call, 1)?])?;
            call.typed(cast(counted, DataType::Int32))?
        }
        "regexp_extract" => {
            call.expect(2, 3)?;
            let group = match call.args.get(2) {
                Some(group) => a.coerce(group.clone(), &DataType::Int32)?,
                None => lit(1),
            };
            let shown = match call.args.len() {
                2 => format!(
                    "regexp_extract({}, {}, 1)",
                    call.arg(0)?.name,
                    call.arg(1)?.name
                ),
                _ => call.text(),
            };
            let args = vec![text(a, call, 0)?, text(a, call, 1)?, group];
            call.named(engine::call("spark_regexp_extract", args)?, shown)?
        }
        "split" => {
            call.expect(2, 3)?;
            let limit = match call.args.get(2) {
                Some(limit) => a.coerce(limit.clone(), &DataType::Int32)?,
                None => lit(-1),
            };
            let shown = match call.args.len() {
                2 => format!("split({}, {}, -1)", call.arg(0)?.name, call.arg(1)?.name),
                _ => call.text(),
            };
            let args = vec![text(a, call, 0)?, text(a, call, 1)?, limit];
            call.named(engine::call("spark_split", args)?, shown)?
        }
        "split_part" => {
            call.expect(3, 3)?;
            let place = a.coerce(call.arg(2)?.clone(), &DataType::Int64)?;
            call.typed(engine::call(
                "split_part",
                vec![text(a, call, 0)?, text(a, call, 1)?, place],
            )?)?
        }
        "levenshtein" => {
            call.expect(2, 3)?;
            if call.args.len() == 3 {
                return Err(SparkError::not_supported("levenshtein with a threshold"));
            }
            let distance = engine::call("levenshtein", vec![text(a, call, 0)?, text(a, call, 1)?])?;
            call.typed(cast(distance, DataType::Int32))?
        }
        "overlay" => {
            call.expect(3, 4)?;
            let mut args = vec![text(a, call, 0)?, text(a, call, 1)?];
            args.push(a.coerce(call.arg(2)?.clone(), &DataType::Int64)?);
            let given = matches!(call.args.get(3), Some(len) if len.name != "-1");
            if given {
                args.push(a.coerce(call.arg(3)?.clone(), &DataType::Int64)?);
            }
            let shown = match call.args.len() {
                3 => format!("{}, -1)", call.text().trim_end_matches(')')),
                _ => call.text(),
            };
            call.named(engine::call("overlay", args)?, shown)?
        }
        "format_string" | "printf" => {
            let args = call.args.iter().map(|x| x.expr.clone()).collect();
            call.typed(engine::call_spark("format_string", args)?)?
        }
        "get_json_object" => {
            call.expect(2, 2)?;
            let args = vec![text(a, call, 0)?, text(a, call, 1)?];
            call.typed(engine::call("spark_get_json_object", args)?)?
        }
        "json_array_length" | "json_object_keys" => {
            call.expect(1, 1)?;
            call.typed(engine::call(
                &format!("spark_{}", call.name),
                vec![text(a, call, 0)?],
            )?)?
        }
        "to_json" => {
            call.expect(1, 2)?;
            let args = vec![call.arg(0)?.expr.clone(), lit(a.time_zone.as_str())];
            call.named(
                engine::call("spark_to_json", args)?,
                format!("to_json({})", call.arg(0)?.name),
            )?
        }
        "from_json" => from_json(a, call)?,
        "elt" => {
            let mut args = vec![a.coerce(call.arg(0)?.clone(), &DataType::Int32)?];
            for index in 1..call.args.len() {
                args.push(text(a, call, index)?);
            }
            call.typed(engine::call_spark("elt", args)?)?
        }
        "encode" | "decode" if call.args.len() == 2 => {
            let charset = literal_text(call.arg(1)?)
                .unwrap_or_default()
                .to_uppercase();
            if !matches!(charset.as_str(), "UTF-8" | "US-ASCII") {
                return Err(SparkError::not_supported(format!(
                    "character set `{charset}`"
                )));
            }
            let to = if call.name == "encode" {
                DataType::Binary
            } else {
                DataType::Utf8
            };
            let arg = call.arg(0)?.clone();
            call.typed(a.coerce(arg, &to)?)?
        }
        _ => return Ok(None),
    };
    Ok(Some(typed))
}

/// `$1` of Java as the engine's `${1}`, `\$` as a plain dollar.
fn java_groups(java: &str) -> String {
    let mut out = String::new();
    let mut chars = java.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('$') => out.push_str("$$"),
                Some(next) => out.push(next),
                None => {}
            },
            '$' => {
                let mut digits = String::new();
                while let Some(d) = chars.next_if(char::is_ascii_digit) {
                    digits.push(d);
                }
                out.push_str(&format!("${{{digits}}}"));
            }
            other => out.push(other),
        }
    }
    out
}

/// `from_json(text, schema)`, the schema in DDL or JSON form.
fn from_json(a: &Analyzer, call: &Call) -> Result<Typed> {
    call.expect(2, 3)?;
    let Some(schema) = literal_text(call.arg(1)?) else {
        return Err(SparkError::not_supported(
            "from_json with a schema that is no literal",
        ));
    };
    let to = crate::types::to_arrow(&crate::sqltext::schema(schema)?)?;
    let null = ScalarValue::try_from(&nullable(&to)).map_err(from_datafusion)?;
    let args = vec![text(a, call, 0)?, lit(null), lit(a.time_zone.as_str())];
    call.named(
        engine::call("spark_from_json", args)?,
        format!("from_json({})", call.arg(0)?.name),
    )
}

/// What is parsed may be missing anywhere.
fn nullable(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Struct(fields) => DataType::Struct(
            fields
                .iter()
                .map(|f| arrow::datatypes::Field::new(f.name(), nullable(f.data_type()), true))
                .collect(),
        ),
        DataType::List(item) => crate::types::list_of(nullable(item.data_type()), true),
        other => other.clone(),
    }
}

fn concat(a: &Analyzer, call: &Call) -> Result<Typed> {
    if call.args.is_empty() {
        return call.typed(lit(""));
    }
    // `||` is null when any part is, as Spark's concat.
    let mut parts = vec![];
    for index in 0..call.args.len() {
        parts.push(text(a, call, index)?);
    }
    let joined = parts
        .into_iter()
        .reduce(|l, r| binary_expr(l, Operator::StringConcat, r));
    let mut typed = call.typed(joined.unwrap_or_else(|| lit("")))?;
    typed.nullable = call.args.iter().any(|arg| arg.nullable);
    Ok(typed)
}

fn concat_ws(a: &Analyzer, call: &Call) -> Result<Typed> {
    call.expect(1, usize::MAX)?;
    let mut args = vec![text(a, call, 0)?];
    for (index, arg) in call.args.iter().enumerate().skip(1) {
        args.push(match &arg.data_type {
            DataType::List(_) => {
                let to = crate::types::list_of(DataType::Utf8, true);
                a.coerce(arg.clone(), &to)?
            }
            _ => text(a, call, index)?,
        });
    }
    call.typed(engine::call("spark_concat_ws", args)?)
}

fn trim(a: &Analyzer, call: &Call) -> Result<Typed> {
    call.expect(1, 2)?;
    let function = match call.name.as_str() {
        "trim" | "btrim" => "btrim",
        other => other,
    };
    let chars = if call.args.len() == 2 {
        text(a, call, 1)?
    } else {
        lit(" ")
    };
    let value = text(a, call, 0)?;
    let side = match function {
        "ltrim" => "LEADING",
        "rtrim" => "TRAILING",
        _ => "BOTH",
    };
    let shown = match (call.args.len(), call.name.as_str()) {
        (2, "btrim") => call.text(),
        (2, _) => format!(
            "TRIM({side} {} FROM {})",
            call.arg(1)?.name,
            call.arg(0)?.name
        ),
        _ => call.text(),
    };
    call.named(engine::call(function, vec![value, chars])?, shown)
}

fn position(a: &Analyzer, call: &Call) -> Result<Typed> {
    call.expect(2, 3)?;
    let (needle, hay) = (text(a, call, 0)?, text(a, call, 1)?);
    let name = if call.name == "position" {
        "locate"
    } else {
        &call.name
    };
    let shown = match call.args.len() {
        2 => format!("{name}({}, {}, 1)", call.arg(0)?.name, call.arg(1)?.name),
        _ => call.text_as(name),
    };
    let found = |hay: Expr| -> Result<Expr> {
        Ok(cast(
            engine::call("strpos", vec![hay, needle.clone()])?,
            DataType::Int32,
        ))
    };
    let Some(start) = call.args.get(2).filter(|s| s.name != "1") else {
        return call.named(found(hay)?, shown);
    };
    let start = a.coerce(start.clone(), &DataType::Int64)?;
    let rest = engine::call("substr", vec![hay, start.clone()])?;
    let place = found(rest)?;
    let shifted = place.clone() + cast(start, DataType::Int32) - lit(1);
    let expr = datafusion::logical_expr::when(place.eq(lit(0)), lit(0))
        .otherwise(shifted)
        .map_err(from_datafusion)?;
    call.named(expr, shown)
}

fn like(a: &Analyzer, call: &Call) -> Result<Typed> {
    call.expect(2, 3)?;
    let (value, pattern) = (text(a, call, 0)?, text(a, call, 1)?);
    let escape = match call.args.get(2) {
        None => '\\',
        Some(typed) => literal_text(typed)
            .and_then(|t| t.chars().next())
            .ok_or_else(|| SparkError::not_supported("LIKE with an escape that is no literal"))?,
    };
    if escape != '\\' {
        return Err(SparkError::not_supported(
            "LIKE with an escape character other than backslash",
        ));
    }
    let insensitive = call.name == "ilike";
    let shown = if insensitive {
        format!("ilike({}, {})", call.arg(0)?.name, call.arg(1)?.name)
    } else {
        format!("{} LIKE {}", call.arg(0)?.name, call.arg(1)?.name)
    };
    let expr = Expr::Like(Like::new(
        false,
        Box::new(value),
        Box::new(pattern),
        None,
        insensitive,
    ));
    call.named(expr, shown)
}
