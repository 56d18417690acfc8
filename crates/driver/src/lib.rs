//! The driver: one process per application, started by it and ended with it.
//!
//! Reading order:
//! - [`start`]: the handshake with the application, and what is started for it
//! - [`lifecycle`]: what ends a driver, and how
//! - [`application`]: what the services share
//! - [`jobs`], [`listener`]: jobs and what is told about them
//! - [`connect`]: Spark Connect
//! - [`core`]: RDDs, shared variables and job control
//! - [`extensions`]: RDDs as relations, DataFrames as RDDs
//! - [`settled`], [`in_order`]: what plans of DataFrames get before they run
//! - [`cluster`]: the connection to a master
//! - [`settings`], [`logging`]: from configuration to options, and logs

pub mod application;
pub mod cached_rows;
mod cluster;
pub mod connect;
pub mod core;
pub mod extensions;
mod in_order;
pub mod jobs;
pub mod lifecycle;
pub mod listener;
pub mod logging;
pub mod settings;
mod settled;
pub mod start;

pub use lifecycle::run;
