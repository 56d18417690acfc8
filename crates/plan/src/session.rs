//! The door: one [`PlanSession`] per user session.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::Utc;
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_expr::expressions::{Column, cast, lit};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr, collect};
use datafusion::prelude::SessionContext;
use parking_lot::RwLock;
use prost::Message;
use pyrite_functions::relabel::same_layout;
use pyrite_proto::connect;
use pyrite_proto::core::PythonFunction;
use pyrite_proto::error::SparkError;

use crate::analyzer::Analyzer;
use crate::cache::{Checkpoint, PlanCache, Remembered};
use crate::catalog::Catalog;
use crate::errors::{Result, from_datafusion};
use crate::leaves::{self, Leaf, LoadedLeaf};
use crate::planner::Planning;
use crate::resolved::ResolvedPlan;
use crate::shared::SharedState;

/// A setting that only carries an answer from a change of the catalog to its question.
pub(crate) const DROPPED: &str = "pyrite.internal.dropped";

/// Spark's `spark.sql.pivotMaxValues`.
const MAX_PIVOT_VALUES: usize = 10_000;

/// How many leaves one plan may have; a plan that asks for more asks in circles.
const MAX_LEAVES: usize = 10_000;

/// What the driver knows and analysis asks for.
#[async_trait]
pub trait RelationExtensions: Send + Sync {
    /// The rows of a relation extension (`Relation.extension`), such as those of an RDD.
    async fn table(&self, any: &prost_types::Any) -> Result<Arc<dyn TableProvider>>;

    /// A cached artifact by its hash: the bytes the client uploaded as `cache/<hash>`. Large
    /// local relations arrive in this way.
    async fn cached_artifact(&self, hash: &str) -> Result<Bytes> {
        Err(SparkError::other(format!(
            "no cached local data with hash `{hash}`"
        )))
    }

    /// The plan that a `CachedRemoteRelation` stands for (`DataFrame.checkpoint()`).
    async fn cached_remote_relation(&self, id: &str) -> Result<ResolvedPlan> {
        Err(SparkError::other(format!(
            "no DataFrame with id `{id}` is cached"
        )))
    }

    /// The function of a Python UDF as workers take it: interpreter, files, environment and
    /// broadcasts are the driver's to know.
    fn python_function(&self, udf: &connect::PythonUdf) -> Result<PythonFunction> {
        Ok(PythonFunction {
            command: udf.command.clone(),
            python_version: udf.python_ver.clone(),
            python_includes: udf.additional_includes.clone(),
            ..Default::default()
        })
    }
}

/// A user session's catalog of temporary views, registered functions and settings.
pub struct PlanSession {
    pub(crate) context: SessionContext,
    pub(crate) conf: RwLock<BTreeMap<String, String>>,
    pub(crate) catalog: Arc<RwLock<Catalog>>,
    pub(crate) extensions: Arc<dyn RelationExtensions>,
    pub(crate) shared: Arc<SharedState>,
    pub(crate) cache: Arc<PlanCache>,
    pub(crate) remembered: RwLock<Vec<Remembered>>,
    pub(crate) checkpoints: RwLock<HashMap<String, Checkpoint>>,
    defaults: BTreeMap<String, String>,
}

impl PlanSession {
    /// Creates a session. `context` carries the runtime's `SessionConfig` and `RuntimeEnv`;
    /// `conf` are the application's settings, of which `spark.sql.*` matter here; `shared`
    /// is what all sessions of the application have in common.
    pub fn new(
        context: SessionContext,
        conf: BTreeMap<String, String>,
        extensions: Arc<dyn RelationExtensions>,
        shared: Arc<SharedState>,
    ) -> Self {
        let context = with_spark_options(&context);
        Self {
            context,
            defaults: conf.clone(),
            conf: RwLock::new(conf),
            catalog: Arc::default(),
            extensions,
            cache: Arc::clone(&shared.cache),
            shared,
            remembered: RwLock::default(),
            checkpoints: RwLock::default(),
        }
    }

    /// All settings in effect.
    pub fn conf(&self) -> BTreeMap<String, String> {
        self.conf.read().clone()
    }

    /// A setting that was made.
    pub fn get_conf(&self, key: &str) -> Option<String> {
        self.conf.read().get(key).cloned()
    }

    /// Changes a setting of this session.
    ///
    /// # Errors
    /// When the setting cannot be changed while an application runs, or the value is refused.
    pub fn set_conf(&self, key: &str, value: &str) -> Result<()> {
        crate::settings::check(key, value)?;
        self.conf.write().insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    /// Puts a setting back to what it was when the session began.
    ///
    /// # Errors
    /// When the setting cannot be changed while an application runs.
    pub fn unset_conf(&self, key: &str) -> Result<()> {
        crate::settings::check_modifiable(key)?;
        let mut conf = self.conf.write();
        match self.defaults.get(key) {
            Some(value) => conf.insert(key.to_owned(), value.clone()),
            None => conf.remove(key),
        };
        Ok(())
    }

    /// Puts every setting back.
    pub(crate) fn reset_conf(&self) {
        *self.conf.write() = self.defaults.clone();
    }

    /// Whether [`PlanSession::set_conf`] accepts the key (`spark.conf.isModifiable`).
    pub fn is_modifiable(&self, key: &str) -> bool {
        crate::settings::check_modifiable(key).is_ok() && key.starts_with("spark.sql.")
    }

    /// Analyses a relation.
    ///
    /// # Errors
    /// Spark's analysis errors, and [`SparkError::not_supported`].
    pub async fn resolve(&self, relation: &connect::Relation) -> Result<ResolvedPlan> {
        let dropped = self.apply_catalog_change(relation).await?;
        self.analysed(dropped, |analyzer| analyzer.relation(relation, None))
            .await
    }

    /// Runs a step of analysis as often as it takes to load what it needs.
    pub(crate) async fn analysed<T>(
        &self,
        dropped: Option<bool>,
        step: impl Fn(&Analyzer) -> Result<T>,
    ) -> Result<T> {
        let mut conf = self.conf();
        if let Some(dropped) = dropped {
            conf.insert(DROPPED.into(), dropped.to_string());
        }
        let mut catalog = self.catalog.read().clone();
        catalog.global_views = self.shared.global_views.read().clone();
        let remembered = self.remembered_plans();
        let time_zone = crate::settings::time_zone(&conf);
        let ansi = conf
            .get("spark.sql.ansi.enabled")
            .is_none_or(|v| v != "false");
        let partitions = self.context.state().config().target_partitions();
        let now = Utc::now();
        let mut loaded: HashMap<Leaf, LoadedLeaf> = HashMap::new();
        loop {
            let missing = {
                let analyzer = Analyzer {
                    catalog: &catalog,
                    conf: &conf,
                    ansi,
                    time_zone: time_zone.clone(),
                    now,
                    partitions,
                    leaves: &loaded,
                    remembered: &remembered,
                    missing: Default::default(),
                    references: Default::default(),
                    extensions: self.extensions.as_ref(),
                };
                let result = step(&analyzer);
                match analyzer.missing.take() {
                    Some(leaf) => leaf,
                    None => return result,
                }
            };
            if loaded.len() >= MAX_LEAVES {
                return Err(SparkError::other("a query with more than 10000 tables"));
            }
            let leaf = match &missing {
                Leaf::Values(relation) => {
                    // Boxed, for computing values analyses a relation in turn.
                    let values = Box::pin(self.values_of(relation)).await?;
                    LoadedLeaf::Values(Arc::new(values))
                }
                Leaf::Remote(id) if let Some(plan) = self.checkpointed(id) => {
                    LoadedLeaf::Plan(Box::new(plan))
                }
                other => {
                    leaves::load(other, &self.context, self.extensions.as_ref(), &time_zone).await?
                }
            };
            loaded.insert(missing, leaf);
        }
    }

    /// Computes the few values of a relation of one column, here and at once, in order.
    async fn values_of(&self, encoded: &[u8]) -> Result<Vec<ScalarValue>> {
        let relation = connect::Relation::decode(encoded)
            .map_err(|e| SparkError::other(format!("a relation is malformed: {e}")))?;
        let plan = self.resolve(&relation).await?;
        let exec = self.physical_without_cache(&plan).await?;
        let batches = collect(exec, self.context.task_ctx())
            .await
            .map_err(from_datafusion)?;
        let mut values = vec![];
        for batch in &batches {
            for row in 0..batch.num_rows() {
                let value = ScalarValue::try_from_array(batch.column(0), row);
                values.push(value.map_err(from_datafusion)?);
                if values.len() > MAX_PIVOT_VALUES {
                    return Err(crate::errors::with_condition(
                        "_LEGACY_ERROR_TEMP_1324",
                        "",
                        format!(
                            "The pivot column has more than {MAX_PIVOT_VALUES} distinct values, this could indicate an error. If this was intended, set spark.sql.pivotMaxValues to at least the number of distinct values of the pivot column."
                        ),
                    ));
                }
            }
        }
        values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        Ok(values)
    }

    /// Optimises and plans an analysed relation. The batches of the result have the schema
    /// [`ResolvedPlan::arrow_schema`]; `job_id` is what Python tasks report to.
    ///
    /// # Errors
    /// When the engine cannot plan it.
    pub async fn physical(
        &self,
        plan: &ResolvedPlan,
        job_id: i64,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let logical = self.cache.substitute(with_output_columns(plan)?)?;
        let exec = self.plan_job(&logical, job_id).await?;
        with_user_names(exec, plan)
    }

    /// As [`PlanSession::physical`], of what rows are made from even where they are cached.
    pub(crate) async fn physical_without_cache(
        &self,
        plan: &ResolvedPlan,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let exec = self.plan_job(&with_output_columns(plan)?, 0).await?;
        with_user_names(exec, plan)
    }

    /// What this session plans with at this moment.
    pub(crate) fn planning(&self) -> Planning {
        Planning {
            state: self.context.state(),
            conf: self.conf(),
        }
    }

    /// Plans a logical plan as it is.
    async fn plan_job(&self, plan: &LogicalPlan, job_id: i64) -> Result<Arc<dyn ExecutionPlan>> {
        self.planning()
            .physical(plan, job_id, 0)
            .await
            .map_err(from_datafusion)
    }
}

/// The plan with the columns that users see, and no others.
fn with_output_columns(plan: &ResolvedPlan) -> Result<LogicalPlan> {
    let columns: Vec<Expr> = plan.visible().map(|f| f.expr()).collect();
    let same = plan.plan.schema().fields().len() == columns.len()
        && plan
            .visible()
            .zip(plan.plan.schema().fields())
            .all(|(f, p)| f.column == *p.name());
    // A projection on top would hide the order of a sort from the engine for no gain.
    if same {
        return Ok(plan.plan.clone());
    }
    LogicalPlanBuilder::from(plan.plan.clone())
        .project(columns)
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)
}

/// The engine's options that make it behave as Spark.
fn with_spark_options(context: &SessionContext) -> SessionContext {
    let state = context.state();
    let mut config = state.config().clone();
    let options = config.options_mut();
    options.execution.parquet.schema_force_view_types = false;
    options.execution.parquet.pushdown_filters = true;
    options.execution.collect_statistics = true;
    options.optimizer.expand_views_at_output = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    let state = SessionStateBuilder::new_from_existing(state)
        .with_config(config)
        .build();
    SessionContext::new_with_state(state)
}

/// Puts users' names and Spark's types on the result.
fn with_user_names(
    exec: Arc<dyn ExecutionPlan>,
    plan: &ResolvedPlan,
) -> Result<Arc<dyn ExecutionPlan>> {
    let schema: Arc<Schema> = exec.schema();
    let wanted = plan.arrow_schema();
    let mut exprs: Vec<(Arc<dyn PhysicalExpr>, String)> = vec![];
    for (index, (field, to)) in plan.visible().zip(wanted.fields()).enumerate() {
        let column: Arc<dyn PhysicalExpr> =
            Arc::new(Column::new(schema.field(index).name(), index));
        let from = schema.field(index).data_type();
        let to = to.data_type();
        let expr = if from == to {
            column
        } else if same_layout(from, to) {
            // Names and nullability inside nested types; the data stays as it is.
            relabelled(column, to, &schema)?
        } else {
            cast(column, &schema, to.clone()).map_err(from_datafusion)?
        };
        exprs.push((expr, field.name.clone()));
    }
    let projection = ProjectionExec::try_new(exprs, exec).map_err(from_datafusion)?;
    Ok(Arc::new(projection))
}

fn relabelled(
    column: Arc<dyn PhysicalExpr>,
    to: &DataType,
    schema: &Schema,
) -> Result<Arc<dyn PhysicalExpr>> {
    let null = ScalarValue::try_from(to).map_err(from_datafusion)?;
    let function = crate::functions::engine::scalar("spark_relabel")?;
    let config = Arc::new(datafusion::config::ConfigOptions::default());
    let call = ScalarFunctionExpr::try_new(function, vec![column, lit(null)], schema, config);
    Ok(Arc::new(call.map_err(from_datafusion)?))
}
