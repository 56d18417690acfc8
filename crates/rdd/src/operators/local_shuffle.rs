//! The exchange of a process that runs a whole job by itself.

use std::fmt;
use std::sync::{Arc, OnceLock};

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::{StreamExt, TryStreamExt, stream};
use pyrite_python::frames::{frame_column, frame_schema};
use pyrite_python::{LocalAttempts, TaskNumber, TaskServices};
use tokio::task::JoinSet;

use super::shuffle::split_target;
use super::shuffle_outputs::{MapOutputs, OutputCell, memory_budget, output_of};
use super::spool::{Spool, SpoolWriter};
use super::{take_children, unknown_partitions};
use crate::errors::internal;
use crate::partition_table;

/// Exchanges frames by exact partition number, as a stage of its own.
///
/// The first partition that is asked for runs all partitions of the input, as many at a time
/// as the session has target partitions, and keeps their frames by target; every partition
/// can then be read as often as needed, in the order of the input's partitions, by later jobs
/// too. DataFusion's
/// `RepartitionExec` would start all of them at once (each may hold a Python worker), and
/// would let each partition be read only once.
#[derive(Debug)]
pub struct LocalShuffleExec {
    input: Arc<dyn ExecutionPlan>,
    num_partitions: usize,
    /// The RDD that the exchange makes, by which later jobs find the map side's output.
    rdd_id: i64,
    /// That output, once a partition has been asked for.
    output: OnceLock<OutputCell>,
    properties: Arc<PlanProperties>,
}

impl LocalShuffleExec {
    /// Exchanges the frames of `input` into the `num_partitions` partitions of RDD `rdd_id`.
    pub fn new(input: Arc<dyn ExecutionPlan>, num_partitions: usize, rdd_id: i64) -> Self {
        Self {
            input,
            num_partitions,
            rdd_id,
            output: OnceLock::new(),
            properties: unknown_partitions(frame_schema(), num_partitions),
        }
    }
}

impl LocalShuffleExec {
    /// Runs the map side unless it has run.
    ///
    /// # Errors
    /// What the input reports.
    pub(crate) async fn run_map_side(&self, context: &TaskContext) -> Result<()> {
        self.output(context)?.await.map(drop)
    }

    /// The map side's output, computed by the first future that is awaited.
    fn output(
        &self,
        context: &TaskContext,
    ) -> Result<impl Future<Output = Result<Arc<Vec<Spool>>>> + Send + use<>> {
        let services = TaskServices::of(context)?;
        let output = self
            .output
            .get_or_init(|| output_of(&services, self.rdd_id));
        let output = Arc::clone(output);
        let input = Arc::clone(&self.input);
        let targets = self.num_partitions;
        // The tasks of the map side are their own, whichever task waits for them.
        let context = partition_table::renumbered(context, Vec::new(), TaskNumber(None));
        Ok(async move {
            let output = output.get_or_init(|| run_map_side(input, targets, context));
            match output.await {
                Ok(spools) => Ok(Arc::clone(spools)),
                Err(error) => Err(DataFusionError::Shared(Arc::clone(error))),
            }
        })
    }
}

impl DisplayAs for LocalShuffleExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "LocalShuffleExec: num_partitions={}",
            self.num_partitions
        )
    }
}

impl ExecutionPlan for LocalShuffleExec {
    common_methods!("LocalShuffleExec");

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = take_children(self.name(), children)?;
        Ok(Arc::new(Self::new(input, self.num_partitions, self.rdd_id)))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let output = self.output(&context)?;
        let batches = stream::once(async move {
            let spools = output.await?;
            Ok::<_, DataFusionError>(read_target(spools, partition))
        })
        .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            frame_schema(),
            batches,
        )))
    }
}

/// One target's frames of all spools, in order.
fn read_target(
    spools: Arc<Vec<Spool>>,
    target: usize,
) -> impl futures::Stream<Item = Result<arrow::array::RecordBatch>> + Send {
    stream::iter(0..spools.len()).flat_map(move |index| spools[index].read(target))
}

async fn run_map_side(
    input: Arc<dyn ExecutionPlan>,
    targets: usize,
    context: Arc<TaskContext>,
) -> MapOutputs {
    run_map_tasks(input, targets, context)
        .await
        .map(Arc::new)
        .map_err(Arc::new)
}

async fn run_map_tasks(
    input: Arc<dyn ExecutionPlan>,
    targets: usize,
    context: Arc<TaskContext>,
) -> Result<Vec<Spool>> {
    let dir = TaskServices::of(&context)?.local_dir.clone();
    let budget = memory_budget();
    let count = input.output_partitioning().partition_count();
    let at_once = context.session_config().target_partitions().max(1);
    let mut spools: Vec<Option<Spool>> = (0..count).map(|_| None).collect();
    let mut waiting = 0..count;
    let attempts = LocalAttempts::of(&context);
    let mut running = JoinSet::new();
    loop {
        while running.len() < at_once {
            let Some(partition) = waiting.next() else {
                break;
            };
            let (input, context) = (Arc::clone(&input), Arc::clone(&context));
            let (budget, dir) = (Arc::clone(&budget), dir.clone());
            running.spawn(async move {
                let task = |context| {
                    let writer = SpoolWriter::new(targets, Arc::clone(&budget), &dir);
                    let frames = input.execute(partition, context);
                    async move { run_map_task(frames?, targets, writer).await }
                };
                (partition, attempts.run(partition, &context, task).await)
            });
        }
        match running.join_next().await {
            Some(Ok((partition, spool))) => spools[partition] = Some(spool?),
            Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Some(Err(error)) => return Err(internal(format!("a map task ended: {error}"))),
            None => break,
        }
    }
    Ok(spools.into_iter().flatten().collect())
}

async fn run_map_task(
    mut frames: SendableRecordBatchStream,
    targets: usize,
    mut writer: SpoolWriter,
) -> Result<Spool> {
    while let Some(batch) = frames.next().await {
        for frame in frame_column(&batch?)?.iter().flatten() {
            let (target, frame) = split_target(frame, targets)?;
            writer.push(target, frame)?;
        }
    }
    Ok(writer.finish())
}
