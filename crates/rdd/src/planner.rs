//! From an RDD graph to a plan.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use datafusion::common::Result;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use pyrite_proto::core::{self, rdd_node::Kind};
use pyrite_proto::error::SparkError;
use pyrite_python::PythonMapExec;

use crate::errors::external;
use crate::operators::{
    CartesianExec, EncodeArrowFramesExec, NumberedExec, ParallelCollectionExec,
    PartitionGroupsExec, PersistExec, TextFileExec, ZipExec, shuffle_exchange, take_children,
};
use crate::text_input;

/// Plans the DataFrames that RDDs are made of (`DataFrame.rdd`). The driver implements it.
#[async_trait]
pub trait DataFramePlans: Send + Sync {
    /// Plans a DataFrame; the plan yields its rows.
    async fn plan(&self, rows: &core::DataFrameRows) -> Result<Arc<dyn ExecutionPlan>>;
}

/// Plans the root of an RDD graph for one job.
///
/// A parent with several children is planned once for each of them, as Spark computes it once
/// for each: what is persisted is then found by all but the first.
pub struct RddPlanner<'a> {
    nodes: &'a [core::RddNode],
    /// Where each RDD is in `nodes`.
    indices: HashMap<i64, usize>,
    root_id: i64,
    job_id: i64,
    frames_of: &'a dyn DataFramePlans,
    next_operator_id: AtomicI64,
}

impl<'a> RddPlanner<'a> {
    /// Prepares to plan `graph` for job `job_id`.
    pub fn new(graph: &'a core::RddGraph, job_id: i64, frames_of: &'a dyn DataFramePlans) -> Self {
        Self {
            nodes: &graph.nodes,
            indices: graph.nodes.iter().map(|node| node.id).zip(0..).collect(),
            root_id: graph.root_id,
            job_id,
            frames_of,
            next_operator_id: AtomicI64::new(0),
        }
    }

    /// Makes the plan of the graph's root: a plan of frames with a partition for each of the
    /// RDD's. It can be run once.
    ///
    /// # Errors
    /// When the graph is malformed, an input path does not exist, or a DataFrame cannot be
    /// planned.
    pub async fn plan(&self) -> Result<Arc<dyn ExecutionPlan>> {
        // A stack of its own: the lineage of an iterative program is thousands of RDDs deep.
        let mut steps = vec![Step::Visit(self.root_id)];
        let mut plans = Vec::new();
        while let Some(step) = steps.pop() {
            match step {
                Step::Visit(id) => {
                    let node = self.node(id)?;
                    let parents = self.parents(node)?;
                    steps.push(Step::Build(node, parents.len()));
                    steps.extend(parents.into_iter().rev().map(Step::Visit));
                }
                Step::Build(node, parents) => {
                    let parents = plans.split_off(plans.len() - parents);
                    let plan = self.plan_node(node, parents).await?;
                    plans.push(persisted(node, plan)?);
                }
            }
        }
        plans
            .pop()
            .ok_or_else(|| malformed("there is nothing in it".into()))
    }

    fn node(&self, id: i64) -> Result<&'a core::RddNode> {
        let index = self
            .indices
            .get(&id)
            .ok_or_else(|| malformed(format!("there is no RDD {id}")))?;
        Ok(&self.nodes[*index])
    }

    /// The parents of an RDD, which come before it; so there is no cycle.
    fn parents(&self, node: &core::RddNode) -> Result<Vec<i64>> {
        let parents = parent_ids(node);
        let own = self.indices.get(&node.id);
        let late = |id: &&i64| self.indices.get(*id) >= own;
        match parents.iter().find(late) {
            Some(late) => Err(malformed(format!(
                "RDD {late} does not come before its child {}",
                node.id
            ))),
            None => Ok(parents),
        }
    }

    /// Plans an RDD over the plans of its parents.
    async fn plan_node(
        &self,
        node: &core::RddNode,
        parents: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let kind = node.kind.as_ref().ok_or_else(|| {
            malformed(format!(
                "RDD {} is of a kind that this version lacks",
                node.id
            ))
        })?;
        match kind {
            Kind::ParallelCollection(collection) => Ok(Arc::new(ParallelCollectionExec::try_new(
                &collection.slices,
            )?)),
            Kind::EmptyPartitions(empty) => empty_partitions(count(empty.num_partitions)?),
            Kind::TextFile(file) => plan_text_file(file).await,
            Kind::DataFrameRows(rows) => {
                let batches = self.frames_of.plan(rows).await?;
                Ok(Arc::new(EncodeArrowFramesExec::new(batches)))
            }
            Kind::PythonMap(map) => self.plan_map(node, map, only(parents)?),
            Kind::Union(_) => plan_union(parents),
            Kind::Shuffle(shuffle) => plan_shuffle(node, shuffle, only(parents)?),
            Kind::Coalesce(coalesce) => {
                let input = only(parents)?;
                let partitions = count(coalesce.num_partitions)?;
                if partitions >= input.output_partitioning().partition_count() {
                    return Ok(input);
                }
                Ok(Arc::new(PartitionGroupsExec::coalesce(input, partitions)?))
            }
            Kind::Zip(_) => {
                let [left, right] = take_children("a zipped RDD", parents)?;
                Ok(Arc::new(ZipExec::try_new(left, right)?))
            }
            Kind::Cartesian(_) => {
                let [left, right] = take_children("a cartesian product", parents)?;
                Ok(Arc::new(CartesianExec::try_new(left, right)?))
            }
        }
    }

    fn plan_map(
        &self,
        node: &core::RddNode,
        map: &core::PythonMap,
        input: Arc<dyn ExecutionPlan>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let function = map
            .function
            .clone()
            .ok_or_else(|| malformed(format!("RDD {} has no function", node.id)))?;
        let operator_id = self.next_operator_id.fetch_add(1, Ordering::Relaxed);
        let map = PythonMapExec::new(input, function, self.job_id, operator_id);
        Ok(Arc::new(NumberedExec::try_new(Arc::new(map))?))
    }
}

/// What is left to do while a graph is walked.
enum Step<'a> {
    /// Look at an RDD.
    Visit(i64),
    /// Plan an RDD over the last plans that were made, so many of them.
    Build(&'a core::RddNode, usize),
}

fn parent_ids(node: &core::RddNode) -> Vec<i64> {
    match &node.kind {
        Some(Kind::PythonMap(map)) => vec![map.parent_id],
        Some(Kind::Union(union)) => union.parent_ids.clone(),
        Some(Kind::Shuffle(shuffle)) => vec![shuffle.parent_id],
        Some(Kind::Coalesce(coalesce)) => vec![coalesce.parent_id],
        Some(Kind::Zip(zip)) => vec![zip.left_id, zip.right_id],
        Some(Kind::Cartesian(cartesian)) => vec![cartesian.left_id, cartesian.right_id],
        Some(
            Kind::ParallelCollection(_)
            | Kind::EmptyPartitions(_)
            | Kind::TextFile(_)
            | Kind::DataFrameRows(_),
        )
        | None => Vec::new(),
    }
}

fn only(parents: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
    take_children::<1>("an RDD with one parent", parents).map(|[parent]| parent)
}

/// Keeps the partitions of an RDD if its user wants that.
fn persisted(node: &core::RddNode, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    match node.storage_level.filter(is_persisted) {
        Some(level) => {
            let persist = PersistExec::new(plan, node.id, level);
            Ok(Arc::new(NumberedExec::try_new(Arc::new(persist))?))
        }
        None => Ok(plan),
    }
}

/// Appends the partitions of all parents. A union of unions is one union: plans on the wire
/// must not be deep.
fn plan_union(parents: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
    let mut inputs = Vec::with_capacity(parents.len());
    for parent in parents {
        if parent.output_partitioning().partition_count() == 0 {
            continue;
        }
        match parent.downcast_ref::<UnionExec>() {
            Some(union) => inputs.extend(union.inputs().iter().cloned()),
            None => inputs.push(parent),
        }
    }
    if inputs.is_empty() {
        return empty_partitions(0);
    }
    UnionExec::try_new(inputs)
}

fn plan_shuffle(
    node: &core::RddNode,
    shuffle: &core::Shuffle,
    input: Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let partitions = count(shuffle.num_partitions)?;
    if partitions == 0 {
        return Err(malformed("a shuffle into no partitions".into()));
    }
    if input.output_partitioning().partition_count() == 0 {
        return empty_partitions(partitions);
    }
    shuffle_exchange(input, partitions, node.id)
}

/// Whether partitions are kept anywhere; `StorageLevel.NONE` keeps them nowhere.
fn is_persisted(level: &core::StorageLevel) -> bool {
    level.use_memory || level.use_disk || level.use_off_heap
}

async fn plan_text_file(file: &core::TextFile) -> Result<Arc<dyn ExecutionPlan>> {
    let path = file.path.clone();
    let min_partitions = count(file.min_partitions)?;
    let splits = tokio::task::spawn_blocking(move || text_input::splits(&path, min_partitions))
        .await
        .map_err(|e| crate::errors::internal(format!("listing input paths: {e}")))??;
    Ok(Arc::new(TextFileExec::try_new(&splits)?))
}

/// `count` partitions without frames.
fn empty_partitions(count: usize) -> Result<Arc<dyn ExecutionPlan>> {
    let slices = vec![core::parallel_collection::Slice::default(); count];
    Ok(Arc::new(ParallelCollectionExec::try_new(&slices)?))
}

fn count(number: i32) -> Result<usize> {
    usize::try_from(number).map_err(|_| malformed(format!("{number} partitions")))
}

/// The application sent what its driver does not understand.
fn malformed(what: String) -> datafusion::common::DataFusionError {
    external(SparkError::other(format!("malformed RDD graph: {what}")))
}

/// The number of partitions of the graph's root. Nothing runs; input paths are listed and
/// DataFrames planned.
///
/// # Errors
/// As [`RddPlanner::plan`].
pub async fn num_partitions(
    graph: &core::RddGraph,
    frames_of: &dyn DataFramePlans,
) -> Result<usize> {
    let plan = RddPlanner::new(graph, 0, frames_of).plan().await?;
    Ok(plan.output_partitioning().partition_count())
}

/// A plan that has only the given partitions of `plan`, in the given order, numbered from 0.
/// The others do not run (below an exchange, all do).
///
/// # Errors
/// When there is no such partition.
pub fn select_partitions(
    plan: Arc<dyn ExecutionPlan>,
    partitions: &[usize],
) -> Result<Arc<dyn ExecutionPlan>> {
    let all = plan.output_partitioning().partition_count();
    if partitions.iter().copied().eq(0..all) {
        return Ok(plan);
    }
    Ok(Arc::new(PartitionGroupsExec::select(plan, partitions)?))
}
