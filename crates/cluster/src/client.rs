//! A driver's connection to its master.

use std::time::Duration;

use pyrite_conf::{MasterUrl, SparkConf};
use pyrite_proto::PROTOCOL_VERSION;
use pyrite_proto::cluster::{
    ApplicationDescription, DriverToMaster, ExecutorState, KillExecutors, MasterToDriver,
    RegisterApplication, UnregisterApplication, driver_to_master as to_master,
    master_to_driver as from_master,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tracing::{info, warn};

use crate::error::ClusterError;
use crate::ids::{AppId, ExecutorId};
use crate::link::{self, QUEUE};

/// Waits between attempts to find a lost master grow from the first to the second.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// Longest wait for the master to confirm the end of an application.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// What a driver learns from its master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplicationEvent {
    /// An executor is being started. Comes again for known executors after [`Self::MasterReconnected`].
    ExecutorAdded {
        /// Its number.
        executor_id: ExecutorId,
        /// The worker that starts it.
        worker_id: String,
        /// Host of that worker.
        host: String,
        /// Its cores.
        cores: u32,
        /// Its memory.
        memory_mib: u64,
    },
    /// An executor started or ended.
    ExecutorUpdated {
        /// Its number.
        executor_id: ExecutorId,
        /// What it is now.
        state: ExecutorState,
        /// Why, for people.
        message: String,
        /// Its exit status, if it exited.
        exit_status: Option<i32>,
        /// Whether its whole worker is gone, and what it stored with it.
        worker_lost: bool,
    },
    /// The connection to the master broke. Executors go on; the client looks for the master.
    MasterLost {
        /// Why.
        reason: String,
    },
    /// The master is back and knows this application.
    MasterReconnected,
    /// The master does not want this application any more. Nothing follows.
    Removed {
        /// Why.
        message: String,
    },
}

impl ApplicationEvent {
    /// Whether an executor is gone for good.
    pub fn ended_executor(&self) -> Option<ExecutorId> {
        match self {
            Self::ExecutorUpdated {
                executor_id, state, ..
            } if !matches!(state, ExecutorState::Launching | ExecutorState::Running) => {
                Some(*executor_id)
            }
            _ => None,
        }
    }
}

/// How a driver looks for its masters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientOptions {
    /// How often all masters are tried.
    pub attempts: u32,
    /// Time from one attempt to the next.
    pub interval: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            attempts: 3,
            interval: Duration::from_secs(20),
        }
    }
}

impl ClientOptions {
    /// Spark's three attempts, 20 seconds apart, unless `spark.pyrite.master.*` says otherwise.
    ///
    /// # Errors
    /// When a setting is wrong.
    pub fn from_conf(conf: &SparkConf) -> Result<Self, ClusterError> {
        Ok(Self {
            attempts: conf.get_unsigned("spark.pyrite.master.connectAttempts")?,
            interval: conf.get_duration("spark.pyrite.master.connectInterval")?,
        })
    }
}

enum Request {
    Kill(Vec<ExecutorId>),
    End { failed: bool },
}

/// A registered application. Dropping it ends the connection and with it the application.
#[derive(Debug)]
pub struct ApplicationClient {
    app_id: AppId,
    master_url: String,
    requests: mpsc::Sender<Request>,
    task: JoinHandle<()>,
}

struct Connection {
    out: mpsc::Sender<DriverToMaster>,
    messages: Streaming<MasterToDriver>,
    app_id: AppId,
    master_url: String,
}

impl ApplicationClient {
    /// Registers an application with the first of `masters` that takes it. Version and protocol of
    /// the description are filled in here. `secret` is what `pyrite_conf::secret::to_join` gives.
    ///
    /// # Errors
    /// When no master answers in all attempts, or one refuses the application.
    pub async fn register(
        masters: &[(String, u16)],
        mut application: ApplicationDescription,
        secret: Option<&str>,
        options: &ClientOptions,
    ) -> Result<(Self, mpsc::Receiver<ApplicationEvent>), ClusterError> {
        env!("CARGO_PKG_VERSION").clone_into(&mut application.version);
        application.protocol_version = PROTOCOL_VERSION;
        let mut link = Link {
            masters: masters.to_vec(),
            secret: secret.map(str::to_owned),
            timeout: options.interval.max(Duration::from_secs(1)),
            registration: RegisterApplication {
                application: Some(application),
                ..Default::default()
            },
        };
        let connection = link.first_connection(options).await?;
        link.registration.app_id.clone_from(&connection.app_id.0);
        let (events, received) = mpsc::channel(QUEUE);
        let (requests, requested) = mpsc::channel(QUEUE);
        let (app_id, master_url) = (connection.app_id.clone(), connection.master_url.clone());
        info!(%app_id, master = master_url, "Connected to Spark cluster");
        let task = tokio::spawn(link.run(connection, events, requested));
        Ok((
            Self {
                app_id,
                master_url,
                requests,
                task,
            },
            received,
        ))
    }

    /// The id that the master gave.
    pub fn app_id(&self) -> &AppId {
        &self.app_id
    }

    /// The master that took the application.
    pub fn master_url(&self) -> &str {
        &self.master_url
    }

    /// Has executors ended; the master replaces them.
    pub async fn kill_executors(&self, executors: Vec<ExecutorId>) {
        if self.requests.send(Request::Kill(executors)).await.is_err() {
            warn!("the connection to the master has ended; executors are not killed through it");
        }
    }

    /// Tells the master that the application ends, and waits a moment until it knows.
    pub async fn unregister(mut self, failed: bool) {
        if self.requests.send(Request::End { failed }).await.is_ok()
            && tokio::time::timeout(END_TIMEOUT, &mut self.task)
                .await
                .is_err()
        {
            warn!("the master did not confirm the end of the application in time");
        }
    }
}

impl Drop for ApplicationClient {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All that is needed to connect, and to connect again.
struct Link {
    masters: Vec<(String, u16)>,
    secret: Option<String>,
    timeout: Duration,
    registration: RegisterApplication,
}

impl Link {
    async fn first_connection(&self, options: &ClientOptions) -> Result<Connection, ClusterError> {
        let mut last = String::new();
        let attempts = options.attempts.max(1);
        for attempt in 1..=attempts {
            let next = tokio::time::Instant::now() + options.interval;
            match self.try_all().await {
                Err(ClusterError::Unresponsive { reason, .. }) => last = reason,
                other => return other,
            }
            if attempt < attempts {
                tokio::time::sleep_until(next).await;
            }
        }
        Err(ClusterError::Unresponsive {
            masters: self.url(),
            attempts,
            reason: last,
        })
    }

    async fn try_all(&self) -> Result<Connection, ClusterError> {
        let mut last = String::new();
        for master in &self.masters {
            info!(
                master = format!("spark://{}:{}", master.0, master.1),
                "Connecting to master"
            );
            match self.connect(master).await {
                Err(ClusterError::Unresponsive {
                    reason, masters, ..
                }) => {
                    warn!(master = masters, reason, "Failed to connect to master");
                    last = reason;
                }
                other => return other,
            }
        }
        Err(ClusterError::Unresponsive {
            masters: self.url(),
            attempts: 1,
            reason: last,
        })
    }

    fn url(&self) -> String {
        MasterUrl::Standalone {
            hosts: self.masters.clone(),
        }
        .to_string()
    }

    async fn connect(&self, master: &(String, u16)) -> Result<Connection, ClusterError> {
        let mut client = link::connect(master, self.secret.as_deref(), self.timeout).await?;
        let (out, outgoing) = mpsc::channel(QUEUE);
        out.try_send(message(to_master::Message::Register(
            self.registration.clone(),
        )))
        .expect("a new channel has room for one message");
        let silent = |reason: &str| ClusterError::Unresponsive {
            masters: format!("spark://{}:{}", master.0, master.1),
            attempts: 1,
            reason: reason.to_owned(),
        };
        let answer = async {
            let mut messages = client
                .connect_application(ReceiverStream::new(outgoing))
                .await?
                .into_inner();
            let first = messages.message().await?;
            Ok::<_, tonic::Status>((messages, first))
        };
        let (messages, first) = tokio::time::timeout(self.timeout, answer)
            .await
            .map_err(|_| silent("no answer"))?
            .map_err(|status| link::call_error(master, &status))?;
        match first.and_then(|first| first.message) {
            Some(from_master::Message::Registered(registered)) => Ok(Connection {
                out,
                messages,
                app_id: AppId(registered.app_id),
                master_url: registered.master_url,
            }),
            Some(from_master::Message::Refused(refused)) => {
                Err(ClusterError::Refused(refused.message))
            }
            _ => Err(silent("the master closed the connection")),
        }
    }

    async fn run(
        mut self,
        mut connection: Connection,
        events: mpsc::Sender<ApplicationEvent>,
        mut requests: mpsc::Receiver<Request>,
    ) {
        loop {
            let Some(reason) = self.stay(&mut connection, &events, &mut requests).await else {
                return;
            };
            warn!(
                reason,
                "Connection to master lost; waiting for it to come back"
            );
            if events
                .send(ApplicationEvent::MasterLost { reason })
                .await
                .is_err()
            {
                return;
            }
            let ended = async {
                // Without a master there is nobody to kill executors; an end needs nobody.
                while let Some(request) = requests.recv().await {
                    if let Request::End { .. } = request {
                        break;
                    }
                }
            };
            let found = tokio::select! {
                found = self.find_again() => found,
                () = ended => return,
            };
            let event = match found {
                Ok(found) => {
                    connection = found;
                    ApplicationEvent::MasterReconnected
                }
                Err(error) => ApplicationEvent::Removed {
                    message: error.to_string(),
                },
            };
            let is_over = matches!(event, ApplicationEvent::Removed { .. });
            if events.send(event).await.is_err() || is_over {
                return;
            }
        }
    }

    async fn find_again(&self) -> Result<Connection, ClusterError> {
        let mut wait = RECONNECT.0;
        loop {
            tokio::time::sleep(wait).await;
            match self.try_all().await {
                Err(error) if error.is_retryable() => wait = (wait * 2).min(RECONNECT.1),
                other => return other,
            }
        }
    }

    /// Passes messages on until the connection ends. Gives the reason, or `None` when all is over.
    async fn stay(
        &mut self,
        connection: &mut Connection,
        events: &mpsc::Sender<ApplicationEvent>,
        requests: &mut mpsc::Receiver<Request>,
    ) -> Option<String> {
        let mut is_ending = false;
        loop {
            tokio::select! {
                received = connection.messages.message() => match received {
                    Ok(Some(received)) => {
                        let Some(event) = received.message.and_then(event_of) else { continue };
                        if let ApplicationEvent::ExecutorAdded { executor_id, .. } = &event {
                            let next = &mut self.registration.next_executor_id;
                            *next = (*next).max(executor_id.0 + 1);
                        }
                        let is_over = matches!(event, ApplicationEvent::Removed { .. });
                        if events.send(event).await.is_err() || is_over {
                            return None;
                        }
                    }
                    _ if is_ending => return None,
                    Ok(None) => return Some("the master closed it".to_owned()),
                    Err(status) => return Some(status.message().to_owned()),
                },
                request = requests.recv(), if !is_ending => {
                    let outgoing = match request? {
                        Request::Kill(executors) => to_master::Message::KillExecutors(KillExecutors {
                            executor_ids: executors.into_iter().map(|id| id.0).collect(),
                        }),
                        Request::End { failed } => {
                            is_ending = true;
                            to_master::Message::Unregister(UnregisterApplication { failed })
                        }
                    };
                    if connection.out.send(message(outgoing)).await.is_err() {
                        return (!is_ending).then(|| "the connection broke".to_owned());
                    }
                }
            }
        }
    }
}

fn event_of(message: from_master::Message) -> Option<ApplicationEvent> {
    Some(match message {
        from_master::Message::ExecutorAdded(added) => ApplicationEvent::ExecutorAdded {
            executor_id: ExecutorId(added.executor_id),
            worker_id: added.worker_id,
            host: added.host,
            cores: added.cores,
            memory_mib: added.memory_mib,
        },
        from_master::Message::ExecutorUpdated(updated) => ApplicationEvent::ExecutorUpdated {
            executor_id: ExecutorId(updated.executor_id),
            state: updated.state(),
            message: updated.message,
            exit_status: updated.exit_status,
            worker_lost: updated.worker_lost,
        },
        from_master::Message::ApplicationRemoved(removed) => ApplicationEvent::Removed {
            message: removed.message,
        },
        from_master::Message::Refused(refused) => ApplicationEvent::Removed {
            message: refused.message,
        },
        from_master::Message::Registered(_) => return None,
    })
}

fn message(message: to_master::Message) -> DriverToMaster {
    DriverToMaster {
        message: Some(message),
    }
}
