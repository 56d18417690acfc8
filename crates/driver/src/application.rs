//! One application: what its services share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use pyrite_conf::SparkConf;
use pyrite_plan::SharedState;
use pyrite_proto::error::SparkError;
use pyrite_python::PythonWorkerPool;
use pyrite_runtime::Runtime;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::Cluster;
use crate::connect::session::Sessions;
use crate::jobs::Jobs;
use crate::{listener, settings};

/// Everything that the services of one application share.
pub struct Application {
    /// The application itself, for what it owns and what needs it.
    pub this: Weak<Application>,
    /// `local-...` or what the master has given.
    pub app_id: String,
    /// `spark.app.name`
    pub name: String,
    /// Settings in effect as sessions and the application see them.
    pub effective_conf: BTreeMap<String, String>,
    /// `broadcast/`, `parallel/`, `files/`, ... of this application.
    pub local_dir: PathBuf,
    /// Runs plans.
    pub runtime: Arc<dyn Runtime>,
    /// What sessions share: cached DataFrames, global temporary views.
    pub shared: Arc<SharedState>,
    /// Jobs and their accumulators.
    pub jobs: Arc<Jobs>,
    /// Sessions of Spark Connect.
    pub sessions: Sessions,
    /// Constant for the life of the driver: tells clients that it is still the same one.
    pub server_side_session_id: String,
    /// `spark.driver.maxResultSize`; 0 is no limit.
    pub max_result_bytes: usize,
    /// `spark.default.parallelism`, when it is set.
    pub conf_parallelism: Option<usize>,
    /// The connection to the master; `None` for local masters.
    pub cluster: Option<Arc<Cluster>>,
    /// Python workers of this process; `None` when executors have them.
    pub python_workers: Option<Arc<PythonWorkerPool>>,
    /// Executions on their way.
    pub tasks: TaskTracker,
    /// Whether the application has asked for the end.
    pub stop: Stop,
    /// When the driver started.
    pub started: Instant,
}

/// The wish to end, made once.
#[derive(Default)]
pub struct Stop {
    token: CancellationToken,
    failed: AtomicBool,
}

impl Application {
    /// Asks for the end of the driver.
    pub fn request_stop(&self, failed: bool) {
        self.stop.failed.fetch_or(failed, Ordering::Relaxed);
        self.stop.token.cancel();
    }

    /// Waits until somebody asks for the end; returns whether the application failed.
    pub async fn stop_requested(&self) -> bool {
        self.stop.token.cancelled().await;
        self.stop.failed.load(Ordering::Relaxed)
    }

    /// Partitions of what the user gives no number for: `spark.default.parallelism`, else the
    /// task slots that the application has at this moment.
    pub fn default_parallelism(&self) -> usize {
        self.conf_parallelism.unwrap_or_else(|| {
            let granted = self
                .cluster
                .as_ref()
                .map_or(0, |cluster| cluster.granted_cores());
            self.runtime.default_parallelism().max(granted)
        })
    }

    /// Ends everything in order: jobs, sessions, executors, Python workers.
    pub async fn shut_down(&self, failed: bool) {
        self.jobs.fail_all("the application has stopped");
        self.sessions.release_all();
        if let Some(cluster) = &self.cluster {
            cluster.unregister(failed).await;
        }
        self.runtime.shutdown().await;
        if let Some(python_workers) = &self.python_workers {
            python_workers.shutdown().await;
        }
        if let Some(cluster) = &self.cluster {
            cluster.stop().await;
        }
        listener::application_finished(&self.app_id, self.started.elapsed());
    }

    /// Passes stage events on to the log for as long as the application lives.
    pub fn watch_stages(&self) {
        let mut events = self.runtime.stage_events();
        let stop = self.stop.token.clone();
        self.tasks.spawn(async move {
            loop {
                let event = tokio::select! {
                    event = events.recv() => event,
                    () = stop.cancelled() => return,
                };
                match event {
                    Ok(event) => listener::stage(&event),
                    Err(RecvError::Lagged(missed)) => tracing::debug!(missed, "stage events"),
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }

    /// `spark.driver.maxResultSize` in bytes.
    ///
    /// # Errors
    /// When its value cannot be understood.
    pub fn max_result_bytes(conf: &SparkConf) -> Result<usize, SparkError> {
        let bytes = conf
            .get_bytes("spark.driver.maxResultSize")
            .map_err(|e| settings::conf_error(&e))?;
        Ok(usize::try_from(bytes).unwrap_or(usize::MAX))
    }
}
