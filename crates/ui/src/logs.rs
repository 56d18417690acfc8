//! Files of executors, read in bounded pieces.

use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use axum::http::StatusCode;
use serde::Deserialize;

/// Bytes of one piece when the request does not say.
const DEFAULT_BYTES: u64 = 100 * 1024;

/// Most bytes of one piece.
const MAX_BYTES: u64 = 1024 * 1024;

/// Which piece of which file, with the names of Spark's pages.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogQuery {
    /// The application.
    pub app_id: String,
    /// The executor.
    pub executor_id: u32,
    /// `stdout` or `stderr`.
    pub log_type: String,
    /// First byte; the end of the file when not given.
    pub offset: Option<u64>,
    /// Number of bytes.
    pub byte_length: Option<u64>,
}

impl LogQuery {
    /// The end of a file.
    pub fn new(app_id: &str, executor_id: u32, log_type: &str) -> Self {
        Self {
            app_id: app_id.to_owned(),
            executor_id,
            log_type: log_type.to_owned(),
            offset: None,
            byte_length: None,
        }
    }

    /// Address of the page with the end of the file.
    pub fn address_of_end(&self) -> String {
        format!(
            "/logPage/?appId={}&executorId={}&logType={}",
            self.app_id, self.executor_id, self.log_type
        )
    }

    /// Address of the page with another piece.
    pub fn address(&self, offset: u64, bytes: u64) -> String {
        format!(
            "{}&offset={offset}&byteLength={bytes}",
            self.address_of_end()
        )
    }
}

/// A piece of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPiece {
    /// First byte.
    pub start: u64,
    /// Byte after the last.
    pub end: u64,
    /// Bytes of the file.
    pub total: u64,
    /// Most bytes that this piece could have.
    pub limit: u64,
    /// The text; what is no UTF-8 is replaced.
    pub text: String,
}

/// No piece can be given.
#[derive(Debug)]
pub enum LogError {
    /// The request asks for something that is no log.
    BadRequest(&'static str),
    /// There is no such file.
    NotFound,
    /// The file cannot be read.
    Io(std::io::Error),
}

impl std::fmt::Display for LogError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BadRequest(message) => f.write_str(message),
            Self::NotFound => f.write_str("there is no such log here"),
            Self::Io(error) => write!(f, "cannot read the log: {error}"),
        }
    }
}

impl std::error::Error for LogError {}

impl From<&LogError> for StatusCode {
    fn from(error: &LogError) -> Self {
        match error {
            LogError::BadRequest(_) => Self::BAD_REQUEST,
            LogError::NotFound => Self::NOT_FOUND,
            LogError::Io(_) => Self::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Reads the piece that `query` asks for below `work_dir`, never more than 1 MiB of it.
///
/// # Errors
/// When the request names no log file of an executor, or it cannot be read.
pub async fn read(work_dir: PathBuf, query: LogQuery) -> Result<LogPiece, LogError> {
    let is_name = !query.app_id.is_empty()
        && query
            .app_id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if !is_name {
        return Err(LogError::BadRequest("appId is no id of an application"));
    }
    if !matches!(query.log_type.as_str(), "stdout" | "stderr") {
        return Err(LogError::BadRequest("logType is stdout or stderr"));
    }
    let path = work_dir
        .join(&query.app_id)
        .join(query.executor_id.to_string())
        .join(&query.log_type);
    tokio::task::spawn_blocking(move || read_piece(&path, query.offset, query.byte_length))
        .await
        .map_err(|error| LogError::Io(std::io::Error::other(error)))?
}

fn read_piece(
    path: &std::path::Path,
    offset: Option<u64>,
    bytes: Option<u64>,
) -> Result<LogPiece, LogError> {
    let mut file = std::fs::File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => LogError::NotFound,
        _ => LogError::Io(error),
    })?;
    let total = file.metadata().map_err(LogError::Io)?.len();
    let limit = bytes.unwrap_or(DEFAULT_BYTES).clamp(1, MAX_BYTES);
    let start = offset.unwrap_or(total.saturating_sub(limit)).min(total);
    file.seek(SeekFrom::Start(start)).map_err(LogError::Io)?;
    let mut found = Vec::new();
    file.take(limit)
        .read_to_end(&mut found)
        .map_err(LogError::Io)?;
    Ok(LogPiece {
        start,
        end: start + found.len() as u64,
        total,
        limit,
        text: String::from_utf8_lossy(&found).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str, offset: Option<u64>, byte_length: Option<u64>) -> LogQuery {
        LogQuery {
            offset,
            byte_length,
            ..LogQuery::new("app-1", 0, text)
        }
    }

    #[tokio::test]
    async fn pieces_stay_inside_file_and_limit() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("app-1/0")).unwrap();
        std::fs::write(dir.path().join("app-1/0/stdout"), "0123456789").unwrap();
        let read = |q| read(dir.path().to_owned(), q);
        let end = read(query("stdout", None, Some(4))).await.unwrap();
        assert_eq!(
            (end.start, end.end, end.total, end.text.as_str()),
            (6, 10, 10, "6789")
        );
        let middle = read(query("stdout", Some(2), Some(3))).await.unwrap();
        assert_eq!(middle.text, "234");
        let beyond = read(query("stdout", Some(99), Some(u64::MAX)))
            .await
            .unwrap();
        assert_eq!(
            (beyond.start, beyond.limit, beyond.text.as_str()),
            (10, MAX_BYTES, "")
        );
        assert!(matches!(
            read(query("stderr", None, None)).await,
            Err(LogError::NotFound)
        ));
    }

    #[tokio::test]
    async fn nothing_but_logs_is_served() {
        let dir = tempfile::tempdir().unwrap();
        for (app_id, log_type) in [
            ("..", "stdout"),
            ("a/b", "stdout"),
            ("", "stdout"),
            ("app-1", "../secret"),
        ] {
            let query = LogQuery::new(app_id, 0, log_type);
            let error = read(dir.path().to_owned(), query).await.unwrap_err();
            assert!(
                matches!(error, LogError::BadRequest(_)),
                "{app_id} {log_type}"
            );
        }
    }
}
