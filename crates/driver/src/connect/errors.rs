//! Errors as Spark Connect sends them: a gRPC status with `google.rpc.ErrorInfo`, and the
//! full text on request (`FetchErrorDetails`).

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message;
use pyrite_proto::connect::FetchErrorDetailsResponse;
use pyrite_proto::connect::fetch_error_details_response as details;
use pyrite_proto::error::{SparkError, class};
use tonic::{Code, Status};

/// Class of errors about sessions, operations and cursors that do not exist.
pub const SPARK_SQL: &str = "org.apache.spark.SparkSQLException";
/// Class of a request whose plan makes no sense.
pub const INVALID_PLAN: &str = "org.apache.spark.sql.connect.common.InvalidPlanInput";
/// Class of a look-up that found nothing.
pub const NO_SUCH_ELEMENT: &str = "org.apache.spark.SparkNoSuchElementException";

/// Longest message in a status, in bytes as they go over the wire (percent-encoded). Clients
/// accept 8 KiB of trailers by default; the message is in there twice.
const MAX_STATUS_MESSAGE_BYTES: usize = 2048;
/// Longest JSON of message parameters in a status.
const MAX_PARAMETERS_BYTES: usize = 1024;
/// Errors of one session that `FetchErrorDetails` can still answer for.
const REMEMBERED_ERRORS: usize = 64;

/// The latest errors of a session, by id.
#[derive(Default)]
pub struct ErrorLog {
    errors: Mutex<(HashMap<String, SparkError>, VecDeque<String>)>,
}

impl ErrorLog {
    /// Remembers `error` and makes the status that tells the client of it.
    pub fn status(&self, error: &SparkError) -> Status {
        let id = uuid::Uuid::new_v4().to_string();
        let mut errors = self.errors.lock();
        errors.0.insert(id.clone(), error.clone());
        errors.1.push_back(id.clone());
        if errors.1.len() > REMEMBERED_ERRORS
            && let Some(oldest) = errors.1.pop_front()
        {
            errors.0.remove(&oldest);
        }
        drop(errors);
        to_status(error, Some(&id))
    }

    /// Everything about the error `id`; empty when it is not remembered.
    pub fn details(&self, id: &str) -> FetchErrorDetailsResponse {
        let errors = self.errors.lock();
        let Some(error) = errors.0.get(id) else {
            return FetchErrorDetailsResponse::default();
        };
        FetchErrorDetailsResponse {
            root_error_idx: Some(0),
            errors: vec![details::Error {
                error_type_hierarchy: class_hierarchy(&error.class_name),
                message: error.to_string(),
                stack_trace: Vec::new(),
                cause_idx: None,
                spark_throwable: Some(details::SparkThrowable {
                    error_class: non_empty(&error.condition),
                    message_parameters: error.parameters.clone().into_iter().collect(),
                    query_contexts: Vec::new(),
                    sql_state: non_empty(&error.sql_state),
                    breaking_change_info: None,
                }),
            }],
            ..Default::default()
        }
    }
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Makes the status of `error`. Without an id the client does not ask for details.
pub fn to_status(error: &SparkError, error_id: Option<&str>) -> Status {
    let message = abbreviate(&error.to_string(), MAX_STATUS_MESSAGE_BYTES);
    let mut metadata = BTreeMap::new();
    metadata.insert(
        "classes".to_owned(),
        json(&class_hierarchy(&error.class_name)),
    );
    if let Some(id) = error_id {
        metadata.insert("errorId".to_owned(), id.to_owned());
    }
    if !error.condition.is_empty() {
        metadata.insert("errorClass".to_owned(), error.condition.clone());
        let parameters = json(&error.parameters);
        if parameters.len() <= MAX_PARAMETERS_BYTES {
            metadata.insert("messageParameters".to_owned(), parameters);
        }
    }
    if !error.sql_state.is_empty() {
        metadata.insert("sqlState".to_owned(), error.sql_state.clone());
    }
    let info = ErrorInfo {
        reason: error.class_name.clone(),
        domain: "org.apache.spark".to_owned(),
        metadata,
    };
    let rich = RichStatus {
        code: Code::Internal as i32,
        message: message.clone(),
        details: vec![prost_types::Any {
            type_url: "type.googleapis.com/google.rpc.ErrorInfo".to_owned(),
            value: info.encode_to_vec(),
        }],
    };
    Status::with_details(Code::Internal, message, Bytes::from(rich.encode_to_vec()))
}

/// JSON of a list or map of strings.
fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("strings always have a JSON form")
}

/// Cuts `text` so that its percent-encoded form takes at most `limit` bytes.
fn abbreviate(text: &str, limit: usize) -> String {
    let width = |c: char| match c {
        ' '..='~' if c != '%' => 1,
        _ => 3 * c.len_utf8(),
    };
    if text.chars().map(width).sum::<usize>() <= limit {
        return text.to_owned();
    }
    let mut used = 3;
    let mut short: String = text
        .chars()
        .take_while(|c| {
            used += width(*c);
            used <= limit
        })
        .collect();
    short.push_str("...");
    short
}

/// The class and its superclasses as Java has them, most special first: what pyspark
/// looks through for an exception class of its own.
pub fn class_hierarchy(class_name: &str) -> Vec<String> {
    let parents: &[&str] = match class_name {
        class::PARSE => &[class::ANALYSIS],
        class::ANALYSIS | class::SPARK => &[],
        class::ARITHMETIC => &["java.lang.ArithmeticException", RUNTIME_EXCEPTION],
        class::NUMBER_FORMAT => &[
            "java.lang.NumberFormatException",
            "java.lang.IllegalArgumentException",
            RUNTIME_EXCEPTION,
        ],
        class::DATE_TIME => &["java.time.DateTimeException", RUNTIME_EXCEPTION],
        class::ARRAY_INDEX => &[
            "java.lang.ArrayIndexOutOfBoundsException",
            "java.lang.IndexOutOfBoundsException",
            RUNTIME_EXCEPTION,
        ],
        class::ILLEGAL_ARGUMENT => &["java.lang.IllegalArgumentException", RUNTIME_EXCEPTION],
        class::UNSUPPORTED | SPARK_SQL_UNSUPPORTED => {
            &["java.lang.UnsupportedOperationException", RUNTIME_EXCEPTION]
        }
        NO_SUCH_ELEMENT => &["java.util.NoSuchElementException", RUNTIME_EXCEPTION],
        SPARK_SQL => &["java.sql.SQLException"],
        name if name.starts_with("org.apache.spark.sql.catalyst.analysis.") => &[class::ANALYSIS],
        _ => &[RUNTIME_EXCEPTION],
    };
    std::iter::once(class_name)
        .chain(parents.iter().copied())
        .chain([
            "java.lang.Exception",
            "java.lang.Throwable",
            "java.lang.Object",
        ])
        .map(str::to_owned)
        .collect()
}

const RUNTIME_EXCEPTION: &str = "java.lang.RuntimeException";
const SPARK_SQL_UNSUPPORTED: &str = "org.apache.spark.SparkSQLFeatureNotSupportedException";

/// A handle (operation, session or cursor) that the server does not know or cannot serve.
pub fn invalid_handle(sub_condition: &str, handle: &str, text: &str) -> SparkError {
    SparkError::new(
        SPARK_SQL,
        &format!("INVALID_HANDLE.{sub_condition}"),
        "HY000",
        format!("The handle {handle} is invalid. {text}"),
    )
    .with("handle", handle)
}

/// A position in a result stream that cannot be served.
pub fn invalid_cursor(sub_condition: &str, text: &str) -> SparkError {
    SparkError::new(
        SPARK_SQL,
        &format!("INVALID_CURSOR.{sub_condition}"),
        "HY109",
        format!("The cursor is invalid. {text}"),
    )
}

/// A request that lacks what it needs.
pub fn invalid_plan(message: impl Into<String>) -> SparkError {
    SparkError::new(INVALID_PLAN, "", "", message)
}

/// An execution that was cancelled from outside.
pub fn cancelled() -> SparkError {
    SparkError::new(
        SPARK_SQL,
        "OPERATION_CANCELED",
        "HY008",
        "Operation has been canceled.",
    )
}

/// `google.rpc.Status`, the message behind `grpc-status-details-bin`.
#[derive(Clone, PartialEq, Message)]
struct RichStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// `google.rpc.ErrorInfo`.
#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(btree_map = "string, string", tag = "3")]
    metadata: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_carries_class_condition_and_parameters() {
        let log = ErrorLog::default();
        let error = SparkError::new(
            class::ARITHMETIC,
            "DIVIDE_BY_ZERO",
            "22012",
            "Division by zero.",
        )
        .with("config", "\"spark.sql.ansi.enabled\"");
        let status = log.status(&error);
        assert_eq!(status.code(), Code::Internal);
        let rich = RichStatus::decode(status.details()).unwrap();
        assert_eq!(rich.message, status.message());
        let info = ErrorInfo::decode(rich.details[0].value.as_slice()).unwrap();
        assert_eq!(info.metadata["errorClass"], "DIVIDE_BY_ZERO");
        assert_eq!(
            info.metadata["messageParameters"],
            r#"{"config":"\"spark.sql.ansi.enabled\""}"#
        );
        let classes: Vec<String> = serde_json::from_str(&info.metadata["classes"]).unwrap();
        assert_eq!(classes[1], "java.lang.ArithmeticException");

        let found = log.details(&info.metadata["errorId"]);
        assert_eq!(found.root_error_idx, Some(0));
        assert_eq!(found.errors[0].message, error.to_string());
        assert_eq!(log.details("unknown").root_error_idx, None);
    }

    #[test]
    fn long_messages_are_cut_for_the_trailer_and_whole_in_the_details() {
        let log = ErrorLog::default();
        let error = SparkError::python("é\n".repeat(5000));
        let status = log.status(&error);
        assert!(status.message().ends_with("..."));
        assert!(status.message().len() < MAX_STATUS_MESSAGE_BYTES);
        let rich = RichStatus::decode(status.details()).unwrap();
        let info = ErrorInfo::decode(rich.details[0].value.as_slice()).unwrap();
        let found = log.details(&info.metadata["errorId"]);
        assert_eq!(found.errors[0].message, error.message);
    }

    #[test]
    fn old_errors_are_forgotten() {
        let log = ErrorLog::default();
        for i in 0..200 {
            log.status(&SparkError::other(i.to_string()));
        }
        assert_eq!(log.errors.lock().0.len(), REMEMBERED_ERRORS);
    }
}
