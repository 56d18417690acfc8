//! Map stages of RDDs: their outputs serve later jobs, and are made again when they are lost.

mod support;

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};
use pyrite_proto::core::parallel_collection::Slice;
use pyrite_rdd::operators::{ParallelCollectionExec, ShuffleFramesExec, ShuffleKeyExec};
use pyrite_runtime::{Runtime, StageEvent};

use support::TestCluster;

const MAPS: u8 = 4;
const TARGETS: usize = 3;

/// Each of the map partitions sends its number to each target.
fn shuffled(rdd_id: i64) -> Arc<dyn ExecutionPlan> {
    let frame = |target: usize, map: u8| {
        let mut frame = u32::try_from(target).unwrap().to_be_bytes().to_vec();
        frame.push(map);
        frame
    };
    let slices: Vec<_> = (0..MAPS)
        .map(|map| Slice {
            frames: (0..TARGETS)
                .map(|target| frame(target, map).into())
                .collect(),
            ..Slice::default()
        })
        .collect();
    let source = Arc::new(ParallelCollectionExec::try_new(&slices).unwrap());
    let keyed = Arc::new(ShuffleKeyExec::new(source, TARGETS, rdd_id));
    let by_key = Partitioning::Hash(vec![Arc::new(Column::new("key", 0))], TARGETS);
    let exchanged = RepartitionExec::try_new(keyed, by_key).unwrap();
    Arc::new(ShuffleFramesExec::new(Arc::new(exchanged)))
}

fn frames(batches: &[RecordBatch]) -> Vec<u8> {
    let mut frames: Vec<u8> = batches
        .iter()
        .flat_map(|batch| batch.column(0).as_binary::<i64>().iter().flatten())
        .map(|frame| frame[0])
        .collect();
    frames.sort_unstable();
    frames
}

fn expected(copies: usize) -> Vec<u8> {
    (0..MAPS)
        .flat_map(|map| vec![map; TARGETS * copies])
        .collect()
}

/// Runs a job; returns the numbers of partitions of its stages.
async fn run(
    cluster: &TestCluster,
    job_id: i64,
    plan: Arc<dyn ExecutionPlan>,
    copies: usize,
) -> Vec<usize> {
    let mut stages = cluster.runtime.stage_events();
    let batches = cluster.collect(job_id, plan).await.unwrap();
    assert_eq!(frames(&batches), expected(copies));
    let told = cluster.stage_events(&mut stages, usize::MAX).await;
    let mut partitions: Vec<_> = told
        .iter()
        .filter_map(|event| match event {
            StageEvent::Submitted { partitions, .. } => Some(*partitions),
            StageEvent::Finished { .. } => None,
        })
        .collect();
    partitions.sort_unstable();
    partitions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn later_jobs_skip_a_map_stage_that_has_run() {
    let cluster = TestCluster::start(2, 1).await;
    assert_eq!(run(&cluster, 1, shuffled(7), 1).await, [TARGETS, 4]);
    assert_eq!(run(&cluster, 2, shuffled(7), 1).await, [TARGETS]);
    assert_eq!(run(&cluster, 3, shuffled(8), 1).await, [TARGETS, 4]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_map_stage_that_a_job_reads_three_times_runs_once() {
    let cluster = TestCluster::start(2, 1).await;
    let thrice = UnionExec::try_new(vec![shuffled(7), shuffled(7), shuffled(7)]).unwrap();
    let stages = run(&cluster, 1, thrice, 3).await;
    // The one of a single partition ends the job that ran the map stage.
    assert_eq!(stages, [1, 4, 3 * TARGETS]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn outputs_that_went_with_an_executor_are_made_again() {
    let cluster = TestCluster::start(2, 1).await;
    run(&cluster, 1, shuffled(7), 1).await;
    cluster.kill("0").await;
    let alone = async {
        while cluster.runtime.executors().len() > 1 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), alone)
        .await
        .expect("the driver notices that the executor is gone");
    assert_eq!(run(&cluster, 2, shuffled(7), 1).await, [TARGETS, 4]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn outputs_whose_files_are_gone_are_made_again() {
    let cluster = TestCluster::start(2, 1).await;
    run(&cluster, 1, shuffled(7), 1).await;
    assert!(cluster.delete_shuffle_files() > 0, "the outputs were kept");
    // The stage that finds nothing to read, then the job once more.
    assert_eq!(
        run(&cluster, 2, shuffled(7), 1).await,
        [TARGETS, TARGETS, 4]
    );
    assert_eq!(run(&cluster, 3, shuffled(7), 1).await, [TARGETS]);
    cluster.stop().await;
}
