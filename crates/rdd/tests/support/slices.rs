//! Runs plans the way Ballista does: cut into stages, each stage's partitions dealt out in
//! slices, each slice's plan encoded, decoded and run by Ballista's own engine.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use ballista_core::JobId;
use ballista_core::execution_plans::compute_global_output_partition_ids;
use ballista_core::extension::SessionConfigExt;
use ballista_core::serde::BallistaPhysicalExtensionCodec;
use ballista_core::serde::protobuf::ShuffleWritePartition;
use ballista_core::serde::scheduler::{
    ExecutorMetadata, PartitionId, PartitionLocation, PartitionStats,
};
use ballista_executor::execution_engine::{DefaultExecutionEngine, ExecutionEngine};
use ballista_scheduler::planner::{
    DefaultDistributedPlanner, DistributedPlanner, remove_unresolved_shuffles,
};
use ballista_scheduler::state::task_builder::restrict_plan_to_partitions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, SessionStateDefaults, TaskContext};
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning,
    PlanProperties,
};
use datafusion::prelude::SessionConfig;
use datafusion_proto::physical_plan::{
    AsExecutionPlan, PhysicalExtensionCodec, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::PhysicalPlanNode;

use crate::support::{Frames, Process, frames_of};

/// The RDD operators' codec in front of Ballista's.
#[derive(Debug, Default)]
pub struct Codec(BallistaPhysicalExtensionCodec);

impl PhysicalExtensionCodec for Codec {
    fn try_decode_udaf(&self, name: &str, _: &[u8]) -> Result<Arc<AggregateUDF>> {
        let known = SessionStateDefaults::default_aggregate_functions();
        let found = known.into_iter().find(|function| function.name() == name);
        found.ok_or_else(|| DataFusionError::Plan(format!("no function `{name}`")))
    }

    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match buf[0] {
            2 => Ok(Arc::new(UnknownLeaf::new(buf[1] as usize))),
            1 => pyrite_rdd::codec::try_decode(&buf[1..], inputs, ctx, self),
            _ => self.0.try_decode(&buf[1..], inputs, ctx, converter),
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        if let Some(bytes) = pyrite_rdd::codec::try_encode(&node)? {
            buf.push(1);
            buf.extend(bytes);
            return Ok(());
        }
        if let Some(leaf) = node.downcast_ref::<UnknownLeaf>() {
            let partitions = leaf.0.output_partitioning().partition_count();
            buf.extend([2, u8::try_from(partitions).unwrap()]);
            return Ok(());
        }
        buf.push(0);
        self.0.try_encode(node, buf, converter)
    }
}

/// A leaf that Ballista cannot slice: one frame a partition, its number.
#[derive(Debug)]
pub struct UnknownLeaf(Arc<PlanProperties>);

impl UnknownLeaf {
    pub fn new(partitions: usize) -> Self {
        Self(Arc::new(PlanProperties::new(
            EquivalenceProperties::new(pyrite_rdd::frame_schema()),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )))
    }
}

impl DisplayAs for UnknownLeaf {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnknownLeaf")
    }
}

impl ExecutionPlan for UnknownLeaf {
    fn name(&self) -> &'static str {
        "UnknownLeaf"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.0
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let frame = partition.to_string();
        let batch = pyrite_python::frames::batch_of([frame.as_bytes()]);
        let schema = pyrite_rdd::frame_schema();
        Ok(Box::pin(MemoryStream::try_new(vec![batch], schema, None)?))
    }
}

/// What a run shows beside its result.
pub struct Run {
    pub batches: Vec<Vec<RecordBatch>>,
    /// Input partitions of each stage.
    pub stages: Vec<usize>,
}

impl Run {
    /// The result of a plan of frames.
    pub fn partitions(&self) -> Frames {
        let partitions = self.batches.iter();
        partitions
            .map(|batches| frames_of(batches).unwrap())
            .collect()
    }
}

type Locations = HashMap<usize, HashMap<usize, Vec<PartitionLocation>>>;

/// What plans are made and run with.
pub fn config(process: &Process) -> SessionConfig {
    SessionConfig::new_with_ballista()
        .with_target_partitions(3)
        .with_extension(Arc::clone(&process.services))
}

/// Runs a plan; tasks get slices of `slice` partitions, the last ones first.
pub async fn run(process: &Process, plan: Arc<dyn ExecutionPlan>, slice: usize) -> Result<Run> {
    let plan = pyrite_rdd::prepare_cluster(plan)?;
    let partitions = plan.output_partitioning().partition_count();
    let job = JobId::new("job".to_owned());
    let config = config(process);
    let stages = DefaultDistributedPlanner::new()
        .plan_query_stages(&job, plan, config.options())
        .unwrap();
    let mut sizes = Vec::new();
    let mut locations = Locations::new();
    let work_dir = process.dir.path().join("shuffle");
    for stage in &stages {
        let writer: Arc<dyn ExecutionPlan> = stage.clone();
        let writer = remove_unresolved_shuffles(writer, &locations).unwrap();
        let inputs = writer.children()[0].output_partitioning().partition_count();
        sizes.push(inputs);
        let task = Task {
            job: &job,
            stage_id: stage.stage_id(),
            writer: &writer,
            work_dir: work_dir.to_str().unwrap(),
            config: &config,
        };
        let mut of_stage: HashMap<usize, Vec<PartitionLocation>> = HashMap::new();
        for p in 0..writer.output_partitioning().partition_count() {
            of_stage.insert(p, Vec::new());
        }
        let ids: Vec<usize> = (0..inputs).collect();
        for (task_id, ids) in ids.chunks(slice).rev().enumerate() {
            for location in task.run(task_id, ids).await? {
                let partition = location.partition_id.partition_id;
                of_stage.entry(partition).or_default().push(location);
            }
        }
        locations.insert(stage.stage_id(), of_stage);
    }
    let last = stages.last().unwrap();
    let batches = read(
        &locations[&last.stage_id()],
        last.schema(),
        partitions,
        &config,
        work_dir.to_str().unwrap(),
    )
    .await?;
    Ok(Run {
        batches,
        stages: sizes,
    })
}

struct Task<'a> {
    job: &'a JobId,
    stage_id: usize,
    writer: &'a Arc<dyn ExecutionPlan>,
    work_dir: &'a str,
    config: &'a SessionConfig,
}

impl Task<'_> {
    async fn run(&self, task_id: usize, ids: &[usize]) -> Result<Vec<PartitionLocation>> {
        let codec = Codec::default();
        let context = TaskContext::default().with_session_config(self.config.clone());
        let plan = restrict_plan_to_partitions(Arc::clone(self.writer), ids)?;
        let mut bytes = Vec::new();
        PhysicalPlanNode::try_from_physical_plan(plan, &codec)?.try_encode(&mut bytes)?;
        let plan =
            PhysicalPlanNode::try_decode(&bytes)?.try_into_physical_plan(&context, &codec)?;
        let stage = DefaultExecutionEngine::new().create_query_stage_exec(
            self.job.clone(),
            self.stage_id,
            task_id,
            compute_global_output_partition_ids(self.writer, ids),
            plan,
            self.work_dir,
            self.config,
        )?;
        let written = stage
            .execute_query_stage(task_id, Arc::new(context))
            .await?;
        Ok(written
            .into_iter()
            .map(|partition| self.location(task_id, partition))
            .collect())
    }

    fn location(&self, task_id: usize, written: ShuffleWritePartition) -> PartitionLocation {
        PartitionLocation {
            map_partition_id: task_id,
            partition_id: PartitionId {
                job_id: self.job.clone(),
                stage_id: self.stage_id,
                partition_id: written.partition_id as usize,
            },
            executor_meta: ExecutorMetadata {
                id: "1".into(),
                host: "localhost".into(),
                port: 0,
                grpc_port: 0,
                specification: Default::default(),
                os_info: Default::default(),
            },
            partition_stats: PartitionStats::new(
                Some(written.num_rows),
                Some(written.num_batches),
                Some(written.num_bytes),
            ),
            file_id: written.file_id,
            is_sort_shuffle: written.is_sort_shuffle,
        }
    }
}

/// Reads the result of the last stage, as a client would.
async fn read(
    locations: &HashMap<usize, Vec<PartitionLocation>>,
    schema: arrow::datatypes::SchemaRef,
    partitions: usize,
    config: &SessionConfig,
    work_dir: &str,
) -> Result<Vec<Vec<RecordBatch>>> {
    use ballista_core::execution_plans::ShuffleReaderExec;
    use futures::TryStreamExt;
    let beyond: Vec<_> = locations.keys().filter(|&&p| p >= partitions).collect();
    assert!(
        beyond.is_empty(),
        "the result has partitions beyond the plan's: {beyond:?}"
    );
    let lists = (0..partitions)
        .map(|p| locations.get(&p).cloned().unwrap_or_default())
        .collect();
    let reader = ShuffleReaderExec::try_new(
        0,
        lists,
        schema,
        Partitioning::UnknownPartitioning(partitions),
    )?
    .with_work_dir(work_dir.to_owned());
    let context = Arc::new(TaskContext::default().with_session_config(config.clone()));
    let mut result = Vec::new();
    for partition in 0..partitions {
        let stream = reader.execute(partition, Arc::clone(&context))?;
        result.push(stream.try_collect().await?);
    }
    Ok(result)
}
