//! Settings of a worker pool.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Settings of a [`crate::PythonWorkerPool`].
#[derive(Debug, Clone)]
pub struct PythonPoolConfig {
    /// Interpreter for functions that name none, or one that does not exist here.
    pub default_exec: String,
    /// Environment of the workers, on top of this process's own.
    pub env: BTreeMap<String, String>,
    /// Directory for sockets and, below it, for what workers spill.
    pub work_dir: PathBuf,
    /// Working directory of the workers; `None`: this process's own.
    pub current_dir: Option<PathBuf>,
    /// Directories for spills of `pyspark.shuffle` (`SPARK_LOCAL_DIRS`); empty: `work_dir`.
    pub local_dirs: Vec<PathBuf>,
    /// Cores that one task may use; `OMP_NUM_THREADS` of the workers unless set.
    pub cores_per_task: usize,
    /// Keeps a worker for the next task (`spark.python.worker.reuse`).
    pub reuse: bool,
    /// Ends workers that were idle for this long (Spark: one minute).
    pub idle_timeout: Duration,
    /// Idle workers of one interpreter that are kept.
    pub max_idle: usize,
    /// Modules that [`crate::PythonWorkerPool::warm`] imports, where they are installed.
    pub warm_modules: Vec<String>,
    /// Memory limit of one worker (`spark.executor.pyspark.memory` shared by the cores).
    pub memory_mib: Option<u64>,
}

impl PythonPoolConfig {
    /// Settings with Spark's defaults.
    pub fn new(default_exec: impl Into<String>, work_dir: impl Into<PathBuf>) -> Self {
        Self {
            default_exec: default_exec.into(),
            env: BTreeMap::new(),
            work_dir: work_dir.into(),
            current_dir: None,
            local_dirs: Vec::new(),
            cores_per_task: 1,
            reuse: true,
            idle_timeout: Duration::from_secs(60),
            max_idle: 8,
            warm_modules: ["numpy", "pandas", "pyarrow"].map(str::to_owned).to_vec(),
            memory_mib: None,
        }
    }
}

/// What distinguishes workers from each other: only equal ones serve the same functions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerSpec {
    /// Path or name of the interpreter.
    pub exec: String,
    /// Environment on top of the pool's (`spark.executorEnv.*`).
    pub env: BTreeMap<String, String>,
}
