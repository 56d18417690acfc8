//! Plans on the local runtime.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use datafusion::arrow::array::{AsArray, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use pyrite_proto::error::{SparkError, class};
use pyrite_python::{PythonPoolConfig, PythonTaskReport, PythonWorkerPool, TaskReports};
use pyrite_runtime::{JobEvent, JobRequest, LocalOptions, LocalRuntime, Runtime, StageEvent};

struct NoReports;

#[async_trait]
impl TaskReports for NoReports {
    async fn python_task(&self, _report: PythonTaskReport) -> Result<()> {
        Ok(())
    }
}

fn runtime(dir: &tempfile::TempDir, threads: usize) -> LocalRuntime {
    LocalRuntime::new(LocalOptions {
        app_id: "app-test".into(),
        max_failures: 1,
        threads,
        memory_bytes: 256 << 20,
        block_memory_bytes: 64 << 20,
        local_dir: dir.path().into(),
        python_workers: Arc::new(PythonWorkerPool::new(PythonPoolConfig::new(
            "python3",
            dir.path(),
        ))),
        reports: Arc::new(NoReports),
    })
    .unwrap()
}

/// A table `t` of `partitions` times `rows` rows: `k` counts 0..10, `v` counts up.
async fn plan(
    runtime: &LocalRuntime,
    partitions: usize,
    rows: usize,
    sql: &str,
) -> Arc<dyn ExecutionPlan> {
    let context =
        SessionContext::new_with_config_rt(runtime.session_config(), runtime.runtime_env());
    let schema = Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, false),
        Field::new("v", DataType::Int64, false),
    ]));
    // Many small batches: tasks can be cancelled between two.
    let batches = (0..partitions)
        .map(|p| {
            let values: Vec<i64> = ((p * rows) as i64..((p + 1) * rows) as i64).collect();
            let batch = |values: &[i64]| {
                let k: Int64Array = values.iter().map(|v| v % 10).collect();
                let v = Int64Array::from(values.to_vec());
                RecordBatch::try_new(schema.clone(), vec![Arc::new(k), Arc::new(v)]).unwrap()
            };
            values.chunks(50).map(batch).collect()
        })
        .collect();
    let table = MemTable::try_new(schema, batches).unwrap();
    context.register_table("t", Arc::new(table)).unwrap();
    context
        .sql(sql)
        .await
        .unwrap()
        .create_physical_plan()
        .await
        .unwrap()
}

async fn collect(
    runtime: &dyn Runtime,
    job_id: i64,
    plan: Arc<dyn ExecutionPlan>,
) -> Result<(Vec<RecordBatch>, Vec<usize>), SparkError> {
    let request = JobRequest {
        job_id,
        name: "test".into(),
        plan,
    };
    let mut events = runtime.run(request).await?;
    let (mut batches, mut done) = (vec![], vec![]);
    while let Some(event) = events.next().await {
        match event? {
            JobEvent::Batch { batch, .. } => batches.push(batch),
            JobEvent::PartitionDone(partition) => done.push(partition),
        }
    }
    done.sort_unstable();
    Ok((batches, done))
}

fn column(batches: &[RecordBatch], index: usize) -> Vec<i64> {
    let mut values: Vec<i64> = batches
        .iter()
        .flat_map(|b| {
            b.column(index)
                .as_primitive::<Int64Type>()
                .values()
                .to_vec()
        })
        .collect();
    values.sort_unstable();
    values
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_with_more_partitions_than_slots_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime(&dir, 2);
    let plan = plan(&runtime, 7, 100, "select v from t where v % 2 = 0").await;
    let mut stages = runtime.stage_events();
    let (batches, done) = collect(&runtime, 1, plan).await.unwrap();
    assert_eq!(column(&batches, 0), (0..700).step_by(2).collect::<Vec<_>>());
    assert!(!done.is_empty());
    assert_eq!(done, (0..done.len()).collect::<Vec<_>>());
    assert!(matches!(
        stages.recv().await,
        Ok(StageEvent::Submitted { job_id: 1, .. })
    ));
    assert!(matches!(
        stages.recv().await,
        Ok(StageEvent::Finished { job_id: 1, .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregation_sort_and_join_work() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime(&dir, 2);
    let sql = "select a.k, count(*) as n from t a join t b on a.v = b.v group by a.k order by a.k";
    let plan = plan(&runtime, 4, 1000, sql).await;
    let (batches, _) = collect(&runtime, 1, plan).await.unwrap();
    assert_eq!(column(&batches, 0), (0..10).collect::<Vec<_>>());
    assert_eq!(column(&batches, 1), vec![400; 10]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_arrives_as_a_value() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime(&dir, 2);
    let plan = plan(&runtime, 3, 10, "select 1 / (v - 15) from t").await;
    let error = collect(&runtime, 1, plan).await.unwrap_err();
    assert_eq!(
        (error.class_name.as_str(), error.condition.as_str()),
        (class::ARITHMETIC, "DIVIDE_BY_ZERO")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_can_be_cancelled_and_abandoned() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = Arc::new(runtime(&dir, 1));
    let endless = "select count(*) from t a, t b where a.v < 20000 and a.v + b.v = -1";
    let first = plan(&runtime, 2, 100_000, endless).await;
    let running = tokio::spawn({
        let (runtime, first) = (runtime.clone(), first.clone());
        async move { collect(runtime.as_ref(), 1, first).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    runtime.cancel(1).await;
    let error = running.await.unwrap().unwrap_err();
    assert!(error.message.contains("cancelled"), "{error}");

    let abandoned = runtime
        .run(JobRequest {
            job_id: 2,
            name: "abandoned".into(),
            plan: first,
        })
        .await
        .unwrap();
    drop(abandoned);
    // The only slot is free again.
    let short = plan(&runtime, 1, 10, "select v from t").await;
    let rows = tokio::time::timeout(Duration::from_secs(20), collect(runtime.as_ref(), 3, short));
    assert_eq!(column(&rows.await.unwrap().unwrap().0, 0).len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_job_costs_little() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime(&dir, 2);
    let plan = plan(&runtime, 1, 10, "select v from t").await;
    let mut times = vec![];
    for job_id in 0..200 {
        let start = Instant::now();
        collect(&runtime, job_id, plan.clone()).await.unwrap();
        times.push(start.elapsed());
    }
    times.sort();
    eprintln!(
        "local one-task job: median {:?}, p90 {:?}",
        times[100], times[180]
    );
    assert!(times[100] < Duration::from_millis(20), "{:?}", times[100]);
}
