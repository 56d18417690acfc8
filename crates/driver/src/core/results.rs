//! Frames of a job's partitions on their way to the application.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use bytes::{BufMut, Bytes, BytesMut};
use pyrite_proto::core::run_job_response::Event;
use pyrite_proto::core::{AccumulatorUpdate, PartitionData, PartitionDone, RunJobResponse};
use pyrite_proto::error::SparkError;
use pyrite_python::frames::frame_column;

/// Frames of a partition are put together up to about this size.
const CHUNK_BYTES: usize = 1 << 20;

/// Puts the frames of each partition together into messages of about one mebibyte.
#[derive(Default)]
pub struct FrameChunks {
    pending: HashMap<usize, BytesMut>,
}

impl FrameChunks {
    /// Adds the frames of a batch and returns the messages that are full.
    ///
    /// # Errors
    /// When the batch does not hold frames, or a frame is longer than its length can say.
    pub fn push(
        &mut self,
        partition: usize,
        batch: &RecordBatch,
    ) -> Result<Vec<Event>, SparkError> {
        let frames = frame_column(batch).map_err(pyrite_runtime::to_spark_error)?;
        let mut full = Vec::new();
        let pending = self.pending.entry(partition).or_default();
        for frame in frames.iter().flatten() {
            let length = i32::try_from(frame.len()).map_err(|_| {
                SparkError::other(format!(
                    "a serialised batch of {} bytes is too long: 2 GiB is the limit",
                    frame.len()
                ))
            })?;
            if !pending.is_empty() && pending.len() + frame.len() > CHUNK_BYTES {
                full.push(data(partition, pending.split().freeze()));
            }
            pending.reserve(4 + frame.len());
            pending.put_i32(length);
            pending.put_slice(frame);
        }
        if pending.len() >= CHUNK_BYTES {
            full.push(data(partition, pending.split().freeze()));
        }
        Ok(full)
    }

    /// The last messages of a partition.
    pub fn done(&mut self, partition: usize) -> Vec<Event> {
        let mut events = Vec::new();
        if let Some(rest) = self
            .pending
            .remove(&partition)
            .filter(|rest| !rest.is_empty())
        {
            events.push(data(partition, rest.freeze()));
        }
        events.push(Event::PartitionDone(PartitionDone {
            partition: partition as i32,
        }));
        events
    }
}

fn data(partition: usize, frames: Bytes) -> Event {
    Event::Data(PartitionData {
        partition: partition as i32,
        frames,
    })
}

/// Accumulator updates as an event; `None` when there are none.
pub fn accumulators(updates: Vec<Bytes>) -> Option<Event> {
    (!updates.is_empty()).then(|| Event::Accumulator(AccumulatorUpdate { updates }))
}

/// Wraps an event.
pub fn response(event: Event) -> RunJobResponse {
    RunJobResponse { event: Some(event) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyrite_python::frames::batch_of;

    fn bytes_of(events: &[Event]) -> Vec<(i32, Vec<u8>)> {
        events
            .iter()
            .filter_map(|event| match event {
                Event::Data(data) => Some((data.partition, data.frames.to_vec())),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn frames_keep_their_lengths_and_order() {
        let mut chunks = FrameChunks::default();
        let none = chunks
            .push(3, &batch_of([b"ab".as_slice(), b"".as_slice()]))
            .unwrap();
        assert!(none.is_empty());
        chunks.push(4, &batch_of([b"x".as_slice()])).unwrap();
        let events = chunks.done(3);
        assert_eq!(bytes_of(&events), [(3, b"\0\0\0\x02ab\0\0\0\0".to_vec())]);
        assert!(matches!(events.last(), Some(Event::PartitionDone(done)) if done.partition == 3));
        assert_eq!(
            chunks.done(5).len(),
            1,
            "an empty partition is still reported"
        );
    }

    #[test]
    fn large_frames_travel_alone_and_small_ones_together() {
        let mut chunks = FrameChunks::default();
        let large = vec![7; CHUNK_BYTES];
        let events = chunks
            .push(0, &batch_of([b"s".as_slice(), &large]))
            .unwrap();
        assert_eq!(events.len(), 2);
        let small = vec![b"0123456789".as_slice(); 1000];
        assert!(chunks.push(0, &batch_of(small)).unwrap().is_empty());
    }
}
