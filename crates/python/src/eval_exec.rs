//! Scalar Python functions in a query.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PhysicalExpr,
    PlanProperties,
};
use pyrite_proto::core::PythonFunction;
use pyrite_proto::error::SparkError;

use crate::arrow_io::{ArrowSettings, runner_conf};
use crate::attempts::AttemptNumber;
use crate::errors::external;
use crate::eval_io::{Arguments, ArrowArguments, PickledArguments, ResultSink};
use crate::services::{TaskServices, global_partition};
use crate::spark_types;
use crate::task::{PythonTask, run_unless_empty};
use crate::transfer::InputEncoder;
use crate::udf::{EvalType, PythonUdfCall};

/// Adds one column for each call of a scalar Python function, after the columns of its input.
///
/// All calls of one operator go to the worker in one task, so they share an evaluation type
/// (iterator functions stand alone, as in Spark's `ExtractPythonUDFs`).
#[derive(Debug, Clone)]
pub struct PythonEvalExec {
    input: Arc<dyn ExecutionPlan>,
    calls: Vec<PythonUdfCall>,
    conf: BTreeMap<String, String>,
    job_id: i64,
    operator_id: i64,
    properties: Arc<PlanProperties>,
}

impl PythonEvalExec {
    /// Creates the operator.
    ///
    /// `conf` holds the session's settings; those that Spark passes on to workers are used
    /// (`spark.sql.session.timeZone`, `spark.sql.execution.arrow.maxRecordsPerBatch`, ...).
    ///
    /// # Errors
    /// When the calls cannot share one task, or are not scalar.
    pub fn try_new(
        input: Arc<dyn ExecutionPlan>,
        calls: Vec<PythonUdfCall>,
        conf: BTreeMap<String, String>,
        job_id: i64,
        operator_id: i64,
    ) -> Result<Self> {
        check_calls(&calls)?;
        let schema = Self::output_schema(&input.schema(), &calls);
        let mut equivalences = EquivalenceProperties::new(schema);
        if let Some(ordering) = input.output_ordering() {
            equivalences.add_ordering(ordering.iter().cloned());
        }
        let properties = Arc::new(PlanProperties::new(
            equivalences,
            input.output_partitioning().clone(),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        Ok(Self {
            input,
            calls,
            conf,
            job_id,
            operator_id,
            properties,
        })
    }

    /// The columns of the operator over an input.
    pub fn output_schema(input: &Schema, calls: &[PythonUdfCall]) -> SchemaRef {
        let added = calls.iter().map(|call| {
            Arc::new(Field::new(
                &call.output_name,
                call.udf.return_type.clone(),
                true,
            ))
        });
        let fields: Vec<_> = input.fields().iter().cloned().chain(added).collect();
        Arc::new(Schema::new_with_metadata(fields, input.metadata().clone()))
    }

    /// The plan whose rows the functions see.
    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    /// The calls, in the order of their columns.
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

fn check_calls(calls: &[PythonUdfCall]) -> Result<()> {
    let Some(first) = calls.first() else {
        return Err(external(crate::internal("a Python operator without calls")));
    };
    let eval_type = first.udf.eval_type;
    if !eval_type.is_scalar() {
        return Err(external(SparkError::not_supported(format!(
            "{} as a scalar function",
            eval_type.spark_name()
        ))));
    }
    let mixed = calls.iter().any(|call| call.udf.eval_type != eval_type);
    if mixed || (calls.len() > 1 && !eval_type.can_share_task()) {
        return Err(external(crate::internal(
            "Python functions of different kinds in one operator",
        )));
    }
    Ok(())
}

impl DisplayAs for PythonEvalExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PythonEvalExec: calls=[")?;
        for (index, call) in self.calls.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{}(", call.udf.name)?;
            for (index, arg) in call.args.iter().enumerate() {
                let comma = if index == 0 { "" } else { ", " };
                write!(f, "{comma}{}", arg.expr)?;
            }
            write!(f, ") as {}", call.output_name)?;
        }
        let kind = self
            .calls
            .first()
            .map_or("", |c| c.udf.eval_type.spark_name());
        write!(f, "], kind={kind}")
    }
}

impl ExecutionPlan for PythonEvalExec {
    fn name(&self) -> &'static str {
        "PythonEvalExec"
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
        vec![true]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let mut recursion = TreeNodeRecursion::Continue;
        for arg in self.calls.iter().flat_map(|call| &call.args) {
            recursion = recursion.visit_sibling(|| f(&arg.expr))?;
        }
        Ok(recursion)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = crate::task::only_child(&mut children)?;
        Ok(Arc::new(Self::try_new(
            input,
            self.calls.clone(),
            self.conf.clone(),
            self.job_id,
            self.operator_id,
        )?))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let services = TaskServices::of(&context)?;
        let number = global_partition(&context, partition);
        let settings = ArrowSettings::of(&self.conf);
        let (arguments, body) = Arguments::collect(&self.calls, &self.input.schema(), &settings)?;
        let first = &self.calls[0].udf;
        let mut eval_conf = BTreeMap::new();
        if first.eval_type == EvalType::ArrowBatched {
            let row = spark_types::row_json(arguments.types()).map_err(external)?;
            eval_conf.insert("input_type".to_owned(), row);
        }
        let task = PythonTask {
            job_id: self.job_id,
            operator_id: self.operator_id,
            partition: number,
            task_number: None,
            attempt: AttemptNumber::of(&context),
            eval_type: first.eval_type,
            function: merged_function(&self.calls),
            runner_conf: runner_conf(&self.conf),
            eval_conf,
            body,
        };
        let pending = Arc::default();
        let types = self
            .calls
            .iter()
            .map(|call| call.udf.return_type.clone())
            .collect();
        let sink = ResultSink::new(self.schema(), types, Arc::clone(&pending));
        let encoder: Box<dyn InputEncoder> = if first.eval_type == EvalType::Batched {
            Box::new(PickledArguments::new(arguments, pending)?)
        } else {
            Box::new(ArrowArguments::new(arguments, &settings, pending)?)
        };
        let input = self.input.execute(partition, context)?;
        let sink = Box::new(sink);
        Ok(run_unless_empty(
            services,
            task,
            input,
            encoder,
            sink,
            self.schema(),
        ))
    }
}

/// What one worker needs for all calls: the first function's interpreter and environment,
/// everybody's files and broadcasts.
pub(crate) fn merged_function(calls: &[PythonUdfCall]) -> PythonFunction {
    let mut functions = calls.iter().map(|call| &call.udf.function);
    let mut merged = functions.next().cloned().unwrap_or_default();
    for function in functions {
        for id in &function.broadcast_ids {
            if !merged.broadcast_ids.contains(id) {
                merged.broadcast_ids.push(*id);
            }
        }
        for include in &function.python_includes {
            if !merged.python_includes.contains(include) {
                merged.python_includes.push(include.clone());
            }
        }
        for file in &function.files {
            if !merged.files.contains(file) {
                merged.files.push(file.clone());
            }
        }
    }
    merged
}
