//! RDDs, shared variables and job control, as the application asks for them.
//!
//! - [`service`]: the RPCs, start here
//! - [`results`]: frames on their way to the application

pub mod results;
pub mod service;
