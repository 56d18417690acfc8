//! `spark_regexp_extract` and `spark_split`: regular expressions.

use std::collections::HashMap;
use std::sync::Arc;

use ::regex::Regex;
use arrow::array::{Array, ArrayRef, AsArray, ListBuilder, StringBuilder};
use arrow::datatypes::{DataType, Field, Int32Type};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use pyrite_proto::error::{SparkError, class};

use crate::error::external;

/// Patterns of one batch, compiled once each.
#[derive(Default)]
struct Patterns(HashMap<String, Regex>);

impl Patterns {
    fn get(&mut self, pattern: &str, function: &str) -> Result<&Regex> {
        if !self.0.contains_key(pattern) {
            let compiled = Regex::new(pattern).map_err(|_| invalid(pattern, function))?;
            self.0.insert(pattern.to_owned(), compiled);
        }
        Ok(&self.0[pattern])
    }
}

fn invalid(pattern: &str, function: &str) -> DataFusionError {
    external(
        SparkError::new(
            class::RUNTIME,
            "INVALID_PARAMETER_VALUE.PATTERN",
            "22023",
            format!("The value of parameter(s) `regexp` in `{function}` is invalid: '{pattern}'."),
        )
        .with("parameter", "`regexp`")
        .with("functionName", format!("`{function}`"))
        .with("value", format!("'{pattern}'")),
    )
}

fn columns(args: &ScalarFunctionArgs) -> Result<Vec<ArrayRef>> {
    args.args
        .iter()
        .map(|a| a.to_array(args.number_rows))
        .collect()
}

/// `spark_regexp_extract(text, pattern, group)`: empty when nothing matches.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct RegexpExtract {
    signature: Signature,
}

impl Default for RegexpExtract {
    fn default() -> Self {
        Self {
            signature: Signature::any(3, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for RegexpExtract {
    fn name(&self) -> &str {
        "spark_regexp_extract"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = columns(&args)?;
        let (texts, patterns) = (columns[0].as_string::<i32>(), columns[1].as_string::<i32>());
        let groups = columns[2].as_primitive::<Int32Type>();
        let mut compiled = Patterns::default();
        let mut builder = StringBuilder::new();
        for row in 0..args.number_rows {
            if texts.is_null(row) || patterns.is_null(row) || groups.is_null(row) {
                builder.append_null();
                continue;
            }
            let regex = compiled.get(patterns.value(row), "regexp_extract")?;
            let group = groups.value(row);
            let last = regex.captures_len() as i32 - 1;
            if !(0..=last).contains(&group) {
                return Err(external(SparkError::new(
                    class::RUNTIME,
                    "INVALID_PARAMETER_VALUE.REGEX_GROUP_INDEX",
                    "22023",
                    format!(
                        "The value of parameter(s) `idx` in `regexp_extract` is invalid: Expects group index between 0 and {last}, but got {group}."
                    ),
                )));
            }
            let found = regex
                .captures(texts.value(row))
                .and_then(|c| c.get(group as usize).map(|m| m.as_str().to_owned()));
            builder.append_value(found.unwrap_or_default());
        }
        Ok(ColumnarValue::Array(Arc::new(builder.finish())))
    }
}

/// `spark_split(text, pattern, limit)`: at most `limit` parts when it is positive.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Split {
    signature: Signature,
}

impl Default for Split {
    fn default() -> Self {
        Self {
            signature: Signature::any(3, Volatility::Immutable),
        }
    }
}

/// The parts as Java's `String.split` has them.
fn split<'t>(regex: &Regex, text: &'t str, limit: i32) -> Vec<&'t str> {
    let mut out = vec![];
    let mut start = 0;
    for found in regex.find_iter(text) {
        if limit > 0 && out.len() as i32 == limit - 1 {
            break;
        }
        // An empty match at the start makes no empty first part, and none at the end a last.
        if found.start() == found.end() && (found.start() == 0 || found.start() == text.len()) {
            continue;
        }
        out.push(&text[start..found.start()]);
        start = found.end();
    }
    out.push(&text[start..]);
    out
}

impl ScalarUDFImpl for Split {
    fn name(&self) -> &str {
        "spark_split"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(Arc::new(Field::new(
            "item",
            DataType::Utf8,
            false,
        ))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = columns(&args)?;
        let (texts, patterns) = (columns[0].as_string::<i32>(), columns[1].as_string::<i32>());
        let limits = columns[2].as_primitive::<Int32Type>();
        let mut compiled = Patterns::default();
        let item = Field::new("item", DataType::Utf8, false);
        let mut builder = ListBuilder::new(StringBuilder::new()).with_field(item);
        for row in 0..args.number_rows {
            if texts.is_null(row) || patterns.is_null(row) || limits.is_null(row) {
                builder.append(false);
                continue;
            }
            let regex = compiled.get(patterns.value(row), "split")?;
            for part in split(regex, texts.value(row), limits.value(row)) {
                builder.values().append_value(part);
            }
            builder.append(true);
        }
        Ok(ColumnarValue::Array(Arc::new(builder.finish())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_split_as_in_java() {
        let comma = Regex::new(",").unwrap();
        assert_eq!(split(&comma, "a,b,c", -1), ["a", "b", "c"]);
        assert_eq!(split(&comma, "a,b,c", 2), ["a", "b,c"]);
        assert_eq!(split(&comma, "a,,", -1), ["a", "", ""]);
        assert_eq!(split(&Regex::new("").unwrap(), "abc", -1), ["a", "b", "c"]);
    }
}
