//! One Python worker process and the connection to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use pyrite_proto::error::SparkError;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::daemon::PythonDaemon;
use crate::errors::{internal, worker_crashed};
use crate::options::WorkerSpec;
use crate::protocol::{TIMING_VALUES, special};

const READ_BYTES: usize = 128 * 1024;

/// A forked interpreter that runs one task at a time.
///
/// Dropping it kills the process: a worker that was left in the middle of a task must never
/// serve another one. Only [`crate::PythonWorkerPool`] takes workers back.
#[derive(Debug)]
pub struct PythonWorker {
    pid: i32,
    daemon: Arc<PythonDaemon>,
    spec: WorkerSpec,
    connection: Option<UnixStream>,
    /// Broadcasts that the worker has in memory.
    broadcasts: BTreeSet<i64>,
    /// The worker has run a task before.
    used: bool,
}

impl PythonWorker {
    pub(crate) async fn fork(
        daemon: &Arc<PythonDaemon>,
        spec: &WorkerSpec,
    ) -> Result<Self, SparkError> {
        let (connection, pid) = daemon.fork().await?;
        Ok(Self {
            pid,
            daemon: Arc::clone(daemon),
            spec: spec.clone(),
            connection: Some(connection),
            broadcasts: BTreeSet::new(),
            used: false,
        })
    }

    /// Process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Claims that the worker served a task before this one.
    pub fn was_used(&self) -> bool {
        self.used
    }

    /// Interpreter and environment.
    pub fn spec(&self) -> &WorkerSpec {
        &self.spec
    }

    pub(crate) fn daemon(&self) -> &Arc<PythonDaemon> {
        &self.daemon
    }

    /// Claims that an idle worker still waits for its next task: it has sent nothing and
    /// has not closed the connection.
    pub(crate) fn is_waiting(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| {
            let mut byte = [0_u8; 1];
            matches!(connection.try_read(&mut byte),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
        })
    }

    /// Starts a task: hands out both directions of the connection.
    pub(crate) fn open(&mut self) -> Result<(WorkerReader, OwnedWriteHalf), SparkError> {
        let connection = self
            .connection
            .take()
            .ok_or_else(|| internal("a Python worker got a second task while busy"))?;
        self.used = true;
        let (read, write) = connection.into_split();
        Ok((WorkerReader::new(read, self.pid), write))
    }

    /// Ends a task that left both sides at the boundary between tasks.
    pub(crate) fn close(&mut self, mut reader: WorkerReader, writer: OwnedWriteHalf) -> bool {
        if !reader.buffer.is_empty() {
            return false;
        }
        reader.guard.0 = None;
        self.connection = reader.source.reunite(writer).ok();
        self.connection.is_some()
    }

    /// What to say about broadcasts in a task's header: those that the worker must drop (as
    /// negative numbers) and those that it lacks. Mirrors Spark's `PythonWorkerBroadcast`
    /// logic, which keeps in a worker exactly the values of its current function.
    pub(crate) fn broadcast_changes(&mut self, wanted: &[i64]) -> (Vec<i64>, Vec<i64>) {
        let wanted: BTreeSet<i64> = wanted.iter().copied().collect();
        let dropped = self
            .broadcasts
            .difference(&wanted)
            .map(|id| -id - 1)
            .collect();
        let added = wanted.difference(&self.broadcasts).copied().collect();
        self.broadcasts = wanted;
        (dropped, added)
    }
}

impl Drop for PythonWorker {
    fn drop(&mut self) {
        kill(self.pid);
    }
}

/// Kills a worker; one that has ended is no error. Like Spark, and a millisecond sooner than
/// by way of the daemon's standard input.
fn kill(pid: i32) {
    use nix::sys::signal::{Signal, kill};
    let _ = kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
}

/// Kills the worker of a task that is given up, before its connection closes: otherwise the
/// daemon would fill the console with tracebacks about broken pipes.
#[derive(Debug)]
struct KillOnDrop(Option<i32>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            kill(pid);
        }
    }
}

/// What a worker sends while it runs a task.
#[derive(Debug)]
pub(crate) enum WorkerMessage {
    /// Payload of one frame.
    Frame(Bytes),
    /// An Arrow stream begins; read it with [`WorkerReader::ipc_message`].
    ArrowStream,
    /// Times of the task in milliseconds and bytes spilled.
    Timing([i64; TIMING_VALUES]),
    /// The function raised; the worker ends itself afterwards.
    Exception(String),
    /// All data was sent; these are the accumulator updates.
    End(Vec<Bytes>),
}

/// Reads what a worker sends, in large pieces.
#[derive(Debug)]
pub(crate) struct WorkerReader {
    // The first field is dropped first.
    guard: KillOnDrop,
    source: OwnedReadHalf,
    buffer: BytesMut,
}

impl WorkerReader {
    fn new(source: OwnedReadHalf, pid: i32) -> Self {
        Self {
            guard: KillOnDrop(Some(pid)),
            source,
            buffer: BytesMut::new(),
        }
    }

    /// Reads the next message.
    pub(crate) async fn message(&mut self) -> Result<WorkerMessage, SparkError> {
        match self.int().await? {
            special::TIMING_DATA => {
                let mut values = [0; TIMING_VALUES];
                for value in &mut values {
                    *value = self.long().await?;
                }
                Ok(WorkerMessage::Timing(values))
            }
            special::PYTHON_EXCEPTION_THROWN => {
                let traceback = self.framed().await?;
                let text = String::from_utf8_lossy(&traceback).into_owned();
                Ok(WorkerMessage::Exception(text))
            }
            special::END_OF_DATA_SECTION => {
                let count = self.int().await?;
                let mut updates = Vec::new();
                for _ in 0..count {
                    updates.push(self.framed().await?);
                }
                Ok(WorkerMessage::End(updates))
            }
            special::START_ARROW_STREAM => Ok(WorkerMessage::ArrowStream),
            special::NULL => Err(internal("a Python worker sent a null frame")),
            length => Ok(WorkerMessage::Frame(self.payload(length).await?)),
        }
    }

    /// Reads the last word of a task: `true` when the worker waits for the next one.
    pub(crate) async fn wants_more(&mut self) -> Result<bool, SparkError> {
        Ok(self.int().await? == special::END_OF_STREAM)
    }

    /// Claims that a whole frame can be read without waiting for the worker.
    pub(crate) fn has_frame(&mut self) -> bool {
        if self.frame_buffered() {
            return true;
        }
        self.buffer.reserve(READ_BYTES);
        match self.source.try_read_buf(&mut self.buffer) {
            Ok(_) => self.frame_buffered(),
            Err(_) => false,
        }
    }

    fn frame_buffered(&self) -> bool {
        let Some((head, rest)) = self.buffer.split_first_chunk::<4>() else {
            return false;
        };
        usize::try_from(i32::from_be_bytes(*head)).is_ok_and(|length| rest.len() >= length)
    }

    /// Reads one encapsulated Arrow message (prefix, metadata and body); `None` at the end
    /// of the stream.
    pub(crate) async fn ipc_message(&mut self) -> Result<Option<Bytes>, SparkError> {
        const CONTINUATION: i32 = -1;
        const PREFIX: usize = 8;
        self.fill(PREFIX).await?;
        let word = |buffer: &[u8], at: usize| {
            i32::from_le_bytes(buffer[at..at + 4].try_into().expect("four bytes"))
        };
        if word(&self.buffer, 0) != CONTINUATION {
            return Err(internal("a Python worker sent a malformed Arrow stream"));
        }
        let metadata = word(&self.buffer, 4);
        if metadata == 0 {
            drop(self.buffer.split_to(PREFIX));
            return Ok(None);
        }
        let metadata = usize::try_from(metadata)
            .map_err(|_| internal("a Python worker sent a malformed Arrow stream"))?;
        self.fill(PREFIX + metadata).await?;
        let body = crate::arrow_io::body_length(&self.buffer[PREFIX..PREFIX + metadata])?;
        let total = PREFIX + metadata + body;
        self.fill(total).await?;
        Ok(Some(self.buffer.split_to(total).freeze()))
    }

    async fn int(&mut self) -> Result<i32, SparkError> {
        self.fill(4).await?;
        let bytes = self.buffer.split_to(4);
        Ok(i32::from_be_bytes(
            bytes[..].try_into().expect("four bytes"),
        ))
    }

    async fn long(&mut self) -> Result<i64, SparkError> {
        self.fill(8).await?;
        let bytes = self.buffer.split_to(8);
        Ok(i64::from_be_bytes(
            bytes[..].try_into().expect("eight bytes"),
        ))
    }

    async fn framed(&mut self) -> Result<Bytes, SparkError> {
        let length = self.int().await?;
        self.payload(length).await
    }

    async fn payload(&mut self, length: i32) -> Result<Bytes, SparkError> {
        let length = usize::try_from(length)
            .map_err(|_| internal(format!("a Python worker sent a frame of length {length}")))?;
        self.fill(length).await?;
        Ok(self.buffer.split_to(length).freeze())
    }

    /// Reads until `wanted` bytes are buffered.
    async fn fill(&mut self, wanted: usize) -> Result<(), SparkError> {
        while self.buffer.len() < wanted {
            let missing = wanted - self.buffer.len();
            self.buffer.reserve(missing.max(READ_BYTES));
            match self.source.read_buf(&mut self.buffer).await {
                Ok(0) => return Err(worker_crashed("")),
                Ok(_) => {}
                Err(error) => return Err(worker_crashed(&error.to_string())),
            }
        }
        Ok(())
    }
}
