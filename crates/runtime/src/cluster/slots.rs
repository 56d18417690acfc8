//! Which task slots of executors are taken.
//!
//! Ballista gives a task's slot back when it can find the task in its job's graph at the time the
//! task's outcome arrives. It cannot after it has rolled the stage back, which is what it does
//! with running stages when an executor is lost; the slots of their tasks would be gone for ever.
//! So slots are counted here instead: a slot is taken when a task is bound to an executor, and
//! free again when that very task has reported its end, or was never sent.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::error::Result;
use ballista_core::serde::protobuf::{ExecutorHeartbeat, MultiTaskDefinition, TaskStatus};
use ballista_core::serde::scheduler::{ExecutorData, ExecutorMetadata};
use ballista_scheduler::cluster::memory::InMemoryClusterState;
use ballista_scheduler::cluster::{BoundTask, ClusterState, ClusterStateEventStream, ExecutorSlot};
use ballista_scheduler::config::TaskDistributionPolicy;
use ballista_scheduler::state::execution_graph::TaskDescription;
use ballista_scheduler::state::executor_manager::ExecutorManager;
use ballista_scheduler::state::task_manager::{JobInfoCache, TaskLauncher};
use parking_lot::Mutex;

/// One attempt of a task.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Attempt {
    job_id: String,
    stage_id: usize,
    stage_attempt: usize,
    task_id: usize,
}

#[derive(Debug, Clone, Copy)]
struct Taken {
    slots: u32,
    /// Sent to the executor, which will report its end.
    launched: bool,
}

/// Tasks and their slots by executor. Does no I/O.
#[derive(Default)]
struct Ledger {
    executors: HashMap<String, HashMap<Attempt, Taken>>,
}

impl Ledger {
    fn bind(&mut self, executor_id: &str, attempt: Attempt, slots: u32) {
        let taken = Taken {
            slots,
            launched: false,
        };
        self.executors
            .entry(executor_id.to_owned())
            .or_default()
            .insert(attempt, taken);
    }

    fn launch(&mut self, executor_id: &str, attempt: &Attempt) {
        if let Some(taken) = self
            .executors
            .get_mut(executor_id)
            .and_then(|tasks| tasks.get_mut(attempt))
        {
            taken.launched = true;
        }
    }

    /// Slots that the end of an attempt frees; none when it is reported again.
    fn finish(&mut self, executor_id: &str, attempt: &Attempt) -> u32 {
        self.executors
            .get_mut(executor_id)
            .and_then(|tasks| tasks.remove(attempt))
            .map_or(0, |taken| taken.slots)
    }

    /// Slots that are free because tasks were never sent, up to `wanted`.
    fn never_launched(&mut self, executor_id: &str, wanted: u32) -> u32 {
        let Some(tasks) = self.executors.get_mut(executor_id) else {
            return 0;
        };
        let mut freed = 0;
        tasks.retain(|_, taken| {
            let frees = !taken.launched && freed + taken.slots <= wanted;
            if frees {
                freed += taken.slots;
            }
            !frees
        });
        freed
    }

    fn forget(&mut self, executor_id: &str) {
        self.executors.remove(executor_id);
    }
}

/// Ballista's state of executors, with slots counted by [`Ledger`].
pub(super) struct Slots {
    inner: InMemoryClusterState,
    ledger: Mutex<Ledger>,
}

impl Slots {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: InMemoryClusterState::default(),
            ledger: Mutex::default(),
        })
    }

    /// Frees the slots of tasks that have ended.
    pub async fn finished(&self, executor_id: &str, outcomes: &[TaskStatus]) -> Result<()> {
        let freed = {
            let mut ledger = self.ledger.lock();
            outcomes
                .iter()
                .map(|outcome| ledger.finish(executor_id, &attempt_of_outcome(outcome)))
                .sum()
        };
        self.free(executor_id, freed).await
    }

    async fn free(&self, executor_id: &str, slots: u32) -> Result<()> {
        if slots == 0 {
            return Ok(());
        }
        self.inner
            .unbind_tasks(vec![(executor_id.to_owned(), slots)])
            .await
    }
}

fn attempt_of_outcome(outcome: &TaskStatus) -> Attempt {
    Attempt {
        job_id: outcome.job_id.clone(),
        stage_id: outcome.stage_id as usize,
        stage_attempt: outcome.stage_attempt_num as usize,
        task_id: outcome.task_id as usize,
    }
}

fn attempt_of_task(task: &TaskDescription) -> Attempt {
    Attempt {
        job_id: task.key.job_id.as_str().to_owned(),
        stage_id: task.key.stage_id,
        stage_attempt: task.stage_attempt_num,
        task_id: task.key.task_id,
    }
}

#[async_trait]
impl ClusterState for Slots {
    async fn init(&self) -> Result<()> {
        self.inner.init().await
    }

    async fn bind_schedulable_tasks(
        &self,
        distribution: TaskDistributionPolicy,
        active_jobs: Arc<HashMap<JobId, JobInfoCache>>,
        executors: Option<HashSet<String>>,
    ) -> Result<Vec<BoundTask>> {
        let bound = self
            .inner
            .bind_schedulable_tasks(distribution, active_jobs, executors)
            .await?;
        let mut ledger = self.ledger.lock();
        for (executor_id, task) in &bound {
            ledger.bind(executor_id, attempt_of_task(task), task.vcores_consumed);
        }
        Ok(bound)
    }

    /// What Ballista gives back by itself. Tasks that run report their end; only those that
    /// were never sent count here.
    async fn unbind_tasks(&self, slots: Vec<ExecutorSlot>) -> Result<()> {
        for (executor_id, count) in slots {
            let freed = self.ledger.lock().never_launched(&executor_id, count);
            self.free(&executor_id, freed).await?;
        }
        Ok(())
    }

    async fn register_executor(
        &self,
        metadata: ExecutorMetadata,
        spec: ExecutorData,
    ) -> Result<()> {
        let executor_id = metadata.id.clone();
        self.inner.register_executor(metadata, spec).await?;
        self.ledger.lock().forget(&executor_id);
        Ok(())
    }

    async fn save_executor_metadata(&self, metadata: ExecutorMetadata) -> Result<()> {
        self.inner.save_executor_metadata(metadata).await
    }

    async fn get_executor_metadata(&self, executor_id: &str) -> Result<ExecutorMetadata> {
        self.inner.get_executor_metadata(executor_id).await
    }

    async fn registered_executor_metadata(&self) -> Vec<ExecutorMetadata> {
        self.inner.registered_executor_metadata().await
    }

    async fn save_executor_heartbeat(&self, heartbeat: ExecutorHeartbeat) -> Result<()> {
        self.inner.save_executor_heartbeat(heartbeat).await
    }

    async fn remove_executor(&self, executor_id: &str) -> Result<()> {
        self.ledger.lock().forget(executor_id);
        self.inner.remove_executor(executor_id).await
    }

    fn executor_heartbeats(&self) -> HashMap<String, ExecutorHeartbeat> {
        self.inner.executor_heartbeats()
    }

    fn get_executor_heartbeat(&self, executor_id: &str) -> Option<ExecutorHeartbeat> {
        self.inner.get_executor_heartbeat(executor_id)
    }

    async fn cluster_state_events(&self) -> Result<ClusterStateEventStream> {
        self.inner.cluster_state_events().await
    }
}

/// Sends tasks to executors and notes which were sent.
pub(super) struct Launcher {
    pub endpoint: String,
    pub slots: Arc<Slots>,
}

#[async_trait]
impl TaskLauncher for Launcher {
    async fn launch_tasks(
        &self,
        executor: &ExecutorMetadata,
        tasks: Vec<MultiTaskDefinition>,
        executor_manager: &ExecutorManager,
    ) -> Result<HashSet<JobId>> {
        {
            // Before they are sent: a short task may end before the call returns.
            let mut ledger = self.slots.ledger.lock();
            for tasks in &tasks {
                for task in &tasks.task_ids {
                    let attempt = Attempt {
                        job_id: tasks.job_id.clone(),
                        stage_id: tasks.stage_id as usize,
                        stage_attempt: tasks.stage_attempt_num as usize,
                        task_id: task.task_id as usize,
                    };
                    ledger.launch(&executor.id, &attempt);
                }
            }
        }
        executor_manager
            .launch_multi_task(&executor.id, tasks, self.endpoint.clone())
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(task_id: usize) -> Attempt {
        Attempt {
            job_id: "1-0".into(),
            stage_id: 1,
            stage_attempt: 0,
            task_id,
        }
    }

    #[test]
    fn a_slot_is_freed_once() {
        let mut ledger = Ledger::default();
        ledger.bind("0", attempt(0), 2);
        ledger.launch("0", &attempt(0));
        assert_eq!(ledger.finish("0", &attempt(0)), 2);
        assert_eq!(ledger.finish("0", &attempt(0)), 0);
        assert_eq!(ledger.finish("1", &attempt(0)), 0);
    }

    #[test]
    fn only_tasks_that_were_not_sent_are_given_back() {
        let mut ledger = Ledger::default();
        for task in 0..3 {
            ledger.bind("0", attempt(task), 1);
        }
        ledger.launch("0", &attempt(0));
        assert_eq!(ledger.never_launched("0", 1), 1);
        assert_eq!(ledger.never_launched("0", 5), 1);
        assert_eq!(
            ledger.never_launched("0", 5),
            0,
            "the task that runs keeps its slot"
        );
        assert_eq!(ledger.finish("0", &attempt(0)), 1);
    }

    #[test]
    fn a_lost_executor_takes_its_slots_along() {
        let mut ledger = Ledger::default();
        ledger.bind("0", attempt(0), 1);
        ledger.forget("0");
        assert_eq!(ledger.finish("0", &attempt(0)), 0);
    }
}
