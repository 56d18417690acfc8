//! Which blocks there are, where, and which goes next. Does no I/O.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use pyrite_proto::core::StorageLevel;
use pyrite_python::BlockId;

use super::disk::BlockFile;

/// Where a block lies. Cheap to clone; a block that is being read stays readable.
#[derive(Clone)]
pub(super) enum Data {
    Memory(Arc<Vec<RecordBatch>>),
    Disk(Arc<BlockFile>),
}

struct Block {
    schema: SchemaRef,
    data: Data,
    /// Bytes that count against the budget.
    memory_bytes: usize,
    level: StorageLevel,
    last_used: u64,
    /// Tells a block from another one under the same id.
    generation: u64,
    /// Chosen for eviction; its bytes no longer count.
    leaving: bool,
}

/// A block that has to be written to disk.
pub(super) struct Evicted {
    pub id: BlockId,
    pub generation: u64,
    pub schema: SchemaRef,
    pub batches: Arc<Vec<RecordBatch>>,
}

/// All blocks of a process.
pub(super) struct State {
    blocks: HashMap<BlockId, Block>,
    budget_bytes: usize,
    memory_bytes: usize,
    clock: u64,
}

impl State {
    pub fn new(budget_bytes: usize) -> Self {
        Self {
            blocks: HashMap::new(),
            budget_bytes,
            memory_bytes: 0,
            clock: 0,
        }
    }

    pub fn budget_bytes(&self) -> usize {
        self.budget_bytes
    }

    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    pub fn get(&mut self, id: BlockId) -> Option<(SchemaRef, Data)> {
        self.clock += 1;
        let block = self.blocks.get_mut(&id)?;
        block.last_used = self.clock;
        Some((block.schema.clone(), block.data.clone()))
    }

    /// Adds a block, replacing one of the same id. Returns the blocks to write to disk so that
    /// memory stays within the budget; those that may not go to disk are forgotten at once.
    pub fn insert(
        &mut self,
        id: BlockId,
        schema: SchemaRef,
        data: Data,
        bytes: usize,
        level: StorageLevel,
    ) -> Vec<Evicted> {
        self.remove(id);
        self.clock += 1;
        let memory_bytes = if matches!(data, Data::Memory(_)) {
            bytes
        } else {
            0
        };
        self.memory_bytes += memory_bytes;
        self.blocks.insert(
            id,
            Block {
                schema,
                data,
                memory_bytes,
                level,
                last_used: self.clock,
                generation: self.clock,
                leaving: false,
            },
        );
        let mut evicted = Vec::new();
        while self.memory_bytes > self.budget_bytes {
            let Some(oldest) = self.oldest_in_memory() else {
                break;
            };
            evicted.extend(self.evict(oldest));
        }
        evicted
    }

    fn oldest_in_memory(&self) -> Option<BlockId> {
        self.blocks
            .iter()
            .filter(|(_, block)| block.memory_bytes > 0 && !block.leaving)
            .min_by_key(|(_, block)| block.last_used)
            .map(|(id, _)| *id)
    }

    fn evict(&mut self, id: BlockId) -> Option<Evicted> {
        let block = self.blocks.get_mut(&id)?;
        self.memory_bytes -= block.memory_bytes;
        block.memory_bytes = 0;
        block.leaving = true;
        match (&block.data, block.level.use_disk) {
            (Data::Memory(batches), true) => Some(Evicted {
                id,
                generation: block.generation,
                schema: block.schema.clone(),
                batches: batches.clone(),
            }),
            _ => {
                self.blocks.remove(&id);
                None
            }
        }
    }

    /// An evicted block has reached the disk.
    pub fn spilled(&mut self, id: BlockId, generation: u64, file: BlockFile) {
        if let Some(block) = self.blocks.get_mut(&id)
            && block.generation == generation
        {
            block.data = Data::Disk(Arc::new(file));
            block.leaving = false;
        }
    }

    /// An evicted block could not be written.
    pub fn forget(&mut self, id: BlockId, generation: u64) {
        if self
            .blocks
            .get(&id)
            .is_some_and(|b| b.generation == generation)
        {
            self.remove(id);
        }
    }

    pub fn remove_rdd(&mut self, rdd_id: i64) -> Vec<Data> {
        let ids: Vec<BlockId> = self
            .blocks
            .keys()
            .filter(|id| id.rdd_id == rdd_id)
            .copied()
            .collect();
        ids.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    fn remove(&mut self, id: BlockId) -> Option<Data> {
        let block = self.blocks.remove(&id)?;
        self.memory_bytes -= block.memory_bytes;
        Some(block.data)
    }
}
