//! How a runtime that runs whole jobs in one process sorts.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::MemTable;
use datafusion::physical_plan::{collect, displayable};
use datafusion::prelude::{SessionConfig, SessionContext};
use pyrite_rdd::few_sorts_at_once;

/// A session with the numbers below 90, out of order in 9 partitions.
fn session() -> SessionContext {
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
    let numbers: Vec<i64> = (0..90).map(|i| (i * 37) % 90).collect();
    let batch = |part: &[i64]| {
        let column = Int64Array::from(part.to_vec());
        RecordBatch::try_new(schema.clone(), vec![Arc::new(column)]).unwrap()
    };
    let partitions = numbers.chunks(10).map(|part| vec![batch(part)]).collect();
    let table = MemTable::try_new(schema.clone(), partitions).unwrap();
    let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(9));
    session.register_table("numbers", Arc::new(table)).unwrap();
    session
}

/// The plan of a query that has at most so many sorts at once, and what it gives.
async fn sorted(query: &str, at_once: usize) -> (String, Vec<i64>) {
    let session = session();
    let frame = session.sql(query).await.unwrap();
    let plan = frame.create_physical_plan().await.unwrap();
    let plan = few_sorts_at_once(plan, at_once).unwrap();
    let shown = displayable(plan.as_ref()).indent(false).to_string();
    let mut ids = vec![];
    for batch in collect(plan, session.task_ctx()).await.unwrap() {
        let column = batch.column(0).as_any();
        ids.extend_from_slice(column.downcast_ref::<Int64Array>().unwrap().values());
    }
    (shown, ids)
}

#[tokio::test]
async fn a_sort_of_many_partitions_sorts_few_at_once() {
    let query = "SELECT id FROM numbers ORDER BY id";
    let (shown, ids) = sorted(query, 2).await;
    assert!(
        shown.contains("PartitionGroupsExec: inputs=9, partitions=2"),
        "{shown}"
    );
    assert_eq!(ids, (0..90).collect::<Vec<_>>());
    let (shown, ids) = sorted(query, 9).await;
    assert!(!shown.contains("PartitionGroupsExec"), "{shown}");
    assert_eq!(ids, (0..90).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_sort_that_keeps_a_few_rows_stays_as_it_is() {
    let (shown, ids) = sorted("SELECT id FROM numbers ORDER BY id LIMIT 3", 2).await;
    assert!(!shown.contains("PartitionGroupsExec"), "{shown}");
    assert_eq!(ids, [0, 1, 2]);
}
