//! Persisted partitions of RDDs, in memory and on disk.
//!
//! [`MemoryDiskBlockStore`] keeps blocks in memory up to a budget. When the budget is used up,
//! the block that was read longest ago goes: to disk if its storage level allows, else it is
//! forgotten and computed again when it is needed.

mod disk;
mod state;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::memory::MemoryStream;
use parking_lot::Mutex;
use pyrite_proto::core::StorageLevel;
use pyrite_python::{BlockId, BlockStore, BlockWriter};

use self::disk::{BlockFile, FileWriter};
use self::state::{Data, Evicted, State};
use crate::files::run_blocking;

/// Blocks of one process.
pub struct MemoryDiskBlockStore {
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    state: Mutex<State>,
}

impl MemoryDiskBlockStore {
    /// Keeps up to `memory_budget_bytes` in memory and the rest below `dir`.
    pub fn new(dir: impl Into<PathBuf>, memory_budget_bytes: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                dir: dir.into(),
                state: Mutex::new(State::new(memory_budget_bytes)),
            }),
        }
    }

    /// Bytes of blocks in memory.
    pub fn memory_bytes(&self) -> usize {
        self.shared.state.lock().memory_bytes()
    }
}

#[async_trait]
impl BlockStore for MemoryDiskBlockStore {
    async fn get(&self, id: BlockId) -> Result<Option<SendableRecordBatchStream>> {
        let found = self.shared.state.lock().get(id);
        match found {
            None => Ok(None),
            Some((schema, Data::Memory(batches))) => {
                // The batches share their buffers with the block.
                let batches = batches.as_ref().clone();
                Ok(Some(Box::pin(MemoryStream::try_new(
                    batches, schema, None,
                )?)))
            }
            Some((schema, Data::Disk(file))) => Ok(Some(file.read(schema))),
        }
    }

    async fn put(&self, id: BlockId, level: StorageLevel) -> Result<Box<dyn BlockWriter>> {
        Ok(Box::new(Writer {
            id,
            budget: self.shared.state.lock().budget_bytes(),
            shared: self.shared.clone(),
            schema: None,
            batches: Vec::new(),
            bytes: 0,
            target: if level.use_memory {
                Target::Memory
            } else {
                Target::Disk(None)
            },
            level,
        }))
    }

    async fn remove_rdd(&self, rdd_id: i64) -> Result<()> {
        let removed = self.shared.state.lock().remove_rdd(rdd_id);
        // Dropping the last reference to a block on disk deletes its file.
        run_blocking(move || {
            drop(removed);
            Ok(())
        })
        .await
    }
}

enum Target {
    Memory,
    Disk(Option<Box<FileWriter>>),
    /// The block is larger than all memory and may not go to disk.
    Nowhere,
}

struct Writer {
    id: BlockId,
    level: StorageLevel,
    shared: Arc<Shared>,
    budget: usize,
    schema: Option<SchemaRef>,
    batches: Vec<RecordBatch>,
    bytes: usize,
    target: Target,
}

impl Writer {
    /// Moves what was collected in memory to disk, or gives the block up.
    async fn leave_memory(&mut self) -> Result<()> {
        self.bytes = 0;
        let batches = std::mem::take(&mut self.batches);
        if self.level.use_disk {
            self.target = Target::Disk(None);
            for batch in &batches {
                self.write_to_disk(batch).await?;
            }
        } else {
            self.target = Target::Nowhere;
        }
        Ok(())
    }

    async fn write_to_disk(&mut self, batch: &RecordBatch) -> Result<()> {
        let Target::Disk(file) = &mut self.target else {
            return Ok(());
        };
        let writer = match file.take() {
            Some(writer) => *writer,
            None => FileWriter::create(self.shared.dir.clone(), self.id, batch.schema()).await?,
        };
        *file = Some(Box::new(writer.write(batch.clone()).await?));
        Ok(())
    }
}

#[async_trait]
impl BlockWriter for Writer {
    async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.schema.get_or_insert_with(|| batch.schema());
        match &self.target {
            Target::Memory => {
                self.bytes += batch.get_array_memory_size();
                self.batches.push(batch.clone());
                if self.bytes > self.budget {
                    self.leave_memory().await?;
                }
                Ok(())
            }
            Target::Disk(_) => self.write_to_disk(batch).await,
            Target::Nowhere => Ok(()),
        }
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        let schema = self
            .schema
            .take()
            .unwrap_or_else(|| Arc::new(datafusion::arrow::datatypes::Schema::empty()));
        let data = match self.target {
            Target::Nowhere => return Ok(()),
            Target::Memory => Data::Memory(Arc::new(self.batches)),
            // An empty block has no schema to write a file with, and needs no room.
            Target::Disk(None) => Data::Memory(Arc::default()),
            Target::Disk(Some(writer)) => Data::Disk(Arc::new(writer.finish().await?)),
        };
        let evicted = self
            .shared
            .state
            .lock()
            .insert(self.id, schema, data, self.bytes, self.level);
        for block in evicted {
            spill(&self.shared, block).await?;
        }
        Ok(())
    }
}

/// Writes an evicted block to disk. Readers find it in the meantime, as it is in memory until
/// the file is there.
async fn spill(shared: &Arc<Shared>, block: Evicted) -> Result<()> {
    let file = write_file(shared, &block).await;
    match file {
        Ok(file) => {
            shared
                .state
                .lock()
                .spilled(block.id, block.generation, file);
            Ok(())
        }
        Err(error) => {
            // A full disk costs the copy, not the job: the block is computed again.
            tracing::warn!(rdd_id = block.id.rdd_id, partition = block.id.partition, %error, "dropped a block that could not be written to disk");
            shared.state.lock().forget(block.id, block.generation);
            Ok(())
        }
    }
}

async fn write_file(shared: &Shared, block: &Evicted) -> Result<BlockFile> {
    let mut writer = FileWriter::create(shared.dir.clone(), block.id, block.schema.clone()).await?;
    for batch in block.batches.iter() {
        writer = writer.write(batch.clone()).await?;
    }
    writer.finish().await
}

#[cfg(test)]
mod tests;
