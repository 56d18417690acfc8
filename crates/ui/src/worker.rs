//! A worker's page, its JSON in the shape of Spark's, and the logs of its executors.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{Html as Page, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::html::{Html, mebibytes};
use crate::logs::{self, LogQuery};

/// What a worker's page shows.
#[derive(Debug, Clone, Default)]
pub struct WorkerPage {
    /// The worker's id.
    pub id: String,
    /// The master it belongs to; empty while it looks for one.
    pub master_url: String,
    /// Address of the master's page.
    pub master_web_ui_url: String,
    /// Cores in all.
    pub cores: u32,
    /// Memory in all.
    pub memory_mib: u64,
    /// Executors that run.
    pub running: Vec<ExecutorRow>,
    /// Executors that have ended, oldest first.
    pub finished: Vec<ExecutorRow>,
}

/// One executor.
#[derive(Debug, Clone)]
pub struct ExecutorRow {
    /// Its number within the application.
    pub id: u32,
    /// Its application.
    pub app_id: String,
    /// Name of the application.
    pub app_name: String,
    /// Who runs the application.
    pub user: String,
    /// Its cores.
    pub cores: u32,
    /// Its memory.
    pub memory_mib: u64,
    /// RUNNING, KILLED, FAILED or EXITED.
    pub state: &'static str,
}

/// Gives the page a copy of the present.
pub trait WorkerSource: Send + Sync + 'static {
    /// The present.
    fn page(&self) -> WorkerPage;
    /// The directory with a directory for each application.
    fn work_dir(&self) -> PathBuf;
}

/// Routes of a worker: `/`, `/json/`, `/logPage/` and `/log/`.
pub fn routes(source: Arc<dyn WorkerSource>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/json", get(as_json))
        .route("/json/", get(as_json))
        .route("/logPage", get(log_page))
        .route("/logPage/", get(log_page))
        .route("/log", get(log_text))
        .route("/log/", get(log_text))
        .with_state(source)
}

type Source = State<Arc<dyn WorkerSource>>;

async fn as_json(State(source): Source) -> Json<Value> {
    Json(json(&source.page()))
}

async fn page(State(source): Source) -> Page<String> {
    html(&source.page())
}

async fn log_page(State(source): Source, Query(query): Query<LogQuery>) -> Response {
    let read = logs::read(source.work_dir(), query.clone()).await;
    let piece = match read {
        Ok(piece) => piece,
        Err(error) => return (StatusCode::from(&error), error.to_string()).into_response(),
    };
    let link = |offset: u64, text: &str| Html::link(&query.address(offset, piece.limit), text);
    let facts = Html::facts(&[
        (
            "Bytes",
            Html::text(format!(
                "{} to {} of {}",
                piece.start, piece.end, piece.total
            )),
        ),
        (
            "Earlier",
            link(piece.start.saturating_sub(piece.limit), "earlier bytes"),
        ),
        ("Later", link(piece.end, "later bytes")),
    ]);
    facts
        .then(&Html::preformatted(&piece.text))
        .page(&format!(
            "{} of {}/{}",
            query.log_type, query.app_id, query.executor_id
        ))
        .into_response()
}

async fn log_text(State(source): Source, Query(query): Query<LogQuery>) -> Response {
    match logs::read(source.work_dir(), query.clone()).await {
        Ok(piece) => format!(
            "==== Bytes {}-{} of {} of {} ====\n{}",
            piece.start, piece.end, piece.total, query.log_type, piece.text
        )
        .into_response(),
        Err(error) => (StatusCode::from(&error), error.to_string()).into_response(),
    }
}

fn json(page: &WorkerPage) -> Value {
    json!({
        "id": page.id,
        "masterurl": page.master_url,
        "masterwebuiurl": page.master_web_ui_url,
        "cores": page.cores,
        "coresused": page.running.iter().map(|e| u64::from(e.cores)).sum::<u64>(),
        "memory": page.memory_mib,
        "memoryused": page.running.iter().map(|e| e.memory_mib).sum::<u64>(),
        "resources": {},
        "resourcesused": {},
        "executors": page.running.iter().map(executor_json).collect::<Vec<_>>(),
        "finishedexecutors": page.finished.iter().map(executor_json).collect::<Vec<_>>(),
    })
}

fn executor_json(executor: &ExecutorRow) -> Value {
    json!({
        "id": executor.id,
        "memory": executor.memory_mib,
        "resources": {},
        "appid": executor.app_id,
        "state": executor.state,
        "appdesc": {
            "name": executor.app_name,
            "cores": executor.cores,
            "memoryperexecutor": executor.memory_mib,
            "memoryperslave": executor.memory_mib,
            "resourcesperexecutor": [],
            "user": executor.user,
        },
    })
}

fn html(page: &WorkerPage) -> Page<String> {
    let cores: u32 = page.running.iter().map(|e| e.cores).sum();
    let memory: u64 = page.running.iter().map(|e| e.memory_mib).sum();
    let facts = Html::facts(&[
        ("ID", Html::text(&page.id)),
        (
            "Master",
            Html::link(&page.master_web_ui_url, &page.master_url),
        ),
        (
            "Cores",
            Html::text(format!("{} ({cores} used)", page.cores)),
        ),
        (
            "Memory",
            Html::text(format!(
                "{} ({} used)",
                mebibytes(page.memory_mib),
                mebibytes(memory)
            )),
        ),
    ]);
    let columns = [
        "Executor ID",
        "State",
        "Cores",
        "Memory",
        "Application",
        "User",
        "Logs",
    ];
    let rows = |executors: &mut dyn Iterator<Item = &ExecutorRow>| -> Vec<Vec<Html>> {
        executors.map(executor_row).collect()
    };
    facts
        .then(&Html::table(
            "Running executors",
            &columns,
            &rows(&mut page.running.iter()),
        ))
        .then(&Html::table(
            "Finished executors",
            &columns,
            &rows(&mut page.finished.iter().rev()),
        ))
        .page(&format!("Worker {}", page.id))
}

fn executor_row(executor: &ExecutorRow) -> Vec<Html> {
    let log = |name: &str| {
        let query = LogQuery::new(&executor.app_id, executor.id, name);
        Html::link(&query.address_of_end(), name)
    };
    vec![
        Html::text(executor.id.to_string()),
        Html::text(executor.state),
        Html::text(executor.cores.to_string()),
        Html::text(mebibytes(executor.memory_mib)),
        Html::text(format!("{} ({})", executor.app_name, executor.app_id)),
        Html::text(&executor.user),
        log("stdout").then(&Html::text(" ")).then(&log("stderr")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_cores_and_memory_are_those_of_running_executors() {
        let executor = |id, state| ExecutorRow {
            id,
            app_id: "app-1".to_owned(),
            app_name: "etl".to_owned(),
            user: "u".to_owned(),
            cores: 2,
            memory_mib: 512,
            state,
        };
        let page = WorkerPage {
            cores: 4,
            memory_mib: 2048,
            running: vec![executor(1, "RUNNING")],
            finished: vec![executor(0, "EXITED")],
            ..WorkerPage::default()
        };
        let json = json(&page);
        assert_eq!(
            (&json["coresused"], &json["memoryused"]),
            (&json!(2), &json!(512))
        );
        assert_eq!(json["finishedexecutors"][0]["appdesc"]["name"], "etl");
        assert!(
            html(&page)
                .0
                .contains("/logPage/?appId=app-1&amp;executorId=0&amp;logType=stderr")
        );
    }
}
