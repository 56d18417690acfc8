//! RDD plans, run as Ballista runs them: the result must not depend on how a stage's
//! partitions are dealt out to tasks.

#[path = "support/slices.rs"]
mod sliced;
mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::writer::StreamWriter;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::union::UnionExec;
use datafusion::prelude::SessionContext;
use proptest::prelude::*;
use pyrite_proto::core;
use pyrite_rdd::{RddTable, prepare_local, select_partitions, write_text_file};
use support::{Frames, Graph, Process, Tables, frames, to};

fn sorted(mut partitions: Frames) -> Frames {
    partitions.iter_mut().for_each(|frames| frames.sort());
    partitions
}

/// Runs what `build` adds to a graph here and in slices, and compares.
async fn same_in_slices(build: impl Fn(&mut Graph)) {
    let plan = || async {
        let mut graph = Graph::default();
        build(&mut graph);
        graph.plan().await.unwrap()
    };
    let local = Process::new();
    let expected = local
        .run(&prepare_local(plan().await).unwrap())
        .await
        .unwrap();
    let blocks = |process: &Process| -> BTreeSet<(i64, usize)> {
        let kept = process.blocks.kept.lock();
        kept.keys()
            .map(|block| (block.rdd_id, block.partition))
            .collect()
    };
    for slice in [1, 2, 3, 100] {
        let process = Process::new();
        let run = sliced::run(&process, plan().await, slice).await.unwrap();
        assert_eq!(
            sorted(run.partitions()),
            sorted(expected.clone()),
            "slices of {slice}"
        );
        assert_eq!(blocks(&process), blocks(&local), "slices of {slice}");
    }
}

#[tokio::test]
async fn leaves_and_unions() {
    same_in_slices(|graph| {
        let left = graph.parallelize(&frames(&[&["a"], &["b", "c"], &[]]));
        graph.persist(left);
        let right = graph.parallelize(&frames(&[&["d"], &["e"]]));
        graph.persist(right);
        let both = graph.union(vec![left, right, left]);
        graph.persist(both);
    })
    .await;
}

#[tokio::test]
async fn coalesce_below_and_above_unions() {
    same_in_slices(|graph| {
        let left = graph.parallelize(&frames(&[&["a"], &["b"], &["c"], &["d"], &["e"]]));
        graph.persist(left);
        let fewer = graph.coalesce(left, 2);
        graph.persist(fewer);
        let right = graph.parallelize(&frames(&[&["f"], &["g"]]));
        let both = graph.union(vec![right, fewer]);
        let coalesced = graph.coalesce(both, 3);
        graph.persist(coalesced);
    })
    .await;
}

#[tokio::test]
async fn shuffles_in_a_row_with_empty_partitions() {
    same_in_slices(|graph| {
        let frame =
            |first: usize, second: usize, text: &str| to(first, &to(second, text.as_bytes()));
        let input = graph.parallelize(&vec![
            vec![frame(0, 6, "a"), frame(3, 0, "b")],
            vec![],
            vec![frame(3, 6, "c"), frame(4, 2, "d")],
        ]);
        let first = graph.shuffle(input, 5);
        graph.persist(first);
        let second = graph.shuffle(first, 7);
        graph.persist(second);
        let rest = graph.parallelize(&frames(&[&["z"]]));
        let all = graph.union(vec![rest, second]);
        graph.persist(all);
    })
    .await;
}

#[tokio::test]
async fn cartesian_and_zip_of_shuffled_sides() {
    same_in_slices(|graph| {
        let input = graph.parallelize(&vec![
            vec![to(0, b"a"), to(1, b"b")],
            vec![to(1, b"c")],
            vec![to(0, b"d")],
        ]);
        let left = graph.shuffle(input, 3);
        graph.persist(left);
        let right = graph.parallelize(&frames(&[&["1"], &["2"]]));
        let pairs = graph.cartesian(left, right);
        graph.persist(pairs);
        let twice = graph.zip(pairs, pairs);
        graph.coalesce(twice, 4);
    })
    .await;
}

#[tokio::test]
async fn selected_partitions() {
    let mut graph = Graph::default();
    let input = graph.parallelize(&frames(&[&["a"], &["b"], &["c"], &["d"]]));
    graph.persist(input);
    let plan = select_partitions(graph.plan().await.unwrap(), &[3, 1, 2]).unwrap();
    let process = Process::new();
    let run = sliced::run(&process, plan, 2).await.unwrap();
    assert_eq!(run.partitions(), frames(&[&["d"], &["b"], &["c"]]));
    assert_eq!(run.stages, [3], "one stage with the chosen partitions only");
    let computed: BTreeSet<_> = process
        .blocks
        .kept
        .lock()
        .keys()
        .map(|b| b.partition)
        .collect();
    assert_eq!(computed, BTreeSet::from([1, 2, 3]));
}

#[tokio::test]
async fn leaves_that_ballista_does_not_know_run_once() {
    for slice in [1, 2, 100] {
        let leaf = || Arc::new(sliced::UnknownLeaf::new(3)) as Arc<dyn ExecutionPlan>;
        let union = UnionExec::try_new(vec![leaf(), leaf()]).unwrap();
        let run = sliced::run(&Process::new(), union, slice).await.unwrap();
        let expected = frames(&[&["0"], &["1"], &["2"], &["0"], &["1"], &["2"]]);
        assert_eq!(run.partitions(), expected, "slices of {slice}");
    }
}

#[tokio::test]
async fn written_files_are_numbered_over_all_tasks() {
    let process = Process::new();
    let output = process.dir.path().join("out");
    let sink = core::TextFileSink {
        path: output.to_str().unwrap().into(),
        ..Default::default()
    };
    let mut graph = Graph::default();
    let left = graph.parallelize(&frames(&[&["a"], &["b"], &["c"]]));
    let right = graph.parallelize(&frames(&[&["d"]]));
    graph.union(vec![left, right]);
    let (plan, commit) = write_text_file(graph.plan().await.unwrap(), &sink, 1).unwrap();
    sliced::run(&process, Arc::clone(&plan), 2).await.unwrap();
    commit.commit().await.unwrap();
    for (partition, line) in ["a\n", "b\n", "c\n", "d\n"].iter().enumerate() {
        let part = std::fs::read_to_string(output.join(format!("part-0000{partition}")));
        assert_eq!(part.unwrap(), *line);
    }
}

#[tokio::test]
async fn sql_over_shuffled_rdds() {
    let frame = |value: i64| {
        let schema = numbers_schema();
        let column = Arc::new(Int64Array::from(vec![value, value + 1]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap();
        let mut frame = Vec::new();
        let mut writer = StreamWriter::try_new(&mut frame, &schema).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
        frame
    };
    for slice in [1, 2, 100] {
        let process = Process::new();
        let session = SessionContext::new_with_config(sliced::config(&process));
        let mut graph = Graph::default();
        let input = graph.parallelize(&vec![
            vec![to(0, &frame(0)), to(4, &frame(10))],
            vec![to(4, &frame(20)), to(2, &frame(30))],
        ]);
        let input = graph.shuffle(input, 5);
        graph.coalesce(input, 4);
        let table = RddTable::new(graph.build(), numbers_schema(), Arc::new(Tables::default()));
        session.register_table("numbers", Arc::new(table)).unwrap();
        let query = "SELECT a.n % 10 AS digit, sum(a.n) AS total FROM numbers a \
                     JOIN numbers b ON a.n = b.n GROUP BY 1 ORDER BY 1";
        let frame = session.sql(query).await.unwrap();
        let plan = frame.create_physical_plan().await.unwrap();
        let run = sliced::run(&process, plan, slice).await.unwrap();
        let batches: Vec<_> = run.batches.concat();
        let text = arrow::util::pretty::pretty_format_batches(&batches)
            .unwrap()
            .to_string();
        assert!(
            text.contains("| 0     | 60    |") && text.contains("| 1     | 64    |"),
            "slices of {slice}:\n{text}"
        );
    }
}

fn numbers_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_shuffle_writer_agrees_with_the_keys(
        (count, targets) in (1_usize..50).prop_flat_map(|count| {
            (Just(count), prop::collection::vec(0..count, 0..60))
        }),
        slice in 1_usize..4,
    ) {
        let run = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
            .block_on(async {
                let input: Frames = targets
                    .chunks(20)
                    .map(|t| t.iter().map(|&t| to(t, &t.to_be_bytes())).collect())
                    .collect();
                let mut graph = Graph::default();
                let input = graph.parallelize(&if input.is_empty() { vec![vec![]] } else { input });
                graph.shuffle(input, count as i32);
                let process = Process::new();
                sliced::run(&process, graph.plan().await.unwrap(), slice).await.unwrap()
            });
        let partitions = run.partitions();
        prop_assert_eq!(partitions.len(), count);
        for (partition, frames) in partitions.iter().enumerate() {
            let sent = targets.iter().filter(|&&t| t == partition).count();
            prop_assert_eq!(frames.len(), sent);
            for frame in frames {
                prop_assert_eq!(frame, &partition.to_be_bytes().to_vec());
            }
        }
    }
}
