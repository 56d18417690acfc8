//! Spark Connect, as `pyspark-client` uses it.
//!
//! - [`service`]: the RPCs, start here
//! - [`session`]: sessions and their executions
//! - [`execute`]: one execution, from plan to responses
//! - [`reattach`]: responses on their way to the client
//! - [`results`]: record batches in partition order, as Arrow streams
//! - [`analyze`], [`config`], [`artifacts`], [`errors`]: the other RPCs' topics

pub mod analyze;
pub mod artifacts;
pub mod config;
pub mod errors;
pub mod execute;
pub mod reattach;
pub mod results;
pub mod service;
pub mod session;
