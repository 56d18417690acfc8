//! One task in one Python worker: header, input, output, accumulators.
//!
//! Input and output run at the same time, because a worker may answer before it has read
//! everything and both directions of the socket have bounded buffers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamDecoder;
use bytes::{BufMut, Bytes, BytesMut};
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use datafusion::physical_plan::{EmptyRecordBatchStream, ExecutionPlan};
use futures::{StreamExt, TryStreamExt, stream};
use pyrite_proto::core::PythonFunction;
use pyrite_proto::error::SparkError;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;
use tracing::debug;

use crate::errors::{external, internal};
use crate::protocol::{WireWriter, special};
use crate::services::{PythonTaskReport, TaskServices};
use crate::transfer::{InputEncoder, OutputSink};
use crate::udf::EvalType;
use crate::worker::{PythonWorker, WorkerMessage, WorkerReader};

/// Output batches that may wait for their consumer.
const QUEUED_BATCHES: usize = 2;
/// Encoded input is handed to the socket in pieces of about this size.
const WRITE_BYTES: usize = 128 * 1024;

/// What a worker is told before the data.
#[derive(Debug, Clone)]
pub struct PythonTask {
    /// Job that the task belongs to.
    pub job_id: i64,
    /// Operator within the job.
    pub operator_id: i64,
    /// Partition that the task computes.
    pub partition: usize,
    /// The number that the task has for user code, where it is not that of the partition.
    pub task_number: Option<usize>,
    /// Which attempt of the task this is, from 0.
    pub attempt: usize,
    /// How the worker reads, calls and writes.
    pub eval_type: EvalType,
    /// Interpreter, files, broadcasts and environment of the function.
    pub function: PythonFunction,
    /// Settings that Spark passes to workers.
    pub runner_conf: BTreeMap<String, String>,
    /// Settings of this evaluation type.
    pub eval_conf: BTreeMap<String, String>,
    /// The functions, as the evaluation type wants them.
    pub body: Bytes,
}

impl PythonTask {
    /// A task that runs a function over frames.
    pub fn over_frames(
        function: &PythonFunction,
        job_id: i64,
        operator_id: i64,
        partition: usize,
    ) -> Self {
        let mut body = BytesMut::new();
        body.put_framed(&function.command);
        Self {
            job_id,
            operator_id,
            partition,
            task_number: None,
            attempt: 0,
            eval_type: EvalType::NonUdf,
            function: function.clone(),
            runner_conf: BTreeMap::new(),
            eval_conf: BTreeMap::new(),
            body: body.freeze(),
        }
    }

    /// Writes all that comes before the data. `dropped` and `added` are the broadcasts whose
    /// copies the worker must forget (as `-id - 1`) and load.
    pub(crate) fn header(
        &self,
        version: &str,
        files_dir: &Path,
        dropped: &[i64],
        added: &[(i64, String)],
    ) -> BytesMut {
        let mut out = BytesMut::with_capacity(self.body.len() + 1024);
        out.put_count(self.partition);
        out.put_framed(version.as_bytes());
        out.put_framed(self.context_json().as_bytes());
        out.put_framed(files_dir.to_string_lossy().as_bytes());
        out.put_count(self.function.python_includes.len());
        for include in &self.function.python_includes {
            out.put_framed(include.as_bytes());
        }
        // No server that decrypts broadcasts: workers read plain local files.
        out.put_bool(false);
        out.put_count(dropped.len() + added.len());
        for id in dropped {
            out.put_i64(*id);
        }
        for (id, path) in added {
            out.put_i64(*id);
            out.put_framed(path.as_bytes());
        }
        out.put_i32(self.eval_type as i32);
        out.put_conf(&self.runner_conf);
        out.put_conf(&self.eval_conf);
        out.put_slice(&self.body);
        out
    }

    /// `pyspark.TaskContext`, as Spark 4.2 sends it.
    fn context_json(&self) -> String {
        static NEXT_ATTEMPT_ID: AtomicI64 = AtomicI64::new(0);
        serde_json::json!({
            "isBarrier": false,
            "stageId": self.job_id,
            "partitionId": self.task_number.unwrap_or(self.partition),
            "attemptNumber": self.attempt,
            "taskAttemptId": NEXT_ATTEMPT_ID.fetch_add(1, Ordering::Relaxed),
            "cpus": 1,
            "resources": {},
            "localProperties": {},
        })
        .to_string()
    }
}

/// Runs a task once its stream is polled; the stream ends after the task's accumulator
/// updates were reported.
///
/// Dropping the stream in the middle kills the worker, and so does an error: a worker that
/// stopped half way is never used again.
pub fn run(
    services: Arc<TaskServices>,
    task: PythonTask,
    input: SendableRecordBatchStream,
    encoder: Box<dyn InputEncoder>,
    sink: Box<dyn OutputSink>,
    schema: SchemaRef,
) -> SendableRecordBatchStream {
    let output_schema = Arc::clone(&schema);
    let started = stream::once(async move {
        let mut builder = RecordBatchReceiverStream::builder(output_schema, QUEUED_BATCHES);
        let running = Running {
            services,
            task,
            sink,
            output: builder.tx(),
        };
        builder.spawn(running.run(input, encoder));
        Ok::<_, DataFusionError>(builder.build())
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, started.try_flatten()))
}

/// As [`run`], but starts no worker when the input has no rows: the stream is empty then.
pub fn run_unless_empty(
    services: Arc<TaskServices>,
    task: PythonTask,
    mut input: SendableRecordBatchStream,
    encoder: Box<dyn InputEncoder>,
    sink: Box<dyn OutputSink>,
    schema: SchemaRef,
) -> SendableRecordBatchStream {
    let output_schema = Arc::clone(&schema);
    let started = stream::once(async move {
        let first = loop {
            match input.next().await.transpose()? {
                Some(batch) if batch.num_rows() == 0 => {}
                first => break first,
            }
        };
        let Some(first) = first else {
            return Ok::<SendableRecordBatchStream, DataFusionError>(Box::pin(
                EmptyRecordBatchStream::new(output_schema),
            ));
        };
        let input_schema = input.schema();
        let whole = stream::once(async move { Ok(first) }).chain(input);
        let input = Box::pin(RecordBatchStreamAdapter::new(input_schema, whole));
        Ok(run(services, task, input, encoder, sink, output_schema))
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, started.try_flatten()))
}

/// A task that is being run.
struct Running {
    services: Arc<TaskServices>,
    task: PythonTask,
    sink: Box<dyn OutputSink>,
    output: mpsc::Sender<Result<RecordBatch>>,
}

/// How the data of a task ended.
enum Outcome {
    /// The consumer of the stream has gone.
    Abandoned,
    /// The worker sent everything, and these accumulator updates.
    Complete(Vec<Bytes>),
}

impl Running {
    async fn run(
        mut self,
        input: SendableRecordBatchStream,
        encoder: Box<dyn InputEncoder>,
    ) -> Result<()> {
        let (mut worker, header) = self.prepare().await?;
        let (mut reader, writer) = worker.open().map_err(external)?;
        // Set just before the last write: from then on the worker can end its task in order.
        let all_sent = Arc::new(AtomicBool::new(false));
        let feed = feed(writer, header, input, encoder, Arc::clone(&all_sent));
        let mut feed = std::pin::pin!(SpawnedTask::spawn(feed).join());
        let mut writer = None;
        let outcome = {
            let mut drain = std::pin::pin!(self.drain(&mut reader));
            loop {
                tokio::select! {
                    outcome = &mut drain => break outcome?,
                    fed = &mut feed, if writer.is_none() => writer = Some(joined(fed)?),
                }
            }
        };
        let Outcome::Complete(updates) = outcome else {
            return Ok(());
        };
        self.report(updates).await?;
        if !all_sent.load(Ordering::Acquire) {
            // It stopped reading early (`take`), so it cannot find the next task's start.
            return Ok(());
        }
        match reader.wants_more().await {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => {
                debug!(pid = worker.pid(), %error, "a Python worker ended after its task");
                return Ok(());
            }
        }
        let writer = match writer {
            Some(writer) => writer,
            None => joined(feed.await)?,
        };
        if let Some(writer) = writer
            && worker.close(reader, writer)
        {
            self.services.python_workers.release(worker);
        }
        Ok(())
    }

    /// Gets a worker and all that its header names.
    async fn prepare(&self) -> Result<(PythonWorker, BytesMut)> {
        let function = &self.task.function;
        let files_dir = self.services.files.sync_files(&function.files).await?;
        let pool = &self.services.python_workers;
        let mut worker = pool.acquire(function).await.map_err(external)?;
        let (dropped, added) = worker.broadcast_changes(&function.broadcast_ids);
        let mut local = Vec::with_capacity(added.len());
        for id in added {
            let path = self.services.files.broadcast(id).await?;
            local.push((id, path.display().to_string()));
        }
        let version = match function.python_version.as_str() {
            "" => worker.daemon().version(),
            version => version,
        };
        let header = self.task.header(version, &files_dir, &dropped, &local);
        Ok((worker, header))
    }

    /// Reads what the worker sends until its data ends.
    async fn drain(&mut self, reader: &mut WorkerReader) -> Result<Outcome> {
        loop {
            let batches = match reader.message().await.map_err(external)? {
                WorkerMessage::Frame(frame) => {
                    let mut batches = self.sink.frame(frame)?;
                    if batches.is_empty() && !reader.has_frame() {
                        batches = self.sink.flush()?;
                    }
                    batches
                }
                WorkerMessage::ArrowStream => {
                    if !self.drain_arrow(reader).await? {
                        return Ok(Outcome::Abandoned);
                    }
                    continue;
                }
                WorkerMessage::Timing(values) => {
                    debug!(
                        partition = self.task.partition,
                        ?values,
                        "Python task times"
                    );
                    continue;
                }
                WorkerMessage::Exception(traceback) => {
                    return Err(external(SparkError::python(traceback)));
                }
                WorkerMessage::End(updates) => {
                    let batches = self.sink.finish()?;
                    return Ok(if self.send(batches).await {
                        Outcome::Complete(updates)
                    } else {
                        Outcome::Abandoned
                    });
                }
            };
            if !self.send(batches).await {
                return Ok(Outcome::Abandoned);
            }
        }
    }

    /// Reads one Arrow stream; `false` when the consumer has gone.
    async fn drain_arrow(&mut self, reader: &mut WorkerReader) -> Result<bool> {
        let mut decoder = StreamDecoder::new();
        while let Some(message) = reader.ipc_message().await.map_err(external)? {
            let mut buffer = message.into();
            while let Some(batch) = decoder.decode(&mut buffer)? {
                let batches = self.sink.arrow(batch)?;
                if !self.send(batches).await {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    async fn send(&self, batches: Vec<RecordBatch>) -> bool {
        for batch in batches {
            if self.output.send(Ok(batch)).await.is_err() {
                return false;
            }
        }
        true
    }

    async fn report(&self, updates: Vec<Bytes>) -> Result<()> {
        if updates.is_empty() {
            return Ok(());
        }
        let report = PythonTaskReport {
            job_id: self.task.job_id,
            operator_id: self.task.operator_id,
            partition: self.task.partition,
            accumulator_updates: updates,
        };
        self.services.reports.python_task(report).await
    }
}

/// Sends header and input; returns the connection unless the worker closed it.
///
/// An error is one of the input; that the worker does not listen any more shows on the other
/// side, where its reason can be read.
async fn feed(
    mut writer: OwnedWriteHalf,
    mut out: BytesMut,
    mut input: SendableRecordBatchStream,
    mut encoder: Box<dyn InputEncoder>,
    all_sent: Arc<AtomicBool>,
) -> Result<Option<OwnedWriteHalf>> {
    // The worker imports and unpickles while the first batch is being computed.
    if writer.write_all(&out).await.is_err() {
        return Ok(None);
    }
    out.clear();
    while let Some(batch) = input.next().await {
        encoder.encode(&batch?, &mut out)?;
        for piece in out.chunks(WRITE_BYTES) {
            if writer.write_all(piece).await.is_err() {
                return Ok(None);
            }
        }
        out.clear();
    }
    drop(input);
    encoder.finish(&mut out)?;
    out.put_i32(special::END_OF_STREAM);
    all_sent.store(true, Ordering::Release);
    Ok(writer.write_all(&out).await.is_ok().then_some(writer))
}

fn joined<T>(result: std::result::Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    result
        .map_err(|error| external(internal(format!("feeding a Python worker failed: {error}"))))?
}

/// Takes the only child of an operator with one input.
pub(crate) fn only_child(
    children: &mut Vec<Arc<dyn ExecutionPlan>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    match (children.pop(), children.is_empty()) {
        (Some(child), true) => Ok(child),
        _ => Err(DataFusionError::Internal("expected one input".into())),
    }
}
