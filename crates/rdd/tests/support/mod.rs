//! Services and graphs for tests, and ways to run plans.

#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::prelude::SessionConfig;
use futures::TryStreamExt;
use parking_lot::Mutex;
use pyrite_proto::core::{self, StorageLevel, rdd_node::Kind};
use pyrite_python::frames::frame_column;
use pyrite_python::{
    BlockId, BlockStore, BlockWriter, DriverFiles, PythonPoolConfig, PythonTaskReport,
    PythonWorkerPool, TaskReports, TaskServices,
};
use pyrite_rdd::{DataFramePlans, frame_schema};

/// Frames of each partition.
pub type Frames = Vec<Vec<Vec<u8>>>;

/// A process that runs tasks.
pub struct Process {
    pub dir: tempfile::TempDir,
    pub blocks: Arc<Blocks>,
    pub services: Arc<TaskServices>,
}

impl Process {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let blocks = Arc::new(Blocks::default());
        let pool = PythonPoolConfig::new("python3", dir.path().join("python"));
        let services = Arc::new(TaskServices {
            app_id: "app-test".into(),
            executor_id: "driver".into(),
            python_workers: Arc::new(PythonWorkerPool::new(pool)),
            files: Arc::new(Files(dir.path().to_owned())),
            blocks: Arc::clone(&blocks) as _,
            reports: Arc::new(NoReports),
            local_dir: dir.path().join("local"),
        });
        Self {
            dir,
            blocks,
            services,
        }
    }

    pub fn config(&self) -> SessionConfig {
        SessionConfig::new()
            .with_target_partitions(2)
            .with_extension(Arc::clone(&self.services))
    }

    pub fn context(&self) -> Arc<TaskContext> {
        Arc::new(TaskContext::default().with_session_config(self.config()))
    }

    pub async fn run(&self, plan: &Arc<dyn ExecutionPlan>) -> Result<Frames> {
        let mut partitions = Vec::new();
        for partition in 0..plan.output_partitioning().partition_count() {
            let stream = plan.execute(partition, self.context())?;
            let batches: Vec<RecordBatch> = stream.try_collect().await?;
            partitions.push(frames_of(&batches)?);
        }
        Ok(partitions)
    }
}

pub fn frames_of(batches: &[RecordBatch]) -> Result<Vec<Vec<u8>>> {
    let mut frames = Vec::new();
    for batch in batches {
        frames.extend(frame_column(batch)?.iter().map(|f| f.unwrap().to_vec()));
    }
    Ok(frames)
}

struct Files(PathBuf);

#[async_trait]
impl DriverFiles for Files {
    async fn read(&self, path: &str, offset: u64, length: u64) -> Result<Bytes> {
        let bytes = std::fs::read(self.0.join(path))?;
        let end = if length == 0 {
            bytes.len()
        } else {
            (offset + length) as usize
        };
        Ok(Bytes::from(bytes).slice(offset as usize..end))
    }

    async fn broadcast(&self, id: i64) -> Result<PathBuf> {
        panic!("no broadcast {id} in this test")
    }

    async fn sync_files(&self, _: &[core::SharedFile]) -> Result<PathBuf> {
        Ok(self.0.clone())
    }
}

struct NoReports;

#[async_trait]
impl TaskReports for NoReports {
    async fn python_task(&self, _: PythonTaskReport) -> Result<()> {
        Ok(())
    }
}

/// Blocks in memory.
#[derive(Default)]
pub struct Blocks {
    pub kept: Arc<Mutex<HashMap<BlockId, Vec<RecordBatch>>>>,
    pub writes: AtomicUsize,
}

#[async_trait]
impl BlockStore for Blocks {
    async fn get(&self, id: BlockId) -> Result<Option<SendableRecordBatchStream>> {
        let block = self.kept.lock().get(&id).cloned();
        block
            .map(|batches| {
                let stream = MemoryStream::try_new(batches, frame_schema(), None)?;
                Ok(Box::pin(stream) as SendableRecordBatchStream)
            })
            .transpose()
    }

    async fn put(&self, id: BlockId, _: StorageLevel) -> Result<Box<dyn BlockWriter>> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Writer {
            id,
            batches: Vec::new(),
            kept: Arc::clone(&self.kept),
        }))
    }

    async fn remove_rdd(&self, rdd_id: i64) -> Result<()> {
        self.kept.lock().retain(|id, _| id.rdd_id != rdd_id);
        Ok(())
    }
}

struct Writer {
    id: BlockId,
    batches: Vec<RecordBatch>,
    kept: Arc<Mutex<HashMap<BlockId, Vec<RecordBatch>>>>,
}

#[async_trait]
impl BlockWriter for Writer {
    async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        // Time for other readers of the same block to come.
        tokio::task::yield_now().await;
        self.batches.push(batch.clone());
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        self.kept.lock().insert(self.id, self.batches);
        Ok(())
    }
}

/// DataFrames, by the bytes of their relation.
#[derive(Default)]
pub struct Tables(pub HashMap<Vec<u8>, Arc<dyn ExecutionPlan>>);

#[async_trait]
impl DataFramePlans for Tables {
    async fn plan(&self, rows: &core::DataFrameRows) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::clone(&self.0[rows.relation.as_ref()]))
    }
}

/// Builds a graph; the node that was added last is the root.
#[derive(Default)]
pub struct Graph {
    nodes: Vec<core::RddNode>,
}

impl Graph {
    pub fn add(&mut self, kind: Kind) -> i64 {
        let id = self.nodes.len() as i64;
        self.nodes.push(core::RddNode {
            id,
            kind: Some(kind),
            ..core::RddNode::default()
        });
        id
    }

    /// A collection with these frames in its partitions.
    pub fn parallelize(&mut self, partitions: &Frames) -> i64 {
        let slice = |frames: &Vec<Vec<u8>>| core::parallel_collection::Slice {
            frames: frames.iter().cloned().map(Bytes::from).collect(),
            ..Default::default()
        };
        self.add(Kind::ParallelCollection(core::ParallelCollection {
            slices: partitions.iter().map(slice).collect(),
        }))
    }

    pub fn union(&mut self, parent_ids: Vec<i64>) -> i64 {
        self.add(Kind::Union(core::Union { parent_ids }))
    }

    pub fn shuffle(&mut self, parent_id: i64, num_partitions: i32) -> i64 {
        self.add(Kind::Shuffle(core::Shuffle {
            parent_id,
            num_partitions,
        }))
    }

    pub fn coalesce(&mut self, parent_id: i64, num_partitions: i32) -> i64 {
        self.add(Kind::Coalesce(core::Coalesce {
            parent_id,
            num_partitions,
        }))
    }

    pub fn zip(&mut self, left_id: i64, right_id: i64) -> i64 {
        self.add(Kind::Zip(core::Zip { left_id, right_id }))
    }

    pub fn cartesian(&mut self, left_id: i64, right_id: i64) -> i64 {
        self.add(Kind::Cartesian(core::Cartesian { left_id, right_id }))
    }

    pub fn persist(&mut self, id: i64) -> i64 {
        self.nodes[id as usize].storage_level = Some(StorageLevel {
            use_memory: true,
            replication: 1,
            ..StorageLevel::default()
        });
        id
    }

    pub fn text_file(&mut self, path: &Path, min_partitions: i32) -> i64 {
        self.add(Kind::TextFile(core::TextFile {
            path: path.to_str().unwrap().to_owned(),
            min_partitions,
        }))
    }

    pub fn build(self) -> core::RddGraph {
        let root_id = self.nodes.len() as i64 - 1;
        core::RddGraph {
            nodes: self.nodes,
            root_id,
        }
    }

    pub async fn plan(self) -> Result<Arc<dyn ExecutionPlan>> {
        let graph = self.build();
        pyrite_rdd::RddPlanner::new(&graph, 1, &Tables::default())
            .plan()
            .await
    }
}

/// Partitions of text.
pub fn frames(partitions: &[&[&str]]) -> Frames {
    partitions
        .iter()
        .map(|frames| frames.iter().map(|f| f.as_bytes().to_vec()).collect())
        .collect()
}

/// A frame that a shuffle sends to `target`.
pub fn to(target: usize, frame: &[u8]) -> Vec<u8> {
    [&(target as u32).to_be_bytes(), frame].concat()
}
