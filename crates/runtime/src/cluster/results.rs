//! Fetching the rows of a finished job from the executors that hold them.

use std::collections::HashMap;
use std::sync::Arc;

use ballista_core::client_pool::BallistaClientPool;
use ballista_core::error::BallistaError;
use ballista_core::extension::{BallistaConfigGrpcEndpoint, SessionConfigExt};
use ballista_core::serde::protobuf::PartitionLocation;
use ballista_core::utils::GrpcClientConfig;
use datafusion::common::DataFusionError;
use datafusion::prelude::SessionConfig;
use futures::{StreamExt, TryStreamExt};
use pyrite_proto::error::SparkError;
use tokio::sync::mpsc;

use super::connections::Connections;
use super::network::Secret;
use crate::api::JobEvent;
use crate::error::{from_ballista, to_spark_error};

/// Partitions that are fetched at the same time.
const CONCURRENT_FETCHES: usize = 8;

pub(super) type Events = mpsc::Sender<Result<JobEvent, SparkError>>;

/// Fetches partitions over connections that it keeps.
pub(super) struct Fetcher {
    pool: Connections,
    config: GrpcClientConfig,
    endpoint: Arc<BallistaConfigGrpcEndpoint>,
}

/// Why a partition could not be passed on.
#[derive(Debug)]
pub(super) enum FetchError {
    /// The executor or its file is gone, and none of the partition's rows were passed on: the
    /// partition can be computed again.
    Lost(SparkError),
    /// Rows of the partition were passed on already.
    Broken(SparkError),
    /// Nobody reads the job's events any more.
    NoReader,
}

impl Fetcher {
    pub fn new(config: &SessionConfig, secret: &Secret) -> Self {
        Self {
            pool: Connections::default(),
            config: GrpcClientConfig::from(&config.ballista_config()),
            endpoint: Arc::new(BallistaConfigGrpcEndpoint::new(secret.override_fn())),
        }
    }

    /// Passes on the partitions that `pending` marks and unmarks those that are complete.
    /// Stops at the first that cannot be fetched.
    pub async fn fetch(
        &self,
        locations: Vec<PartitionLocation>,
        pending: &mut [bool],
        events: &Events,
    ) -> Result<(), FetchError> {
        let mut by_partition: HashMap<usize, Vec<PartitionLocation>> = HashMap::new();
        for location in locations {
            let partition = location
                .partition_id
                .as_ref()
                .map_or(0, |id| id.partition_id as usize);
            by_partition.entry(partition).or_default().push(location);
        }
        let wanted: Vec<usize> = (0..pending.len()).filter(|p| pending[*p]).collect();
        // A partition without rows has no location.
        let mut fetches = futures::stream::iter(wanted)
            .map(|partition| {
                let locations = by_partition.remove(&partition).unwrap_or_default();
                self.fetch_partition(partition, locations, events)
            })
            .buffer_unordered(CONCURRENT_FETCHES);
        while let Some(partition) = fetches.try_next().await? {
            pending[partition] = false;
        }
        Ok(())
    }

    async fn fetch_partition(
        &self,
        partition: usize,
        locations: Vec<PartitionLocation>,
        events: &Events,
    ) -> Result<usize, FetchError> {
        let mut sent = false;
        for location in locations {
            self.fetch_location(partition, location, events, &mut sent)
                .await?;
        }
        events
            .send(Ok(JobEvent::PartitionDone(partition)))
            .await
            .map_err(|_| FetchError::NoReader)?;
        Ok(partition)
    }

    async fn fetch_location(
        &self,
        partition: usize,
        location: PartitionLocation,
        events: &Events,
        sent: &mut bool,
    ) -> Result<(), FetchError> {
        let failed = |sent: bool, error: SparkError| {
            if sent {
                FetchError::Broken(error)
            } else {
                FetchError::Lost(error)
            }
        };
        let mut batches = self
            .open(location)
            .await
            .map_err(|error| failed(*sent, from_ballista(&error)))?;
        loop {
            match batches.next().await {
                None => return Ok(()),
                Some(Err(error)) => return Err(failed(*sent, to_spark_error(error))),
                Some(Ok(batch)) if batch.num_rows() == 0 => {}
                Some(Ok(batch)) => {
                    *sent = true;
                    events
                        .send(Ok(JobEvent::Batch { partition, batch }))
                        .await
                        .map_err(|_| FetchError::NoReader)?;
                }
            }
        }
    }

    async fn open(
        &self,
        location: PartitionLocation,
    ) -> Result<datafusion::execution::SendableRecordBatchStream, BallistaError> {
        let layout = location.layout();
        let incomplete = || {
            BallistaError::DataFusionError(Box::new(DataFusionError::Internal(
                "a result without its place".into(),
            )))
        };
        let executor = location.executor_meta.ok_or_else(incomplete)?;
        let partition = location.partition_id.ok_or_else(incomplete)?;
        let port = u16::try_from(executor.port).map_err(|_| incomplete())?;
        let mut client = self
            .pool
            .acquire(
                &executor.host,
                port,
                &self.config,
                Some(self.endpoint.clone()),
            )
            .await?;
        let result = client
            .fetch_partition(
                &executor.id,
                &partition.into(),
                location.file_id,
                layout,
                false,
            )
            .await;
        if result.is_err() {
            client.discard();
        }
        result
    }
}
