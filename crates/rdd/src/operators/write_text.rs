//! Writes frames as lines.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::{StreamExt, TryStreamExt, stream};
use pyrite_python::frames::{frame_column, frame_schema};
use pyrite_python::global_partition;
use tokio::sync::mpsc;

use super::{take_children, unknown_partitions};
use crate::errors::{self, internal};
use crate::text_input::Compression;
use crate::text_output::{part_name, task_name};

/// Writes each frame of partition p as one line to `part-p`, and yields nothing.
///
/// An attempt writes into a directory of its own below `attempts`, which becomes the task's
/// by renaming it when all is written.
#[derive(Debug)]
pub struct WriteTextFileExec {
    input: Arc<dyn ExecutionPlan>,
    attempts: PathBuf,
    compression: Compression,
    properties: Arc<PlanProperties>,
}

impl WriteTextFileExec {
    pub(crate) fn new(
        input: Arc<dyn ExecutionPlan>,
        attempts: PathBuf,
        compression: Compression,
    ) -> Self {
        let count = input.output_partitioning().partition_count();
        Self {
            input,
            attempts,
            compression,
            properties: unknown_partitions(frame_schema(), count),
        }
    }

    pub(crate) fn attempts(&self) -> &Path {
        &self.attempts
    }

    pub(crate) fn compression(&self) -> Compression {
        self.compression
    }
}

impl DisplayAs for WriteTextFileExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteTextFileExec")
    }
}

impl ExecutionPlan for WriteTextFileExec {
    common_methods!("WriteTextFileExec");

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = take_children(self.name(), children)?;
        Ok(Arc::new(Self::new(
            input,
            self.attempts.clone(),
            self.compression,
        )))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let attempt = Attempt {
            partition: global_partition(&context, partition),
            attempts: self.attempts.clone(),
            directory: self
                .attempts
                .join(format!("attempt_{}", uuid::Uuid::new_v4().simple())),
            compression: self.compression,
        };
        let lines = self.input.execute(partition, context)?;
        let nothing = stream::once(write_lines(lines, attempt))
            .try_filter_map(|()| std::future::ready(Ok(None::<RecordBatch>)));
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            frame_schema(),
            nothing,
        )))
    }
}

/// Hands batches to a thread that may block, and waits for it.
async fn write_lines(mut lines: SendableRecordBatchStream, attempt: Attempt) -> Result<()> {
    let (batches, mut received) = mpsc::channel::<RecordBatch>(2);
    let (finish, finished) = std::sync::mpsc::channel::<()>();
    let writer = tokio::task::spawn_blocking(move || {
        attempt.write(&mut received)?;
        // Only a complete input makes the file count: the sender may have been dropped early.
        match finished.recv() {
            Ok(()) => attempt.commit(),
            Err(_) => Ok(()),
        }
    });
    let mut failure = None;
    while let Some(batch) = lines.next().await {
        match batch {
            Ok(batch) => {
                if batches.send(batch).await.is_err() {
                    break; // The writer failed; its result says why.
                }
            }
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    if failure.is_none() {
        // The writer may have failed, and then its result says why.
        let _ = finish.send(());
    }
    drop((batches, finish));
    // Also after a failure: once it is known, nothing of the attempt is left.
    let written = writer
        .await
        .map_err(|e| internal(format!("writing a text file: {e}")))?;
    failure.map_or(written, Err)
}

/// One attempt to write a partition. Its directory goes with it unless it was renamed.
struct Attempt {
    partition: usize,
    attempts: PathBuf,
    directory: PathBuf,
    compression: Compression,
}

impl Attempt {
    fn write(&self, batches: &mut mpsc::Receiver<RecordBatch>) -> Result<()> {
        // Not create_dir_all: a late attempt must not bring back what its job has removed.
        std::fs::create_dir(&self.directory)
            .map_err(|e| errors::io("create", &self.directory, &e))?;
        let path = self
            .directory
            .join(part_name(self.partition, self.compression));
        let failed = |e: io::Error| errors::io("write", &path, &e);
        let file = File::create(&path).map_err(failed)?;
        let mut encoder = Encoder::new(file, self.compression).map_err(failed)?;
        while let Some(batch) = batches.blocking_recv() {
            for line in frame_column(&batch)?.iter().flatten() {
                encoder.writer().write_all(line).map_err(failed)?;
                encoder.writer().write_all(b"\n").map_err(failed)?;
            }
        }
        encoder.finish().map_err(failed)
    }

    fn commit(&self) -> Result<()> {
        let task = self.attempts.join(task_name(self.partition));
        let failed = |e: io::Error| errors::io("commit", &task, &e);
        match std::fs::rename(&self.directory, &task) {
            Ok(()) => Ok(()),
            Err(_) if task.exists() => {
                // An earlier attempt got this far, and its result was lost.
                std::fs::remove_dir_all(&task).map_err(failed)?;
                std::fs::rename(&self.directory, &task).map_err(failed)
            }
            Err(error) => Err(failed(error)),
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.directory)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "cannot remove the file of a failed attempt");
        }
    }
}

/// A buffered file behind a compressor.
enum Encoder {
    Plain(BufWriter<File>),
    Gzip(flate2::write::GzEncoder<BufWriter<File>>),
    Bzip2(bzip2::write::BzEncoder<BufWriter<File>>),
    Zstd(zstd::Encoder<'static, BufWriter<File>>),
    Deflate(flate2::write::ZlibEncoder<BufWriter<File>>),
}

impl Encoder {
    fn new(file: File, compression: Compression) -> io::Result<Self> {
        let file = BufWriter::with_capacity(256 * 1024, file);
        Ok(match compression {
            Compression::None => Self::Plain(file),
            Compression::Gzip => Self::Gzip(flate2::write::GzEncoder::new(
                file,
                flate2::Compression::default(),
            )),
            Compression::Bzip2 => Self::Bzip2(bzip2::write::BzEncoder::new(
                file,
                bzip2::Compression::default(),
            )),
            Compression::Zstd => Self::Zstd(zstd::Encoder::new(file, 0)?),
            Compression::Deflate => Self::Deflate(flate2::write::ZlibEncoder::new(
                file,
                flate2::Compression::default(),
            )),
        })
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Plain(writer) => writer,
            Self::Gzip(writer) => writer,
            Self::Bzip2(writer) => writer,
            Self::Zstd(writer) => writer,
            Self::Deflate(writer) => writer,
        }
    }

    fn finish(self) -> io::Result<()> {
        let mut file = match self {
            Self::Plain(writer) => writer,
            Self::Gzip(writer) => writer.finish()?,
            Self::Bzip2(writer) => writer.finish()?,
            Self::Zstd(writer) => writer.finish()?,
            Self::Deflate(writer) => writer.finish()?,
        };
        file.flush()
    }
}
