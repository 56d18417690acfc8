//! Runs physical plans, in this process or on executors.
//!
//! - [`api`]: the [`Runtime`] trait, jobs and their events; start here
//! - [`local`]: [`LocalRuntime`], DataFusion in the driver's process
//! - [`cluster`]: [`ClusterRuntime`], Ballista's scheduler in the driver's process
//! - [`codec`]: plans on the wire
//! - [`error`]: errors as values across the engine and Ballista
//! - [`blocks`], [`files`], [`reports`]: the services that operators use
//! - [`session`]: configuration and resources that both runtimes and executors share

pub mod api;
pub mod blocks;
pub mod cluster;
pub mod codec;
pub mod error;
pub mod files;
mod filled;
pub mod local;
pub mod reports;
pub mod session;

pub use api::{ExecutorInfo, JobEvent, JobRequest, JobStream, Runtime, StageEvent};
pub use cluster::{ClusterOptions, ClusterRuntime};
pub use codec::physical_codec;
pub use error::to_spark_error;
pub use local::{LocalOptions, LocalRuntime};
