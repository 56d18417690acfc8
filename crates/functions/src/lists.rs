//! `spark_size`, `spark_positions`, `spark_sequence`, `spark_concat_ws`: lists.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, Int32Builder, Int64Builder, ListBuilder, StringBuilder,
};
use arrow::datatypes::{DataType, Field, Int64Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::illegal_argument;

/// `spark_size(list or map)`: the number of entries, NULL for NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Size {
    signature: Signature,
}

impl Default for Size {
    fn default() -> Self {
        Self {
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Size {
    fn name(&self) -> &str {
        "spark_size"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int32)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = args.args[0].to_array(args.number_rows)?;
        let (offsets, nulls) = match array.data_type() {
            DataType::List(_) => (array.as_list::<i32>().offsets(), array.nulls()),
            DataType::Map(_, _) => (array.as_map().offsets(), array.nulls()),
            other => return exec_err!("spark_size does not take {other}"),
        };
        let sizes: Vec<i32> = offsets.windows(2).map(|w| w[1] - w[0]).collect();
        let out = Int32Array::new(sizes.into(), nulls.cloned());
        Ok(ColumnarValue::Array(Arc::new(out)))
    }
}

/// `spark_positions(list)`: the list 0, 1, ... of the same length.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Positions {
    signature: Signature,
}

impl Default for Positions {
    fn default() -> Self {
        Self {
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Positions {
    fn name(&self) -> &str {
        "spark_positions"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(Arc::new(Field::new(
            "item",
            DataType::Int32,
            true,
        ))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = args.args[0].to_array(args.number_rows)?;
        let lists = array.as_list::<i32>();
        let mut builder = ListBuilder::new(Int32Builder::new());
        for row in 0..lists.len() {
            if lists.is_valid(row) {
                (0..lists.value_length(row)).for_each(|i| builder.values().append_value(i));
            }
            builder.append(lists.is_valid(row));
        }
        Ok(ColumnarValue::Array(Arc::new(builder.finish())))
    }
}

/// `spark_sequence(start, stop, step or NULL)` of bigints; both ends are in.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Sequence {
    signature: Signature,
}

impl Default for Sequence {
    fn default() -> Self {
        Self {
            signature: Signature::any(3, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Sequence {
    fn name(&self) -> &str {
        "spark_sequence"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(Arc::new(Field::new(
            "item",
            DataType::Int64,
            true,
        ))))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns: Vec<ArrayRef> = args
            .args
            .iter()
            .map(|a| a.to_array(args.number_rows))
            .collect::<Result<_>>()?;
        let [start, stop, step] = [0, 1, 2].map(|i| columns[i].as_primitive::<Int64Type>());
        let mut builder = ListBuilder::new(Int64Builder::new());
        for row in 0..args.number_rows {
            if start.is_null(row) || stop.is_null(row) {
                builder.append(false);
                continue;
            }
            let (from, to) = (i128::from(start.value(row)), i128::from(stop.value(row)));
            let by = match step.is_valid(row) {
                true => i128::from(step.value(row)),
                false if from <= to => 1,
                false => -1,
            };
            if (by == 0 && from != to) || (by > 0 && from > to) || (by < 0 && from < to) {
                return Err(illegal_argument(
                    "_LEGACY_ERROR_TEMP_3235",
                    "",
                    format!("Illegal sequence boundaries: {from} to {to} by {by}"),
                ));
            }
            let count = if by == 0 { 1 } else { (to - from) / by + 1 };
            for i in 0..count {
                builder.values().append_value((from + i * by) as i64);
            }
            builder.append(true);
        }
        Ok(ColumnarValue::Array(Arc::new(builder.finish())))
    }
}

/// `spark_concat_ws(separator, strings and lists of strings...)`: nulls are left out.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ConcatWs {
    signature: Signature,
}

impl Default for ConcatWs {
    fn default() -> Self {
        Self {
            signature: Signature::variadic_any(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for ConcatWs {
    fn name(&self) -> &str {
        "spark_concat_ws"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns: Vec<ArrayRef> = args
            .args
            .iter()
            .map(|a| a.to_array(args.number_rows))
            .collect::<Result<_>>()?;
        let separators = columns[0].as_string::<i32>();
        let mut builder = StringBuilder::new();
        let mut text = String::new();
        for row in 0..args.number_rows {
            if separators.is_null(row) {
                builder.append_null();
                continue;
            }
            text.clear();
            let mut first = true;
            let mut add = |part: &str| {
                if !first {
                    text.push_str(separators.value(row));
                }
                first = false;
                text.push_str(part);
            };
            for column in &columns[1..] {
                if column.is_null(row) {
                    continue;
                }
                match column.data_type() {
                    DataType::List(_) => {
                        let items = column.as_list::<i32>().value(row);
                        items.as_string::<i32>().iter().flatten().for_each(&mut add);
                    }
                    _ => add(column.as_string::<i32>().value(row)),
                }
            }
            builder.append_value(&text);
        }
        Ok(ColumnarValue::Array(Arc::new(builder.finish())))
    }
}
