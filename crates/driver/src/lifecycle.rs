//! The life of a driver process: the application's pipe is its lifeline.

use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::time::Duration;

use pyrite_proto::error::SparkError;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::application::Application;
use crate::settings::StartRequest;
use crate::start::{self, Driver};

/// Everything must have ended within this time after the application has.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(4);
/// Answers on their way when the end comes get this long.
const LAST_ANSWERS: Duration = Duration::from_millis(300);

/// Runs the driver of one application: reads its start request from standard input, answers
/// on standard output, serves until the application is gone. To be called outside of an
/// asynchronous runtime; sets up logging by itself.
pub fn run() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&SparkError::other(format!("cannot start threads: {error}"))),
    };
    let code = runtime.block_on(serve());
    // Detached threads (a task in a foreign library) must not keep the process alive.
    runtime.shutdown_timeout(Duration::from_millis(100));
    code
}

async fn serve() -> ExitCode {
    let (first_line, gone) = watch_stdin();
    let driver = match first_line.await {
        Ok(line) => match parse(&line) {
            Ok(request) => tokio::select! {
                started = start::start(request) => started,
                // The application did not wait for us.
                () = gone.cancelled() => return ExitCode::FAILURE,
            },
            Err(error) => Err(error),
        },
        Err(_) => return ExitCode::FAILURE,
    };
    let Driver {
        application,
        answer,
        server,
    } = match driver {
        Ok(driver) => driver,
        Err(error) => return refuse(&error),
    };
    if say(&answer).is_err() {
        info!("the application is gone before it got an answer");
        application.request_stop(true);
    }
    let failed = wait_for_end(&application, &gone).await;
    let directory = application.local_dir.clone();
    let ended = async {
        application.shut_down(failed).await;
        // The answer to `Stop` and the errors of running jobs still have to leave.
        server.stop(LAST_ANSWERS).await;
    };
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, ended).await.is_err() {
        warn!("not everything ended in time");
    }
    remove(&directory);
    ExitCode::SUCCESS
}

/// Reads standard input on a thread of its own: the first line, and then nothing but its end.
fn watch_stdin() -> (oneshot::Receiver<String>, CancellationToken) {
    let (line_sender, line) = oneshot::channel();
    let gone = CancellationToken::new();
    let at_end = gone.clone();
    std::thread::spawn(move || {
        let _end = at_end.drop_guard();
        let mut input = std::io::stdin().lock();
        let mut first = String::new();
        if input.read_line(&mut first).is_ok_and(|n| n > 0) && line_sender.send(first).is_ok() {
            let mut rest = std::io::sink();
            if let Err(error) = std::io::copy(&mut input, &mut rest) {
                warn!(%error, "cannot read from the application");
            }
        }
    });
    (line, gone)
}

fn parse(line: &str) -> Result<StartRequest, SparkError> {
    serde_json::from_str(line)
        .map_err(|e| SparkError::other(format!("the start request cannot be understood: {e}")))
}

/// Waits for one of the ends; returns whether the application failed.
async fn wait_for_end(application: &Application, gone: &CancellationToken) -> bool {
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        warn!("signals cannot be watched");
        gone.cancelled().await;
        return false;
    };
    tokio::select! {
        failed = application.stop_requested() => failed,
        () = gone.cancelled() => {
            info!("the application has ended");
            false
        }
        _ = terminate.recv() => true,
        _ = interrupt.recv() => true,
    }
}

fn say(answer: &serde_json::Value) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{answer}")?;
    out.flush()
}

/// Tells the application why there is no driver.
fn refuse(error: &SparkError) -> ExitCode {
    let answer = json!({
        "ok": false,
        "error_class": error.class_name,
        "message": error.to_string(),
    });
    if say(&answer).is_err() {
        warn!(%error, "cannot start, and nobody is there to be told");
    }
    ExitCode::FAILURE
}

fn remove(directory: &std::path::Path) {
    if let Err(error) = std::fs::remove_dir_all(directory) {
        warn!(%error, directory = %directory.display(), "cannot remove the local directory");
    }
}

/// The gRPC server of one application, while it runs.
pub struct Server {
    /// Ends accepting and, when its calls are done, serving.
    pub shutdown: CancellationToken,
    /// The server's task.
    pub task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Lets running calls end for `grace`, then cuts them off.
    pub async fn stop(self, grace: Duration) {
        self.shutdown.cancel();
        let abort = self.task.abort_handle();
        if tokio::time::timeout(grace, self.task).await.is_err() {
            abort.abort();
        }
    }
}

/// Ends a freshly made directory when a start fails half-way.
pub struct RemoveOnFailure(Option<std::path::PathBuf>);

impl RemoveOnFailure {
    /// Watches over `directory`.
    pub fn new(directory: std::path::PathBuf) -> Self {
        Self(Some(directory))
    }

    /// The start went well; the directory stays.
    pub fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for RemoveOnFailure {
    fn drop(&mut self) {
        if let Some(directory) = self.0.take() {
            remove(&directory);
        }
    }
}
