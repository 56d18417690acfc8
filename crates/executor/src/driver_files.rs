//! The driver's files, fetched over the network and kept where they are read again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use dashmap::DashMap;
use datafusion::common::{DataFusionError, Result};
use pyrite_proto::core::SharedFile;
use pyrite_proto::error::SparkError;
use pyrite_proto::exec::{FileChunk, ReadFileRequest};
use pyrite_python::DriverFiles;
use pyrite_runtime::files::{below, missing_broadcast};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Mutex, OnceCell};
use tonic::{Code, Streaming};

use crate::driver_link::{DriverClient, driver_error};

/// Files of a driver in another process.
pub(crate) struct RemoteDriverFiles {
    client: DriverClient,
    dir: PathBuf,
    broadcasts: DashMap<i64, Arc<OnceCell<PathBuf>>>,
    /// Names and times of the files in the files root. Held while they are brought up to date.
    shared: Mutex<HashMap<String, i64>>,
}

impl RemoteDriverFiles {
    pub fn new(client: DriverClient, dir: &Path) -> Self {
        Self {
            client,
            dir: dir.to_owned(),
            broadcasts: DashMap::new(),
            shared: Mutex::default(),
        }
    }

    /// Drops this executor's copy of a broadcast.
    pub async fn remove_broadcast(&self, id: i64) {
        self.broadcasts.remove(&id);
        let path = self.dir.join("broadcast").join(id.to_string());
        match tokio::fs::remove_file(&path).await {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(broadcast_id = id, %error, "could not remove a broadcast"),
        }
    }

    async fn open(
        &self,
        path: &str,
        offset: u64,
        length: u64,
    ) -> Result<Streaming<FileChunk>, tonic::Status> {
        let request = ReadFileRequest {
            path: path.to_owned(),
            offset_bytes: offset,
            length_bytes: length,
        };
        Ok(self.client.clone().read_file(request).await?.into_inner())
    }

    /// Copies a whole file; it appears under its name when it is complete.
    async fn download(&self, from: &str, to: &Path) -> Result<(), DownloadError> {
        let parent = to.parent().ok_or_else(|| {
            DownloadError::Here(DataFusionError::Internal(format!(
                "{} has no directory",
                to.display()
            )))
        })?;
        tokio::fs::create_dir_all(parent).await?;
        let partial = tempfile::Builder::new()
            .prefix(".partial-")
            .tempfile_in(parent)?
            .into_temp_path();
        let mut chunks = self.open(from, 0, 0).await.map_err(DownloadError::There)?;
        let mut file = tokio::fs::File::create(&partial).await?;
        while let Some(chunk) = chunks.message().await.map_err(DownloadError::There)? {
            file.write_all(&chunk.data).await?;
        }
        file.flush().await?;
        drop(file);
        partial
            .persist(to)
            .map_err(|error| DownloadError::Here(DataFusionError::IoError(error.error)))
    }

    async fn sync_file(&self, root: &Path, file: &SharedFile) -> Result<()> {
        let target = below(root, &file.name)?;
        let remote = format!("files/{}", file.name);
        let copy = if file.archive {
            below(&self.dir.join("archives"), &file.name)?
        } else {
            target.clone()
        };
        self.download(&remote, &copy)
            .await
            .map_err(|error| match error {
                DownloadError::There(status) => driver_error(
                    &format!("fetch file `{}` from the driver", file.name),
                    &status,
                ),
                DownloadError::Here(error) => error,
            })?;
        if file.archive {
            unpack(&copy, &target).await?;
        }
        Ok(())
    }
}

enum DownloadError {
    There(tonic::Status),
    Here(DataFusionError),
}

impl From<std::io::Error> for DownloadError {
    fn from(error: std::io::Error) -> Self {
        Self::Here(DataFusionError::IoError(error))
    }
}

#[async_trait]
impl DriverFiles for RemoteDriverFiles {
    async fn read(&self, path: &str, offset: u64, length: u64) -> Result<Bytes> {
        let failed = |status| driver_error(&format!("read `{path}` from the driver"), &status);
        let mut chunks = self.open(path, offset, length).await.map_err(failed)?;
        let mut data = BytesMut::new();
        while let Some(chunk) = chunks.message().await.map_err(failed)? {
            if data.is_empty() && length != 0 && chunk.data.len() as u64 == length {
                return Ok(chunk.data);
            }
            data.extend_from_slice(&chunk.data);
        }
        if length != 0 && data.len() as u64 != length {
            return Err(DataFusionError::External(Box::new(SparkError::other(
                format!(
                    "`{path}` on the driver ends before byte {}",
                    offset + length
                ),
            ))));
        }
        Ok(data.freeze())
    }

    async fn broadcast(&self, id: i64) -> Result<PathBuf> {
        let cell = self.broadcasts.entry(id).or_default().clone();
        let path = cell
            .get_or_try_init(|| async {
                let path = self.dir.join("broadcast").join(id.to_string());
                match self.download(&format!("broadcast/{id}"), &path).await {
                    Ok(()) => Ok(path),
                    Err(DownloadError::There(status)) if status.code() == Code::NotFound => {
                        Err(missing_broadcast(id))
                    }
                    Err(DownloadError::There(status)) => Err(driver_error(
                        &format!("fetch broadcast {id} from the driver"),
                        &status,
                    )),
                    Err(DownloadError::Here(error)) => Err(error),
                }
            })
            .await?;
        Ok(path.clone())
    }

    async fn sync_files(&self, files: &[SharedFile]) -> Result<PathBuf> {
        let root = self.dir.join("files");
        let mut present = self.shared.lock().await;
        if files.is_empty() && present.is_empty() {
            tokio::fs::create_dir_all(&root).await?;
        }
        for file in files {
            if present.get(&file.name) != Some(&file.modified_millis) {
                self.sync_file(&root, file).await?;
                present.insert(file.name.clone(), file.modified_millis);
            }
        }
        Ok(root)
    }
}

/// Unpacks an archive with the system's `tar`, or `unzip` for zip files.
async fn unpack(archive: &Path, target: &Path) -> Result<()> {
    tokio::fs::create_dir_all(target).await?;
    // By content: `path#alias` takes the extension away.
    let mut magic = Vec::new();
    let start = tokio::fs::File::open(archive).await?;
    start.take(2).read_to_end(&mut magic).await?;
    let mut command = if magic == b"PK" {
        // Every Python can do it; not every machine has unzip.
        let mut command = tokio::process::Command::new("python3");
        command
            .args(["-m", "zipfile", "-e"])
            .arg(archive)
            .arg(target);
        command
    } else {
        let mut command = tokio::process::Command::new("tar");
        command.arg("-xf").arg(archive).arg("-C").arg(target);
        command
    };
    let output = command
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    if output.status.success() {
        return Ok(());
    }
    Err(DataFusionError::External(Box::new(SparkError::other(
        format!(
            "cannot unpack archive `{}`: {}",
            archive.file_name().unwrap_or_default().to_string_lossy(),
            String::from_utf8_lossy(&output.stderr).trim()
        ),
    ))))
}
