//! What workers and their executors do to the state.

use std::collections::BTreeMap;
use std::time::Instant;

use chrono::{DateTime, Local};
use pyrite_proto::cluster::{
    ExecutorState, ExecutorStateChanged, ExecutorUpdated, Refused, RegisterWorker,
    WorkerRegistered, master_to_driver as to_driver, master_to_worker as to_worker,
};

use super::messages::{Actions, kill, refusal};
use super::{Ending, Grant, MasterAction, MasterState, Peer, Worker};
use crate::ids::{AppId, ConnectionId, ExecutorId, WorkerId};

/// Most cores of one worker: what is more is a mistake, and would make placement slow.
const MAX_CORES: u32 = 65_536;

/// How an executor ended.
pub(super) struct End<'a> {
    pub state: ExecutorState,
    pub message: &'a str,
    pub exit_status: Option<i32>,
    pub worker_lost: bool,
}

impl<'a> End<'a> {
    pub fn lost(message: &'a str, worker_lost: bool) -> Self {
        Self {
            state: ExecutorState::Lost,
            message,
            exit_status: None,
            worker_lost,
        }
    }
}

impl MasterState {
    pub(super) fn worker_connected(
        &mut self,
        connection: ConnectionId,
        worker: RegisterWorker,
        now: Instant,
        actions: &mut Actions,
    ) {
        if self.peers.contains_key(&connection) {
            self.stale_messages += 1;
            return;
        }
        let offer = worker.cores;
        let refused = refusal("worker", &worker.version, worker.protocol_version).or_else(|| {
            let is_sane = (1..=MAX_CORES).contains(&offer);
            (!is_sane).then(|| format!("a worker offers 1 to {MAX_CORES} cores, not {offer}"))
        });
        if let Some(message) = refused {
            actions.push(MasterAction::ToWorker(
                connection,
                to_worker::Message::Refused(Refused { message }),
            ));
            actions.push(MasterAction::Close(connection));
            return;
        }
        let id = WorkerId(worker.worker_id.clone());
        let mut entry = Worker {
            connection,
            host: worker.host,
            port: worker.port,
            cores: worker.cores,
            memory_mib: worker.memory_mib,
            web_ui_url: worker.web_ui_url,
            last_heartbeat: now,
            grants: Default::default(),
        };
        // The same worker on a new connection: the end of the old one was not noticed yet.
        let before = self.workers.remove(&id);
        if let Some(before) = &before {
            self.peers.remove(&before.connection);
            actions.push(MasterAction::Close(before.connection));
        }
        self.peers.insert(connection, Peer::Worker(id.clone()));
        actions.push(MasterAction::ToWorker(
            connection,
            to_worker::Message::Registered(WorkerRegistered {
                master_url: self.config.url.clone(),
                master_web_ui_url: self.config.web_ui_url.clone(),
            }),
        ));
        let before = before.map(|before| before.grants).unwrap_or_default();
        for running in worker.executors {
            let key = (AppId(running.app_id), ExecutorId(running.executor_id));
            let known = before.get(&key).copied();
            let grant = known.or_else(|| {
                self.awaited.contains(&key.0).then_some(Grant {
                    cores: running.cores,
                    memory_mib: running.memory_mib,
                    orphan_until: Some(now + self.config.orphan_timeout),
                })
            });
            match grant {
                Some(grant) if entry.has_room_for(&grant) => {
                    entry.grants.insert(key, grant);
                }
                _ => actions.push(kill(connection, &key.0, key.1)),
            }
        }
        self.workers.insert(id.clone(), entry);
        self.settle_executors(&id, before, now, actions);
    }

    /// After a worker came back: forgets executors that it had `before` and no longer runs, and
    /// gives orphans to an application that came back earlier.
    fn settle_executors(
        &mut self,
        id: &WorkerId,
        before: BTreeMap<(AppId, ExecutorId), Grant>,
        now: Instant,
        actions: &mut Actions,
    ) {
        let kept: Vec<_> = self.workers[id].grants.keys().cloned().collect();
        for ((app_id, executor_id), grant) in before {
            if grant.orphan_until.is_none() && !kept.contains(&(app_id.clone(), executor_id)) {
                let end = End::lost("the worker no longer runs it", false);
                self.forget_executor(&app_id, executor_id, &end, actions);
            }
        }
        for (app_id, _) in kept {
            self.claim_orphans(&app_id, now, actions);
        }
    }

    pub(super) fn worker_heartbeat(&mut self, connection: ConnectionId, now: Instant) {
        match self.peers.get(&connection) {
            Some(Peer::Worker(id)) => {
                let worker = self
                    .workers
                    .get_mut(id)
                    .expect("every worker peer has its worker");
                worker.last_heartbeat = now;
            }
            _ => self.stale_messages += 1,
        }
    }

    pub(super) fn executor_changed(
        &mut self,
        connection: ConnectionId,
        change: &ExecutorStateChanged,
        at: DateTime<Local>,
        now: Instant,
        actions: &mut Actions,
    ) {
        let Some(Peer::Worker(worker_id)) = self.peers.get(&connection) else {
            self.stale_messages += 1;
            return;
        };
        let (app_id, executor_id) = (AppId(change.app_id.clone()), ExecutorId(change.executor_id));
        let worker = self
            .workers
            .get_mut(worker_id)
            .expect("every worker peer has its worker");
        let key = (app_id.clone(), executor_id);
        let Some(grant) = worker.grants.get(&key) else {
            // The end of an executor whose cores were freed when its application ended.
            self.stale_messages += 1;
            return;
        };
        let state = change.state();
        let is_end = !matches!(state, ExecutorState::Launching | ExecutorState::Running);
        if grant.orphan_until.is_some() {
            if is_end {
                worker.grants.remove(&key);
            }
            return;
        }
        if is_end {
            self.executor_ended(&app_id, executor_id, change, at, now, actions);
            return;
        }
        let application = self
            .applications
            .get_mut(&app_id)
            .expect("a granted executor has its application");
        let executor = application
            .executors
            .get_mut(&executor_id)
            .expect("a grant has its executor");
        executor.state = state;
        let update = ExecutorUpdated {
            executor_id: executor_id.0,
            state: state.into(),
            message: change.message.clone(),
            exit_status: None,
            worker_lost: false,
        };
        actions.push(MasterAction::ToDriver(
            application.connection,
            to_driver::Message::ExecutorUpdated(update),
        ));
    }

    fn executor_ended(
        &mut self,
        app_id: &AppId,
        executor_id: ExecutorId,
        change: &ExecutorStateChanged,
        at: DateTime<Local>,
        now: Instant,
        actions: &mut Actions,
    ) {
        let application = self
            .applications
            .get_mut(app_id)
            .expect("a granted executor has its application");
        let executor = &application.executors[&executor_id];
        // Spark starts counting anew when an executor has been started, which lets one that dies at
        // once be started for ever. Here it must have lived for a while.
        let was_stable = now.duration_since(executor.launched) >= self.config.stable_after;
        let failed = change.exit_status != Some(0) && change.state() != ExecutorState::Killed;
        if failed {
            application.failures_in_a_row = if was_stable {
                1
            } else {
                application.failures_in_a_row + 1
            };
        }
        let failures = application.failures_in_a_row;
        let end = End {
            state: change.state(),
            message: &change.message,
            exit_status: change.exit_status,
            worker_lost: false,
        };
        self.forget_executor(app_id, executor_id, &end, actions);
        let application = &self.applications[app_id];
        let given_up = failed
            && self
                .config
                .max_executor_retries
                .is_some_and(|limit| failures >= limit)
            && !application.executors.values().any(|e| {
                e.state == ExecutorState::Running
                    && now.duration_since(e.launched) >= self.config.stable_after
            });
        if given_up {
            let message = format!(
                "FAILED: {failures} executors failed in a row; the last one: {}",
                change.message
            );
            self.remove_application(app_id, Ending::Failed, message, at, actions);
        }
    }

    /// Takes an executor off its application and worker and tells the driver.
    pub(super) fn forget_executor(
        &mut self,
        app_id: &AppId,
        executor_id: ExecutorId,
        end: &End<'_>,
        actions: &mut Actions,
    ) {
        let Some(application) = self.applications.get_mut(app_id) else {
            return;
        };
        let Some(executor) = application.executors.remove(&executor_id) else {
            return;
        };
        if let Some(worker) = self.workers.get_mut(&executor.worker) {
            worker.grants.remove(&(app_id.clone(), executor_id));
        }
        let update = ExecutorUpdated {
            executor_id: executor_id.0,
            state: end.state.into(),
            message: end.message.to_owned(),
            exit_status: end.exit_status,
            worker_lost: end.worker_lost,
        };
        actions.push(MasterAction::ToDriver(
            application.connection,
            to_driver::Message::ExecutorUpdated(update),
        ));
    }

    pub(super) fn worker_lost(&mut self, id: &WorkerId, reason: &str, actions: &mut Actions) {
        let Some(worker) = self.workers.remove(id) else {
            return;
        };
        self.peers.remove(&worker.connection);
        for ((app_id, executor_id), grant) in worker.grants {
            if grant.orphan_until.is_none() {
                self.forget_executor(&app_id, executor_id, &End::lost(reason, true), actions);
            }
        }
    }

    pub(super) fn tick(&mut self, now: Instant, actions: &mut Actions) {
        let timeout = self.config.worker_timeout;
        let silent: Vec<(WorkerId, ConnectionId)> = self
            .workers
            .iter()
            .filter(|(_, worker)| now.duration_since(worker.last_heartbeat) > timeout)
            .map(|(id, worker)| (id.clone(), worker.connection))
            .collect();
        for (id, connection) in silent {
            let reason = format!(
                "the worker was silent for more than {} s",
                timeout.as_secs()
            );
            self.worker_lost(&id, &reason, actions);
            actions.push(MasterAction::Close(connection));
        }
        self.give_up_orphans(now, actions);
        if self.awaited_until.is_some_and(|until| until <= now) {
            for app_id in std::mem::take(&mut self.awaited) {
                if !self.applications.contains_key(&app_id) {
                    actions.push(MasterAction::ForgetApplication(app_id));
                }
            }
        }
    }

    fn give_up_orphans(&mut self, now: Instant, actions: &mut Actions) {
        for worker in self.workers.values_mut() {
            worker.grants.retain(|(app_id, executor_id), grant| {
                let expired = grant.orphan_until.is_some_and(|until| until <= now);
                if expired {
                    actions.push(kill(worker.connection, app_id, *executor_id));
                }
                !expired
            });
        }
    }
}
