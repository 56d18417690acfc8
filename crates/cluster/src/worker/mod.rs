//! The worker process: one a machine, launches executors of applications as child processes.

mod cleanup;
mod executors;
mod launch;
mod session;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::Local;
use pyrite_conf::{SparkConf, ports};
use pyrite_ui::worker::WorkerSource;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::error::ClusterError;
use crate::ids::WorkerId;
use crate::master::web_address;
use executors::Executors;
pub use executors::KILL_GRACE;
pub use launch::ExecutorProgram;
use session::{Identity, Session};

/// What a worker needs to start.
pub struct WorkerOptions {
    /// Masters to join; the first that takes this worker has it.
    pub masters: Vec<(String, u16)>,
    /// Name or address of this machine that others are told.
    pub host: String,
    /// Address that the pages listen on.
    pub bind: String,
    /// Port in the worker's id; 0 takes that of the pages. A worker itself listens nowhere: it
    /// calls its master.
    pub port: u16,
    /// Port of the pages; 0 for any.
    pub web_ui_port: u16,
    /// Cores to give to executors.
    pub cores: u32,
    /// Memory to give to executors.
    pub memory_mib: u64,
    /// Directory with a directory for each application.
    pub work_dir: PathBuf,
    /// Settings.
    pub conf: SparkConf,
    /// The secret of the cluster, if it has one.
    pub secret: Option<String>,
    /// How executors are started.
    pub program: ExecutorProgram,
    /// Called once when a master has taken this worker for the first time.
    pub on_ready: Option<OnReady>,
}

/// Called with a worker that was taken by a master.
pub type OnReady = Box<dyn FnOnce(&WorkerReady) + Send>;

/// A worker that was taken by a master.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WorkerReady {
    /// Its id.
    pub worker_id: String,
    /// The master.
    pub master_url: String,
    /// Address of its pages; empty when they cannot be served.
    pub web_ui_url: String,
}

/// Runs a worker until `shutdown`, then ends its executors.
///
/// # Errors
/// When no master takes it, the work directory cannot be made, or a setting is wrong.
pub async fn run(options: WorkerOptions, shutdown: CancellationToken) -> Result<(), ClusterError> {
    std::fs::create_dir_all(&options.work_dir)
        .map_err(|e| ClusterError::io(format!("cannot make {}", options.work_dir.display()), e))?;
    let retries = options.conf.get_unsigned("spark.port.maxRetries")?;
    let pages = match ports::listen("WorkerUI", &options.bind, options.web_ui_port, retries) {
        Ok(listener) => Some(listener),
        Err(error) => {
            warn!(%error, "no pages");
            None
        }
    };
    let identity = identity(&options, pages.as_ref());
    let (executors, changes) = Executors::new(&options, identity.worker_id.clone())?;
    info!(
        worker_id = %identity.worker_id, cores = options.cores, memory_mib = options.memory_mib,
        "Starting Spark worker"
    );
    if !identity.web_ui_url.is_empty() {
        info!(url = identity.web_ui_url, "Bound WorkerUI");
    }
    let heartbeat = options.conf.get_duration("spark.worker.timeout")? / 4;
    let cleaning = cleanup::run(&options.conf, executors.clone())?;
    let mut session = Session {
        masters: options.masters,
        secret: options.secret,
        identity,
        heartbeat: heartbeat.max(Duration::from_millis(10)),
        executors: executors.clone(),
        changes,
        on_ready: options.on_ready,
    };
    let outcome = tokio::select! {
        outcome = session.run() => outcome,
        outcome = serve_pages(pages, executors.clone()) => outcome,
        () = cleaning => Ok(()),
        () = shutdown.cancelled() => {
            info!("shutting down");
            Ok(())
        }
    };
    executors.end_all().await;
    outcome
}

fn identity(options: &WorkerOptions, pages: Option<&std::net::TcpListener>) -> Identity {
    let page_port = pages
        .and_then(|listener| listener.local_addr().ok())
        .map_or(0, |a| u32::from(a.port()));
    let port = match (options.port, page_port) {
        (0, 0) => std::process::id(),
        (0, page_port) => page_port,
        (port, _) => port.into(),
    };
    Identity {
        worker_id: WorkerId(format!(
            "worker-{}-{}-{port}",
            Local::now().format("%Y%m%d%H%M%S"),
            options.host
        )),
        host: options.host.clone(),
        port,
        cores: options.cores,
        memory_mib: options.memory_mib,
        web_ui_url: web_address(&options.host, pages),
    }
}

async fn serve_pages(
    listener: Option<std::net::TcpListener>,
    executors: Arc<Executors>,
) -> Result<(), ClusterError> {
    let source: Arc<dyn WorkerSource> = executors;
    match listener {
        Some(listener) => pyrite_ui::serve(listener, pyrite_ui::worker::routes(source))
            .await
            .map_err(|e| ClusterError::io("cannot serve the worker's pages", e)),
        None => std::future::pending().await,
    }
}

/// Cores of this machine.
pub fn all_cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX))
}

/// Memory of this machine (or of its container) less 1 GiB for everything else, at least 1 GiB.
pub fn all_memory_mib() -> u64 {
    let total = memory_of_machine_mib()
        .into_iter()
        .chain(memory_of_container_mib())
        .min();
    total.unwrap_or(2048).saturating_sub(1024).max(1024)
}

fn memory_of_machine_mib() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}

fn memory_of_container_mib() -> Option<u64> {
    let text = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok()?;
    let bytes: u64 = text.trim().parse().ok()?;
    Some(bytes >> 20)
}
