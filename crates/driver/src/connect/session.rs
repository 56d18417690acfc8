//! Sessions by (user, session id), and the executions in each.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use datafusion::prelude::SessionContext;
use parking_lot::Mutex;
use pyrite_plan::PlanSession;
use pyrite_proto::error::SparkError;
use tokio_util::sync::CancellationToken;

use super::artifacts::Artifacts;
use super::config;
use super::errors::{self, ErrorLog};
use super::reattach::ResponseBuffer;
use crate::application::Application;
use crate::extensions::SessionExtensions;

/// An execution that nobody has read for this long is given up
/// (`spark.connect.execute.manager.detachedTimeout`).
const DETACHED_TIMEOUT: Duration = Duration::from_secs(300);
/// How many ended executions a session can tell the state of.
const REMEMBERED_OPERATIONS: usize = 1000;

/// A user's session: one catalog, one set of settings, its executions.
pub struct Session {
    /// `UserContext.user_id`
    pub user_id: String,
    /// Chosen by the client.
    pub session_id: String,
    /// Analysis and planning.
    pub plan: PlanSession,
    /// Files the client has uploaded.
    pub artifacts: Arc<Artifacts>,
    /// Errors that the client may ask about.
    pub errors: ErrorLog,
    operations: Mutex<Operations>,
}

#[derive(Default)]
struct Operations {
    active: HashMap<String, Arc<Operation>>,
    /// How executions ended that were released: `None` is success.
    ended: Vec<(String, Option<SparkError>)>,
}

/// One `ExecutePlan`.
pub struct Operation {
    /// Chosen by the client or the server.
    pub id: String,
    /// For `Interrupt` by tag.
    pub tags: Vec<String>,
    /// Responses on their way.
    pub buffer: Arc<ResponseBuffer>,
    /// Stops the execution.
    pub cancel: CancellationToken,
}

impl Session {
    /// Adds an execution.
    ///
    /// # Errors
    /// When the id is taken.
    pub fn add_operation(&self, operation: Arc<Operation>) -> Result<(), SparkError> {
        let mut operations = self.operations.lock();
        operations.forget_abandoned();
        if operations.active.contains_key(&operation.id) {
            return Err(errors::invalid_handle(
                "OPERATION_ALREADY_EXISTS",
                &operation.id,
                "Operation already exists.",
            )
            .with("operationId", &operation.id));
        }
        operations.active.insert(operation.id.clone(), operation);
        Ok(())
    }

    /// The execution with this id.
    ///
    /// # Errors
    /// When there is none.
    pub fn operation(&self, id: &str) -> Result<Arc<Operation>, SparkError> {
        self.find_operation(id).ok_or_else(|| {
            errors::invalid_handle("OPERATION_NOT_FOUND", id, "Operation not found.")
        })
    }

    /// The execution with this id, if there is one.
    pub fn find_operation(&self, id: &str) -> Option<Arc<Operation>> {
        self.operations.lock().active.get(id).cloned()
    }

    /// All executions that are not released.
    pub fn operations(&self) -> Vec<Arc<Operation>> {
        self.operations.lock().active.values().cloned().collect()
    }

    /// Ids and errors of executions that are over.
    pub fn ended_operations(&self) -> Vec<(String, Option<SparkError>)> {
        self.operations.lock().ended.clone()
    }

    /// Forgets an execution and stops it if it still runs.
    pub fn release_operation(&self, id: &str) {
        let mut operations = self.operations.lock();
        operations.release(id);
    }

    /// Stops the running executions that `which` selects and returns their ids.
    pub fn interrupt(&self, which: impl Fn(&Operation) -> bool) -> Vec<String> {
        self.operations()
            .into_iter()
            .filter(|operation| !operation.buffer.is_finished() && which(operation))
            .map(|operation| {
                operation.cancel.cancel();
                operation.id.clone()
            })
            .collect()
    }
}

impl Operations {
    fn release(&mut self, id: &str) {
        if let Some(operation) = self.active.remove(id) {
            let outcome = if operation.buffer.is_finished() {
                operation.buffer.error()
            } else {
                Some(errors::cancelled())
            };
            operation.cancel.cancel();
            operation.buffer.release_all();
            if self.ended.len() >= REMEMBERED_OPERATIONS {
                self.ended.remove(0);
            }
            self.ended.push((id.to_owned(), outcome));
        }
    }

    fn forget_abandoned(&mut self) {
        let abandoned: Vec<String> = self
            .active
            .values()
            .filter(|o| {
                o.buffer
                    .detached_for()
                    .is_some_and(|t| t > DETACHED_TIMEOUT)
            })
            .map(|o| o.id.clone())
            .collect();
        for id in abandoned {
            self.release(&id);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for operation in self.operations.lock().active.values() {
            operation.cancel.cancel();
            operation.buffer.release_all();
        }
    }
}

type Key = (String, String);

/// All sessions of the application.
#[derive(Default)]
pub struct Sessions {
    live: Mutex<HashMap<Key, Arc<Session>>>,
    released: Mutex<HashSet<Key>>,
}

impl Sessions {
    /// The session of a user, made at first use.
    ///
    /// # Errors
    /// When it was released.
    pub fn get_or_create(
        &self,
        application: &Arc<Application>,
        user_id: &str,
        session_id: &str,
    ) -> Result<Arc<Session>, SparkError> {
        let key = (user_id.to_owned(), session_id.to_owned());
        if self.released.lock().contains(&key) {
            return Err(errors::invalid_handle(
                "SESSION_CLOSED",
                session_id,
                "Session was closed.",
            ));
        }
        let mut live = self.live.lock();
        if let Some(session) = live.get(&key) {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(new_session(application, user_id, session_id));
        let runtime = Arc::clone(&application.runtime);
        application
            .tasks
            .spawn(async move { runtime.warm_python().await });
        live.insert(key, Arc::clone(&session));
        Ok(session)
    }

    /// The session, if it was used before.
    pub fn find(&self, user_id: &str, session_id: &str) -> Option<Arc<Session>> {
        let key = (user_id.to_owned(), session_id.to_owned());
        self.live.lock().get(&key).cloned()
    }

    /// Ends a session and everything that runs in it.
    pub fn release(&self, user_id: &str, session_id: &str, allow_reconnect: bool) {
        let key = (user_id.to_owned(), session_id.to_owned());
        let session = self.live.lock().remove(&key);
        if let Some(session) = session {
            for operation in session.operations() {
                session.release_operation(&operation.id);
            }
            session.artifacts.remove_all();
        }
        if !allow_reconnect {
            self.released.lock().insert(key);
        }
    }

    /// Ends all sessions.
    pub fn release_all(&self) {
        let sessions: Vec<_> = self.live.lock().drain().map(|(_, s)| s).collect();
        for session in sessions {
            for operation in session.operations() {
                session.release_operation(&operation.id);
            }
        }
    }
}

fn new_session(application: &Arc<Application>, user_id: &str, session_id: &str) -> Session {
    let runtime = &application.runtime;
    let config = runtime
        .session_config()
        .with_target_partitions(application.default_parallelism());
    let context = SessionContext::new_with_config_rt(config, runtime.runtime_env());
    let artifacts = Arc::new(Artifacts::new(
        application
            .local_dir
            .join("artifacts")
            .join(directory_name(session_id)),
        application.local_dir.join("files"),
    ));
    let extensions = SessionExtensions {
        application: Weak::clone(&application.this),
        artifacts: Arc::clone(&artifacts),
    };
    let mut conf = application.effective_conf.clone();
    config::add_machine_defaults(&mut conf);
    Session {
        user_id: user_id.to_owned(),
        session_id: session_id.to_owned(),
        plan: PlanSession::new(
            context,
            conf,
            Arc::new(extensions),
            Arc::clone(&application.shared),
        ),
        artifacts,
        errors: ErrorLog::default(),
        operations: Mutex::default(),
    }
}

/// Session ids are the client's words: only what is harmless in a path stays.
fn directory_name(session_id: &str) -> String {
    session_id
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .collect()
}
