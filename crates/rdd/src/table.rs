//! An RDD of Arrow streams as a table (`createDataFrame(rdd, schema)`).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    ReplaceChildrenOptions,
};
use pyrite_proto::core;

use crate::errors::internal;
use crate::operators::{DecodeArrowFramesExec, common_methods, unknown_partitions};
use crate::planner::{DataFramePlans, RddPlanner};

/// The job that a session plans for: a `SessionConfig` extension that [`RddTable`] reads when
/// it is scanned. Without it a scan gets a number of its own, below zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobId(pub i64);

/// A table of the rows of an RDD whose frames are Arrow IPC streams.
pub struct RddTable {
    graph: core::RddGraph,
    schema: SchemaRef,
    frames_of: Arc<dyn DataFramePlans>,
}

impl RddTable {
    /// Makes a table of the root of `graph`; every frame must hold `schema`.
    pub fn new(
        graph: core::RddGraph,
        schema: SchemaRef,
        frames_of: Arc<dyn DataFramePlans>,
    ) -> Self {
        Self {
            graph,
            schema,
            frames_of,
        }
    }
}

impl fmt::Debug for RddTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RddTable")
            .field("rdd_id", &self.graph.root_id)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for RddTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        static NEXT_JOB_ID: AtomicI64 = AtomicI64::new(-1);
        let job_id = match state.config().get_extension::<JobId>() {
            Some(job) => job.0,
            None => NEXT_JOB_ID.fetch_sub(1, Ordering::Relaxed),
        };
        let planner = RddPlanner::new(&self.graph, job_id, self.frames_of.as_ref());
        let frames = planner.plan().await?;
        let schema = Arc::clone(&self.schema);
        if frames.output_partitioning().partition_count() == 0 {
            // The engine's operators want at least one partition.
            let schema = match projection {
                Some(columns) => Arc::new(schema.project(columns)?),
                None => schema,
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let rows = DecodeArrowFramesExec::try_new(frames, schema, projection.cloned())?;
        Ok(Arc::new(RddScanExec::new(Arc::new(rows))))
    }
}

/// Hides the plan of an RDD from DataFusion's optimiser, which would take its exchanges for
/// the engine's own and drop them. A runtime puts the plan back
/// ([`prepare_local`](crate::prepare_local), [`prepare_cluster`](crate::prepare_cluster)).
#[derive(Debug)]
pub struct RddScanExec {
    plan: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl RddScanExec {
    /// Hides `plan`.
    pub fn new(plan: Arc<dyn ExecutionPlan>) -> Self {
        let count = plan.output_partitioning().partition_count();
        let properties = unknown_partitions(plan.schema(), count);
        Self { plan, properties }
    }

    /// The hidden plan.
    pub fn expanded(&self) -> Arc<dyn ExecutionPlan> {
        Arc::clone(&self.plan)
    }
}

impl DisplayAs for RddScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let partitions = self.plan.output_partitioning().partition_count();
        write!(f, "RddScanExec: partitions={partitions}")
    }
}

impl ExecutionPlan for RddScanExec {
    common_methods!("RddScanExec");

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() {
            return Ok(self);
        }
        Err(internal("RddScanExec is a leaf"))
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        Err(internal(
            "a plan with RddScanExec was not prepared for its runtime",
        ))
    }
}
