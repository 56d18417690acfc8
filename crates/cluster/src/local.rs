//! A whole cluster as children of this process, for `local-cluster[workers,cores,memory]`.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use pyrite_conf::MasterUrl;
use pyrite_conf::secret::SECRET_VARIABLE;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::error::ClusterError;
use crate::master::MasterReady;
use crate::worker::{KILL_GRACE, WorkerReady};

/// Longest wait for one child to be ready.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// What a local cluster is made of.
#[derive(Debug, Clone)]
pub struct LocalClusterOptions {
    /// The program with the subcommands `master`, `worker` and `executor`.
    pub program: PathBuf,
    /// Number of workers.
    pub workers: u32,
    /// Cores of each worker.
    pub cores: u32,
    /// Memory of each worker.
    pub memory_mib: u64,
    /// Directory for what executors write.
    pub work_dir: PathBuf,
}

/// A master and workers on loopback, ended with this value: each child has a pipe as stdin and ends
/// at its end.
#[derive(Debug)]
pub struct LocalCluster {
    url: String,
    masters: Vec<(String, u16)>,
    secret: String,
    children: Vec<Child>,
}

impl LocalCluster {
    /// Starts a cluster of this very program; see [`LocalCluster::start_with`].
    ///
    /// # Errors
    /// As [`LocalCluster::start_with`].
    pub async fn start(
        workers: u32,
        cores: u32,
        memory_mib: u64,
        work_dir: PathBuf,
    ) -> Result<Self, ClusterError> {
        let program =
            std::env::current_exe().map_err(|e| ClusterError::io("cannot find this program", e))?;
        Self::start_with(&LocalClusterOptions {
            program,
            workers,
            cores,
            memory_mib,
            work_dir,
        })
        .await
    }

    /// Starts a cluster and waits until all workers have joined.
    ///
    /// # Errors
    /// When a child cannot be started or is not ready in time. Children that were started end.
    pub async fn start_with(options: &LocalClusterOptions) -> Result<Self, ClusterError> {
        let mut cluster = Self {
            url: String::new(),
            masters: Vec::new(),
            secret: hex::encode(rand::random::<[u8; 24]>()),
            children: Vec::new(),
        };
        let loopback =
            ["--host=127.0.0.1", "--port=0", "--webui-port=0", "--child"].map(str::to_owned);
        let mut master_args = vec!["master".to_owned()];
        master_args.extend(loopback.clone());
        let ready: MasterReady = cluster.child(options, &master_args).await?;
        if let MasterUrl::Standalone { hosts } = MasterUrl::parse(&ready.url)? {
            cluster.masters = hosts;
        }
        cluster.url = ready.url;
        for index in 0..options.workers {
            let mut worker_args = vec!["worker".to_owned(), cluster.url.clone()];
            worker_args.extend(loopback.clone());
            worker_args.extend([
                format!("--cores={}", options.cores),
                format!("--memory={}m", options.memory_mib),
                format!(
                    "--work-dir={}",
                    options.work_dir.join(format!("worker-{index}")).display()
                ),
            ]);
            let _: WorkerReady = cluster.child(options, &worker_args).await?;
        }
        Ok(cluster)
    }

    /// Starts one child and reads the line by which it says that it is ready.
    async fn child<R: serde::de::DeserializeOwned>(
        &mut self,
        options: &LocalClusterOptions,
        args: &[String],
    ) -> Result<R, ClusterError> {
        let what =
            |doing: &str| format!("cannot {doing} `{} {}`", options.program.display(), args[0]);
        let mut child = Command::new(&options.program)
            .args(args)
            .env(SECRET_VARIABLE, &self.secret)
            // Their stderr is the application's console, where only trouble belongs.
            .env(
                "PYRITE_LOG",
                std::env::var("PYRITE_LOG").unwrap_or_else(|_| "error".to_owned()),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| ClusterError::io(what("start"), e))?;
        let stdout = child.stdout.take().expect("stdout was piped");
        self.children.push(child);
        let mut line = String::new();
        let mut reader = BufReader::new(stdout);
        let read = tokio::time::timeout(READY_TIMEOUT, reader.read_line(&mut line)).await;
        let other = |reason: String| ClusterError::io(what("start"), std::io::Error::other(reason));
        match read {
            Err(_) => Err(other("it was not ready in time".to_owned())),
            Ok(Err(error)) => Err(ClusterError::io(what("read from"), error)),
            Ok(Ok(0)) => Err(other("it ended before it was ready".to_owned())),
            Ok(Ok(_)) => serde_json::from_str(&line).map_err(|error| other(error.to_string())),
        }
    }

    /// `spark://host:port` of the master.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Host and port of the master.
    pub fn masters(&self) -> &[(String, u16)] {
        &self.masters
    }

    /// The secret of this cluster.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Ends the cluster and waits for it.
    pub async fn shutdown(mut self) {
        for child in &mut self.children {
            drop(child.stdin.take());
        }
        let deadline = tokio::time::Instant::now() + KILL_GRACE + Duration::from_secs(3);
        for child in &mut self.children {
            if tokio::time::timeout_at(deadline, child.wait())
                .await
                .is_err()
                && let Err(error) = child.kill().await
            {
                tracing::warn!(%error, "cannot end a process of the local cluster");
            }
        }
    }
}
