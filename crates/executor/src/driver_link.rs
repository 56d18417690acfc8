//! The connection to the driver: commands one way, reports the other.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::common::{DataFusionError, Result};
use pyrite_proto::error::SparkError;
use pyrite_proto::exec::driver_service_client::DriverServiceClient;
use pyrite_proto::exec::executor_command::Command;
use pyrite_proto::exec::{AttachRequest, ExecutorCommand, TaskReport};
use pyrite_python::TaskServices;
use pyrite_python::{PythonTaskReport, TaskReports};
use pyrite_runtime::cluster::network::Secret;
use pyrite_runtime::session::MAX_MESSAGE_BYTES;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use crate::driver_files::RemoteDriverFiles;
use crate::shuffle_files::ShuffleFiles;
use crate::{ExecutorError, ExecutorOptions};

/// A client of the driver's service for executors.
pub(crate) type DriverClient = DriverServiceClient<Channel>;

/// How often a report is sent before its task fails.
const REPORT_ATTEMPTS: u32 = 4;

/// A channel to the driver.
pub(crate) struct DriverLink {
    client: DriverClient,
}

impl DriverLink {
    pub async fn connect(
        options: &ExecutorOptions,
        secret: &Secret,
    ) -> Result<Self, ExecutorError> {
        let channel = secret
            .channel(&options.driver_address)
            .map_err(|error| refused(options, &error))?;
        let client = DriverServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Self { client })
    }

    pub fn client(&self) -> DriverClient {
        self.client.clone()
    }

    /// Tells the driver that this executor is there, and opens the stream of its commands.
    pub async fn attach(&self, options: &ExecutorOptions) -> Result<Commands, ExecutorError> {
        let request = AttachRequest {
            executor_id: options.executor_id.clone(),
            host: options.host.clone(),
            cores: u32::try_from(options.cores).unwrap_or(u32::MAX),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            python_version: String::new(),
        };
        let stream = self
            .client
            .clone()
            .attach(request)
            .await
            .map_err(|status| refused(options, &status.message()))?
            .into_inner();
        Ok(Commands {
            stream,
            cores: options.cores,
        })
    }
}

fn refused(options: &ExecutorOptions, reason: &dyn std::fmt::Display) -> ExecutorError {
    ExecutorError::Driver {
        address: options.driver_address.clone(),
        reason: reason.to_string(),
    }
}

/// The driver's commands; their end is the driver's.
pub(crate) struct Commands {
    stream: Streaming<ExecutorCommand>,
    /// Tasks that this executor runs at the same time.
    cores: usize,
}

impl Commands {
    /// Does what the driver says until it says to end, or is gone.
    pub async fn follow(
        &mut self,
        services: &Arc<TaskServices>,
        files: &RemoteDriverFiles,
        shuffle_files: &ShuffleFiles,
    ) {
        loop {
            match self.stream.message().await {
                Ok(Some(ExecutorCommand { command })) => match command {
                    Some(Command::Shutdown(_)) => return,
                    Some(Command::RemoveRdd(command)) => {
                        if let Err(error) = services.blocks.remove_rdd(command.rdd_id).await {
                            tracing::warn!(rdd_id = command.rdd_id, %error, "could not remove blocks");
                        }
                    }
                    Some(Command::RemoveBroadcast(command)) => {
                        files.remove_broadcast(command.broadcast_id).await;
                    }
                    Some(Command::RemoveMapOutputs(command)) => {
                        if let Err(error) = shuffle_files.remove_kept(&command.job).await {
                            tracing::warn!(job = command.job, %error, "could not remove shuffle files");
                        }
                    }
                    Some(Command::WarmPython(_)) => {
                        services.python_workers.warm(self.cores);
                    }
                    // Ballista cancels the tasks of a job by itself.
                    Some(Command::CancelJob(_) | Command::Ping(_)) | None => {}
                },
                Ok(None) => return,
                Err(status) => {
                    tracing::info!(%status, "the connection to the driver has ended");
                    return;
                }
            }
        }
    }
}

/// Reports to the driver over the network.
pub(crate) struct RemoteReports {
    client: DriverClient,
    executor_id: String,
}

impl RemoteReports {
    pub fn new(client: DriverClient, executor_id: &str) -> Self {
        Self {
            client,
            executor_id: executor_id.to_owned(),
        }
    }
}

#[async_trait]
impl TaskReports for RemoteReports {
    async fn python_task(&self, report: PythonTaskReport) -> Result<()> {
        let partition = i32::try_from(report.partition)
            .map_err(|_| DataFusionError::Internal("partition out of range".into()))?;
        let message = TaskReport {
            job_id: report.job_id,
            operator_id: report.operator_id,
            partition,
            executor_id: self.executor_id.clone(),
            accumulator_updates: report.accumulator_updates,
        };
        let mut attempt = 1;
        loop {
            // The driver counts a report once, so sending it again is safe.
            match self.client.clone().report_task(message.clone()).await {
                Ok(_) => return Ok(()),
                Err(status) if attempt < REPORT_ATTEMPTS && is_transient(&status) => {
                    tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
                    attempt += 1;
                }
                Err(status) => return Err(driver_error("report to the driver", &status)),
            }
        }
    }
}

pub(crate) fn is_transient(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Aborted | Code::Cancelled
    )
}

pub(crate) fn driver_error(what: &str, status: &Status) -> DataFusionError {
    DataFusionError::External(Box::new(SparkError::other(format!(
        "cannot {what}: {}",
        status.message()
    ))))
}
