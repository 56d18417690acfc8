//! Master and workers of a standalone cluster, and the way to them for drivers.
//!
//! Start with [`state`]: everything the master decides, as pure code. The rest is a thin shell.
//!
//! - [`ids`]: types of identities
//! - [`state`]: workers, applications, placement; no I/O
//! - [`error`]: what can go wrong
//! - [`link`]: gRPC connections to a master
//! - [`master`]: the server around the state
//! - [`worker`]: executors as child processes
//! - [`client`]: a driver's connection to its master
//! - [`local`]: a whole cluster as children, for `local-cluster[…]`

pub mod client;
pub mod error;
pub mod ids;
pub mod link;
pub mod local;
pub mod master;
pub mod state;
pub mod worker;

pub use error::ClusterError;
