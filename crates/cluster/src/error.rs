//! What can go wrong between master, workers and drivers.

use pyrite_conf::ConfError;
use pyrite_conf::ports::PortError;

/// A master, worker or driver cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No master answered, with Spark's own words first.
    #[error(
        "All masters are unresponsive! Giving up. Tried {masters} {attempts} times; last: {reason}"
    )]
    Unresponsive {
        /// The masters as a URL.
        masters: String,
        /// How often each was tried.
        attempts: u32,
        /// What the last attempt said.
        reason: String,
    },
    /// The master does not take this peer; trying again does not help.
    #[error("{0}")]
    Refused(String),
    /// The master wants another secret.
    #[error(
        "master {master} wants the secret of its cluster; set `spark.authenticate.secret` or the variable \
         `PYRITE_AUTH_SECRET` to it"
    )]
    Secret {
        /// The master.
        master: String,
    },
    /// A port cannot be had.
    #[error(transparent)]
    Port(#[from] PortError),
    /// A setting cannot be used.
    #[error(transparent)]
    Conf(#[from] ConfError),
    /// A file, directory or process cannot be used.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The server stopped.
    #[error("the server stopped")]
    Server(#[source] tonic::transport::Error),
}

impl ClusterError {
    /// Names what was tried when `source` happened.
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io {
            what: what.into(),
            source,
        }
    }

    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unresponsive { .. })
    }
}
