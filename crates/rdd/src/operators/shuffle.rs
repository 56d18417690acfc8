//! The two ends of an exchange by exact partition number.
//!
//! A frame names the partition that it must go to. The engine only exchanges by hash, so
//! [`ShuffleKeyExec`] gives the frame a key that the engine's hash sends exactly there
//! ([`shuffle_keys`](crate::shuffle_keys)), `RepartitionExec` exchanges, which is where
//! Ballista cuts a stage, and [`ShuffleFramesExec`] drops the key.
//!
//! Order after the exchange: frames of one map partition keep their order where the engine
//! keeps it; between map partitions there is none, as in Spark.

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, Int64Array, LargeBinaryArray, LargeBinaryBuilder, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning,
    PlanProperties, ReplaceChildrenOptions,
};
use futures::TryStreamExt;
use pyrite_proto::error::SparkError;
use pyrite_python::frames::{frame_column, frame_schema};

use super::{take_children, unknown_partitions};
use crate::errors::external;
use crate::shuffle_keys;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, false),
        Field::new("frame", DataType::LargeBinary, false),
    ]))
});

/// What is exchanged: `key` (Int64), chosen so that its hash names the partition, and `frame`.
pub fn shuffle_schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// Plans an exchange of frames that start with their target partition; it makes RDD `rdd_id`.
pub(crate) fn shuffle_exchange(
    input: Arc<dyn ExecutionPlan>,
    count: usize,
    rdd_id: i64,
) -> Result<Arc<dyn ExecutionPlan>> {
    let keyed = Arc::new(ShuffleKeyExec::new(input, count, rdd_id));
    let key = Arc::new(Column::new("key", 0));
    let exchanged = RepartitionExec::try_new(keyed, Partitioning::Hash(vec![key], count))?;
    Ok(Arc::new(ShuffleFramesExec::new(Arc::new(exchanged))))
}

/// Takes the target partition off each frame and puts the key beside it that leads there.
#[derive(Debug)]
pub struct ShuffleKeyExec {
    input: Arc<dyn ExecutionPlan>,
    num_partitions: usize,
    rdd_id: i64,
    properties: Arc<PlanProperties>,
}

impl ShuffleKeyExec {
    /// Prepares frames for an exchange into the `num_partitions` partitions of RDD `rdd_id`.
    pub fn new(input: Arc<dyn ExecutionPlan>, num_partitions: usize, rdd_id: i64) -> Self {
        let count = input.output_partitioning().partition_count();
        Self {
            input,
            num_partitions,
            rdd_id,
            properties: unknown_partitions(shuffle_schema(), count),
        }
    }

    /// Partitions after the exchange.
    pub fn num_partitions(&self) -> usize {
        self.num_partitions
    }

    /// The RDD that the exchange makes.
    pub fn rdd_id(&self) -> i64 {
        self.rdd_id
    }

    /// The plan whose frames are exchanged.
    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }
}

impl DisplayAs for ShuffleKeyExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShuffleKeyExec: num_partitions={}", self.num_partitions)
    }
}

impl ExecutionPlan for ShuffleKeyExec {
    common_methods!("ShuffleKeyExec");

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
        let keys = shuffle_keys(self.num_partitions)?;
        let frames = self.input.execute(partition, context)?;
        let keyed = frames.and_then(move |batch| std::future::ready(with_keys(&batch, &keys)));
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            shuffle_schema(),
            keyed,
        )))
    }
}

fn with_keys(batch: &RecordBatch, keys: &[i64]) -> Result<RecordBatch> {
    let frames = frame_column(batch)?;
    let mut key = Vec::with_capacity(frames.len());
    let payload = frames.value_offsets()[frames.len()] - frames.value_offsets()[0];
    let mut rest = LargeBinaryBuilder::with_capacity(
        frames.len(),
        usize::try_from(payload).unwrap_or_default(),
    );
    for index in 0..frames.len() {
        let (target, frame) = split_target(frames.value(index), keys.len())?;
        key.push(keys[target]);
        rest.append_value(frame);
    }
    let rest: LargeBinaryArray = rest.finish();
    Ok(RecordBatch::try_new(
        shuffle_schema(),
        vec![Arc::new(Int64Array::from(key)), Arc::new(rest)],
    )?)
}

/// Splits a frame into the partition that it must go to and what is delivered there.
///
/// # Errors
/// When there is no such partition: the partition function of the user gave a wrong number.
pub(super) fn split_target(frame: &[u8], num_partitions: usize) -> Result<(usize, &[u8])> {
    let (head, rest) = frame.split_first_chunk::<4>().ok_or_else(|| {
        external(SparkError::other(
            "a shuffled frame without a partition number",
        ))
    })?;
    let target = u32::from_be_bytes(*head) as usize;
    if target >= num_partitions {
        return Err(external(SparkError::other(format!(
            "there is no partition {target} in a shuffle into {num_partitions} partitions"
        ))));
    }
    Ok((target, rest))
}

/// Drops the keys after an exchange.
#[derive(Debug)]
pub struct ShuffleFramesExec {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl ShuffleFramesExec {
    /// Reads the frames of an exchange.
    pub fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        let count = input.output_partitioning().partition_count();
        Self {
            input,
            properties: unknown_partitions(frame_schema(), count),
        }
    }

    /// The exchange.
    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }
}

impl DisplayAs for ShuffleFramesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShuffleFramesExec")
    }
}

impl ExecutionPlan for ShuffleFramesExec {
    common_methods!("ShuffleFramesExec");

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = take_children(self.name(), children)?;
        Ok(Arc::new(Self::new(input)))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let keyed = self.input.execute(partition, context)?;
        let frames = keyed.and_then(|batch| {
            let frames = Arc::clone(batch.column(1));
            std::future::ready(
                RecordBatch::try_new(frame_schema(), vec![frames]).map_err(Into::into),
            )
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            frame_schema(),
            frames,
        )))
    }
}
