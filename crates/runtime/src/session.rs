//! Configuration and resources that both runtimes and executors share.

use std::path::Path;
use std::sync::Arc;

use ballista_core::config::BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK;
use ballista_core::extension::SessionConfigExt;
use datafusion::common::Result;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::SessionConfig;
use pyrite_python::TaskServices;

/// Configuration for planning and running in this process.
pub fn local_config(target_partitions: usize, services: Arc<TaskServices>) -> SessionConfig {
    SessionConfig::new()
        .with_target_partitions(target_partitions.max(1))
        .with_information_schema(false)
        // Strings stay Utf8: Python workers and Spark's Arrow clients know no views.
        .set_bool(
            "datafusion.execution.parquet.schema_force_view_types",
            false,
        )
        .set_bool("datafusion.sql_parser.map_string_types_to_utf8view", false)
        .with_extension(services)
}

/// Configuration for planning and running through Ballista: plans may be cut into stages.
pub fn cluster_config(target_partitions: usize) -> SessionConfig {
    SessionConfig::new_with_ballista()
        .with_target_partitions(target_partitions.max(1))
        .with_information_schema(false)
        .with_ballista_physical_extension_codec(crate::physical_codec())
        .with_ballista_adaptive_query_planner(false)
        .with_ballista_grpc_client_max_message_size(MAX_MESSAGE_BYTES)
        .with_ballista_shuffle_reader_remote_prefer_flight(false)
        // A task a partition, as in Spark: a slow partition then holds one core, and a lost
        // task loses one partition.
        .set_usize(BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK, 1)
}

/// Largest gRPC message between the driver and its executors.
pub const MAX_MESSAGE_BYTES: usize = 512 << 20;

/// Memory pool, spill directory and object stores of one process.
///
/// Operators that can spill share `memory_bytes` fairly; `file://` is readable as it is.
///
/// # Errors
/// When the spill directory cannot be used.
pub fn runtime_env(memory_bytes: usize, local_dir: &Path) -> Result<Arc<RuntimeEnv>> {
    let spill = local_dir.join("spill");
    std::fs::create_dir_all(&spill)?;
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(memory_bytes)))
        .with_disk_manager_builder(
            DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![spill])),
        )
        .build_arc()
}
