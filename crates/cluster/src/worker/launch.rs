//! How an executor is started: its command line, environment, directory and files.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use pyrite_proto::cluster::LaunchExecutor;
use tokio::process::{Child, Command};

use crate::error::ClusterError;
use crate::ids::WorkerId;

/// Variables that carry secrets of the cluster and never reach code of users.
const HIDDEN_VARIABLES: [&str; 1] = [pyrite_conf::secret::SECRET_VARIABLE];

/// Settings that never reach executors, for the same reason.
const HIDDEN_SETTINGS: [&str; 2] = [
    "spark.authenticate.secret",
    "spark.authenticate.secret.file",
];

/// How executors are started on this machine.
#[derive(Debug, Clone)]
pub struct ExecutorProgram {
    /// The program; it is called with `executor` and flags.
    pub path: PathBuf,
    /// Variables on top of the worker's own, from `spark-env.sh`.
    pub env: BTreeMap<String, String>,
    /// Interpreter for applications whose own does not exist on this machine.
    pub python_exec: Option<String>,
}

/// Starts one executor in `dir`: in a process group of its own, with its output in files there and
/// a pipe as stdin whose end tells it that this worker is gone.
///
/// # Errors
/// When the files cannot be made or the program cannot be started.
pub fn spawn(
    program: &ExecutorProgram,
    launch: &LaunchExecutor,
    worker_id: &WorkerId,
    host: &str,
    dir: &Path,
) -> Result<Child, ClusterError> {
    std::fs::create_dir_all(dir)
        .map_err(|e| ClusterError::io(format!("cannot make {}", dir.display()), e))?;
    let file = |name: &str| {
        let path = dir.join(name);
        // Executor and Python workers write at the same time: appending, none overwrites another.
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|e| ClusterError::io(format!("cannot make {}", path.display()), e))
    };
    let mut command = Command::new(&program.path);
    command
        .args(arguments(launch, worker_id, host, dir))
        .current_dir(dir)
        .envs(&program.env)
        .envs(variables(launch, program))
        .stdin(Stdio::piped())
        .stdout(file("stdout")?)
        .stderr(file("stderr")?)
        .process_group(0)
        .kill_on_drop(true);
    for name in HIDDEN_VARIABLES {
        command.env_remove(name);
    }
    command
        .spawn()
        .map_err(|e| ClusterError::io(format!("cannot start {}", program.path.display()), e))
}

fn arguments(launch: &LaunchExecutor, worker_id: &WorkerId, host: &str, dir: &Path) -> Vec<String> {
    let driver_address = launch
        .application
        .as_ref()
        .map_or("", |a| a.driver_address.as_str());
    let pairs = [
        ("--driver-address", driver_address.to_owned()),
        ("--app-id", launch.app_id.clone()),
        ("--executor-id", launch.executor_id.to_string()),
        ("--cores", launch.cores.to_string()),
        ("--memory-mib", launch.memory_mib.to_string()),
        ("--host", host.to_owned()),
        ("--worker-id", worker_id.0.clone()),
        ("--work-dir", dir.display().to_string()),
    ];
    let flags = pairs
        .into_iter()
        .map(|(flag, value)| format!("{flag}={value}"));
    std::iter::once("executor".to_owned())
        .chain(flags)
        .collect()
}

fn variables(launch: &LaunchExecutor, program: &ExecutorProgram) -> BTreeMap<String, String> {
    let Some(application) = &launch.application else {
        return BTreeMap::new();
    };
    let conf: BTreeMap<&str, &str> = application
        .conf
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .filter(|(key, _)| !HIDDEN_SETTINGS.contains(key))
        .collect();
    let mut variables: BTreeMap<String, String> = application
        .executor_env
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let conf = serde_json::to_string(&conf).expect("a map of texts is JSON");
    let own = [
        ("PYRITE_APP_SECRET", application.app_secret.as_str()),
        ("PYRITE_EXECUTOR_CONF", &conf),
        ("PYRITE_PYTHON_EXEC", &application.python_exec),
        ("PYRITE_PYTHON_VERSION", &application.python_version),
        (
            "PYRITE_WORKER_PYTHON",
            program.python_exec.as_deref().unwrap_or_default(),
        ),
    ];
    variables.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
    variables
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyrite_proto::cluster::ApplicationDescription;

    #[test]
    fn executors_are_told_all_but_the_secret_of_the_cluster() {
        let launch = LaunchExecutor {
            app_id: "app-1".to_owned(),
            executor_id: 3,
            cores: 2,
            memory_mib: 512,
            application: Some(ApplicationDescription {
                driver_address: "d:1".to_owned(),
                app_secret: "of the app".to_owned(),
                conf: [
                    ("spark.authenticate.secret", "of the cluster"),
                    ("spark.a", "1"),
                ]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
                executor_env: [("X".to_owned(), "y".to_owned())].into(),
                ..ApplicationDescription::default()
            }),
        };
        let program = ExecutorProgram {
            path: "/bin/pyrite".into(),
            env: BTreeMap::new(),
            python_exec: None,
        };
        let variables = variables(&launch, &program);
        assert_eq!(variables["PYRITE_EXECUTOR_CONF"], r#"{"spark.a":"1"}"#);
        assert_eq!(
            (
                variables["X"].as_str(),
                variables["PYRITE_APP_SECRET"].as_str()
            ),
            ("y", "of the app")
        );
        let arguments = arguments(&launch, &WorkerId::from("worker-1"), "h", Path::new("/w"));
        assert_eq!(
            arguments.join(" "),
            "executor --driver-address=d:1 --app-id=app-1 --executor-id=3 --cores=2 --memory-mib=512 --host=h \
             --worker-id=worker-1 --work-dir=/w"
        );
    }
}
