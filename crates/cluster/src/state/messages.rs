//! Messages that more than one event leads to.

use pyrite_proto::PROTOCOL_VERSION;
use pyrite_proto::cluster::{
    ExecutorAdded, KillExecutor, master_to_driver as to_driver, master_to_worker as to_worker,
};

use super::{Grant, MasterAction};
use crate::ids::{AppId, ConnectionId, ExecutorId, WorkerId};

/// Version of this program, shown to peers.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) type Actions = Vec<MasterAction>;

/// Tells a driver about an executor of its own.
pub(super) fn added(
    driver: ConnectionId,
    executor_id: ExecutorId,
    worker_id: &WorkerId,
    host: &str,
    grant: Grant,
) -> MasterAction {
    let message = ExecutorAdded {
        executor_id: executor_id.0,
        worker_id: worker_id.0.clone(),
        host: host.to_owned(),
        cores: grant.cores,
        memory_mib: grant.memory_mib,
    };
    MasterAction::ToDriver(driver, to_driver::Message::ExecutorAdded(message))
}

/// Has an executor ended.
pub(super) fn kill(worker: ConnectionId, app_id: &AppId, executor_id: ExecutorId) -> MasterAction {
    let message = KillExecutor {
        app_id: app_id.0.clone(),
        executor_id: executor_id.0,
    };
    MasterAction::ToWorker(worker, to_worker::Message::KillExecutor(message))
}

/// Why a peer of this version cannot be taken in, naming both versions.
pub(super) fn refusal(peer: &str, version: &str, protocol: u32) -> Option<String> {
    (version != VERSION || protocol != PROTOCOL_VERSION).then(|| {
        format!(
            "the master runs Pyrite {VERSION} (protocol {PROTOCOL_VERSION}) and this {peer} runs Pyrite {version} \
             (protocol {protocol}); install the same version on both"
        )
    })
}
