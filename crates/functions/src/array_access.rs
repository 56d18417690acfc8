//! `spark_array_get`, `spark_map_get` and `spark_array_field`: values inside values.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type};
use datafusion::common::{Result, ScalarValue, exec_err, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use pyrite_proto::error::{SparkError, class};

use crate::error::external;
use crate::type_names::key_value;

fn literal(value: &ColumnarValue) -> Option<&str> {
    match value {
        ColumnarValue::Scalar(ScalarValue::Utf8(Some(text))) => Some(text),
        _ => None,
    }
}

/// `spark_array_get(array, index, mode)`: from 0; outside an error in mode `ansi`, else NULL.
/// Mode `element_at` counts from 1, and from the end below 0, with an error outside;
/// `try_element_at` yields NULL there.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ArrayGet {
    signature: Signature,
}

impl Default for ArrayGet {
    fn default() -> Self {
        Self {
            signature: Signature::any(3, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for ArrayGet {
    fn name(&self) -> &str {
        "spark_array_get"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match &arg_types[0] {
            DataType::List(field) => Ok(field.data_type().clone()),
            other => exec_err!("spark_array_get does not take {other}"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let to = self.return_type(&[args.arg_fields[0].data_type().clone()])?;
        Ok(Arc::new(Field::new(self.name(), to, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(mode) = literal(&args.args[2]) else {
            return internal_err!("spark_array_get needs a literal mode");
        };
        let lists = args.args[0].to_array(args.number_rows)?;
        let indices = args.args[1].to_array(args.number_rows)?;
        let (lists, indices) = (lists.as_list::<i32>(), indices.as_primitive::<Int32Type>());
        let mut picks = Vec::with_capacity(lists.len());
        for row in 0..lists.len() {
            if lists.is_null(row) || indices.is_null(row) {
                picks.push(None);
                continue;
            }
            let start = lists.value_offsets()[row];
            let length = lists.value_length(row);
            picks.push(pick(indices.value(row), length, mode)?.map(|i| (start + i) as u32));
        }
        let picks = UInt32Array::from(picks);
        Ok(ColumnarValue::Array(take(lists.values(), &picks, None)?))
    }
}

fn pick(index: i32, length: i32, mode: &str) -> Result<Option<i32>> {
    let from_one = mode.ends_with("element_at");
    if from_one && index == 0 {
        return Err(external(SparkError::new(
            class::RUNTIME,
            "INVALID_INDEX_OF_ZERO",
            "22003",
            "The index 0 is invalid. An index shall be either < 0 or > 0 (the first element has index 1).",
        )));
    }
    let zero_based = match (from_one, index < 0) {
        (false, _) => index,
        (true, false) => index - 1,
        (true, true) => length + index,
    };
    if (0..length).contains(&zero_based) {
        return Ok(Some(zero_based));
    }
    match mode {
        "ansi" => Err(out_of_bounds(
            "INVALID_ARRAY_INDEX",
            index,
            length,
            "Use the SQL function `get()` to tolerate accessing element at invalid index and return NULL instead.",
        )),
        "element_at" => Err(out_of_bounds(
            "INVALID_ARRAY_INDEX_IN_ELEMENT_AT",
            index,
            length,
            "Use `try_element_at` to tolerate accessing element at invalid index and return NULL instead.",
        )),
        _ => Ok(None),
    }
}

fn out_of_bounds(
    condition: &str,
    index: i32,
    length: i32,
    way_out: &str,
) -> datafusion::common::DataFusionError {
    external(
        SparkError::new(
            class::ARRAY_INDEX,
            condition,
            "22003",
            format!(
                "The index {index} is out of bounds. The array has {length} elements. {way_out}"
            ),
        )
        .with("indexValue", index.to_string())
        .with("arraySize", length.to_string())
        .with("ansiConfig", "\"spark.sql.ansi.enabled\""),
    )
}

/// `spark_map_get(map, key)`: NULL when the key is not there.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct MapGet {
    signature: Signature,
}

impl Default for MapGet {
    fn default() -> Self {
        Self {
            signature: Signature::any(2, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for MapGet {
    fn name(&self) -> &str {
        "spark_map_get"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match &arg_types[0] {
            DataType::Map(entries, _) => Ok(key_value(entries).1.data_type().clone()),
            other => exec_err!("spark_map_get does not take {other}"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let maps = args.args[0].to_array(args.number_rows)?;
        let wanted = args.args[1].to_array(args.number_rows)?;
        let maps = maps.as_map();
        let keys = maps.keys();
        let mut picks = Vec::with_capacity(maps.len());
        let compare = arrow::array::make_comparator(keys, &wanted, Default::default())?;
        for row in 0..maps.len() {
            if maps.is_null(row) || wanted.is_null(row) {
                picks.push(None);
                continue;
            }
            let offsets = maps.value_offsets();
            let range = offsets[row] as usize..offsets[row + 1] as usize;
            picks.push(
                range
                    .into_iter()
                    .find(|i| compare(*i, row).is_eq())
                    .map(|i| i as u32),
            );
        }
        Ok(ColumnarValue::Array(take(
            maps.values(),
            &UInt32Array::from(picks),
            None,
        )?))
    }
}

/// `spark_array_field(array of structs, name)`: the array of one of their fields.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ArrayField {
    signature: Signature,
}

impl Default for ArrayField {
    fn default() -> Self {
        Self {
            signature: Signature::any(2, Volatility::Immutable),
        }
    }
}

fn field_type(list: &DataType, name: &str) -> Result<(usize, FieldRef)> {
    let DataType::List(item) = list else {
        return exec_err!("spark_array_field does not take {list}");
    };
    let DataType::Struct(fields) = item.data_type() else {
        return exec_err!("spark_array_field does not take {list}");
    };
    let found = fields
        .iter()
        .position(|f| f.name().eq_ignore_ascii_case(name));
    match found {
        Some(index) => {
            let field = &fields[index];
            let nullable = field.is_nullable() || item.is_nullable();
            Ok((
                index,
                Arc::new(Field::new("item", field.data_type().clone(), nullable)),
            ))
        }
        None => exec_err!("no field {name} in {list}"),
    }
}

impl ScalarUDFImpl for ArrayField {
    fn name(&self) -> &str {
        "spark_array_field"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        internal_err!("the type of spark_array_field depends on its argument's value")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let Some(ScalarValue::Utf8(Some(name))) = args.scalar_arguments[1] else {
            return internal_err!("spark_array_field needs a literal name");
        };
        let (_, item) = field_type(args.arg_fields[0].data_type(), name)?;
        Ok(Arc::new(Field::new(
            self.name(),
            DataType::List(item),
            true,
        )))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(name) = literal(&args.args[1]) else {
            return internal_err!("spark_array_field needs a literal name");
        };
        let lists = args.args[0].to_array(args.number_rows)?;
        let (index, item) = field_type(lists.data_type(), name)?;
        let lists = lists.as_list::<i32>();
        let structs = lists.values().as_struct();
        let values = arrow::compute::kernels::nullif::nullif(
            structs.column(index),
            &arrow::compute::is_null(structs)?,
        )?;
        let out = ListArray::try_new(
            item,
            lists.offsets().clone(),
            values,
            lists.nulls().cloned(),
        )?;
        Ok(ColumnarValue::Array(Arc::new(out) as ArrayRef))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_outside_depend_on_the_mode() {
        assert_eq!(pick(1, 2, "ansi").unwrap(), Some(1));
        assert!(
            pick(2, 2, "ansi")
                .unwrap_err()
                .to_string()
                .contains("INVALID_ARRAY_INDEX")
        );
        assert_eq!(pick(2, 2, "legacy").unwrap(), None);
        assert_eq!(pick(-1, 3, "element_at").unwrap(), Some(2));
        assert_eq!(pick(9, 3, "try_element_at").unwrap(), None);
        assert!(pick(0, 3, "try_element_at").is_err());
    }
}
