//! From what the application and the configuration say to options of the parts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pyrite_conf::scratch::{self, Owner};
use pyrite_conf::{Environment, Origin, SparkConf, load_defaults_file};
use pyrite_proto::error::{SparkError, class};
use pyrite_python::PythonPoolConfig;
use serde::Deserialize;

/// How the names of drivers' directories begin.
const DIR_PREFIX: &str = "pyrite-";

/// What the application says at start: one line of JSON.
#[derive(Debug, Default, Deserialize)]
pub struct StartRequest {
    /// `SparkConf` in code.
    #[serde(default)]
    pub conf: BTreeMap<String, String>,
    /// Flags of `spark-submit`.
    #[serde(default)]
    pub submit_conf: Option<BTreeMap<String, String>>,
    /// Directory of `spark-defaults.conf`.
    #[serde(default)]
    pub conf_dir: Option<PathBuf>,
    /// The application's interpreter.
    pub python_exec: String,
    /// Its version, `major.minor`.
    pub python_version: String,
    /// Process id of the application, for logs.
    #[serde(default)]
    pub pid: i64,
    /// The application's main file.
    #[serde(default)]
    pub app_file: String,
    /// The application's working directory.
    #[serde(default)]
    pub cwd: String,
    /// Whether the console tells what happens, as under `spark-submit`.
    #[serde(default)]
    pub verbose_events: bool,
}

/// The error of a setting that cannot be used.
pub fn conf_error(error: &pyrite_conf::ConfError) -> SparkError {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    SparkError::new(class::ILLEGAL_ARGUMENT, "", "", message)
}

/// Merges code, flags and `spark-defaults.conf`, and puts in what is always set.
///
/// # Errors
/// Unreadable files, values of the wrong type.
pub fn resolve(request: &StartRequest) -> Result<SparkConf, SparkError> {
    let code = SparkConf::from_pairs(request.conf.clone(), &Origin::Code);
    let flags = SparkConf::from_pairs(
        request.submit_conf.clone().unwrap_or_default(),
        &Origin::Flag,
    );
    // `spark-submit --properties-file` stands in for the file of the conf directory.
    let named = std::env::var_os("PYRITE_PROPERTIES_FILE").map(PathBuf::from);
    let in_conf_dir = request
        .conf_dir
        .as_ref()
        .map(|dir| dir.join("spark-defaults.conf"));
    let defaults = match named.or(in_conf_dir.filter(|path| path.is_file())) {
        Some(path) => load_defaults_file(&path).map_err(|e| conf_error(&e))?,
        None => SparkConf::new(),
    };
    let mut conf = SparkConf::resolve(&code, &flags, &defaults);
    conf.validate().map_err(|e| conf_error(&e))?;
    // Without a master, `python main.py` runs on this machine, as with PySpark.
    conf.set_if_missing("spark.master", "local[*]");
    conf.set_if_missing("spark.app.name", "pyspark-shell");
    conf.set_if_missing("spark.submit.deployMode", "client");
    conf.set_if_missing("spark.executor.id", "driver");
    Ok(conf)
}

/// Level of the console.
pub fn log_level(conf: &SparkConf, verbose_events: bool) -> String {
    let default = if verbose_events { "INFO" } else { "WARN" };
    conf.get_or("spark.log.level", default).to_owned()
}

/// Makes the application's directory with all that others expect in it.
///
/// Directories of drivers that were killed go at this occasion.
///
/// # Errors
/// When no directory of `SPARK_LOCAL_DIRS` or `spark.local.dir` can be written.
pub fn make_local_dir(
    conf: &SparkConf,
    environment: &Environment,
) -> Result<(PathBuf, Owner), SparkError> {
    use std::os::unix::fs::DirBuilderExt;
    let configured = environment
        .get("SPARK_LOCAL_DIRS")
        .or_else(|| conf.get("spark.local.dir"))
        .map(str::to_owned)
        .unwrap_or_else(|| std::env::temp_dir().display().to_string());
    let mut problem = String::new();
    for base in configured
        .split(',')
        .map(str::trim)
        .filter(|base| !base.is_empty())
    {
        let dir = Path::new(base).join(format!("{DIR_PREFIX}{}", uuid::Uuid::new_v4()));
        // Data of the application is nobody else's business.
        let made = std::fs::create_dir_all(base)
            .and_then(|()| std::fs::DirBuilder::new().mode(0o700).create(&dir))
            .and_then(|()| {
                [
                    "broadcast",
                    "parallel",
                    "files",
                    "blocks",
                    "work",
                    "artifacts",
                ]
                .iter()
                .try_for_each(|sub| std::fs::create_dir(dir.join(sub)))
            })
            .and_then(|()| scratch::own(&dir));
        match made {
            Ok(owner) => {
                let base = PathBuf::from(base);
                // Nobody waits for it, and it may be much.
                std::thread::spawn(move || scratch::sweep(&base, DIR_PREFIX));
                return Ok((dir, owner));
            }
            Err(error) => problem = format!("{}: {error}", dir.display()),
        }
    }
    Err(SparkError::other(format!(
        "cannot make a local directory ({problem}); set spark.local.dir or SPARK_LOCAL_DIRS"
    )))
}

/// Memory of the driver's own tasks: `spark.driver.memory`, else half of the machine's.
pub fn driver_memory_bytes(conf: &SparkConf) -> Result<usize, SparkError> {
    let configured = conf
        .get_bytes("spark.driver.memory")
        .map_err(|e| conf_error(&e))?;
    let bytes = if conf.contains("spark.driver.memory") {
        configured
    } else {
        configured.max(machine_memory_bytes() / 2)
    };
    Ok(usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// Memory of this machine; 0 when it cannot be told.
fn machine_memory_bytes() -> u64 {
    let Ok(text) = std::fs::read_to_string("/proc/meminfo") else {
        return 0;
    };
    text.lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|kib| kib.trim().parse::<u64>().ok())
        .map_or(0, |kib| kib << 10)
}

/// The interpreter for Python functions that name none.
pub fn worker_python(
    conf: &SparkConf,
    environment: &Environment,
    request: &StartRequest,
) -> String {
    conf.get("spark.pyspark.python")
        .or_else(|| environment.get("PYSPARK_PYTHON"))
        .unwrap_or(&request.python_exec)
        .to_owned()
}

/// `spark.executorEnv.*` and what Python workers need to find.
pub fn worker_environment(conf: &SparkConf) -> BTreeMap<String, String> {
    conf.with_prefix("spark.executorEnv.")
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Settings of the driver's own Python workers.
///
/// # Errors
/// Values of the wrong type.
pub fn python_pool(
    conf: &SparkConf,
    environment: &Environment,
    request: &StartRequest,
    local_dir: &Path,
) -> Result<PythonPoolConfig, SparkError> {
    let python = worker_python(conf, environment, request);
    let mut config = PythonPoolConfig::new(python, local_dir.join("work"));
    config.env = environment.changes().clone();
    config.env.extend(worker_environment(conf));
    if conf.contains("spark.python.worker.reuse") {
        config.reuse = conf
            .get_bool("spark.python.worker.reuse")
            .map_err(|e| conf_error(&e))?;
    }
    Ok(config)
}

/// `spark.default.parallelism`, when it is set.
///
/// # Errors
/// When it is no positive number.
pub fn default_parallelism(conf: &SparkConf) -> Result<Option<usize>, SparkError> {
    if !conf.contains("spark.default.parallelism") {
        return Ok(None);
    }
    let parallelism = conf
        .get_unsigned::<usize>("spark.default.parallelism")
        .map_err(|e| conf_error(&e))?;
    Ok(Some(parallelism.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(json: &str) -> StartRequest {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn code_wins_over_flags_and_those_over_the_defaults_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = "spark.app.name file\nspark.master local[3]\nspark.executor.memory 2g\n";
        std::fs::write(dir.path().join("spark-defaults.conf"), file).unwrap();
        let mut start = request(
            r#"{"conf": {"spark.app.name": "code"}, "submit_conf": {"spark.app.name": "flag", "spark.master": "local[2]"},
                "python_exec": "python3", "python_version": "3.11"}"#,
        );
        start.conf_dir = Some(dir.path().to_owned());
        let conf = resolve(&start).unwrap();
        assert_eq!(conf.get("spark.app.name"), Some("code"));
        assert_eq!(conf.get("spark.master"), Some("local[2]"));
        assert_eq!(conf.get("spark.executor.memory"), Some("2g"));
    }

    #[test]
    fn without_a_master_the_machine_is_used() {
        let start = request(r#"{"python_exec": "python3", "python_version": "3.11"}"#);
        let conf = resolve(&start).unwrap();
        assert_eq!(conf.get("spark.master"), Some("local[*]"));
        assert_eq!(log_level(&conf, false), "WARN");
        assert_eq!(log_level(&conf, true), "INFO");
    }

    #[test]
    fn a_wrong_value_is_refused_at_start() {
        let start = request(
            r#"{"conf": {"spark.driver.memory": "lots"}, "python_exec": "p", "python_version": "3"}"#,
        );
        let error = resolve(&start).unwrap_err();
        assert!(error.message.contains("spark.driver.memory"), "{error}");
    }

    #[test]
    fn the_local_dir_is_private_and_complete() {
        use std::os::unix::fs::PermissionsExt;
        let base = tempfile::tempdir().unwrap();
        let mut conf = SparkConf::new();
        conf.set("spark.local.dir", base.path().display().to_string());
        let (dir, _owner) = make_local_dir(&conf, &Environment::default()).unwrap();
        assert!(dir.starts_with(base.path()) && dir.join("broadcast").is_dir());
        let mode = std::fs::metadata(&dir).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
