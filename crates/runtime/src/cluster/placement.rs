//! Which executor runs which task.
//!
//! A partition of a persisted RDD goes to the executor that ran it first, since that one keeps
//! the block; another would compute it again, and a function that is not deterministic would
//! then give two answers for one partition. Everything else goes where most cores are free.
//!
//! [`Homes`] decides and knows nothing of Ballista; [`Placement`] is Ballista's view of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::serde::protobuf::{AvailableVcores, job_status};
use ballista_core::serde::scheduler::TaskKey;
use ballista_scheduler::cluster::{BoundTask, DistributionPolicy};
use ballista_scheduler::state::execution_graph::{TaskDescription, create_task_info};
use ballista_scheduler::state::execution_stage::RunningStage;
use ballista_scheduler::state::task_manager::JobInfoCache;
use datafusion::common::Result;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use parking_lot::Mutex;
use pyrite_python::BlockId;
use pyrite_rdd::persisted_partitions;

/// How long a stage waits for the executors that keep its blocks before it takes others
/// (`spark.locality.wait`).
const LOCALITY_WAIT: Duration = Duration::from_secs(3);

/// A stage of a job.
type StageKey = (JobId, usize);

/// Where persisted partitions are, as far as tasks tell. Holds no clocks and binds nothing.
#[derive(Debug, Default)]
struct Homes {
    executors: HashMap<BlockId, String>,
    /// Since when stages have waited for busy executors.
    waiting: HashMap<StageKey, Instant>,
}

/// A partition of a stage that has to be run.
#[derive(Debug, Clone, Copy)]
struct Pending {
    partition: usize,
    /// What it reads of a persisted RDD.
    block: Option<BlockId>,
    /// Whether it failed before; then any executor may be better than the last one.
    failed_before: bool,
}

impl Homes {
    /// Chooses executors for a stage's partitions, and takes their cores out of `free`.
    /// Partitions that are not in the answer wait.
    fn place(
        &mut self,
        stage: &StageKey,
        pending: &[Pending],
        free: &mut HashMap<String, u32>,
        now: Instant,
    ) -> Vec<(usize, String)> {
        let since = self.waiting.get(stage);
        let patient = since.is_none_or(|since| now.duration_since(*since) < LOCALITY_WAIT);
        let mut placed = Vec::new();
        let (mut at_home, mut waits) = (false, false);
        for task in pending {
            let home = task
                .block
                .filter(|_| !task.failed_before)
                .and_then(|block| self.executors.get(&block));
            let executor = match home {
                Some(home) if free.get(home).is_some_and(|cores| *cores > 0) => {
                    at_home = true;
                    home.clone()
                }
                Some(_) if patient => {
                    waits = true;
                    continue;
                }
                _ => match freest(free) {
                    Some(executor) => executor,
                    None => break,
                },
            };
            if let Some(cores) = free.get_mut(&executor) {
                *cores -= 1;
            }
            if let Some(block) = task.block {
                self.executors.insert(block, executor.clone());
            }
            placed.push((task.partition, executor));
        }
        match (waits, at_home) {
            // Every task that runs at home starts the wait anew, as in Spark.
            (true, true) => {
                self.waiting.insert(stage.clone(), now);
            }
            (true, false) => {
                self.waiting.entry(stage.clone()).or_insert(now);
            }
            (false, _) => {
                self.waiting.remove(stage);
            }
        }
        placed
    }

    fn has_all(&self, rdd_id: i64, partitions: usize) -> bool {
        let block = |partition| BlockId { rdd_id, partition };
        (0..partitions).all(|p| self.executors.contains_key(&block(p)))
    }

    fn forget_executor(&mut self, executor_id: &str) {
        self.executors.retain(|_, home| home != executor_id);
    }
}

/// The executor with most free cores; the smallest name among equals, so that it is the same
/// one each time.
fn freest(free: &HashMap<String, u32>) -> Option<String> {
    free.iter()
        .filter(|(_, cores)| **cores > 0)
        .max_by(|(a, a_cores), (b, b_cores)| a_cores.cmp(b_cores).then_with(|| b.cmp(a)))
        .map(|(executor, _)| executor.clone())
}

/// Ballista's distribution policy for our plans: one partition a task.
#[derive(Debug, Default)]
pub(super) struct Placement {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    homes: Homes,
    /// What running stages read of persisted RDDs, by partition.
    blocks: HashMap<StageKey, Arc<[Option<BlockId>]>>,
}

impl Placement {
    /// An executor is gone, and its blocks with it.
    pub fn forget_executor(&self, executor_id: &str) {
        self.state.lock().homes.forget_executor(executor_id);
    }

    /// Claims that tasks for all partitions of a persisted RDD have been placed on executors
    /// that are still there.
    pub fn has_placed(&self, rdd_id: i64, partitions: usize) -> bool {
        self.state.lock().homes.has_all(rdd_id, partitions)
    }

    /// Binds what a stage has left to do, as far as cores are free.
    fn bind_stage(
        &self,
        job_id: &JobId,
        session_id: &str,
        stage: &mut RunningStage,
        free: &mut HashMap<String, u32>,
    ) -> Result<Vec<BoundTask>> {
        let mut state = self.state.lock();
        let key = (job_id.clone(), stage.stage_id);
        let blocks = match state.blocks.get(&key) {
            Some(blocks) => Arc::clone(blocks),
            None => {
                let blocks: Arc<[_]> = persisted_partitions(stage.plan.children()[0])?.into();
                state.blocks.insert(key.clone(), Arc::clone(&blocks));
                blocks
            }
        };
        let partitions = stage.pending.next_slice(usize::MAX);
        if collapses(&stage.plan) {
            // All partitions make one result, so one task has to see them all.
            let Some(executor) = freest(free).filter(|_| !partitions.is_empty()) else {
                stage.pending.reschedule(partitions);
                return Ok(Vec::new());
            };
            let pending = [Pending {
                partition: 0,
                block: blocks.first().copied().flatten(),
                failed_before: partitions
                    .iter()
                    .any(|&p| stage.task_failure_numbers[p] > 0),
            }];
            let placed = state.homes.place(&key, &pending, free, Instant::now());
            let Some((_, executor)) = placed.into_iter().next() else {
                tracing::debug!(%executor, "a task waits for the executor that keeps its block");
                stage.pending.reschedule(partitions);
                return Ok(Vec::new());
            };
            return Ok(vec![bind(job_id, session_id, stage, partitions, executor)]);
        }
        let pending: Vec<Pending> = partitions
            .iter()
            .map(|&partition| Pending {
                partition,
                block: blocks.get(partition).copied().flatten(),
                failed_before: stage.task_failure_numbers[partition] > 0,
            })
            .collect();
        let placed = state.homes.place(&key, &pending, free, Instant::now());
        let running: std::collections::HashSet<usize> = placed.iter().map(|(p, _)| *p).collect();
        stage
            .pending
            .reschedule(partitions.into_iter().filter(|p| !running.contains(p)));
        Ok(placed
            .into_iter()
            .map(|(partition, executor)| bind(job_id, session_id, stage, vec![partition], executor))
            .collect())
    }
}

#[async_trait]
impl DistributionPolicy for Placement {
    async fn bind_tasks(
        &self,
        mut budgets: Vec<&mut AvailableVcores>,
        running_jobs: Arc<HashMap<JobId, JobInfoCache>>,
    ) -> Result<Vec<BoundTask>> {
        {
            let mut state = self.state.lock();
            state
                .blocks
                .retain(|(job, _), _| running_jobs.contains_key(job));
            state
                .homes
                .waiting
                .retain(|(job, _), _| running_jobs.contains_key(job));
        }
        let mut free: HashMap<String, u32> = budgets
            .iter()
            .map(|budget| (budget.executor_id.clone(), budget.vcores))
            .collect();
        let mut bound = Vec::new();
        for (job_id, job) in running_jobs.iter() {
            if !matches!(job.status, Some(job_status::Status::Running(_))) {
                continue;
            }
            let mut graph = job.execution_graph.write().await;
            let session_id = graph.session_id().to_owned();
            let mut seen = Vec::new();
            while let Some(stage) = graph.fetch_running_stage(&seen) {
                seen.push(stage.stage_id);
                bound.extend(self.bind_stage(job_id, &session_id, stage, &mut free)?);
            }
        }
        for budget in &mut budgets {
            budget.vcores = free.get(&budget.executor_id).copied().unwrap_or_default();
        }
        Ok(bound)
    }

    fn name(&self) -> &str {
        "persisted partitions at home"
    }
}

/// Makes a task of some of a stage's partitions, as Ballista's own policies do.
fn bind(
    job_id: &JobId,
    session_id: &str,
    stage: &mut RunningStage,
    partitions: Vec<usize>,
    executor_id: String,
) -> BoundTask {
    let task_id = stage.task_infos.len();
    let attempts = partitions.iter().map(|&p| stage.task_failure_numbers[p]);
    let task_attempt = attempts.max().unwrap_or(0);
    let mut info = create_task_info(executor_id.clone(), task_id);
    info.global_input_partition_ids.clone_from(&partitions);
    info.vcores_consumed = 1;
    stage.task_infos.push(info);
    let task = TaskDescription {
        session_id: session_id.to_owned(),
        key: TaskKey {
            job_id: job_id.clone(),
            stage_id: stage.stage_id,
            task_id,
        },
        stage_attempt_num: stage.stage_attempt_num,
        task_attempt,
        global_input_partition_ids: partitions,
        vcores_consumed: 1,
        plan: Arc::clone(&stage.plan),
        session_config: Arc::clone(&stage.session_config),
    };
    (executor_id, task)
}

/// Whether some operator of a stage makes one partition of all its input, which a single task
/// then has to see as a whole. Ballista asks the same of its stages.
fn collapses(writer: &Arc<dyn ExecutionPlan>) -> bool {
    let mut node = match writer.children().as_slice() {
        [child] => Arc::clone(child),
        _ => return false,
    };
    loop {
        if is_reader(&node) {
            return false;
        }
        if node.output_partitioning().partition_count() == 1 {
            return true;
        }
        node = match node.children().as_slice() {
            [child] => Arc::clone(child),
            _ => return false,
        };
    }
}

fn is_reader(node: &Arc<dyn ExecutionPlan>) -> bool {
    use ballista_core::execution_plans::{RangeShuffleReaderExec, ShuffleReaderExec};
    node.is::<ShuffleReaderExec>() || node.is::<RangeShuffleReaderExec>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(id: usize) -> StageKey {
        (JobId::new("job".to_owned()), id)
    }

    fn pending(count: usize) -> Vec<Pending> {
        (0..count)
            .map(|partition| Pending {
                partition,
                block: Some(BlockId {
                    rdd_id: 7,
                    partition,
                }),
                failed_before: false,
            })
            .collect()
    }

    fn free(executors: &[(&str, u32)]) -> HashMap<String, u32> {
        let entry = |(name, cores): &(&str, u32)| ((*name).to_owned(), *cores);
        executors.iter().map(entry).collect()
    }

    fn executors(placed: &[(usize, String)]) -> Vec<(usize, &str)> {
        placed.iter().map(|(p, e)| (*p, e.as_str())).collect()
    }

    #[test]
    fn tasks_go_where_most_cores_are_free() {
        let mut homes = Homes::default();
        let mut cores = free(&[("a", 1), ("b", 2)]);
        let placed = homes.place(&stage(1), &pending(5), &mut cores, Instant::now());
        assert_eq!(executors(&placed), [(0, "b"), (1, "a"), (2, "b")]);
        assert_eq!(cores, free(&[("a", 0), ("b", 0)]));
    }

    #[test]
    fn a_persisted_partition_stays_at_home_and_waits_for_it() {
        let mut homes = Homes::default();
        let start = Instant::now();
        let all = pending(2);
        let first = homes.place(&stage(1), &all, &mut free(&[("a", 1), ("b", 1)]), start);
        assert_eq!(executors(&first), [(0, "a"), (1, "b")]);

        let busy = homes.place(&stage(2), &all, &mut free(&[("b", 4)]), start);
        assert_eq!(executors(&busy), [(1, "b")], "0 waits for its home");
        let rest = &all[..1];
        let still = start + LOCALITY_WAIT / 2;
        assert!(
            homes
                .place(&stage(2), rest, &mut free(&[("b", 4)]), still)
                .is_empty()
        );
        let late = start + LOCALITY_WAIT;
        let moved = homes.place(&stage(2), rest, &mut free(&[("b", 4)]), late);
        assert_eq!(executors(&moved), [(0, "b")], "the wait is limited");
        let after = homes.place(&stage(3), rest, &mut free(&[("a", 4), ("b", 1)]), late);
        assert_eq!(
            executors(&after),
            [(0, "b")],
            "and the block has a new home"
        );
    }

    #[test]
    fn a_lost_executor_and_a_failed_task_free_their_partitions() {
        let mut homes = Homes::default();
        let now = Instant::now();
        let mut all = pending(2);
        homes.place(&stage(1), &all, &mut free(&[("a", 2)]), now);
        homes.forget_executor("a");
        let placed = homes.place(&stage(2), &all, &mut free(&[("b", 1), ("c", 1)]), now);
        assert_eq!(executors(&placed), [(0, "b"), (1, "c")]);

        all[0].failed_before = true;
        let placed = homes.place(&stage(3), &all[..1], &mut free(&[("b", 1), ("c", 2)]), now);
        assert_eq!(executors(&placed), [(0, "c")]);
    }
}
