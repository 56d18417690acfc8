//! Files that clients upload: cached local data, Python files, plain files and archives.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Component, Path, PathBuf};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use parking_lot::Mutex;
use pyrite_proto::connect::AddArtifactsRequest;
use pyrite_proto::connect::add_artifacts_request::{ArtifactChunk, Payload};
use pyrite_proto::connect::add_artifacts_response::ArtifactSummary;
use pyrite_proto::core::{PythonFunction, SharedFile};
use pyrite_proto::error::{SparkError, class};

use super::errors;

/// The uploads of one session.
///
/// `cache/<hash>` stays with the session. `pyfiles/` and `files/` go to the application's files
/// directory, from where executors fetch them.
pub struct Artifacts {
    cache_dir: PathBuf,
    files_dir: PathBuf,
    names: Mutex<BTreeSet<String>>,
}

/// An artifact being received.
struct Incoming {
    name: String,
    file: std::fs::File,
    temporary: PathBuf,
    chunks_left: i64,
    crc_ok: bool,
}

impl Artifacts {
    /// Keeps cached data below `cache_dir` and shared files in `files_dir`.
    pub fn new(cache_dir: PathBuf, files_dir: PathBuf) -> Self {
        Self {
            cache_dir,
            files_dir,
            names: Mutex::default(),
        }
    }

    /// Whether an artifact of this name has arrived.
    pub fn contains(&self, name: &str) -> bool {
        self.names.lock().contains(name)
    }

    /// Adds the uploaded Python modules and files to what a function needs where it runs.
    ///
    /// # Errors
    /// When an uploaded file is gone.
    pub fn add_to(&self, function: &mut PythonFunction) -> Result<(), SparkError> {
        for name in self.names.lock().iter() {
            let Some((kind @ ("pyfiles" | "files"), file)) = name.split_once('/') else {
                continue;
            };
            let path = self.files_dir.join(file);
            let details = std::fs::metadata(&path).map_err(|e| io_error("read", &path, &e))?;
            let modified = details
                .modified()
                .map_err(|e| io_error("read", &path, &e))?;
            let since_epoch = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
            function.files.push(SharedFile {
                name: file.to_owned(),
                size_bytes: details.len(),
                modified_millis: since_epoch.as_millis() as i64,
                archive: false,
            });
            if kind == "pyfiles" {
                function.python_includes.push(file.to_owned());
            }
        }
        Ok(())
    }

    /// The bytes of `cache/<hash>`.
    ///
    /// # Errors
    /// When it was never uploaded, or cannot be read.
    pub async fn cached(&self, hash: &str) -> Result<Bytes, SparkError> {
        let name = format!("cache/{hash}");
        if !self.contains(&name) {
            return Err(SparkError::other(format!(
                "no cached local data with hash `{hash}` in this session"
            )));
        }
        let path = self.path_of(&name)?;
        tokio::fs::read(&path)
            .await
            .map(Bytes::from)
            .map_err(|e| io_error("read", &path, &e))
    }

    /// Drops the session's cached data.
    pub fn remove_all(&self) {
        self.names.lock().clear();
        if self.cache_dir.exists()
            && let Err(error) = std::fs::remove_dir_all(&self.cache_dir)
        {
            tracing::warn!(%error, dir = %self.cache_dir.display(), "cannot remove cached data");
        }
    }

    /// Receives artifacts until the client has sent all.
    ///
    /// # Errors
    /// Malformed requests and names, disk errors.
    pub async fn receive<E: std::fmt::Display>(
        &self,
        first: AddArtifactsRequest,
        mut rest: impl Stream<Item = Result<AddArtifactsRequest, E>> + Unpin,
    ) -> Result<Vec<ArtifactSummary>, SparkError> {
        let mut summaries = Vec::new();
        let mut incoming: Option<Incoming> = None;
        let mut request = Some(first);
        while let Some(AddArtifactsRequest { payload, .. }) = request {
            match payload {
                Some(Payload::Batch(batch)) => {
                    for artifact in batch.artifacts {
                        let chunk = artifact.data.unwrap_or_default();
                        let mut one = self.begin(&artifact.name, 1)?;
                        one.write(&chunk)?;
                        summaries.push(self.end(one)?);
                    }
                }
                Some(Payload::BeginChunk(begin)) => {
                    let mut one = self.begin(&begin.name, begin.num_chunks)?;
                    one.write(&begin.initial_chunk.unwrap_or_default())?;
                    incoming = Some(one);
                }
                Some(Payload::Chunk(chunk)) => match &mut incoming {
                    Some(one) => one.write(&chunk)?,
                    None => {
                        return Err(errors::invalid_plan(
                            "an artifact chunk without a beginning",
                        ));
                    }
                },
                None => return Err(errors::invalid_plan("an artifact request without payload")),
            }
            if let Some(one) = incoming.take_if(|one| one.chunks_left <= 0) {
                summaries.push(self.end(one)?);
            }
            request = rest
                .next()
                .await
                .transpose()
                .map_err(|e| SparkError::other(format!("the upload broke off: {e}")))?;
        }
        match incoming {
            Some(one) => Err(SparkError::other(format!(
                "the upload of artifact `{}` is incomplete",
                one.name
            ))),
            None => Ok(summaries),
        }
    }

    fn begin(&self, name: &str, chunks: i64) -> Result<Incoming, SparkError> {
        let path = self.path_of(name)?;
        let dir = path.parent().unwrap_or(&self.cache_dir);
        std::fs::create_dir_all(dir).map_err(|e| io_error("create", dir, &e))?;
        let temporary = dir.join(format!(".incoming-{}", uuid::Uuid::new_v4()));
        let file =
            std::fs::File::create(&temporary).map_err(|e| io_error("write", &temporary, &e))?;
        Ok(Incoming {
            name: name.to_owned(),
            file,
            temporary,
            chunks_left: chunks,
            crc_ok: true,
        })
    }

    fn end(&self, incoming: Incoming) -> Result<ArtifactSummary, SparkError> {
        if incoming.crc_ok {
            let path = self.path_of(&incoming.name)?;
            std::fs::rename(&incoming.temporary, &path)
                .map_err(|e| io_error("write", &path, &e))?;
            self.names.lock().insert(incoming.name.clone());
        }
        Ok(ArtifactSummary {
            name: incoming.name.clone(),
            is_crc_successful: incoming.crc_ok,
        })
    }

    fn path_of(&self, name: &str) -> Result<PathBuf, SparkError> {
        let harmless = Path::new(name)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !harmless {
            return Err(SparkError::new(
                class::ILLEGAL_ARGUMENT,
                "INVALID_ARTIFACT_PATH",
                "22023",
                format!("The artifact name `{name}` is not a relative path inside the session."),
            )
            .with("name", name));
        }
        match name.split_once('/') {
            Some(("cache", _)) => Ok(self.cache_dir.join(name)),
            Some(("pyfiles" | "files", rest)) => Ok(self.files_dir.join(rest)),
            Some(("archives", _)) => Err(SparkError::not_supported(
                "an archive as artifact of a session (use `SparkContext.addArchive`)",
            )),
            Some(("forward_to_fs", _)) => Err(SparkError::not_supported("copyFromLocalToFs")),
            Some(("jars" | "classes", _)) => Err(SparkError::not_supported(
                "Java code: there is no Java virtual machine; jar artifacts",
            )),
            _ => Err(SparkError::not_supported(format!(
                "an artifact named `{name}`"
            ))),
        }
    }
}

impl Incoming {
    fn write(&mut self, chunk: &ArtifactChunk) -> Result<(), SparkError> {
        self.crc_ok &= i64::from(crc32fast::hash(&chunk.data)) == chunk.crc;
        self.chunks_left -= 1;
        self.file
            .write_all(&chunk.data)
            .map_err(|e| io_error("write", &self.temporary, &e))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Gone already when the artifact is complete.
        if let Err(error) = std::fs::remove_file(&self.temporary)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "cannot remove an incomplete artifact");
        }
    }
}

fn io_error(verb: &str, path: &Path, error: &std::io::Error) -> SparkError {
    SparkError::other(format!("cannot {verb} `{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyrite_proto::connect::add_artifacts_request::{
        Batch, BeginChunkedArtifact, SingleChunkArtifact,
    };

    fn chunk(data: &'static [u8]) -> ArtifactChunk {
        ArtifactChunk {
            data: Bytes::from_static(data),
            crc: i64::from(crc32fast::hash(data)),
        }
    }

    fn request(payload: Payload) -> AddArtifactsRequest {
        AddArtifactsRequest {
            payload: Some(payload),
            ..Default::default()
        }
    }

    fn batch(name: &str, data: ArtifactChunk) -> AddArtifactsRequest {
        request(Payload::Batch(Batch {
            artifacts: vec![SingleChunkArtifact {
                name: name.to_owned(),
                data: Some(data),
            }],
        }))
    }

    fn artifacts(dir: &tempfile::TempDir) -> Artifacts {
        Artifacts::new(dir.path().join("session"), dir.path().join("files"))
    }

    fn stream(
        requests: Vec<AddArtifactsRequest>,
    ) -> impl Stream<Item = Result<AddArtifactsRequest, String>> + Unpin {
        futures::stream::iter(requests.into_iter().map(Ok))
    }

    #[tokio::test]
    async fn chunks_make_one_artifact() {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = artifacts(&dir);
        let begin = request(Payload::BeginChunk(BeginChunkedArtifact {
            name: "cache/abc".to_owned(),
            total_bytes: 6,
            num_chunks: 2,
            initial_chunk: Some(chunk(b"one")),
        }));
        let rest = vec![
            request(Payload::Chunk(chunk(b"two"))),
            batch("pyfiles/lib.py", chunk(b"x = 1")),
        ];
        let summaries = artifacts.receive(begin, stream(rest)).await.unwrap();
        assert_eq!(summaries.len(), 2);
        assert!(summaries.iter().all(|s| s.is_crc_successful));
        assert_eq!(&artifacts.cached("abc").await.unwrap()[..], b"onetwo");
        assert!(artifacts.contains("cache/abc") && !artifacts.contains("cache/x"));
        let mut function = PythonFunction::default();
        artifacts.add_to(&mut function).unwrap();
        assert_eq!(function.python_includes, ["lib.py"]);
        assert_eq!(
            (
                function.files[0].name.as_str(),
                function.files[0].size_bytes
            ),
            ("lib.py", 5)
        );
        assert_eq!(
            std::fs::read(dir.path().join("files/lib.py")).unwrap(),
            b"x = 1"
        );
    }

    #[tokio::test]
    async fn a_wrong_checksum_is_reported_and_nothing_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = artifacts(&dir);
        let mut bad = chunk(b"one");
        bad.crc += 1;
        let summaries = artifacts
            .receive(batch("cache/a", bad), stream(vec![]))
            .await
            .unwrap();
        assert!(!summaries[0].is_crc_successful);
        assert!(!artifacts.contains("cache/a"));
    }

    #[tokio::test]
    async fn names_cannot_leave_the_session() {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = artifacts(&dir);
        for name in ["cache/../../x", "/etc/x", "files/../../y"] {
            let result = artifacts
                .receive(batch(name, chunk(b"")), stream(vec![]))
                .await;
            assert_eq!(
                result.unwrap_err().condition,
                "INVALID_ARTIFACT_PATH",
                "{name}"
            );
        }
    }

    #[tokio::test]
    async fn an_upload_that_breaks_off_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let artifacts = artifacts(&dir);
        let begin = request(Payload::BeginChunk(BeginChunkedArtifact {
            name: "cache/abc".to_owned(),
            total_bytes: 6,
            num_chunks: 2,
            initial_chunk: Some(chunk(b"one")),
        }));
        assert!(artifacts.receive(begin, stream(vec![])).await.is_err());
        assert!(!artifacts.contains("cache/abc"));
    }
}
