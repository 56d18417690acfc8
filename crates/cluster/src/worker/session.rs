//! A worker's connection to its master, made anew when it breaks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pyrite_proto::PROTOCOL_VERSION;
use pyrite_proto::cluster::{
    ExecutorStateChanged, MasterToWorker, RegisterWorker, WorkerHeartbeat, WorkerToMaster,
    master_to_worker as from_master, worker_to_master as to_master,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tracing::{error, info, warn};

use super::executors::Executors;
use super::{OnReady, WorkerReady};
use crate::error::ClusterError;
use crate::ids::{AppId, ExecutorId, WorkerId};
use crate::link::{self, QUEUE};

/// Longest wait for one master to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits between attempts grow from the first to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// How long a worker looks for a master before it gives up; Spark's worker does so for about as long.
const GIVE_UP_AFTER: Duration = Duration::from_secs(600);

/// Who this worker is.
#[derive(Debug, Clone)]
pub struct Identity {
    pub worker_id: WorkerId,
    pub host: String,
    pub port: u32,
    pub cores: u32,
    pub memory_mib: u64,
    pub web_ui_url: String,
}

/// What a worker needs to be in touch with a master.
pub struct Session {
    pub masters: Vec<(String, u16)>,
    pub secret: Option<String>,
    pub identity: Identity,
    pub heartbeat: Duration,
    pub executors: Arc<Executors>,
    pub changes: mpsc::Receiver<ExecutorStateChanged>,
    pub on_ready: Option<OnReady>,
}

struct Connection {
    out: mpsc::Sender<WorkerToMaster>,
    messages: Streaming<MasterToWorker>,
}

impl Session {
    /// Stays with a master, or looks for one, until that is hopeless.
    ///
    /// # Errors
    /// When a master refuses this worker or all stay silent for [`GIVE_UP_AFTER`].
    pub async fn run(&mut self) -> Result<(), ClusterError> {
        loop {
            let connection = self.join().await?;
            let reason = self.stay(connection).await?;
            warn!(
                reason,
                "lost the connection to the master; looking for it again"
            );
            self.executors.set_master("", "");
        }
    }

    /// Tries all masters until one takes this worker.
    async fn join(&mut self) -> Result<Connection, ClusterError> {
        let started = Instant::now();
        let mut wait = RETRY.0;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let mut reason = String::new();
            for master in self.masters.clone() {
                match self.register(&master).await {
                    Ok(connection) => return Ok(connection),
                    Err(error) if error.is_retryable() => {
                        if let ClusterError::Unresponsive { reason: why, .. } = &error {
                            reason.clone_from(why);
                        }
                        warn!(
                            master = format!("spark://{}:{}", master.0, master.1),
                            reason, "Failed to connect to master"
                        );
                    }
                    Err(error) => return Err(error),
                }
            }
            if started.elapsed() > GIVE_UP_AFTER {
                error!("All masters are unresponsive! Giving up.");
                let masters = pyrite_conf::MasterUrl::Standalone {
                    hosts: self.masters.clone(),
                }
                .to_string();
                return Err(ClusterError::Unresponsive {
                    masters,
                    attempts,
                    reason,
                });
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY.1);
        }
    }

    async fn register(&mut self, master: &(String, u16)) -> Result<Connection, ClusterError> {
        let mut client = link::connect(master, self.secret.as_deref(), CONNECT_TIMEOUT).await?;
        let (out, outgoing) = mpsc::channel(QUEUE);
        let identity = &self.identity;
        let register = RegisterWorker {
            worker_id: identity.worker_id.0.clone(),
            host: identity.host.clone(),
            port: identity.port,
            cores: identity.cores,
            memory_mib: identity.memory_mib,
            web_ui_url: identity.web_ui_url.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol_version: PROTOCOL_VERSION,
            executors: self.executors.running(),
        };
        out.try_send(message(to_master::Message::Register(register)))
            .expect("a new channel has room for one message");
        let silent = |reason: &str| ClusterError::Unresponsive {
            masters: format!("spark://{}:{}", master.0, master.1),
            attempts: 1,
            reason: reason.to_owned(),
        };
        let answer = async {
            let mut messages = client
                .connect_worker(ReceiverStream::new(outgoing))
                .await?
                .into_inner();
            let first = messages.message().await?;
            Ok::<_, tonic::Status>((messages, first))
        };
        let (messages, first) = tokio::time::timeout(CONNECT_TIMEOUT, answer)
            .await
            .map_err(|_| silent("no answer"))?
            .map_err(|status| link::call_error(master, &status))?;
        match first.and_then(|first| first.message) {
            Some(from_master::Message::Registered(registered)) => {
                info!(
                    master = registered.master_url,
                    "Successfully registered with master"
                );
                self.executors
                    .set_master(&registered.master_url, &registered.master_web_ui_url);
                if let Some(on_ready) = self.on_ready.take() {
                    on_ready(&WorkerReady {
                        worker_id: identity.worker_id.0.clone(),
                        master_url: registered.master_url,
                        web_ui_url: identity.web_ui_url.clone(),
                    });
                }
                Ok(Connection { out, messages })
            }
            Some(from_master::Message::Refused(refused)) => {
                Err(ClusterError::Refused(refused.message))
            }
            _ => Err(silent("the master closed the connection")),
        }
    }

    /// Serves a master until the connection ends; gives back the reason.
    async fn stay(&mut self, mut connection: Connection) -> Result<String, ClusterError> {
        let mut beats = tokio::time::interval(self.heartbeat);
        let worker_id = self.identity.worker_id.0.clone();
        loop {
            let outgoing = async {
                // Room first: a change is taken only when it can be sent.
                let room = connection.out.reserve().await.ok()?;
                let outgoing = tokio::select! {
                    Some(change) = self.changes.recv() => to_master::Message::ExecutorStateChanged(change),
                    _ = beats.tick() => to_master::Message::Heartbeat(WorkerHeartbeat { worker_id: worker_id.clone() }),
                };
                room.send(message(outgoing));
                Some(())
            };
            let received = tokio::select! {
                received = connection.messages.message() => received,
                sent = outgoing => match sent {
                    Some(()) => continue,
                    None => return Ok("the connection broke".to_owned()),
                },
            };
            let reason = match received {
                Ok(Some(MasterToWorker {
                    message: Some(message),
                })) => self.obey(message)?,
                Ok(Some(MasterToWorker { message: None })) => None,
                Ok(None) => Some("the master closed it".to_owned()),
                Err(status) => Some(status.message().to_owned()),
            };
            if let Some(reason) = reason {
                return Ok(reason);
            }
        }
    }

    /// Does what the master says; gives a reason when the connection has to be made anew.
    fn obey(&self, message: from_master::Message) -> Result<Option<String>, ClusterError> {
        match message {
            from_master::Message::LaunchExecutor(launch) => {
                info!(
                    app_id = launch.app_id,
                    executor_id = launch.executor_id,
                    cores = launch.cores,
                    "Asked to launch executor"
                );
                self.executors.launch(launch);
            }
            from_master::Message::KillExecutor(kill) => {
                info!(
                    app_id = kill.app_id,
                    executor_id = kill.executor_id,
                    "Asked to kill executor"
                );
                self.executors
                    .kill(&AppId(kill.app_id), ExecutorId(kill.executor_id));
            }
            from_master::Message::ApplicationFinished(finished) => {
                info!(app_id = finished.app_id, "application finished");
                self.executors.kill_application(&AppId(finished.app_id));
            }
            from_master::Message::Reconnect(_) => {
                return Ok(Some("the master asked for it".to_owned()));
            }
            from_master::Message::Refused(refused) => {
                return Err(ClusterError::Refused(refused.message));
            }
            from_master::Message::Registered(_) => {}
        }
        Ok(None)
    }
}

fn message(message: to_master::Message) -> WorkerToMaster {
    WorkerToMaster {
        message: Some(message),
    }
}
