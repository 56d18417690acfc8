//! Storage levels by name.

use pyrite_proto::connect::StorageLevel;
use pyrite_proto::error::SparkError;

use crate::errors::Result;

/// `DataFrame.cache()` without a level: Spark's MEMORY_AND_DISK.
pub(crate) fn default_level() -> StorageLevel {
    level(true, true, false, true, 1)
}

/// A level by its name in Spark, in any case.
///
/// # Errors
/// Spark's error for a name that there is not.
pub(crate) fn named_level(name: &str) -> Result<StorageLevel> {
    let name = name.to_uppercase();
    Ok(match name.as_str() {
        "NONE" => level(false, false, false, false, 1),
        "DISK_ONLY" => level(true, false, false, false, 1),
        "DISK_ONLY_2" => level(true, false, false, false, 2),
        "DISK_ONLY_3" => level(true, false, false, false, 3),
        "MEMORY_ONLY" => level(false, true, false, true, 1),
        "MEMORY_ONLY_2" => level(false, true, false, true, 2),
        "MEMORY_ONLY_SER" => level(false, true, false, false, 1),
        "MEMORY_ONLY_SER_2" => level(false, true, false, false, 2),
        "MEMORY_AND_DISK" => level(true, true, false, true, 1),
        "MEMORY_AND_DISK_2" => level(true, true, false, true, 2),
        "MEMORY_AND_DISK_SER" => level(true, true, false, false, 1),
        "MEMORY_AND_DISK_SER_2" => level(true, true, false, false, 2),
        "OFF_HEAP" => level(true, true, true, false, 1),
        _ => {
            return Err(SparkError::new(
                "java.lang.IllegalArgumentException",
                "",
                "",
                format!("Invalid StorageLevel: {name}"),
            ));
        }
    })
}

fn level(
    use_disk: bool,
    use_memory: bool,
    use_off_heap: bool,
    deserialized: bool,
    replication: i32,
) -> StorageLevel {
    StorageLevel {
        use_disk,
        use_memory,
        use_off_heap,
        deserialized,
        replication,
    }
}
