//! Pages and JSON of the cluster's processes. Knows nothing of the processes themselves:
//! each hands in a source of snapshots.
//!
//! - [`master`], [`worker`]: what their pages show, and the routes
//! - [`logs`]: files of executors, in bounded pieces
//! - [`html`]: the few building blocks of a page
//! - [`serve`]: answers on a listener

pub mod html;
pub mod logs;
pub mod master;
pub mod serve;
pub mod worker;

pub use serve::serve;
