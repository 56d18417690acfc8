//! The operators that RDD plans consist of, beside DataFusion's union and hash repartition
//! and the Python operators of `pyrite-python`.
//!
//! All of them stream frames (`frame_schema`), keep the order within a partition and leave
//! their partitions alone: DataFusion's optimiser must neither add nor remove an exchange
//! around them, because the number of partitions of an RDD is visible to its user.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::{Partitioning, PlanProperties};

/// The methods of `ExecutionPlan` that are the same for every operator here.
macro_rules! common_methods {
    ($name:literal) => {
        fn name(&self) -> &'static str {
            $name
        }

        fn properties(&self) -> &std::sync::Arc<datafusion::physical_plan::PlanProperties> {
            &self.properties
        }

        fn maintains_input_order(&self) -> Vec<bool> {
            vec![true; self.children().len()]
        }

        fn benefits_from_input_partitioning(&self) -> Vec<bool> {
            vec![false; self.children().len()]
        }

        fn apply_expressions(
            &self,
            _: &mut dyn FnMut(
                &std::sync::Arc<dyn datafusion::physical_expr::PhysicalExpr>,
            ) -> datafusion::common::Result<
                datafusion::common::tree_node::TreeNodeRecursion,
            >,
        ) -> datafusion::common::Result<datafusion::common::tree_node::TreeNodeRecursion> {
            Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
        }

        fn with_new_children(
            self: std::sync::Arc<Self>,
            children: Vec<std::sync::Arc<dyn datafusion::physical_plan::ExecutionPlan>>,
        ) -> datafusion::common::Result<
            std::sync::Arc<dyn datafusion::physical_plan::ExecutionPlan>,
        > {
            self.replace_children(
                children,
                datafusion::physical_plan::ReplaceChildrenOptions::new(
                    datafusion::physical_plan::ChildrenPropertiesMode::Recompute,
                ),
            )
        }
    };
}
pub(crate) use common_methods;

mod arrow_frames;
mod cartesian;
mod frame_file;
mod local_shuffle;
mod lost_rows;
mod numbered;
mod parallel_collection;
mod partition_groups;
mod persist;
mod shuffle;
mod shuffle_outputs;
mod spool;
mod text_file;
mod write_text;
mod zip;

pub use arrow_frames::{DecodeArrowFramesExec, EncodeArrowFramesExec};
pub use cartesian::CartesianExec;
pub use local_shuffle::LocalShuffleExec;
pub use lost_rows::{LostRowsExec, is_lost_rows};
pub use numbered::NumberedExec;
pub use parallel_collection::ParallelCollectionExec;
pub use partition_groups::PartitionGroupsExec;
pub use persist::PersistExec;
pub(crate) use shuffle::shuffle_exchange;
pub use shuffle::{ShuffleFramesExec, ShuffleKeyExec, shuffle_schema};
pub use shuffle_outputs::forget_exchanges;
pub use text_file::TextFileExec;
pub use write_text::WriteTextFileExec;
pub use zip::ZipExec;

/// Properties of a plan of `count` partitions that nothing more is known about.
pub(crate) fn unknown_partitions(schema: SchemaRef, count: usize) -> Arc<PlanProperties> {
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new(schema),
        Partitioning::UnknownPartitioning(count),
        EmissionType::Incremental,
        Boundedness::Bounded,
    ))
}

/// Takes an operator's children out of the list that it is given.
///
/// # Errors
/// When there are more or fewer, which is a fault of the caller.
pub(crate) fn take_children<const N: usize>(
    name: &str,
    children: Vec<Arc<dyn datafusion::physical_plan::ExecutionPlan>>,
) -> datafusion::common::Result<[Arc<dyn datafusion::physical_plan::ExecutionPlan>; N]> {
    let count = children.len();
    children
        .try_into()
        .map_err(|_| crate::errors::internal(format!("{name} takes {N} children, not {count}")))
}
