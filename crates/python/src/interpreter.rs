//! Which interpreter runs a function, and with what environment.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};

use crate::options::PythonPoolConfig;

/// Finds an interpreter: a path as it is, a bare name on `PATH`.
pub(crate) fn locate(exec: &str) -> Option<PathBuf> {
    if exec.contains('/') {
        let path = Path::new(exec);
        return is_executable(path).then(|| path.to_owned());
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|directory| directory.join(exec))
        .find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}

/// Environment of a daemon and its workers, as Spark's `PythonWorkerFactory` and
/// `BasePythonRunner` set it.
///
/// Order of precedence: the function's own settings, the pool's, this process's; what Spark
/// only sets when missing is looked up in all three.
pub(crate) fn worker_environment(
    config: &PythonPoolConfig,
    function_env: &BTreeMap<String, String>,
    socket_dir: &Path,
) -> BTreeMap<String, String> {
    let mut result: BTreeMap<String, String> = config.env.clone();
    result.extend(function_env.iter().map(|(k, v)| (k.clone(), v.clone())));
    let mut default = |key: &str, value: String| {
        if !result.contains_key(key) && env::var_os(key).is_none() {
            result.insert(key.to_owned(), value);
        }
    };
    // Hashes of strings must agree between workers, or a shuffle by key is wrong.
    default("PYTHONHASHSEED", "0".to_owned());
    default("OMP_NUM_THREADS", config.cores_per_task.to_string());
    default("SPARK_BUFFER_SIZE", "65536".to_owned());
    let local_dirs = if config.local_dirs.is_empty() {
        config.work_dir.display().to_string()
    } else {
        let dirs: Vec<_> = config
            .local_dirs
            .iter()
            .map(|d| d.display().to_string())
            .collect();
        dirs.join(",")
    };
    result.insert("SPARK_LOCAL_DIRS".to_owned(), local_dirs);
    result.insert("PYTHONUNBUFFERED".to_owned(), "YES".to_owned());
    result.insert("PYTHON_UNIX_DOMAIN_ENABLED".to_owned(), "true".to_owned());
    result.insert(
        "PYTHON_WORKER_FACTORY_SOCK_DIR".to_owned(),
        socket_dir.display().to_string(),
    );
    if config.reuse {
        result.insert("SPARK_REUSE_WORKER".to_owned(), "1".to_owned());
    }
    if let Some(mib) = config.memory_mib {
        result.insert("PYSPARK_EXECUTOR_MEMORY_MB".to_owned(), mib.to_string());
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_interpreter_is_not_found() {
        assert_eq!(locate("/no/such/python"), None);
        assert_eq!(locate("no-such-python-anywhere"), None);
        assert!(locate("sh").is_some());
    }

    #[test]
    fn settings_of_the_function_win() {
        let mut config = PythonPoolConfig::new("python3", "/spill");
        config.env.insert("PYTHONHASHSEED".into(), "7".into());
        config.env.insert("A".into(), "pool".into());
        let function = BTreeMap::from([("A".to_owned(), "function".to_owned())]);
        let env = worker_environment(&config, &function, Path::new("/sockets"));
        assert_eq!(env["PYTHONHASHSEED"], "7");
        assert_eq!(env["A"], "function");
        assert_eq!(env["SPARK_LOCAL_DIRS"], "/spill");
        assert_eq!(env["SPARK_REUSE_WORKER"], "1");
    }
}
