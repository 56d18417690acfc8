//! Outputs of map stages that later jobs can use again.
//!
//! Spark keeps the files of a shuffle and skips the stage that wrote them when a later job, or
//! another part of the same job, reads the same RDD. So does this: executors keep what the map
//! stages of RDDs wrote until the driver says otherwise, and the driver knows where it is.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use ballista_core::JobId;
use ballista_core::serde::scheduler::PartitionLocation;
use ballista_scheduler::state::execution_stage::{ExecutionStage, StageOutput};
use datafusion::physical_plan::ExecutionPlan;
use parking_lot::Mutex;
use pyrite_proto::exec;
use pyrite_proto::exec::executor_command::Command;
use pyrite_rdd::operators::ShuffleKeyExec;

use super::service::Executors;

/// Outputs that are kept for later jobs.
const KEPT_OUTPUTS: usize = 64;

/// What executors keep of a job: the outputs of its map stages. They delete it when the last
/// user of one of the outputs is gone.
pub(super) struct JobData {
    job: JobId,
    executors: Weak<Executors>,
}

impl JobData {
    pub fn new(job: JobId, executors: &Arc<Executors>) -> Arc<Self> {
        Arc::new(Self {
            job,
            executors: Arc::downgrade(executors),
        })
    }
}

impl Drop for JobData {
    fn drop(&mut self) {
        let Some(executors) = self.executors.upgrade() else {
            return;
        };
        // Without a runtime the driver is ending, and its executors with it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let command = Command::RemoveMapOutputs(exec::RemoveMapOutputs {
            job: self.job.as_str().to_owned(),
        });
        runtime.spawn(async move { executors.broadcast(&command).await });
    }
}

/// The output of one map stage: the places of each partition.
pub(super) struct MapOutput {
    pub partitions: Vec<Vec<PartitionLocation>>,
    _data: Arc<JobData>,
}

impl MapOutput {
    pub fn new(partitions: Vec<Vec<PartitionLocation>>, data: Arc<JobData>) -> Self {
        Self {
            partitions,
            _data: data,
        }
    }

    fn is_on(&self, executor_id: &str) -> bool {
        self.partitions
            .iter()
            .flatten()
            .any(|location| location.executor_meta.id == executor_id)
    }
}

/// The outputs by the RDD that the exchange makes.
#[derive(Default)]
pub(super) struct MapOutputs {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: HashMap<i64, Kept>,
    uses: u64,
}

struct Kept {
    output: Arc<MapOutput>,
    last_use: u64,
}

impl MapOutputs {
    /// The output of the map stage of RDD `rdd_id`.
    pub fn get(&self, rdd_id: i64) -> Option<Arc<MapOutput>> {
        let mut state = self.state.lock();
        state.uses += 1;
        let uses = state.uses;
        let kept = state.kept.get_mut(&rdd_id)?;
        kept.last_use = uses;
        Some(Arc::clone(&kept.output))
    }

    /// Keeps an output, instead of the one that was used longest ago if there are too many.
    pub fn keep(&self, rdd_id: i64, output: Arc<MapOutput>) {
        let mut state = self.state.lock();
        state.uses += 1;
        let kept = Kept {
            output,
            last_use: state.uses,
        };
        state.kept.insert(rdd_id, kept);
        while state.kept.len() > KEPT_OUTPUTS {
            let oldest = state.kept.iter().min_by_key(|(_, kept)| kept.last_use);
            let Some(oldest) = oldest.map(|(&rdd_id, _)| rdd_id) else {
                return;
            };
            state.kept.remove(&oldest);
        }
    }

    /// Forgets outputs that turned out to be lost, unless they have been replaced.
    pub fn forget<'a>(&self, lost: impl IntoIterator<Item = (&'a i64, &'a Arc<MapOutput>)>) {
        let mut state = self.state.lock();
        for (rdd_id, output) in lost {
            if state
                .kept
                .get(rdd_id)
                .is_some_and(|kept| Arc::ptr_eq(&kept.output, output))
            {
                state.kept.remove(rdd_id);
            }
        }
    }

    /// Gives outputs up that nobody asks for any more.
    pub fn remove(&self, rdd_ids: &[i64]) {
        let mut state = self.state.lock();
        for rdd_id in rdd_ids {
            state.kept.remove(rdd_id);
        }
    }

    /// Forgets what was on an executor.
    pub fn forget_executor(&self, executor_id: &str) {
        let mut state = self.state.lock();
        state.kept.retain(|_, kept| !kept.output.is_on(executor_id));
    }
}

/// The RDD whose map stage `writer`, the plan of a stage, is.
pub fn map_stage_of(writer: &Arc<dyn ExecutionPlan>) -> Option<i64> {
    match writer.children().as_slice() {
        [keyed] => keyed
            .downcast_ref::<ShuffleKeyExec>()
            .map(ShuffleKeyExec::rdd_id),
        _ => None,
    }
}

/// What the map stages of a job that has succeeded wrote: RDDs and the places of their
/// partitions.
pub(super) fn outputs_of(
    stages: &HashMap<usize, ExecutionStage>,
) -> Vec<(i64, Vec<Vec<PartitionLocation>>)> {
    let mut map_stages = HashMap::new();
    for (&stage_id, stage) in stages {
        if let ExecutionStage::Successful(stage) = stage
            && let Some(rdd_id) = map_stage_of(&stage.plan)
        {
            let partitions = stage.plan.children()[0]
                .downcast_ref::<ShuffleKeyExec>()
                .map_or(0, ShuffleKeyExec::num_partitions);
            map_stages.insert(stage_id, (rdd_id, partitions));
        }
    }
    let mut found = HashSet::new();
    let mut outputs = Vec::new();
    for stage in stages.values() {
        let ExecutionStage::Successful(stage) = stage else {
            continue;
        };
        for (stage_id, input) in &stage.inputs {
            if let Some((rdd_id, partitions)) = map_stages.get(stage_id)
                && input.complete
                && found.insert(*rdd_id)
            {
                outputs.push((*rdd_id, places(input, *partitions)));
            }
        }
    }
    outputs
}

fn places(output: &StageOutput, partitions: usize) -> Vec<Vec<PartitionLocation>> {
    (0..partitions)
        .map(|partition| {
            let places = output.partition_locations.get(&partition);
            places.cloned().unwrap_or_default()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use ballista_core::serde::scheduler::{
        ExecutorMetadata, ExecutorOperatingSystemSpecification, ExecutorSpecification, PartitionId,
        PartitionStats,
    };

    use super::*;

    fn output(executor: &str) -> Arc<MapOutput> {
        let location = PartitionLocation {
            map_partition_id: 0,
            partition_id: PartitionId {
                job_id: "0-0".into(),
                stage_id: 1,
                partition_id: 0,
            },
            executor_meta: ExecutorMetadata {
                id: executor.to_owned(),
                host: "localhost".into(),
                port: 7,
                grpc_port: 8,
                specification: ExecutorSpecification::default(),
                os_info: ExecutorOperatingSystemSpecification::default(),
            },
            partition_stats: PartitionStats::default(),
            file_id: None,
            is_sort_shuffle: true,
        };
        let data = Arc::new(JobData {
            job: "0-0".into(),
            executors: Weak::new(),
        });
        Arc::new(MapOutput::new(vec![vec![location]], data))
    }

    #[test]
    fn an_output_goes_with_its_executor() {
        let outputs = MapOutputs::default();
        outputs.keep(1, output("a"));
        outputs.keep(2, output("b"));
        outputs.forget_executor("a");
        assert!(outputs.get(1).is_none());
        assert!(outputs.get(2).is_some());
    }

    #[test]
    fn the_output_that_was_used_longest_ago_makes_room() {
        let outputs = MapOutputs::default();
        for rdd_id in 0..KEPT_OUTPUTS as i64 {
            outputs.keep(rdd_id, output("a"));
        }
        assert!(outputs.get(0).is_some());
        outputs.keep(1000, output("a"));
        assert!(outputs.get(1).is_none());
        assert!(outputs.get(0).is_some() && outputs.get(1000).is_some());
    }

    #[test]
    fn a_lost_output_is_not_confused_with_its_successor() {
        let outputs = MapOutputs::default();
        let lost = output("a");
        outputs.keep(1, Arc::clone(&lost));
        outputs.keep(2, Arc::clone(&lost));
        outputs.keep(1, output("b"));
        outputs.forget([(&1, &lost), (&2, &lost)]);
        assert!(outputs.get(1).is_some());
        assert!(outputs.get(2).is_none());
    }
}
