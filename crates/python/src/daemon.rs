//! The `pyspark.daemon` child that forks workers on demand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pyrite_proto::error::SparkError;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use crate::errors::{daemon_failed, describe_exit};

/// Starts Spark's own daemon; its comments say in which state.
const LAUNCHER: &str = include_str!("daemon_start.py");

const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// What the daemon printed last gets this long.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(200);
/// The longest text that a sane daemon writes while it starts.
const MAX_GREETING_BYTES: i32 = 4096;

/// A running daemon. Dropping the last handle closes its standard input, which ends it and
/// all its workers.
#[derive(Debug)]
pub(crate) struct PythonDaemon {
    socket: PathBuf,
    version: String,
    /// Holds the daemon: it is ended when this is sent to, or dropped.
    stop: mpsc::Sender<()>,
    exit: watch::Receiver<Option<String>>,
    owner: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl PythonDaemon {
    /// Starts a daemon and waits until it accepts connections.
    pub(crate) async fn start(
        exec: &Path,
        env: &BTreeMap<String, String>,
        current_dir: Option<&Path>,
    ) -> Result<Arc<Self>, SparkError> {
        let shown = exec.display().to_string();
        let mut command = Command::new(exec);
        command
            .args(["-c", LAUNCHER, "pyspark.worker"])
            .envs(env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        if let Some(directory) = current_dir {
            command.current_dir(directory);
        }
        let mut child = command
            .spawn()
            .map_err(|e| daemon_failed(&shown, &e.to_string()))?;
        let mut stdout = child.stdout.take().expect("stdout is piped");
        let stdin = child.stdin.take().expect("stdin is piped");
        let greeting = tokio::time::timeout(START_TIMEOUT, read_greeting(&mut stdout)).await;
        let (version, socket) = match greeting {
            Ok(Ok(greeting)) => greeting,
            Ok(Err(error)) => {
                let how = match tokio::time::timeout(STOP_TIMEOUT, child.wait()).await {
                    Ok(Ok(status)) => describe_exit(status),
                    _ => error.to_string(),
                };
                return Err(daemon_failed(&shown, &how));
            }
            Err(_) => return Err(daemon_failed(&shown, "no answer within 60 seconds")),
        };
        info!(python_exec = %shown, %version, pid = child.id(), "started Python daemon");
        let (stop, stop_request) = mpsc::channel(1);
        let (exit_sender, exit) = watch::channel(None);
        let owner = tokio::spawn(own(child, stdin, stdout, stop_request, exit_sender));
        Ok(Arc::new(Self {
            socket,
            version,
            stop,
            exit,
            owner: Mutex::new(Some(owner)),
        }))
    }

    /// `major.minor` of the interpreter.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// How the daemon ended, once it has.
    pub(crate) fn exit(&self) -> Option<String> {
        self.exit.borrow().clone()
    }

    /// Forks a worker; returns its connection and process id.
    pub(crate) async fn fork(&self) -> Result<(UnixStream, i32), SparkError> {
        let dead = |how: String| {
            let how = self.exit().unwrap_or(how);
            SparkError::other(format!("the daemon of the Python workers is gone: {how}"))
        };
        let mut stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|e| dead(e.to_string()))?;
        let pid = stream.read_i32().await.map_err(|e| dead(e.to_string()))?;
        if pid <= 0 {
            return Err(dead(format!("it could not fork a worker (code {pid})")));
        }
        debug!(pid, "forked Python worker");
        Ok((stream, pid))
    }

    /// Ends the daemon and waits for it.
    pub(crate) async fn stop(&self) {
        let owner = self.owner.lock().take();
        // Full or closed means that the owner knows already.
        let _ = self.stop.try_send(());
        if let Some(owner) = owner
            && tokio::time::timeout(STOP_TIMEOUT * 2, owner).await.is_err()
        {
            warn!("a Python daemon did not end in time");
        }
    }
}

async fn read_greeting(stdout: &mut ChildStdout) -> std::io::Result<(String, PathBuf)> {
    let version = read_text(stdout).await?;
    let socket = read_text(stdout).await?;
    Ok((version, PathBuf::from(socket)))
}

async fn read_text(source: &mut (impl AsyncRead + Unpin)) -> std::io::Result<String> {
    let invalid = |text: String| std::io::Error::new(std::io::ErrorKind::InvalidData, text);
    let length = source.read_i32().await?;
    if !(0..=MAX_GREETING_BYTES).contains(&length) {
        return Err(invalid(
            "it wrote something else to its standard output first".into(),
        ));
    }
    let mut text = vec![0; usize::try_from(length).expect("checked above")];
    source.read_exact(&mut text).await?;
    String::from_utf8(text).map_err(|e| invalid(e.to_string()))
}

/// Owns the child until it ends, and passes on what workers print.
async fn own(
    mut child: Child,
    stdin: ChildStdin,
    mut stdout: ChildStdout,
    mut stop_request: mpsc::Receiver<()>,
    exit: watch::Sender<Option<String>>,
) {
    let _group = ProcessGroup::of(&child);
    // The daemon's own; its workers write to standard error themselves.
    let mut printing =
        tokio::spawn(async move { tokio::io::copy(&mut stdout, &mut tokio::io::stderr()).await });
    let status = tokio::select! {
        status = child.wait() => status,
        // Closing standard input asks the daemon to end itself and its workers.
        _ = stop_request.recv() => end(&mut child, stdin).await,
    };
    // The end of the daemon is the end of the pipe, unless a fork of its holds it.
    if tokio::time::timeout(LAST_WORDS_TIMEOUT, &mut printing)
        .await
        .is_err()
    {
        printing.abort();
    }
    let how = match status {
        Ok(status) => describe_exit(status),
        Err(error) => error.to_string(),
    };
    debug!(how, "Python daemon ended");
    exit.send_replace(Some(how));
}

/// The daemon and its workers, which form one process group. Kills what is left of it when
/// the owner ends, however it ends; a worker in an endless loop does not notice otherwise.
struct ProcessGroup(Option<nix::unistd::Pid>);

impl ProcessGroup {
    fn of(child: &Child) -> Self {
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        Self(pid.map(nix::unistd::Pid::from_raw))
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Usually nothing is left.
            let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

async fn end(child: &mut Child, stdin: ChildStdin) -> std::io::Result<ExitStatus> {
    drop(stdin);
    match tokio::time::timeout(STOP_TIMEOUT, child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            child.start_kill()?;
            child.wait().await
        }
    }
}
