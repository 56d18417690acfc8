//! Connections to the master: messages in become events, actions become messages out.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::Local;
use parking_lot::Mutex;
use pyrite_proto::cluster::master_service_server::MasterService;
use pyrite_proto::cluster::{
    DriverToMaster, MasterToDriver, MasterToWorker, WorkerToMaster, driver_to_master,
    master_to_driver, master_to_worker, worker_to_master,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info, warn};

use super::store::{Change, Store};
use crate::ids::{ConnectionId, ExecutorId};
use crate::link::QUEUE;
use crate::state::{MasterAction, MasterEvent, MasterState};

/// Longest wait for the first message of a connection.
const FIRST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

type Out<T> = mpsc::Sender<Result<T, Status>>;

/// The way back to one peer. Dropping it closes the connection.
struct Outbound {
    peer: PeerSender,
    _closes: DropGuard,
}

enum PeerSender {
    Worker(Out<MasterToWorker>),
    Driver(Out<MasterToDriver>),
}

struct Inner {
    state: MasterState,
    outbound: HashMap<ConnectionId, Outbound>,
    /// `None` when nothing is kept, and after the end.
    store: Option<Store>,
    /// After the end nothing happens any more: that connections close then is no news.
    is_over: bool,
}

/// The state with its connections. All of it changes under one lock that is never held across a wait.
pub struct Shell {
    inner: Mutex<Inner>,
    next_connection: AtomicU64,
}

impl Shell {
    pub fn new(state: MasterState, store: Option<Store>) -> Self {
        Self {
            inner: Mutex::new(Inner {
                state,
                outbound: HashMap::new(),
                store,
                is_over: false,
            }),
            next_connection: AtomicU64::new(0),
        }
    }

    pub fn with_state<T>(&self, look: impl FnOnce(&MasterState) -> T) -> T {
        look(&self.inner.lock().state)
    }

    /// Applies an event and does what it asks for. A peer that does not take its messages counts as
    /// disconnected, which is an event as well.
    pub fn apply(&self, event: MasterEvent) {
        let mut inner = self.inner.lock();
        if inner.is_over {
            return;
        }
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let actions = inner.state.handle(event, Instant::now());
            for action in actions {
                if let Some(lost) = perform(&mut inner, action) {
                    events.push(MasterEvent::Disconnected {
                        connection: lost,
                        at: Local::now(),
                    });
                }
            }
        }
    }

    /// Closes all connections. Applications are not over with that: they may find the next master.
    pub fn stop(&self) {
        let mut inner = self.inner.lock();
        inner.is_over = true;
        inner.outbound.clear();
        inner.store = None;
    }

    /// Takes in a connection; the token ends with its outbound half.
    fn open(&self, peer: PeerSender) -> (ConnectionId, CancellationToken) {
        let connection = ConnectionId(self.next_connection.fetch_add(1, Ordering::Relaxed));
        let closed = CancellationToken::new();
        let outbound = Outbound {
            peer,
            _closes: closed.clone().drop_guard(),
        };
        self.inner.lock().outbound.insert(connection, outbound);
        (connection, closed)
    }

    fn close(&self, connection: ConnectionId) {
        self.apply(MasterEvent::Disconnected {
            connection,
            at: Local::now(),
        });
        self.inner.lock().outbound.remove(&connection);
    }
}

/// Does one thing; gives back the connection that turned out to be gone.
fn perform(inner: &mut Inner, action: MasterAction) -> Option<ConnectionId> {
    match action {
        MasterAction::ToWorker(connection, message) => {
            if let master_to_worker::Message::LaunchExecutor(launch) = &message {
                info!(
                    app_id = launch.app_id,
                    executor_id = launch.executor_id,
                    cores = launch.cores,
                    "Launching executor"
                );
            }
            let Some(PeerSender::Worker(sender)) =
                inner.outbound.get(&connection).map(|out| &out.peer)
            else {
                return None;
            };
            let sent = sender.try_send(Ok(MasterToWorker {
                message: Some(message),
            }));
            sent.err().map(|_| lost(inner, connection))
        }
        MasterAction::ToDriver(connection, message) => {
            log_to_driver(&message);
            let Some(PeerSender::Driver(sender)) =
                inner.outbound.get(&connection).map(|out| &out.peer)
            else {
                return None;
            };
            let sent = sender.try_send(Ok(MasterToDriver {
                message: Some(message),
            }));
            sent.err().map(|_| lost(inner, connection))
        }
        MasterAction::Close(connection) => {
            inner.outbound.remove(&connection);
            None
        }
        MasterAction::SaveApplication {
            app_id,
            next_number,
        } => {
            info!(%app_id, "Registered app");
            write(inner, Change::Add(app_id, next_number));
            None
        }
        MasterAction::ForgetApplication(app_id) => {
            info!(%app_id, "Removing app");
            write(inner, Change::Remove(app_id));
            None
        }
    }
}

fn write(inner: &Inner, change: Change) {
    if let Some(store) = &inner.store {
        store.write(change);
    }
}

fn lost(inner: &mut Inner, connection: ConnectionId) -> ConnectionId {
    warn!(connection = connection.0, "a peer takes no more messages");
    inner.outbound.remove(&connection);
    connection
}

fn log_to_driver(message: &master_to_driver::Message) {
    if let master_to_driver::Message::ExecutorUpdated(update) = message {
        info!(
            executor_id = update.executor_id,
            state = update.state().as_str_name(),
            message = update.message,
            "executor updated"
        );
    }
}

/// The gRPC service.
pub struct Service(pub Arc<Shell>);

#[tonic::async_trait]
impl MasterService for Service {
    type ConnectWorkerStream = ReceiverStream<Result<MasterToWorker, Status>>;
    type ConnectApplicationStream = ReceiverStream<Result<MasterToDriver, Status>>;

    async fn connect_worker(
        &self,
        request: Request<Streaming<WorkerToMaster>>,
    ) -> Result<Response<Self::ConnectWorkerStream>, Status> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let (connection, closed) = self.0.open(PeerSender::Worker(sender));
        let shell = self.0.clone();
        let messages = request.into_inner();
        tokio::spawn(async move {
            let of_message = |message: WorkerToMaster| worker_event(connection, message);
            read_events(&shell, connection, messages, closed, of_message).await;
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn connect_application(
        &self,
        request: Request<Streaming<DriverToMaster>>,
    ) -> Result<Response<Self::ConnectApplicationStream>, Status> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let (connection, closed) = self.0.open(PeerSender::Driver(sender));
        let shell = self.0.clone();
        let messages = request.into_inner();
        tokio::spawn(async move {
            let of_message = |message: DriverToMaster| driver_event(connection, message);
            read_events(&shell, connection, messages, closed, of_message).await;
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// Turns messages into events until the connection ends, whoever ends it. That end is an event, too.
async fn read_events<M>(
    shell: &Shell,
    connection: ConnectionId,
    mut messages: Streaming<M>,
    closed: CancellationToken,
    event_of: impl Fn(M) -> Option<MasterEvent>,
) {
    let mut patience = Some(FIRST_MESSAGE_TIMEOUT);
    loop {
        let next = async {
            match patience {
                Some(limit) => tokio::time::timeout(limit, messages.message())
                    .await
                    .unwrap_or(Ok(None)),
                None => messages.message().await,
            }
        };
        let received = tokio::select! {
            received = next => received,
            () = closed.cancelled() => break,
        };
        patience = None;
        match received {
            Ok(Some(message)) => match event_of(message) {
                Some(event) => shell.apply(event),
                None => debug!(connection = connection.0, "nothing to do for a message"),
            },
            Ok(None) => break,
            Err(status) => {
                info!(
                    connection = connection.0,
                    reason = status.message(),
                    "connection lost"
                );
                break;
            }
        }
    }
    shell.close(connection);
}

fn worker_event(connection: ConnectionId, message: WorkerToMaster) -> Option<MasterEvent> {
    Some(match message.message? {
        worker_to_master::Message::Register(worker) => {
            info!(
                host = worker.host,
                cores = worker.cores,
                memory_mib = worker.memory_mib,
                "Registering worker"
            );
            MasterEvent::WorkerConnected { connection, worker }
        }
        worker_to_master::Message::Heartbeat(_) => MasterEvent::WorkerHeartbeat { connection },
        worker_to_master::Message::ExecutorStateChanged(change) => MasterEvent::ExecutorChanged {
            connection,
            change,
            at: Local::now(),
        },
    })
}

fn driver_event(connection: ConnectionId, message: DriverToMaster) -> Option<MasterEvent> {
    Some(match message.message? {
        driver_to_master::Message::Register(request) => {
            let name = request
                .application
                .as_ref()
                .map_or("", |application| application.name.as_str());
            info!(name, "Registering app");
            MasterEvent::ApplicationConnected {
                connection,
                request,
                at: Local::now(),
            }
        }
        driver_to_master::Message::Unregister(end) => MasterEvent::ApplicationEnds {
            connection,
            failed: end.failed,
            at: Local::now(),
        },
        driver_to_master::Message::KillExecutors(kill) => MasterEvent::KillExecutors {
            connection,
            executors: kill.executor_ids.into_iter().map(ExecutorId).collect(),
        },
        // The connection itself shows that the driver is there.
        driver_to_master::Message::Heartbeat(_) => return None,
    })
}
