//! `get_json_object`, `to_json`, `from_json`, `json_array_length`, `json_object_keys`.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Builder, ListBuilder, StringBuilder, StructArray,
};
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{Result, ScalarValue, exec_err, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use serde_json::Value;

use crate::cast::{CastMode, Caster};
use crate::format::{ValueFormat, local_time, parse_zone};

fn columns(args: &ScalarFunctionArgs) -> Result<Vec<ArrayRef>> {
    args.args
        .iter()
        .map(|a| a.to_array(args.number_rows))
        .collect()
}

fn literal(value: &ColumnarValue) -> Result<&str> {
    match value {
        ColumnarValue::Scalar(ScalarValue::Utf8(Some(text))) => Ok(text),
        _ => internal_err!("a literal string is needed"),
    }
}

/// A function of texts only, by what it does with each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JsonFunction {
    /// `get_json_object(text, path)`
    GetObject,
    /// `json_array_length(text)`
    ArrayLength,
    /// `json_object_keys(text)`
    ObjectKeys,
}

/// One of [`JsonFunction`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Json {
    function: JsonFunction,
    signature: Signature,
}

impl Json {
    /// The function.
    pub fn new(function: JsonFunction) -> Self {
        let arguments = if function == JsonFunction::GetObject {
            2
        } else {
            1
        };
        Self {
            function,
            signature: Signature::any(arguments, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Json {
    fn name(&self) -> &str {
        match self.function {
            JsonFunction::GetObject => "spark_get_json_object",
            JsonFunction::ArrayLength => "spark_json_array_length",
            JsonFunction::ObjectKeys => "spark_json_object_keys",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(match self.function {
            JsonFunction::GetObject => DataType::Utf8,
            JsonFunction::ArrayLength => DataType::Int32,
            JsonFunction::ObjectKeys => {
                DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)))
            }
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = columns(&args)?;
        let texts = columns[0].as_string::<i32>();
        let parsed = |row: usize| -> Option<Value> {
            texts
                .is_valid(row)
                .then(|| serde_json::from_str(texts.value(row)).ok())
                .flatten()
        };
        let out: ArrayRef = match self.function {
            JsonFunction::GetObject => {
                let paths = columns[1].as_string::<i32>();
                let mut builder = StringBuilder::new();
                for row in 0..args.number_rows {
                    let found = parsed(row).filter(|_| paths.is_valid(row));
                    builder.append_option(found.and_then(|v| at_path(&v, paths.value(row))));
                }
                Arc::new(builder.finish())
            }
            JsonFunction::ArrayLength => {
                let mut builder = Int32Builder::new();
                for row in 0..args.number_rows {
                    builder.append_option(
                        parsed(row).and_then(|v| v.as_array().map(|a| a.len() as i32)),
                    );
                }
                Arc::new(builder.finish())
            }
            JsonFunction::ObjectKeys => {
                let mut builder = ListBuilder::new(StringBuilder::new());
                for row in 0..args.number_rows {
                    let value = parsed(row);
                    let object = value.as_ref().and_then(Value::as_object);
                    if let Some(object) = object {
                        object.keys().for_each(|k| builder.values().append_value(k));
                    }
                    builder.append(object.is_some());
                }
                Arc::new(builder.finish())
            }
        };
        Ok(ColumnarValue::Array(out))
    }
}

/// A step of a path.
enum Step {
    Key(String),
    Index(usize),
    All,
}

/// `$.a['b'][0].*`
fn steps(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix('$')?;
    let mut out = vec![];
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let key = &after[..end];
            out.push(if key == "*" {
                Step::All
            } else {
                Step::Key(key.to_owned())
            });
            rest = &after[end..];
        } else {
            let after = rest.strip_prefix('[')?;
            let end = after.find(']')?;
            let inside = &after[..end];
            out.push(if inside == "*" {
                Step::All
            } else if let Some(key) = inside.strip_prefix('\'') {
                Step::Key(key.strip_suffix('\'')?.to_owned())
            } else {
                Step::Index(inside.parse().ok()?)
            });
            rest = &after[end + 1..];
        }
    }
    Some(out)
}

fn at_path(value: &Value, path: &str) -> Option<String> {
    let mut found = vec![value];
    let mut many = false;
    for step in steps(path)? {
        found = found
            .into_iter()
            .flat_map(|v| -> Vec<&Value> {
                match &step {
                    Step::Key(key) => v.get(key).into_iter().collect(),
                    Step::Index(index) => v.get(index).into_iter().collect(),
                    Step::All => match v {
                        Value::Array(items) => items.iter().collect(),
                        _ => vec![],
                    },
                }
            })
            .collect();
        many |= matches!(step, Step::All);
    }
    match found.as_slice() {
        [] => None,
        [one] => text_of(one),
        all if many => {
            let items: Vec<String> = all.iter().map(|v| v.to_string()).collect();
            Some(format!("[{}]", items.join(",")))
        }
        _ => None,
    }
}

/// Strings without quotes, null as nothing, the rest as JSON.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// `spark_to_json(value, time zone)`: null fields are left out.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ToJson {
    signature: Signature,
}

impl Default for ToJson {
    fn default() -> Self {
        Self {
            signature: Signature::any(2, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for ToJson {
    fn name(&self) -> &str {
        "spark_to_json"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let zone = literal(&args.args[1])?;
        let writer = JsonWriter {
            format: ValueFormat::cast(zone)?,
            zone: parse_zone(zone)?,
        };
        let values = args.args[0].to_array(args.number_rows)?;
        let mut builder = StringBuilder::new();
        for row in 0..values.len() {
            if values.is_null(row) {
                builder.append_null();
                continue;
            }
            let mut text = String::new();
            writer.write(values.as_ref(), row, &mut text)?;
            builder.append_value(text);
        }
        Ok(ColumnarValue::Array(Arc::new(builder.finish())))
    }
}

struct JsonWriter {
    format: ValueFormat,
    zone: arrow::array::timezone::Tz,
}

impl JsonWriter {
    fn write(&self, array: &dyn Array, row: usize, out: &mut String) -> Result<()> {
        if array.is_null(row) {
            out.push_str("null");
            return Ok(());
        }
        match array.data_type() {
            DataType::Struct(fields) => {
                out.push('{');
                let mut first = true;
                for (column, field) in array.as_struct().columns().iter().zip(fields) {
                    if column.is_valid(row) && *column.data_type() != DataType::Null {
                        self.entry(field.name(), column.as_ref(), row, &mut first, out)?;
                    }
                }
                out.push('}');
            }
            DataType::Map(_, _) => {
                let entries = array.as_map().value(row);
                out.push('{');
                let mut first = true;
                for i in 0..entries.len() {
                    let mut key = String::new();
                    self.format.write(entries.column(0).as_ref(), i, &mut key)?;
                    self.entry(&key, entries.column(1).as_ref(), i, &mut first, out)?;
                }
                out.push('}');
            }
            DataType::List(_) => {
                let items = array.as_list::<i32>().value(row);
                out.push('[');
                for i in 0..items.len() {
                    if i > 0 {
                        out.push(',');
                    }
                    self.write(items.as_ref(), i, out)?;
                }
                out.push(']');
            }
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
                let zoned = zone.as_ref().map(|_| &self.zone);
                let Some(local) = local_time(micros, zoned) else {
                    return exec_err!("a time is out of range");
                };
                let offset = local.and_utc().timestamp_micros() - micros;
                let minutes = offset / 60_000_000;
                let suffix = match (zone, minutes) {
                    (None, _) => String::new(),
                    (_, 0) => "Z".to_owned(),
                    (_, m) => format!(
                        "{}{:02}:{:02}",
                        if m < 0 { '-' } else { '+' },
                        m.abs() / 60,
                        m.abs() % 60
                    ),
                };
                out.push_str(&format!(
                    "\"{}{suffix}\"",
                    local.format("%Y-%m-%dT%H:%M:%S%.3f")
                ));
            }
            t if t.is_numeric() || *t == DataType::Boolean => self.format.write(array, row, out)?,
            _ => {
                let mut text = String::new();
                self.format.write(array, row, &mut text)?;
                out.push_str(&Value::String(text).to_string());
            }
        }
        Ok(())
    }

    fn entry(
        &self,
        key: &str,
        array: &dyn Array,
        row: usize,
        first: &mut bool,
        out: &mut String,
    ) -> Result<()> {
        if !*first {
            out.push(',');
        }
        *first = false;
        out.push_str(&Value::String(key.to_owned()).to_string());
        out.push(':');
        self.write(array, row, out)
    }
}

/// `spark_from_json(text, null of the wanted type, time zone)`: what does not fit is NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct FromJson {
    signature: Signature,
}

impl Default for FromJson {
    fn default() -> Self {
        Self {
            signature: Signature::any(3, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for FromJson {
    fn name(&self) -> &str {
        "spark_from_json"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types[1].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let to = args.arg_fields[1].data_type().clone();
        Ok(Arc::new(Field::new(self.name(), to, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let zone = literal(&args.args[2])?;
        let texts = args.args[0].to_array(args.number_rows)?;
        let texts = texts.as_string::<i32>();
        let values: Vec<Option<Value>> = (0..texts.len())
            .map(|row| {
                texts
                    .is_valid(row)
                    .then(|| serde_json::from_str(texts.value(row)).unwrap_or(Value::Null))
            })
            .collect();
        let caster = Caster {
            mode: CastMode::Try,
            zone: parse_zone(zone)?,
            zone_name: zone,
        };
        let values: Vec<Option<&Value>> = values.iter().map(Option::as_ref).collect();
        Ok(ColumnarValue::Array(to_array(
            &values,
            args.return_field.data_type(),
            &caster,
            true,
        )?))
    }
}

/// Values as an array of a type; at the top, what is no object is an object of nulls.
fn to_array(
    values: &[Option<&Value>],
    to: &DataType,
    caster: &Caster,
    top: bool,
) -> Result<ArrayRef> {
    match to {
        DataType::Struct(fields) => {
            let columns = fields
                .iter()
                .map(|field| {
                    let inner: Vec<Option<&Value>> = values
                        .iter()
                        .map(|v| v.and_then(|v| v.get(field.name())))
                        .collect();
                    to_array(&inner, field.data_type(), caster, false)
                })
                .collect::<Result<Vec<_>>>()?;
            let present = values.iter().map(|v| match v {
                None => false,
                Some(v) => top || v.is_object(),
            });
            let nulls = arrow::buffer::NullBuffer::from_iter(present);
            let fields: arrow::datatypes::Fields = fields
                .iter()
                .map(|f| f.as_ref().clone().with_nullable(true))
                .collect();
            let made: ArrayRef = Arc::new(StructArray::try_new(fields, columns, Some(nulls))?);
            crate::relabel::relabel(&made, to)
        }
        DataType::List(item) => {
            let mut inner: Vec<Option<&Value>> = vec![];
            let mut lengths = vec![];
            for value in values {
                let items = value.and_then(|v| v.as_array());
                lengths.push(items.map_or(0, Vec::len));
                inner.extend(items.into_iter().flatten().map(Some));
            }
            let nulls = values.iter().map(|v| v.is_some_and(Value::is_array));
            let list = arrow::array::ListArray::try_new(
                Arc::clone(item),
                arrow::buffer::OffsetBuffer::from_lengths(lengths),
                to_array(&inner, item.data_type(), caster, false)?,
                Some(arrow::buffer::NullBuffer::from_iter(nulls)),
            )?;
            Ok(Arc::new(list))
        }
        DataType::Map(entries, _) => {
            let (key, value) = crate::type_names::key_value(entries);
            let mut keys = vec![];
            let mut inner: Vec<Option<&Value>> = vec![];
            let mut lengths = vec![];
            for v in values {
                let object = v.and_then(|v| v.as_object());
                lengths.push(object.map_or(0, serde_json::Map::len));
                for (k, v) in object.into_iter().flatten() {
                    keys.push(Value::String(k.clone()));
                    inner.push(Some(v));
                }
            }
            let keys: Vec<Option<&Value>> = keys.iter().map(Some).collect();
            let columns = vec![
                to_array(&keys, key.data_type(), caster, false)?,
                to_array(&inner, value.data_type(), caster, false)?,
            ];
            let DataType::Struct(fields) = entries.data_type() else {
                return internal_err!("map entries must be a struct");
            };
            let nulls = values.iter().map(|v| v.is_some_and(Value::is_object));
            let map = arrow::array::MapArray::try_new(
                Arc::clone(entries),
                arrow::buffer::OffsetBuffer::from_lengths(lengths),
                StructArray::try_new(fields.clone(), columns, None)?,
                Some(arrow::buffer::NullBuffer::from_iter(nulls)),
                false,
            )?;
            Ok(Arc::new(map))
        }
        _ => {
            let mut builder = StringBuilder::new();
            for value in values {
                builder.append_option(value.and_then(|v| fitting_text(v, to)));
            }
            let texts: ArrayRef = Arc::new(builder.finish());
            caster.cast(&texts, to)
        }
    }
}

/// The text of a value of the right kind: numbers are no strings' business and the reverse.
fn fitting_text(value: &Value, to: &DataType) -> Option<String> {
    match (value, to) {
        (_, DataType::Utf8) => text_of(value),
        (Value::Number(n), t) if t.is_numeric() => Some(n.to_string()),
        (Value::Bool(b), DataType::Boolean) => Some(b.to_string()),
        (Value::String(text), t) if !t.is_numeric() && *t != DataType::Boolean => {
            Some(text.clone())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_values() {
        let value: Value = serde_json::from_str(r#"{"a":{"b":[1,{"c":"x"}]},"n":null}"#).unwrap();
        assert_eq!(at_path(&value, "$.a.b[0]").as_deref(), Some("1"));
        assert_eq!(at_path(&value, "$.a.b[1].c").as_deref(), Some("x"));
        assert_eq!(
            at_path(&value, "$['a'].b[*]").as_deref(),
            Some(r#"[1,{"c":"x"}]"#)
        );
        assert_eq!(at_path(&value, "$.n"), None);
        assert_eq!(at_path(&value, "no path"), None);
    }
}
