//! `pyrite executor`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use pyrite_conf::{SparkConf, host};
use pyrite_executor::ExecutorOptions;

use crate::cli::ExecutorArgs;
use crate::daemons::stop_on_signals;
use crate::logging;

/// Runs an executor until its application or worker is gone.
pub fn run(args: ExecutorArgs) -> anyhow::Result<()> {
    logging::start(None)?;
    let conf = conf_of_application()?;
    let listens_on_loopback = host::is_loopback(&args.host);
    let mut options = ExecutorOptions::new(
        args.driver_address,
        args.app_id,
        args.executor_id,
        args.work_dir,
    );
    options.cores = args.cores;
    options.memory_mib = args.memory_mib;
    options.bind_address = if listens_on_loopback {
        args.host.clone()
    } else {
        "0.0.0.0".to_owned()
    };
    options.host = args.host;
    options.port = conf.get_unsigned("spark.executor.port")?;
    options.local_dir = local_dir(&conf);
    options.app_secret = variable("PYRITE_APP_SECRET");
    options.python_exec = interpreter(
        variable("PYRITE_PYTHON_EXEC"),
        variable("PYRITE_WORKER_PYTHON").or_else(|| variable("PYSPARK_PYTHON")),
    );
    options.python_reuse = conf.get_bool("spark.python.worker.reuse")?;
    options.watch_stdin = true;
    let stop = options.stop.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(async {
        stop_on_signals(stop)?;
        Ok::<_, anyhow::Error>(pyrite_executor::run(options).await)
    })?;
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    outcome.map_err(Into::into)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn conf_of_application() -> anyhow::Result<SparkConf> {
    let Some(text) = variable("PYRITE_EXECUTOR_CONF") else {
        return Ok(SparkConf::new());
    };
    let map: BTreeMap<String, String> =
        serde_json::from_str(&text).context("PYRITE_EXECUTOR_CONF is no JSON object of texts")?;
    Ok(map.into())
}

/// The application's own interpreter where it exists on this machine, else the worker's.
fn interpreter(of_application: Option<String>, of_worker: Option<String>) -> String {
    of_application
        .filter(|path| Path::new(path).is_file())
        .or(of_worker)
        .unwrap_or_else(|| "python3".to_owned())
}

/// SPARK_LOCAL_DIRS of this machine wins over the application's `spark.local.dir`, as in Spark.
fn local_dir(conf: &SparkConf) -> Option<PathBuf> {
    let dirs = variable("SPARK_LOCAL_DIRS")
        .or_else(|| conf.value("spark.local.dir").map(str::to_owned))?;
    dirs.split(',')
        .next()
        .map(str::trim)
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interpreter_is_one_that_exists() {
        let here = std::env::current_exe().unwrap().display().to_string();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(interpreter(some(&here), some("other")), here);
        assert_eq!(interpreter(some("/no/such/python"), some("other")), "other");
        assert_eq!(interpreter(None, None), "python3");
    }
}
