//! `mapInPandas` and `mapInArrow`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning,
    PhysicalExpr, PlanProperties,
};

use crate::arrow_io::{ArrowSettings, runner_conf};
use crate::attempts::AttemptNumber;
use crate::batches_io::{StructEncoder, StructSink, struct_function};
use crate::services::{TaskServices, global_partition};
use crate::task::{PythonTask, run};
use crate::udf::PythonUdf;

/// Streams the batches of each partition through a Python iterator function.
///
/// The result has the function's schema and any number of rows.
#[derive(Debug, Clone)]
pub struct PythonMapBatchesExec {
    input: Arc<dyn ExecutionPlan>,
    udf: PythonUdf,
    schema: SchemaRef,
    conf: BTreeMap<String, String>,
    job_id: i64,
    operator_id: i64,
    properties: Arc<PlanProperties>,
}

impl PythonMapBatchesExec {
    /// Creates the operator; `schema` is that of the function's result.
    pub fn new(
        input: Arc<dyn ExecutionPlan>,
        udf: PythonUdf,
        schema: SchemaRef,
        conf: BTreeMap<String, String>,
        job_id: i64,
        operator_id: i64,
    ) -> Self {
        let partitions = input.output_partitioning().partition_count();
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        Self {
            input,
            udf,
            schema,
            conf,
            job_id,
            operator_id,
            properties,
        }
    }

    /// The plan whose batches the function reads.
    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    /// The function.
    pub fn udf(&self) -> &PythonUdf {
        &self.udf
    }

    /// Settings of the session.
    pub fn conf(&self) -> &BTreeMap<String, String> {
        &self.conf
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

impl DisplayAs for PythonMapBatchesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "PythonMapBatchesExec: function={}, kind={}",
            self.udf.name,
            self.udf.eval_type.spark_name()
        )
    }
}

impl ExecutionPlan for PythonMapBatchesExec {
    fn name(&self) -> &'static str {
        "PythonMapBatchesExec"
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
            self.udf.clone(),
            Arc::clone(&self.schema),
            self.conf.clone(),
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
        let task = PythonTask {
            job_id: self.job_id,
            operator_id: self.operator_id,
            partition: global_partition(&context, partition),
            task_number: None,
            attempt: AttemptNumber::of(&context),
            eval_type: self.udf.eval_type,
            function: self.udf.function.clone(),
            runner_conf: runner_conf(&self.conf),
            eval_conf: BTreeMap::new(),
            body: struct_function(&self.udf.function.command),
        };
        let settings = ArrowSettings::of(&self.conf);
        let encoder = StructEncoder::new(&self.input.schema(), &settings)?;
        let sink = StructSink::new(Arc::clone(&self.schema));
        let input = self.input.execute(partition, context)?;
        let schema = Arc::clone(&self.schema);
        Ok(run(
            services,
            task,
            input,
            Box::new(encoder),
            Box::new(sink),
            schema,
        ))
    }
}
