//! A session of its own for a test, and statements run to their end.

#![allow(dead_code, reason = "each test uses what it needs")]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::AsArray;
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::common::DataFusionError;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::{SessionConfig, SessionContext};
use pyrite_plan::{CommandResult, PlanSession, RelationExtensions, RowKeeper, SharedState};
use pyrite_proto::connect::command::CommandType;
use pyrite_proto::connect::relation::RelType;
use pyrite_proto::connect::{Command, Relation, ShowString, Sql, SqlCommand, StorageLevel};
use pyrite_proto::error::SparkError;
use pyrite_rdd::InMemoryTableScanExec;

struct NoExtensions;

#[async_trait]
impl RelationExtensions for NoExtensions {
    async fn table(&self, _any: &prost_types::Any) -> Result<Arc<dyn TableProvider>, SparkError> {
        Err(SparkError::not_supported("extensions in this test"))
    }
}

/// Keeps no rows, but names the plans that are to be kept.
struct KeptRows;

#[async_trait]
impl RowKeeper for KeptRows {
    fn keep(
        &self,
        _number: i64,
        _level: &StorageLevel,
        rows: Arc<dyn ExecutionPlan>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        Ok(Arc::new(InMemoryTableScanExec::unkept(rows)))
    }

    fn unkept(
        &self,
        rows: Arc<dyn ExecutionPlan>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        Ok(rows)
    }

    async fn remove(&self, _number: i64) {}
}

/// A session with two partitions, in UTC.
pub fn session() -> PlanSession {
    let config = SessionConfig::new().with_target_partitions(2);
    let conf = BTreeMap::from([("spark.sql.session.timeZone".to_owned(), "UTC".to_owned())]);
    PlanSession::new(
        SessionContext::new_with_config(config),
        conf,
        Arc::new(NoExtensions),
        Arc::new(SharedState::new(Arc::new(KeptRows))),
    )
}

fn relation(rel_type: RelType) -> Relation {
    Relation {
        common: None,
        rel_type: Some(rel_type),
    }
}

/// Carries a statement out; returns the relation of its rows.
pub async fn sql(session: &PlanSession, text: &str) -> Result<Relation, SparkError> {
    let input = relation(RelType::Sql(Sql {
        query: text.to_owned(),
        ..Default::default()
    }));
    let command = SqlCommand {
        input: Some(input),
        ..Default::default()
    };
    let command = Command {
        command_type: Some(CommandType::SqlCommand(command)),
    };
    match session.command(&command).await? {
        CommandResult::Sql(relation) => Ok(*relation),
        CommandResult::None => Ok(Relation::default()),
        CommandResult::Fill { plan, answer } => {
            let exec = session.physical(&plan, 1).await?;
            collect(exec, SessionContext::new().task_ctx())
                .await
                .map_err(pyrite_plan::errors::from_datafusion)?;
            Ok(*answer)
        }
        CommandResult::Checkpoint { .. } => panic!("a statement of SQL is no checkpoint"),
        CommandResult::Write(write) => {
            let exec = write.physical(session, 1).await?;
            let context = SessionContext::new().task_ctx();
            let batches = collect(exec, context)
                .await
                .map_err(pyrite_plan::errors::from_datafusion)?;
            write.commit(session, &batches).await?;
            Ok(write.sql_result.map(|r| *r).unwrap_or_default())
        }
    }
}

/// Carries a statement out, which must succeed.
pub async fn run(session: &PlanSession, text: &str) {
    if let Err(error) = sql(session, text).await {
        panic!("{text}: {error}");
    }
}

/// What `show(truncate=False)` prints for a relation.
pub async fn show(session: &PlanSession, input: Relation) -> Result<String, SparkError> {
    let show = ShowString {
        input: Some(Box::new(input)),
        num_rows: 1000,
        truncate: 0,
        vertical: false,
    };
    let plan = session
        .resolve(&relation(RelType::ShowString(Box::new(show))))
        .await?;
    let exec = session.physical(&plan, 1).await?;
    let context = SessionContext::new().task_ctx();
    let batches = collect(exec, context)
        .await
        .map_err(pyrite_plan::errors::from_datafusion)?;
    let mut finisher = plan.finish.expect("show has a last step").start();
    batches.into_iter().for_each(|b| finisher.push(b));
    let text = finisher.finish()?;
    Ok(text[0].column(0).as_string::<i32>().value(0).to_owned())
}

/// The header and rows of a query as `show` prints them, without the lines around.
pub async fn shown(session: &PlanSession, text: &str) -> Vec<String> {
    let relation = sql(session, text)
        .await
        .unwrap_or_else(|e| panic!("{text}: {e}"));
    let shown = show(session, relation)
        .await
        .unwrap_or_else(|e| panic!("{text}: {e}"));
    shown
        .lines()
        .filter(|l| !l.starts_with('+'))
        .map(str::to_owned)
        .collect()
}
