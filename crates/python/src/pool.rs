//! The Python workers of one process.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pyrite_conf::scratch::{self, Owner};
use pyrite_proto::core::PythonFunction;
use pyrite_proto::error::SparkError;
use tracing::{debug, warn};

use crate::daemon::PythonDaemon;
use crate::errors::daemon_failed;
use crate::interpreter::{locate, worker_environment};
use crate::options::{PythonPoolConfig, WorkerSpec};
use crate::warm::warm_up;
use crate::worker::PythonWorker;

/// A Unix socket's path holds at most 107 bytes; `/py-XXXXXX/.<uuid>.sock` takes 53 of them.
const MAX_SOCKET_DIR_BYTES: usize = 54;
const SOCKET_DIR_PREFIX: &str = "py-";

/// Starts Python workers, keeps idle ones and ends them all when it is dropped.
///
/// There is one `pyspark.daemon` for each [`WorkerSpec`]; it is started when the first worker
/// is needed and again when it died. A worker that finished its task in order waits for the
/// next one; any other is killed.
///
/// Must be used inside a Tokio runtime.
#[derive(Debug)]
pub struct PythonWorkerPool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: PythonPoolConfig,
    /// Holds the daemons' sockets; `Err` says why it could not be made.
    sockets: Result<SocketDir, String>,
    slots: Mutex<HashMap<WorkerSpec, Arc<Slot>>>,
    sweeping: AtomicBool,
    warmed: AtomicBool,
}

/// What is done to a worker ahead of its tasks.
#[derive(Debug, Clone, Copy)]
enum Preparation {
    Start,
    Import,
}

/// The daemon of one spec and its idle workers.
#[derive(Debug, Default)]
struct Slot {
    daemon: tokio::sync::Mutex<Option<Arc<PythonDaemon>>>,
    idle: Mutex<Vec<IdleWorker>>,
}

#[derive(Debug)]
struct IdleWorker {
    worker: PythonWorker,
    since: Instant,
}

impl PythonWorkerPool {
    /// Creates a pool; starts nothing.
    pub fn new(config: PythonPoolConfig) -> Self {
        let sockets = socket_dir(&config.work_dir).map_err(|e| e.to_string());
        Self {
            inner: Arc::new(Inner {
                config,
                sockets,
                slots: Mutex::new(HashMap::new()),
                sweeping: AtomicBool::new(false),
                warmed: AtomicBool::new(false),
            }),
        }
    }

    /// Settings of the pool.
    pub fn config(&self) -> &PythonPoolConfig {
        &self.inner.config
    }

    /// Returns a worker for a function: an idle one, or a new one.
    ///
    /// The function's own interpreter is taken where that path exists and has the version
    /// that pickled the function, else the pool's. One that the user chose has no substitute.
    ///
    /// # Errors
    /// When no interpreter is found or the daemon cannot be started.
    pub async fn acquire(&self, function: &PythonFunction) -> Result<PythonWorker, SparkError> {
        let default = WorkerSpec {
            exec: self.inner.config.default_exec.clone(),
            env: function.env.clone(),
        };
        let preferred = WorkerSpec {
            exec: function.python_exec.clone(),
            env: function.env.clone(),
        };
        if function.python_exec_required {
            return self.acquire_from(&preferred).await;
        }
        if preferred.exec.is_empty()
            || preferred.exec == default.exec
            || locate(&preferred.exec).is_none()
        {
            return self.acquire_from(&default).await;
        }
        let wanted = &function.python_version;
        let daemon = self.inner.daemon(&preferred).await;
        let fits = |version: &str| wanted.is_empty() || version == wanted;
        match &daemon {
            Ok(daemon) if fits(daemon.version()) => self.acquire_from(&preferred).await,
            // Another installation at the same path: prefer the pool's if that one fits.
            _ => match self.inner.daemon(&default).await {
                Ok(fallback) if fits(fallback.version()) || daemon.is_err() => {
                    self.acquire_from(&default).await
                }
                _ => self.acquire_from(&preferred).await,
            },
        }
    }

    /// Returns a worker of exactly this interpreter and environment.
    ///
    /// # Errors
    /// As [`PythonWorkerPool::acquire`].
    pub async fn acquire_from(&self, spec: &WorkerSpec) -> Result<PythonWorker, SparkError> {
        let slot = self.inner.slot(spec);
        while let Some(idle) = slot.take_idle() {
            if idle.worker.daemon().exit().is_none() && idle.worker.is_waiting() {
                return Ok(idle.worker);
            }
            debug!(pid = idle.worker.pid(), "an idle Python worker went away");
        }
        let daemon = self.inner.daemon(spec).await?;
        match PythonWorker::fork(&daemon, spec).await {
            Ok(worker) => Ok(worker),
            Err(error) => {
                // The daemon died since it was last seen; one new one must do.
                warn!(%error, "restarting the Python daemon");
                self.inner.forget_daemon(spec, &daemon).await;
                let daemon = self.inner.daemon(spec).await?;
                PythonWorker::fork(&daemon, spec).await
            }
        }
    }

    /// Takes back a worker that finished its task in order.
    pub fn release(&self, worker: PythonWorker) {
        self.inner.release(worker);
    }

    /// Starts `count` workers ahead of their first task, in the background. Failures show up
    /// with the first real task.
    pub fn prestart(&self, count: usize) {
        for _ in 0..count {
            self.inner.spawn_preparation(Preparation::Start);
        }
    }

    /// Lets `count` idle or new workers import [`PythonPoolConfig::warm_modules`], in the
    /// background; only the first call does anything. Failures show up with the first task.
    pub fn warm(&self, count: usize) {
        if self.inner.warmed.swap(true, Ordering::AcqRel) {
            return;
        }
        for _ in 0..count {
            self.inner.spawn_preparation(Preparation::Import);
        }
    }

    /// Number of idle workers, over all interpreters.
    pub fn idle_workers(&self) -> usize {
        let slots: Vec<_> = self.inner.slots.lock().values().cloned().collect();
        slots.iter().map(|slot| slot.idle.lock().len()).sum()
    }

    /// Ends all workers and waits for their daemons.
    pub async fn shutdown(&self) {
        let slots: Vec<_> = self
            .inner
            .slots
            .lock()
            .drain()
            .map(|(_, slot)| slot)
            .collect();
        for slot in slots {
            slot.idle.lock().clear();
            if let Some(daemon) = slot.daemon.lock().await.take() {
                daemon.stop().await;
            }
        }
    }
}

impl Inner {
    fn slot(&self, spec: &WorkerSpec) -> Arc<Slot> {
        let mut slots = self.slots.lock();
        Arc::clone(slots.entry(spec.clone()).or_default())
    }

    /// Returns the daemon of a spec, started if need be. Concurrent callers share one start.
    async fn daemon(self: &Arc<Self>, spec: &WorkerSpec) -> Result<Arc<PythonDaemon>, SparkError> {
        let slot = self.slot(spec);
        let mut daemon = slot.daemon.lock().await;
        if let Some(running) = daemon.as_ref().filter(|d| d.exit().is_none()) {
            return Ok(Arc::clone(running));
        }
        let sockets = self.sockets.as_ref().map_err(|error| {
            SparkError::other(format!("cannot create a directory for sockets: {error}"))
        })?;
        let path = locate(&spec.exec)
            .ok_or_else(|| daemon_failed(&spec.exec, "no such executable on this machine"))?;
        let env = worker_environment(&self.config, &spec.env, sockets.path());
        let started = PythonDaemon::start(&path, &env, self.config.current_dir.as_deref()).await?;
        *daemon = Some(Arc::clone(&started));
        self.start_sweeping();
        Ok(started)
    }

    fn start_sweeping(self: &Arc<Self>) {
        if !self.sweeping.swap(true, Ordering::AcqRel) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    async fn forget_daemon(&self, spec: &WorkerSpec, dead: &Arc<PythonDaemon>) {
        let slot = self.slot(spec);
        slot.idle
            .lock()
            .retain(|idle| !Arc::ptr_eq(idle.worker.daemon(), dead));
        let mut daemon = slot.daemon.lock().await;
        if daemon
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, dead))
        {
            *daemon = None;
        }
    }

    fn release(self: &Arc<Self>, worker: PythonWorker) {
        if !self.config.reuse {
            return;
        }
        let slots = self.slots.lock();
        let Some(slot) = slots.get(worker.spec()) else {
            return;
        };
        let mut idle = slot.idle.lock();
        idle.push(IdleWorker {
            worker,
            since: Instant::now(),
        });
        if idle.len() > self.config.max_idle {
            // The one that has waited longest: the others are warm.
            idle.remove(0);
        }
    }

    /// Gets a worker ready in the background.
    fn spawn_preparation(self: &Arc<Self>, preparation: Preparation) {
        let inner = Arc::downgrade(self);
        tokio::spawn(async move {
            let Some(inner) = inner.upgrade() else { return };
            if let Err(error) = inner.prepare_worker(preparation).await {
                // A task that needs the worker reports the reason; an application that ends first
                // does not care.
                debug!(%error, "could not prepare a Python worker");
            }
        });
    }

    async fn prepare_worker(self: &Arc<Self>, preparation: Preparation) -> Result<(), SparkError> {
        let spec = &WorkerSpec {
            exec: self.config.default_exec.clone(),
            env: Default::default(),
        };
        let idle = match preparation {
            Preparation::Start => None,
            Preparation::Import => self.slot(spec).take_idle(),
        };
        let mut worker = match idle {
            Some(idle) => idle.worker,
            None => PythonWorker::fork(&self.daemon(spec).await?, spec).await?,
        };
        if let Preparation::Start = preparation {
            self.release(worker);
            return Ok(());
        }
        // An empty directory in place of the application's files, which come with the task.
        let files_dir = self
            .sockets
            .as_ref()
            .map_or(Path::new("/"), |dir| dir.path());
        if warm_up(&mut worker, &self.config.warm_modules, files_dir).await? {
            self.release(worker);
        }
        Ok(())
    }

    /// Ends the workers that have been idle for too long.
    fn end_idle(&self, now: Instant) {
        let slots: Vec<_> = self.slots.lock().values().cloned().collect();
        for slot in slots {
            slot.idle
                .lock()
                .retain(|idle| now.duration_since(idle.since) < self.config.idle_timeout);
        }
    }
}

/// Ends idle workers from time to time, for as long as the pool exists.
async fn sweep(inner: Weak<Inner>) {
    loop {
        let Some(pause) = inner.upgrade().map(|inner| inner.config.idle_timeout / 4) else {
            return;
        };
        tokio::time::sleep(pause.max(Duration::from_millis(50))).await;
        if let Some(inner) = inner.upgrade() {
            inner.end_idle(Instant::now());
        }
    }
}

impl Slot {
    fn take_idle(&self) -> Option<IdleWorker> {
        self.idle.lock().pop()
    }
}

/// A directory for sockets, which the next process removes if this one cannot.
#[derive(Debug)]
struct SocketDir {
    dir: tempfile::TempDir,
    _owner: Owner,
}

impl SocketDir {
    fn path(&self) -> &Path {
        self.dir.path()
    }
}

fn socket_dir(work_dir: &Path) -> std::io::Result<SocketDir> {
    let mut parent: PathBuf = work_dir.to_owned();
    if parent.as_os_str().len() > MAX_SOCKET_DIR_BYTES || std::fs::create_dir_all(&parent).is_err()
    {
        parent = std::env::temp_dir();
        scratch::sweep(&parent, SOCKET_DIR_PREFIX);
    }
    let dir = tempfile::Builder::new()
        .prefix(SOCKET_DIR_PREFIX)
        .tempdir_in(parent)?;
    let owner = scratch::own(dir.path())?;
    Ok(SocketDir { dir, _owner: owner })
}
