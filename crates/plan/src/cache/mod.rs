//! Cached DataFrames and tables, for all sessions of an application.
//!
//! Caching goes by plan, as in Spark: any query that holds a plan equal to a cached one
//! ([`canonical`]) reads the cached rows in its stead. Nothing is computed before a query does.
//! How rows are kept is the driver's to know ([`RowKeeper`]).

mod canonical;
mod levels;
mod requests;
mod rows;

pub(crate) use levels::{default_level, named_level};
pub(crate) use requests::{Checkpoint, Remembered, counted};
pub(crate) use rows::PlannedJob;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use datafusion::common::Result as EngineResult;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use parking_lot::Mutex;
use pyrite_proto::connect::StorageLevel;

use crate::analyzer::with_stack;
use crate::errors::{Result, from_datafusion};
use crate::planner::Planning;
use canonical::{Canonical, canonical, has_part, shape};
use rows::CachedRows;

/// Keeps the rows of cached plans where the application's tasks run.
#[async_trait]
pub trait RowKeeper: Send + Sync {
    /// A plan that keeps the rows of `rows`, or reads those that are kept under the number.
    ///
    /// # Errors
    /// When the engine cannot rebuild a plan, which is a fault of ours.
    fn keep(
        &self,
        number: i64,
        level: &StorageLevel,
        rows: Arc<dyn ExecutionPlan>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>>;

    /// A plan of the same rows in the same partitions, which are not kept any more.
    ///
    /// # Errors
    /// When the engine cannot rebuild a plan, which is a fault of ours.
    fn unkept(&self, rows: Arc<dyn ExecutionPlan>) -> EngineResult<Arc<dyn ExecutionPlan>>;

    /// Drops the rows that are kept under a number.
    async fn remove(&self, number: i64);
}

/// A plan that is to be cached.
struct Slot {
    /// Changes when the rows are to be read anew.
    id: i64,
    plan: LogicalPlan,
    canonical: Canonical,
    shape: u64,
    level: StorageLevel,
    planning: Planning,
    /// The table or view that was asked to be cached, if it was one.
    table: Option<String>,
    /// Where the plan's files are.
    files: Vec<String>,
    /// The rows, once a query has asked for them.
    rows: Option<Arc<CachedRows>>,
}

/// What is cached.
pub struct PlanCache {
    keeper: Arc<dyn RowKeeper>,
    slots: Mutex<Vec<Slot>>,
    next: AtomicI64,
}

impl PlanCache {
    /// An empty cache.
    pub fn new(keeper: Arc<dyn RowKeeper>) -> Self {
        Self {
            keeper,
            slots: Mutex::default(),
            next: AtomicI64::new(1),
        }
    }

    fn next(&self) -> i64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Caches a plan; does nothing when it is cached already. Returns the id of what is cached;
    /// `None` for a plan that cannot be compared with others.
    fn add(
        &self,
        plan: &LogicalPlan,
        level: StorageLevel,
        planning: Planning,
        table: Option<String>,
    ) -> Option<i64> {
        let canonical = canonical(plan)?;
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.iter().find(|slot| slot.canonical == canonical) {
            tracing::warn!("asked to cache already cached data");
            return Some(slot.id);
        }
        let id = self.next();
        slots.push(Slot {
            id,
            plan: plan.clone(),
            shape: shape(plan),
            canonical,
            level,
            planning,
            table,
            files: files_of(plan),
            rows: None,
        });
        Some(id)
    }

    /// The level that a plan is cached with, if it is.
    fn level(&self, plan: &LogicalPlan) -> Option<StorageLevel> {
        if self.slots.lock().is_empty() {
            return None;
        }
        let canonical = canonical(plan)?;
        let slots = self.slots.lock();
        let slot = slots.iter().find(|slot| slot.canonical == canonical)?;
        Some(slot.level)
    }

    /// Claims that what has this id is still cached, and its rows are not to be read anew.
    fn holds(&self, id: i64) -> bool {
        self.slots.lock().iter().any(|slot| slot.id == id)
    }

    /// Takes a plan out; with `cascade` every cached plan that it is a part of as well. Plans
    /// that are left keep the rows that they have.
    fn remove(&self, plan: &LogicalPlan, cascade: bool) -> Vec<Arc<CachedRows>> {
        if self.slots.lock().is_empty() {
            return vec![];
        }
        let Some(canonical) = canonical(plan) else {
            return vec![];
        };
        let shape = shape(plan);
        self.take(|slot| {
            slot.canonical == canonical || (cascade && has_part(&slot.plan, &canonical, shape))
        })
    }

    /// Takes out what was cached under a table's name, if it has another plan now.
    fn remove_table(&self, table: &str, plan: &LogicalPlan) -> Vec<Arc<CachedRows>> {
        let canonical = canonical(plan);
        self.take(|slot| {
            slot.table.as_deref() == Some(table) && canonical.as_ref() != Some(&slot.canonical)
        })
    }

    fn clear(&self) -> Vec<Arc<CachedRows>> {
        self.take(|_| true)
    }

    fn take(&self, which: impl Fn(&Slot) -> bool) -> Vec<Arc<CachedRows>> {
        let mut slots = self.slots.lock();
        let (gone, left) = std::mem::take(&mut *slots).into_iter().partition(which);
        *slots = left;
        gone.into_iter()
            .filter_map(|slot: Slot| slot.rows)
            .collect()
    }

    /// Drops rows that nobody caches any more.
    async fn drop_rows(&self, rows: Vec<Arc<CachedRows>>) {
        for rows in rows {
            rows.give_up();
            self.keeper.remove(rows.number()).await;
        }
    }

    /// As [`PlanCache::drop_rows`], without waiting for it.
    fn drop_rows_soon(self: &Arc<Self>, rows: Vec<Arc<CachedRows>>) {
        for rows in &rows {
            rows.give_up();
        }
        // Without a runtime the application is ending, and its rows with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && !rows.is_empty()
        {
            let cache = Arc::clone(self);
            runtime.spawn(async move { cache.drop_rows(rows).await });
        }
    }

    /// Files below a directory have changed: what is cached of them is read anew.
    pub(crate) async fn files_changed(&self, directory: &Path) {
        let mut gone = vec![];
        for slot in self.slots.lock().iter_mut() {
            if slot
                .files
                .iter()
                .any(|f| Path::new(f).starts_with(directory))
            {
                slot.id = self.next();
                gone.extend(slot.rows.take());
            }
        }
        self.drop_rows(gone).await;
    }

    /// The files below a directory are gone: nothing of them is cached any more.
    pub(crate) fn files_removed(self: &Arc<Self>, directory: &Path) {
        let below = |file: &String| Path::new(file).starts_with(directory);
        self.drop_rows_soon(self.take(|slot| slot.files.iter().any(below)));
    }

    /// As [`PlanCache::files_changed`] for the files that a plan reads.
    async fn refresh(&self, plan: &LogicalPlan) {
        for file in files_of(plan) {
            self.files_changed(Path::new(&file)).await;
        }
    }

    /// Rows of a plan that queries do not find by themselves.
    fn private(
        &self,
        plan: &LogicalPlan,
        level: StorageLevel,
        planning: Planning,
    ) -> Result<Arc<CachedRows>> {
        let plan = self.inputs_replaced(plan.clone()).data();
        let plan = plan.map_err(from_datafusion)?;
        let keeper = Arc::clone(&self.keeper);
        let rows = CachedRows::try_new(self.next(), &plan, level, planning, keeper);
        Ok(Arc::new(rows.map_err(from_datafusion)?))
    }

    /// The plan with cached rows in the place of every cached plan in it, subqueries included.
    ///
    /// # Errors
    /// When the engine cannot rebuild the plan, which is a fault of ours.
    pub(crate) fn substitute(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        if self.slots.lock().is_empty() {
            return Ok(plan);
        }
        self.replaced(plan).data().map_err(from_datafusion)
    }

    fn replaced(&self, plan: LogicalPlan) -> EngineResult<Transformed<LogicalPlan>> {
        with_stack(|| match self.rows_of(&plan)? {
            Some(rows) => {
                let scan = rows.scan(plan.schema())?;
                Ok(Transformed::new(scan, true, TreeNodeRecursion::Continue))
            }
            None => self.inputs_replaced(plan),
        })
    }

    fn inputs_replaced(&self, plan: LogicalPlan) -> EngineResult<Transformed<LogicalPlan>> {
        let inputs = plan.map_children(|input| self.replaced(input))?;
        let subqueries = inputs
            .data
            .map_subqueries(|plan| self.inputs_replaced(plan))?;
        let changed = inputs.transformed || subqueries.transformed;
        Ok(Transformed::new(
            subqueries.data,
            changed,
            TreeNodeRecursion::Continue,
        ))
    }

    /// The cached rows of a plan, if it is cached.
    fn rows_of(&self, plan: &LogicalPlan) -> EngineResult<Option<Arc<CachedRows>>> {
        let shape = shape(plan);
        if !self.slots.lock().iter().any(|slot| slot.shape == shape) {
            return Ok(None);
        }
        let Some(canonical) = canonical(plan) else {
            return Ok(None);
        };
        let found = {
            let slots = self.slots.lock();
            let Some(slot) = slots.iter().find(|slot| slot.canonical == canonical) else {
                return Ok(None);
            };
            if let Some(rows) = &slot.rows {
                return Ok(Some(Arc::clone(rows)));
            }
            (slot.id, slot.level, slot.planning.clone())
        };
        let (id, level, planning) = found;
        // Other cached plans below this one are looked for without the lock.
        let below = self.inputs_replaced(plan.clone())?.data;
        let keeper = Arc::clone(&self.keeper);
        let rows = CachedRows::try_new(self.next(), &below, level, planning, keeper)?;
        let mut slots = self.slots.lock();
        let slot = slots.iter_mut().find(|slot| slot.id == id);
        Ok(slot.map(|slot| Arc::clone(slot.rows.get_or_insert(Arc::new(rows)))))
    }
}

/// Where the files that a plan reads are.
fn files_of(plan: &LogicalPlan) -> Vec<String> {
    let mut files = vec![];
    // The walk itself cannot fail.
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
        {
            files.extend(crate::read::files_of(provider.as_ref()));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    files
}
