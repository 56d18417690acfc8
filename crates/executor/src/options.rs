//! What an executor is told when it starts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

/// Settings of one executor.
#[derive(Debug, Clone)]
pub struct ExecutorOptions {
    /// The driver's port for executors, `host:port`.
    pub driver_address: String,
    /// Id of the application.
    pub app_id: String,
    /// Number that the master gave this executor.
    pub executor_id: String,
    /// Task slots.
    pub cores: usize,
    /// Memory for operators and persisted partitions together, in MiB.
    pub memory_mib: u64,
    /// Host that the driver and other executors reach this one at.
    pub host: String,
    /// Address to listen on.
    pub bind_address: String,
    /// Port for shuffle data; 0 takes a free one (`spark.executor.port`).
    pub port: u16,
    /// Directory of this executor; working directory of its Python workers.
    pub work_dir: PathBuf,
    /// Below it go shuffle data, spills and blocks; `None`: below `work_dir`.
    pub local_dir: Option<PathBuf>,
    /// Secret of the application; `None` when it has none.
    pub app_secret: Option<String>,
    /// Interpreter for functions that name none.
    pub python_exec: String,
    /// Environment of Python workers.
    pub python_env: BTreeMap<String, String>,
    /// Whether Python workers are kept for the next task (`spark.python.worker.reuse`).
    pub python_reuse: bool,
    /// Ends the executor when standard input does: its worker holds the other end.
    pub watch_stdin: bool,
    /// Ends the executor when it is cancelled.
    pub stop: CancellationToken,
}

impl ExecutorOptions {
    /// Settings with everything optional at its default.
    pub fn new(
        driver_address: impl Into<String>,
        app_id: impl Into<String>,
        executor_id: impl Into<String>,
        work_dir: impl Into<PathBuf>,
    ) -> Self {
        Self {
            driver_address: driver_address.into(),
            app_id: app_id.into(),
            executor_id: executor_id.into(),
            cores: 1,
            memory_mib: 1024,
            host: "127.0.0.1".into(),
            bind_address: "127.0.0.1".into(),
            port: 0,
            work_dir: work_dir.into(),
            local_dir: None,
            app_secret: None,
            python_exec: "python3".into(),
            python_env: BTreeMap::new(),
            python_reuse: true,
            watch_stdin: false,
            stop: CancellationToken::new(),
        }
    }

    /// Memory that operators share before they spill.
    pub(crate) fn operator_bytes(&self) -> usize {
        self.share(60)
    }

    /// Memory for persisted partitions.
    pub(crate) fn block_bytes(&self) -> usize {
        self.share(30)
    }

    fn share(&self, percent: u64) -> usize {
        usize::try_from((self.memory_mib << 20) / 100 * percent).unwrap_or(usize::MAX)
    }
}
