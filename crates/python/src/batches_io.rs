//! The exchange of functions over whole batches and over groups of rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{concat, concat_batches, partition};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use bytes::{BufMut, Bytes, BytesMut};
use datafusion::common::Result;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::PhysicalExpr;

use crate::arrow_io::{
    ArrowSettings, IpcWriter, convert, struct_schema, unwrap_struct, worker_fields, worker_type,
    wrap_struct,
};
use crate::errors::{external, internal};
use crate::eval_io::{Pending, put_function};
use crate::protocol::WireWriter;
use crate::transfer::{InputEncoder, OutputSink};
use crate::udf::{EvalType, PythonUdfCall};

/// Rows after which the one-row results of aggregates are given out.
const AGGREGATED_ROWS: usize = 1024;

/// Sends batches as one Arrow stream with a single struct column.
pub(crate) struct StructEncoder {
    fields: Fields,
    writer: IpcWriter,
}

impl StructEncoder {
    pub(crate) fn new(input: &Schema, settings: &ArrowSettings) -> Result<Self> {
        let fields = worker_fields(input.fields(), settings);
        let writer = IpcWriter::new(&struct_schema(&fields), settings.max_rows)?;
        Ok(Self { fields, writer })
    }
}

impl InputEncoder for StructEncoder {
    fn encode(&mut self, batch: &RecordBatch, out: &mut BytesMut) -> Result<()> {
        self.writer.write(&wrap_struct(batch, &self.fields)?, out)
    }

    fn finish(&mut self, out: &mut BytesMut) -> Result<()> {
        self.writer.finish(out)
    }
}

/// The functions section for one function of the struct column.
pub(crate) fn struct_function(command: &[u8]) -> Bytes {
    let mut body = BytesMut::new();
    body.put_count(1);
    put_offsets(&[0], &mut body);
    put_function(command, &mut body);
    body.freeze()
}

fn put_offsets(offsets: &[usize], body: &mut BytesMut) {
    body.put_count(offsets.len());
    for offset in offsets {
        body.put_count(*offset);
        body.put_bool(false);
    }
}

/// Takes batches with a single struct column apart.
pub(crate) struct StructSink {
    schema: SchemaRef,
}

impl StructSink {
    pub(crate) fn new(schema: SchemaRef) -> Self {
        Self { schema }
    }
}

impl OutputSink for StructSink {
    fn frame(&mut self, _: Bytes) -> Result<Vec<RecordBatch>> {
        Err(external(internal(
            "a frame where Arrow batches were expected",
        )))
    }

    fn arrow(&mut self, batch: RecordBatch) -> Result<Vec<RecordBatch>> {
        let batch = unwrap_struct(&batch, &self.schema)?;
        Ok(if batch.num_rows() == 0 {
            Vec::new()
        } else {
            vec![batch]
        })
    }

    fn flush(&mut self) -> Result<Vec<RecordBatch>> {
        Ok(Vec::new())
    }
}

/// Reads one row of results for each group and puts the keys in front.
pub(crate) struct AggregateSink {
    schema: SchemaRef,
    keys: Pending,
    ready: Vec<RecordBatch>,
}

impl AggregateSink {
    pub(crate) fn new(schema: SchemaRef, keys: Pending) -> Self {
        Self {
            schema,
            keys,
            ready: Vec::new(),
        }
    }
}

impl OutputSink for AggregateSink {
    fn frame(&mut self, _: Bytes) -> Result<Vec<RecordBatch>> {
        Err(external(internal(
            "a frame where Arrow batches were expected",
        )))
    }

    fn arrow(&mut self, batch: RecordBatch) -> Result<Vec<RecordBatch>> {
        let unexpected = || external(internal("a Python worker sent results of no group"));
        let keys = self.keys.lock().pop_front().ok_or_else(unexpected)?;
        if batch.num_rows() != 1 {
            return Err(unexpected());
        }
        let columns = keys.columns().iter().chain(batch.columns());
        let columns = columns
            .zip(self.schema.fields())
            .map(|(column, field)| convert(column, field.data_type()))
            .collect::<Result<Vec<_>>>()?;
        self.ready
            .push(RecordBatch::try_new(Arc::clone(&self.schema), columns)?);
        if self.ready.len() < AGGREGATED_ROWS {
            return Ok(Vec::new());
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<Vec<RecordBatch>> {
        if self.ready.is_empty() {
            return Ok(Vec::new());
        }
        let batch = concat_batches(&self.schema, &self.ready)?;
        self.ready.clear();
        Ok(vec![batch])
    }

    fn finish(&mut self) -> Result<Vec<RecordBatch>> {
        if !self.keys.lock().is_empty() {
            return Err(external(internal("a Python worker skipped a group")));
        }
        self.flush()
    }
}

/// Sends each group of rows as an Arrow stream of its own: `1`, stream, ..., `0`.
pub(crate) struct GroupEncoder {
    keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Columns of the streams.
    columns: Vec<Arc<dyn PhysicalExpr>>,
    fields: Fields,
    /// Set when the columns travel inside one struct.
    wrapped: bool,
    max_rows: usize,
    /// Where keys go for an aggregate.
    sent_keys: Option<(Pending, SchemaRef)>,
    /// The group that is being sent: its keys (one row each) and its stream.
    open: Option<(Vec<ArrayRef>, IpcWriter)>,
}

impl GroupEncoder {
    /// Prepares the streams and writes the functions section of the header.
    pub(crate) fn new(
        keys: &[Arc<dyn PhysicalExpr>],
        calls: &[PythonUdfCall],
        input: &Schema,
        settings: &ArrowSettings,
    ) -> Result<(Self, Bytes)> {
        let mut columns: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
        let mut offset_of = |expr: &Arc<dyn PhysicalExpr>| {
            let known = columns.iter().position(|column| column.eq(expr));
            known.unwrap_or_else(|| {
                columns.push(Arc::clone(expr));
                columns.len() - 1
            })
        };
        let eval_type = calls.first().map(|call| call.udf.eval_type);
        let aggregate = eval_type.is_some_and(EvalType::is_grouped_aggregate);
        let mut body = BytesMut::new();
        body.put_count(calls.len());
        for call in calls {
            let args: Vec<_> = call.args.iter().map(|arg| offset_of(&arg.expr)).collect();
            if aggregate {
                put_named_offsets(&args, call, &mut body);
            } else {
                // [length of the rest, number of keys, keys, values]
                let keys: Vec<_> = keys.iter().map(&mut offset_of).collect();
                let mut offsets = vec![1 + keys.len() + args.len(), keys.len()];
                offsets.extend(keys);
                offsets.extend(args);
                put_offsets(&offsets, &mut body);
            }
            put_function(&call.udf.function.command, &mut body);
        }
        let fields = columns
            .iter()
            .enumerate()
            .map(|(index, expr)| stream_field(index, expr, input, settings))
            .collect::<Result<Vec<FieldRef>>>()?;
        let wrapped = matches!(
            eval_type,
            Some(EvalType::GroupedMapArrow | EvalType::GroupedMapArrowIter)
        );
        let encoder = Self {
            keys: keys.to_vec(),
            columns,
            fields: fields.into(),
            wrapped,
            max_rows: settings.max_rows,
            sent_keys: None,
            open: None,
        };
        Ok((encoder, body.freeze()))
    }

    /// Also hands the keys of each group to an [`AggregateSink`].
    pub(crate) fn with_keys_for(mut self, pending: Pending, input: &Schema) -> Result<Self> {
        let fields = self
            .keys
            .iter()
            .enumerate()
            .map(|(index, key)| Ok(Field::new(format!("_{index}"), key.data_type(input)?, true)))
            .collect::<Result<Vec<_>>>()?;
        self.sent_keys = Some((pending, Arc::new(Schema::new(fields))));
        Ok(self)
    }

    fn begin(&mut self, keys: Vec<ArrayRef>, out: &mut BytesMut) -> Result<()> {
        if let Some((pending, schema)) = &self.sent_keys {
            let options = RecordBatchOptions::new().with_row_count(Some(1));
            let schema = Arc::clone(schema);
            let row = RecordBatch::try_new_with_options(schema, keys.clone(), &options)?;
            pending.lock().push_back(row);
        }
        out.put_i32(1);
        let schema = if self.wrapped {
            struct_schema(&self.fields)
        } else {
            Arc::new(Schema::new(self.fields.clone()))
        };
        self.open = Some((keys, IpcWriter::new(&schema, self.max_rows)?));
        Ok(())
    }

    fn end(&mut self, out: &mut BytesMut) -> Result<()> {
        match self.open.take() {
            Some((_, mut writer)) => writer.finish(out),
            None => Ok(()),
        }
    }

    fn write(&mut self, rows: &RecordBatch, out: &mut BytesMut) -> Result<()> {
        match &mut self.open {
            Some((_, writer)) if self.wrapped => {
                writer.write(&wrap_struct(rows, &self.fields)?, out)
            }
            Some((_, writer)) => writer.write(rows, out),
            None => Err(external(internal("rows of no group"))),
        }
    }

    /// Claims that the open group has these keys.
    fn continues(&self, keys: &[ArrayRef]) -> Result<bool> {
        let Some((open, _)) = &self.open else {
            return Ok(false);
        };
        let joined = open
            .iter()
            .zip(keys)
            .map(|(a, b)| Ok(concat(&[a.as_ref(), b.as_ref()])?))
            .collect::<Result<Vec<_>>>()?;
        Ok(joined.is_empty() || partition(&joined)?.len() == 1)
    }
}

/// Offsets of an aggregate's arguments, with the names of those passed by keyword.
fn put_named_offsets(offsets: &[usize], call: &PythonUdfCall, body: &mut BytesMut) {
    body.put_count(offsets.len());
    for (offset, arg) in offsets.iter().zip(&call.args) {
        body.put_count(*offset);
        body.put_bool(arg.name.is_some());
        if let Some(name) = &arg.name {
            body.put_framed(name.as_bytes());
        }
    }
}

/// A column keeps its name: data frames show it to the function.
fn stream_field(
    index: usize,
    expr: &Arc<dyn PhysicalExpr>,
    input: &Schema,
    settings: &ArrowSettings,
) -> Result<FieldRef> {
    let name = match expr.downcast_ref::<Column>() {
        Some(column) => column.name().to_owned(),
        None => format!("_{index}"),
    };
    let data_type: DataType = worker_type(&expr.data_type(input)?, settings);
    Ok(Arc::new(Field::new(name, data_type, true)))
}

impl InputEncoder for GroupEncoder {
    fn encode(&mut self, batch: &RecordBatch, out: &mut BytesMut) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let keys = evaluate(&self.keys, batch)?;
        let columns = evaluate(&self.columns, batch)?
            .iter()
            .zip(&self.fields)
            .map(|(column, field)| convert(column, field.data_type()))
            .collect::<Result<Vec<_>>>()?;
        let schema = Arc::new(Schema::new(self.fields.clone()));
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let rows = RecordBatch::try_new_with_options(schema, columns, &options)?;
        let ranges = if keys.is_empty() {
            std::iter::once(0..batch.num_rows()).collect()
        } else {
            partition(&keys)?.ranges()
        };
        for range in ranges {
            let first: Vec<_> = keys.iter().map(|key| key.slice(range.start, 1)).collect();
            if self.open.is_none() || !self.continues(&first)? {
                self.end(out)?;
                self.begin(first, out)?;
            }
            self.write(&rows.slice(range.start, range.len()), out)?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut BytesMut) -> Result<()> {
        if self.keys.is_empty() && self.open.is_none() {
            // Without keys all rows are one group, even when there are none.
            self.begin(Vec::new(), out)?;
        }
        self.end(out)?;
        out.put_i32(0);
        Ok(())
    }
}

fn evaluate(exprs: &[Arc<dyn PhysicalExpr>], batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    exprs
        .iter()
        .map(|expr| expr.evaluate(batch)?.into_array(batch.num_rows()))
        .collect()
}
