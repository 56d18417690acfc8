//! `spark_cast`: every cast whose rules differ from Arrow's.
//!
//! Called as `spark_cast(value, null of the target type, mode, time zone)`: parameters are
//! literals, so that a plan with casts can be serialised with functions by name only.

mod values;

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Decimal128Array, ListArray, MapArray,
    PrimitiveArray, StringArray, StringBuilder, StructArray, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, DurationMicrosecondType, Field,
    FieldRef, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};
use chrono::{DateTime, NaiveDate};
use datafusion::common::{Result, ScalarValue, exec_err, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::{cast_invalid_input, cast_overflow, decimal_out_of_range};
use crate::format::{ValueFormat, local_time, parse_zone};
use crate::parse;
use crate::type_names::{key_value, sql_name};
use values::{
    fits, integers_as_i128, literal_suffix, non_zero, plain, text_of, with_type, wrap_integers,
};

/// What a cast does with a value that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CastMode {
    /// Raises Spark's error.
    Ansi,
    /// Yields NULL, or wraps around (`spark.sql.ansi.enabled=false`).
    Legacy,
    /// Yields NULL, with the stricter syntax of ANSI mode (`try_cast`).
    Try,
}

impl CastMode {
    /// The literal that stands for the mode in a plan.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ansi => "ansi",
            Self::Legacy => "legacy",
            Self::Try => "try",
        }
    }

    fn parse(text: &str) -> Result<Self> {
        match text {
            "ansi" => Ok(Self::Ansi),
            "legacy" => Ok(Self::Legacy),
            "try" => Ok(Self::Try),
            other => internal_err!("unknown cast mode {other}"),
        }
    }
}

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct SparkCast {
    signature: Signature,
}

impl Default for SparkCast {
    fn default() -> Self {
        Self {
            signature: Signature::any(4, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for SparkCast {
    fn name(&self) -> &str {
        "spark_cast"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types[1].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let to = args.arg_fields[1].data_type().clone();
        let ansi = matches!(
            args.scalar_arguments[2],
            Some(ScalarValue::Utf8(Some(mode))) if mode == "ansi"
        );
        let nullable = args.arg_fields[0].is_nullable() || !ansi;
        Ok(Arc::new(Field::new(self.name(), to, nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (Some(mode), Some(zone)) = (literal(&args.args[2]), literal(&args.args[3])) else {
            return internal_err!("spark_cast needs literals for its mode and time zone");
        };
        let caster = Caster {
            mode: CastMode::parse(mode)?,
            zone: parse_zone(zone)?,
            zone_name: zone,
        };
        let to = args.return_field.data_type();
        match &args.args[0] {
            ColumnarValue::Array(array) => Ok(ColumnarValue::Array(caster.cast(array, to)?)),
            ColumnarValue::Scalar(scalar) => {
                let array = caster.cast(&scalar.to_array()?, to)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                    &array, 0,
                )?))
            }
        }
    }
}

fn literal(value: &ColumnarValue) -> Option<&str> {
    match value {
        ColumnarValue::Scalar(ScalarValue::Utf8(Some(text))) => Some(text),
        _ => None,
    }
}

/// Casts arrays in one mode and time zone.
#[derive(Debug)]
pub struct Caster<'a> {
    /// What to do with values that do not fit.
    pub mode: CastMode,
    /// The session's time zone.
    pub zone: Tz,
    /// Its name.
    pub zone_name: &'a str,
}

impl Caster<'_> {
    /// Casts `array` to `to`.
    ///
    /// # Errors
    /// In ANSI mode Spark's errors for values that do not fit.
    pub fn cast(&self, array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
        let from = array.data_type();
        if from == to {
            return Ok(Arc::clone(array));
        }
        match (from, to) {
            (DataType::Null, _) => Ok(new_null_array(to, array.len())),
            (DataType::Utf8View | DataType::LargeUtf8, _) => {
                self.cast(&arrow::compute::cast(array, &DataType::Utf8)?, to)
            }
            (DataType::Dictionary(_, value), _) => {
                self.cast(&arrow::compute::cast(array, value)?, to)
            }
            (_, DataType::Utf8) => self.to_text(array),
            (DataType::Utf8, _) => self.parse_text(array.as_string(), to),
            (DataType::List(_), DataType::List(field)) => self.list(array.as_list(), field),
            (DataType::Map(_, _), DataType::Map(entries, sorted)) => {
                self.map(array.as_map(), entries, *sorted)
            }
            (DataType::Struct(_), DataType::Struct(fields)) => {
                let source = array.as_struct();
                let columns = source
                    .columns()
                    .iter()
                    .zip(fields)
                    .map(|(column, field)| self.cast(column, field.data_type()))
                    .collect::<Result<Vec<_>>>()?;
                let nulls = source.nulls().cloned();
                Ok(Arc::new(StructArray::try_new(
                    fields.clone(),
                    columns,
                    nulls,
                )?))
            }
            (_, DataType::Boolean) => Ok(Arc::new(non_zero(array)?)),
            (_, DataType::Timestamp(TimeUnit::Microsecond, _)) | (DataType::Timestamp(_, _), _) => {
                self.timestamp(array, to)
            }
            (_, DataType::Decimal128(precision, scale)) => {
                self.to_decimal(array, *precision, *scale)
            }
            (_, to) if to.is_integer() => self.to_integer(array, to),
            _ => plain(array, to),
        }
    }

    fn keeps_nulls(&self) -> bool {
        self.mode != CastMode::Ansi
    }

    fn to_text(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let simple = array.data_type().is_integer() || *array.data_type() == DataType::Boolean;
        if simple {
            return plain(array, &DataType::Utf8);
        }
        let format = ValueFormat::cast(self.zone_name)?;
        let mut builder = StringBuilder::with_capacity(array.len(), array.len() * 8);
        let mut text = String::new();
        for row in 0..array.len() {
            if array.is_null(row) {
                builder.append_null();
                continue;
            }
            text.clear();
            format.write(array.as_ref(), row, &mut text)?;
            builder.append_value(&text);
        }
        Ok(Arc::new(builder.finish()))
    }

    fn parse_text(&self, array: &StringArray, to: &DataType) -> Result<ArrayRef> {
        let ansi_syntax = self.mode != CastMode::Legacy;
        macro_rules! integers {
            ($type:ty) => {
                self.parse_each::<$type>(array, to, |t| {
                    <$type as ArrowPrimitiveType>::Native::try_from(parse::integer(t, ansi_syntax)?)
                        .ok()
                })
            };
        }
        match to {
            DataType::Boolean => {
                let mut out = Vec::with_capacity(array.len());
                for text in array {
                    out.push(self.parsed(text, parse::boolean, to)?);
                }
                Ok(Arc::new(BooleanArray::from(out)))
            }
            DataType::Int8 => integers!(Int8Type),
            DataType::Int16 => integers!(Int16Type),
            DataType::Int32 => integers!(Int32Type),
            DataType::Int64 => integers!(Int64Type),
            DataType::Float32 => {
                self.parse_each::<Float32Type>(array, to, |t| parse::double(t).map(|v| v as f32))
            }
            DataType::Float64 => self.parse_each::<Float64Type>(array, to, parse::double),
            DataType::Date32 => self.parse_each::<Date32Type>(array, to, parse::date),
            DataType::Timestamp(_, Some(_)) => {
                let zone = &self.zone;
                let parsed = self.parse_each::<TimestampMicrosecondType>(array, to, |t| {
                    parse::timestamp(t, zone)
                })?;
                with_type(&parsed, to)
            }
            DataType::Timestamp(_, None) => {
                self.parse_each::<TimestampMicrosecondType>(array, to, parse::timestamp_ntz)
            }
            DataType::Decimal128(precision, scale) => {
                self.text_to_decimal(array, *precision, *scale)
            }
            DataType::Binary => {
                let mut builder = BinaryBuilder::new();
                array
                    .iter()
                    .for_each(|t| builder.append_option(t.map(str::as_bytes)));
                Ok(Arc::new(builder.finish()))
            }
            other => exec_err!("a string cannot be cast to {}", sql_name(other)),
        }
    }

    fn parsed<T>(
        &self,
        text: Option<&str>,
        parse: impl Fn(&str) -> Option<T>,
        to: &DataType,
    ) -> Result<Option<T>> {
        let Some(text) = text else { return Ok(None) };
        match parse(text) {
            Some(value) => Ok(Some(value)),
            None if self.keeps_nulls() => Ok(None),
            None => Err(cast_invalid_input(
                &format!("'{text}'"),
                "STRING",
                &sql_name(to),
            )),
        }
    }

    fn parse_each<T: ArrowPrimitiveType>(
        &self,
        array: &StringArray,
        to: &DataType,
        parse: impl Fn(&str) -> Option<T::Native>,
    ) -> Result<ArrayRef> {
        let mut out = Vec::with_capacity(array.len());
        for text in array {
            out.push(self.parsed(text, &parse, to)?);
        }
        Ok(Arc::new(PrimitiveArray::<T>::from_iter(out)))
    }

    fn text_to_decimal(&self, array: &StringArray, precision: u8, scale: i8) -> Result<ArrayRef> {
        let to = DataType::Decimal128(precision, scale);
        let mut out = Vec::with_capacity(array.len());
        for text in array {
            let Some((digits, from)) = self.parsed(text, parse::decimal, &to)? else {
                out.push(None);
                continue;
            };
            let value =
                parse::rescale(digits, from, i32::from(scale)).filter(|v| fits(*v, precision));
            if value.is_none() && !self.keeps_nulls() {
                return Err(decimal_out_of_range(
                    text.unwrap_or_default(),
                    precision,
                    scale,
                ));
            }
            out.push(value);
        }
        let array = Decimal128Array::from(out).with_precision_and_scale(precision, scale)?;
        Ok(Arc::new(array))
    }

    fn to_decimal(&self, array: &ArrayRef, precision: u8, scale: i8) -> Result<ArrayRef> {
        let mut out = Vec::with_capacity(array.len());
        let as_i128 = integers_as_i128(array);
        for row in 0..array.len() {
            if array.is_null(row) {
                out.push(None);
                continue;
            }
            let value = match (&as_i128, array.data_type()) {
                (Some(values), _) => parse::rescale(values[row], 0, i32::from(scale)),
                (None, DataType::Decimal128(_, from)) => parse::rescale(
                    array.as_primitive::<Decimal128Type>().value(row),
                    i32::from(*from),
                    i32::from(scale),
                ),
                (None, DataType::Float32 | DataType::Float64) => {
                    let text = text_of(array, row)?;
                    parse::decimal(&text)
                        .and_then(|(digits, from)| parse::rescale(digits, from, i32::from(scale)))
                }
                (None, other) => {
                    return exec_err!("{} cannot be cast to a decimal", sql_name(other));
                }
            };
            let value = value.filter(|v| fits(*v, precision));
            if value.is_none() && !self.keeps_nulls() {
                return Err(decimal_out_of_range(
                    &text_of(array, row)?,
                    precision,
                    scale,
                ));
            }
            out.push(value);
        }
        let array = Decimal128Array::from(out).with_precision_and_scale(precision, scale)?;
        Ok(Arc::new(array))
    }

    fn to_integer(&self, array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
        match array.data_type() {
            DataType::Boolean | DataType::Date32 => plain(array, to),
            DataType::Binary => exec_err!("a binary cannot be cast to {}", sql_name(to)),
            DataType::Duration(_) => {
                let seconds: PrimitiveArray<Int64Type> = array
                    .as_primitive::<DurationMicrosecondType>()
                    .unary(|v| v / 1_000_000);
                self.cast(&(Arc::new(seconds) as ArrayRef), to)
            }
            _ => {
                let safe = CastOptions {
                    safe: true,
                    ..Default::default()
                };
                let source = self.truncated(array)?;
                let cast = cast_with_options(&source, to, &safe)?;
                if cast.null_count() == array.null_count() {
                    return Ok(cast);
                }
                match self.mode {
                    CastMode::Try => Ok(cast),
                    CastMode::Legacy => wrap_integers(&source, to),
                    CastMode::Ansi => {
                        let row = (0..array.len())
                            .find(|r| array.is_valid(*r) && cast.is_null(*r))
                            .unwrap_or_default();
                        let suffix = literal_suffix(array.data_type());
                        let value = format!("{}{suffix}", text_of(array, row)?);
                        Err(cast_overflow(
                            &value,
                            &sql_name(array.data_type()),
                            &sql_name(to),
                        ))
                    }
                }
            }
        }
    }

    /// Cuts fractions off, towards zero.
    fn truncated(&self, array: &ArrayRef) -> Result<ArrayRef> {
        match array.data_type() {
            DataType::Decimal128(_, scale) if *scale > 0 => {
                let divisor = 10_i128.pow(u32::from(scale.unsigned_abs()));
                let whole: Decimal128Array = array
                    .as_primitive::<Decimal128Type>()
                    .unary(|v| v / divisor);
                Ok(Arc::new(whole.with_precision_and_scale(38, 0)?))
            }
            _ => Ok(Arc::clone(array)),
        }
    }

    fn timestamp(&self, array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
        let zone = &self.zone;
        match (array.data_type(), to) {
            (DataType::Timestamp(TimeUnit::Microsecond, from), DataType::Timestamp(_, target)) => {
                let source = array.as_primitive::<TimestampMicrosecondType>();
                let moved: PrimitiveArray<TimestampMicrosecondType> =
                    match (from.is_some(), target.is_some()) {
                        (true, false) => source.unary_opt(|v| {
                            local_time(v, Some(zone)).map(|t| t.and_utc().timestamp_micros())
                        }),
                        (false, true) => source.unary_opt(|v| {
                            local_time(v, None).and_then(|t| parse::in_zone(t, zone))
                        }),
                        _ => source.clone(),
                    };
                with_type(&(Arc::new(moved) as ArrayRef), to)
            }
            (DataType::Timestamp(_, _), DataType::Timestamp(_, _)) => plain(array, to),
            (DataType::Date32, DataType::Timestamp(_, target)) => {
                let zoned = target.is_some();
                let source = array.as_primitive::<Date32Type>();
                let moved: PrimitiveArray<TimestampMicrosecondType> = source.unary_opt(|days| {
                    let local = NaiveDate::from_epoch_days(days)?.and_hms_opt(0, 0, 0)?;
                    if zoned {
                        parse::in_zone(local, zone)
                    } else {
                        Some(local.and_utc().timestamp_micros())
                    }
                });
                with_type(&(Arc::new(moved) as ArrayRef), to)
            }
            (DataType::Timestamp(_, from), DataType::Date32) => {
                let zone = from.as_ref().map(|_| zone);
                let source = array.as_primitive::<TimestampMicrosecondType>();
                let dates: PrimitiveArray<Date32Type> =
                    source.unary_opt(|v| Some(local_time(v, zone)?.date().to_epoch_days()));
                Ok(Arc::new(dates))
            }
            (DataType::Timestamp(_, _), DataType::Float32 | DataType::Float64) => {
                let source = array.as_primitive::<TimestampMicrosecondType>();
                let seconds: PrimitiveArray<Float64Type> = source.unary(|v| v as f64 / 1e6);
                plain(&(Arc::new(seconds) as ArrayRef), to)
            }
            (DataType::Timestamp(_, _), DataType::Decimal128(precision, scale)) => {
                let source = array.as_primitive::<TimestampMicrosecondType>();
                let micros: Decimal128Array = source.unary(i128::from);
                let micros = Arc::new(micros.with_precision_and_scale(38, 6)?) as ArrayRef;
                self.to_decimal(&micros, *precision, *scale)
            }
            (DataType::Timestamp(_, _), _) => {
                let source = array.as_primitive::<TimestampMicrosecondType>();
                let seconds: PrimitiveArray<Int64Type> = source.unary(|v| v.div_euclid(1_000_000));
                self.to_integer(&(Arc::new(seconds) as ArrayRef), to)
            }
            (DataType::Float32 | DataType::Float64, _) => {
                let seconds = plain(array, &DataType::Float64)?;
                let micros: PrimitiveArray<TimestampMicrosecondType> = seconds
                    .as_primitive::<Float64Type>()
                    .unary_opt(|v| v.is_finite().then_some((v * 1e6) as i64));
                with_type(&(Arc::new(micros) as ArrayRef), to)
            }
            (DataType::Decimal128(_, scale), _) => {
                let source = array.as_primitive::<Decimal128Type>();
                let micros: PrimitiveArray<TimestampMicrosecondType> = source
                    .unary_opt(|v| i64::try_from(parse::rescale(v, i32::from(*scale), 6)?).ok());
                with_type(&(Arc::new(micros) as ArrayRef), to)
            }
            (from, _) if from.is_integer() || *from == DataType::Boolean => {
                let seconds = plain(array, &DataType::Int64)?;
                let micros: PrimitiveArray<TimestampMicrosecondType> = seconds
                    .as_primitive::<Int64Type>()
                    .unary(|v| v.saturating_mul(1_000_000));
                with_type(&(Arc::new(micros) as ArrayRef), to)
            }
            (from, to) => exec_err!("{} cannot be cast to {}", sql_name(from), sql_name(to)),
        }
    }

    fn list(&self, source: &ListArray, field: &FieldRef) -> Result<ArrayRef> {
        let values = self.cast(source.values(), field.data_type())?;
        let list = ListArray::try_new(
            Arc::clone(field),
            source.offsets().clone(),
            values,
            source.nulls().cloned(),
        )?;
        Ok(Arc::new(list))
    }

    fn map(&self, source: &MapArray, entries: &FieldRef, sorted: bool) -> Result<ArrayRef> {
        let (key, value) = key_value(entries);
        let columns = vec![
            self.cast(source.keys(), key.data_type())?,
            self.cast(source.values(), value.data_type())?,
        ];
        let DataType::Struct(fields) = entries.data_type() else {
            return internal_err!("map entries must be a struct");
        };
        let structure = StructArray::try_new(fields.clone(), columns, None)?;
        let map = MapArray::try_new(
            Arc::clone(entries),
            source.offsets().clone(),
            structure,
            source.nulls().cloned(),
            sorted,
        )?;
        Ok(Arc::new(map))
    }
}

/// The wall clock's date of an instant, for functions that need today.
pub fn date_in_zone(now: DateTime<chrono::Utc>, zone: &Tz) -> i32 {
    now.with_timezone(zone).date_naive().to_epoch_days()
}
