//! What happens to a job's stages, told once each.

use std::collections::{BTreeMap, HashMap, HashSet};

use ballista_core::serde::protobuf::task_status::Status;
use ballista_scheduler::state::execution_stage::{ExecutionStage, SuccessfulStage};
use parking_lot::Mutex;
use tokio::sync::broadcast;

use super::job_ids::driver_job;
use crate::api::StageEvent;

#[derive(PartialEq, Eq, Hash)]
enum Told {
    Submitted { stage_id: usize, attempt: usize },
    Finished { stage_id: usize, attempt: usize },
}

/// Compares what Ballista knows about stages with what has been told about them.
pub(super) struct StageTracker {
    told: Mutex<HashMap<String, HashSet<Told>>>,
    events: broadcast::Sender<StageEvent>,
}

impl Default for StageTracker {
    fn default() -> Self {
        Self {
            told: Mutex::default(),
            events: broadcast::channel(1024).0,
        }
    }
}

impl StageTracker {
    pub fn subscribe(&self) -> broadcast::Receiver<StageEvent> {
        self.events.subscribe()
    }

    /// Tells what is new about the stages of job `name`.
    pub fn observe(&self, name: &str, stages: &HashMap<usize, ExecutionStage>) {
        let Some(job_id) = driver_job(name) else {
            return;
        };
        let mut told = self.told.lock();
        let told = told.entry(name.to_owned()).or_default();
        // In the order of their numbers, which is that of their dependencies.
        for (&stage_id, stage) in &stages.iter().collect::<BTreeMap<_, _>>() {
            let stage_id = *stage_id;
            let (attempt, partitions) = match stage {
                ExecutionStage::UnResolved(_) | ExecutionStage::Resolved(_) => continue,
                ExecutionStage::Running(s) => (s.stage_attempt_num, s.partitions),
                ExecutionStage::Successful(s) => (s.stage_attempt_num, s.partitions),
                ExecutionStage::Failed(s) => (s.stage_attempt_num, s.partitions),
            };
            if told.insert(Told::Submitted { stage_id, attempt }) {
                self.tell(StageEvent::Submitted {
                    job_id,
                    stage_id,
                    attempt,
                    partitions,
                });
            }
            if let ExecutionStage::Successful(stage) = stage
                && told.insert(Told::Finished { stage_id, attempt })
            {
                self.tell(finished(job_id, stage));
            }
        }
    }

    pub fn forget(&self, name: &str) {
        self.told.lock().remove(name);
    }

    fn tell(&self, event: StageEvent) {
        tracing::debug!(?event, "stage");
        // Nobody has to listen.
        let _ = self.events.send(event);
    }
}

fn finished(job_id: i64, stage: &SuccessfulStage) -> StageEvent {
    let successful: Vec<&str> = stage
        .task_infos
        .iter()
        .filter_map(|task| match &task.task_status {
            Status::Successful(task) => Some(task.executor_id.as_str()),
            _ => None,
        })
        .collect();
    let mut executors: Vec<String> = successful.iter().map(|id| (*id).to_owned()).collect();
    executors.sort();
    executors.dedup();
    StageEvent::Finished {
        job_id,
        stage_id: stage.stage_id,
        attempt: stage.stage_attempt_num,
        partitions: stage.partitions,
        tasks: successful.len(),
        executors,
    }
}
