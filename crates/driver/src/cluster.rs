//! The application on a cluster: its registration with the master, and what becomes of its
//! executors.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pyrite_cluster::client::{ApplicationClient, ApplicationEvent, ClientOptions};
use pyrite_cluster::local::LocalCluster;
use pyrite_conf::{MasterUrl, SparkConf, host, secret};
use pyrite_proto::cluster::ApplicationDescription;
use pyrite_proto::error::SparkError;
use pyrite_runtime::{ClusterOptions, ClusterRuntime, Runtime as _};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use crate::jobs::Jobs;
use crate::listener;
use crate::settings::{self, conf_error};
use crate::start::{Engine, Parts};

/// How long a start waits for the master's first grant: what the application is told about
/// its parallelism depends on it.
const FIRST_GRANT: Duration = Duration::from_millis(500);
/// How long it waits for the next one after each.
const NEXT_GRANT: Duration = Duration::from_millis(15);
/// How often to look for jobs that have no executors.
const STARVATION_CHECK: Duration = Duration::from_secs(1);

/// The application's place on a cluster.
pub struct Cluster {
    /// Host that executors are told.
    pub driver_host: String,
    /// Port that executors connect to.
    pub driver_port: u16,
    client: Mutex<Option<ApplicationClient>>,
    /// Ends with the application.
    local: Mutex<Option<LocalCluster>>,
    /// Cores of granted executors that have not ended.
    granted: Arc<Mutex<BTreeMap<u32, u32>>>,
}

impl Cluster {
    /// Cores of the executors that the master has granted.
    pub fn granted_cores(&self) -> usize {
        self.granted
            .lock()
            .values()
            .map(|&cores| cores as usize)
            .sum()
    }

    /// Tells the master that the application ends.
    pub async fn unregister(&self, failed: bool) {
        let client = self.client.lock().take();
        if let Some(client) = client {
            client.unregister(failed).await;
        }
    }

    /// Ends the master and workers that were started for this application alone.
    pub async fn stop(&self) {
        let local = self.local.lock().take();
        if let Some(local) = local {
            local.shutdown().await;
        }
    }
}

impl Parts<'_> {
    /// Executors on a cluster, which is started first if it is this application's own.
    pub(crate) async fn cluster(&self, master: &MasterUrl) -> Result<Engine, SparkError> {
        let conf = self.conf;
        let mut local = None;
        let (masters, joined) = match master {
            MasterUrl::LocalCluster {
                workers,
                cores,
                memory_mib,
            } => {
                let work_dir = self.local_dir.join("work");
                let started = LocalCluster::start(*workers, *cores, *memory_mib, work_dir)
                    .await
                    .map_err(|e| cluster_error(&e))?;
                let found = (
                    started.masters().to_vec(),
                    Some(started.secret().to_owned()),
                );
                local = Some(started);
                found
            }
            MasterUrl::Standalone { hosts } => {
                let joined =
                    secret::to_join(conf, self.environment, hosts).map_err(|e| conf_error(&e))?;
                (hosts.clone(), joined)
            }
            MasterUrl::Local { .. } => {
                return Err(SparkError::other("a local master has no cluster"));
            }
        };
        let driver_host = self.driver_host(local.is_some());
        let app_secret = hex::encode(rand::random::<[u8; 32]>());
        let runtime = Arc::new(self.runtime(&driver_host, &app_secret).await?);
        let endpoint = runtime.endpoint();
        let driver_port = endpoint
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok())
            .unwrap_or_default();
        let description = self.description(endpoint, app_secret)?;
        let options = ClientOptions::from_conf(conf).map_err(|e| cluster_error(&e))?;
        let (client, mut events) =
            ApplicationClient::register(&masters, description, joined.as_deref(), &options)
                .await
                .map_err(|e| cluster_error(&e))?;
        let app_id = client.app_id().to_string();
        let granted = Arc::default();
        let watch = Watch {
            runtime: Arc::clone(&runtime),
            jobs: Arc::clone(&self.jobs),
            granted: Arc::clone(&granted),
            starvation: conf
                .get_duration("spark.starvation.timeout")
                .map_err(|e| conf_error(&e))?,
        };
        watch.first_grants(&mut events).await;
        tokio::spawn(watch.run(events));
        Ok(Engine {
            app_id,
            runtime,
            cluster: Some(Arc::new(Cluster {
                driver_host,
                driver_port,
                client: Mutex::new(Some(client)),
                local: Mutex::new(local),
                granted,
            })),
            python_workers: None,
        })
    }

    fn driver_host(&self, on_loopback: bool) -> String {
        match self.conf.get("spark.driver.host") {
            Some(host) => host.to_owned(),
            None if on_loopback => "127.0.0.1".to_owned(),
            None => host::local_host(self.environment),
        }
    }

    async fn runtime(
        &self,
        driver_host: &str,
        app_secret: &str,
    ) -> Result<ClusterRuntime, SparkError> {
        let conf = self.conf;
        let port = conf
            .get_unsigned::<u16>("spark.driver.port")
            .map_err(|e| conf_error(&e))?;
        let task_max_failures = conf
            .get_unsigned::<usize>("spark.task.maxFailures")
            .map_err(|e| conf_error(&e))?;
        let no_executors_grace = conf
            .get_duration("spark.pyrite.noExecutorsTimeout")
            .map_err(|e| conf_error(&e))?;
        ClusterRuntime::start(ClusterOptions {
            // The master gives the application's id only once it knows this address.
            app_id: format!("driver-{}", uuid::Uuid::new_v4()),
            bind_address: conf
                .get_or("spark.driver.bindAddress", driver_host)
                .to_owned(),
            advertised_host: driver_host.to_owned(),
            port,
            app_secret: Some(app_secret.to_owned()),
            local_dir: self.local_dir.to_owned(),
            memory_bytes: settings::driver_memory_bytes(conf)?,
            default_parallelism: settings::default_parallelism(conf)?,
            task_max_failures: task_max_failures.max(1),
            no_executors_grace,
            services: None,
            reports: Arc::clone(&self.jobs) as _,
        })
        .await
    }

    fn description(
        &self,
        driver_address: String,
        app_secret: String,
    ) -> Result<ApplicationDescription, SparkError> {
        let conf = self.conf;
        let number = |key: &str| -> Result<u32, SparkError> {
            if !conf.contains(key) {
                return Ok(0);
            }
            conf.get_unsigned(key).map_err(|e| conf_error(&e))
        };
        let memory = conf
            .get_mib("spark.executor.memory")
            .map_err(|e| conf_error(&e))?;
        let python = settings::worker_python(conf, self.environment, self.request);
        Ok(ApplicationDescription {
            name: conf.get_or("spark.app.name", "pyspark-shell").to_owned(),
            user: self.user(),
            driver_address,
            app_secret,
            cores_max: number("spark.cores.max")?,
            cores_per_executor: number("spark.executor.cores")?,
            memory_mib_per_executor: memory,
            python_exec: python,
            python_version: self.request.python_version.clone(),
            executor_env: settings::worker_environment(conf),
            conf: executor_conf(conf),
            ..Default::default()
        })
    }

    fn user(&self) -> String {
        ["SPARK_USER", "USER"]
            .iter()
            .find_map(|name| self.environment.get(name))
            .unwrap_or("unknown")
            .to_owned()
    }
}

/// What executors need of the configuration: everything but the cluster's secrets.
fn executor_conf(conf: &SparkConf) -> BTreeMap<String, String> {
    let mut map = conf.to_map();
    map.retain(|key, _| !key.starts_with("spark.authenticate"));
    map
}

fn cluster_error(error: &pyrite_cluster::ClusterError) -> SparkError {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    SparkError::other(message)
}

/// Listens to the master for as long as the application is registered.
struct Watch {
    runtime: Arc<ClusterRuntime>,
    jobs: Arc<Jobs>,
    granted: Arc<Mutex<BTreeMap<u32, u32>>>,
    /// How long a job has no executors before a warning says so.
    starvation: Duration,
}

impl Watch {
    /// Waits a moment for executors. None is no error: they may come later.
    async fn first_grants(&self, events: &mut mpsc::Receiver<ApplicationEvent>) {
        let mut patience = FIRST_GRANT;
        while let Ok(Some(event)) = tokio::time::timeout(patience, events.recv()).await {
            if matches!(event, ApplicationEvent::ExecutorAdded { .. }) {
                patience = NEXT_GRANT;
            }
            self.handle(event).await;
        }
    }

    async fn run(self, mut events: mpsc::Receiver<ApplicationEvent>) {
        let mut clock = tokio::time::interval(
            self.starvation
                .clamp(Duration::from_millis(10), STARVATION_CHECK),
        );
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut starving = None;
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.handle(event).await,
                    None => return,
                },
                _ = clock.tick() => self.warn_of_starvation(&mut starving),
            }
        }
    }

    /// Says that jobs wait for executors when they have done so for long; `since` is when that
    /// began, or was last said.
    fn warn_of_starvation(&self, since: &mut Option<Instant>) {
        if self.jobs.active_ids().is_empty() || !self.runtime.executors().is_empty() {
            *since = None;
            return;
        }
        let began = *since.get_or_insert_with(Instant::now);
        if began.elapsed() >= self.starvation {
            warn!(
                "Initial job has not accepted any resources; check your cluster UI to ensure that \
                 workers are registered and have sufficient resources (spark.executor.memory, \
                 spark.executor.cores)"
            );
            *since = Some(Instant::now());
        }
    }

    async fn handle(&self, event: ApplicationEvent) {
        let ended = event.ended_executor();
        match event {
            ApplicationEvent::ExecutorAdded {
                executor_id,
                host,
                cores,
                memory_mib,
                ..
            } => {
                self.granted.lock().insert(executor_id.0, cores);
                listener::executor_granted(executor_id.0, &host, cores, memory_mib);
                self.runtime.executor_added(&executor_id.to_string());
            }
            ApplicationEvent::ExecutorUpdated {
                message,
                exit_status,
                ..
            } => {
                let Some(executor_id) = ended else { return };
                self.granted.lock().remove(&executor_id.0);
                let reason = match exit_status {
                    Some(status) => format!("{message} (exit status {status})"),
                    None => message,
                };
                listener::executor_lost(executor_id.0, &reason);
                self.runtime
                    .executor_lost(&executor_id.to_string(), &reason)
                    .await;
            }
            ApplicationEvent::MasterLost { reason } => {
                warn!(reason, "the master is lost; executors go on");
            }
            ApplicationEvent::MasterReconnected => info!("the master is back"),
            ApplicationEvent::Removed { message } => {
                warn!(message, "the master has removed the application");
                self.jobs
                    .fail_all(&format!("Master removed our application: {message}"));
            }
        }
    }
}
