//! The master process: a server around [`MasterState`].

mod service;
mod store;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use chrono::Local;
use pyrite_conf::{SparkConf, host, ports, secret};
use pyrite_proto::auth::RequireToken;
use pyrite_proto::cluster::master_service_server::MasterServiceServer;
use pyrite_ui::master::{MasterPage, MasterSource};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use tracing::{info, warn};

use crate::error::ClusterError;
use crate::ids::AppId;
use crate::link;
use crate::state::{MasterConfig, MasterEvent, MasterState};
use service::{Service, Shell};
use store::Store;

/// What a master needs to start.
pub struct MasterOptions {
    /// Name or address that peers are told.
    pub host: String,
    /// Address to listen on.
    pub bind: String,
    /// Port to listen on; 0 for any.
    pub port: u16,
    /// Port of the pages; 0 for any.
    pub web_ui_port: u16,
    /// Settings.
    pub conf: SparkConf,
    /// Directory of what outlives the process.
    pub state_dir: PathBuf,
    /// The configured secret of the cluster, if any.
    pub secret: Option<String>,
    /// Called once when peers can come.
    pub on_ready: Option<OnReady>,
}

/// Called with where a master that has started can be found.
pub type OnReady = Box<dyn FnOnce(&MasterReady) + Send>;

/// Where a master that has started can be found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MasterReady {
    /// `spark://host:port`
    pub url: String,
    /// Address of its pages; empty when they cannot be served.
    pub web_ui_url: String,
}

/// Runs a master until `shutdown`.
///
/// # Errors
/// When no port can be had, a setting is wrong, or the server stops by itself.
pub async fn run(
    mut options: MasterOptions,
    shutdown: CancellationToken,
) -> Result<(), ClusterError> {
    let retries = options.conf.get_unsigned("spark.port.maxRetries")?;
    let listener = ports::listen("sparkMaster", &options.bind, options.port, retries)?;
    let port = listener
        .local_addr()
        .map_err(|e| ClusterError::io("cannot tell the master's port", e))?
        .port();
    let secret = secret_of(&options)?;
    let pages = match ports::listen("MasterUI", &options.bind, options.web_ui_port, retries) {
        Ok(listener) => Some(listener),
        Err(error) => {
            warn!(%error, "no pages");
            None
        }
    };
    let ready = MasterReady {
        url: format!("spark://{}:{port}", options.host),
        web_ui_url: web_address(&options.host, pages.as_ref()),
    };

    let (store, before) = if options.port == 0 {
        // Nobody finds a master at a random port again.
        (None, store::Stored::default())
    } else {
        open_store(&options, port)
    };
    let config = master_config(&options.conf, &ready)?;
    let state = MasterState::new(config, before.next_number, before.applications);
    let tick = state.tick_interval();
    let shell = Arc::new(Shell::new(state, store));

    let stream = tokio::net::TcpListener::from_std(listener)
        .map_err(|e| ClusterError::io("cannot listen", e))?;
    let service = MasterServiceServer::with_interceptor(
        Service(shell.clone()),
        RequireToken::new(secret.as_deref()),
    );
    let serving = link::server()
        .add_service(service)
        .serve_with_incoming(TcpIncoming::from(stream).with_nodelay(Some(true)));
    info!(url = ready.url, "Starting Spark master");
    info!(version = env!("CARGO_PKG_VERSION"), "Running Pyrite");
    if !ready.web_ui_url.is_empty() {
        info!(url = ready.web_ui_url, "Bound MasterUI");
    }
    if let Some(on_ready) = options.on_ready.take() {
        on_ready(&ready);
    }
    let outcome = tokio::select! {
        served = serving => served.map_err(ClusterError::Server),
        served = serve_pages(pages, shell.clone()) => served,
        () = ticking(shell.clone(), tick) => Ok(()),
        () = shutdown.cancelled() => {
            info!("shutting down");
            Ok(())
        }
    };
    shell.stop();
    outcome
}

/// The configured secret, or on a network one that is made and kept.
fn secret_of(options: &MasterOptions) -> Result<Option<String>, ClusterError> {
    if options.secret.is_some() || host::is_loopback(&options.bind) {
        return Ok(options.secret.clone());
    }
    let made = secret::read_or_make(&options.state_dir)?;
    let path = secret::secret_file(&options.state_dir);
    info!(
        file = %path.display(),
        "no secret is configured, so this master has one of its own; on other machines start workers and \
         applications with PYRITE_AUTH_SECRET (or spark.authenticate.secret) set to what this file holds"
    );
    Ok(Some(made))
}

fn open_store(options: &MasterOptions, port: u16) -> (Option<Store>, store::Stored) {
    match Store::open(&options.state_dir, port) {
        Ok((store, stored)) => (Some(store), stored),
        Err(error) => {
            warn!(dir = %options.state_dir.display(), %error, "applications will not survive a restart of this master");
            (None, store::Stored::default())
        }
    }
}

fn master_config(conf: &SparkConf, ready: &MasterReady) -> Result<MasterConfig, ClusterError> {
    let default_cores = match conf.get("spark.deploy.defaultCores") {
        Some(_) => Some(conf.get_unsigned("spark.deploy.defaultCores")?),
        None => None,
    };
    let spread_out = match conf.get("spark.deploy.spreadOut") {
        Some(_) => conf.get_bool("spark.deploy.spreadOut")?,
        None => conf.get_bool("spark.deploy.spreadOutApps")?,
    };
    let worker_timeout = conf.get_duration("spark.worker.timeout")?;
    Ok(MasterConfig {
        url: ready.url.clone(),
        web_ui_url: ready.web_ui_url.clone(),
        worker_timeout,
        orphan_timeout: worker_timeout,
        spread_out,
        default_cores,
        max_executor_retries: u32::try_from(conf.get_int("spark.deploy.maxExecutorRetries")?).ok(),
        kill_enabled: conf.get_bool("spark.ui.killEnabled")?,
        retained_applications: conf.get_unsigned("spark.deploy.retainedApplications")?,
        ..MasterConfig::default()
    })
}

/// Address of pages on a listener; empty without one.
pub(crate) fn web_address(host: &str, listener: Option<&std::net::TcpListener>) -> String {
    listener
        .and_then(|listener| listener.local_addr().ok())
        .map_or_else(String::new, |address| {
            format!("http://{host}:{}", address.port())
        })
}

async fn serve_pages(
    listener: Option<std::net::TcpListener>,
    shell: Arc<Shell>,
) -> Result<(), ClusterError> {
    match listener {
        Some(listener) => pyrite_ui::serve(listener, pyrite_ui::master::routes(shell))
            .await
            .map_err(|e| ClusterError::io("cannot serve the master's pages", e)),
        None => std::future::pending().await,
    }
}

async fn ticking(shell: Arc<Shell>, interval: std::time::Duration) {
    let mut ticks = tokio::time::interval(interval);
    loop {
        ticks.tick().await;
        shell.apply(MasterEvent::Tick);
    }
}

impl MasterSource for Shell {
    fn page(&self) -> MasterPage {
        self.with_state(|state| state.page(Instant::now(), Local::now()))
    }

    fn kill_application(&self, id: &str) {
        if !self.with_state(MasterState::kill_enabled) {
            warn!(app_id = id, "not killed: spark.ui.killEnabled is false");
            return;
        }
        info!(app_id = id, "Received request to kill application");
        self.apply(MasterEvent::KillApplication {
            app_id: AppId(id.to_owned()),
            at: Local::now(),
        });
    }
}
