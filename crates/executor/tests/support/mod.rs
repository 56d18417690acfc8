//! A cluster in this process, and plans to run on it.

#![allow(dead_code, reason = "each file of tests uses a part of it")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::array::{AsArray, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion::common::Result;
use datafusion::datasource::MemTable;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use parking_lot::Mutex;
use pyrite_executor::{ExecutorError, ExecutorOptions};
use pyrite_proto::error::SparkError;
use pyrite_python::{PythonTaskReport, TaskReports};
use pyrite_runtime::{ClusterOptions, ClusterRuntime, JobEvent, JobRequest, Runtime, StageEvent};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

type Running = JoinHandle<Result<(), ExecutorError>>;

const SECRET: &str = "the application's secret";

pub struct TestCluster {
    pub runtime: Arc<ClusterRuntime>,
    executors: Mutex<HashMap<String, (CancellationToken, Running)>>,
    cores: usize,
    dir: tempfile::TempDir,
}

#[derive(Default)]
struct NoReports;

#[async_trait]
impl TaskReports for NoReports {
    async fn python_task(&self, _report: PythonTaskReport) -> Result<()> {
        Ok(())
    }
}

impl TestCluster {
    pub async fn start(executors: usize, cores: usize) -> Self {
        // RUST_LOG shows what goes on; the first test of a process sets it up.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let dir = tempfile::tempdir().unwrap();
        let runtime = ClusterRuntime::start(ClusterOptions {
            app_id: "app-test".into(),
            bind_address: "127.0.0.1".into(),
            advertised_host: "127.0.0.1".into(),
            port: 0,
            app_secret: Some(SECRET.into()),
            local_dir: dir.path().join("driver"),
            memory_bytes: 256 << 20,
            default_parallelism: None,
            task_max_failures: 4,
            no_executors_grace: Duration::from_secs(10),
            services: None,
            reports: Arc::new(NoReports),
        })
        .await
        .unwrap();
        let cluster = Self {
            runtime: Arc::new(runtime),
            executors: Mutex::default(),
            cores,
            dir,
        };
        for id in 0..executors {
            let options = cluster.options(&id.to_string(), Some(SECRET));
            let stop = options.stop.clone();
            let running = tokio::spawn(pyrite_executor::run(options));
            cluster
                .executors
                .lock()
                .insert(id.to_string(), (stop, running));
        }
        let all_there = async {
            while cluster.runtime.executors().len() < executors {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), all_there)
            .await
            .expect("executors register");
        cluster
    }

    fn options(&self, id: &str, secret: Option<&str>) -> ExecutorOptions {
        ExecutorOptions {
            cores: self.cores,
            app_secret: secret.map(str::to_owned),
            ..ExecutorOptions::new(
                self.runtime.endpoint(),
                "app-test",
                id,
                self.work_dir().join(id),
            )
        }
    }

    fn work_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("work")
    }

    pub async fn try_executor(&self, id: &str, secret: Option<&str>) -> Result<(), ExecutorError> {
        pyrite_executor::run(self.options(id, secret)).await
    }

    /// Ends an executor without a word, as a killed process would.
    pub async fn kill(&self, id: &str) {
        let (_, running) = self.executors.lock().remove(id).unwrap();
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
    }

    pub async fn collect(
        &self,
        job_id: i64,
        plan: Arc<dyn ExecutionPlan>,
    ) -> Result<Vec<RecordBatch>, SparkError> {
        collect(self.runtime.as_ref(), job_id, plan).await
    }

    /// At least `count` events, as far as they come within a second.
    pub async fn stage_events(
        &self,
        events: &mut broadcast::Receiver<StageEvent>,
        count: usize,
    ) -> Vec<StageEvent> {
        let mut told = vec![];
        while let Ok(Ok(event)) = tokio::time::timeout(Duration::from_secs(1), events.recv()).await
        {
            told.push(event);
            if told.len() >= count && events.is_empty() {
                break;
            }
        }
        told
    }

    /// Deletes all shuffle data and returns the number of files.
    pub fn delete_shuffle_files(&self) -> usize {
        let files = find_shuffle_files(&self.work_dir());
        for file in &files {
            std::fs::remove_file(file).unwrap();
        }
        files.len()
    }

    /// Waits until executors hold no shuffle data.
    pub async fn wait_for_no_job_data(&self) {
        for _ in 0..100 {
            if shuffle_files(&self.work_dir()) == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!(
            "{} files of finished jobs are left",
            shuffle_files(&self.work_dir())
        );
    }

    pub fn drop_driver(self) -> (tempfile::TempDir, Vec<Running>) {
        drop(self.runtime);
        let executors = self.executors.into_inner();
        (
            self.dir,
            executors
                .into_values()
                .map(|(_, running)| running)
                .collect(),
        )
    }

    pub async fn stop(self) {
        self.runtime.shutdown().await;
        for (_, running) in self.executors.into_inner().into_values() {
            running.await.unwrap().unwrap();
        }
    }
}

fn shuffle_files(dir: &Path) -> usize {
    find_shuffle_files(dir).len()
}

fn find_shuffle_files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return vec![];
    };
    entries
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            match (path.is_dir(), path.extension()) {
                (true, _) => find_shuffle_files(&path),
                (false, Some(extension)) if extension == "arrow" => vec![path],
                (false, _) => vec![],
            }
        })
        .collect()
}

/// A table `t` of `partitions` times `rows` rows: `k` counts 0..10, `v` counts up.
pub async fn plan(
    cluster: &TestCluster,
    partitions: usize,
    rows: usize,
    sql: &str,
) -> Arc<dyn ExecutionPlan> {
    let context = SessionContext::new_with_config_rt(
        cluster.runtime.session_config(),
        cluster.runtime.runtime_env(),
    );
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

/// What DataFusion by itself makes of a plan.
pub async fn in_process(plan: Arc<dyn ExecutionPlan>) -> Vec<RecordBatch> {
    let context = SessionContext::new();
    datafusion::physical_plan::collect(plan, context.task_ctx())
        .await
        .unwrap()
}

pub async fn collect(
    runtime: &dyn Runtime,
    job_id: i64,
    plan: Arc<dyn ExecutionPlan>,
) -> Result<Vec<RecordBatch>, SparkError> {
    let partitions = plan.properties().output_partitioning().partition_count();
    let mut events = runtime
        .run(JobRequest {
            job_id,
            name: "test".into(),
            plan,
        })
        .await?;
    let (mut batches, mut done) = (vec![], vec![]);
    while let Some(event) = events.next().await {
        match event? {
            JobEvent::Batch { batch, .. } => batches.push(batch),
            JobEvent::PartitionDone(partition) => done.push(partition),
        }
    }
    done.sort_unstable();
    assert_eq!(done, (0..partitions).collect::<Vec<_>>());
    Ok(batches)
}

/// The values of a numeric column, sorted.
pub fn column(batches: &[RecordBatch], index: usize) -> Vec<i64> {
    let mut values: Vec<i64> = batches
        .iter()
        .flat_map(|batch| {
            let column =
                datafusion::arrow::compute::cast(batch.column(index), &DataType::Int64).unwrap();
            column.as_primitive::<Int64Type>().values().to_vec()
        })
        .collect();
    values.sort_unstable();
    values
}
