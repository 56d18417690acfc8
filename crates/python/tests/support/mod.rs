//! A process's services without a cluster, and functions pickled by a real interpreter.

#![allow(dead_code, reason = "each test file uses its own part")]

pub mod udfs;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::common::Result;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::TryStreamExt;
use parking_lot::Mutex;
use pyrite_proto::core::{PythonFunction, SharedFile, StorageLevel};
use pyrite_python::{
    BlockId, BlockStore, BlockWriter, DriverFiles, PythonPoolConfig, PythonTaskReport,
    PythonWorkerPool, TaskReports, TaskServices,
};

/// Long enough for a cold interpreter on a loaded machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The interpreter of the tests: `PYRITE_TEST_PYTHON`, else `python3`.
pub fn interpreter() -> String {
    static CHECKED: LazyLock<String> = LazyLock::new(|| {
        let exec = std::env::var("PYRITE_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
        let found = Command::new(&exec)
            .args(["-c", "import pyspark.worker"])
            .output();
        match found {
            Ok(output) if output.status.success() => exec,
            Ok(output) => panic!(
                "`{exec}` cannot import pyspark, set PYRITE_TEST_PYTHON: {}",
                String::from_utf8_lossy(&output.stderr)
            ),
            Err(error) => panic!("cannot run `{exec}`, set PYRITE_TEST_PYTHON: {error}"),
        }
    });
    CHECKED.clone()
}

/// Pickles the value of a Python expression; `setup` runs before it. Both see `cloudpickle`
/// and everything of `pyspark.serializers` and `pyspark.sql.types`.
pub fn pickle(setup: &str, expression: &str) -> Bytes {
    let script = format!(
        "import sys\nfrom pyspark import cloudpickle\nfrom pyspark.serializers import NoOpSerializer, BatchedSerializer, CPickleSerializer\n\
         from pyspark.sql.types import *\n{setup}\n\
         sys.stdout.buffer.write(cloudpickle.dumps({expression}))\n"
    );
    let output = Command::new(interpreter())
        .args(["-c", &script])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cannot pickle `{expression}`: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout.into()
}

/// `major.minor` of the interpreter.
pub fn version() -> String {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let code = "import sys; print('%d.%d' % sys.version_info[:2], end='')";
        let output = Command::new(interpreter())
            .args(["-c", code])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    });
    VERSION.clone()
}

/// A function with a pickled command.
pub fn function(command: Bytes) -> PythonFunction {
    PythonFunction {
        command,
        python_version: version(),
        ..PythonFunction::default()
    }
}

/// A function over raw frames: `f(split, iterator of bytes)`.
pub fn frames_function(setup: &str, f: &str) -> PythonFunction {
    function(pickle(
        setup,
        &format!("({f}, None, NoOpSerializer(), NoOpSerializer())"),
    ))
}

/// Services of a process with one pool, recording what tasks report.
pub struct World {
    pub services: Arc<TaskServices>,
    pub reports: Arc<Recorded>,
    pub directory: tempfile::TempDir,
    pub session: SessionContext,
}

impl World {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut PythonPoolConfig)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("files")).unwrap();
        std::fs::create_dir(directory.path().join("broadcast")).unwrap();
        let mut config = PythonPoolConfig::new(interpreter(), directory.path());
        change(&mut config);
        let reports = Arc::new(Recorded::default());
        let services = Arc::new(TaskServices {
            app_id: "app-test".into(),
            executor_id: "driver".into(),
            python_workers: Arc::new(PythonWorkerPool::new(config)),
            files: Arc::new(LocalFiles(directory.path().to_owned())),
            blocks: Arc::new(NoBlocks),
            reports: Arc::clone(&reports) as Arc<dyn TaskReports>,
            local_dir: directory.path().to_owned(),
        });
        let config = SessionConfig::new().with_extension(Arc::clone(&services));
        Self {
            services,
            reports,
            directory,
            session: SessionContext::new_with_config(config),
        }
    }

    pub fn context(&self) -> Arc<TaskContext> {
        self.session.task_ctx()
    }

    /// Runs one partition.
    pub async fn run(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        partition: usize,
    ) -> Result<Vec<RecordBatch>> {
        let stream = plan.execute(partition, self.context())?;
        tokio::time::timeout(DEADLINE, stream.try_collect())
            .await
            .expect("the task takes too long")
    }
}

/// A plan of given partitions.
pub fn memory(partitions: &[Vec<RecordBatch>]) -> Arc<dyn ExecutionPlan> {
    let schema = partitions.iter().flatten().next().unwrap().schema();
    MemorySourceConfig::try_new_exec(partitions, schema, None).unwrap()
}

/// A plan of frames, one partition each.
pub fn frames_plan(partitions: &[&[&[u8]]]) -> Arc<dyn ExecutionPlan> {
    let partitions: Vec<_> = partitions
        .iter()
        .map(|frames| vec![pyrite_python::frames::batch_of(frames.iter().copied())])
        .collect();
    memory(&partitions)
}

/// The frames of some batches.
pub fn frames_of(batches: &[RecordBatch]) -> Vec<Vec<u8>> {
    batches
        .iter()
        .flat_map(|batch| {
            let column = pyrite_python::frames::frame_column(batch).unwrap();
            column
                .iter()
                .map(|frame| frame.unwrap().to_vec())
                .collect::<Vec<_>>()
        })
        .collect()
}

#[derive(Debug, Default)]
pub struct Recorded(pub Mutex<Vec<PythonTaskReport>>);

#[async_trait]
impl TaskReports for Recorded {
    async fn python_task(&self, report: PythonTaskReport) -> Result<()> {
        self.0.lock().push(report);
        Ok(())
    }
}

struct LocalFiles(PathBuf);

#[async_trait]
impl DriverFiles for LocalFiles {
    async fn read(&self, path: &str, _: u64, _: u64) -> Result<Bytes> {
        Ok(std::fs::read(self.0.join(path))?.into())
    }

    async fn broadcast(&self, id: i64) -> Result<PathBuf> {
        Ok(self.0.join("broadcast").join(id.to_string()))
    }

    async fn sync_files(&self, _: &[SharedFile]) -> Result<PathBuf> {
        Ok(self.0.join("files"))
    }
}

struct NoBlocks;

#[async_trait]
impl BlockStore for NoBlocks {
    async fn get(&self, _: BlockId) -> Result<Option<SendableRecordBatchStream>> {
        Ok(None)
    }

    async fn put(&self, id: BlockId, _: StorageLevel) -> Result<Box<dyn BlockWriter>> {
        panic!("no block is written here: {id:?}")
    }

    async fn remove_rdd(&self, _: i64) -> Result<()> {
        Ok(())
    }
}

/// Empty settings of a session.
pub fn no_conf() -> BTreeMap<String, String> {
    BTreeMap::new()
}
