//! The output of a map stage that has run already, as a plan.

use std::fmt;
use std::sync::{Arc, LazyLock};

use ballista_core::client_pool::BallistaClientPool;
use ballista_core::error::BallistaError;
use ballista_core::execution_plans::ShuffleReaderExec;
use ballista_core::serde::protobuf;
use ballista_core::serde::scheduler::PartitionLocation;
use datafusion::arrow::array::{AsArray, BinaryArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_datafusion_err, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::{EmptyRecordBatchStream, RecordBatchStreamAdapter};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use futures::TryStreamExt;
use prost::Message;
use pyrite_proto::error::{SparkError, class};
use pyrite_rdd::operators::shuffle_schema;
use pyrite_rdd::{external, partition_table};

/// What a task needs to read outputs of map stages; an extension of an executor's sessions.
pub struct ShuffleAccess {
    /// The executor's own shuffle files.
    pub work_dir: String,
    /// Connections to other executors.
    pub connections: Arc<dyn BallistaClientPool>,
}

/// Condition of the error that a map stage's output is gone. The driver runs the job again.
const LOST: &str = "PYRITE_MAP_OUTPUT_LOST";

/// Whether a job failed because the output of an earlier job's map stage is gone.
pub(super) fn is_lost_output(error: &SparkError) -> bool {
    error.condition == LOST
}

/// Reads the output of a map stage of an earlier job.
///
/// Ballista's own reader would do, were it not that Ballista takes the stage that a reader
/// names for one of the reader's job: it would look for it when a fetch fails. This operator
/// hides the reader, and its error says that the output is lost.
///
/// Each row of the partition table holds the places of one partition.
#[derive(Debug)]
pub(crate) struct MapOutputExec {
    table: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

#[derive(Clone, PartialEq, Message)]
struct Locations {
    #[prost(message, repeated, tag = "1")]
    locations: Vec<protobuf::PartitionLocation>,
}

static TABLE_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let locations = Field::new("locations", DataType::Binary, false);
    Arc::new(Schema::new(vec![locations]))
});

impl MapOutputExec {
    /// Reads partitions that lie in the given places.
    ///
    /// # Errors
    /// When a place cannot be written as a message, which is a fault of ours.
    pub(super) fn try_new(partitions: &[Vec<PartitionLocation>]) -> Result<Self> {
        let rows = partitions
            .iter()
            .map(|locations| {
                let locations = locations
                    .iter()
                    .map(|location| location.clone().try_into())
                    .collect::<std::result::Result<_, _>>()
                    .map_err(not_a_place)?;
                let message = Locations { locations }.encode_to_vec();
                let column = BinaryArray::from_iter_values([message]);
                Ok(RecordBatch::try_new(
                    Arc::clone(&TABLE_SCHEMA),
                    vec![Arc::new(column)],
                )?)
            })
            .collect::<Result<_>>()?;
        let table = partition_table::of_rows(Arc::clone(&TABLE_SCHEMA), rows)?;
        Ok(Self::with_table(table))
    }

    /// Reads partitions from the places in `table`.
    pub(crate) fn with_table(table: Arc<dyn ExecutionPlan>) -> Self {
        let properties = properties(shuffle_schema(), partition_table::len(&table));
        Self { table, properties }
    }

    fn locations(&self, partition: usize) -> Result<Vec<PartitionLocation>> {
        let row = partition_table::row(&self.table, partition)?;
        let message = row
            .column(0)
            .as_binary_opt::<i32>()
            .ok_or_else(|| internal_datafusion_err!("a table of map outputs without places"))?
            .value(0);
        let Locations { locations } =
            Locations::decode(message).map_err(|e| internal_datafusion_err!("{e}"))?;
        locations
            .into_iter()
            .map(|location| location.try_into().map_err(not_a_place))
            .collect()
    }
}

impl DisplayAs for MapOutputExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MapOutputExec")
    }
}

impl ExecutionPlan for MapOutputExec {
    fn name(&self) -> &str {
        "MapOutputExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.table]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match <[_; 1]>::try_from(children) {
            Ok([table]) => Ok(Arc::new(Self::with_table(table))),
            Err(children) => internal_err!("{} tables of map outputs", children.len()),
        }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let access = context
            .session_config()
            .get_extension::<ShuffleAccess>()
            .ok_or_else(|| internal_datafusion_err!("no access to shuffle files here"))?;
        let reader = ShuffleReaderExec::try_new(
            0,
            vec![self.locations(partition)?],
            shuffle_schema(),
            Partitioning::UnknownPartitioning(1),
        )?
        .with_work_dir(access.work_dir.clone())
        .with_client_pool(Arc::clone(&access.connections));
        let frames = reader.execute(0, context)?.map_err(|error| lost(&error));
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            shuffle_schema(),
            frames,
        )))
    }
}

fn not_a_place(error: BallistaError) -> DataFusionError {
    internal_datafusion_err!("the place of a map output: {error}")
}

fn lost(error: &DataFusionError) -> DataFusionError {
    external(SparkError::new(
        class::SPARK,
        LOST,
        "",
        format!("the output of a map stage is lost: {error}"),
    ))
}

/// Makes Ballista run the stage below it and yields nothing: one empty partition.
#[derive(Debug)]
pub(crate) struct MapStageExec {
    exchange: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl MapStageExec {
    /// Runs the map side of `exchange`.
    pub(crate) fn new(exchange: Arc<dyn ExecutionPlan>) -> Self {
        let properties = properties(exchange.schema(), 1);
        Self {
            exchange,
            properties,
        }
    }
}

impl DisplayAs for MapStageExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MapStageExec")
    }
}

impl ExecutionPlan for MapStageExec {
    fn name(&self) -> &str {
        "MapStageExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.exchange]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match <[_; 1]>::try_from(children) {
            Ok([exchange]) => Ok(Arc::new(Self::new(exchange))),
            Err(children) => internal_err!("{} inputs of a map stage", children.len()),
        }
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        Ok(Box::pin(EmptyRecordBatchStream::new(self.schema())))
    }
}

fn properties(schema: SchemaRef, partitions: usize) -> Arc<PlanProperties> {
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new(schema),
        Partitioning::UnknownPartitioning(partitions),
        EmissionType::Incremental,
        Boundedness::Bounded,
    ))
}

#[cfg(test)]
mod tests {
    use ballista_core::serde::scheduler::{
        ExecutorMetadata, ExecutorOperatingSystemSpecification, ExecutorSpecification, PartitionId,
        PartitionStats,
    };
    use ballista_scheduler::state::task_builder::restrict_plan_to_partitions;
    use datafusion::physical_plan::ExecutionPlanProperties;

    use super::*;

    fn location(partition: usize) -> PartitionLocation {
        PartitionLocation {
            map_partition_id: 7,
            partition_id: PartitionId {
                job_id: "3-1".into(),
                stage_id: 2,
                partition_id: partition,
            },
            executor_meta: ExecutorMetadata {
                id: "0".into(),
                host: "localhost".into(),
                port: 7,
                grpc_port: 8,
                specification: ExecutorSpecification::default(),
                os_info: ExecutorOperatingSystemSpecification::default(),
            },
            partition_stats: PartitionStats::default(),
            file_id: Some(5),
            is_sort_shuffle: true,
        }
    }

    #[test]
    fn a_task_gets_the_places_of_its_partitions_only() {
        let all: Vec<_> = (0..4).map(|p| vec![location(p), location(p)]).collect();
        let plan: Arc<dyn ExecutionPlan> = Arc::new(MapOutputExec::try_new(&all).unwrap());
        assert_eq!(plan.output_partitioning().partition_count(), 4);
        let task = restrict_plan_to_partitions(plan, &[2]).unwrap();
        let task = task.downcast_ref::<MapOutputExec>().unwrap();
        assert_eq!(task.properties.output_partitioning().partition_count(), 1);
        let places = task.locations(0).unwrap();
        assert_eq!(places.len(), 2);
        let place = &places[0];
        assert_eq!(place.partition_id.partition_id, 2);
        assert_eq!(place.partition_id.job_id.as_str(), "3-1");
        assert_eq!((place.file_id, place.is_sort_shuffle), (Some(5), true));
    }

    #[test]
    fn lost_outputs_are_told_from_other_errors() {
        let error = crate::error::to_spark_error(lost(&internal_datafusion_err!("no file")));
        assert!(is_lost_output(&error), "{error}");
        assert!(!is_lost_output(&SparkError::other("no file")));
    }
}
