//! Removal of directories of applications that ended long ago.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pyrite_conf::{ConfError, SparkConf};
use tracing::{info, warn};

use super::executors::Executors;
use crate::ids::AppId;

/// Cleans up now and then, for ever; not at all when the settings say so.
///
/// # Errors
/// When a setting is wrong.
pub fn run(
    conf: &SparkConf,
    executors: Arc<Executors>,
) -> Result<impl Future<Output = ()> + use<>, ConfError> {
    let is_enabled = conf.get_bool("spark.worker.cleanup.enabled")?;
    let interval = conf
        .get_duration("spark.worker.cleanup.interval")?
        .max(Duration::from_secs(1));
    let keep = conf.get_duration("spark.worker.cleanup.appDataTtl")?;
    Ok(async move {
        if !is_enabled {
            std::future::pending::<()>().await;
        }
        loop {
            tokio::time::sleep(interval).await;
            let (executors, running) = (executors.clone(), executors.applications());
            let cleaned = tokio::task::spawn_blocking(move || {
                clean(executors.dir(), &running, keep, SystemTime::now())
            })
            .await;
            match cleaned {
                Ok(Ok(0)) => {}
                Ok(Ok(removed)) => info!(removed, "removed directories of ended applications"),
                Ok(Err(error)) => warn!(%error, "cannot clean up the work directory"),
                Err(error) => warn!(%error, "the clean-up of the work directory broke off"),
            }
        }
    })
}

/// Removes directories `app-*` that were not touched for `keep`; says how many.
fn clean(
    work_dir: &Path,
    running: &BTreeSet<AppId>,
    keep: Duration,
    now: SystemTime,
) -> std::io::Result<usize> {
    let mut removed = 0;
    for entry in std::fs::read_dir(work_dir)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if !name.starts_with("app-")
            || running.contains(&AppId(name))
            || !entry.file_type()?.is_dir()
        {
            continue;
        }
        let age = now
            .duration_since(entry.metadata()?.modified()?)
            .unwrap_or_default();
        if age > keep {
            std::fs::remove_dir_all(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_directories_of_ended_applications_go() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["app-ended", "app-running", "other"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let running = BTreeSet::from([AppId::from("app-running")]);
        let day = Duration::from_secs(86_400);
        assert_eq!(
            clean(dir.path(), &running, day, SystemTime::now()).unwrap(),
            0
        );
        assert_eq!(
            clean(dir.path(), &running, day, SystemTime::now() + day * 2).unwrap(),
            1
        );
        let mut left: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["app-running", "other"]);
    }
}
