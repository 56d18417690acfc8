//! Arrow IPC streams to and from Python workers.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use arrow::ipc::writer::StreamWriter;
use bytes::{Bytes, BytesMut};
use datafusion::common::Result;
use pyrite_proto::error::SparkError;

use crate::errors::{external, internal};

/// Length of the body that follows a message's metadata.
pub(crate) fn body_length(metadata: &[u8]) -> Result<usize, SparkError> {
    let malformed = || internal("a Python worker sent a malformed Arrow stream");
    let message = arrow::ipc::root_as_message(metadata).map_err(|_| malformed())?;
    usize::try_from(message.bodyLength()).map_err(|_| malformed())
}

/// Settings of a session that workers or the exchange with them use.
#[derive(Debug, Clone)]
pub(crate) struct ArrowSettings {
    /// Zone that timestamps are labelled with.
    pub(crate) time_zone: String,
    /// Rows of one batch (`spark.sql.execution.arrow.maxRecordsPerBatch`).
    pub(crate) max_rows: usize,
    /// Strings and binaries with 64-bit offsets (`spark.sql.execution.arrow.useLargeVarTypes`).
    pub(crate) large_types: bool,
}

impl ArrowSettings {
    pub(crate) fn of(conf: &BTreeMap<String, String>) -> Self {
        let get = |key: &str| conf.get(key).map(String::as_str);
        let max_rows = get("spark.sql.execution.arrow.maxRecordsPerBatch")
            .and_then(|value| value.trim().parse::<i64>().ok())
            .unwrap_or(10_000);
        Self {
            time_zone: get(TIME_ZONE).unwrap_or("UTC").to_owned(),
            // Zero and less mean no limit.
            max_rows: usize::try_from(max_rows)
                .ok()
                .filter(|rows| *rows > 0)
                .unwrap_or(usize::MAX),
            large_types: get("spark.sql.execution.arrow.useLargeVarTypes") == Some("true"),
        }
    }
}

const TIME_ZONE: &str = "spark.sql.session.timeZone";

/// Settings that `pyspark.worker` reads (its `RunnerConf`).
const RUNNER_CONF: &[&str] = &[
    "spark.sql.legacy.execution.pandas.groupedMap.assignColumnsByName",
    "spark.sql.execution.arrow.useLargeVarTypes",
    "spark.sql.legacy.execution.pythonUDF.pandas.conversion.enabled",
    "spark.sql.legacy.execution.pythonUDTF.pandas.conversion.enabled",
    "spark.sql.execution.pyspark.binaryAsBytes",
    "spark.sql.execution.pandas.convertToArrowArraySafely",
    "spark.sql.execution.pythonUDF.pandas.intToDecimalCoercionEnabled",
    "spark.sql.execution.pythonUDF.pandas.preferIntExtensionDtype",
    "spark.sql.execution.arrow.maxRecordsPerBatch",
    "spark.sql.execution.arrow.maxBytesPerBatch",
    "spark.sql.execution.pythonUDF.arrow.concurrency.level",
    "spark.sql.pyspark.udf.profiler",
    "spark.sql.pyspark.dataSource.profiler",
];

/// Picks what workers are told from a session's settings.
pub(crate) fn runner_conf(conf: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut picked: BTreeMap<String, String> = RUNNER_CONF
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), conf.get(*key)?.clone())))
        .collect();
    picked.insert(TIME_ZONE.to_owned(), ArrowSettings::of(conf).time_zone);
    picked
}

/// The type that a worker is sent for values of `data_type`: Spark's own Arrow types.
///
/// Timestamps carry the session's time zone; views, dictionaries and other encodings that
/// `pyspark.sql.pandas.types` does not know become plain.
pub(crate) fn worker_type(data_type: &DataType, settings: &ArrowSettings) -> DataType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View if settings.large_types => {
            DataType::LargeUtf8
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_)
            if settings.large_types =>
        {
            DataType::LargeBinary
        }
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal256(p, s) => {
            DataType::Decimal128(*p, *s)
        }
        DataType::Date64 => DataType::Date32,
        DataType::Timestamp(_, Some(_)) => DataType::Timestamp(
            TimeUnit::Microsecond,
            Some(settings.time_zone.as_str().into()),
        ),
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Duration(_) => DataType::Duration(TimeUnit::Microsecond),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Nanosecond),
        DataType::Dictionary(_, value) => worker_type(value, settings),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => {
            DataType::List(Arc::new(worker_field(item, settings).with_name("element")))
        }
        DataType::Struct(fields) => DataType::Struct(worker_fields(fields, settings)),
        DataType::Map(entries, sorted) => {
            DataType::Map(Arc::new(worker_field(entries, settings)), *sorted)
        }
        other => other.clone(),
    }
}

fn worker_field(field: &Field, settings: &ArrowSettings) -> Field {
    let data_type = worker_type(field.data_type(), settings);
    field.clone().with_data_type(data_type)
}

/// [`worker_type`] of each field.
pub(crate) fn worker_fields(fields: &Fields, settings: &ArrowSettings) -> Fields {
    fields
        .iter()
        .map(|field| Arc::new(worker_field(field, settings)))
        .collect::<Vec<FieldRef>>()
        .into()
}

/// Converts a column unless it has the type already. Values that do not fit are an error.
pub(crate) fn convert(array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    if array.data_type() == data_type {
        return Ok(Arc::clone(array));
    }
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    Ok(cast_with_options(array, data_type, &options)?)
}

/// Writes one Arrow IPC stream piece by piece.
pub(crate) struct IpcWriter {
    writer: StreamWriter<Vec<u8>>,
    max_rows: usize,
}

impl IpcWriter {
    /// Begins a stream.
    pub(crate) fn new(schema: &SchemaRef, max_rows: usize) -> Result<Self> {
        Ok(Self {
            writer: StreamWriter::try_new(Vec::new(), schema)?,
            max_rows,
        })
    }

    /// Appends a batch, cut into batches of at most the wanted number of rows.
    pub(crate) fn write(&mut self, batch: &RecordBatch, out: &mut BytesMut) -> Result<()> {
        let mut start = 0;
        while start < batch.num_rows() {
            let rows = self.max_rows.min(batch.num_rows() - start);
            self.writer.write(&batch.slice(start, rows))?;
            start += rows;
        }
        self.drain(out);
        Ok(())
    }

    /// Ends the stream.
    pub(crate) fn finish(&mut self, out: &mut BytesMut) -> Result<()> {
        self.writer.finish()?;
        self.drain(out);
        Ok(())
    }

    fn drain(&mut self, out: &mut BytesMut) {
        let written = std::mem::take(self.writer.get_mut());
        if out.is_empty() {
            // Takes the buffer over instead of copying it.
            *out = BytesMut::from(Bytes::from(written));
        } else {
            out.extend_from_slice(&written);
        }
    }
}

/// Wraps the columns of a batch into the one struct column that some evaluation types use.
pub(crate) fn wrap_struct(batch: &RecordBatch, fields: &Fields) -> Result<RecordBatch> {
    let columns = batch
        .columns()
        .iter()
        .zip(fields)
        .map(|(column, field)| convert(column, field.data_type()))
        .collect::<Result<Vec<_>>>()?;
    let structure = arrow::array::StructArray::try_new_with_length(
        fields.clone(),
        columns,
        None,
        batch.num_rows(),
    )?;
    let schema = struct_schema(fields);
    Ok(RecordBatch::try_new(schema, vec![Arc::new(structure)])?)
}

/// The schema of [`wrap_struct`].
pub(crate) fn struct_schema(fields: &Fields) -> SchemaRef {
    let field = Field::new("_0", DataType::Struct(fields.clone()), false);
    Arc::new(Schema::new(vec![field]))
}

/// Undoes [`wrap_struct`] and gives the columns the types of `schema`, by position.
pub(crate) fn unwrap_struct(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    use arrow::array::AsArray;
    let structure = batch
        .columns()
        .first()
        .and_then(|column| column.as_struct_opt())
        .ok_or_else(|| external(internal("a Python worker sent a batch without its struct")))?;
    // A data frame without columns stands for no rows of the wanted ones.
    if structure.num_columns() == 0 && batch.num_rows() == 0 {
        return Ok(RecordBatch::new_empty(Arc::clone(schema)));
    }
    if structure.num_columns() != schema.fields().len() {
        return Err(external(SparkError::other(format!(
            "a Python function returned {} columns where {} were declared",
            structure.num_columns(),
            schema.fields().len()
        ))));
    }
    let columns = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| {
            let by_name = structure.column_by_name(field.name());
            convert(
                by_name.unwrap_or_else(|| structure.column(index)),
                field.data_type(),
            )
        })
        .collect::<Result<Vec<_>>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?)
}
