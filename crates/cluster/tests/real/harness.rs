//! A cluster inside this process, and a driver to talk to it.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pyrite_cluster::ClusterError;
use pyrite_cluster::client::{ApplicationClient, ApplicationEvent, ClientOptions};
use pyrite_cluster::ids::ExecutorId;
use pyrite_cluster::master::{self, MasterOptions, MasterReady};
use pyrite_cluster::worker::{self, ExecutorProgram, WorkerOptions, WorkerReady};
use pyrite_conf::{MasterUrl, SparkConf};
use pyrite_proto::cluster::ApplicationDescription;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longest wait for anything in these tests.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Writes its id and what it was told, then lives as long as its stdin.
pub const OBEDIENT: &str = "echo $$ > pid\necho \"$@\"\nenv\nexec cat\n";

/// Hears nothing.
pub const STUBBORN: &str = "trap '' TERM\necho $$ > pid\nwhile true; do sleep 0.2; done\n";

/// Ends at once.
pub const BROKEN: &str = "echo no >&2\nexit 3\n";

pub struct Process {
    pub shutdown: CancellationToken,
    task: JoinHandle<Result<(), ClusterError>>,
}

impl Process {
    pub async fn stop(self) {
        self.shutdown.cancel();
        within(self.task).await.unwrap().unwrap();
    }

    /// Waits until it ends by itself.
    pub async fn failure(self) -> ClusterError {
        within(self.task).await.unwrap().unwrap_err()
    }
}

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .expect("nothing happened in time")
}

pub async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < DEADLINE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub struct Cluster {
    pub dir: tempfile::TempDir,
    pub conf: SparkConf,
    pub secret: Option<String>,
    pub masters: Vec<(String, u16)>,
    pub web_ui_url: String,
}

impl Cluster {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            conf: SparkConf::new(),
            secret: None,
            masters: Vec::new(),
            web_ui_url: String::new(),
        }
    }

    /// Starts a master; port 0 for the first, later the one it had.
    pub async fn master(&mut self, port: u16) -> Process {
        let (send, ready) = oneshot::channel();
        let shutdown = CancellationToken::new();
        let options = MasterOptions {
            host: "127.0.0.1".to_owned(),
            bind: "127.0.0.1".to_owned(),
            port,
            web_ui_port: 0,
            conf: self.conf.clone(),
            state_dir: self.dir.path().join("state"),
            secret: self.secret.clone(),
            on_ready: Some(Box::new(move |ready: &MasterReady| {
                send.send(ready.clone()).unwrap()
            })),
        };
        let task = tokio::spawn(master::run(options, shutdown.clone()));
        let ready = within(ready).await.unwrap();
        let MasterUrl::Standalone { hosts } = MasterUrl::parse(&ready.url).unwrap() else {
            panic!("{ready:?}")
        };
        self.masters = hosts;
        self.web_ui_url = ready.web_ui_url;
        Process { shutdown, task }
    }

    pub fn script(&self, text: &str) -> PathBuf {
        let path = self.dir.path().join(format!("executor-{}.sh", text.len()));
        std::fs::write(&path, format!("#!/bin/bash\n{text}")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    }

    pub fn worker_options(&self, script: &str, cores: u32) -> WorkerOptions {
        WorkerOptions {
            masters: self.masters.clone(),
            host: "127.0.0.1".to_owned(),
            bind: "127.0.0.1".to_owned(),
            port: 0,
            web_ui_port: 0,
            cores,
            memory_mib: 2048,
            work_dir: self.dir.path().join("work"),
            conf: self.conf.clone(),
            secret: self.secret.clone(),
            program: ExecutorProgram {
                path: self.script(script),
                env: BTreeMap::new(),
                python_exec: None,
            },
            on_ready: None,
        }
    }

    pub async fn worker(&self, script: &str, cores: u32) -> (Process, WorkerReady) {
        let (send, ready) = oneshot::channel();
        let mut options = self.worker_options(script, cores);
        options.on_ready = Some(Box::new(move |ready: &WorkerReady| {
            send.send(ready.clone()).unwrap()
        }));
        let process = start_worker(options);
        (process, within(ready).await.unwrap())
    }

    pub async fn driver(&self, application: ApplicationDescription) -> Driver {
        let registered = ApplicationClient::register(
            &self.masters,
            application,
            self.secret.as_deref(),
            &impatient(),
        )
        .await;
        let (client, events) = registered.unwrap();
        Driver {
            work_dir: self.dir.path().join("work"),
            client: Some(client),
            events,
        }
    }

    pub fn json(&self, base: &str) -> serde_json::Value {
        let (_, body) = get(&format!("{base}/json/"));
        serde_json::from_str(&body).unwrap()
    }
}

pub fn start_worker(options: WorkerOptions) -> Process {
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(worker::run(options, shutdown.clone()));
    Process { shutdown, task }
}

pub fn impatient() -> ClientOptions {
    ClientOptions {
        attempts: 3,
        interval: Duration::from_millis(50),
    }
}

pub fn application(name: &str) -> ApplicationDescription {
    ApplicationDescription {
        name: name.to_owned(),
        driver_address: "127.0.0.1:1".to_owned(),
        app_secret: "of the application".to_owned(),
        memory_mib_per_executor: 512,
        ..ApplicationDescription::default()
    }
}

pub struct Driver {
    work_dir: PathBuf,
    pub client: Option<ApplicationClient>,
    pub events: mpsc::Receiver<ApplicationEvent>,
}

impl Driver {
    pub fn app_id(&self) -> &str {
        &self.client.as_ref().unwrap().app_id().0
    }

    pub async fn next(&mut self) -> ApplicationEvent {
        within(self.events.recv())
            .await
            .expect("the connection is over")
    }

    /// The next executor that is added.
    pub async fn executor(&mut self) -> ExecutorId {
        loop {
            if let ApplicationEvent::ExecutorAdded { executor_id, .. } = self.next().await {
                return executor_id;
            }
        }
    }

    /// The next end of an executor.
    pub async fn ended(&mut self) -> (ExecutorId, Option<i32>, bool) {
        loop {
            let event = self.next().await;
            if let ApplicationEvent::ExecutorUpdated {
                executor_id,
                exit_status,
                worker_lost,
                ..
            } = &event
                && event.ended_executor().is_some()
            {
                return (*executor_id, *exit_status, *worker_lost);
            }
        }
    }

    pub fn dir(&self, executor: ExecutorId) -> PathBuf {
        self.work_dir.join(self.app_id()).join(executor.to_string())
    }

    /// Waits until an executor has written its process id.
    pub async fn pid(&self, executor: ExecutorId) -> i32 {
        let path = self.dir(executor).join("pid");
        eventually("the executor runs", || read(&path).ends_with('\n')).await;
        read(&path).trim().parse().unwrap()
    }
}

pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

pub fn is_alive(pid: i32) -> bool {
    // A zombie has ended; it only waits for its parent.
    let status = read(Path::new(&format!("/proc/{pid}/stat")));
    !status.is_empty() && !status.contains(") Z ")
}

/// A plain HTTP request: status line and body.
pub fn get(url: &str) -> (String, String) {
    use std::io::{Read, Write};
    let rest = url.strip_prefix("http://").unwrap();
    let (address, path) = rest.split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(
        stream,
        "GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}
