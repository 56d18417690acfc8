//! Operators without a DataFusion counterpart, and how they travel to executors.

pub mod codec;
mod range;
mod text;
mod write;
mod writers;

use datafusion::execution::TaskContext;

pub use range::{RangeExec, RangeSpec, range_schema};
pub use text::{TextExec, text_schema};
pub use write::{WriteFilesExec, WriteSpec, write_schema};

/// Numbers that the partitions of a task have in the whole stage. A runtime that numbers a
/// task's partitions from 0 puts this extension into the context of [`WriteFilesExec`], whose
/// files would otherwise have the same names in every task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionNumbers(pub Vec<usize>);

/// The number of a task's partition in the whole stage.
fn partition_number(context: &TaskContext, partition: usize) -> usize {
    context
        .session_config()
        .get_extension::<PartitionNumbers>()
        .and_then(|numbers| numbers.0.get(partition).copied())
        .unwrap_or(partition)
}
