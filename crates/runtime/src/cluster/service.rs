//! `exec.DriverService`: what executors get from their driver besides tasks.

use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use parking_lot::Mutex;
use pyrite_proto::exec;
use pyrite_proto::exec::driver_service_server::DriverService;
use pyrite_proto::exec::executor_command::Command;
use pyrite_proto::exec::{
    AttachRequest, ExecutorCommand, FileChunk, ReadFileRequest, TaskReport, TaskReportReply,
};
use pyrite_python::{PythonTaskReport, TaskReports};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::scheduler::Scheduler;
use crate::api::ExecutorInfo;
use crate::files::below;
use crate::reports::OnceReports;

/// Bytes of a file in one message.
const CHUNK_BYTES: usize = 1 << 20;

/// Commands that wait for a slow executor.
const COMMAND_BUFFER: usize = 64;

/// Directories below the driver's local directory that executors may read.
const READABLE: [&str; 3] = ["broadcast", "parallel", "files"];

/// Executors that are connected.
pub(super) struct Executors {
    scheduler: Arc<Scheduler>,
    attached: Mutex<Attached>,
    changed: Notify,
}

#[derive(Default)]
struct Attached {
    by_id: HashMap<String, Connection>,
    /// Whether executors' Python workers import what functions of DataFrames need.
    warm_python: bool,
    connections: u64,
}

struct Connection {
    /// Tells a connection from a later one of the same executor.
    number: u64,
    info: ExecutorInfo,
    commands: mpsc::Sender<Result<ExecutorCommand, Status>>,
}

impl Executors {
    pub fn new(scheduler: Arc<Scheduler>) -> Self {
        Self {
            scheduler,
            attached: Mutex::default(),
            changed: Notify::new(),
        }
    }

    pub fn infos(&self) -> Vec<ExecutorInfo> {
        let attached = self.attached.lock();
        let mut infos: Vec<_> = attached.by_id.values().map(|c| c.info.clone()).collect();
        infos.sort_by(|a, b| a.executor_id.cmp(&b.executor_id));
        infos
    }

    /// Sends a command to every executor that still takes commands.
    pub async fn broadcast(&self, command: &Command) {
        let all: Vec<_> = {
            let attached = self.attached.lock();
            attached
                .by_id
                .values()
                .map(|c| c.commands.clone())
                .collect()
        };
        for commands in all {
            let command = ExecutorCommand {
                command: Some(command.clone()),
            };
            // An executor that has gone needs no command.
            let _ = commands
                .send_timeout(Ok(command), Duration::from_secs(5))
                .await;
        }
    }

    /// Tells executors, those that come later too, to warm their Python workers up.
    pub async fn warm_python(&self) {
        self.attached.lock().warm_python = true;
        self.broadcast(&Command::WarmPython(exec::WarmPython {}))
            .await;
    }

    pub async fn lost(&self, executor_id: &str, reason: &str) {
        self.attached.lock().by_id.remove(executor_id);
        self.changed.notify_waiters();
        self.scheduler.executor_lost(executor_id, reason).await;
    }

    /// Ends every connection; executors take that for the end of their driver.
    pub fn disconnect(&self) {
        self.attached.lock().by_id.clear();
    }

    pub async fn wait_until_gone(&self, limit: Duration) {
        let gone = async {
            loop {
                let changed = self.changed.notified();
                if self.attached.lock().by_id.is_empty() {
                    return;
                }
                changed.await;
            }
        };
        if tokio::time::timeout(limit, gone).await.is_err() {
            tracing::warn!("executors did not end in time");
        }
    }

    fn attach(
        &self,
        info: ExecutorInfo,
        commands: mpsc::Sender<Result<ExecutorCommand, Status>>,
    ) -> u64 {
        let mut attached = self.attached.lock();
        attached.connections += 1;
        let number = attached.connections;
        tracing::info!(
            executor_id = info.executor_id,
            host = info.host,
            cores = info.cores,
            "executor registered"
        );
        if attached.warm_python {
            let command = ExecutorCommand {
                command: Some(Command::WarmPython(exec::WarmPython {})),
            };
            // The channel is new: it has room, and its reader is about to be.
            let _ = commands.try_send(Ok(command));
        }
        attached.by_id.insert(
            info.executor_id.clone(),
            Connection {
                number,
                info,
                commands,
            },
        );
        number
    }

    /// A connection has ended; its executor has too, unless it has connected again.
    async fn detached(&self, executor_id: &str, number: u64) {
        let current = self
            .attached
            .lock()
            .by_id
            .get(executor_id)
            .is_some_and(|c| c.number == number);
        if current {
            tracing::info!(executor_id, "executor lost");
            self.lost(executor_id, "its connection ended").await;
        }
    }
}

/// The commands for one executor; notices when the connection ends.
struct Commands {
    inner: ReceiverStream<Result<ExecutorCommand, Status>>,
    executors: Arc<Executors>,
    executor_id: String,
    number: u64,
}

impl Stream for Commands {
    type Item = Result<ExecutorCommand, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.inner).poll_next(cx)
    }
}

impl Drop for Commands {
    fn drop(&mut self) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let executors = self.executors.clone();
            let executor_id = std::mem::take(&mut self.executor_id);
            let number = self.number;
            runtime.spawn(async move { executors.detached(&executor_id, number).await });
        }
    }
}

/// The service itself.
pub(super) struct Service {
    local_dir: PathBuf,
    reports: Arc<OnceReports>,
    executors: Arc<Executors>,
}

impl Service {
    pub fn new(local_dir: PathBuf, reports: Arc<OnceReports>, executors: Arc<Executors>) -> Self {
        Self {
            local_dir,
            reports,
            executors,
        }
    }

    fn readable(&self, path: &str) -> Result<PathBuf, Status> {
        let top = path.split('/').next().unwrap_or_default();
        if !READABLE.contains(&top) {
            return Err(Status::permission_denied(format!(
                "`{path}` is not for executors"
            )));
        }
        below(&self.local_dir, path).map_err(|error| Status::permission_denied(error.to_string()))
    }
}

#[tonic::async_trait]
impl DriverService for Service {
    type ReadFileStream = ReceiverStream<Result<FileChunk, Status>>;

    async fn read_file(
        &self,
        request: Request<ReadFileRequest>,
    ) -> Result<Response<Self::ReadFileStream>, Status> {
        let ReadFileRequest {
            path,
            offset_bytes,
            length_bytes,
        } = request.into_inner();
        let mut file = tokio::fs::File::open(self.readable(&path)?)
            .await
            .map_err(|error| file_status(&path, &error))?;
        file.seek(std::io::SeekFrom::Start(offset_bytes))
            .await
            .map_err(|error| file_status(&path, &error))?;
        let mut rest = if length_bytes == 0 {
            u64::MAX
        } else {
            length_bytes
        };
        let (chunks, receiver) = mpsc::channel(4);
        tokio::spawn(async move {
            while rest > 0 {
                let mut data = Vec::with_capacity(
                    CHUNK_BYTES.min(usize::try_from(rest).unwrap_or(CHUNK_BYTES)),
                );
                let limit = rest.min(CHUNK_BYTES as u64);
                let read = (&mut file).take(limit).read_to_end(&mut data).await;
                let chunk = match read {
                    Ok(0) => return,
                    Ok(count) => {
                        rest -= count as u64;
                        Ok(FileChunk { data: data.into() })
                    }
                    Err(error) => Err(file_status(&path, &error)),
                };
                let failed = chunk.is_err();
                if chunks.send(chunk).await.is_err() || failed {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn report_task(
        &self,
        request: Request<TaskReport>,
    ) -> Result<Response<TaskReportReply>, Status> {
        let report = request.into_inner();
        let partition = usize::try_from(report.partition)
            .map_err(|_| Status::invalid_argument("a negative partition"))?;
        self.reports
            .python_task(PythonTaskReport {
                job_id: report.job_id,
                operator_id: report.operator_id,
                partition,
                accumulator_updates: report.accumulator_updates,
            })
            .await
            .map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(TaskReportReply {}))
    }

    type AttachStream = Pin<Box<dyn Stream<Item = Result<ExecutorCommand, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<AttachRequest>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let AttachRequest {
            executor_id,
            host,
            cores,
            version,
            ..
        } = request.into_inner();
        let own = env!("CARGO_PKG_VERSION");
        if version != own {
            return Err(Status::failed_precondition(format!(
                "this driver is of version {own}, executor {executor_id} of version {version}"
            )));
        }
        let (commands, receiver) = mpsc::channel(COMMAND_BUFFER);
        let info = ExecutorInfo {
            executor_id: executor_id.clone(),
            host,
            cores,
        };
        let number = self.executors.attach(info, commands);
        Ok(Response::new(Box::pin(Commands {
            inner: ReceiverStream::new(receiver),
            executors: self.executors.clone(),
            executor_id,
            number,
        })))
    }
}

fn file_status(path: &str, error: &std::io::Error) -> Status {
    if error.kind() == std::io::ErrorKind::NotFound {
        Status::not_found(format!("`{path}` does not exist on the driver"))
    } else {
        Status::internal(format!("cannot read `{path}` on the driver: {error}"))
    }
}
