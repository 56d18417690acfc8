//! Settings of Pyrite: Spark's keys, Spark's files, Spark's precedence.
//!
//! Start with [`SparkConf`]. No I/O happens here except where a function says that it reads a file.
//!
//! - [`properties`]: the syntax of `spark-defaults.conf`
//! - [`units`]: sizes (`512m`) and durations (`120s`)
//! - [`settings`]: the table of known settings
//! - [`conf`]: [`SparkConf`] and precedence
//! - [`master_url`]: `local[4]`, `spark://host:7077`
//! - [`environment`]: `SPARK_CONF_DIR`, `spark-env.sh`
//! - [`ports`], [`host`]: ports that may move on, and the name of this machine
//! - [`scratch`]: directories that shall not outlive their process
//! - [`secret`]: where the secret of a cluster is found

pub mod conf;
pub mod environment;
pub mod error;
pub mod host;
pub mod master_url;
pub mod ports;
pub mod properties;
pub mod scratch;
pub mod secret;
pub mod settings;
pub mod units;

pub use conf::{Origin, SparkConf, load_defaults_file};
pub use environment::{Environment, conf_dir};
pub use error::ConfError;
pub use master_url::MasterUrl;
