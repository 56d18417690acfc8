//! One executor process: Ballista's executor with our operators and services.
//!
//! - [`options`]: what the worker tells it on the command line
//! - [`process`]: its life, from the first connection to the last file; start here
//! - [`engine`], [`task_server`]: the Ballista side: servers, tasks, errors as values
//! - [`shuffle_files`]: what stages write and how long it stays
//! - [`driver_files`], [`driver_link`]: what it gets from its driver and tells it

mod driver_files;
mod driver_link;
mod engine;
mod options;
mod process;
mod shuffle_files;
mod task_server;

pub use options::ExecutorOptions;
pub use process::{ExecutorError, run};
