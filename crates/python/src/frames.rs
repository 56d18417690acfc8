//! RDD data in the engine: batches with one binary column, one row a frame.
//!
//! A frame is what `pyspark.serializers` writes as `[int32 big-endian length][payload]`;
//! rows hold the payload alone.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, LargeBinaryArray, LargeBinaryBuilder, RecordBatch};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::{BufMut, Bytes, BytesMut};
use datafusion::common::{DataFusionError, Result};

/// A frame of at least this size gets a batch of its own and is not copied.
pub const LARGE_FRAME_BYTES: usize = 256 * 1024;
/// Payload bytes after which a batch is full.
pub const BATCH_BYTES: usize = 1024 * 1024;
/// Frames after which a batch is full.
pub const BATCH_FRAMES: usize = 256;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![Field::new(
        "frame",
        DataType::LargeBinary,
        false,
    )]))
});

/// Schema of a plan of frames: one column `frame`, `LargeBinary`, not null.
pub fn frame_schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// Returns the column of frames.
///
/// # Errors
/// When the batch does not have [`frame_schema`], which is a fault of ours.
pub fn frame_column(batch: &RecordBatch) -> Result<&LargeBinaryArray> {
    batch
        .columns()
        .first()
        .filter(|_| batch.num_columns() == 1)
        .and_then(|column| column.as_any().downcast_ref::<LargeBinaryArray>())
        .ok_or_else(|| {
            DataFusionError::Internal(format!("not a batch of frames: {}", batch.schema()))
        })
}

/// Makes a batch of frames, copying them.
pub fn batch_of<'a>(frames: impl IntoIterator<Item = &'a [u8]>) -> RecordBatch {
    let mut builder = LargeBinaryBuilder::new();
    for frame in frames {
        builder.append_value(frame);
    }
    batch_from_array(builder.finish())
}

/// Makes a batch of a single frame without copying it.
pub fn batch_of_one(frame: Bytes) -> RecordBatch {
    let length = i64::try_from(frame.len()).expect("a frame fits in memory");
    let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0_i64, length]));
    batch_from_array(LargeBinaryArray::new(offsets, Buffer::from(frame), None))
}

/// Wraps an array of frames.
pub fn batch_from_array(array: LargeBinaryArray) -> RecordBatch {
    RecordBatch::try_new(frame_schema(), vec![Arc::new(array) as ArrayRef])
        .expect("one column of the schema's type without nulls")
}

/// Appends the frames of a batch in the framing of `pyspark.serializers`.
///
/// # Errors
/// When the batch is not one of frames.
pub fn write_framed(batch: &RecordBatch, out: &mut BytesMut) -> Result<()> {
    let frames = frame_column(batch)?;
    let payload = frames.value_offsets()[frames.len()] - frames.value_offsets()[0];
    out.reserve(usize::try_from(payload).unwrap_or(0) + 4 * frames.len());
    for index in 0..frames.len() {
        let frame = frames.value(index);
        out.put_i32(frame_length(frame)?);
        out.put_slice(frame);
    }
    Ok(())
}

/// Length of a frame on the wire.
pub(crate) fn frame_length(frame: &[u8]) -> Result<i32> {
    i32::try_from(frame.len()).map_err(|_| {
        DataFusionError::Execution(format!(
            "a serialised batch of {} bytes exceeds the limit of 2 GiB",
            frame.len()
        ))
    })
}

/// Splits `[length][payload]` frames into batches.
///
/// # Errors
/// When the bytes end in the middle of a frame.
pub fn read_framed(bytes: &Bytes) -> Result<Vec<RecordBatch>> {
    let mut collector = FrameCollector::default();
    let mut batches = Vec::new();
    let mut rest: &[u8] = bytes;
    while !rest.is_empty() {
        let (head, tail) = rest.split_first_chunk::<4>().ok_or_else(truncated)?;
        let length = usize::try_from(i32::from_be_bytes(*head)).map_err(|_| truncated())?;
        let payload = tail.get(..length).ok_or_else(truncated)?;
        batches.extend(collector.push(payload));
        rest = &tail[length..];
    }
    batches.extend(collector.finish());
    Ok(batches)
}

fn truncated() -> DataFusionError {
    DataFusionError::Execution("serialised data ends in the middle of a frame".into())
}

/// Gathers small frames into batches.
#[derive(Debug, Default)]
pub struct FrameCollector {
    builder: LargeBinaryBuilder,
    frames: usize,
    bytes: usize,
}

impl FrameCollector {
    /// Adds a frame; returns a batch when it is full.
    pub fn push(&mut self, frame: &[u8]) -> Option<RecordBatch> {
        self.builder.append_value(frame);
        self.frames += 1;
        self.bytes += frame.len();
        (self.frames >= BATCH_FRAMES || self.bytes >= BATCH_BYTES)
            .then(|| self.finish())
            .flatten()
    }

    /// Returns what was gathered, if anything.
    pub fn finish(&mut self) -> Option<RecordBatch> {
        if self.frames == 0 {
            return None;
        }
        self.frames = 0;
        self.bytes = 0;
        Some(batch_from_array(self.builder.finish()))
    }

    /// Claims that nothing is waiting.
    pub fn is_empty(&self) -> bool {
        self.frames == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_their_framing() {
        let batch = batch_of([b"one".as_slice(), b"", b"three"]);
        let mut wire = BytesMut::new();
        write_framed(&batch, &mut wire).unwrap();
        assert_eq!(&wire[..7], b"\0\0\0\x03one");
        assert_eq!(read_framed(&wire.freeze()).unwrap(), vec![batch]);
    }

    #[test]
    fn a_slice_of_a_batch_writes_only_its_rows() {
        let batch = batch_of([b"one".as_slice(), b"two", b"three"]).slice(1, 1);
        let mut wire = BytesMut::new();
        write_framed(&batch, &mut wire).unwrap();
        assert_eq!(&wire[..], b"\0\0\0\x03two");
    }

    #[test]
    fn half_a_frame_is_an_error() {
        let error = read_framed(&Bytes::from_static(b"\0\0\0\x09abc")).unwrap_err();
        assert!(error.to_string().contains("middle of a frame"));
    }

    #[test]
    fn a_large_frame_is_not_copied() {
        let frame = Bytes::from(vec![7_u8; LARGE_FRAME_BYTES]);
        let pointer = frame.as_ptr();
        let batch = batch_of_one(frame);
        assert_eq!(frame_column(&batch).unwrap().value(0).as_ptr(), pointer);
    }
}
