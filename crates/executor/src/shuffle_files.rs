//! Files that stages write on this executor, and when they go.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;

/// The shuffle files of an executor: a directory a job, one in it a stage.
///
/// What the map stages of RDDs write stays when the scheduler deletes the rest of their job:
/// later jobs read it. The driver says when nobody does any more.
///
/// A task of a job that was cancelled may write until it notices: what is deleted under a
/// running task is deleted once more when the task has ended.
pub(crate) struct ShuffleFiles {
    dir: PathBuf,
    kept: Mutex<HashMap<String, HashSet<u32>>>,
    running: Mutex<HashMap<String, RunningTasks>>,
}

/// Tasks of a job that run at this moment.
#[derive(Default)]
struct RunningTasks {
    count: usize,
    /// The job has been deleted in the meantime.
    is_deleted: bool,
}

/// How long a thread may go on writing that cannot be interrupted, after its task has ended.
const LATE_WRITES: Duration = Duration::from_secs(1);

impl ShuffleFiles {
    /// Files below `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            kept: Mutex::default(),
            running: Mutex::default(),
        }
    }

    /// Keeps what a stage writes until [`Self::remove_kept`].
    pub fn keep(&self, job: &str, stage: u32) {
        let mut kept = self.kept.lock();
        if !kept.get(job).is_some_and(|stages| stages.contains(&stage)) {
            kept.entry(job.to_owned()).or_default().insert(stage);
        }
    }

    /// Deletes what the given stages of a job wrote, or all of them if none is given, but for
    /// those that are kept.
    ///
    /// # Errors
    /// When `job` is no name of a job, or a directory cannot be deleted.
    pub async fn remove(&self, job: &str, stages: &[u32]) -> io::Result<()> {
        let job_dir = self.job_dir(job)?;
        let kept = self.kept.lock().get(job).cloned().unwrap_or_default();
        if stages.is_empty()
            && let Some(tasks) = self.running.lock().get_mut(job)
        {
            tasks.is_deleted = true;
        }
        if stages.is_empty() && kept.is_empty() {
            return remove_dir(&job_dir).await;
        }
        let stages = match stages {
            [] => stages_in(&job_dir).await?,
            stages => stages.to_vec(),
        };
        for stage in stages {
            if !kept.contains(&stage) {
                remove_dir(&job_dir.join(stage.to_string())).await?;
            }
        }
        Ok(())
    }

    /// Counts a task of a job.
    pub fn task_started(&self, job: &str) {
        self.running.lock().entry(job.to_owned()).or_default().count += 1;
    }

    /// A task has ended; what it wrote after its job had been deleted is deleted too.
    pub async fn task_ended(&self, job: &str) {
        let is_deleted = {
            let mut running = self.running.lock();
            let Some(tasks) = running.get_mut(job) else {
                return;
            };
            tasks.count -= 1;
            let is_deleted = tasks.is_deleted;
            if tasks.count == 0 {
                running.remove(job);
            }
            is_deleted
        };
        if is_deleted {
            tokio::time::sleep(LATE_WRITES).await;
            if let Err(error) = self.remove(job, &[]).await {
                tracing::warn!(job, %error, "could not remove the files of a cancelled job");
            }
        }
    }

    /// Deletes what was kept of a job.
    ///
    /// # Errors
    /// As [`Self::remove`].
    pub async fn remove_kept(&self, job: &str) -> io::Result<()> {
        let job_dir = self.job_dir(job)?;
        let kept = self.kept.lock().remove(job);
        for stage in kept.unwrap_or_default() {
            remove_dir(&job_dir.join(stage.to_string())).await?;
        }
        match tokio::fs::remove_dir(&job_dir).await {
            // Its results have not been read yet; the scheduler deletes them.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// The directory of a job. A job's name is one path component.
    fn job_dir(&self, job: &str) -> io::Result<PathBuf> {
        pyrite_runtime::files::below(&self.dir, job)
            .ok()
            .filter(|dir| dir.parent() == Some(&self.dir))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a job's name"))
    }
}

async fn remove_dir(dir: &Path) -> io::Result<()> {
    match tokio::fs::remove_dir_all(dir).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The stages that have written something.
async fn stages_in(job_dir: &Path) -> io::Result<Vec<u32>> {
    let mut stages = Vec::new();
    let mut entries = match tokio::fs::read_dir(job_dir).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(stages),
        entries => entries?,
    };
    while let Some(entry) = entries.next_entry().await? {
        stages.extend(
            entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<u32>().ok()),
        );
    }
    Ok(stages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(stages: &[&str]) -> (tempfile::TempDir, ShuffleFiles) {
        let dir = tempfile::tempdir().unwrap();
        for stage in stages {
            std::fs::create_dir_all(dir.path().join(stage)).unwrap();
        }
        let files = ShuffleFiles::new(dir.path());
        (dir, files)
    }

    #[tokio::test]
    async fn a_job_goes_stage_by_stage_or_as_a_whole() {
        let (dir, files) = files(&["7-1/1", "7-1/2", "7-1/3", "8-2/1"]);
        files.remove("7-1", &[1, 9]).await.unwrap();
        assert!(!dir.path().join("7-1/1").exists() && dir.path().join("7-1/2").exists());
        files.remove("7-1", &[]).await.unwrap();
        files.remove("7-1", &[]).await.unwrap();
        assert!(!dir.path().join("7-1").exists() && dir.path().join("8-2/1").exists());
    }

    #[tokio::test]
    async fn what_is_kept_stays_until_it_is_given_up() {
        let (dir, files) = files(&["7-1/1", "7-1/2", "7-1/3"]);
        files.keep("7-1", 2);
        files.remove("7-1", &[1, 2]).await.unwrap();
        assert!(!dir.path().join("7-1/1").exists() && dir.path().join("7-1/2").exists());
        files.remove("7-1", &[]).await.unwrap();
        assert!(!dir.path().join("7-1/3").exists() && dir.path().join("7-1/2").exists());
        files.remove_kept("7-1").await.unwrap();
        assert!(!dir.path().join("7-1").exists());
        files.remove_kept("7-1").await.unwrap();
    }

    #[tokio::test]
    async fn results_that_are_still_to_be_read_stay_when_what_was_kept_goes() {
        let (dir, files) = files(&["7-1/1", "7-1/2"]);
        files.keep("7-1", 1);
        files.remove_kept("7-1").await.unwrap();
        assert!(!dir.path().join("7-1/1").exists() && dir.path().join("7-1/2").exists());
    }

    #[tokio::test]
    async fn what_a_cancelled_task_writes_late_goes_when_it_ends() {
        let (dir, files) = files(&["7-1/1"]);
        files.task_started("7-1");
        files.task_started("7-1");
        files.remove("7-1", &[]).await.unwrap();
        std::fs::create_dir_all(dir.path().join("7-1/2")).unwrap();
        files.task_ended("7-1").await;
        assert!(!dir.path().join("7-1").exists());
        std::fs::create_dir_all(dir.path().join("7-1/2")).unwrap();
        files.task_ended("7-1").await;
        assert!(!dir.path().join("7-1").exists());
        assert!(files.running.lock().is_empty());
    }

    #[tokio::test]
    async fn only_a_jobs_own_directories_are_removed() {
        let (_dir, files) = files(&[]);
        for bad in ["", "..", "../x", "/etc", "a/b", "."] {
            assert!(
                files.remove(bad, &[]).await.is_err(),
                "{bad} must be refused"
            );
            assert!(
                files.remove_kept(bad).await.is_err(),
                "{bad} must be refused"
            );
        }
    }
}
