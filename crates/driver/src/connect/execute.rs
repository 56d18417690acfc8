//! One execution: a plan or command in, responses out.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use pyrite_plan::{CommandResult, PendingWrite, ResolvedPlan};
use pyrite_proto::connect::command::CommandType;
use pyrite_proto::connect::execute_plan_response::{
    ObservedMetrics, ResponseType, SqlCommandResult,
};
use pyrite_proto::connect::expression::Literal;
use pyrite_proto::connect::expression::literal::{self, LiteralType};
use pyrite_proto::connect::plan::OpType;
use pyrite_proto::connect::{
    CachedRemoteRelation, CheckpointCommandResult, Command, ExecutePlanResponse,
    GetResourcesCommandResult, MlCommand, MlCommandResult, Plan, Relation, ml_command,
    ml_command_result,
};
use pyrite_proto::error::SparkError;
use pyrite_runtime::to_spark_error;
use tracing::{debug, error};

use super::errors;
use super::results::{ArrowSender, InOrder};
use super::session::{Operation, Session};
use crate::application::Application;
use crate::jobs::{Job, JobInfo};
use crate::settled::settled;

/// Name of the observed metrics that carry accumulator updates, as Spark's server calls them.
const PYTHON_ACCUMULATOR: &str = "__python_accumulator__";

/// Everything an execution needs.
pub struct Execution {
    /// The application.
    pub application: Arc<Application>,
    /// The user's session.
    pub session: Arc<Session>,
    /// Where responses go.
    pub operation: Arc<Operation>,
    /// Largest Arrow message, when the client can put chunks together.
    pub chunk_bytes: Option<usize>,
}

impl Execution {
    /// Runs `plan` to its end; whatever happens, the response buffer learns of it.
    pub async fn run(self, plan: Plan) {
        let operation = Arc::clone(&self.operation);
        let work = AssertUnwindSafe(self.execute(plan)).catch_unwind();
        let result = tokio::select! {
            biased;
            () = operation.cancel.cancelled() => Err(errors::cancelled()),
            result = work => result.unwrap_or_else(|panic| {
                let message = panic_text(panic.as_ref());
                error!(operation_id = operation.id, message, "execution panicked");
                Err(SparkError::other(format!("internal error: {message}")))
            }),
        };
        if let Err(error) = &result {
            debug!(operation_id = operation.id, %error, "execution failed");
        }
        operation.buffer.finish(result);
    }

    async fn execute(self, plan: Plan) -> Result<(), SparkError> {
        match plan.op_type {
            Some(OpType::Root(relation)) => self.query(&relation).await,
            Some(OpType::Command(command)) => self.command(command).await,
            Some(OpType::CompressedOperation(_)) => {
                Err(SparkError::not_supported("a compressed plan"))
            }
            None => Err(errors::invalid_plan(
                "the plan is neither relation nor command",
            )),
        }
    }

    async fn query(&self, relation: &Relation) -> Result<(), SparkError> {
        let resolved = self.session.plan.resolve(relation).await?;
        let schema = ExecutePlanResponse {
            schema: Some(resolved.spark_schema()?),
            ..Default::default()
        };
        if !self.operation.buffer.push_response(schema).await {
            return Ok(());
        }
        let job = self.start_job("query")?;
        let result = self.run_query(&job, resolved).await;
        self.end_job(job, result).await
    }

    async fn run_query(&self, job: &Job, resolved: ResolvedPlan) -> Result<(), SparkError> {
        let planning = self.session.plan.physical(&resolved, job.id());
        let physical = settled(
            job.planning(planning).await?,
            self.application.runtime.as_ref(),
        )
        .map_err(to_spark_error)?;
        let events = job.run(self.application.runtime.as_ref(), physical).await?;
        let mut batches = InOrder::new(events, self.application.max_result_bytes);
        let buffer = &self.operation.buffer;
        let Some(finish) = resolved.finish.clone() else {
            let mut sender = ArrowSender::new(buffer, resolved.arrow_schema(), self.chunk_bytes);
            while let Some(batches) = batches.next().await? {
                for batch in batches {
                    if !sender.send(batch).await? {
                        return Ok(());
                    }
                }
            }
            sender.finish().await?;
            return Ok(());
        };
        let mut finisher = finish.start();
        while let Some(batches) = batches.next().await? {
            for batch in batches {
                finisher.push(batch);
            }
        }
        let rows = finisher.finish()?;
        let schema = rows
            .first()
            .map_or_else(|| resolved.arrow_schema(), |batch| batch.schema());
        let mut sender = ArrowSender::new(buffer, schema, self.chunk_bytes);
        for batch in rows {
            sender.send(batch).await?;
        }
        sender.finish().await?;
        Ok(())
    }

    async fn command(&self, command: Command) -> Result<(), SparkError> {
        match &command.command_type {
            Some(CommandType::GetResourcesCommand(_)) => {
                let none = GetResourcesCommandResult::default();
                self.respond(ResponseType::GetResourcesCommandResult(none))
                    .await
            }
            Some(CommandType::MlCommand(ml)) => {
                let result = ml_command(ml)?;
                self.respond(ResponseType::MlCommandResult(result)).await
            }
            _ => match self.session.plan.command(&command).await? {
                CommandResult::None => Ok(()),
                CommandResult::Sql(relation) => self.sql_result(*relation).await,
                CommandResult::Fill { plan, answer } => {
                    self.fill(*plan).await?;
                    self.sql_result(*answer).await
                }
                CommandResult::Checkpoint { id, fill } => {
                    if let Some(plan) = fill {
                        self.fill(*plan).await?;
                    }
                    let relation = Some(CachedRemoteRelation { relation_id: id });
                    let result = CheckpointCommandResult { relation };
                    self.respond(ResponseType::CheckpointCommandResult(result))
                        .await
                }
                CommandResult::Write(write) => self.write(write).await,
            },
        }
    }

    /// Runs a plan for what it does besides.
    async fn fill(&self, plan: ResolvedPlan) -> Result<(), SparkError> {
        let job = self.start_job("cache")?;
        let result = self.run_fill(&job, &plan).await;
        self.end_job(job, result).await
    }

    async fn run_fill(&self, job: &Job, plan: &ResolvedPlan) -> Result<(), SparkError> {
        let planning = self.session.plan.physical(plan, job.id());
        let physical = settled(
            job.planning(planning).await?,
            self.application.runtime.as_ref(),
        )
        .map_err(to_spark_error)?;
        let mut events = job.run(self.application.runtime.as_ref(), physical).await?;
        while events.next().await.transpose()?.is_some() {}
        Ok(())
    }

    async fn sql_result(&self, relation: Relation) -> Result<(), SparkError> {
        let result = SqlCommandResult {
            relation: Some(relation),
        };
        self.respond(ResponseType::SqlCommandResult(result)).await
    }

    async fn respond(&self, response: ResponseType) -> Result<(), SparkError> {
        // Nobody to read it is no failure of the command.
        self.operation.buffer.push(response).await;
        Ok(())
    }

    async fn write(&self, write: PendingWrite) -> Result<(), SparkError> {
        let job = self.start_job("write")?;
        let result = self.run_write(&job, &write).await;
        if result.is_err() {
            write.abort().await;
        }
        self.end_job(job, result).await?;
        match write.sql_result {
            Some(relation) => self.sql_result(*relation).await,
            None => Ok(()),
        }
    }

    async fn run_write(&self, job: &Job, write: &PendingWrite) -> Result<(), SparkError> {
        let planning = write.physical(&self.session.plan, job.id());
        let physical = settled(
            job.planning(planning).await?,
            self.application.runtime.as_ref(),
        )
        .map_err(to_spark_error)?;
        let events = job.run(self.application.runtime.as_ref(), physical).await?;
        let mut batches = InOrder::new(events, self.application.max_result_bytes);
        let mut written = Vec::new();
        while let Some(more) = batches.next().await? {
            written.extend(more);
        }
        write.commit(&self.session.plan, &written).await
    }

    fn start_job(&self, name: &str) -> Result<Job, SparkError> {
        self.application.jobs.start(JobInfo {
            call_site: name.to_owned(),
            tags: self.operation.tags.clone(),
            ..JobInfo::default()
        })
    }

    /// Ends the job and passes on what its Python functions added to accumulators.
    async fn end_job(&self, job: Job, result: Result<(), SparkError>) -> Result<(), SparkError> {
        let updates = job.take_accumulator_updates();
        job.finish(result.as_ref().copied());
        if !updates.is_empty() {
            self.operation
                .buffer
                .push_response(accumulators(updates))
                .await;
        }
        result
    }
}

/// Clients tidy up their models when they exit; there are none yet.
fn ml_command(command: &MlCommand) -> Result<MlCommandResult, SparkError> {
    let array = |elements| Literal {
        literal_type: Some(LiteralType::Array(literal::Array {
            elements,
            ..Default::default()
        })),
        ..Default::default()
    };
    let param = match command.command {
        Some(ml_command::Command::CleanCache(_)) => Literal {
            literal_type: Some(LiteralType::Integer(0)),
            ..Default::default()
        },
        Some(ml_command::Command::GetCacheInfo(_)) => array(Vec::new()),
        _ => return Err(SparkError::not_supported("pyspark.ml")),
    };
    Ok(MlCommandResult {
        result_type: Some(ml_command_result::ResultType::Param(param)),
    })
}

fn accumulators(updates: Vec<Bytes>) -> ExecutePlanResponse {
    let values = updates
        .into_iter()
        .map(|update| Literal {
            literal_type: Some(LiteralType::Binary(update)),
            ..Default::default()
        })
        .collect();
    ExecutePlanResponse {
        observed_metrics: vec![ObservedMetrics {
            name: PYTHON_ACCUMULATOR.to_owned(),
            values,
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a thread panicked".to_owned())
}
