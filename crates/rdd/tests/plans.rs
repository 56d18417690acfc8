//! RDD plans, run in this process.

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::prelude::SessionContext;
use proptest::prelude::*;
use pyrite_proto::core::{self, rdd_node::Kind};
use pyrite_rdd::operators::{DecodeArrowFramesExec, EncodeArrowFramesExec};
use pyrite_rdd::{
    RddPlanner, RddTable, num_partitions, persisted_partitions, prepare_local, run_shuffles,
    select_partitions, write_text_file,
};
use support::{Frames, Graph, Process, Tables, frames, to};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Partitions of frames, each frame with the partition that it must go to.
type Addressed = Vec<Vec<(usize, Vec<u8>)>>;

fn addressed() -> impl Strategy<Value = (usize, Addressed)> {
    (1_usize..40).prop_flat_map(|count| {
        let frame = (0..count, prop::collection::vec(any::<u8>(), 0..5));
        let partition = prop::collection::vec(frame, 0..12);
        (Just(count), prop::collection::vec(partition, 1..5))
    })
}

fn expected_order(count: usize, input: &[Vec<(usize, Vec<u8>)>]) -> Frames {
    let mut expected = vec![Vec::new(); count];
    for (target, frame) in input.iter().flatten() {
        expected[*target].push(frame.clone());
    }
    expected
}

fn sorted(mut partitions: Frames) -> Frames {
    partitions.iter_mut().for_each(|frames| frames.sort());
    partitions
}

async fn shuffled(count: usize, input: &[Vec<(usize, Vec<u8>)>]) -> Arc<dyn ExecutionPlan> {
    let input: Frames = input
        .iter()
        .map(|frames| frames.iter().map(|(target, f)| to(*target, f)).collect())
        .collect();
    let mut graph = Graph::default();
    let collection = graph.parallelize(&input);
    graph.shuffle(collection, count as i32);
    graph.plan().await.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_engine_exchange_delivers_every_frame_to_its_partition((count, input) in addressed()) {
        let result = block_on(async {
            let plan = shuffled(count, &input).await;
            assert_eq!(plan.output_partitioning().partition_count(), count);
            // RepartitionExec needs all its outputs to be read at the same time.
            let process = Process::new();
            let streams = (0..count).map(|p| plan.execute(p, process.context()).unwrap());
            let parts = futures::future::join_all(streams.map(|stream| async {
                use futures::TryStreamExt;
                support::frames_of(&stream.try_collect::<Vec<_>>().await.unwrap()).unwrap()
            }));
            parts.await
        });
        prop_assert_eq!(sorted(result), sorted(expected_order(count, &input)));
    }

    #[test]
    fn the_local_exchange_also_keeps_the_order_of_the_input((count, input) in addressed()) {
        let (once, again) = block_on(async {
            let plan = prepare_local(shuffled(count, &input).await).unwrap();
            let process = Process::new();
            (process.run(&plan).await.unwrap(), process.run(&plan).await.unwrap())
        });
        prop_assert_eq!(&once, &expected_order(count, &input));
        prop_assert_eq!(once, again, "a partition can be read again");
    }

    #[test]
    fn union_and_coalesce_keep_all_frames_in_order(
        left in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 0..6), 0..6),
        right in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 0..6), 0..6),
        count in 1_i32..8,
    ) {
        let mut graph = Graph::default();
        let (l, r) = (graph.parallelize(&left), graph.parallelize(&right));
        let union = graph.union(vec![l, r]);
        graph.coalesce(union, count);
        let (result, described) = block_on(async {
            let graph = graph.build();
            let described = num_partitions(&graph, &Tables::default()).await.unwrap();
            let plan = RddPlanner::new(&graph, 1, &Tables::default()).plan().await.unwrap();
            (Process::new().run(&plan).await.unwrap(), described)
        });
        let all: Frames = left.into_iter().chain(right).collect();
        let count = all.len().min(count as usize);
        let groups: Frames = (0..count)
            .map(|i| all[i * all.len() / count..(i + 1) * all.len() / count].concat())
            .collect();
        prop_assert_eq!(described, count);
        prop_assert_eq!(result, groups);
    }
}

#[tokio::test]
async fn a_partition_number_out_of_range_is_an_error_for_every_reader() {
    let plan = shuffled(3, &[vec![(7, b"x".to_vec())]]).await;
    let plan = prepare_local(plan).unwrap();
    let process = Process::new();
    for partition in 0..3 {
        use futures::TryStreamExt;
        let stream = plan.execute(partition, process.context()).unwrap();
        let error = stream
            .try_collect::<Vec<_>>()
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("there is no partition 7"), "{error}");
    }
}

#[tokio::test]
async fn a_later_job_finds_the_output_of_a_shuffle() {
    let process = Process::new();
    let plan = |content: &'static str| async move {
        let mut graph = Graph::default();
        let collection = graph.parallelize(&vec![vec![to(1, content.as_bytes())]]);
        graph.shuffle(collection, 2);
        prepare_local(graph.plan().await.unwrap()).unwrap()
    };
    let expected = frames(&[&[], &["first"]]);
    assert_eq!(process.run(&plan("first").await).await.unwrap(), expected);
    assert_eq!(process.run(&plan("second").await).await.unwrap(), expected);
    let other = Process::new();
    let expected = frames(&[&[], &["second"]]);
    assert_eq!(other.run(&plan("second").await).await.unwrap(), expected);
}

#[tokio::test]
async fn exchanges_run_before_their_readers_but_not_those_of_persisted_rdds() {
    let process = Process::new();
    let mut graph = Graph::default();
    let frame = to(1, &to(0, b"a"));
    let collection = graph.parallelize(&vec![vec![frame]]);
    graph.persist(collection);
    let first = graph.shuffle(collection, 2);
    graph.shuffle(first, 3);
    let plan = prepare_local(graph.plan().await.unwrap()).unwrap();
    run_shuffles(&plan, &process.context()).await.unwrap();
    assert_eq!(
        process.blocks.writes.load(Ordering::SeqCst),
        1,
        "the input was read"
    );
    assert_eq!(
        process.run(&plan).await.unwrap(),
        frames(&[&["a"], &[], &[]])
    );
    assert_eq!(process.blocks.writes.load(Ordering::SeqCst), 1);

    let process = Process::new();
    let mut graph = Graph::default();
    let collection = graph.parallelize(&vec![vec![to(0, b"a")]]);
    graph.persist(collection);
    let shuffled = graph.shuffle(collection, 1);
    graph.persist(shuffled);
    let plan = prepare_local(graph.plan().await.unwrap()).unwrap();
    run_shuffles(&plan, &process.context()).await.unwrap();
    assert_eq!(
        process.blocks.writes.load(Ordering::SeqCst),
        0,
        "the input was not read"
    );
}

#[tokio::test]
async fn a_deep_lineage_is_planned_and_run() {
    let mut graph = Graph::default();
    let mut rdd = graph.parallelize(&frames(&[&["a"], &["b"]]));
    for _ in 0..1000 {
        let more = graph.parallelize(&frames(&[&["c"]]));
        let both = graph.union(vec![rdd, more]);
        rdd = graph.coalesce(both, 2);
    }
    let plan = prepare_local(graph.plan().await.unwrap()).unwrap();
    let result = Process::new().run(&plan).await.unwrap();
    assert_eq!(result.concat().len(), 1002);
}

#[tokio::test]
async fn unions_of_unions_are_one() {
    let mut graph = Graph::default();
    let mut rdd = graph.parallelize(&frames(&[&["0"]]));
    for _ in 0..100 {
        let more = graph.parallelize(&frames(&[&["+"]]));
        rdd = graph.union(vec![rdd, more]);
    }
    let plan = graph.plan().await.unwrap();
    assert_eq!(plan.children().len(), 101);
    assert_eq!(plan.output_partitioning().partition_count(), 101);
}

#[tokio::test]
async fn graphs_that_make_no_sense_are_refused() {
    for (parent, expected) in [
        (0, "RDD 0 does not come before its child 0"),
        (7, "no RDD 7"),
    ] {
        let mut graph = Graph::default();
        graph.coalesce(parent, 2);
        let error = graph.plan().await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn zip_pairs_frames_and_refuses_unequal_partitions() {
    let process = Process::new();
    let zip = |left: Frames, right: Frames| async move {
        let mut graph = Graph::default();
        let (l, r) = (graph.parallelize(&left), graph.parallelize(&right));
        graph.zip(l, r);
        graph.plan().await
    };
    let plan = zip(frames(&[&["a", "bc"], &[]]), frames(&[&["1", "2"], &[]]))
        .await
        .unwrap();
    let expected = frames(&[&["\0\0\0\x01a1", "\0\0\0\x02bc2"], &[]]);
    assert_eq!(process.run(&plan).await.unwrap(), expected);

    let plan = zip(frames(&[&["a", "b"]]), frames(&[&["1"]]))
        .await
        .unwrap();
    let error = process.run(&plan).await.unwrap_err().to_string();
    assert!(
        error.contains("same number of elements in each partition"),
        "{error}"
    );

    let error = zip(frames(&[&["a"]]), frames(&[&["1"], &[]]))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("same number of partitions"), "{error}");
}

#[tokio::test]
async fn cartesian_pairs_every_partition_with_every_other() {
    let mut graph = Graph::default();
    let left = graph.parallelize(&frames(&[&["a", "b"], &["c"]]));
    let right = graph.parallelize(&frames(&[&["1"], &["2", "3"]]));
    graph.cartesian(left, right);
    let plan = graph.plan().await.unwrap();
    let pairs = |pairs: &[&str]| -> Vec<Vec<u8>> {
        pairs
            .iter()
            .map(|pair| [b"\0\0\0\x01", pair.as_bytes()].concat())
            .collect()
    };
    let expected = vec![
        pairs(&["a1", "b1"]),
        pairs(&["a2", "a3", "b2", "b3"]),
        pairs(&["c1"]),
        pairs(&["c2", "c3"]),
    ];
    assert_eq!(Process::new().run(&plan).await.unwrap(), expected);
}

#[tokio::test]
async fn only_selected_partitions_run() {
    let mut graph = Graph::default();
    let collection = graph.parallelize(&frames(&[&["a"], &["b"], &["c"]]));
    graph.persist(collection);
    let plan = graph.plan().await.unwrap();
    let process = Process::new();
    let selected = select_partitions(Arc::clone(&plan), &[2, 0]).unwrap();
    assert_eq!(
        process.run(&selected).await.unwrap(),
        frames(&[&["c"], &["a"]])
    );
    let mut computed: Vec<_> = process
        .blocks
        .kept
        .lock()
        .keys()
        .map(|b| b.partition)
        .collect();
    computed.sort_unstable();
    assert_eq!(computed, [0, 2]);
    let error = select_partitions(plan, &[3]).unwrap_err().to_string();
    assert!(
        error.contains("no partition 3 in an RDD of 3 partitions"),
        "{error}"
    );
}

#[tokio::test]
async fn a_plan_tells_which_persisted_partitions_it_reads() {
    let mut graph = Graph::default();
    let inner = graph.parallelize(&frames(&[&["a"], &["b"], &["c"], &["d"]]));
    graph.persist(inner);
    let groups = graph.coalesce(inner, 2);
    let plain = graph.parallelize(&frames(&[&["x"]]));
    let union = graph.union(vec![plain, groups]);
    graph.cartesian(union, plain);
    let plan = select_partitions(graph.plan().await.unwrap(), &[2, 0, 1]).unwrap();
    let blocks = persisted_partitions(&plan).unwrap();
    let partitions: Vec<_> = blocks
        .iter()
        .map(|b| b.map(|b| (b.rdd_id, b.partition)))
        .collect();
    assert_eq!(partitions, [Some((inner, 2)), None, Some((inner, 0))]);
}

#[tokio::test]
async fn a_persisted_partition_is_not_computed_again() {
    let process = Process::new();
    let plan = |content: &'static str| async move {
        let mut graph = Graph::default();
        let collection = graph.parallelize(&frames(&[&[content]]));
        graph.persist(collection);
        graph.plan().await.unwrap()
    };
    assert_eq!(
        process.run(&plan("first").await).await.unwrap(),
        frames(&[&["first"]])
    );
    assert_eq!(
        process.run(&plan("second").await).await.unwrap(),
        frames(&[&["first"]])
    );
    assert_eq!(process.blocks.writes.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn readers_of_one_block_compute_it_once() {
    let mut graph = Graph::default();
    let collection = graph.parallelize(&frames(&[&["a", "b"]]));
    graph.persist(collection);
    graph.zip(collection, collection);
    let plan = graph.plan().await.unwrap();
    let process = Process::new();
    let expected = frames(&[&["\0\0\0\x01aa", "\0\0\0\x01bb"]]);
    let (first, second) = tokio::join!(process.run(&plan), process.run(&plan));
    assert_eq!(
        (first.unwrap(), second.unwrap()),
        (expected.clone(), expected)
    );
    assert_eq!(process.blocks.writes.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn large_slices_come_from_files() {
    let process = Process::new();
    let dir = process.dir.path().join("parallel");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("data"), b"????\0\0\0\x02ab\0\0\0\0\0\0\0\x01c!!").unwrap();
    let slice = |offset_bytes, length_bytes| core::parallel_collection::Slice {
        file: "data".into(),
        offset_bytes,
        length_bytes,
        ..Default::default()
    };
    let mut graph = Graph::default();
    graph.add(Kind::ParallelCollection(core::ParallelCollection {
        slices: vec![slice(4, 10), slice(14, 5), slice(0, 0)],
    }));
    let plan = graph.plan().await.unwrap();
    let expected = frames(&[&["ab", ""], &["c"], &[]]);
    assert_eq!(process.run(&plan).await.unwrap(), expected);
}

async fn write(process: &Process, lines: &Frames, sink: &core::TextFileSink) -> Result<(), String> {
    let mut graph = Graph::default();
    graph.parallelize(lines);
    let plan = graph.plan().await.unwrap();
    let (plan, commit) = write_text_file(plan, sink, 1).map_err(|e| e.to_string())?;
    for _attempt in 0..2 {
        let written = process.run(&plan).await.unwrap();
        assert!(written.iter().all(Vec::is_empty), "a write yields nothing");
    }
    commit.commit().await.map_err(|e| e.to_string())
}

#[tokio::test]
async fn text_is_written_once_per_partition_and_read_back() {
    let process = Process::new();
    let lines = frames(&[&["one", "two"], &[], &["three"]]);
    for (codec, extension) in [
        ("", ""),
        ("org.apache.hadoop.io.compress.GzipCodec", ".gz"),
        ("org.apache.hadoop.io.compress.BZip2Codec", ".bz2"),
        ("org.apache.hadoop.io.compress.ZStandardCodec", ".zst"),
        ("org.apache.hadoop.io.compress.DefaultCodec", ".deflate"),
    ] {
        let output = process.dir.path().join(format!("out{extension}"));
        let sink = core::TextFileSink {
            path: format!("file:{}", output.display()),
            compression_codec: codec.into(),
        };
        write(&process, &lines, &sink).await.unwrap();
        let mut names: Vec<_> = std::fs::read_dir(&output)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let parts = (0..3).map(|p| format!("part-0000{p}{extension}"));
        assert_eq!(
            names,
            ["_SUCCESS".to_owned()]
                .into_iter()
                .chain(parts)
                .collect::<Vec<_>>()
        );

        let mut graph = Graph::default();
        graph.text_file(&output, 1);
        let read = process.run(&graph.plan().await.unwrap()).await.unwrap();
        assert_eq!(read.concat(), lines.concat(), "{codec}");

        let error = write(&process, &lines, &sink).await.unwrap_err();
        let expected = format!("Output directory file:{} already exists", output.display());
        assert!(error.contains(&expected), "{error}");
    }
}

#[tokio::test]
async fn a_failed_write_leaves_nothing() {
    let process = Process::new();
    let output = process.dir.path().join("out");
    let sink = core::TextFileSink {
        path: output.to_str().unwrap().into(),
        ..Default::default()
    };
    let mut graph = Graph::default();
    let left = graph.parallelize(&frames(&[&["a"], &["b"]]));
    let right = graph.parallelize(&frames(&[&["a"], &[]]));
    graph.zip(left, right);
    let (plan, commit) = write_text_file(graph.plan().await.unwrap(), &sink, 1).unwrap();
    process.run(&plan).await.unwrap_err();
    let attempts: Vec<_> = std::fs::read_dir(output.join("_temporary"))
        .unwrap()
        .flat_map(|job| std::fs::read_dir(job.unwrap().path()).unwrap())
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(attempts, ["task_000000"], "the failed attempt is gone");
    let error = commit.commit().await.unwrap_err().to_string();
    assert!(error.contains("task_000001"), "{error}");
    assert!(!output.exists());
}

fn people() -> (SchemaRef, Vec<RecordBatch>) {
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
    ]));
    let batch = |ids: Vec<i64>, names: Vec<Option<&str>>| {
        let columns: Vec<arrow::array::ArrayRef> = vec![
            Arc::new(Int64Array::from(ids)),
            Arc::new(StringArray::from(names)),
        ];
        RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()
    };
    let batches = vec![
        batch(vec![1, 2], vec![Some("ada"), None]),
        batch(vec![3], vec![Some("grace")]),
    ];
    (schema, batches)
}

/// A graph of the people's rows, two partitions, and its DataFrame.
fn people_rdd() -> (core::RddGraph, SchemaRef, Tables) {
    let (schema, batches) = people();
    let partitions: Vec<_> = batches.into_iter().map(|batch| vec![batch]).collect();
    let table = MemorySourceConfig::try_new_exec(&partitions, Arc::clone(&schema), None).unwrap();
    let tables = Tables([(b"people".to_vec(), table as _)].into());
    let mut graph = Graph::default();
    graph.add(Kind::DataFrameRows(core::DataFrameRows {
        relation: b"people".as_slice().into(),
        ..Default::default()
    }));
    (graph.build(), schema, tables)
}

#[tokio::test]
async fn rows_survive_the_way_into_frames_and_back() {
    let (schema, batches) = people();
    let table =
        MemorySourceConfig::try_new_exec(std::slice::from_ref(&batches), Arc::clone(&schema), None)
            .unwrap();
    let encoded = Arc::new(EncodeArrowFramesExec::new(table));
    let decoded = DecodeArrowFramesExec::try_new(encoded, schema, None).unwrap();
    let context = Process::new().context();
    let result = datafusion::physical_plan::collect(Arc::new(decoded), context)
        .await
        .unwrap();
    assert_eq!(result, batches);
}

#[tokio::test]
async fn rows_of_another_schema_are_refused_by_name() {
    let (_, batches) = people();
    let found = batches[0].schema();
    let table = MemorySourceConfig::try_new_exec(&[batches], found, None).unwrap();
    let encoded = Arc::new(EncodeArrowFramesExec::new(table));
    let expected: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("name", DataType::Utf8, true),
    ]));
    let decoded = DecodeArrowFramesExec::try_new(encoded, expected, None).unwrap();
    let context = Process::new().context();
    let error = datafusion::physical_plan::collect(Arc::new(decoded), context)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("found [id: Int64, name: Utf8], expected [id: Utf8"),
        "{error}"
    );
}

#[tokio::test]
async fn an_rdd_without_partitions_is_an_empty_table() {
    let mut graph = Graph::default();
    graph.parallelize(&Vec::new());
    let session = SessionContext::new();
    let table = RddTable::new(graph.build(), people().0, Arc::new(Tables::default()));
    session.register_table("people", Arc::new(table)).unwrap();
    let batches = session
        .sql("SELECT count(id) FROM people")
        .await
        .unwrap()
        .collect()
        .await;
    let text = arrow::util::pretty::pretty_format_batches(&batches.unwrap())
        .unwrap()
        .to_string();
    assert!(text.contains("| 0 "), "{text}");
}

#[tokio::test]
async fn an_rdd_is_a_table_for_sql_however_often() {
    let (graph, schema, tables) = people_rdd();
    let process = Process::new();
    let session = SessionContext::new_with_config(process.config());
    let table = RddTable::new(graph, schema, Arc::new(tables));
    session.register_table("people", Arc::new(table)).unwrap();
    for (query, expected) in [
        ("SELECT name FROM people WHERE id > 2", "grace"),
        ("SELECT count(*) FROM people", "3"),
        (
            "SELECT sum(id) FROM people GROUP BY id % 2 ORDER BY 1 DESC LIMIT 1",
            "4",
        ),
    ] {
        let frame = session.sql(query).await.unwrap();
        let plan = prepare_local(frame.create_physical_plan().await.unwrap()).unwrap();
        let batches = datafusion::physical_plan::collect(plan, session.task_ctx())
            .await
            .unwrap();
        let text = arrow::util::pretty::pretty_format_batches(&batches)
            .unwrap()
            .to_string();
        assert!(text.contains(&format!("| {expected} ")), "{query}:\n{text}");
    }
}
