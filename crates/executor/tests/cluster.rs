//! Plans on a cluster of one driver and two executors in this process.

mod support;

use std::time::{Duration, Instant};

use datafusion::physical_plan::displayable;
use pyrite_proto::error::class;
use pyrite_runtime::{JobRequest, Runtime, StageEvent};

use support::{TestCluster, column, plan};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_plan_of_one_stage_works() {
    let cluster = TestCluster::start(2, 2).await;
    let plan = plan(&cluster, 7, 100, "select v from t where v % 2 = 0").await;
    let mut stages = cluster.runtime.stage_events();
    let batches = cluster.collect(1, plan).await.unwrap();
    assert_eq!(column(&batches, 0), (0..700).step_by(2).collect::<Vec<_>>());
    let told = cluster.stage_events(&mut stages, 2).await;
    assert!(
        matches!(&told[..], [
            StageEvent::Submitted { job_id: 1, stage_id: 1, partitions: 7, .. },
            StageEvent::Finished { job_id: 1, stage_id: 1, partitions: 7, tasks: 2.., executors, .. },
        ] if executors.len() == 2),
        "{told:?}"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn exchanges_sorts_and_joins_work() {
    let cluster = TestCluster::start(2, 2).await;
    let queries = [
        ("select k, sum(v) from t group by k", 2),
        ("select k, v from t order by v desc", 2),
        (
            "select a.k, count(*) as n from t a join t b on a.v = b.v group by a.k order by a.k",
            3,
        ),
        (
            "select count(*) as n, sum(v) as m from t where v % 3 = 0",
            2,
        ),
        (
            "select v, k from t union all select k, v from t where k < 3",
            1,
        ),
        (
            "select a.v, b.k from t a, (select max(k) as k from t) b where a.v < 100",
            2,
        ),
        (
            "select k, row_number() over (partition by k order by v) as n from t",
            2,
        ),
        ("select v, k from t order by v limit 5", 1),
    ];
    for (job_id, (sql, least_stages)) in queries.into_iter().enumerate() {
        let plan = plan(&cluster, 4, 500, sql).await;
        let text = displayable(plan.as_ref()).indent(false).to_string();
        let expected = support::in_process(plan.clone()).await;
        let mut stages = cluster.runtime.stage_events();
        let batches = cluster
            .collect(job_id as i64, plan)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}\n{text}"));
        for index in 0..2 {
            assert_eq!(
                column(&batches, index),
                column(&expected, index),
                "{sql}\n{text}"
            );
        }
        let told = cluster.stage_events(&mut stages, 2 * least_stages).await;
        assert!(told.len() >= 2 * least_stages, "{sql}: {told:?}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_error_arrives_as_a_value() {
    let cluster = TestCluster::start(2, 1).await;
    let plan = plan(&cluster, 3, 10, "select 1 / (v - 15) from t").await;
    let error = cluster.collect(1, plan).await.unwrap_err();
    assert_eq!(
        (error.class_name.as_str(), error.condition.as_str()),
        (class::ARITHMETIC, "DIVIDE_BY_ZERO"),
        "{error}"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lost_executor_costs_a_retry() {
    let cluster = TestCluster::start(3, 1).await;
    let slow = "select a.k, count(*) as n from t a, t b where a.v + b.v > 5 group by a.k";
    let plan = plan(&cluster, 4, 2500, slow).await;
    let expected = support::in_process(plan.clone()).await;
    let start = Instant::now();
    let job = {
        let runtime = cluster.runtime.clone();
        tokio::spawn(async move { support::collect(runtime.as_ref(), 1, plan).await })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(
        !job.is_finished(),
        "the job must still be running for this test to mean something"
    );
    cluster.kill("0").await;
    let batches = job.await.unwrap().unwrap();
    eprintln!("job with a lost executor took {:?}", start.elapsed());
    assert_eq!(column(&batches, 1), column(&expected, 1));
    let left: Vec<_> = cluster
        .runtime
        .executors()
        .into_iter()
        .map(|e| e.executor_id)
        .collect();
    assert_eq!(left, ["1", "2"]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cancelled_job_frees_its_slots_and_leaves_no_files() {
    let cluster = TestCluster::start(1, 1).await;
    let endless = "select count(*) from t a, t b where a.v < 20000 and a.v + b.v = -1";
    let endless = plan(&cluster, 2, 100_000, endless).await;
    let job = {
        let (runtime, plan) = (cluster.runtime.clone(), endless.clone());
        tokio::spawn(async move { support::collect(runtime.as_ref(), 1, plan).await })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    cluster.runtime.cancel(1).await;
    let error = job.await.unwrap().unwrap_err();
    assert!(error.message.contains("cancelled"), "{error}");

    let request = JobRequest {
        job_id: 2,
        name: "abandoned".into(),
        plan: endless,
    };
    let events = cluster.runtime.run(request).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(events);

    let short = plan(&cluster, 3, 10, "select v from t").await;
    let rows = tokio::time::timeout(Duration::from_secs(30), cluster.collect(3, short));
    assert_eq!(column(&rows.await.unwrap().unwrap(), 0).len(), 30);
    cluster.wait_for_no_job_data().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn executors_need_the_secret() {
    let cluster = TestCluster::start(0, 1).await;
    let error = cluster.try_executor("9", Some("wrong")).await.unwrap_err();
    assert!(error.to_string().contains("secret"), "{error}");
    assert!(cluster.runtime.executors().is_empty());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn executors_end_with_their_driver_and_leave_no_files() {
    let cluster = TestCluster::start(2, 1).await;
    let plan = plan(&cluster, 3, 10, "select v from t").await;
    cluster.collect(1, plan).await.unwrap();
    let (dir, executors) = cluster.drop_driver();
    for executor in executors {
        let ended = tokio::time::timeout(Duration::from_secs(5), executor).await;
        ended
            .expect("the executor ends by itself")
            .unwrap()
            .unwrap();
    }
    for entry in std::fs::read_dir(dir.path().join("work")).unwrap() {
        let left = std::fs::read_dir(entry.unwrap().path()).unwrap().count();
        assert_eq!(left, 0, "an executor left files behind");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_warm_job_costs_little() {
    let cluster = TestCluster::start(2, 1).await;
    let plan = plan(&cluster, 1, 10, "select v from t").await;
    let mut times = vec![];
    for job_id in 0..120 {
        let start = Instant::now();
        cluster.collect(job_id, plan.clone()).await.unwrap();
        times.push(start.elapsed());
    }
    times.drain(..20);
    times.sort();
    eprintln!(
        "cluster one-task job: min {:?}, median {:?}, p90 {:?}",
        times[0], times[50], times[90]
    );
    assert!(times[50] < Duration::from_millis(200), "{:?}", times[50]);
    cluster.stop().await;
}
