//! What applications do to the state.

use std::time::Instant;

use chrono::{DateTime, Local};
use pyrite_proto::cluster::{
    ApplicationFinished, ApplicationRegistered, ApplicationRemoved, ExecutorState, Refused,
    RegisterApplication, master_to_driver as to_driver, master_to_worker as to_worker,
};

use super::messages::{Actions, added, kill, refusal};
use super::workers::End;
use super::{
    Application, EndedApplication, Ending, Executor, Grant, MasterAction, MasterState, Peer,
};
use crate::ids::{AppId, ConnectionId, ExecutorId};

impl MasterState {
    pub(super) fn application_connected(
        &mut self,
        connection: ConnectionId,
        request: RegisterApplication,
        at: DateTime<Local>,
        now: Instant,
        actions: &mut Actions,
    ) {
        if self.peers.contains_key(&connection) {
            self.stale_messages += 1;
            return;
        }
        let description = request.application.unwrap_or_default();
        let returning = Some(AppId(request.app_id)).filter(|id| !id.0.is_empty());
        let refused = refusal(
            "application",
            &description.version,
            description.protocol_version,
        )
        .or_else(|| {
            let id = returning.as_ref()?;
            let may_return = self.awaited.contains(id) && !self.applications.contains_key(id);
            (!may_return).then(|| format!("application {id} has ended for this master"))
        });
        if let Some(message) = refused {
            actions.push(MasterAction::ToDriver(
                connection,
                to_driver::Message::Refused(Refused { message }),
            ));
            actions.push(MasterAction::Close(connection));
            return;
        }
        let app_id = match returning {
            Some(id) => id,
            None => {
                let id = AppId(format!(
                    "app-{}-{:04}",
                    at.format("%Y%m%d%H%M%S"),
                    self.next_number
                ));
                self.next_number += 1;
                actions.push(MasterAction::SaveApplication {
                    app_id: id.clone(),
                    next_number: self.next_number,
                });
                id
            }
        };
        self.peers
            .insert(connection, Peer::Application(app_id.clone()));
        self.queue.push(app_id.clone());
        self.applications.insert(
            app_id.clone(),
            Application {
                connection,
                description,
                submitted: at,
                executors: Default::default(),
                next_executor: request.next_executor_id,
                failures_in_a_row: 0,
            },
        );
        actions.push(MasterAction::ToDriver(
            connection,
            to_driver::Message::Registered(ApplicationRegistered {
                app_id: app_id.0.clone(),
                master_url: self.config.url.clone(),
            }),
        ));
        self.claim_orphans(&app_id, now, actions);
    }

    /// Gives an application that came back the executors of its own that still run, as far as its
    /// limit of cores allows; the others are ended.
    pub(super) fn claim_orphans(&mut self, app_id: &AppId, now: Instant, actions: &mut Actions) {
        let Some(application) = self.applications.get_mut(app_id) else {
            return;
        };
        for (worker_id, worker) in &mut self.workers {
            let orphans: Vec<_> = worker
                .grants
                .iter()
                .filter(|((owner, _), grant)| owner == app_id && grant.orphan_until.is_some())
                .map(|((_, executor_id), grant)| (*executor_id, *grant))
                .collect();
            for (executor_id, grant) in orphans {
                let key = (app_id.clone(), executor_id);
                if application.executors.contains_key(&executor_id)
                    || grant.cores > application.cores_left(&self.config)
                {
                    worker.grants.remove(&key);
                    actions.push(kill(worker.connection, app_id, executor_id));
                    continue;
                }
                worker.grants.insert(
                    key,
                    Grant {
                        orphan_until: None,
                        ..grant
                    },
                );
                application.next_executor = application.next_executor.max(executor_id.0 + 1);
                let executor = Executor {
                    worker: worker_id.clone(),
                    cores: grant.cores,
                    state: ExecutorState::Running,
                    launched: now,
                };
                application.executors.insert(executor_id, executor);
                actions.push(added(
                    application.connection,
                    executor_id,
                    worker_id,
                    &worker.host,
                    grant,
                ));
            }
        }
    }

    pub(super) fn kill_executors(
        &mut self,
        connection: ConnectionId,
        ids: &[ExecutorId],
        actions: &mut Actions,
    ) {
        let Some(Peer::Application(app_id)) = self.peers.get(&connection).cloned() else {
            self.stale_messages += 1;
            return;
        };
        for id in ids {
            let Some(executor) = self.applications[&app_id].executors.get(id) else {
                self.stale_messages += 1;
                continue;
            };
            let worker = self.workers[&executor.worker].connection;
            actions.push(kill(worker, &app_id, *id));
            let end = End {
                state: ExecutorState::Killed,
                message: "killed by its application",
                exit_status: None,
                worker_lost: false,
            };
            self.forget_executor(&app_id, *id, &end, actions);
        }
    }

    pub(super) fn disconnected(
        &mut self,
        connection: ConnectionId,
        at: DateTime<Local>,
        actions: &mut Actions,
    ) {
        match self.peers.get(&connection) {
            Some(Peer::Worker(id)) => self.worker_lost(&id.clone(), "the worker was lost", actions),
            Some(Peer::Application(_)) => {
                self.application_gone(connection, Ending::Finished, at, actions)
            }
            // Noticed before, or never registered.
            None => {}
        }
    }

    pub(super) fn application_gone(
        &mut self,
        connection: ConnectionId,
        ending: Ending,
        at: DateTime<Local>,
        actions: &mut Actions,
    ) {
        let Some(Peer::Application(app_id)) = self.peers.get(&connection).cloned() else {
            self.stale_messages += 1;
            return;
        };
        self.end_application(&app_id, ending, at, actions);
        actions.push(MasterAction::Close(connection));
    }

    /// Ends an application against its will and tells it why.
    pub(super) fn remove_application(
        &mut self,
        app_id: &AppId,
        ending: Ending,
        message: String,
        at: DateTime<Local>,
        actions: &mut Actions,
    ) {
        let Some(application) = self.applications.get(app_id) else {
            self.stale_messages += 1;
            return;
        };
        let connection = application.connection;
        actions.push(MasterAction::ToDriver(
            connection,
            to_driver::Message::ApplicationRemoved(ApplicationRemoved { message }),
        ));
        self.end_application(app_id, ending, at, actions);
        actions.push(MasterAction::Close(connection));
    }

    pub(super) fn end_application(
        &mut self,
        app_id: &AppId,
        ending: Ending,
        at: DateTime<Local>,
        actions: &mut Actions,
    ) {
        let Some(application) = self.applications.remove(app_id) else {
            return;
        };
        self.peers.remove(&application.connection);
        self.awaited.remove(app_id);
        self.queue.retain(|queued| queued != app_id);
        let cores = application.cores_granted();
        for worker in self.workers.values_mut() {
            let before = worker.grants.len();
            worker.grants.retain(|(owner, _), _| owner != app_id);
            if worker.grants.len() < before {
                let message = ApplicationFinished {
                    app_id: app_id.0.clone(),
                };
                actions.push(MasterAction::ToWorker(
                    worker.connection,
                    to_worker::Message::ApplicationFinished(message),
                ));
            }
        }
        actions.push(MasterAction::ForgetApplication(app_id.clone()));
        self.ended.push_back(EndedApplication {
            app_id: app_id.clone(),
            description: application.description,
            submitted: application.submitted,
            ended: at,
            ending,
            cores,
        });
        while self.ended.len() > self.config.retained_applications {
            self.ended.pop_front();
        }
    }
}
