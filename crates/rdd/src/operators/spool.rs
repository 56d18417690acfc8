//! Frames set aside by target, in memory while they fit a budget and on disk beyond it.

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::common::Result;
use futures::stream::{self, BoxStream, StreamExt};
use tempfile::NamedTempFile;

use super::frame_file::{RangeReader, read_frames};
use crate::errors::{internal, io};

/// Memory that several spools share.
#[derive(Debug)]
pub(super) struct MemoryBudget {
    limit_bytes: usize,
    /// What a writer may hold all the same, so that it does not write every frame by itself
    /// when the others have used up everything.
    least_bytes: usize,
    used_bytes: AtomicUsize,
}

impl MemoryBudget {
    /// A budget of `limit_bytes`, besides `least_bytes` for each writer at work.
    pub(super) fn new(limit_bytes: usize, least_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            limit_bytes,
            least_bytes,
            used_bytes: AtomicUsize::new(0),
        })
    }

    /// Counts bytes; false when they are beyond the limit.
    fn take(&self, bytes: usize) -> bool {
        self.used_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.limit_bytes
    }

    /// Bytes that are counted at this moment.
    pub(super) fn used(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }

    fn give_back(&self, bytes: usize) {
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A spool being written. Each target's frames keep their order.
#[derive(Debug)]
pub(super) struct SpoolWriter {
    budget: Arc<MemoryBudget>,
    dir: PathBuf,
    buffers: Vec<Vec<u8>>,
    buffered_bytes: usize,
    spill: Option<Spill>,
}

/// `[length][payload]` frames on disk; for each target its ranges in order.
#[derive(Debug)]
struct Spill {
    file: NamedTempFile,
    length: u64,
    ranges: Vec<Vec<(u64, u64)>>,
}

impl SpoolWriter {
    /// Starts a spool whose file, if there has to be one, lies in `dir`.
    pub(super) fn new(targets: usize, budget: Arc<MemoryBudget>, dir: &Path) -> Self {
        Self {
            budget,
            dir: dir.to_owned(),
            buffers: vec![Vec::new(); targets],
            buffered_bytes: 0,
            spill: None,
        }
    }

    /// Appends a frame to a target.
    pub(super) fn push(&mut self, target: usize, frame: &[u8]) -> Result<()> {
        let length = i32::try_from(frame.len())
            .map_err(|_| internal("a frame exceeds the limit of 2 GiB"))?;
        let buffer = &mut self.buffers[target];
        buffer.extend_from_slice(&length.to_be_bytes());
        buffer.extend_from_slice(frame);
        self.buffered_bytes += 4 + frame.len();
        if !self.budget.take(4 + frame.len()) && self.buffered_bytes >= self.budget.least_bytes {
            self.spill()?;
        }
        Ok(())
    }

    /// Moves everything in memory to the file. Blocks for the time of one write, which the
    /// page cache takes.
    fn spill(&mut self) -> Result<()> {
        if self.spill.is_none() {
            std::fs::create_dir_all(&self.dir).map_err(|e| io("create", &self.dir, &e))?;
            let file = NamedTempFile::with_prefix_in("spill-", &self.dir)
                .map_err(|e| io("create a file in", &self.dir, &e))?;
            self.spill = Some(Spill {
                file,
                length: 0,
                ranges: vec![Vec::new(); self.buffers.len()],
            });
        }
        let spill = self.spill.as_mut().expect("made above");
        for (buffer, ranges) in self.buffers.iter_mut().zip(&mut spill.ranges) {
            if buffer.is_empty() {
                continue;
            }
            let bytes = std::mem::take(buffer);
            let written = spill.file.as_file_mut().write_all(&bytes);
            written.map_err(|e| io("write", spill.file.path(), &e))?;
            ranges.push((spill.length, bytes.len() as u64));
            spill.length += bytes.len() as u64;
        }
        self.budget.give_back(self.buffered_bytes);
        self.buffered_bytes = 0;
        Ok(())
    }

    /// Ends writing.
    pub(super) fn finish(mut self) -> Spool {
        let (spill, ranges) = match self.spill.take() {
            Some(spill) => (Some(SpillFile(Arc::new(spill.file))), spill.ranges),
            None => (None, Vec::new()),
        };
        let buffers = std::mem::take(&mut self.buffers);
        Spool {
            budget: Arc::clone(&self.budget),
            buffered_bytes: std::mem::take(&mut self.buffered_bytes),
            // Without the room that they had left to grow.
            buffers: buffers
                .into_iter()
                .map(|buffer| Bytes::from(buffer.into_boxed_slice()))
                .collect(),
            spill,
            ranges,
        }
    }
}

impl Drop for SpoolWriter {
    fn drop(&mut self) {
        self.budget.give_back(self.buffered_bytes);
    }
}

/// Frames by target, to be read as often as needed.
#[derive(Debug)]
pub(super) struct Spool {
    budget: Arc<MemoryBudget>,
    buffered_bytes: usize,
    buffers: Vec<Bytes>,
    spill: Option<SpillFile>,
    ranges: Vec<Vec<(u64, u64)>>,
}

impl Spool {
    /// Streams the frames of a target in the order in which they were written.
    pub(super) fn read(&self, target: usize) -> BoxStream<'static, Result<RecordBatch>> {
        let memory = self.buffers[target].clone();
        let length = memory.len() as u64;
        let in_memory = read_frames(Arc::new(InMemory(memory)), 0, length);
        let Some(spill) = &self.spill else {
            return in_memory.boxed();
        };
        let spill = Arc::new(spill.clone());
        stream::iter(self.ranges[target].clone())
            .map(move |(offset, length)| {
                let spill = Arc::clone(&spill);
                read_frames(spill, offset, length)
            })
            .flatten()
            .chain(in_memory)
            .boxed()
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.budget.give_back(self.buffered_bytes);
    }
}

struct InMemory(Bytes);

#[async_trait]
impl RangeReader for InMemory {
    async fn read_range(&self, offset: u64, length: u64) -> Result<Bytes> {
        let range = usize::try_from(offset)
            .ok()
            .zip(usize::try_from(offset + length).ok())
            .filter(|(_, end)| *end <= self.0.len())
            .ok_or_else(|| internal("a range beyond a buffer"))?;
        Ok(self.0.slice(range.0..range.1))
    }
}

/// Removed from disk with its last reader.
#[derive(Debug, Clone)]
struct SpillFile(Arc<NamedTempFile>);

#[async_trait]
impl RangeReader for SpillFile {
    async fn read_range(&self, offset: u64, length: u64) -> Result<Bytes> {
        let file = Arc::clone(&self.0);
        let length = usize::try_from(length).map_err(|_| internal("a range out of range"))?;
        tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; length];
            file.as_file()
                .read_exact_at(&mut bytes, offset)
                .map_err(|e| io("read", file.path(), &e))?;
            Ok(Bytes::from(bytes))
        })
        .await
        .map_err(|e| internal(format!("reading a spill file: {e}")))?
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use proptest::prelude::*;
    use pyrite_python::frames::frame_column;

    use super::*;

    proptest! {
        #[test]
        fn frames_come_back_in_order_whether_spilled_or_not(
            pushes in prop::collection::vec((0_usize..4, prop::collection::vec(any::<u8>(), 0..40)), 0..60),
            limit in 0_usize..400,
            least in 0_usize..100,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let budget = MemoryBudget::new(limit, least);
            let mut writer = SpoolWriter::new(4, Arc::clone(&budget), dir.path());
            for (target, frame) in &pushes {
                writer.push(*target, frame).unwrap();
            }
            let spool = writer.finish();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for target in 0..4 {
                let batches: Vec<RecordBatch> =
                    runtime.block_on(spool.read(target).try_collect()).unwrap();
                let frames: Vec<Vec<u8>> = batches
                    .iter()
                    .flat_map(|b| frame_column(b).unwrap().iter().map(|f| f.unwrap().to_vec()).collect::<Vec<_>>())
                    .collect();
                let expected: Vec<Vec<u8>> =
                    pushes.iter().filter(|(t, _)| *t == target).map(|(_, f)| f.clone()).collect();
                prop_assert_eq!(frames, expected);
            }
            drop(spool);
            prop_assert_eq!(budget.used(), 0);
            prop_assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }
}
