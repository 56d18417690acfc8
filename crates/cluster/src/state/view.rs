//! What the master's pages show.

use std::time::Instant;

use chrono::{DateTime, Local};
use pyrite_ui::master::{ApplicationRow, MasterPage, WorkerRow};

use super::{Ending, MasterState};

impl MasterState {
    /// A copy of what the pages show. `at` is the same moment as `now`.
    pub fn page(&self, now: Instant, at: DateTime<Local>) -> MasterPage {
        let workers = self.workers.iter().map(|(id, worker)| WorkerRow {
            id: id.0.clone(),
            host: worker.host.clone(),
            port: worker.port,
            web_ui_url: worker.web_ui_url.clone(),
            cores: worker.cores,
            cores_used: worker.cores_used(),
            memory_mib: worker.memory_mib,
            memory_used_mib: worker.memory_used(),
            last_heartbeat_ms: at.timestamp_millis()
                - millis(now.duration_since(worker.last_heartbeat)),
        });
        let active = self.queue.iter().map(|id| {
            let application = &self.applications[id];
            ApplicationRow {
                id: id.0.clone(),
                name: application.description.name.clone(),
                user: application.description.user.clone(),
                cores: application.cores_granted(),
                memory_per_executor_mib: application.description.memory_mib_per_executor,
                submitted_ms: application.submitted.timestamp_millis(),
                duration_ms: (at - application.submitted).num_milliseconds(),
                state: if application.is_running() {
                    "RUNNING"
                } else {
                    "WAITING"
                },
                web_ui_url: application.description.web_ui_url.clone(),
            }
        });
        let completed = self.ended.iter().map(|ended| ApplicationRow {
            id: ended.app_id.0.clone(),
            name: ended.description.name.clone(),
            user: ended.description.user.clone(),
            cores: ended.cores,
            memory_per_executor_mib: ended.description.memory_mib_per_executor,
            submitted_ms: ended.submitted.timestamp_millis(),
            duration_ms: (ended.ended - ended.submitted).num_milliseconds(),
            state: match ended.ending {
                Ending::Finished => "FINISHED",
                Ending::Failed => "FAILED",
                Ending::Killed => "KILLED",
            },
            web_ui_url: String::new(),
        });
        MasterPage {
            url: self.config.url.clone(),
            workers: workers.collect(),
            active: active.collect(),
            completed: completed.collect(),
            kill_enabled: self.config.kill_enabled,
        }
    }
}

fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
