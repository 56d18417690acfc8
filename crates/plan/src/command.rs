//! What commands yield, and the commit of writes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use datafusion::physical_plan::ExecutionPlan;
use parking_lot::RwLock;
use pyrite_functions::operators::{WriteFilesExec, WriteSpec};
use pyrite_proto::connect;
use pyrite_proto::error::SparkError;

use crate::catalog::{Catalog, Table};
use crate::errors::Result;
use crate::resolved::ResolvedPlan;
use crate::write::{Mode, WriteRequest};
use crate::{json_schema, types};

/// Where attempts write before their files are moved to where they belong.
const TEMPORARY: &str = "_temporary";

/// What the driver does after [`crate::PlanSession::command`].
#[derive(Debug)]
pub enum CommandResult {
    /// Done, nothing to send but the end.
    None,
    /// Answer of a `SqlCommand`: send `SqlCommandResult { relation }`. Side effects are done.
    Sql(Box<connect::Relation>),
    /// Run the plan as a job for what it does besides, then send the relation as the answer of
    /// a `SqlCommand`.
    Fill {
        /// A plan of one small row.
        plan: Box<ResolvedPlan>,
        /// The answer.
        answer: Box<connect::Relation>,
    },
    /// Run the plan, if there is one, then send the id as a `CachedRemoteRelation`.
    Checkpoint {
        /// What stands for the rows from now on.
        id: String,
        /// A plan of one small row that computes them.
        fill: Option<Box<ResolvedPlan>>,
    },
    /// Rows have to be written: run [`PendingWrite::physical`] as a job, then commit.
    Write(PendingWrite),
}

/// Files about to be written.
///
/// 1. Run the plan of [`PendingWrite::physical`] as a job and collect its (few, small) batches.
/// 2. [`PendingWrite::commit`] with them, or [`PendingWrite::abort`] when the job failed.
/// 3. If [`PendingWrite::sql_result`] is there, send it as `SqlCommandResult`.
pub struct PendingWrite {
    /// The answer when the write came as SQL text.
    pub sql_result: Option<Box<connect::Relation>>,
    /// A table that the files are, and the catalog that learns of it.
    pub(crate) register: Option<Box<(Arc<RwLock<Catalog>>, Table)>>,
    plan: Box<ResolvedPlan>,
    request: Box<WriteRequest>,
    spec: Box<WriteSpec>,
}

impl std::fmt::Debug for PendingWrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingWrite")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

impl PendingWrite {
    pub(crate) fn new(
        plan: ResolvedPlan,
        request: WriteRequest,
        time_zone: String,
    ) -> Result<Self> {
        let write_id = uuid::Uuid::new_v4().to_string();
        let directory = request.path.join(TEMPORARY).join(&write_id);
        let schema = types::struct_of(plan.visible())?;
        let spec = WriteSpec {
            directory: directory.to_string_lossy().into_owned(),
            write_id,
            format: request.format.clone(),
            options: request.options.clone(),
            partition_by: request.partition_by.clone(),
            time_zone,
            schema_json: json_schema::to_json(&schema)?.to_string(),
        };
        Ok(Self {
            sql_result: None,
            register: None,
            plan: Box::new(plan),
            request: Box::new(request),
            spec: Box::new(spec),
        })
    }

    /// Plans the job.
    ///
    /// # Errors
    /// When the rows cannot be planned.
    pub async fn physical(
        &self,
        session: &crate::PlanSession,
        job_id: i64,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = session.physical(&self.plan, job_id).await?;
        Ok(Arc::new(WriteFilesExec::new(
            rows,
            self.spec.as_ref().clone(),
        )))
    }

    /// Moves the files of `batches`, what the job reported, to where they belong, and marks
    /// the directory with `_SUCCESS`.
    ///
    /// # Errors
    /// When a file cannot be moved into place.
    pub async fn commit(
        &self,
        session: &crate::PlanSession,
        batches: &[RecordBatch],
    ) -> Result<()> {
        let files: Vec<String> = batches
            .iter()
            .flat_map(|b| {
                b.column(0)
                    .as_string::<i32>()
                    .iter()
                    .flatten()
                    .map(str::to_owned)
            })
            .collect();
        let (from, to) = (
            PathBuf::from(&self.spec.directory),
            self.request.path.clone(),
        );
        let overwrite = self.request.mode == Mode::Overwrite;
        let written = to.clone();
        blocking(move || move_files(&from, &to, &files, overwrite)).await?;
        session.cache.files_changed(&written).await;
        if let Some((catalog, table)) = self.register.as_deref() {
            let mut catalog = catalog.write();
            let key = catalog.table_key(&[table.database.clone(), table.name.clone()]);
            catalog.tables.insert(key, table.clone());
        }
        Ok(())
    }

    /// Removes what a failed job left.
    pub async fn abort(&self) {
        let (from, to) = (
            PathBuf::from(&self.spec.directory),
            self.request.path.clone(),
        );
        if let Err(error) = blocking(move || remove_temporary(&from, &to)).await {
            tracing::warn!(%error, "temporary files of a failed write are left behind");
        }
    }
}

async fn blocking(work: impl FnOnce() -> std::io::Result<()> + Send + 'static) -> Result<()> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| SparkError::other(format!("committing files was interrupted: {e}")))?
        .map_err(|e| SparkError::other(format!("committing files failed: {e}")))
}

fn move_files(from: &Path, to: &Path, files: &[String], overwrite: bool) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    if overwrite {
        for entry in std::fs::read_dir(to)? {
            let entry = entry?;
            if entry.file_name() == TEMPORARY {
                continue;
            }
            if entry.file_type()?.is_dir() {
                std::fs::remove_dir_all(entry.path())?;
            } else {
                std::fs::remove_file(entry.path())?;
            }
        }
    }
    for file in files {
        let target = to.join(file);
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::rename(from.join(file), target)?;
    }
    remove_temporary(from, to)?;
    std::fs::File::create(to.join("_SUCCESS"))?;
    Ok(())
}

/// Removes one attempt's directory, and the one around it when no other write uses it.
fn remove_temporary(from: &Path, to: &Path) -> std::io::Result<()> {
    if from.exists() {
        std::fs::remove_dir_all(from)?;
    }
    match std::fs::remove_dir(to.join(TEMPORARY)) {
        Err(e)
            if matches!(
                e.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_failed_attempts_do_not_show() {
        let root = tempfile::tempdir().unwrap();
        let to = root.path().join("out");
        let from = to.join(TEMPORARY).join("id");
        std::fs::create_dir_all(from.join("a=1")).unwrap();
        std::fs::write(to.join("old"), "").unwrap();
        for name in ["a=1/good", "attempt-that-failed"] {
            std::fs::write(from.join(name), name).unwrap();
        }
        move_files(&from, &to, &["a=1/good".into()], true).unwrap();
        let mut names: Vec<_> = std::fs::read_dir(&to)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["_SUCCESS", "a=1"]);
        assert!(to.join("a=1/good").exists());
    }
}
