//! Functions over frames, in real workers.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{StreamExt, stream};
use pyrite_proto::core::PythonFunction;
use pyrite_proto::error::class;
use pyrite_python::frames::{batch_of, frame_schema};
use pyrite_python::{PythonMapExec, PythonPoolConfig, PythonWorkerPool, to_spark_error};
use support::{World, frames_function, frames_of, frames_plan, function, interpreter, pickle};

fn map(input: Arc<dyn ExecutionPlan>, function: PythonFunction) -> Arc<dyn ExecutionPlan> {
    Arc::new(PythonMapExec::new(input, function, 7, 3))
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_pass_through_the_function() {
    let world = World::new();
    let upper = frames_function(
        "",
        "lambda split, it: (b'%d:' % split + x.upper() for x in it)",
    );
    let plan = map(frames_plan(&[&[b"a", b"b"], &[b"c"]]), upper);
    assert_eq!(
        frames_of(&world.run(&plan, 0).await.unwrap()),
        [b"0:A", b"0:B"]
    );
    assert_eq!(frames_of(&world.run(&plan, 1).await.unwrap()), [b"1:C"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_serves_one_task_after_the_other() {
    let world = World::new();
    let pid = frames_function(
        "import os",
        "lambda split, it: [b'%d' % os.getpid() for _ in it]",
    );
    let plan = map(frames_plan(&[&[b"a"]]), pid);
    let first = frames_of(&world.run(&plan, 0).await.unwrap());
    assert_eq!(world.services.python_workers.idle_workers(), 1);
    let second = frames_of(&world.run(&plan, 0).await.unwrap());
    assert_eq!(first, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_reuse_every_task_gets_a_new_worker() {
    let world = World::with(|config| config.reuse = false);
    let pid = frames_function(
        "import os",
        "lambda split, it: [b'%d' % os.getpid() for _ in it]",
    );
    let plan = map(frames_plan(&[&[b"a"]]), pid);
    let first = frames_of(&world.run(&plan, 0).await.unwrap());
    let second = frames_of(&world.run(&plan, 0).await.unwrap());
    assert_ne!(first, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn output_larger_than_all_buffers_arrives_whole() {
    let world = World::new();
    let grow = frames_function(
        "",
        "lambda split, it: (x * 300_000 for x in it for _ in range(20))",
    );
    let frames: Vec<Vec<u8>> = (0..200_u8).map(|i| vec![i; 3]).collect();
    let input = batch_of(frames.iter().map(Vec::as_slice));
    let plan = map(support::memory(&[vec![input]]), grow);
    let mut stream = plan.execute(0, world.context()).unwrap();
    let (mut bytes, mut count) = (0, 0);
    while let Some(batch) = stream.next().await {
        for frame in frames_of(&[batch.unwrap()]) {
            assert_eq!(frame.len(), 900_000);
            assert!(frame.iter().all(|b| usize::from(*b) == count / 20));
            bytes += frame.len();
            count += 1;
        }
    }
    assert_eq!((count, bytes), (4000, 3_600_000_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exception_carries_the_traceback() {
    let world = World::new();
    let setup = "def broken(split, it):\n    for x in it:\n        raise ValueError('bad ' + x.decode())\n    yield b''";
    let plan = map(
        frames_plan(&[&[b"apple"]]),
        frames_function(setup, "broken"),
    );
    let error = to_spark_error(&world.run(&plan, 0).await.unwrap_err());
    assert_eq!(error.class_name, class::PYTHON);
    assert!(
        error.message.contains("Traceback (most recent call last)"),
        "{error}"
    );
    assert!(error.message.contains("ValueError: bad apple"), "{error}");
    assert_eq!(world.services.python_workers.idle_workers(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_is_noticed() {
    let world = World::new();
    let die = frames_function(
        "import os, signal",
        "lambda split, it: os.kill(os.getpid(), signal.SIGKILL)",
    );
    let plan = map(frames_plan(&[&[b"a"]]), die);
    let error = to_spark_error(&world.run(&plan, 0).await.unwrap_err());
    assert!(
        error
            .message
            .contains("Python worker exited unexpectedly (crashed)"),
        "{error}"
    );
    let ok = map(
        frames_plan(&[&[b"a"]]),
        frames_function("", "lambda split, it: it"),
    );
    assert_eq!(frames_of(&world.run(&ok, 0).await.unwrap()), [b"a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn accumulators_are_reported_before_the_stream_ends() {
    let world = World::new();
    let setup = "from pyspark.accumulators import Accumulator, INT_ACCUMULATOR_PARAM\n\
                 total = Accumulator(5, 0, INT_ACCUMULATOR_PARAM)\n\
                 def add(split, it):\n    for x in it:\n        total.add(int(x))\n        yield x";
    let plan = map(
        frames_plan(&[&[b"1", b"2", b"39"]]),
        frames_function(setup, "add"),
    );
    world.run(&plan, 0).await.unwrap();
    let reports = world.reports.0.lock();
    assert_eq!(reports.len(), 1);
    assert_eq!(
        (
            reports[0].job_id,
            reports[0].operator_id,
            reports[0].partition
        ),
        (7, 3, 0)
    );
    assert_eq!(reports[0].accumulator_updates, [pickle("", "(5, 42)")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn task_context_names_the_partition() {
    let world = World::new();
    let setup = "from pyspark.taskcontext import TaskContext\n\
        def ids(split, it):\n    c = TaskContext.get()\n    list(it)\n    \
        yield b'%d %d %d %d' % (c.stageId(), c.partitionId(), c.attemptNumber(), c.cpus())";
    let plan = map(
        frames_plan(&[&[b"a"], &[b"b"]]),
        frames_function(setup, "ids"),
    );
    assert_eq!(frames_of(&world.run(&plan, 1).await.unwrap()), [b"7 1 0 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn spark_environment_is_set() {
    let world = World::new();
    let setup = "import os\ndef env(split, it):\n    list(it)\n    \
        yield ' '.join(os.environ.get(k, '-') for k in \
        ['PYTHONHASHSEED', 'SPARK_REUSE_WORKER', 'OMP_NUM_THREADS', 'FROM_CONF']).encode()";
    let mut function = frames_function(setup, "env");
    function.env.insert("FROM_CONF".into(), "yes".into());
    let plan = map(frames_plan(&[&[b"a"]]), function);
    assert_eq!(
        frames_of(&world.run(&plan, 0).await.unwrap()),
        [b"0 1 1 yes"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_draw_different_random_numbers() {
    let world = World::with(|config| config.reuse = false);
    let setup = "import random\ntry:\n    import numpy.random as nr\nexcept ImportError:\n    nr = random\n\
        def draw(split, it):\n    list(it)\n    yield repr(random.random()).encode()\n    \
        yield repr(nr.random()).encode()";
    let plan = map(frames_plan(&[&[b"a"]]), frames_function(setup, "draw"));
    let first = frames_of(&world.run(&plan, 0).await.unwrap());
    let second = frames_of(&world.run(&plan, 0).await.unwrap());
    assert_ne!(first[0], second[0]);
    assert_ne!(first[1], second[1]);
}

/// Frames without end, one at a time.
#[derive(Debug)]
struct Endless;

impl PartitionStream for Endless {
    fn schema(&self) -> &arrow::datatypes::SchemaRef {
        static SCHEMA: std::sync::LazyLock<arrow::datatypes::SchemaRef> =
            std::sync::LazyLock::new(frame_schema);
        &SCHEMA
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let frames = stream::repeat_with(|| Ok(batch_of([b"x".as_slice()]))).then(|batch| async {
            tokio::task::yield_now().await;
            batch
        });
        Box::pin(RecordBatchStreamAdapter::new(frame_schema(), frames))
    }
}

fn streaming(source: Arc<dyn PartitionStream>) -> Arc<dyn ExecutionPlan> {
    Arc::new(
        StreamingTableExec::try_new(frame_schema(), vec![source], None, [], false, None).unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_may_stop_reading() {
    let world = World::new();
    let take = frames_function(
        "import itertools",
        "lambda split, it: itertools.islice(it, 3)",
    );
    let plan = map(streaming(Arc::new(Endless)), take);
    assert_eq!(
        frames_of(&world.run(&plan, 0).await.unwrap()),
        [b"x", b"x", b"x"]
    );
    // Its worker was left in the middle of the input.
    assert_eq!(world.services.python_workers.idle_workers(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_stream_kills_the_worker() {
    let world = World::new();
    let setup = "import os\ndef endless(split, it):\n    while True:\n        yield b'%07d' % os.getpid() * 10000";
    let plan = map(frames_plan(&[&[b"a"]]), frames_function(setup, "endless"));
    let mut stream = plan.execute(0, world.context()).unwrap();
    let batch = stream.next().await.unwrap().unwrap();
    let pid: i32 = std::str::from_utf8(&frames_of(&[batch])[0][..7])
        .unwrap()
        .parse()
        .unwrap();
    assert!(is_alive(pid));
    drop(stream);
    let deadline = Instant::now() + support::DEADLINE;
    while is_alive(pid) {
        assert!(Instant::now() < deadline, "worker {pid} is still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.services.python_workers.idle_workers(), 0);
}

fn is_alive(pid: i32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[derive(Debug)]
struct Failing;

impl PartitionStream for Failing {
    fn schema(&self) -> &arrow::datatypes::SchemaRef {
        Endless.schema_ref()
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let items: Vec<Result<RecordBatch>> = vec![
            Ok(batch_of([b"x".as_slice()])),
            Err(DataFusionError::Execution("the input broke".into())),
        ];
        Box::pin(RecordBatchStreamAdapter::new(
            frame_schema(),
            stream::iter(items),
        ))
    }
}

impl Endless {
    fn schema_ref(&self) -> &'static arrow::datatypes::SchemaRef {
        static SCHEMA: std::sync::LazyLock<arrow::datatypes::SchemaRef> =
            std::sync::LazyLock::new(frame_schema);
        &SCHEMA
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_input_is_the_error_of_the_task() {
    let world = World::new();
    let plan = map(
        streaming(Arc::new(Failing)),
        frames_function("", "lambda split, it: it"),
    );
    let error = world.run(&plan, 0).await.unwrap_err();
    assert!(error.to_string().contains("the input broke"), "{error}");
    assert_eq!(world.services.python_workers.idle_workers(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_interpreter_is_named() {
    let world = World::with(|config| config.default_exec = "/no/such/python".into());
    let plan = map(frames_plan(&[&[b"a"]]), function("".into()));
    let error = to_spark_error(&world.run(&plan, 0).await.unwrap_err());
    assert!(
        error
            .message
            .contains("`/no/such/python`: no such executable"),
        "{error}"
    );
    assert!(error.message.contains("PYSPARK_PYTHON"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interpreter_without_pyspark_is_named() {
    let world = World::with(|config| config.default_exec = "/bin/false".into());
    let plan = map(frames_plan(&[&[b"a"]]), function("".into()));
    let error = to_spark_error(&world.run(&plan, 0).await.unwrap_err());
    assert!(
        error.message.contains("`/bin/false`: exit status 1"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_python_version_is_refused() {
    let world = World::new();
    let mut function = frames_function("", "lambda split, it: it");
    function.python_version = "2.7".into();
    let plan = map(frames_plan(&[&[b"a"]]), function);
    let error = to_spark_error(&world.run(&plan, 0).await.unwrap_err());
    assert!(error.message.contains("PYTHON_VERSION_MISMATCH"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interpreter_that_is_not_here_falls_back_to_the_pools() {
    let world = World::new();
    let mut function = frames_function("", "lambda split, it: it");
    function.python_exec = "/home/of/the/application/bin/python".into();
    let plan = map(frames_plan(&[&[b"a"]]), function);
    assert_eq!(frames_of(&world.run(&plan, 0).await.unwrap()), [b"a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_daemon_is_replaced() {
    let world = World::new();
    let ids = "lambda split, it: [b'%d' % i for _ in it for i in (os.getppid(), os.getpid())]";
    let plan = map(frames_plan(&[&[b"a"]]), frames_function("import os", ids));
    let first = frames_of(&world.run(&plan, 0).await.unwrap());
    let pid = |frame: &[u8]| std::str::from_utf8(frame).unwrap().parse::<i32>().unwrap();
    let (daemon, worker) = (pid(&first[0]), pid(&first[1]));
    let daemon = nix::unistd::Pid::from_raw(daemon);
    nix::sys::signal::kill(daemon, nix::sys::signal::Signal::SIGKILL).unwrap();
    let deadline = Instant::now() + support::DEADLINE;
    while is_alive(worker) {
        assert!(
            Instant::now() < deadline,
            "worker {worker} outlives its daemon"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = frames_of(&world.run(&plan, 0).await.unwrap());
    assert_ne!(first, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn warmed_workers_have_imported_what_is_installed() {
    let world =
        World::with(|config| config.warm_modules = vec!["wave".into(), "no_such_module".into()]);
    world.services.python_workers.prestart(1);
    world.services.python_workers.warm(2);
    let deadline = Instant::now() + support::DEADLINE;
    while world.services.python_workers.idle_workers() < 2 {
        assert!(Instant::now() < deadline, "the workers do not get ready");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let setup = "import sys";
    let seen = frames_function(
        setup,
        "lambda split, it: [b'yes' if 'wave' in sys.modules else b'no' for _ in it]",
    );
    let plan = map(frames_plan(&[&[b"a"]]), seen);
    assert_eq!(frames_of(&world.run(&plan, 0).await.unwrap()), [b"yes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_workers_end_after_a_while() {
    let world = World::with(|config| config.idle_timeout = Duration::from_millis(200));
    let plan = map(
        frames_plan(&[&[b"a"]]),
        frames_function("", "lambda split, it: it"),
    );
    world.run(&plan, 0).await.unwrap();
    assert_eq!(world.services.python_workers.idle_workers(), 1);
    let deadline = Instant::now() + support::DEADLINE;
    while world.services.python_workers.idle_workers() > 0 {
        assert!(Instant::now() < deadline, "the idle worker stays");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_leaves_no_process() {
    let directory = tempfile::tempdir().unwrap();
    let pool = PythonWorkerPool::new(PythonPoolConfig::new(interpreter(), directory.path()));
    let worker = pool.acquire(&PythonFunction::default()).await.unwrap();
    let pid = worker.pid();
    pool.release(worker);
    assert!(is_alive(pid));
    pool.shutdown().await;
    let deadline = Instant::now() + Duration::from_secs(5);
    while is_alive(pid) {
        assert!(Instant::now() < deadline, "worker {pid} is still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Prints what a warm round trip costs; fails when it is far from the millisecond it takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_warm_round_trip_is_quick() {
    let world = World::new();
    let plan = map(
        frames_plan(&[&[b"a"]]),
        frames_function("", "lambda split, it: it"),
    );
    let cold = Instant::now();
    world.run(&plan, 0).await.unwrap();
    let cold = cold.elapsed();
    let mut times = Vec::new();
    for _ in 0..200 {
        let start = Instant::now();
        world.run(&plan, 0).await.unwrap();
        times.push(start.elapsed());
    }
    times.sort();
    println!(
        "cold {cold:?}, warm median {:?}, 95% {:?}",
        times[100], times[190]
    );
    assert!(times[100] < Duration::from_millis(20), "{:?}", times[100]);
}
