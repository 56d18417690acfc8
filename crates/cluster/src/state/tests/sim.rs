//! A master with imaginary peers.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, Local};
use pyrite_proto::PROTOCOL_VERSION;
use pyrite_proto::cluster::{
    ApplicationDescription, ExecutorState, ExecutorStateChanged, RegisterApplication,
    RegisterWorker, RunningExecutor, master_to_driver as to_driver, master_to_worker as to_worker,
};

use crate::ids::{AppId, ConnectionId, ExecutorId, WorkerId};
use crate::state::messages::VERSION;
use crate::state::{MasterAction, MasterConfig, MasterEvent, MasterState};

/// One fact about an action, short enough to compare lists of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Did {
    Launch {
        worker: &'static str,
        app: AppId,
        executor: u32,
        cores: u32,
    },
    Kill {
        worker: &'static str,
        app: AppId,
        executor: u32,
    },
    Finish {
        worker: &'static str,
        app: AppId,
    },
    TakeWorker(&'static str),
    TakeApplication(AppId),
    Refuse(String),
    Added {
        executor: u32,
        host: String,
    },
    Updated {
        executor: u32,
        state: ExecutorState,
        worker_lost: bool,
    },
    Removed(String),
    Close(ConnectionId),
    Save(AppId, u64),
    Forget(AppId),
}

pub struct Sim {
    pub state: MasterState,
    pub now: Instant,
    names: Vec<(ConnectionId, &'static str)>,
    next: u64,
}

pub fn description(name: &str) -> ApplicationDescription {
    ApplicationDescription {
        name: name.to_owned(),
        memory_mib_per_executor: 1024,
        version: VERSION.to_owned(),
        protocol_version: PROTOCOL_VERSION,
        ..ApplicationDescription::default()
    }
}

pub fn worker(id: &str, cores: u32, memory_mib: u64) -> RegisterWorker {
    RegisterWorker {
        worker_id: id.to_owned(),
        host: format!("host-of-{id}"),
        cores,
        memory_mib,
        version: VERSION.to_owned(),
        protocol_version: PROTOCOL_VERSION,
        ..RegisterWorker::default()
    }
}

pub fn at() -> DateTime<Local> {
    DateTime::parse_from_rfc3339("2026-11-22T12:34:56+00:00")
        .unwrap()
        .into()
}

impl Sim {
    pub fn new() -> Self {
        Self::with(MasterConfig::default(), 0, &[])
    }

    pub fn with(config: MasterConfig, next_number: u64, awaited: &[&str]) -> Self {
        let awaited: BTreeSet<AppId> = awaited.iter().map(|id| AppId::from(*id)).collect();
        Self {
            state: MasterState::new(config, next_number, awaited),
            now: Instant::now(),
            names: Vec::new(),
            next: 0,
        }
    }

    pub fn connection(&mut self) -> ConnectionId {
        self.next += 1;
        ConnectionId(self.next)
    }

    pub fn handle(&mut self, event: MasterEvent) -> Vec<Did> {
        let actions = self.state.handle(event, self.now);
        self.state.check_invariants();
        actions
            .into_iter()
            .map(|action| self.short(action))
            .collect()
    }

    pub fn advance(&mut self, by: Duration) -> Vec<Did> {
        self.now += by;
        self.handle(MasterEvent::Tick)
    }

    pub fn worker(&mut self, name: &'static str, cores: u32) -> (ConnectionId, Vec<Did>) {
        self.worker_with(name, worker(name, cores, 8192))
    }

    pub fn worker_with(
        &mut self,
        name: &'static str,
        worker: RegisterWorker,
    ) -> (ConnectionId, Vec<Did>) {
        let connection = self.connection();
        self.names.push((connection, name));
        (
            connection,
            self.handle(MasterEvent::WorkerConnected { connection, worker }),
        )
    }

    pub fn app(&mut self, application: ApplicationDescription) -> (ConnectionId, Vec<Did>) {
        self.register(RegisterApplication {
            application: Some(application),
            ..Default::default()
        })
    }

    pub fn register(&mut self, request: RegisterApplication) -> (ConnectionId, Vec<Did>) {
        let connection = self.connection();
        (
            connection,
            self.handle(MasterEvent::ApplicationConnected {
                connection,
                request,
                at: at(),
            }),
        )
    }

    pub fn beat(&mut self, connection: ConnectionId) {
        self.handle(MasterEvent::WorkerHeartbeat { connection });
    }

    pub fn disconnect(&mut self, connection: ConnectionId) -> Vec<Did> {
        self.handle(MasterEvent::Disconnected {
            connection,
            at: at(),
        })
    }

    pub fn change(
        &mut self,
        connection: ConnectionId,
        app: &AppId,
        executor: u32,
        state: ExecutorState,
        exit_status: Option<i32>,
    ) -> Vec<Did> {
        let change = ExecutorStateChanged {
            app_id: app.0.clone(),
            executor_id: executor,
            state: state.into(),
            message: "because".to_owned(),
            exit_status,
        };
        self.handle(MasterEvent::ExecutorChanged {
            connection,
            change,
            at: at(),
        })
    }

    pub fn app_id(number: u64) -> AppId {
        AppId(format!("app-{}-{number:04}", at().format("%Y%m%d%H%M%S")))
    }

    fn name(&self, connection: ConnectionId) -> &'static str {
        self.names
            .iter()
            .find(|(known, _)| *known == connection)
            .map_or("?", |(_, name)| name)
    }

    fn short(&self, action: MasterAction) -> Did {
        match action {
            MasterAction::ToWorker(connection, message) => {
                let worker = self.name(connection);
                match message {
                    to_worker::Message::Registered(_) => Did::TakeWorker(worker),
                    to_worker::Message::Refused(refused) => Did::Refuse(refused.message),
                    to_worker::Message::LaunchExecutor(launch) => {
                        assert!(
                            launch.application.is_some(),
                            "a launch describes its application"
                        );
                        Did::Launch {
                            worker,
                            app: AppId(launch.app_id),
                            executor: launch.executor_id,
                            cores: launch.cores,
                        }
                    }
                    to_worker::Message::KillExecutor(kill) => Did::Kill {
                        worker,
                        app: AppId(kill.app_id),
                        executor: kill.executor_id,
                    },
                    to_worker::Message::ApplicationFinished(finished) => Did::Finish {
                        worker,
                        app: AppId(finished.app_id),
                    },
                    to_worker::Message::Reconnect(_) => panic!("the master never sends this"),
                }
            }
            MasterAction::ToDriver(_, message) => match message {
                to_driver::Message::Registered(registered) => {
                    Did::TakeApplication(AppId(registered.app_id))
                }
                to_driver::Message::Refused(refused) => Did::Refuse(refused.message),
                to_driver::Message::ExecutorAdded(added) => Did::Added {
                    executor: added.executor_id,
                    host: added.host,
                },
                to_driver::Message::ExecutorUpdated(updated) => Did::Updated {
                    executor: updated.executor_id,
                    state: updated.state(),
                    worker_lost: updated.worker_lost,
                },
                to_driver::Message::ApplicationRemoved(removed) => Did::Removed(removed.message),
            },
            MasterAction::Close(connection) => Did::Close(connection),
            MasterAction::SaveApplication {
                app_id,
                next_number,
            } => Did::Save(app_id, next_number),
            MasterAction::ForgetApplication(app_id) => Did::Forget(app_id),
        }
    }
}

pub fn running(app: &AppId, executor_id: u32, cores: u32) -> RunningExecutor {
    RunningExecutor {
        app_id: app.0.clone(),
        executor_id,
        cores,
        memory_mib: 1024,
    }
}

impl MasterState {
    /// Panics when what the master knows does not fit together.
    pub fn check_invariants(&self) {
        for (id, worker) in &self.workers {
            assert!(
                worker.cores_used() <= worker.cores,
                "{id} gave out more cores than it has"
            );
            assert!(
                worker.memory_used() <= worker.memory_mib,
                "{id} gave out more memory than it has"
            );
            assert!(
                matches!(self.peers.get(&worker.connection), Some(super::super::Peer::Worker(w)) if w == id),
                "{id} has no connection"
            );
            for ((app_id, executor_id), grant) in &worker.grants {
                if grant.orphan_until.is_some() {
                    continue;
                }
                let executor = self
                    .applications
                    .get(app_id)
                    .and_then(|a| a.executors.get(executor_id));
                let executor = executor.unwrap_or_else(|| {
                    panic!("{id} holds cores for unknown {app_id}/{executor_id}")
                });
                assert_eq!(executor.worker, *id);
                assert_eq!(executor.cores, grant.cores);
            }
        }
        for (app_id, application) in &self.applications {
            assert!(
                application.cores_granted() <= application.cores_limit(&self.config),
                "{app_id} is above its limit"
            );
            assert_eq!(
                self.queue.iter().filter(|queued| *queued == app_id).count(),
                1
            );
            for (executor_id, executor) in &application.executors {
                let key = (app_id.clone(), *executor_id);
                let worker = self.workers.get(&executor.worker);
                let worker = worker
                    .unwrap_or_else(|| panic!("{app_id}/{executor_id} runs on a dead worker"));
                assert!(worker.grants[&key].orphan_until.is_none());
                assert!(
                    executor_id.0 < application.next_executor,
                    "an executor id would be given out again"
                );
            }
        }
        assert_eq!(self.queue.len(), self.applications.len());
        assert_eq!(
            self.peers.len(),
            self.workers.len() + self.applications.len()
        );
        assert!(self.ended.len() <= self.config.retained_applications);
    }

    /// Executors of an application and where they run.
    pub fn executors_of(&self, app_id: &AppId) -> Vec<(ExecutorId, WorkerId)> {
        let Some(application) = self.applications.get(app_id) else {
            return Vec::new();
        };
        application
            .executors
            .iter()
            .map(|(id, executor)| (*id, executor.worker.clone()))
            .collect()
    }
}
