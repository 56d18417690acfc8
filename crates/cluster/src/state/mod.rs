//! Everything the master knows and decides, without any I/O.
//!
//! [`MasterState::handle`] takes one event and the time and returns what the server must now do.
//! What the words mean:
//!
//! - A *worker* is here while its connection is. A worker that is silent longer than the timeout,
//!   or whose connection ends, is lost, and its executors with it.
//! - An *application* is here while its connection is. Its end ends its executors and frees their
//!   cores at once.
//! - An *orphan* is an executor reported by a worker whose application is known from before a
//!   restart of the master but has not come back yet. It holds its cores until it is claimed by its
//!   application or the grace period ends.
//!
//! What events change is in `workers` and `applications`, placement in [`schedule`], what pages show
//! in [`view`].

mod applications;
mod messages;
pub mod schedule;
#[cfg(test)]
mod tests;
pub mod view;
mod workers;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use chrono::{DateTime, Local};
use pyrite_proto::cluster::{
    ApplicationDescription, ExecutorState, ExecutorStateChanged, RegisterApplication,
    RegisterWorker, master_to_driver, master_to_worker,
};

use crate::ids::{AppId, ConnectionId, ExecutorId, WorkerId};

/// Settings of the master that its decisions depend on.
#[derive(Debug, Clone)]
pub struct MasterConfig {
    /// `spark://host:port` of this master, told to peers.
    pub url: String,
    /// Address of its pages, told to workers.
    pub web_ui_url: String,
    /// Silence after which a worker counts as lost.
    pub worker_timeout: Duration,
    /// How long executors of an application that has not come back after a restart are kept.
    pub orphan_timeout: Duration,
    /// Whether executors of an application are spread over workers rather than packed.
    pub spread_out: bool,
    /// Cores of an application that sets no limit; `None` for all.
    pub default_cores: Option<u32>,
    /// Executor failures in a row after which an application is removed; `None` for never.
    pub max_executor_retries: Option<u32>,
    /// An executor that lived this long is no failure in a row when it ends.
    pub stable_after: Duration,
    /// Whether pages may end applications.
    pub kill_enabled: bool,
    /// Ended applications kept for the pages.
    pub retained_applications: usize,
}

impl Default for MasterConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            web_ui_url: String::new(),
            worker_timeout: Duration::from_secs(60),
            orphan_timeout: Duration::from_secs(60),
            spread_out: true,
            default_cores: None,
            max_executor_retries: Some(10),
            stable_after: Duration::from_secs(30),
            kill_enabled: true,
            retained_applications: 200,
        }
    }
}

/// One fact that reaches the master.
#[derive(Debug, Clone)]
pub enum MasterEvent {
    /// A worker asks to be taken in.
    WorkerConnected {
        /// Its connection.
        connection: ConnectionId,
        /// What it says about itself.
        worker: RegisterWorker,
    },
    /// A worker is alive.
    WorkerHeartbeat {
        /// Its connection.
        connection: ConnectionId,
    },
    /// A worker reports a change of one of its executors.
    ExecutorChanged {
        /// Its connection.
        connection: ConnectionId,
        /// What changed.
        change: ExecutorStateChanged,
        /// Time, for the pages.
        at: DateTime<Local>,
    },
    /// A driver asks to be taken in.
    ApplicationConnected {
        /// Its connection.
        connection: ConnectionId,
        /// What it asks for.
        request: RegisterApplication,
        /// Time of the request, for its id and the pages.
        at: DateTime<Local>,
    },
    /// A driver wants some of its executors ended; they are replaced.
    KillExecutors {
        /// Its connection.
        connection: ConnectionId,
        /// Which ones.
        executors: Vec<ExecutorId>,
    },
    /// A driver says that its application ends.
    ApplicationEnds {
        /// Its connection.
        connection: ConnectionId,
        /// Whether it failed.
        failed: bool,
        /// Time, for the pages.
        at: DateTime<Local>,
    },
    /// Somebody wants an application ended.
    KillApplication {
        /// Which one.
        app_id: AppId,
        /// Time, for the pages.
        at: DateTime<Local>,
    },
    /// A connection ended, whoever had it.
    Disconnected {
        /// The connection.
        connection: ConnectionId,
        /// Time, for the pages.
        at: DateTime<Local>,
    },
    /// Time has passed.
    Tick,
}

/// One thing the server must do, in the order given.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "a list of actions is short and lives for one event"
)]
pub enum MasterAction {
    /// Send to a worker.
    ToWorker(ConnectionId, master_to_worker::Message),
    /// Send to a driver.
    ToDriver(ConnectionId, master_to_driver::Message),
    /// Close a connection after what was sent on it.
    Close(ConnectionId),
    /// Remember that this application was given its id.
    SaveApplication {
        /// The id.
        app_id: AppId,
        /// The number that the next application gets.
        next_number: u64,
    },
    /// Forget an application: it has ended.
    ForgetApplication(AppId),
}

/// What ended an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It said that it is done, or its driver went away.
    Finished,
    /// It said that it failed, or its executors kept failing.
    Failed,
    /// Somebody had the master end it.
    Killed,
}

#[derive(Debug, Clone)]
struct Worker {
    connection: ConnectionId,
    host: String,
    port: u32,
    cores: u32,
    memory_mib: u64,
    web_ui_url: String,
    last_heartbeat: Instant,
    /// What is in use, by executor: those of applications and orphans.
    grants: BTreeMap<(AppId, ExecutorId), Grant>,
}

/// Cores and memory that one executor holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Grant {
    cores: u32,
    memory_mib: u64,
    /// Set for an orphan: when it is given up.
    orphan_until: Option<Instant>,
}

impl Worker {
    fn cores_used(&self) -> u32 {
        self.grants.values().map(|grant| grant.cores).sum()
    }

    fn memory_used(&self) -> u64 {
        self.grants.values().map(|grant| grant.memory_mib).sum()
    }

    fn cores_free(&self) -> u32 {
        self.cores.saturating_sub(self.cores_used())
    }

    fn has_room_for(&self, grant: &Grant) -> bool {
        grant.cores <= self.cores_free() && grant.memory_mib <= self.memory_free()
    }

    fn memory_free(&self) -> u64 {
        self.memory_mib.saturating_sub(self.memory_used())
    }
}

#[derive(Debug, Clone)]
struct Executor {
    worker: WorkerId,
    cores: u32,
    state: ExecutorState,
    launched: Instant,
}

#[derive(Debug, Clone)]
struct Application {
    connection: ConnectionId,
    description: ApplicationDescription,
    submitted: DateTime<Local>,
    executors: BTreeMap<ExecutorId, Executor>,
    next_executor: u32,
    failures_in_a_row: u32,
}

impl Application {
    fn cores_granted(&self) -> u32 {
        self.executors.values().map(|executor| executor.cores).sum()
    }

    fn cores_limit(&self, config: &MasterConfig) -> u32 {
        match self.description.cores_max {
            0 => config.default_cores.unwrap_or(u32::MAX),
            limit => limit,
        }
    }

    fn cores_left(&self, config: &MasterConfig) -> u32 {
        self.cores_limit(config)
            .saturating_sub(self.cores_granted())
    }

    fn is_running(&self) -> bool {
        self.executors
            .values()
            .any(|executor| executor.state == ExecutorState::Running)
    }
}

#[derive(Debug, Clone)]
struct EndedApplication {
    app_id: AppId,
    description: ApplicationDescription,
    submitted: DateTime<Local>,
    ended: DateTime<Local>,
    ending: Ending,
    cores: u32,
}

#[derive(Debug, Clone)]
enum Peer {
    Worker(WorkerId),
    Application(AppId),
}

/// Everything the master knows and decides. Holds no sockets, clocks or spawned tasks.
#[derive(Debug)]
pub struct MasterState {
    config: MasterConfig,
    workers: BTreeMap<WorkerId, Worker>,
    applications: BTreeMap<AppId, Application>,
    /// Order of arrival.
    queue: Vec<AppId>,
    ended: VecDeque<EndedApplication>,
    peers: HashMap<ConnectionId, Peer>,
    next_number: u64,
    /// Applications of before a restart that may still come back.
    awaited: BTreeSet<AppId>,
    /// Until when; known from the first event on.
    awaited_until: Option<Instant>,
    /// Messages that were about nothing known any more.
    stale_messages: u64,
}

impl MasterState {
    /// A master that was told what it gave out before: the next application number, and the ids of
    /// applications that had not ended.
    pub fn new(config: MasterConfig, next_number: u64, awaited: BTreeSet<AppId>) -> Self {
        Self {
            config,
            workers: BTreeMap::new(),
            applications: BTreeMap::new(),
            queue: Vec::new(),
            ended: VecDeque::new(),
            peers: HashMap::new(),
            next_number,
            awaited,
            awaited_until: None,
            stale_messages: 0,
        }
    }

    /// Applies one event and returns what the server must now do, in order.
    pub fn handle(&mut self, event: MasterEvent, now: Instant) -> Vec<MasterAction> {
        let mut actions = Vec::new();
        self.awaited_until
            .get_or_insert(now + self.config.orphan_timeout);
        match event {
            MasterEvent::WorkerConnected { connection, worker } => {
                self.worker_connected(connection, worker, now, &mut actions);
            }
            MasterEvent::WorkerHeartbeat { connection } => self.worker_heartbeat(connection, now),
            MasterEvent::ExecutorChanged {
                connection,
                change,
                at,
            } => {
                self.executor_changed(connection, &change, at, now, &mut actions);
            }
            MasterEvent::ApplicationConnected {
                connection,
                request,
                at,
            } => {
                self.application_connected(connection, request, at, now, &mut actions);
            }
            MasterEvent::KillExecutors {
                connection,
                executors,
            } => {
                self.kill_executors(connection, &executors, &mut actions);
            }
            MasterEvent::ApplicationEnds {
                connection,
                failed,
                at,
            } => {
                let ending = if failed {
                    Ending::Failed
                } else {
                    Ending::Finished
                };
                self.application_gone(connection, ending, at, &mut actions);
            }
            MasterEvent::KillApplication { app_id, at } => {
                self.remove_application(
                    &app_id,
                    Ending::Killed,
                    "KILLED".to_owned(),
                    at,
                    &mut actions,
                );
            }
            MasterEvent::Disconnected { connection, at } => {
                self.disconnected(connection, at, &mut actions);
            }
            MasterEvent::Tick => self.tick(now, &mut actions),
        }
        self.schedule(now, &mut actions);
        actions
    }

    /// Whether pages may end applications.
    pub fn kill_enabled(&self) -> bool {
        self.config.kill_enabled
    }

    /// How many messages were about nothing known any more.
    pub fn stale_messages(&self) -> u64 {
        self.stale_messages
    }

    /// When the timeouts should be looked at again, at the latest.
    pub fn tick_interval(&self) -> Duration {
        (self.config.worker_timeout / 4).clamp(Duration::from_millis(50), Duration::from_secs(15))
    }
}
