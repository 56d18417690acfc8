//! What a session is asked about caching.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{LogicalPlanBuilder, lit};
use prost::Message;
use pyrite_proto::connect;
use pyrite_proto::connect::StorageLevel;
use pyrite_proto::error::SparkError;

use super::rows::CachedRows;
use super::{PlanCache, default_level, named_level};
use crate::catalog::GLOBAL_TEMP;
use crate::catalog_relation::table_relation;
use crate::errors::{self, Result, from_datafusion};
use crate::resolved::{ResolvedField, ResolvedPlan};
use crate::session::PlanSession;

/// A DataFrame that was cached, as it was analysed then. What is analysed once more may differ:
/// the current time, files, views that have been replaced.
#[derive(Clone)]
pub(crate) struct Remembered {
    plan_id: i64,
    relation: Vec<u8>,
    slot: i64,
    pub plan: ResolvedPlan,
}

/// A DataFrame whose lineage was cut (`localCheckpoint`).
pub(crate) struct Checkpoint {
    plan: ResolvedPlan,
    rows: Arc<CachedRows>,
}

impl Remembered {
    /// The analysed form of a relation, if it was cached.
    pub fn find<'a>(all: &'a [Self], relation: &connect::Relation) -> Option<&'a ResolvedPlan> {
        let id = relation.common.as_ref()?.plan_id?;
        let mut same_id = all.iter().filter(|r| r.plan_id == id).peekable();
        same_id.peek()?;
        let encoded = relation.encode_to_vec();
        same_id.find(|r| r.relation == encoded).map(|r| &r.plan)
    }
}

impl PlanSession {
    /// `DataFrame.persist(level)`.
    ///
    /// # Errors
    /// Spark's analysis errors.
    pub async fn persist(
        &self,
        relation: &connect::Relation,
        level: Option<StorageLevel>,
    ) -> Result<()> {
        let plan = self.resolve(relation).await?;
        let level = match level {
            Some(level) => level,
            None => self.default_storage_level()?,
        };
        if !level.use_memory && !level.use_disk && !level.use_off_heap {
            // `StorageLevel.NONE` keeps nothing.
            return Ok(());
        }
        let slot = self.cache_plan(&plan, level, None)?;
        if let Some(plan_id) = relation.common.as_ref().and_then(|c| c.plan_id) {
            let mut remembered = self.remembered.write();
            remembered.retain(|r| self.cache.holds(r.slot));
            remembered.push(Remembered {
                plan_id,
                relation: relation.encode_to_vec(),
                slot,
                plan: ResolvedPlan {
                    finish: None,
                    ..plan
                },
            });
        }
        Ok(())
    }

    /// `DataFrame.unpersist(blocking)`.
    ///
    /// # Errors
    /// Spark's analysis errors.
    pub async fn unpersist(&self, relation: &connect::Relation, blocking: bool) -> Result<()> {
        let plan = self.resolve(relation).await?;
        let gone = self.cache.remove(&plan.plan, false);
        if blocking {
            self.cache.drop_rows(gone).await;
        } else {
            self.cache.drop_rows_soon(gone);
        }
        Ok(())
    }

    /// `DataFrame.storageLevel`.
    ///
    /// # Errors
    /// Spark's analysis errors.
    pub async fn storage_level(&self, relation: &connect::Relation) -> Result<StorageLevel> {
        let plan = self.resolve(relation).await?;
        let none = StorageLevel {
            replication: 1,
            ..StorageLevel::default()
        };
        Ok(self.cache.level(&plan.plan).unwrap_or(none))
    }

    /// The level of what is cached without one (`spark.sql.defaultCacheStorageLevel`).
    pub(crate) fn default_storage_level(&self) -> Result<StorageLevel> {
        match self.get_conf("spark.sql.defaultCacheStorageLevel") {
            Some(name) => named_level(&name),
            None => Ok(default_level()),
        }
    }

    fn cache_plan(
        &self,
        plan: &ResolvedPlan,
        level: StorageLevel,
        table: Option<String>,
    ) -> Result<i64> {
        let planning = self.planning();
        let slot = self.cache.add(&plan.plan, level, planning, table);
        slot.ok_or_else(|| SparkError::not_supported("caching this kind of plan"))
    }

    /// `CACHE TABLE`, `spark.catalog.cacheTable`.
    pub(crate) async fn cache_table(
        &self,
        name: &str,
        level: StorageLevel,
    ) -> Result<ResolvedPlan> {
        let plan = self.resolve(&table_relation(name)).await?;
        self.cache_plan(&plan, level, Some(self.cached_name(name)?))?;
        Ok(plan)
    }

    /// `UNCACHE TABLE`, `spark.catalog.uncacheTable`. What was made of a table goes with it,
    /// what was made of a temporary view stays.
    pub(crate) async fn uncache_table(&self, name: &str) -> Result<()> {
        let plan = self.resolve(&table_relation(name)).await?;
        let parts = crate::sqltext::identifier(name)?;
        let is_view = match parts.as_slice() {
            [_] => self.catalog.read().view(&parts).is_some(),
            [.., database, _] => database.eq_ignore_ascii_case(GLOBAL_TEMP),
            [] => false,
        };
        let gone = self.cache.remove(&plan.plan, !is_view);
        self.cache.drop_rows(gone).await;
        Ok(())
    }

    /// `spark.catalog.isCached`.
    pub(crate) async fn is_table_cached(&self, name: &str) -> Result<bool> {
        let plan = self.resolve(&table_relation(name)).await?;
        Ok(self.cache.level(&plan.plan).is_some())
    }

    /// `CLEAR CACHE`, `spark.catalog.clearCache`.
    pub(crate) async fn clear_cache(&self) {
        self.cache.drop_rows(self.cache.clear()).await;
    }

    /// `REFRESH TABLE`, `spark.catalog.refreshTable`.
    pub(crate) async fn refresh_table(&self, name: &str) -> Result<()> {
        let plan = self.resolve(&table_relation(name)).await?;
        self.cache.refresh(&plan.plan).await;
        Ok(())
    }

    /// What a table is remembered by; temporary views are the session's own.
    fn cached_name(&self, name: &str) -> Result<String> {
        let parts = crate::sqltext::identifier(name)?;
        let text = parts.join(".").to_lowercase();
        Ok(match parts.as_slice() {
            [_] => self.view_name(&text),
            _ => text,
        })
    }

    fn view_name(&self, name: &str) -> String {
        // The address of the catalog tells sessions apart for as long as they live.
        format!("{:p}:{name}", Arc::as_ptr(&self.catalog))
    }

    /// A view has another plan now: what was cached under its name is so no more.
    pub(crate) fn view_replaced(&self, name: &str, global: bool, plan: &ResolvedPlan) {
        let name = match global {
            true => format!("{GLOBAL_TEMP}.{name}"),
            false => self.view_name(name),
        };
        self.cache
            .drop_rows_soon(self.cache.remove_table(&name, &plan.plan));
    }

    /// A view is dropped: its plan is not cached any more.
    pub(crate) fn uncache_view(&self, view: &ResolvedPlan) {
        self.cache
            .drop_rows_soon(self.cache.remove(&view.plan, false));
    }

    /// Cuts a DataFrame's lineage; the id stands for its rows.
    pub(crate) async fn checkpoint(
        &self,
        relation: &connect::Relation,
        level: Option<StorageLevel>,
    ) -> Result<(String, ResolvedPlan)> {
        let plan = self.resolve(relation).await?;
        let level = level.unwrap_or_else(default_level);
        let rows = self.cache.private(&plan.plan, level, self.planning())?;
        let scan = rows.scan(plan.plan.schema()).map_err(from_datafusion)?;
        let plan = ResolvedPlan {
            finish: None,
            ..plan.over(scan)
        };
        let id = uuid::Uuid::new_v4().to_string();
        let checkpoint = Checkpoint {
            plan: plan.clone(),
            rows,
        };
        self.checkpoints.write().insert(id.clone(), checkpoint);
        Ok((id, plan))
    }

    /// The rows that a checkpoint's id stands for.
    pub(crate) fn checkpointed(&self, id: &str) -> Option<ResolvedPlan> {
        self.checkpoints.read().get(id).map(|c| c.plan.clone())
    }

    /// The client has forgotten a checkpoint.
    pub(crate) fn forget_checkpoint(&self, id: &str) {
        let gone = self.checkpoints.write().remove(id);
        self.cache
            .drop_rows_soon(gone.into_iter().map(|c| c.rows).collect());
    }

    /// What is cached, as one analysis is to see it.
    pub(crate) fn remembered_plans(&self) -> Vec<Remembered> {
        let remembered = self.remembered.read();
        let slots: HashSet<i64> = remembered.iter().map(|r| r.slot).collect();
        let held: HashSet<i64> = slots.into_iter().filter(|s| self.cache.holds(*s)).collect();
        let held = remembered.iter().filter(|r| held.contains(&r.slot));
        held.cloned().collect()
    }
}

/// A plan that counts the rows of another, which computes all of them.
pub(crate) fn counted(plan: &ResolvedPlan) -> Result<ResolvedPlan> {
    let field = ResolvedField::new("count", DataType::Int64, false);
    let count = count(lit(1_i64)).alias(&field.column);
    let plan = LogicalPlanBuilder::from(plan.plan.clone())
        .aggregate(Vec::<datafusion::logical_expr::Expr>::new(), vec![count])
        .and_then(LogicalPlanBuilder::build)
        .map_err(errors::from_datafusion)?;
    Ok(ResolvedPlan::new(plan, vec![field]))
}

impl std::fmt::Debug for PlanCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlanCache").finish_non_exhaustive()
    }
}
