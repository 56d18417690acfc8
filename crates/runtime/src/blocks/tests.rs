use datafusion::arrow::array::{AsArray, Int64Array};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema};
use futures::TryStreamExt;

use super::*;

fn batch(from: i64, rows: usize) -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![Field::new("v", DataType::Int64, false)]));
    let values: Int64Array = (from..).take(rows).collect();
    RecordBatch::try_new(schema, vec![Arc::new(values)]).unwrap()
}

fn level(use_memory: bool, use_disk: bool) -> StorageLevel {
    StorageLevel {
        use_memory,
        use_disk,
        replication: 1,
        ..Default::default()
    }
}

fn id(partition: usize) -> BlockId {
    BlockId {
        rdd_id: 7,
        partition,
    }
}

async fn put(store: &MemoryDiskBlockStore, id: BlockId, level: StorageLevel, rows: usize) {
    let mut writer = store.put(id, level).await.unwrap();
    let from = id.partition as i64 * 1000;
    writer.write(&batch(from, rows)).await.unwrap();
    writer.write(&batch(from + rows as i64, 1)).await.unwrap();
    writer.finish().await.unwrap();
}

async fn values(store: &MemoryDiskBlockStore, id: BlockId) -> Option<Vec<i64>> {
    let stream = store.get(id).await.unwrap()?;
    let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
    Some(
        batches
            .iter()
            .flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec())
            .collect(),
    )
}

fn files(dir: &std::path::Path) -> usize {
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

#[tokio::test]
async fn the_oldest_block_goes_to_disk_and_stays_readable() {
    let dir = tempfile::tempdir().unwrap();
    let store = MemoryDiskBlockStore::new(dir.path(), 3000);
    for partition in 0..4 {
        put(&store, id(partition), level(true, true), 100).await;
    }
    assert!(store.memory_bytes() <= 3000);
    assert!(files(dir.path()) >= 1, "something was spilled");
    for partition in 0..4 {
        let expected: Vec<i64> = (partition as i64 * 1000..).take(101).collect();
        assert_eq!(values(&store, id(partition)).await.unwrap(), expected);
    }
    store.remove_rdd(7).await.unwrap();
    assert_eq!((store.memory_bytes(), files(dir.path())), (0, 0));
    assert!(values(&store, id(0)).await.is_none());
}

#[tokio::test]
async fn memory_only_blocks_are_forgotten_when_memory_is_short() {
    let dir = tempfile::tempdir().unwrap();
    let store = MemoryDiskBlockStore::new(dir.path(), 2500);
    for partition in 0..4 {
        put(&store, id(partition), level(true, false), 100).await;
    }
    assert!(values(&store, id(0)).await.is_none());
    assert!(values(&store, id(3)).await.is_some());
    put(&store, id(9), level(true, false), 100_000).await;
    assert!(
        values(&store, id(9)).await.is_none(),
        "larger than all memory"
    );
    assert_eq!(files(dir.path()), 0);
}

#[tokio::test]
async fn a_block_larger_than_memory_goes_to_disk_while_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = MemoryDiskBlockStore::new(dir.path(), 100);
    put(&store, id(1), level(true, true), 500).await;
    put(&store, id(2), level(false, true), 5).await;
    assert_eq!((store.memory_bytes(), files(dir.path())), (0, 2));
    assert_eq!(values(&store, id(1)).await.unwrap().len(), 501);
    assert_eq!(values(&store, id(2)).await.unwrap().len(), 6);
}

#[tokio::test]
async fn an_unfinished_block_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = MemoryDiskBlockStore::new(dir.path(), 1 << 20);
    let mut writer = store.put(id(0), level(false, true)).await.unwrap();
    writer.write(&batch(0, 10)).await.unwrap();
    drop(writer);
    assert!(values(&store, id(0)).await.is_none());
    assert_eq!(files(dir.path()), 0);
    let writer = store.put(id(1), level(true, false)).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(
        values(&store, id(1)).await.unwrap().len(),
        0,
        "an empty block is a block"
    );
}
