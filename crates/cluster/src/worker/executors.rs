//! The executors of one worker: started, watched, ended.

use std::collections::{BTreeMap, VecDeque};
use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use parking_lot::Mutex;
use pyrite_conf::scratch;
use pyrite_proto::cluster::{ExecutorState, ExecutorStateChanged, LaunchExecutor, RunningExecutor};
use pyrite_ui::worker::{ExecutorRow, WorkerPage, WorkerSource};
use std::os::unix::process::ExitStatusExt;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::WorkerOptions;
use super::launch::{self, ExecutorProgram};
use crate::error::ClusterError;
use crate::ids::{AppId, ExecutorId, WorkerId};
use crate::link::QUEUE;

/// Time between asking an executor to end and ending it.
pub const KILL_GRACE: Duration = Duration::from_secs(3);

/// How much of its stderr the message about a failed executor quotes at most.
const LAST_WORDS_BYTES: u64 = 1000;
const LAST_WORDS_LINES: usize = 4;

type Key = (AppId, ExecutorId);

struct Running {
    launch: LaunchExecutor,
    kill: CancellationToken,
}

#[derive(Default)]
struct Inner {
    running: BTreeMap<Key, Running>,
    finished: VecDeque<ExecutorRow>,
    tasks: JoinSet<()>,
    master_url: String,
    master_web_ui_url: String,
}

/// The executors of one worker.
pub struct Executors {
    worker_id: WorkerId,
    host: String,
    cores: u32,
    memory_mib: u64,
    work_dir: PathBuf,
    program: ExecutorProgram,
    retained: usize,
    changes: mpsc::Sender<ExecutorStateChanged>,
    inner: Mutex<Inner>,
}

impl Executors {
    /// No executors yet; what happens to them comes out of the receiver.
    pub fn new(
        options: &WorkerOptions,
        worker_id: WorkerId,
    ) -> Result<(Arc<Self>, mpsc::Receiver<ExecutorStateChanged>), ClusterError> {
        let (changes, received) = mpsc::channel(QUEUE);
        let work_dir = std::path::absolute(&options.work_dir).map_err(|e| {
            ClusterError::io(format!("cannot use {}", options.work_dir.display()), e)
        })?;
        let executors = Self {
            worker_id,
            host: options.host.clone(),
            cores: options.cores,
            memory_mib: options.memory_mib,
            work_dir,
            program: options.program.clone(),
            retained: options
                .conf
                .get_unsigned("spark.worker.ui.retainedExecutors")?,
            changes,
            inner: Mutex::default(),
        };
        Ok((Arc::new(executors), received))
    }

    /// Starts an executor and watches it until its end, which is reported.
    pub fn launch(self: &Arc<Self>, launch: LaunchExecutor) {
        let key = (AppId(launch.app_id.clone()), ExecutorId(launch.executor_id));
        let mut inner = self.inner.lock();
        while inner.tasks.try_join_next().is_some() {}
        if inner.running.contains_key(&key) {
            warn!(app_id = %key.0, executor_id = %key.1, "asked twice to launch the same executor");
            return;
        }
        let kill = CancellationToken::new();
        inner.running.insert(
            key.clone(),
            Running {
                launch: launch.clone(),
                kill: kill.clone(),
            },
        );
        let executors = self.clone();
        inner
            .tasks
            .spawn(async move { executors.watch(key, launch, kill).await });
    }

    async fn watch(self: Arc<Self>, key: Key, launch: LaunchExecutor, kill: CancellationToken) {
        let dir = self.work_dir.join(&key.0.0).join(key.1.to_string());
        let spawned = if is_plain_name(&key.0.0) {
            launch::spawn(&self.program, &launch, &self.worker_id, &self.host, &dir)
        } else {
            Err(ClusterError::Refused(
                "the application's id is no plain name".to_owned(),
            ))
        };
        let (state, mut message, exit_status) = match spawned {
            Err(error) => {
                warn!(app_id = %key.0, executor_id = %key.1, error = %causes(&error), "cannot launch executor");
                (ExecutorState::Failed, causes(&error), None)
            }
            Ok(child) => {
                info!(app_id = %key.0, executor_id = %key.1, pid = child.id(), "Launched executor");
                self.report(&key, ExecutorState::Running, String::new(), None)
                    .await;
                end_of(child, &kill).await
            }
        };
        if state == ExecutorState::Exited && exit_status != Some(0) {
            message.push_str(&last_words(&dir.join("stderr")).await);
        }
        info!(app_id = %key.0, executor_id = %key.1, state = state.as_str_name(), message, "executor finished");
        // A killed executor leaves its blocks and shuffle data; its output stays to be read.
        let leftovers = tokio::task::spawn_blocking(move || scratch::sweep(&dir, "executor-"));
        if let Err(error) = leftovers.await {
            warn!(%error, "the clean-up after an executor broke off");
        }
        {
            let mut inner = self.inner.lock();
            inner.running.remove(&key);
            inner.finished.push_back(row(&launch, state.as_str_name()));
            while inner.finished.len() > self.retained {
                inner.finished.pop_front();
            }
        }
        self.report(&key, state, message, exit_status).await;
    }

    async fn report(
        &self,
        (app_id, executor_id): &Key,
        state: ExecutorState,
        message: String,
        exit_status: Option<i32>,
    ) {
        let change = ExecutorStateChanged {
            app_id: app_id.0.clone(),
            executor_id: executor_id.0,
            state: state.into(),
            message,
            exit_status,
        };
        // The receiver is gone only when the whole worker ends; then nobody has to know.
        let _ = self.changes.send(change).await;
    }

    /// Ends one executor, if it is there.
    pub fn kill(&self, app_id: &AppId, executor_id: ExecutorId) {
        if let Some(running) = self
            .inner
            .lock()
            .running
            .get(&(app_id.clone(), executor_id))
        {
            running.kill.cancel();
        }
    }

    /// Ends all executors of one application.
    pub fn kill_application(&self, app_id: &AppId) {
        for ((owner, _), running) in &self.inner.lock().running {
            if owner == app_id {
                running.kill.cancel();
            }
        }
    }

    /// Ends all executors and waits until they are gone, not longer than their grace and a little.
    pub async fn end_all(&self) {
        let mut tasks = {
            let mut inner = self.inner.lock();
            for running in inner.running.values() {
                running.kill.cancel();
            }
            std::mem::take(&mut inner.tasks)
        };
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(KILL_GRACE + Duration::from_secs(2), all)
            .await
            .is_err()
        {
            warn!("some executors did not end in time");
        }
    }

    /// What runs now, for a master that has to know.
    pub fn running(&self) -> Vec<RunningExecutor> {
        let as_message = |running: &Running| RunningExecutor {
            app_id: running.launch.app_id.clone(),
            executor_id: running.launch.executor_id,
            cores: running.launch.cores,
            memory_mib: running.launch.memory_mib,
        };
        let inner = self.inner.lock();
        inner
            .running
            .values()
            .filter(|running| !running.kill.is_cancelled())
            .map(as_message)
            .collect()
    }

    /// Applications with an executor here.
    pub fn applications(&self) -> std::collections::BTreeSet<AppId> {
        self.inner
            .lock()
            .running
            .keys()
            .map(|(app_id, _)| app_id.clone())
            .collect()
    }

    /// The directory with a directory for each application.
    pub fn dir(&self) -> &std::path::Path {
        &self.work_dir
    }

    /// Notes which master has this worker, for the page.
    pub fn set_master(&self, url: &str, web_ui_url: &str) {
        let mut inner = self.inner.lock();
        url.clone_into(&mut inner.master_url);
        web_ui_url.clone_into(&mut inner.master_web_ui_url);
    }
}

/// Waits for the end of an executor, or brings it about when asked to.
async fn end_of(
    mut child: Child,
    kill: &CancellationToken,
) -> (ExecutorState, String, Option<i32>) {
    let group = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .map(Pid::from_raw);
    let stdin = child.stdin.take();
    let (status, was_killed) = tokio::select! {
        status = child.wait() => (status, false),
        () = kill.cancelled() => {
            drop(stdin);
            signal(group, Signal::SIGTERM);
            match tokio::time::timeout(KILL_GRACE, child.wait()).await {
                Ok(status) => (status, true),
                Err(_) => {
                    signal(group, Signal::SIGKILL);
                    (child.wait().await, true)
                }
            }
        }
    };
    // Whatever the executor left behind in its group goes with it.
    signal(group, Signal::SIGKILL);
    match status {
        Err(error) => (
            ExecutorState::Failed,
            format!("cannot wait for the executor: {error}"),
            None,
        ),
        Ok(status) => {
            let code = exit_code(status);
            let message = format!("Command exited with code {code}");
            let state = if was_killed {
                ExecutorState::Killed
            } else {
                ExecutorState::Exited
            };
            (state, message, Some(code))
        }
    }
}

/// The end of what an executor wrote to a file, for the message about its own end; nothing when
/// it wrote nothing.
async fn last_words(path: &Path) -> String {
    let read = async {
        let mut file = tokio::fs::File::open(path).await?;
        let length = file.metadata().await?.len();
        let start = length.saturating_sub(LAST_WORDS_BYTES);
        file.seek(SeekFrom::Start(start)).await?;
        let mut bytes = Vec::new();
        file.take(LAST_WORDS_BYTES).read_to_end(&mut bytes).await?;
        Ok::<_, std::io::Error>(bytes)
    };
    match read.await {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let mut lines: Vec<&str> = text.lines().rev().map(str::trim).collect();
            lines.retain(|line| !line.is_empty());
            lines.truncate(LAST_WORDS_LINES);
            lines.reverse();
            if lines.is_empty() {
                return String::new();
            }
            format!("; its last words: {}", lines.join(" / "))
        }
        Err(error) => {
            warn!(path = %path.display(), %error, "cannot read what an executor wrote");
            String::new()
        }
    }
}

/// The exit code as a shell tells it: 128 and the number of the signal that ended the process.
fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(-1)
}

fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group
        && let Err(error) = killpg(group, signal)
        && error != nix::errno::Errno::ESRCH
    {
        warn!(%error, %group, %signal, "cannot signal an executor");
    }
}

fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

fn row(launch: &LaunchExecutor, state: &'static str) -> ExecutorRow {
    let application = launch.application.as_ref();
    ExecutorRow {
        id: launch.executor_id,
        app_id: launch.app_id.clone(),
        app_name: application.map_or_else(String::new, |a| a.name.clone()),
        user: application.map_or_else(String::new, |a| a.user.clone()),
        cores: launch.cores,
        memory_mib: launch.memory_mib,
        state,
    }
}

impl WorkerSource for Executors {
    fn page(&self) -> WorkerPage {
        let inner = self.inner.lock();
        WorkerPage {
            id: self.worker_id.0.clone(),
            master_url: inner.master_url.clone(),
            master_web_ui_url: inner.master_web_ui_url.clone(),
            cores: self.cores,
            memory_mib: self.memory_mib,
            running: inner
                .running
                .values()
                .map(|running| row(&running.launch, "RUNNING"))
                .collect(),
            finished: inner.finished.iter().cloned().collect(),
        }
    }

    fn work_dir(&self) -> PathBuf {
        self.work_dir.clone()
    }
}
