//! Frames from ranges of files: `[int32 big-endian length][payload]`, read window by window.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::common::Result;
use futures::stream::{self, Stream};
use pyrite_python::DriverFiles;
use pyrite_python::frames::{FrameCollector, LARGE_FRAME_BYTES, batch_of_one};

use crate::errors::internal;

/// Bytes that are read at once.
const WINDOW_BYTES: u64 = 4 * 1024 * 1024;

/// A file that can be read piece by piece.
#[async_trait]
pub(super) trait RangeReader: Send + Sync {
    /// Reads exactly `length` bytes from `offset`.
    async fn read_range(&self, offset: u64, length: u64) -> Result<Bytes>;
}

/// A file below the driver's local directory.
pub(super) struct DriverFile {
    pub(super) files: Arc<dyn DriverFiles>,
    pub(super) path: String,
}

#[async_trait]
impl RangeReader for DriverFile {
    async fn read_range(&self, offset: u64, length: u64) -> Result<Bytes> {
        let bytes = self.files.read(&self.path, offset, length).await?;
        if bytes.len() as u64 != length {
            return Err(internal(format!(
                "`{}` has {} bytes at {offset} where {length} were written",
                self.path,
                bytes.len()
            )));
        }
        Ok(bytes)
    }
}

/// Streams the frames of `length` bytes from `offset`.
pub(super) fn read_frames(
    file: Arc<dyn RangeReader>,
    offset: u64,
    length: u64,
) -> impl Stream<Item = Result<RecordBatch>> + Send {
    let reader = FrameReader {
        file,
        position: offset,
        end: offset + length,
        ready: VecDeque::new(),
    };
    stream::try_unfold(reader, |mut reader| async move {
        Ok(reader.next().await?.map(|batch| (batch, reader)))
    })
}

struct FrameReader {
    file: Arc<dyn RangeReader>,
    position: u64,
    end: u64,
    ready: VecDeque<RecordBatch>,
}

impl FrameReader {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        while self.ready.is_empty() && self.position < self.end {
            self.read_window().await?;
        }
        Ok(self.ready.pop_front())
    }

    /// Reads whole frames: as many as fit a window, or one that is larger.
    async fn read_window(&mut self) -> Result<()> {
        let length = WINDOW_BYTES.min(self.end - self.position);
        let window = self.file.read_range(self.position, length).await?;
        let mut collector = FrameCollector::default();
        let mut used = 0_usize;
        while let Some(head) = window[used..].first_chunk::<4>() {
            let payload = usize::try_from(i32::from_be_bytes(*head))
                .map_err(|_| internal("a frame of negative length"))?;
            let frame = used + 4..used + 4 + payload;
            if frame.end > window.len() {
                break;
            }
            if payload >= LARGE_FRAME_BYTES {
                self.ready.extend(collector.finish());
                self.ready.push_back(batch_of_one(window.slice(frame)));
            } else {
                self.ready.extend(collector.push(&window[frame]));
            }
            used += 4 + payload;
        }
        self.ready.extend(collector.finish());
        if used == 0 {
            used = self.read_large(&window).await?;
        }
        self.position += used as u64;
        Ok(())
    }

    /// Reads the first frame of a window that holds only a part of it.
    async fn read_large(&mut self, window: &Bytes) -> Result<usize> {
        let truncated = || internal("serialised data ends in the middle of a frame");
        let head = window.first_chunk::<4>().ok_or_else(truncated)?;
        let payload = usize::try_from(i32::from_be_bytes(*head)).map_err(|_| truncated())?;
        let start = self.position + 4;
        if start + payload as u64 > self.end {
            return Err(truncated());
        }
        let frame = self.file.read_range(start, payload as u64).await?;
        self.ready.push_back(batch_of_one(frame));
        Ok(4 + payload)
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use pyrite_python::frames::frame_column;

    use super::*;

    struct InMemory(Bytes);

    #[async_trait]
    impl RangeReader for InMemory {
        async fn read_range(&self, offset: u64, length: u64) -> Result<Bytes> {
            Ok(self.0.slice(offset as usize..(offset + length) as usize))
        }
    }

    fn framed(sizes: &[usize]) -> (Bytes, Vec<Vec<u8>>) {
        let mut wire = Vec::new();
        let mut frames = Vec::new();
        for (index, &size) in sizes.iter().enumerate() {
            let frame = vec![index as u8; size];
            wire.extend_from_slice(&(size as i32).to_be_bytes());
            wire.extend_from_slice(&frame);
            frames.push(frame);
        }
        (Bytes::from(wire), frames)
    }

    async fn read(wire: Bytes) -> Result<Vec<Vec<u8>>> {
        let length = wire.len() as u64;
        let batches: Vec<_> = read_frames(Arc::new(InMemory(wire)), 0, length)
            .try_collect()
            .await?;
        let mut frames = Vec::new();
        for batch in &batches {
            frames.extend(frame_column(batch)?.iter().map(|f| f.unwrap().to_vec()));
        }
        Ok(frames)
    }

    #[tokio::test]
    async fn frames_smaller_and_larger_than_a_window_come_back() {
        let window = WINDOW_BYTES as usize;
        let (wire, frames) = framed(&[0, 3, window / 2, window - 9, 5, 3 * window, 1, 0]);
        assert_eq!(read(wire).await.unwrap(), frames);
    }

    #[tokio::test]
    async fn a_cut_frame_is_an_error() {
        let (wire, _) = framed(&[10]);
        let error = read(wire.slice(..9)).await.unwrap_err();
        assert!(error.to_string().contains("middle of a frame"), "{error}");
    }
}
