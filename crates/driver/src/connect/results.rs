//! Results of a job in partition order, cut into Arrow streams of a size that clients take.

use std::collections::BTreeMap;

use arrow::array::{Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use pyrite_proto::connect::execute_plan_response::{ArrowBatch, ResponseType};
use pyrite_proto::error::{SparkError, class};
use pyrite_runtime::JobEvent;

use super::reattach::ResponseBuffer;

/// Batches are merged or cut to about this size, as Spark does for Connect.
const TARGET_BYTES: usize = 4 << 20;
/// Batches are merged up to this number of rows.
const TARGET_ROWS: usize = 64 * 1024;

/// Puts a job's batches into partition order.
///
/// Batches of the first unfinished partition pass at once. Those of later partitions wait in
/// memory, up to `limit_bytes` (`spark.driver.maxResultSize`).
pub struct InOrder<S> {
    events: S,
    current: usize,
    waiting: BTreeMap<usize, Waiting>,
    waiting_bytes: usize,
    limit_bytes: usize,
}

#[derive(Default)]
struct Waiting {
    batches: Vec<RecordBatch>,
    done: bool,
}

impl<S: Stream<Item = Result<JobEvent, SparkError>> + Unpin> InOrder<S> {
    /// Orders `events`; `limit_bytes` 0 is no limit.
    pub fn new(events: S, limit_bytes: usize) -> Self {
        Self {
            events,
            current: 0,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            limit_bytes,
        }
    }

    /// The next batches in order; `None` at the end.
    ///
    /// # Errors
    /// When the job fails, or too much would have to wait.
    pub async fn next(&mut self) -> Result<Option<Vec<RecordBatch>>, SparkError> {
        loop {
            if let Some(batches) = self.take_current() {
                return Ok(Some(batches));
            }
            match self.events.next().await.transpose()? {
                None => return Ok(None),
                Some(JobEvent::PartitionDone(partition)) => {
                    self.waiting.entry(partition).or_default().done = true;
                }
                Some(JobEvent::Batch { partition, batch }) if partition == self.current => {
                    return Ok(Some(vec![batch]));
                }
                Some(JobEvent::Batch { partition, batch }) => {
                    self.waiting_bytes += batch.get_array_memory_size();
                    if self.limit_bytes > 0 && self.waiting_bytes > self.limit_bytes {
                        return Err(too_big(self.waiting_bytes, self.limit_bytes));
                    }
                    self.waiting
                        .entry(partition)
                        .or_default()
                        .batches
                        .push(batch);
                }
            }
        }
    }

    /// Moves on over partitions that are complete.
    fn take_current(&mut self) -> Option<Vec<RecordBatch>> {
        while let Some(waiting) = self.waiting.get_mut(&self.current) {
            let batches = std::mem::take(&mut waiting.batches);
            if waiting.done {
                self.waiting.remove(&self.current);
                self.current += 1;
            }
            if !batches.is_empty() {
                let bytes: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
                self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
                return Some(batches);
            }
            if self
                .waiting
                .get(&self.current)
                .is_some_and(|w| !w.done && w.batches.is_empty())
            {
                return None;
            }
        }
        None
    }
}

fn too_big(bytes: usize, limit: usize) -> SparkError {
    SparkError::new(
        class::SPARK,
        "",
        "",
        format!(
            "the result is too big for the driver: {} MiB wait for earlier partitions, \
             spark.driver.maxResultSize is {} MiB",
            bytes >> 20,
            limit >> 20
        ),
    )
}

/// Sends record batches as `ArrowBatch` responses.
pub struct ArrowSender<'a> {
    buffer: &'a ResponseBuffer,
    schema: SchemaRef,
    /// Largest message, when the client can put chunks together.
    chunk_bytes: Option<usize>,
    pending: Vec<RecordBatch>,
    pending_bytes: usize,
    rows_sent: i64,
    anything_sent: bool,
}

impl<'a> ArrowSender<'a> {
    /// Sends to `buffer`; every batch gets `schema`.
    pub fn new(buffer: &'a ResponseBuffer, schema: SchemaRef, chunk_bytes: Option<usize>) -> Self {
        Self {
            buffer,
            schema,
            chunk_bytes,
            pending: Vec::new(),
            pending_bytes: 0,
            rows_sent: 0,
            anything_sent: false,
        }
    }

    /// Sends a batch, perhaps together with the next ones. Returns `false` when nobody
    /// waits for the result any more.
    ///
    /// # Errors
    /// When the batch does not have the schema that was announced.
    pub async fn send(&mut self, batch: RecordBatch) -> Result<bool, SparkError> {
        if batch.num_rows() == 0 {
            return Ok(true);
        }
        let batch = with_schema(batch, &self.schema)?;
        self.pending_bytes += slice_bytes(&batch);
        self.pending.push(batch);
        let rows: usize = self.pending.iter().map(RecordBatch::num_rows).sum();
        if self.pending_bytes >= TARGET_BYTES / 2 || rows >= TARGET_ROWS {
            return self.flush().await;
        }
        Ok(true)
    }

    /// Sends what is left; an empty result still has one batch, which carries the schema.
    ///
    /// # Errors
    /// When a batch cannot be encoded.
    pub async fn finish(mut self) -> Result<bool, SparkError> {
        if self.pending.is_empty() && !self.anything_sent {
            let empty = RecordBatch::new_empty(self.schema.clone());
            return self.send_one(&empty).await;
        }
        self.flush().await
    }

    async fn flush(&mut self) -> Result<bool, SparkError> {
        let batches = std::mem::take(&mut self.pending);
        let bytes = std::mem::take(&mut self.pending_bytes);
        let merged = match batches.len() {
            0 => return Ok(true),
            1 => batches.into_iter().next().expect("there is one"),
            _ => concat_batches(&self.schema, &batches).map_err(arrow_error)?,
        };
        let rows = merged.num_rows();
        // Cut by rows, on the assumption that rows are of similar size.
        let step = (rows * TARGET_BYTES)
            .div_ceil(bytes.max(1))
            .clamp(1, TARGET_ROWS.max(rows));
        let mut start = 0;
        while start < rows {
            let slice = merged.slice(start, step.min(rows - start));
            start += slice.num_rows();
            if !self.send_one(&slice).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn send_one(&mut self, batch: &RecordBatch) -> Result<bool, SparkError> {
        let data = encode(batch)?;
        let start_offset = self.rows_sent;
        let row_count = batch.num_rows() as i64;
        self.rows_sent += row_count;
        self.anything_sent = true;
        let chunk_bytes = self.chunk_bytes.unwrap_or(usize::MAX).max(1);
        if data.len() <= chunk_bytes {
            let message = ArrowBatch {
                row_count,
                data,
                start_offset: Some(start_offset),
                ..Default::default()
            };
            return Ok(self.buffer.push(ResponseType::ArrowBatch(message)).await);
        }
        let chunks = data.len().div_ceil(chunk_bytes);
        for index in 0..chunks {
            let end = data.len().min((index + 1) * chunk_bytes);
            let message = ArrowBatch {
                row_count,
                data: data.slice(index * chunk_bytes..end),
                start_offset: Some(start_offset),
                chunk_index: Some(index as i64),
                num_chunks_in_batch: Some(chunks as i64),
            };
            if !self.buffer.push(ResponseType::ArrowBatch(message)).await {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn slice_bytes(batch: &RecordBatch) -> usize {
    batch
        .columns()
        .iter()
        .map(|column| {
            let data = column.to_data();
            data.get_slice_memory_size()
                .unwrap_or_else(|_| data.get_array_memory_size())
        })
        .sum()
}

/// The batch under the schema that was announced: clients put batches together and insist
/// on equal schemas, down to nullability.
fn with_schema(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, SparkError> {
    if batch.schema_ref() == schema {
        return Ok(batch);
    }
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            if column.data_type() == field.data_type() {
                Ok(column.clone())
            } else {
                arrow::compute::cast(column, field.data_type()).map_err(arrow_error)
            }
        })
        .collect::<Result<Vec<_>, _>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(arrow_error)
}

/// One batch as an Arrow IPC stream.
fn encode(batch: &RecordBatch) -> Result<Bytes, SparkError> {
    let mut out = Vec::with_capacity(slice_bytes(batch) + 1024);
    let mut writer = StreamWriter::try_new(&mut out, batch.schema_ref()).map_err(arrow_error)?;
    writer.write(batch).map_err(arrow_error)?;
    writer.finish().map_err(arrow_error)?;
    drop(writer);
    Ok(Bytes::from(out))
}

fn arrow_error(error: arrow::error::ArrowError) -> SparkError {
    pyrite_runtime::to_spark_error(error.into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use arrow::ipc::reader::StreamReader;

    use super::*;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]))
    }

    fn batch(values: impl IntoIterator<Item = i64>) -> RecordBatch {
        let column = Int64Array::from_iter_values(values);
        RecordBatch::try_new(schema(), vec![Arc::new(column)]).unwrap()
    }

    fn event(partition: usize, value: i64) -> Result<JobEvent, SparkError> {
        Ok(JobEvent::Batch {
            partition,
            batch: batch([value]),
        })
    }

    fn done(partition: usize) -> Result<JobEvent, SparkError> {
        Ok(JobEvent::PartitionDone(partition))
    }

    async fn ordered(events: Vec<Result<JobEvent, SparkError>>) -> Result<Vec<i64>, SparkError> {
        let mut ordered = InOrder::new(futures::stream::iter(events), 0);
        let mut values = Vec::new();
        while let Some(batches) = ordered.next().await? {
            for batch in batches {
                values.extend(batch.column(0).as_primitive::<Int64Type>().values());
            }
        }
        Ok(values)
    }

    #[tokio::test]
    async fn interleaved_partitions_come_out_in_order() {
        let events = vec![
            event(2, 5),
            event(1, 3),
            event(0, 1),
            done(2),
            event(1, 4),
            event(0, 2),
            done(0),
            done(1),
        ];
        assert_eq!(ordered(events).await.unwrap(), [1, 2, 3, 4, 5]);
        let with_gaps = vec![done(1), event(3, 9), done(3), event(0, 1), done(0), done(2)];
        assert_eq!(ordered(with_gaps).await.unwrap(), [1, 9]);
    }

    #[tokio::test]
    async fn a_failure_ends_the_result() {
        let events = vec![event(0, 1), Err(SparkError::other("boom"))];
        assert_eq!(ordered(events).await.unwrap_err().message, "boom");
    }

    #[tokio::test]
    async fn too_much_waiting_is_an_error() {
        let events = futures::stream::iter(vec![event(1, 1), event(1, 2), done(0)]);
        let mut ordered = InOrder::new(events, 8);
        assert!(
            ordered
                .next()
                .await
                .unwrap_err()
                .message
                .contains("maxResultSize")
        );
    }

    async fn sent(batches: Vec<RecordBatch>, chunk: Option<usize>) -> Vec<ArrowBatch> {
        let buffer = Arc::new(ResponseBuffer::new("s", "v", "o", false));
        let mut sender = ArrowSender::new(&buffer, schema(), chunk);
        for batch in batches {
            assert!(sender.send(batch).await.unwrap());
        }
        assert!(sender.finish().await.unwrap());
        buffer.finish(Ok(()));
        let responses = buffer.read(None).unwrap();
        responses
            .map(|r| match r.unwrap().response_type {
                Some(ResponseType::ArrowBatch(batch)) => batch,
                other => panic!("unexpected {other:?}"),
            })
            .collect()
            .await
    }

    fn rows(data: &[u8]) -> usize {
        StreamReader::try_new(data, None)
            .unwrap()
            .map(|b| b.unwrap().num_rows())
            .sum()
    }

    #[tokio::test]
    async fn small_batches_are_merged_and_large_ones_cut() {
        let small = sent((0..100).map(|i| batch([i])).collect(), None).await;
        assert_eq!((small.len(), small[0].row_count), (1, 100));

        let large = sent(vec![batch(0..2_000_000)], None).await;
        assert!(large.len() >= 4, "{}", large.len());
        assert_eq!(large.iter().map(|b| b.row_count).sum::<i64>(), 2_000_000);
        assert_eq!(large[1].start_offset, Some(large[0].row_count));
        for message in &large {
            assert_eq!(rows(&message.data) as i64, message.row_count);
        }
    }

    #[tokio::test]
    async fn an_empty_result_has_one_batch() {
        let messages = sent(vec![batch([])], None).await;
        assert_eq!((messages.len(), messages[0].row_count), (1, 0));
        assert_eq!(rows(&messages[0].data), 0);
    }

    #[tokio::test]
    async fn chunks_fit_together_again() {
        let messages = sent(vec![batch(0..1000)], Some(1000)).await;
        assert!(messages.len() > 1);
        let chunks = messages.len() as i64;
        assert!(
            messages
                .iter()
                .all(|m| m.num_chunks_in_batch == Some(chunks))
        );
        let whole: Vec<u8> = messages
            .iter()
            .flat_map(|m| m.data.iter().copied())
            .collect();
        assert_eq!(rows(&whole), 1000);
    }
}
