//! Analysis: Spark Connect messages and a session's catalog in, DataFusion plans out.
//!
//! [`PlanSession`] is the door. Where to start reading: [`session`] (the door), [`resolved`]
//! (what analysis yields), `analyzer` (what one analysis carries), `relations`, `expressions`
//! and `functions` (one file a topic), [`types`] (Spark and Arrow types).
//!
//! Inside a plan every column has a unique internal name (`name#7`), as Spark has expression
//! ids; the names that users see live beside the plan in [`ResolvedPlan`] and come back in
//! [`PlanSession::physical`]. So duplicate names, self joins and `plan_id`s need no special case.

mod analyze;
mod analyzer;
mod cache;
mod catalog;
mod catalog_relation;
pub mod command;
mod commands;
pub mod errors;
mod expressions;
pub mod finish;
mod functions;
mod grouping;
mod input_files;
pub mod json_schema;
mod leaves;
mod nodes;
mod planner;
mod range;
mod read;
mod relations;
pub mod resolved;
pub mod session;
mod settings;
mod shared;
mod show;
mod sqltext;
mod statements;
mod tree;
pub mod types;
mod udf;
mod write;

pub use cache::RowKeeper;
pub use command::{CommandResult, PendingWrite};
pub use finish::{Finish, Finisher};
pub use resolved::{ResolvedField, ResolvedPlan};
pub use session::{PlanSession, RelationExtensions};
pub use shared::SharedState;

/// The version of Spark whose behaviour this is.
pub const SPARK_VERSION: &str = "4.2.0";
