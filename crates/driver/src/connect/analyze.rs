//! `AnalyzePlan`: analysis answers most of it, the session's caching the rest.

use prost::Message;
use pyrite_proto::connect::analyze_plan_request::Analyze;
use pyrite_proto::connect::analyze_plan_response::{
    GetStorageLevel, Persist, Result as Analyzed, SparkVersion, Unpersist,
};
use pyrite_proto::connect::{Relation, StorageLevel};
use pyrite_proto::error::SparkError;

use super::errors;
use super::session::Session;

/// The version of Spark whose behaviour we follow.
pub const SPARK_VERSION: &str = "4.2.0";

/// Answers one request.
///
/// # Errors
/// Analysis errors.
pub async fn analyze(session: &Session, request: &Analyze) -> Result<Analyzed, SparkError> {
    match request {
        Analyze::SparkVersion(_) => Ok(Analyzed::SparkVersion(SparkVersion {
            version: SPARK_VERSION.to_owned(),
        })),
        Analyze::Persist(persist) => {
            let key = key_of(persist.relation.as_ref())?;
            let level = persist.storage_level.unwrap_or_else(memory_and_disk);
            session.persisted.lock().insert(key, level);
            Ok(Analyzed::Persist(Persist {}))
        }
        Analyze::Unpersist(unpersist) => {
            let key = key_of(unpersist.relation.as_ref())?;
            session.persisted.lock().remove(&key);
            Ok(Analyzed::Unpersist(Unpersist {}))
        }
        Analyze::GetStorageLevel(get) => {
            let key = key_of(get.relation.as_ref())?;
            let level = session.persisted.lock().get(&key).copied();
            Ok(Analyzed::GetStorageLevel(GetStorageLevel {
                storage_level: Some(level.unwrap_or_default()),
            }))
        }
        other => session.plan.analyze(other).await,
    }
}

/// What makes two relations the same for caching: their encoded form without plan ids.
fn key_of(relation: Option<&Relation>) -> Result<Vec<u8>, SparkError> {
    let mut relation = relation
        .cloned()
        .ok_or_else(|| errors::invalid_plan("the request has no relation"))?;
    relation.common = None;
    Ok(relation.encode_to_vec())
}

/// `DataFrame.cache()` without a level: Spark's MEMORY_AND_DISK_DESER.
fn memory_and_disk() -> StorageLevel {
    StorageLevel {
        use_disk: true,
        use_memory: true,
        use_off_heap: false,
        deserialized: true,
        replication: 1,
    }
}
