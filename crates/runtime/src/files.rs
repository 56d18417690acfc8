//! The driver's files, read where they lie.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::common::{DataFusionError, Result};
use pyrite_proto::core::SharedFile;
use pyrite_proto::error::SparkError;
use pyrite_python::DriverFiles;

/// Files of a driver that runs its tasks itself: nothing is copied.
pub struct LocalDriverFiles {
    local_dir: PathBuf,
}

impl LocalDriverFiles {
    /// Serves the files below `local_dir`.
    pub fn new(local_dir: impl Into<PathBuf>) -> Self {
        Self {
            local_dir: local_dir.into(),
        }
    }
}

#[async_trait]
impl DriverFiles for LocalDriverFiles {
    async fn read(&self, path: &str, offset: u64, length: u64) -> Result<Bytes> {
        let path = below(&self.local_dir, path)?;
        run_blocking(move || read_range(&path, offset, length)).await
    }

    async fn broadcast(&self, id: i64) -> Result<PathBuf> {
        let path = self.local_dir.join("broadcast").join(id.to_string());
        if !tokio::fs::try_exists(&path).await? {
            return Err(missing_broadcast(id));
        }
        Ok(path)
    }

    async fn sync_files(&self, files: &[SharedFile]) -> Result<PathBuf> {
        let root = self.local_dir.join("files");
        for file in files {
            let path = below(&root, &file.name)?;
            if !tokio::fs::try_exists(&path).await? {
                return Err(DataFusionError::External(Box::new(SparkError::other(
                    format!("file `{}` of the application is gone", file.name),
                ))));
            }
        }
        Ok(root)
    }
}

/// The error for a broadcast that was destroyed or never written.
pub fn missing_broadcast(id: i64) -> DataFusionError {
    DataFusionError::External(Box::new(SparkError::other(format!(
        "broadcast {id} does not exist: it was destroyed, or its application ended"
    ))))
}

/// Joins a path from a peer to `root`, refusing whatever could lead out of it.
///
/// # Errors
/// For absolute paths and paths with `..`, `.` or empty parts.
pub fn below(root: &Path, path: &str) -> Result<PathBuf> {
    let relative = Path::new(path);
    let inside = !path.is_empty()
        && relative
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
    if !inside {
        return Err(DataFusionError::External(Box::new(SparkError::other(
            format!("`{path}` is not a path below the application's directory"),
        ))));
    }
    Ok(root.join(relative))
}

/// Reads `length` bytes (0: to the end) from `offset` on.
fn read_range(path: &Path, offset: u64, length: u64) -> Result<Bytes> {
    let mut file = std::fs::File::open(path)?;
    if offset > 0 {
        file.seek(SeekFrom::Start(offset))?;
    }
    let mut data = Vec::new();
    if length == 0 {
        file.read_to_end(&mut data)?;
    } else {
        let expected = usize::try_from(length)
            .map_err(|_| DataFusionError::Internal("range too long".into()))?;
        data.reserve_exact(expected);
        file.take(length).read_to_end(&mut data)?;
        if data.len() != expected {
            return Err(DataFusionError::IoError(std::io::Error::new(
                std::io::ErrorKind::UnexpectedEof,
                format!("{} ends before byte {}", path.display(), offset + length),
            )));
        }
    }
    Ok(data.into())
}

/// Runs blocking file work off the async threads.
///
/// # Errors
/// Those of `work`; a panic in it becomes an internal error.
pub async fn run_blocking<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| DataFusionError::Internal(format!("file work failed: {error}")))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_root() {
        let root = Path::new("/app");
        assert_eq!(
            below(root, "files/a.py").unwrap(),
            Path::new("/app/files/a.py")
        );
        for bad in ["", "/etc/passwd", "../x", "files/../../x", "./x"] {
            assert!(below(root, bad).is_err(), "{bad} must be refused");
        }
    }

    #[tokio::test]
    async fn ranges_are_exact() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("parallel")).unwrap();
        std::fs::write(dir.path().join("parallel/x"), b"0123456789").unwrap();
        let files = LocalDriverFiles::new(dir.path());
        assert_eq!(files.read("parallel/x", 2, 3).await.unwrap(), "234");
        assert_eq!(files.read("parallel/x", 7, 0).await.unwrap(), "789");
        assert!(files.read("parallel/x", 8, 5).await.is_err());
        assert!(files.broadcast(7).await.is_err());
    }
}
