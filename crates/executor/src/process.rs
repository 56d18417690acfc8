//! The life of an executor.

use std::io::Read;
use std::sync::Arc;

use pyrite_conf::scratch::{self, Owner};
use pyrite_proto::error::SparkError;
use pyrite_python::{PythonPoolConfig, PythonWorkerPool, TaskServices};
use pyrite_runtime::blocks::MemoryDiskBlockStore;
use pyrite_runtime::cluster::network::Secret;
use pyrite_runtime::session;
use tokio::sync::oneshot;

use crate::ExecutorOptions;
use crate::driver_files::RemoteDriverFiles;
use crate::driver_link::{DriverLink, RemoteReports};
use crate::engine::Engine;

/// How the names of executors' directories begin; their worker looks for it, too.
const DIR_PREFIX: &str = "executor-";

/// Why an executor could not run, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// Its directories cannot be used.
    #[error("cannot use directory `{path}`")]
    Directory {
        /// The directory.
        path: String,
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
    /// The driver cannot be reached, or does not accept this executor.
    #[error("cannot join the driver at `{address}`: {reason}")]
    Driver {
        /// Where the driver should be.
        address: String,
        /// What went wrong.
        reason: String,
    },
    /// The engine could not start or broke down.
    #[error("the engine failed: {0}")]
    Engine(String),
}

/// Runs an executor until its driver or its worker is gone, or it is told to end. Everything
/// that it started has ended, and everything that it wrote is gone, when this returns.
///
/// # Errors
/// When the executor could not start, or its engine broke down.
pub async fn run(options: ExecutorOptions) -> Result<(), ExecutorError> {
    let (local_dir, _owner) = local_dir(&options)?;
    let python = Arc::new(PythonWorkerPool::new(python_config(
        &options,
        local_dir.path(),
    )));
    // The first task should find its interpreter running.
    python.prestart(options.cores);
    let result = serve(&options, local_dir.path(), python.clone()).await;
    python.shutdown().await;
    if let Err(error) = local_dir.close() {
        tracing::warn!(%error, "could not remove the executor's directory");
    }
    tracing::info!(executor_id = options.executor_id, "executor ended");
    result
}

async fn serve(
    options: &ExecutorOptions,
    local_dir: &std::path::Path,
    python: Arc<PythonWorkerPool>,
) -> Result<(), ExecutorError> {
    let secret = Secret::new(options.app_secret.as_deref());
    let link = DriverLink::connect(options, &secret).await?;
    let files = Arc::new(RemoteDriverFiles::new(link.client(), local_dir));
    let services = Arc::new(TaskServices {
        app_id: options.app_id.clone(),
        executor_id: options.executor_id.clone(),
        python_workers: python,
        files: files.clone(),
        blocks: Arc::new(MemoryDiskBlockStore::new(
            local_dir.join("blocks"),
            options.block_bytes(),
        )),
        reports: Arc::new(RemoteReports::new(link.client(), &options.executor_id)),
        local_dir: local_dir.to_owned(),
    });
    let runtime_env = session::runtime_env(options.operator_bytes(), local_dir)
        .map_err(|error| ExecutorError::Engine(error.to_string()))?;
    let mut engine =
        Engine::start(options, &secret, services.clone(), runtime_env, local_dir).await?;
    let mut commands = link.attach(options).await?;
    tracing::info!(
        executor_id = options.executor_id,
        driver = options.driver_address,
        cores = options.cores,
        memory_mib = options.memory_mib,
        "executor is ready"
    );
    let shuffle_files = engine.shuffle_files().clone();
    let lifeline = lifeline(options.watch_stdin);
    let result = tokio::select! {
        () = commands.follow(&services, &files, &shuffle_files) => {
            tracing::info!("the driver is gone or has no more work");
            Ok(())
        }
        () = lifeline => {
            tracing::info!("the worker is gone");
            Ok(())
        }
        () = options.stop.cancelled() => Ok(()),
        reason = engine.failure() => Err(ExecutorError::Engine(reason)),
    };
    drop(engine);
    result
}

/// Makes the directory of an executor. Those of executors that were killed go at this occasion.
fn local_dir(options: &ExecutorOptions) -> Result<(tempfile::TempDir, Owner), ExecutorError> {
    let parent = options.local_dir.as_ref().unwrap_or(&options.work_dir);
    let failed = |source| ExecutorError::Directory {
        path: parent.display().to_string(),
        source,
    };
    std::fs::create_dir_all(&options.work_dir).map_err(failed)?;
    std::fs::create_dir_all(parent).map_err(failed)?;
    let dir = tempfile::Builder::new()
        .prefix(DIR_PREFIX)
        .tempdir_in(parent)
        .map_err(failed)?;
    let owner = scratch::own(dir.path()).map_err(failed)?;
    let parent = parent.clone();
    // Nobody waits for it, and it may be much.
    std::thread::spawn(move || scratch::sweep(&parent, DIR_PREFIX));
    Ok((dir, owner))
}

fn python_config(options: &ExecutorOptions, local_dir: &std::path::Path) -> PythonPoolConfig {
    PythonPoolConfig {
        env: options.python_env.clone(),
        current_dir: Some(options.work_dir.clone()),
        reuse: options.python_reuse,
        max_idle: 2 * options.cores,
        ..PythonPoolConfig::new(options.python_exec.clone(), local_dir)
    }
}

/// Ends when standard input does. The worker that started this process holds the other end.
async fn lifeline(watch: bool) {
    if !watch {
        return std::future::pending().await;
    }
    let (ended, end) = oneshot::channel();
    // A thread of its own: a blocked read must not keep the runtime from ending.
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut buffer = [0; 256];
        while !matches!(input.read(&mut buffer), Ok(0) | Err(_)) {}
        // The executor may have ended in the meantime.
        let _ = ended.send(());
    });
    // An error means that the thread died, which is no sign of life either.
    let _ = end.await;
}

impl From<ExecutorError> for SparkError {
    fn from(error: ExecutorError) -> Self {
        SparkError::other(error.to_string())
    }
}
