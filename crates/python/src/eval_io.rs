//! The exchange of scalar functions: arguments out, results in, input rows alongside.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::{BufMut, Bytes, BytesMut};
use datafusion::common::Result;
use datafusion::physical_plan::PhysicalExpr;
use parking_lot::Mutex;
use pyrite_proto::error::SparkError;

use crate::arrow_io::{ArrowSettings, IpcWriter, convert, worker_type};
use crate::errors::{external, internal};
use crate::pickle::{ColumnBuilder, Object, RowPickler, Unpickler, Value};
use crate::protocol::{WireWriter, special};
use crate::transfer::{InputEncoder, OutputSink};
use crate::udf::PythonUdfCall;

/// Rows of one pickled list. Spark sends 100; more of them share the cost of the schema.
const PICKLED_ROWS: usize = 512;

/// Input batches whose results have not arrived. The worker answers in order, and what it
/// holds is bounded by the socket's buffers.
pub(crate) type Pending = Arc<Mutex<VecDeque<RecordBatch>>>;

/// The distinct arguments of several calls.
#[derive(Debug)]
pub(crate) struct Arguments {
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    types: Vec<DataType>,
}

impl Arguments {
    /// Collects the arguments of `calls` and writes the functions section of the header.
    pub(crate) fn collect(
        calls: &[PythonUdfCall],
        input: &Schema,
        settings: &ArrowSettings,
    ) -> Result<(Self, Bytes)> {
        let mut exprs: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
        let mut body = BytesMut::new();
        body.put_count(calls.len());
        for call in calls {
            body.put_count(call.args.len());
            for arg in &call.args {
                let known = exprs.iter().position(|expr| expr.eq(&arg.expr));
                let offset = known.unwrap_or_else(|| {
                    exprs.push(Arc::clone(&arg.expr));
                    exprs.len() - 1
                });
                body.put_count(offset);
                body.put_bool(arg.name.is_some());
                if let Some(name) = &arg.name {
                    body.put_framed(name.as_bytes());
                }
            }
            put_function(&call.udf.function.command, &mut body);
        }
        let types = exprs
            .iter()
            .map(|expr| Ok(worker_type(&expr.data_type(input)?, settings)))
            .collect::<Result<Vec<_>>>()?;
        Ok((Self { exprs, types }, body.freeze()))
    }

    /// Types of the arguments.
    pub(crate) fn types(&self) -> &[DataType] {
        &self.types
    }

    fn schema(&self) -> SchemaRef {
        let fields: Vec<_> = self
            .types
            .iter()
            .enumerate()
            .map(|(index, data_type)| Field::new(format!("_{index}"), data_type.clone(), true))
            .collect();
        Arc::new(Schema::new(fields))
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        self.exprs
            .iter()
            .zip(&self.types)
            .map(|(expr, data_type)| {
                let array = expr.evaluate(batch)?.into_array(batch.num_rows())?;
                convert(&array, data_type)
            })
            .collect()
    }
}

/// One function without others chained to it, and no profile.
pub(crate) fn put_function(command: &[u8], body: &mut BytesMut) {
    const NO_RESULT_ID: i64 = 0;
    body.put_count(1);
    body.put_framed(command);
    body.put_i64(NO_RESULT_ID);
}

/// Sends arguments as one Arrow stream.
pub(crate) struct ArrowArguments {
    arguments: Arguments,
    schema: SchemaRef,
    writer: IpcWriter,
    pending: Pending,
}

/// Sends arguments as pickled lists of rows.
pub(crate) struct PickledArguments {
    arguments: Arguments,
    pickler: RowPickler,
    pending: Pending,
}

impl ArrowArguments {
    pub(crate) fn new(
        arguments: Arguments,
        settings: &ArrowSettings,
        pending: Pending,
    ) -> Result<Self> {
        let schema = arguments.schema();
        Ok(Self {
            writer: IpcWriter::new(&schema, settings.max_rows)?,
            arguments,
            schema,
            pending,
        })
    }
}

impl InputEncoder for ArrowArguments {
    fn encode(&mut self, batch: &RecordBatch, out: &mut BytesMut) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.pending.lock().push_back(batch.clone());
        let columns = self.arguments.evaluate(batch)?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let schema = Arc::clone(&self.schema);
        let arguments = RecordBatch::try_new_with_options(schema, columns, &options)?;
        self.writer.write(&arguments, out)
    }

    fn finish(&mut self, out: &mut BytesMut) -> Result<()> {
        self.writer.finish(out)
    }
}

impl PickledArguments {
    pub(crate) fn new(arguments: Arguments, pending: Pending) -> Result<Self> {
        Ok(Self {
            pickler: RowPickler::new(arguments.types()).map_err(external)?,
            arguments,
            pending,
        })
    }
}

impl InputEncoder for PickledArguments {
    fn encode(&mut self, batch: &RecordBatch, out: &mut BytesMut) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.pending.lock().push_back(batch.clone());
        let columns = self.arguments.evaluate(batch)?;
        let mut start = 0;
        while start < batch.num_rows() {
            let end = batch.num_rows().min(start + PICKLED_ROWS);
            let pickle = self
                .pickler
                .pickle(&columns, start..end)
                .map_err(external)?;
            out.put_framed(&pickle);
            start = end;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut BytesMut) -> Result<()> {
        out.put_i32(special::END_OF_DATA_SECTION);
        Ok(())
    }
}

/// Puts results next to the rows that they belong to.
#[derive(Debug)]
struct Joiner {
    pending: Pending,
    schema: SchemaRef,
    /// Result columns that are ahead of their input rows' end; same number of rows in each.
    ready: VecDeque<(Vec<ArrayRef>, usize)>,
    ready_rows: usize,
}

impl Joiner {
    fn push(&mut self, columns: Vec<ArrayRef>, rows: usize) -> Result<Vec<RecordBatch>> {
        self.ready_rows += rows;
        if rows > 0 {
            self.ready.push_back((columns, rows));
        }
        let mut output = Vec::new();
        loop {
            let input = {
                let mut pending = self.pending.lock();
                let fits = pending
                    .front()
                    .is_some_and(|b| b.num_rows() <= self.ready_rows);
                fits.then(|| pending.pop_front()).flatten()
            };
            let Some(input) = input else { break };
            let results = self.take(input.num_rows())?;
            let columns = input.columns().iter().cloned().chain(results).collect();
            output.push(RecordBatch::try_new(Arc::clone(&self.schema), columns)?);
        }
        Ok(output)
    }

    /// Takes `rows` results off the front.
    fn take(&mut self, rows: usize) -> Result<Vec<ArrayRef>> {
        self.ready_rows -= rows;
        let mut pieces: Vec<Vec<ArrayRef>> = Vec::new();
        let mut missing = rows;
        while missing > 0 {
            let Some((columns, length)) = self.ready.pop_front() else {
                return Err(external(internal("results were counted wrong")));
            };
            let used = missing.min(length);
            pieces.push(columns.iter().map(|c| c.slice(0, used)).collect());
            if used < length {
                let rest = columns
                    .iter()
                    .map(|c| c.slice(used, length - used))
                    .collect();
                self.ready.push_front((rest, length - used));
            }
            missing -= used;
        }
        if pieces.len() == 1 {
            return Ok(pieces.remove(0));
        }
        let width = pieces.first().map_or(0, Vec::len);
        (0..width)
            .map(|index| {
                let parts: Vec<_> = pieces.iter().map(|piece| piece[index].as_ref()).collect();
                Ok(concat(&parts)?)
            })
            .collect()
    }

    fn finish(&self) -> Result<Vec<RecordBatch>> {
        let missing: usize = self.pending.lock().iter().map(RecordBatch::num_rows).sum();
        if missing > 0 || self.ready_rows > 0 {
            return Err(external(SparkError::other(format!(
                "a Python function returned {} values for {missing} more rows",
                self.ready_rows
            ))));
        }
        Ok(Vec::new())
    }
}

/// Reads results of scalar functions.
pub(crate) struct ResultSink {
    joiner: Joiner,
    /// Types of the result columns.
    types: Vec<DataType>,
    unpickler: Unpickler,
}

impl ResultSink {
    /// `schema` is that of the output: input columns, then one column for each call.
    pub(crate) fn new(schema: SchemaRef, types: Vec<DataType>, pending: Pending) -> Self {
        Self {
            joiner: Joiner {
                pending,
                schema,
                ready: VecDeque::new(),
                ready_rows: 0,
            },
            types,
            unpickler: Unpickler::default(),
        }
    }

    /// Reads one pickled list of results: values, or tuples when there are several calls.
    fn unpickle(&mut self, frame: &[u8]) -> Result<(Vec<ArrayRef>, usize), SparkError> {
        let unexpected = || internal("a Python worker sent something else than a list of results");
        let mut builders = self
            .types
            .iter()
            .map(ColumnBuilder::new)
            .collect::<Result<Vec<_>, _>>()?;
        let Value::Object(list) = self.unpickler.load(frame)? else {
            return Err(unexpected());
        };
        let Object::List(rows) = self.unpickler.object(list) else {
            return Err(unexpected());
        };
        for row in rows {
            if let [builder] = builders.as_mut_slice() {
                builder.append(*row, &self.unpickler, frame)?;
                continue;
            }
            let values = match row {
                Value::Object(index) => match self.unpickler.object(*index) {
                    Object::Tuple(values) if values.len() == builders.len() => values,
                    _ => return Err(unexpected()),
                },
                _ => return Err(unexpected()),
            };
            for (builder, value) in builders.iter_mut().zip(values) {
                builder.append(*value, &self.unpickler, frame)?;
            }
        }
        let count = rows.len();
        let columns = builders.into_iter().map(ColumnBuilder::finish);
        Ok((columns.collect::<Result<_, _>>()?, count))
    }
}

impl OutputSink for ResultSink {
    fn frame(&mut self, frame: Bytes) -> Result<Vec<RecordBatch>> {
        let (columns, rows) = self.unpickle(&frame).map_err(external)?;
        self.joiner.push(columns, rows)
    }

    fn arrow(&mut self, batch: RecordBatch) -> Result<Vec<RecordBatch>> {
        if batch.num_columns() != self.types.len() {
            return Err(external(internal(
                "a Python worker sent another number of results",
            )));
        }
        let columns = batch
            .columns()
            .iter()
            .zip(&self.types)
            .map(|(column, data_type)| convert(column, data_type))
            .collect::<Result<Vec<_>>>()?;
        self.joiner.push(columns, batch.num_rows())
    }

    fn flush(&mut self) -> Result<Vec<RecordBatch>> {
        Ok(Vec::new())
    }

    fn finish(&mut self) -> Result<Vec<RecordBatch>> {
        self.joiner.finish()
    }
}
