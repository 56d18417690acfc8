//! How batches become bytes for a worker, and what it sends becomes batches.

use arrow::array::RecordBatch;
use bytes::{BufMut, Bytes, BytesMut};
use datafusion::common::Result;

use crate::errors::{external, internal};
use crate::frames::{FrameCollector, LARGE_FRAME_BYTES, batch_of_one, write_framed};
use crate::protocol::special;

/// Writes input batches as a worker reads them.
pub trait InputEncoder: Send {
    /// Appends a batch.
    ///
    /// # Errors
    /// When the batch cannot be written; the task fails with that error.
    fn encode(&mut self, batch: &RecordBatch, out: &mut BytesMut) -> Result<()>;

    /// Appends what ends the data.
    ///
    /// # Errors
    /// As [`InputEncoder::encode`].
    fn finish(&mut self, out: &mut BytesMut) -> Result<()>;
}

/// Turns what a worker sends into output batches.
pub trait OutputSink: Send + Sync {
    /// Takes the payload of a frame.
    ///
    /// # Errors
    /// When the worker should not have sent one, or it cannot be read.
    fn frame(&mut self, frame: Bytes) -> Result<Vec<RecordBatch>>;

    /// Takes a batch of an Arrow stream.
    ///
    /// # Errors
    /// As [`OutputSink::frame`].
    fn arrow(&mut self, batch: RecordBatch) -> Result<Vec<RecordBatch>>;

    /// The worker pauses: gives out what need not wait.
    ///
    /// # Errors
    /// When what was gathered cannot be made into a batch.
    fn flush(&mut self) -> Result<Vec<RecordBatch>>;

    /// All data has arrived.
    ///
    /// # Errors
    /// When something is missing.
    fn finish(&mut self) -> Result<Vec<RecordBatch>> {
        self.flush()
    }
}

/// Sends frames as they are.
#[derive(Debug, Default)]
pub struct FrameEncoder;

impl InputEncoder for FrameEncoder {
    fn encode(&mut self, batch: &RecordBatch, out: &mut BytesMut) -> Result<()> {
        write_framed(batch, out)
    }

    fn finish(&mut self, out: &mut BytesMut) -> Result<()> {
        out.put_i32(special::END_OF_DATA_SECTION);
        Ok(())
    }
}

/// Gathers frames into batches.
#[derive(Debug, Default)]
pub struct FrameSink {
    collector: FrameCollector,
}

impl OutputSink for FrameSink {
    fn frame(&mut self, frame: Bytes) -> Result<Vec<RecordBatch>> {
        if frame.len() < LARGE_FRAME_BYTES {
            return Ok(self.collector.push(&frame).into_iter().collect());
        }
        let mut batches: Vec<_> = self.collector.finish().into_iter().collect();
        batches.push(batch_of_one(frame));
        Ok(batches)
    }

    fn arrow(&mut self, _: RecordBatch) -> Result<Vec<RecordBatch>> {
        Err(external(internal(
            "an Arrow batch where frames were expected",
        )))
    }

    fn flush(&mut self) -> Result<Vec<RecordBatch>> {
        Ok(self.collector.finish().into_iter().collect())
    }
}
