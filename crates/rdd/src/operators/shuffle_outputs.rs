//! Outputs of map sides that later jobs of the application can use again.
//!
//! Spark keeps the files of a shuffle and skips the stage that wrote them when another job
//! reads the same RDD. So do processes that run whole jobs by themselves: an output is kept
//! until the process needs the room for another one.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Weak};

use datafusion::common::DataFusionError;
use parking_lot::Mutex;
use pyrite_python::TaskServices;
use tokio::sync::OnceCell;

use super::spool::{MemoryBudget, Spool};

/// Memory for all outputs of the process; what is beyond it goes to disk, where Spark puts all.
const MEMORY_BYTES: usize = 32 * 1024 * 1024;
/// Memory for a task that writes when there is no more.
const WRITER_BYTES: usize = 2 * 1024 * 1024;
/// Share of the memory that outputs of earlier jobs may hold when a new one is written.
const KEPT_MEMORY_BYTES: usize = MEMORY_BYTES / 2;
/// Outputs that are kept, whatever their size.
const KEPT_OUTPUTS: usize = 64;

/// One spool for each partition of the input, or why there is none.
pub(super) type MapOutputs = Result<Arc<Vec<Spool>>, Arc<DataFusionError>>;
/// Filled by the first reader.
pub(super) type OutputCell = Arc<OnceCell<MapOutputs>>;

/// The memory that all outputs of the process share.
pub(super) fn memory_budget() -> Arc<MemoryBudget> {
    static BUDGET: LazyLock<Arc<MemoryBudget>> =
        LazyLock::new(|| MemoryBudget::new(MEMORY_BYTES, WRITER_BYTES));
    Arc::clone(&BUDGET)
}

struct Kept {
    /// Whose shuffle it is. Holding it weakly keeps its address, the key, from being reused.
    owner: Weak<TaskServices>,
    cell: OutputCell,
    last_use: u64,
}

#[derive(Default)]
struct KeptOutputs {
    outputs: HashMap<(usize, i64), Kept>,
    uses: u64,
}

static KEPT: LazyLock<Mutex<KeptOutputs>> = LazyLock::new(Mutex::default);

/// The output of shuffle `shuffle_id` of this process, filled or yet to be filled. One that
/// failed is forgotten, so that the next job tries again.
pub(super) fn output_of(services: &Arc<TaskServices>, shuffle_id: i64) -> OutputCell {
    let mut kept = KEPT.lock();
    kept.uses += 1;
    let uses = kept.uses;
    let key = (Arc::as_ptr(services).addr(), shuffle_id);
    if let Some(output) = kept.outputs.get_mut(&key)
        && !matches!(output.cell.get(), Some(Err(_)))
    {
        output.last_use = uses;
        return Arc::clone(&output.cell);
    }
    kept.make_room();
    let cell = OutputCell::default();
    let output = Kept {
        owner: Arc::downgrade(services),
        cell: Arc::clone(&cell),
        last_use: uses,
    };
    kept.outputs.insert(key, output);
    cell
}

/// Drops the outputs of exchanges that nobody asks for any more. Jobs that read them finish.
pub fn forget_exchanges(services: &Arc<TaskServices>, rdd_ids: &[i64]) {
    let mut kept = KEPT.lock();
    for rdd_id in rdd_ids {
        kept.outputs
            .remove(&(Arc::as_ptr(services).addr(), *rdd_id));
    }
}

impl KeptOutputs {
    /// Forgets outputs until there is room for a new one, those that were not used for the
    /// longest time first. Jobs that are under way keep theirs.
    fn make_room(&mut self) {
        self.outputs
            .retain(|_, output| output.owner.strong_count() > 0);
        let budget = memory_budget();
        while self.outputs.len() >= KEPT_OUTPUTS || budget.used() > KEPT_MEMORY_BYTES {
            let idle = self
                .outputs
                .iter()
                .filter(|(_, kept)| Arc::strong_count(&kept.cell) == 1);
            let Some((&oldest, _)) = idle.min_by_key(|(_, kept)| kept.last_use) else {
                return;
            };
            self.outputs.remove(&oldest);
        }
    }
}
