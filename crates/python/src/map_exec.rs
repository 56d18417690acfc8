//! A Python function over the frames of each partition of an RDD.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning,
    PhysicalExpr, PlanProperties,
};
use pyrite_proto::core::PythonFunction;

use crate::attempts::AttemptNumber;
use crate::frames::frame_schema;
use crate::services::{TaskNumber, TaskServices, global_partition};
use crate::task::{PythonTask, run};
use crate::transfer::{FrameEncoder, FrameSink};

/// Streams the frames of partition p through one Python worker, as Spark's `PythonRDD` does.
///
/// Partitions map one to one and keep their order. The worker may answer before it has read
/// all input, and may stop reading early (`take`).
#[derive(Debug, Clone)]
pub struct PythonMapExec {
    input: Arc<dyn ExecutionPlan>,
    function: PythonFunction,
    job_id: i64,
    operator_id: i64,
    properties: Arc<PlanProperties>,
}

impl PythonMapExec {
    /// Creates the operator over a plan of frames.
    pub fn new(
        input: Arc<dyn ExecutionPlan>,
        function: PythonFunction,
        job_id: i64,
        operator_id: i64,
    ) -> Self {
        let partitions = input.output_partitioning().partition_count();
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(frame_schema()),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        Self {
            input,
            function,
            job_id,
            operator_id,
            properties,
        }
    }

    /// The plan whose frames the function reads.
    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    /// The function.
    pub fn function(&self) -> &PythonFunction {
        &self.function
    }

    /// The job that the operator belongs to.
    pub fn job_id(&self) -> i64 {
        self.job_id
    }

    /// The operator's number within its job.
    pub fn operator_id(&self) -> i64 {
        self.operator_id
    }
}

impl DisplayAs for PythonMapExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PythonMapExec: operator={}", self.operator_id)
    }
}

impl ExecutionPlan for PythonMapExec {
    fn name(&self) -> &'static str {
        "PythonMapExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
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
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = crate::task::only_child(&mut children)?;
        Ok(Arc::new(Self::new(
            input,
            self.function.clone(),
            self.job_id,
            self.operator_id,
        )))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let services = TaskServices::of(&context)?;
        let number = global_partition(&context, partition);
        let task = PythonTask {
            task_number: TaskNumber::of(&context).0,
            attempt: AttemptNumber::of(&context),
            ..PythonTask::over_frames(&self.function, self.job_id, self.operator_id, number)
        };
        let input = self.input.execute(partition, context)?;
        Ok(run(
            services,
            task,
            input,
            Box::new(FrameEncoder),
            Box::new(FrameSink::default()),
            frame_schema(),
        ))
    }
}
