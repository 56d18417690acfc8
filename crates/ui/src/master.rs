//! The master's page, and its JSON in the shape of Spark's.

use std::sync::Arc;

use axum::extract::{Form, State};
use axum::response::{Html as Page, Redirect};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::html::{Html, duration, mebibytes};

/// What the master's page shows.
#[derive(Debug, Clone, Default)]
pub struct MasterPage {
    /// `spark://host:port`
    pub url: String,
    /// Workers that are there.
    pub workers: Vec<WorkerRow>,
    /// Applications that are there, in order of arrival.
    pub active: Vec<ApplicationRow>,
    /// Applications that have ended, oldest first.
    pub completed: Vec<ApplicationRow>,
    /// Whether the page ends applications (`spark.ui.killEnabled`).
    pub kill_enabled: bool,
}

/// One worker.
#[derive(Debug, Clone)]
pub struct WorkerRow {
    /// Its id.
    pub id: String,
    /// Its host.
    pub host: String,
    /// The port in its id.
    pub port: u32,
    /// Address of its page; empty when it has none.
    pub web_ui_url: String,
    /// Cores in all.
    pub cores: u32,
    /// Cores given to executors.
    pub cores_used: u32,
    /// Memory in all.
    pub memory_mib: u64,
    /// Memory given to executors.
    pub memory_used_mib: u64,
    /// When it was last heard of, in milliseconds since 1970.
    pub last_heartbeat_ms: i64,
}

/// One application.
#[derive(Debug, Clone)]
pub struct ApplicationRow {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Who runs it.
    pub user: String,
    /// Cores it holds, or held at its end.
    pub cores: u32,
    /// Memory of each of its executors.
    pub memory_per_executor_mib: u64,
    /// When it arrived, in milliseconds since 1970.
    pub submitted_ms: i64,
    /// How long it has been there.
    pub duration_ms: i64,
    /// WAITING, RUNNING, FINISHED, FAILED or KILLED.
    pub state: &'static str,
    /// Address of its own pages; empty when it has none.
    pub web_ui_url: String,
}

/// Gives the page a copy of the present.
pub trait MasterSource: Send + Sync + 'static {
    /// The present.
    fn page(&self) -> MasterPage;

    /// Ends an application, if it is there and people may do so here.
    fn kill_application(&self, id: &str);
}

/// Routes of the master: `/`, `/json/`, and `/app/kill/` as Spark has it.
pub fn routes(source: Arc<dyn MasterSource>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/json", get(as_json))
        .route("/json/", get(as_json))
        .route("/app/kill", post(kill))
        .route("/app/kill/", post(kill))
        .with_state(source)
}

/// What the button sends.
#[derive(Deserialize)]
struct Kill {
    id: String,
    #[serde(default)]
    terminate: bool,
}

async fn kill(State(source): State<Arc<dyn MasterSource>>, Form(kill): Form<Kill>) -> Redirect {
    if kill.terminate {
        source.kill_application(&kill.id);
    }
    Redirect::to("/")
}

async fn as_json(State(source): State<Arc<dyn MasterSource>>) -> Json<Value> {
    Json(json(&source.page()))
}

async fn page(State(source): State<Arc<dyn MasterSource>>) -> Page<String> {
    html(&source.page())
}

fn json(page: &MasterPage) -> Value {
    let sum = |value: fn(&WorkerRow) -> u64| page.workers.iter().map(value).sum::<u64>();
    json!({
        "url": page.url,
        "workers": page.workers.iter().map(worker_json).collect::<Vec<_>>(),
        "aliveworkers": page.workers.len(),
        "cores": sum(|w| w.cores.into()),
        "coresused": sum(|w| w.cores_used.into()),
        "memory": sum(|w| w.memory_mib),
        "memoryused": sum(|w| w.memory_used_mib),
        "resources": [],
        "resourcesused": [],
        "activeapps": page.active.iter().map(application_json).collect::<Vec<_>>(),
        "completedapps": page.completed.iter().map(application_json).collect::<Vec<_>>(),
        "activedrivers": [],
        "completeddrivers": [],
        "status": "ALIVE",
    })
}

fn worker_json(worker: &WorkerRow) -> Value {
    json!({
        "id": worker.id,
        "host": worker.host,
        "port": worker.port,
        "webuiaddress": worker.web_ui_url,
        "cores": worker.cores,
        "coresused": worker.cores_used,
        "coresfree": worker.cores.saturating_sub(worker.cores_used),
        "memory": worker.memory_mib,
        "memoryused": worker.memory_used_mib,
        "memoryfree": worker.memory_mib.saturating_sub(worker.memory_used_mib),
        "resources": {},
        "resourcesused": {},
        "resourcesfree": {},
        "state": "ALIVE",
        "lastheartbeat": worker.last_heartbeat_ms,
    })
}

fn application_json(application: &ApplicationRow) -> Value {
    json!({
        "id": application.id,
        "starttime": application.submitted_ms,
        "name": application.name,
        "cores": application.cores,
        "user": application.user,
        "memoryperexecutor": application.memory_per_executor_mib,
        "memoryperslave": application.memory_per_executor_mib,
        "resourcesperexecutor": [],
        "state": application.state,
        "duration": application.duration_ms,
    })
}

fn html(page: &MasterPage) -> Page<String> {
    let cores: u32 = page.workers.iter().map(|w| w.cores).sum();
    let cores_used: u32 = page.workers.iter().map(|w| w.cores_used).sum();
    let memory: u64 = page.workers.iter().map(|w| w.memory_mib).sum();
    let memory_used: u64 = page.workers.iter().map(|w| w.memory_used_mib).sum();
    let facts = Html::facts(&[
        ("URL", Html::text(&page.url)),
        ("Alive workers", Html::text(page.workers.len().to_string())),
        (
            "Cores in use",
            Html::text(format!("{cores} total, {cores_used} used")),
        ),
        (
            "Memory in use",
            Html::text(format!(
                "{} total, {} used",
                mebibytes(memory),
                mebibytes(memory_used)
            )),
        ),
        (
            "Applications",
            Html::text(format!(
                "{} running, {} completed",
                page.active.len(),
                page.completed.len()
            )),
        ),
    ]);
    let workers: Vec<_> = page
        .workers
        .iter()
        .map(|w| {
            vec![
                Html::link(&w.web_ui_url, &w.id),
                Html::text(format!("{}:{}", w.host, w.port)),
                Html::text("ALIVE"),
                Html::text(format!("{} ({} used)", w.cores, w.cores_used)),
                Html::text(format!(
                    "{} ({} used)",
                    mebibytes(w.memory_mib),
                    mebibytes(w.memory_used_mib)
                )),
            ]
        })
        .collect();
    let columns = [
        "Application ID",
        "Name",
        "Cores",
        "Memory per executor",
        "User",
        "State",
        "Duration",
    ];
    let id = |a: &ApplicationRow, is_active: bool| {
        if !is_active || !page.kill_enabled {
            return Html::text(&a.id);
        }
        let values = [("id", a.id.as_str()), ("terminate", "true")];
        Html::text(&a.id).then(&Html::button("/app/kill/", "kill", &values))
    };
    let rows =
        |applications: &mut dyn Iterator<Item = &ApplicationRow>, is_active| -> Vec<Vec<Html>> {
            applications
                .map(|a| {
                    vec![
                        id(a, is_active),
                        Html::link(&a.web_ui_url, &a.name),
                        Html::text(a.cores.to_string()),
                        Html::text(mebibytes(a.memory_per_executor_mib)),
                        Html::text(&a.user),
                        Html::text(a.state),
                        Html::text(duration(a.duration_ms)),
                    ]
                })
                .collect()
        };
    facts
        .then(&Html::table(
            "Workers",
            &["Worker ID", "Address", "State", "Cores", "Memory"],
            &workers,
        ))
        .then(&Html::table(
            "Running applications",
            &columns,
            &rows(&mut page.active.iter(), true),
        ))
        .then(&Html::table(
            "Completed applications",
            &columns,
            &rows(&mut page.completed.iter().rev(), false),
        ))
        .page(&format!("Master at {}", page.url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_has_the_fields_of_spark() {
        let page = MasterPage {
            kill_enabled: true,
            url: "spark://h:7077".to_owned(),
            workers: vec![WorkerRow {
                id: "worker-1".to_owned(),
                host: "h".to_owned(),
                port: 1,
                web_ui_url: "http://h:8081".to_owned(),
                cores: 4,
                cores_used: 3,
                memory_mib: 4096,
                memory_used_mib: 1024,
                last_heartbeat_ms: 5,
            }],
            active: vec![ApplicationRow {
                id: "app-1".to_owned(),
                name: "<b>".to_owned(),
                user: "u".to_owned(),
                cores: 3,
                memory_per_executor_mib: 1024,
                submitted_ms: 7,
                duration_ms: 8,
                state: "RUNNING",
                web_ui_url: String::new(),
            }],
            completed: Vec::new(),
        };
        let json = json(&page);
        assert_eq!(json["coresused"], 3);
        assert_eq!(json["workers"][0]["coresfree"], 1);
        assert_eq!(json["workers"][0]["memoryfree"], 3072);
        assert_eq!(json["activeapps"][0]["memoryperslave"], 1024);
        assert_eq!(json["status"], "ALIVE");
        let html = html(&page).0;
        assert!(html.contains("&lt;b&gt;") && html.contains("http://h:8081"));
    }
}
