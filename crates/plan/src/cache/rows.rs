//! The rows of one cached plan, as a table.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, Result, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::physical_plan::expressions::Column;
use datafusion::physical_plan::projection::ProjectionExec;
use pyrite_proto::connect::StorageLevel;

use super::RowKeeper;
use crate::analyzer::unique_name;
use crate::planner::Planning;

/// Python operators of a cached plan are numbered from this times the plan's number: their
/// reports must not be taken for those of the query around it.
const OPERATORS_OF_ONE_PLAN: i64 = 1 << 20;

/// The job that a session plans for: an extension of the configuration it plans with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlannedJob(pub i64);

/// The rows of a cached plan. They are planned in the same way for every query that reads them,
/// whatever has become of the session's settings, so that partitions are always the same.
pub(super) struct CachedRows {
    number: i64,
    level: StorageLevel,
    /// Yields columns `c0`, `c1` and so on.
    plan: LogicalPlan,
    schema: SchemaRef,
    planning: Planning,
    keeper: Arc<dyn RowKeeper>,
    given_up: AtomicBool,
}

impl CachedRows {
    /// Rows of a plan; the number is nobody else's.
    pub fn try_new(
        number: i64,
        plan: &LogicalPlan,
        level: StorageLevel,
        planning: Planning,
        keeper: Arc<dyn RowKeeper>,
    ) -> Result<Self> {
        let columns = plan.schema().columns().into_iter().enumerate();
        let columns = columns.map(|(i, column)| Expr::Column(column).alias(format!("c{i}")));
        let plan = LogicalPlanBuilder::from(plan.clone())
            .project(columns)?
            .build()?;
        let schema: Schema = plan.schema().as_arrow().clone();
        Ok(Self {
            number,
            level,
            plan,
            schema: Arc::new(schema),
            planning,
            keeper,
            given_up: AtomicBool::new(false),
        })
    }

    pub fn number(&self) -> i64 {
        self.number
    }

    /// From now on the rows are computed for every query that still reads them.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    /// A plan that reads the rows, with the columns of `schema`.
    pub fn scan(self: &Arc<Self>, schema: &DFSchema) -> Result<LogicalPlan> {
        let content = format!("cached{}", self.number);
        let reference = TableReference::partial(content, unique_name("rows"));
        let table = CachedTable(Arc::clone(self));
        let source = provider_as_source(Arc::new(table));
        let columns = schema.iter().enumerate().map(|(i, (qualifier, field))| {
            let column = datafusion::common::Column::new(Some(reference.clone()), format!("c{i}"));
            Expr::Column(column).alias_qualified(qualifier.cloned(), field.name())
        });
        let columns: Vec<Expr> = columns.collect();
        LogicalPlanBuilder::scan(reference.clone(), source, None)?
            .project(columns)?
            .build()
    }

    async fn physical(&self, job_id: i64) -> Result<Arc<dyn ExecutionPlan>> {
        let first_operator = self.number * OPERATORS_OF_ONE_PLAN;
        let planned = self.planning.physical(&self.plan, job_id, first_operator);
        let rows = Box::pin(planned).await?;
        if self.given_up.load(Ordering::Relaxed) {
            self.keeper.unkept(rows)
        } else {
            self.keeper.keep(self.number, &self.level, rows)
        }
    }
}

impl fmt::Debug for CachedRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedRows")
            .field("number", &self.number)
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct CachedTable(Arc<CachedRows>);

#[async_trait]
impl TableProvider for CachedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0.schema)
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
        let job = state.config().get_extension::<PlannedJob>();
        let rows = self.0.physical(job.map_or(0, |job| job.0)).await?;
        let Some(columns) = projection else {
            return Ok(rows);
        };
        let schema = rows.schema();
        let columns = columns.iter().map(|&index| {
            let name = schema.field(index).name();
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(name, index));
            (column, name.clone())
        });
        let columns: Vec<_> = columns.collect();
        Ok(Arc::new(ProjectionExec::try_new(columns, rows)?))
    }
}
