//! Blocks as Arrow IPC files.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::common::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use pyrite_python::BlockId;
use tempfile::TempPath;

use crate::files::run_blocking;

/// A complete block on disk; its file goes with the last reference.
pub(super) struct BlockFile {
    path: TempPath,
}

impl BlockFile {
    /// Streams the block. Holds the file open to the end of the stream.
    pub fn read(self: Arc<Self>, schema: SchemaRef) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStreamBuilder::new(schema, 2);
        let batches = stream.tx();
        stream.spawn_blocking(move || {
            let file = BufReader::new(File::open(&self.path)?);
            for batch in StreamReader::try_new(file, None)? {
                if batches.blocking_send(Ok(batch?)).is_err() {
                    break;
                }
            }
            Ok(())
        });
        stream.build()
    }
}

/// A block on its way to disk; dropped early, it leaves nothing.
pub(super) struct FileWriter {
    writer: StreamWriter<BufWriter<File>>,
    path: TempPath,
}

impl FileWriter {
    pub async fn create(dir: PathBuf, id: BlockId, schema: SchemaRef) -> Result<Self> {
        run_blocking(move || {
            std::fs::create_dir_all(&dir)?;
            let (file, path) = tempfile::Builder::new()
                .prefix(&format!("rdd_{}_{}-", id.rdd_id, id.partition))
                .suffix(".arrow")
                .tempfile_in(&dir)?
                .into_parts();
            let writer = StreamWriter::try_new(BufWriter::new(file), &schema)?;
            Ok(Self { writer, path })
        })
        .await
    }

    pub async fn write(mut self, batch: RecordBatch) -> Result<Self> {
        run_blocking(move || {
            self.writer.write(&batch)?;
            Ok(self)
        })
        .await
    }

    pub async fn finish(mut self) -> Result<BlockFile> {
        run_blocking(move || {
            self.writer.finish()?;
            self.writer.into_inner()?;
            Ok(BlockFile { path: self.path })
        })
        .await
    }
}
