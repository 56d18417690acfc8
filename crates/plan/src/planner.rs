//! Our logical nodes to operators.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::datatypes::{Field, Schema};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Result;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use pyrite_python::{
    PythonArg, PythonEvalExec, PythonGroupMapExec, PythonMapBatchesExec, PythonUdfCall,
};

use crate::cache::PlannedJob;
use crate::nodes::{LocalSort, PythonAggregate, PythonCall, PythonEval, PythonTable};

/// What planning depends on besides the plan and the job.
#[derive(Clone)]
pub(crate) struct Planning {
    pub state: SessionState,
    pub conf: BTreeMap<String, String>,
}

impl Planning {
    /// Optimises and plans a logical plan for a job. Its Python operators are numbered from
    /// `first_operator`.
    pub async fn physical(
        &self,
        plan: &LogicalPlan,
        job_id: i64,
        first_operator: i64,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = JobPlanner {
            job_id,
            first_operator,
            conf: self.conf.clone(),
        };
        let mut builder = SessionStateBuilder::new_from_existing(self.state.clone())
            .with_query_planner(Arc::new(planner));
        if let Some(config) = builder.config() {
            let mut planning = config.clone().with_extension(Arc::new(PlannedJob(job_id)));
            if let Some(partitions) = self.conf.get("spark.sql.shuffle.partitions")
                && let Ok(partitions) = partitions.parse::<usize>()
                && partitions > 0
            {
                planning = planning.with_target_partitions(partitions);
            }
            *config = planning;
        }
        let state = builder.build();
        let optimized = state.optimize(plan)?;
        state
            .query_planner()
            .create_physical_plan(&optimized, &state)
            .await
    }
}

/// Plans one job.
#[derive(Debug)]
struct JobPlanner {
    job_id: i64,
    first_operator: i64,
    conf: BTreeMap<String, String>,
}

#[async_trait]
impl QueryPlanner for JobPlanner {
    async fn create_physical_plan(
        &self,
        logical_plan: &LogicalPlan,
        session_state: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let nodes = NodePlanner {
            job_id: self.job_id,
            conf: self.conf.clone(),
            next_operator: AtomicI64::new(self.first_operator),
        };
        DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(nodes)])
            .create_physical_plan(logical_plan, session_state)
            .await
    }
}

struct NodePlanner {
    job_id: i64,
    conf: BTreeMap<String, String>,
    next_operator: AtomicI64,
}

#[async_trait]
impl ExtensionPlanner for NodePlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session_state: &dyn Session,
        planning_context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let (Some(logical), Some(input)) = (logical_inputs.first(), physical_inputs.first()) else {
            return Ok(None);
        };
        if let Some(eval) = node.as_any().downcast_ref::<PythonEval>() {
            let calls = eval
                .calls
                .iter()
                .map(|call| python_call(call, planner, logical, session_state, planning_context))
                .collect::<Result<Vec<_>>>()?;
            let operator_id = self.next_operator.fetch_add(1, Ordering::Relaxed);
            let exec = PythonEvalExec::try_new(
                Arc::clone(input),
                calls,
                self.conf.clone(),
                self.job_id,
                operator_id,
            )?;
            return Ok(Some(Arc::new(exec)));
        }
        if let Some(aggregate) = node.as_any().downcast_ref::<PythonAggregate>() {
            let calls = aggregate
                .calls
                .iter()
                .map(|call| python_call(call, planner, logical, session_state, planning_context))
                .collect::<Result<Vec<_>>>()?;
            let keys = aggregate
                .keys
                .iter()
                .map(|key| {
                    planner.create_physical_expr(
                        key,
                        logical.schema(),
                        session_state,
                        planning_context,
                    )
                })
                .collect::<Result<Vec<_>>>()?;
            let exec = PythonGroupMapExec::new(
                Arc::clone(input),
                keys,
                calls,
                Arc::clone(aggregate.schema.inner()),
                self.conf.clone(),
                self.job_id,
                self.next_operator.fetch_add(1, Ordering::Relaxed),
            );
            return Ok(Some(Arc::new(exec)));
        }
        if let Some(table) = node.as_any().downcast_ref::<PythonTable>() {
            let plan = |expr: &Expr| {
                planner.create_physical_expr(
                    expr,
                    logical.schema(),
                    session_state,
                    planning_context,
                )
            };
            let operator_id = self.next_operator.fetch_add(1, Ordering::Relaxed);
            return self.python_table(table, input, plan, operator_id).map(Some);
        }
        if let Some(sort) = node.as_any().downcast_ref::<LocalSort>() {
            let keys = sort
                .keys
                .iter()
                .map(|key| {
                    let expr = planner.create_physical_expr(
                        &key.expr,
                        logical.schema(),
                        session_state,
                        planning_context,
                    )?;
                    let options = arrow::compute::SortOptions {
                        descending: !key.asc,
                        nulls_first: key.nulls_first,
                    };
                    Ok(PhysicalSortExpr::new(expr, options))
                })
                .collect::<Result<Vec<_>>>()?;
            let Some(ordering) = LexOrdering::new(keys) else {
                return Ok(Some(Arc::clone(input)));
            };
            let exec = SortExec::new(ordering, Arc::clone(input)).with_preserve_partitioning(true);
            return Ok(Some(Arc::new(exec)));
        }
        Ok(None)
    }
}

impl NodePlanner {
    /// Columns under users' names go in, and internal names are put on what comes out.
    fn python_table(
        &self,
        table: &PythonTable,
        input: &Arc<dyn ExecutionPlan>,
        plan: impl Fn(&Expr) -> Result<Arc<dyn PhysicalExpr>>,
        operator_id: i64,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut exprs = vec![];
        for (expr, name) in &table.columns {
            exprs.push((plan(expr)?, name.clone()));
        }
        let keys = table.keys.as_deref().unwrap_or_default();
        for (index, key) in keys.iter().enumerate() {
            exprs.push((plan(key)?, format!("key {index}")));
        }
        let named = Arc::new(ProjectionExec::try_new(exprs, Arc::clone(input))?);
        let fields: Vec<Field> = table
            .result
            .iter()
            .map(|(name, t)| Field::new(name, t.clone(), true))
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let column = |index: usize| -> Arc<dyn PhysicalExpr> {
            Arc::new(Column::new(named.schema().field(index).name(), index))
        };
        let made: Arc<dyn ExecutionPlan> = if table.keys.is_some() {
            let count = table.columns.len();
            let call = PythonUdfCall {
                udf: table.udf.as_ref().clone(),
                args: (0..count)
                    .map(|i| PythonArg::positional(column(i)))
                    .collect(),
                output_name: table.udf.name.clone(),
            };
            let keys = (count..count + keys.len()).map(column).collect();
            Arc::new(PythonGroupMapExec::new(
                named.clone(),
                keys,
                vec![call],
                schema,
                self.conf.clone(),
                self.job_id,
                operator_id,
            ))
        } else {
            Arc::new(PythonMapBatchesExec::new(
                named.clone(),
                table.udf.as_ref().clone(),
                schema,
                self.conf.clone(),
                self.job_id,
                operator_id,
            ))
        };
        let users = made.schema();
        let renamed = users
            .fields()
            .iter()
            .zip(table.schema.fields())
            .enumerate()
            .map(|(index, (user, internal))| {
                let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(user.name(), index));
                (column, internal.name().clone())
            });
        let renamed: Vec<_> = renamed.collect();
        Ok(Arc::new(ProjectionExec::try_new(renamed, made)?))
    }
}

fn python_call(
    call: &PythonCall,
    planner: &dyn PhysicalPlanner,
    input: &LogicalPlan,
    session_state: &dyn Session,
    planning_context: &PhysicalPlanningContext,
) -> Result<PythonUdfCall> {
    let args = call
        .args
        .iter()
        .zip(&call.arg_names)
        .map(|(arg, name)| {
            let expr = planner.create_physical_expr(
                arg,
                input.schema(),
                session_state,
                planning_context,
            )?;
            Ok(PythonArg {
                expr,
                name: name.clone(),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(PythonUdfCall {
        udf: call.udf.as_ref().clone(),
        args,
        output_name: call.output.clone(),
    })
}
