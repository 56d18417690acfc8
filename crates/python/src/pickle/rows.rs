//! Pickles rows of Arrow columns.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, LargeBinaryArray,
    LargeStringArray, ListArray, MapArray, StringArray, StructArray,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, DurationMicrosecondType, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, IntervalUnit, IntervalYearMonthType,
    Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
};
use bytes::BytesMut;
use pyrite_proto::error::SparkError;

use super::PickleWriter;
use crate::spark_types;

/// Module whose functions rebuild rows in the worker.
const TYPES: &str = "pyspark.sql.types";

/// Pickles lists of rows the way Spark's `BatchEvalPythonExec` does: plain tuples, or, when a
/// column needs conversion in Python, calls that apply the schema.
#[derive(Debug)]
pub struct RowPickler {
    writer: PickleWriter,
    /// Schema in Spark's JSON form, when rows need conversion.
    conversion: Option<String>,
}

impl RowPickler {
    /// Prepares for rows of columns of these types.
    ///
    /// # Errors
    /// When Spark has no such type.
    pub fn new(types: &[DataType]) -> Result<Self, SparkError> {
        let conversion = types
            .iter()
            .any(needs_conversion)
            .then(|| spark_types::row_json(types))
            .transpose()?;
        Ok(Self {
            writer: PickleWriter::default(),
            conversion,
        })
    }

    /// Pickles `rows` of `columns` as one list.
    ///
    /// # Errors
    /// When a type cannot be pickled.
    pub fn pickle(
        &mut self,
        columns: &[ArrayRef],
        rows: std::ops::Range<usize>,
    ) -> Result<BytesMut, SparkError> {
        let readers = columns
            .iter()
            .map(|column| Column::of(column.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        let writer = &mut self.writer;
        writer.start();
        if let Some(schema) = &self.conversion {
            writer.global(TYPES, "_create_row_inbound_converter");
            writer.global(TYPES, "_parse_datatype_json_string");
            writer.str(schema);
            writer.tuple1();
            writer.call();
            writer.tuple1();
            writer.call();
            writer.remember("", "converter");
            writer.pop();
        }
        writer.list();
        for row in rows {
            if self.conversion.is_some() {
                writer.global("", "converter");
            }
            writer.mark();
            for reader in &readers {
                reader.write(row, writer);
            }
            writer.tuple();
            if self.conversion.is_some() {
                writer.call();
            }
        }
        writer.end_list();
        Ok(writer.finish())
    }
}

/// Claims that Python must convert values of the type (`EvaluatePython.needConversionInPython`).
fn needs_conversion(data_type: &DataType) -> bool {
    match data_type {
        DataType::Date32
        | DataType::Timestamp(..)
        | DataType::Time64(_)
        | DataType::Duration(_)
        | DataType::Interval(_)
        | DataType::Struct(_) => true,
        DataType::List(item) => needs_conversion(item.data_type()),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => fields.iter().any(|f| needs_conversion(f.data_type())),
            _ => false,
        },
        _ => false,
    }
}

/// A column with its type resolved once.
enum Column<'a> {
    Null,
    Bool(&'a BooleanArray),
    Int(Box<dyn Fn(usize) -> i64 + 'a>, &'a dyn Array),
    Float(Box<dyn Fn(usize) -> f64 + 'a>, &'a dyn Array),
    Decimal(&'a Decimal128Array),
    Str(&'a StringArray),
    LargeStr(&'a LargeStringArray),
    Bytes(&'a BinaryArray),
    LargeBytes(&'a LargeBinaryArray),
    List(&'a ListArray, Box<Column<'a>>),
    Map(&'a MapArray, Box<Column<'a>>, Box<Column<'a>>),
    Struct(&'a StructArray, Vec<Column<'a>>),
}

fn int<'a, T>(array: &'a dyn Array) -> Column<'a>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i64>,
{
    let values = array.as_primitive::<T>().values();
    Column::Int(Box::new(move |row| values[row].into()), array)
}

fn float<'a, T>(array: &'a dyn Array) -> Column<'a>
where
    T: ArrowPrimitiveType,
    T::Native: Into<f64>,
{
    let values = array.as_primitive::<T>().values();
    Column::Float(Box::new(move |row| values[row].into()), array)
}

impl<'a> Column<'a> {
    fn of(array: &'a dyn Array) -> Result<Self, SparkError> {
        Ok(match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Bool(array.as_boolean()),
            DataType::Int8 => int::<Int8Type>(array),
            DataType::Int16 => int::<Int16Type>(array),
            DataType::Int32 => int::<Int32Type>(array),
            DataType::Int64 => int::<Int64Type>(array),
            DataType::Date32 => int::<Date32Type>(array),
            DataType::Timestamp(TimeUnit::Microsecond, _) => int::<TimestampMicrosecondType>(array),
            DataType::Duration(TimeUnit::Microsecond) => int::<DurationMicrosecondType>(array),
            DataType::Time64(TimeUnit::Nanosecond) => int::<Time64NanosecondType>(array),
            DataType::Interval(IntervalUnit::YearMonth) => int::<IntervalYearMonthType>(array),
            DataType::Float32 => float::<Float32Type>(array),
            DataType::Float64 => float::<Float64Type>(array),
            DataType::Decimal128(..) => Self::Decimal(array.as_primitive()),
            DataType::Utf8 => Self::Str(array.as_string()),
            DataType::LargeUtf8 => Self::LargeStr(array.as_string()),
            DataType::Binary => Self::Bytes(array.as_binary()),
            DataType::LargeBinary => Self::LargeBytes(array.as_binary()),
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                Self::List(list, Box::new(Self::of(list.values().as_ref())?))
            }
            DataType::Map(..) => {
                let map = array.as_map();
                let keys = Self::of(map.keys().as_ref())?;
                Self::Map(
                    map,
                    Box::new(keys),
                    Box::new(Self::of(map.values().as_ref())?),
                )
            }
            DataType::Struct(_) => {
                let structure = array.as_struct();
                let fields = structure.columns().iter().map(|c| Self::of(c.as_ref()));
                Self::Struct(structure, fields.collect::<Result<_, _>>()?)
            }
            other => {
                return Err(SparkError::not_supported(format!(
                    "the type {other} as an argument of a Python function"
                )));
            }
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(array) => array.is_null(row),
            Self::Int(_, array) | Self::Float(_, array) => array.is_null(row),
            Self::Decimal(array) => array.is_null(row),
            Self::Str(array) => array.is_null(row),
            Self::LargeStr(array) => array.is_null(row),
            Self::Bytes(array) => array.is_null(row),
            Self::LargeBytes(array) => array.is_null(row),
            Self::List(array, _) => array.is_null(row),
            Self::Map(array, ..) => array.is_null(row),
            Self::Struct(array, _) => array.is_null(row),
        }
    }

    fn write(&self, row: usize, out: &mut PickleWriter) {
        if self.is_null(row) {
            return out.none();
        }
        match self {
            Self::Null => out.none(),
            Self::Bool(array) => out.bool(array.value(row)),
            Self::Int(value, _) => out.int(value(row)),
            Self::Float(value, _) => out.float(value(row)),
            Self::Decimal(array) => {
                out.global("decimal", "Decimal");
                out.str(&array.value_as_string(row));
                out.tuple1();
                out.call();
            }
            Self::Str(array) => out.str(array.value(row)),
            Self::LargeStr(array) => out.str(array.value(row)),
            Self::Bytes(array) => out.bytes(array.value(row)),
            Self::LargeBytes(array) => out.bytes(array.value(row)),
            Self::List(array, values) => {
                out.list();
                for index in range(array.value_offsets(), row) {
                    values.write(index, out);
                }
                out.end_list();
            }
            Self::Map(array, keys, values) => {
                out.dict();
                for index in range(array.value_offsets(), row) {
                    keys.write(index, out);
                    values.write(index, out);
                }
                out.end_dict();
            }
            Self::Struct(_, fields) => {
                out.mark();
                for field in fields {
                    field.write(row, out);
                }
                out.tuple();
            }
        }
    }
}

fn range(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    let at = |index: usize| usize::try_from(offsets[index]).expect("offsets are not negative");
    at(row)..at(row + 1)
}
