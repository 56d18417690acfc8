//! What can be wrong with settings.

use std::path::PathBuf;

/// A setting, a file of settings or a master URL that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A line of a properties file breaks its syntax.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong with it.
        message: String,
    },
    /// A value does not fit its setting.
    #[error("`{key}` is `{value}`{origin}: {message}")]
    Value {
        /// The setting.
        key: String,
        /// What was given.
        value: String,
        /// Where it was given, as ` (file:line)`, or empty.
        origin: String,
        /// What would fit.
        message: String,
    },
    /// A setting without default is not set.
    #[error("`{key}` is not set")]
    NotSet {
        /// The setting.
        key: String,
    },
    /// A master URL of a kind that is not known, with Spark's own words.
    #[error("Could not parse Master URL: '{0}'")]
    MasterUrl(String),
    /// A master URL of a known kind with a part that cannot be used.
    #[error("invalid master URL `{url}`: {message}")]
    MasterUrlPart {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        message: String,
    },
    /// `spark-env.sh` ends with an error.
    #[error("{} failed: {message}", path.display())]
    SparkEnv {
        /// The script.
        path: PathBuf,
        /// What bash said; names the line of a syntax error.
        message: String,
    },
}
