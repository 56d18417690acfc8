//! `saveAsTextFile`: where tasks put their files, and how a finished job makes them visible.
//!
//! The layout is Hadoop's `FileOutputCommitter`'s. A task attempt writes below
//! `<output>/_temporary/<job>/` in a directory of its own, which is renamed when the attempt
//! is done: a repeated task replaces the directory as a whole. The job's commit moves the
//! files to `<output>/part-NNNNN` and adds `_SUCCESS`; without it the output directory goes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use pyrite_proto::core::TextFileSink;
use pyrite_proto::error::SparkError;

use crate::errors::{external, hadoop, internal, io};
use crate::operators::{NumberedExec, WriteTextFileExec};
use crate::text_input::{Compression, local_path};

/// Plans writing the frames of `plan` as lines, and prepares the output directory.
///
/// Run the plan (it yields no frames), then [`TextFileCommit::commit`]. Aborting the commit,
/// or dropping it, removes all that was written.
///
/// # Errors
/// When the output directory exists already or the codec is unknown.
pub fn write_text_file(
    plan: Arc<dyn ExecutionPlan>,
    sink: &TextFileSink,
    job_id: i64,
) -> Result<(Arc<dyn ExecutionPlan>, TextFileCommit)> {
    let compression = codec(&sink.compression_codec)?;
    let output = PathBuf::from(local_path(&sink.path)?);
    let partitions = plan.output_partitioning().partition_count();
    let commit = TextFileCommit::prepare(output, partitions, job_id)?;
    let write = WriteTextFileExec::new(plan, commit.attempts.clone(), compression);
    Ok((Arc::new(NumberedExec::try_new(Arc::new(write))?), commit))
}

/// The codec that a Hadoop class name means.
fn codec(class: &str) -> Result<Compression> {
    let name = class.strip_prefix("org.apache.hadoop.io.compress.");
    match name {
        None if class.is_empty() => Ok(Compression::None),
        Some("GzipCodec") => Ok(Compression::Gzip),
        Some("BZip2Codec") => Ok(Compression::Bzip2),
        Some("ZStandardCodec") => Ok(Compression::Zstd),
        Some("DefaultCodec" | "DeflateCodec") => Ok(Compression::Deflate),
        Some(_) => Err(external(SparkError::not_supported(format!(
            "compression codec `{class}`"
        )))),
        None => Err(hadoop(
            "java.lang.IllegalArgumentException",
            format!("there is no compression codec `{class}`"),
        )),
    }
}

/// The name of a partition's file.
pub(crate) fn part_name(partition: usize, compression: Compression) -> String {
    let extension = match compression {
        Compression::None => "",
        Compression::Gzip => ".gz",
        Compression::Bzip2 => ".bz2",
        Compression::Zstd => ".zst",
        Compression::Deflate => ".deflate",
    };
    format!("part-{partition:05}{extension}")
}

/// The name of the directory of a finished task.
pub(crate) fn task_name(partition: usize) -> String {
    format!("task_{partition:06}")
}

/// A job's output on its way to being visible.
#[derive(Debug)]
pub struct TextFileCommit {
    output: PathBuf,
    /// Where this job's tasks write.
    attempts: PathBuf,
    partitions: usize,
    committed: bool,
}

impl TextFileCommit {
    fn prepare(output: PathBuf, partitions: usize, job_id: i64) -> Result<Self> {
        if output.exists() {
            return Err(hadoop(
                "org.apache.hadoop.mapred.FileAlreadyExistsException",
                format!("Output directory file:{} already exists", output.display()),
            ));
        }
        // Job numbers repeat between applications, and a late task of another must not get in.
        let job = format!("job_{job_id}_{}", uuid::Uuid::new_v4().simple());
        let attempts = output.join("_temporary").join(job);
        std::fs::create_dir_all(&attempts).map_err(|e| io("create", &attempts, &e))?;
        Ok(Self {
            output,
            attempts,
            partitions,
            committed: false,
        })
    }

    /// Makes the files of all partitions visible.
    ///
    /// # Errors
    /// When a partition's file is missing or cannot be moved; then nothing remains.
    pub async fn commit(self) -> Result<()> {
        tokio::task::spawn_blocking(move || self.commit_now())
            .await
            .map_err(|e| internal(format!("committing a text file: {e}")))?
    }

    /// Removes all that was written.
    pub async fn abort(self) {
        let removed = tokio::task::spawn_blocking(move || drop(self)).await;
        if let Err(error) = removed {
            tracing::warn!(%error, "cannot remove the output of a failed job");
        }
    }

    fn commit_now(mut self) -> Result<()> {
        self.move_files()?;
        self.committed = true;
        Ok(())
    }

    fn move_files(&self) -> Result<()> {
        for partition in 0..self.partitions {
            let task = self.attempts.join(task_name(partition));
            let entries = std::fs::read_dir(&task).map_err(|e| io("list", &task, &e))?;
            for entry in entries {
                let entry = entry.map_err(|e| io("list", &task, &e))?;
                let target = self.output.join(entry.file_name());
                std::fs::rename(entry.path(), &target).map_err(|e| io("create", &target, &e))?;
            }
        }
        let success = self.output.join("_SUCCESS");
        std::fs::write(&success, b"").map_err(|e| io("write", &success, &e))?;
        remove(&self.output.join("_temporary"))
    }
}

impl Drop for TextFileCommit {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        if let Err(error) = remove(&self.output) {
            tracing::warn!(%error, "cannot remove the output of a failed job");
        }
    }
}

fn remove(path: &Path) -> Result<()> {
    std::fs::remove_dir_all(path).map_err(|e| io("remove", path, &e))
}
