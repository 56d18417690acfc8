//! RDDs as plans: an `RddGraph` in, a DataFusion `ExecutionPlan` out.
//!
//! Start reading at [`RddPlanner`], then [`partition_table`], which explains how a task of
//! a cluster knows which partitions of the whole RDD it has, then [`operators`].
//!
//! - [`RddPlanner`], [`num_partitions`], [`select_partitions`]: from a graph to a plan
//! - [`prepare_local`], [`few_sorts_at_once`], [`run_shuffles`], [`prepare_cluster`]: what a runtime does to a plan before it runs it
//! - [`count_exchanges`], [`innermost_exchange`], [`replace_exchanges`]: exchanges by the RDD that they make
//! - [`RddTable`]: an RDD of Arrow streams as a table
//! - [`write_text_file`] plans `saveAsTextFile`
//! - [`codec`]: the operators on the wire
//!
//! What this crate does not know: Spark Connect's relations (the driver plans them through
//! [`DataFramePlans`]) and Ballista.

mod cached;
pub mod codec;
mod errors;
mod exchanges;
pub mod operators;
pub mod partition_table;
mod persisted;
mod planner;
mod prepare;
mod shuffle_keys;
mod table;
mod text_input;
mod text_output;

pub use cached::{InMemoryTableScanExec, blocks_of, filling, without_lineage};
pub use errors::external;
pub use exchanges::{count_exchanges, innermost_exchange, replace_exchanges};
pub use persisted::persisted_partitions;
pub use planner::{DataFramePlans, RddPlanner, num_partitions, select_partitions};
pub use prepare::{few_sorts_at_once, prepare_cluster, prepare_local, run_shuffles};
pub use pyrite_python::frames::frame_schema;
pub use shuffle_keys::shuffle_keys;
pub use table::{JobId, RddScanExec, RddTable};
pub use text_output::{TextFileCommit, write_text_file};
