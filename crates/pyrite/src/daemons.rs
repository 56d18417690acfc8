//! `pyrite master` and `pyrite worker`.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use pyrite_cluster::master::{self, MasterOptions};
use pyrite_cluster::worker::{self, ExecutorProgram, WorkerOptions};
use pyrite_conf::environment::load_defaults;
use pyrite_conf::master_url::DEFAULT_MASTER_PORT;
use pyrite_conf::units::{ByteUnit, parse_mib};
use pyrite_conf::{Environment, MasterUrl, Origin, SparkConf, host, secret};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::{DaemonArgs, MasterArgs, WorkerArgs};
use crate::logging;

/// Runs the master until a signal or, as a child, until its parent is gone.
pub fn master(args: MasterArgs) -> anyhow::Result<()> {
    let daemon = args.daemon;
    let (environment, conf) = start(&daemon, "master")?;
    let (host, bind) = addresses(&daemon, &environment, "SPARK_MASTER_HOST");
    let options = MasterOptions {
        host,
        bind,
        port: number(daemon.port, &environment, "SPARK_MASTER_PORT")?
            .unwrap_or(DEFAULT_MASTER_PORT),
        web_ui_port: match number(daemon.webui_port, &environment, "SPARK_MASTER_WEBUI_PORT")? {
            Some(port) => port,
            None => conf.get_unsigned("spark.master.ui.port")?,
        },
        state_dir: secret::state_dir(&conf, &environment),
        secret: secret::configured(&conf, &environment)?,
        conf,
        on_ready: daemon
            .child
            .then(|| Box::new(|ready: &_| say(ready)) as Box<_>),
    };
    run_until_stopped(daemon.child, |shutdown| master::run(options, shutdown))
}

/// Runs a worker until a signal or, as a child, until its parent is gone.
pub fn worker(args: WorkerArgs) -> anyhow::Result<()> {
    let daemon = args.daemon;
    let (environment, conf) = start(&daemon, "worker")?;
    let MasterUrl::Standalone { hosts: masters } = MasterUrl::parse(&args.master)? else {
        return Err(anyhow!(
            "`{}` is no master that a worker can join; use spark://host:port",
            args.master
        ));
    };
    let (host, bind) = addresses(&daemon, &environment, "SPARK_WORKER_HOST");
    let memory = args
        .memory
        .as_deref()
        .or_else(|| environment.get("SPARK_WORKER_MEMORY"));
    let memory_mib = match memory {
        Some(text) => {
            parse_mib(text, ByteUnit::MiB).map_err(|why| anyhow!("memory is `{text}`: {why}"))?
        }
        None => worker::all_memory_mib(),
    };
    let cores =
        number(args.cores, &environment, "SPARK_WORKER_CORES")?.unwrap_or_else(worker::all_cores);
    if cores == 0 || memory_mib == 0 {
        return Err(anyhow!(
            "a worker needs at least one core and 1 MiB of memory"
        ));
    }
    let options = WorkerOptions {
        secret: secret::to_join(&conf, &environment, &masters)?,
        masters,
        host,
        bind,
        port: number(daemon.port, &environment, "SPARK_WORKER_PORT")?.unwrap_or(0),
        web_ui_port: match number(daemon.webui_port, &environment, "SPARK_WORKER_WEBUI_PORT")? {
            Some(port) => port,
            None => conf.get_unsigned("spark.worker.ui.port")?,
        },
        cores,
        memory_mib,
        work_dir: args
            .work_dir
            .unwrap_or_else(|| work_dir(&conf, &environment)),
        program: ExecutorProgram {
            path: std::env::current_exe().context("cannot find this program")?,
            env: environment.changes().clone(),
            python_exec: conf
                .get("spark.pyspark.python")
                .or_else(|| environment.get("PYSPARK_PYTHON"))
                .map(str::to_owned),
        },
        conf,
        on_ready: daemon
            .child
            .then(|| Box::new(|ready: &_| say(ready)) as Box<_>),
    };
    run_until_stopped(daemon.child, |shutdown| worker::run(options, shutdown))
}

fn start(daemon: &DaemonArgs, name: &str) -> anyhow::Result<(Environment, SparkConf)> {
    let environment = Environment::load()?;
    let log_file = environment
        .get("SPARK_LOG_DIR")
        .map(|dir| log_file(Path::new(dir), name));
    logging::start(log_file.as_deref()).context("cannot start logging")?;
    let defaults = load_defaults(&environment, daemon.properties_file.as_deref())?;
    let conf = SparkConf::resolve(
        &SparkConf::new(),
        &options_in(&environment, name),
        &defaults,
    );
    conf.validate()?;
    Ok((environment, conf))
}

/// Settings given as `-Dspark.key=value` in `SPARK_DAEMON_JAVA_OPTS` and `SPARK_MASTER_OPTS` or
/// `SPARK_WORKER_OPTS`, where Spark's users put those of daemons. What else is there is for a JVM.
fn options_in(environment: &Environment, name: &str) -> SparkConf {
    let of_daemon = format!("SPARK_{}_OPTS", name.to_ascii_uppercase());
    let settings = ["SPARK_DAEMON_JAVA_OPTS", &of_daemon]
        .into_iter()
        .filter_map(|variable| environment.get(variable))
        .flat_map(str::split_whitespace)
        .filter_map(|option| option.strip_prefix("-D")?.split_once('='))
        .filter(|(key, _)| key.starts_with("spark."));
    SparkConf::from_pairs(settings, &Origin::Flag)
}

/// Daemons of one machine that share a directory have a file each.
fn log_file(dir: &Path, name: &str) -> PathBuf {
    let machine = host::local_host(&Environment::default());
    dir.join(format!(
        "pyrite-{name}-{machine}-{}.log",
        std::process::id()
    ))
}

/// What others are told, and what is listened on. Without a name given, that is all interfaces.
fn addresses(daemon: &DaemonArgs, environment: &Environment, variable: &str) -> (String, String) {
    let given = daemon.host.as_deref().or_else(|| environment.get(variable));
    match given {
        Some("0.0.0.0" | "::") => (
            host::local_host(environment),
            given.map(str::to_owned).unwrap_or_default(),
        ),
        Some(given) => (given.to_owned(), given.to_owned()),
        None => (host::local_host(environment), "0.0.0.0".to_owned()),
    }
}

/// A flag, else a variable.
fn number<T>(
    flag: Option<T>,
    environment: &Environment,
    variable: &str,
) -> anyhow::Result<Option<T>>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    match (flag, environment.get(variable)) {
        (Some(flag), _) => Ok(Some(flag)),
        (None, Some(text)) => text
            .trim()
            .parse()
            .map(Some)
            .with_context(|| format!("{variable} is `{text}`, which is no such number")),
        (None, None) => Ok(None),
    }
}

fn work_dir(conf: &SparkConf, environment: &Environment) -> PathBuf {
    match (
        environment.get("SPARK_WORKER_DIR"),
        environment.get("SPARK_HOME"),
    ) {
        (Some(dir), _) => PathBuf::from(dir),
        (None, Some(home)) => Path::new(home).join("work"),
        (None, None) => secret::state_dir(conf, environment).join("work"),
    }
}

/// Tells the parent on stdout that this child is ready.
fn say(ready: &impl serde::Serialize) {
    let line = serde_json::to_string(ready).expect("texts are JSON");
    let mut stdout = std::io::stdout();
    if let Err(error) = writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        tracing::warn!(%error, "cannot tell the parent that this process is ready");
    }
}

/// One thread is plenty for a daemon that only carries messages, and keeps it small.
fn run_until_stopped<F>(
    is_child: bool,
    daemon: impl FnOnce(CancellationToken) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = Result<(), pyrite_cluster::ClusterError>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        stop_on_signals(shutdown.clone())?;
        if is_child {
            stop_with_stdin(shutdown.clone());
        }
        Ok::<_, anyhow::Error>(daemon(shutdown).await)
    })?;
    // A thread that reads stdin or a file must not keep the process.
    runtime.shutdown_background();
    outcome.map_err(|error| {
        tracing::error!(%error, "cannot go on");
        error.into()
    })
}

/// SIGTERM and SIGINT end a daemon cleanly; a second one ends it at once.
pub fn stop_on_signals(shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        for is_first in [true, false] {
            let number = tokio::select! {
                _ = terminate.recv() => 15,
                _ = interrupt.recv() => 2,
            };
            if is_first {
                shutdown.cancel();
            } else {
                std::process::exit(128 + number);
            }
        }
    });
    Ok(())
}

fn stop_with_stdin(shutdown: CancellationToken) {
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = [0; 256];
        while !matches!(stdin.read(&mut buffer), Ok(0) | Err(_)) {}
        shutdown.cancel();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_daemons_may_come_as_java_options() {
        let environment = Environment::from_pairs([
            (
                "SPARK_DAEMON_JAVA_OPTS",
                "-Xmx1g -Dspark.worker.timeout=5 -Dother=1",
            ),
            (
                "SPARK_MASTER_OPTS",
                "-Dspark.deploy.defaultCores=2 -Dspark.worker.timeout=9",
            ),
        ]);
        let found = options_in(&environment, "master");
        assert_eq!(
            found.iter().collect::<Vec<_>>(),
            [
                ("spark.deploy.defaultCores", "2"),
                ("spark.worker.timeout", "9")
            ]
        );
        assert_eq!(
            options_in(&environment, "worker").get("spark.worker.timeout"),
            Some("5")
        );
    }

    #[test]
    fn a_daemon_listens_where_it_is_told_and_else_everywhere() {
        let daemon = |host: Option<&str>| DaemonArgs {
            host: host.map(str::to_owned),
            port: None,
            webui_port: None,
            properties_file: None,
            child: false,
            help: None,
        };
        let environment = Environment::from_pairs([
            ("SPARK_MASTER_HOST", "10.1.1.1"),
            ("SPARK_LOCAL_IP", "10.9.9.9"),
        ]);
        let of = |host| addresses(&daemon(host), &environment, "SPARK_MASTER_HOST");
        let pair = |host: &str, bind: &str| (host.to_owned(), bind.to_owned());
        assert_eq!(of(Some("127.0.0.1")), pair("127.0.0.1", "127.0.0.1"));
        assert_eq!(of(None), pair("10.1.1.1", "10.1.1.1"));
        assert_eq!(of(Some("0.0.0.0")), pair("10.9.9.9", "0.0.0.0"));
        let none = addresses(&daemon(None), &environment, "SPARK_WORKER_HOST");
        assert_eq!(none, pair("10.9.9.9", "0.0.0.0"));
    }
}
