//! The handshake: from the application's request to a driver that serves it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use pyrite_conf::{Environment, MasterUrl, SparkConf};
use pyrite_plan::SharedState;
use pyrite_proto::FILE_DESCRIPTOR_SET;
use pyrite_proto::auth::RequireToken;
use pyrite_proto::connect::spark_connect_service_server::SparkConnectServiceServer;
use pyrite_proto::core::core_service_server::CoreServiceServer;
use pyrite_proto::error::SparkError;
use pyrite_python::{PythonPoolConfig, PythonWorkerPool};
use pyrite_runtime::{LocalOptions, LocalRuntime, Runtime};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tracing::{debug, error};

use crate::application::{Application, Stop};
use crate::cached_rows::Blocks;
use crate::cluster::Cluster;
use crate::connect::service::{ConnectService, MAX_REQUEST_BYTES};
use crate::core::service::Core;
use crate::jobs::Jobs;
use crate::lifecycle::{RemoveOnFailure, Server};
use crate::listener;
use crate::settings::{self, StartRequest};

/// Share of the driver's memory for operators, and for persisted partitions.
const OPERATOR_MEMORY_PERCENT: usize = 60;
const BLOCK_MEMORY_PERCENT: usize = 30;

/// A driver that serves.
pub struct Driver {
    /// The application.
    pub application: Arc<Application>,
    /// What the application is told.
    pub answer: Value,
    /// The server on the application's port.
    pub server: Server,
}

/// Starts everything for an application.
///
/// # Errors
/// Settings that cannot be used, a master that does not answer, ports that are taken.
pub async fn start(request: StartRequest) -> Result<Driver, SparkError> {
    let started = Instant::now();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .map_err(|e| SparkError::other(format!("cannot listen on this machine: {e}")))?;
    let address = listener
        .local_addr()
        .map_err(|e| SparkError::other(format!("cannot listen on this machine: {e}")))?;
    let environment = Environment::load().map_err(|e| settings::conf_error(&e))?;
    let conf = settings::resolve(&request)?;
    let master = conf.get_or("spark.master", "local[*]").to_owned();
    let parsed = MasterUrl::parse(&master).map_err(|e| SparkError::other(e.to_string()))?;
    let (local_dir, owner) = settings::make_local_dir(&conf, &environment)?;
    let guard = RemoveOnFailure::new(local_dir.clone());
    let level = settings::log_level(&conf, request.verbose_events);
    crate::logging::start(&level, &local_dir.join("driver.log"))
        .map_err(|e| SparkError::other(format!("cannot write the driver's log: {e}")))?;
    debug!(
        pid = request.pid,
        app_file = request.app_file,
        cwd = request.cwd,
        "application"
    );

    let parts = Parts {
        request: &request,
        conf: &conf,
        environment: &environment,
        local_dir: &local_dir,
        jobs: Arc::default(),
    };
    let engine = match parsed {
        MasterUrl::Local {
            threads,
            max_failures,
        } => parts.local(threads, max_failures)?,
        other => parts.cluster(&other).await?,
    };
    let application = parts.application(engine, &conf, started)?;
    listener::application_started(&application.app_id, &application.name, &master);
    application.watch_stages();
    let token = hex::encode(rand::random::<[u8; 32]>());
    let server = serve(&application, listener, &token);
    guard.keep();
    // Until the process ends.
    std::mem::forget(owner);
    let answer = answer(&application, &master, address, &token);
    debug!(
        millis = started.elapsed().as_millis() as u64,
        "driver is ready"
    );
    Ok(Driver {
        application,
        answer,
        server,
    })
}

fn answer(application: &Application, master: &str, address: SocketAddr, token: &str) -> Value {
    json!({
        "ok": true,
        "app_id": application.app_id,
        "port": address.port(),
        "token": token,
        "conf": application.effective_conf,
        "master": master,
        "default_parallelism": application.default_parallelism(),
        "local_dir": application.local_dir,
        "web_url": null,
        "version": env!("CARGO_PKG_VERSION"),
        "descriptor_set": base64::engine::general_purpose::STANDARD.encode(FILE_DESCRIPTOR_SET),
    })
}

/// Serves both services on the application's port until told to stop.
fn serve(application: &Arc<Application>, listener: TcpListener, token: &str) -> Server {
    let check = RequireToken::new(Some(token));
    let connect = SparkConnectServiceServer::new(ConnectService::new(Arc::clone(application)))
        .max_decoding_message_size(MAX_REQUEST_BYTES)
        .max_encoding_message_size(usize::MAX);
    let core = CoreServiceServer::new(Core::new(Arc::clone(application)))
        .max_decoding_message_size(MAX_REQUEST_BYTES)
        .max_encoding_message_size(usize::MAX);
    let incoming = TcpListenerStream::new(listener).map(|connection| {
        let connection = connection?;
        connection.set_nodelay(true)?;
        Ok::<_, std::io::Error>(connection)
    });
    let shutdown = CancellationToken::new();
    let stopped = shutdown.clone().cancelled_owned();
    let router = tonic::transport::Server::builder()
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20)
        .add_service(InterceptedService::new(connect, check.clone()))
        .add_service(InterceptedService::new(core, check));
    let task = tokio::spawn(async move {
        if let Err(error) = router.serve_with_incoming_shutdown(incoming, stopped).await {
            error!(%error, "the application's port failed");
        }
    });
    Server { shutdown, task }
}

/// What a runtime is made from.
pub(crate) struct Parts<'a> {
    pub request: &'a StartRequest,
    pub conf: &'a SparkConf,
    pub environment: &'a Environment,
    pub local_dir: &'a Path,
    pub jobs: Arc<Jobs>,
}

/// A runtime and who it belongs to.
pub(crate) struct Engine {
    pub app_id: String,
    pub runtime: Arc<dyn Runtime>,
    pub cluster: Option<Arc<Cluster>>,
    pub python_workers: Option<Arc<PythonWorkerPool>>,
}

impl Parts<'_> {
    /// Everything inside this process.
    fn local(&self, threads: usize, max_failures: usize) -> Result<Engine, SparkError> {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let app_id = format!("local-{}", since_epoch.as_millis());
        let pool =
            settings::python_pool(self.conf, self.environment, self.request, self.local_dir)?;
        let python_workers = Arc::new(PythonWorkerPool::new(PythonPoolConfig {
            max_idle: 2 * threads,
            ..pool
        }));
        // While the application goes on; most applications need them.
        python_workers.prestart(threads.min(4));
        let memory = settings::driver_memory_bytes(self.conf)?;
        let runtime = LocalRuntime::new(LocalOptions {
            app_id: app_id.clone(),
            threads,
            max_failures,
            memory_bytes: memory / 100 * OPERATOR_MEMORY_PERCENT,
            block_memory_bytes: memory / 100 * BLOCK_MEMORY_PERCENT,
            local_dir: self.local_dir.to_owned(),
            python_workers: Arc::clone(&python_workers),
            reports: Arc::clone(&self.jobs) as _,
        })?;
        Ok(Engine {
            app_id,
            runtime: Arc::new(runtime),
            cluster: None,
            python_workers: Some(python_workers),
        })
    }

    fn application(
        &self,
        engine: Engine,
        conf: &SparkConf,
        started: Instant,
    ) -> Result<Arc<Application>, SparkError> {
        let conf_parallelism = settings::default_parallelism(conf)?;
        let max_result_bytes = Application::max_result_bytes(conf)?;
        let mut effective_conf = conf.to_map();
        effective_conf.insert("spark.app.id".to_owned(), engine.app_id.clone());
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        effective_conf
            .entry("spark.app.startTime".to_owned())
            .or_insert_with(|| now.as_millis().to_string());
        for (key, value) in self.driver_address(&engine) {
            effective_conf.entry(key).or_insert(value);
        }
        Ok(Arc::new_cyclic(|this| Application {
            this: this.clone(),
            app_id: engine.app_id,
            name: conf.get_or("spark.app.name", "pyspark-shell").to_owned(),
            effective_conf,
            local_dir: self.local_dir.to_owned(),
            shared: Arc::new(SharedState::new(Arc::new(Blocks {
                runtime: Arc::clone(&engine.runtime),
            }))),
            runtime: engine.runtime,
            jobs: Arc::clone(&self.jobs),
            sessions: Default::default(),
            server_side_session_id: uuid::Uuid::new_v4().to_string(),
            max_result_bytes,
            conf_parallelism,
            cluster: engine.cluster,
            python_workers: engine.python_workers,
            tasks: Default::default(),
            stop: Stop::default(),
            started,
        }))
    }

    /// `spark.driver.host` and `spark.driver.port` as the application sees them.
    fn driver_address(&self, engine: &Engine) -> Vec<(String, String)> {
        let (host, port) = match &engine.cluster {
            Some(cluster) => (cluster.driver_host.clone(), cluster.driver_port.to_string()),
            None => ("localhost".to_owned(), "0".to_owned()),
        };
        vec![
            ("spark.driver.host".to_owned(), host),
            ("spark.driver.port".to_owned(), port),
        ]
    }
}
