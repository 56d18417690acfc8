//! Keys that the engine's hash sends to a chosen partition.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::common::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::metrics::Time;
use datafusion::physical_plan::repartition::BatchPartitioner;
use parking_lot::Mutex;

use crate::operators::shuffle_schema;

/// Candidates that are tried at once.
const CANDIDATES: i64 = 4096;

/// For each of `count` partitions, the smallest key that `Partitioning::Hash([key], count)`
/// sends there. Found by asking the engine's own partitioner, once for each count: about
/// `count * ln(count)` keys have to be tried.
///
/// # Errors
/// When the partitioner fails, which is a fault of ours.
pub fn shuffle_keys(count: usize) -> Result<Arc<[i64]>> {
    static KEYS: LazyLock<Mutex<HashMap<usize, Arc<[i64]>>>> = LazyLock::new(Mutex::default);
    if let Some(keys) = KEYS.lock().get(&count) {
        return Ok(Arc::clone(keys));
    }
    let keys: Arc<[i64]> = find_keys(count)?.into();
    KEYS.lock().insert(count, Arc::clone(&keys));
    Ok(keys)
}

fn find_keys(count: usize) -> Result<Vec<i64>> {
    let key: Arc<dyn PhysicalExpr> = Arc::new(Column::new("key", 0));
    let schema = Arc::new(shuffle_schema().project(&[0])?);
    let mut partitioner = BatchPartitioner::new_hash_partitioner(vec![key], count, Time::new())?;
    let mut found: Vec<Option<i64>> = vec![None; count];
    let mut missing = count;
    let mut next = 0_i64;
    while missing > 0 {
        let candidates = Int64Array::from_iter_values(next..next + CANDIDATES);
        next += CANDIDATES;
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(candidates)])?;
        partitioner.partition(batch, |partition, rows| {
            if found[partition].is_none() && rows.num_rows() > 0 {
                let keys = rows.column(0).as_primitive::<Int64Type>();
                found[partition] = keys.values().iter().copied().min();
                missing -= 1;
            }
            Ok(())
        })?;
    }
    Ok(found.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_has_a_key_of_its_own() {
        for count in [1, 2, 3, 7, 8, 200, 1000] {
            let keys = shuffle_keys(count).unwrap();
            let distinct: std::collections::HashSet<_> = keys.iter().collect();
            assert_eq!(distinct.len(), count);
        }
    }
}
