//! Python functions over groups of rows.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{
    EquivalenceProperties, LexRequirement, OrderingRequirements, PhysicalSortRequirement,
};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties,
    Partitioning, PhysicalExpr, PlanProperties,
};
use pyrite_proto::error::SparkError;

use crate::arrow_io::{ArrowSettings, runner_conf};
use crate::attempts::AttemptNumber;
use crate::batches_io::{AggregateSink, GroupEncoder, StructSink};
use crate::errors::{external, internal};
use crate::eval_exec::merged_function;
use crate::services::{TaskServices, global_partition};
use crate::task::{PythonTask, run, run_unless_empty};
use crate::transfer::OutputSink;
use crate::udf::{EvalType, PythonUdfCall};

/// Calls a Python function once for each group of rows: `applyInPandas`, `applyInArrow` and
/// grouped aggregates.
///
/// The input must hold each group in one partition, its rows next to each other (the planner
/// puts a hash exchange and a sort by the keys below). Keys compare as Spark groups them:
/// null equals null.
///
/// - grouped map: the result has the function's columns (`schema`)
/// - grouped aggregate: the result has the key columns, then one column for each call
#[derive(Debug, Clone)]
pub struct PythonGroupMapExec {
    input: Arc<dyn ExecutionPlan>,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    calls: Vec<PythonUdfCall>,
    schema: SchemaRef,
    conf: BTreeMap<String, String>,
    job_id: i64,
    operator_id: i64,
    properties: Arc<PlanProperties>,
}

impl PythonGroupMapExec {
    /// Creates the operator. The arguments of a grouped map function are the columns of its
    /// data frame; those of an aggregate are its parameters.
    pub fn new(
        input: Arc<dyn ExecutionPlan>,
        keys: Vec<Arc<dyn PhysicalExpr>>,
        calls: Vec<PythonUdfCall>,
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
            keys,
            calls,
            schema,
            conf,
            job_id,
            operator_id,
            properties,
        }
    }

    /// The plan whose groups the function reads.
    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    /// Grouping keys.
    pub fn keys(&self) -> &[Arc<dyn PhysicalExpr>] {
        &self.keys
    }

    /// The calls: one, or several aggregates.
    pub fn calls(&self) -> &[PythonUdfCall] {
        &self.calls
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

impl DisplayAs for PythonGroupMapExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PythonGroupMapExec: keys=[")?;
        for (index, key) in self.keys.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{key}")?;
        }
        write!(f, "], functions=[")?;
        for (index, call) in self.calls.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{}", call.udf.name)?;
        }
        let kind = self
            .calls
            .first()
            .map_or("", |c| c.udf.eval_type.spark_name());
        write!(f, "], kind={kind}")
    }
}

impl ExecutionPlan for PythonGroupMapExec {
    fn name(&self) -> &'static str {
        "PythonGroupMapExec"
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

    fn required_input_distribution(&self) -> Vec<Distribution> {
        if self.keys.is_empty() {
            return vec![Distribution::SinglePartition];
        }
        vec![Distribution::KeyPartitioned(self.keys.clone())]
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let keys = self
            .keys
            .iter()
            .map(|key| PhysicalSortRequirement::new(Arc::clone(key), Some(SortOptions::default())));
        vec![LexRequirement::new(keys).map(OrderingRequirements::new)]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let mut recursion = TreeNodeRecursion::Continue;
        let args = self.calls.iter().flat_map(|call| &call.args);
        for expr in self.keys.iter().chain(args.map(|arg| &arg.expr)) {
            recursion = recursion.visit_sibling(|| f(expr))?;
        }
        Ok(recursion)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = crate::task::only_child(&mut children)?;
        Ok(Arc::new(Self::new(
            input,
            self.keys.clone(),
            self.calls.clone(),
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
        let Some(first) = self.calls.first() else {
            return Err(external(internal("a Python operator without calls")));
        };
        let eval_type = first.udf.eval_type;
        let services = TaskServices::of(&context)?;
        let settings = ArrowSettings::of(&self.conf);
        let input_schema = self.input.schema();
        let (mut encoder, body) =
            GroupEncoder::new(&self.keys, &self.calls, &input_schema, &settings)?;
        let schema = Arc::clone(&self.schema);
        let sink: Box<dyn OutputSink> = if eval_type.is_grouped_aggregate() {
            let keys = Arc::default();
            encoder = encoder.with_keys_for(Arc::clone(&keys), &input_schema)?;
            Box::new(AggregateSink::new(Arc::clone(&schema), keys))
        } else if is_grouped_map(eval_type) {
            Box::new(StructSink::new(Arc::clone(&schema)))
        } else {
            return Err(external(SparkError::not_supported(format!(
                "{} over groups",
                eval_type.spark_name()
            ))));
        };
        let task = PythonTask {
            job_id: self.job_id,
            operator_id: self.operator_id,
            partition: global_partition(&context, partition),
            task_number: None,
            attempt: AttemptNumber::of(&context),
            eval_type,
            function: merged_function(&self.calls),
            runner_conf: runner_conf(&self.conf),
            eval_conf: BTreeMap::new(),
            body,
        };
        let input = self.input.execute(partition, context)?;
        let encoder = Box::new(encoder);
        Ok(if self.keys.is_empty() {
            run(services, task, input, encoder, sink, schema)
        } else {
            run_unless_empty(services, task, input, encoder, sink, schema)
        })
    }
}

fn is_grouped_map(eval_type: EvalType) -> bool {
    matches!(
        eval_type,
        EvalType::GroupedMapPandas
            | EvalType::GroupedMapPandasIter
            | EvalType::GroupedMapArrow
            | EvalType::GroupedMapArrowIter
    )
}
