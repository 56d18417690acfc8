//! `spark_relabel(value, null of the wanted type)`: the same data under a type that differs
//! only in names and nullability inside nested types.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

/// Claims that data of one type can be labelled with the other.
pub fn same_layout(a: &DataType, b: &DataType) -> bool {
    match (a, b) {
        (DataType::List(x), DataType::List(y)) => same_layout(x.data_type(), y.data_type()),
        (DataType::Map(x, _), DataType::Map(y, _)) => same_layout(x.data_type(), y.data_type()),
        (DataType::Struct(x), DataType::Struct(y)) => {
            x.len() == y.len()
                && x.iter()
                    .zip(y)
                    .all(|(f, g)| same_layout(f.data_type(), g.data_type()))
        }
        _ => a == b,
    }
}

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Relabel {
    signature: Signature,
}

impl Default for Relabel {
    fn default() -> Self {
        Self {
            signature: Signature::any(2, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Relabel {
    fn name(&self) -> &str {
        "spark_relabel"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types[1].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let to = args.arg_fields[1].data_type().clone();
        Ok(Arc::new(Field::new(
            self.name(),
            to,
            args.arg_fields[0].is_nullable(),
        )))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = args.args[0].to_array(args.number_rows)?;
        Ok(ColumnarValue::Array(relabel(
            &array,
            args.return_field.data_type(),
        )?))
    }
}

/// Puts a type on an array.
///
/// # Errors
/// When the data does not fit it: another layout, or nulls where none may be.
pub fn relabel(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    Ok(match (array.data_type(), to) {
        (DataType::List(_), DataType::List(item)) => {
            let list = array.as_list::<i32>();
            let values = relabel(list.values(), item.data_type())?;
            let nulls = list.nulls().cloned();
            Arc::new(ListArray::try_new(
                Arc::clone(item),
                list.offsets().clone(),
                values,
                nulls,
            )?)
        }
        (DataType::Map(_, _), DataType::Map(entries, sorted)) => {
            let map = array.as_map();
            let inner: ArrayRef = Arc::new(map.entries().clone());
            let inner = relabel(&inner, entries.data_type())?.as_struct().clone();
            let nulls = map.nulls().cloned();
            Arc::new(MapArray::try_new(
                Arc::clone(entries),
                map.offsets().clone(),
                inner,
                nulls,
                *sorted,
            )?)
        }
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let source = array.as_struct();
            let columns = source
                .columns()
                .iter()
                .zip(fields)
                .map(|(column, field)| relabel(column, field.data_type()))
                .collect::<Result<Vec<_>>>()?;
            if columns.is_empty() {
                return Ok(Arc::new(StructArray::new_empty_fields(
                    source.len(),
                    source.nulls().cloned(),
                )));
            }
            Arc::new(StructArray::try_new(
                fields.clone(),
                columns,
                source.nulls().cloned(),
            )?)
        }
        (from, to) => return exec_err!("{from} cannot be labelled {to}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int32Array;

    #[test]
    fn inner_names_and_nullability_change() {
        let ids: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
        let from = StructArray::from(vec![(
            Arc::new(Field::new("a", DataType::Int32, true)),
            ids,
        )]);
        let to = DataType::Struct(vec![Field::new("b", DataType::Int32, false)].into());
        assert!(same_layout(from.data_type(), &to));
        let out = relabel(&(Arc::new(from) as ArrayRef), &to).unwrap();
        assert_eq!(out.data_type(), &to);
    }
}
