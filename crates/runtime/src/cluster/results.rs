//! Fetching the rows of a finished job from the executors that hold them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use ballista_core::client_pool::BallistaClientPool;
use ballista_core::error::BallistaError;
use ballista_core::extension::{BallistaConfigGrpcEndpoint, SessionConfigExt};
use ballista_core::serde::protobuf::PartitionLocation;
use ballista_core::utils::GrpcClientConfig;
use datafusion::arrow::array::RecordBatch;
use datafusion::common::DataFusionError;
use datafusion::prelude::SessionConfig;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use pyrite_proto::error::SparkError;
use tokio::sync::mpsc;

use super::connections::Connections;
use super::network::Secret;
use crate::api::JobEvent;
use crate::error::{from_ballista, to_spark_error};

/// Partitions that are fetched at the same time.
const CONCURRENT_FETCHES: usize = 8;
/// Batches of each of them that may wait.
const BATCHES_AHEAD: usize = 2;

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

/// Passes on one partition while the fetches go on.
async fn pass_on(
    partition: usize,
    fetched: &mut mpsc::Receiver<Result<RecordBatch, SparkError>>,
    fetches: &mut FuturesUnordered<impl Future<Output = ()>>,
    events: &Events,
) -> Result<(), FetchError> {
    let mut sent = false;
    loop {
        let batch = tokio::select! {
            batch = fetched.recv() => batch,
            Some(()) = fetches.next() => continue,
        };
        let event = match batch {
            None => JobEvent::PartitionDone(partition),
            Some(Ok(batch)) if batch.num_rows() == 0 => continue,
            Some(Ok(batch)) => JobEvent::Batch { partition, batch },
            Some(Err(error)) if sent => return Err(FetchError::Broken(error)),
            Some(Err(error)) => return Err(FetchError::Lost(error)),
        };
        let is_done = matches!(event, JobEvent::PartitionDone(_));
        sent = true;
        events
            .send(Ok(event))
            .await
            .map_err(|_| FetchError::NoReader)?;
        if is_done {
            return Ok(());
        }
    }
}

impl Fetcher {
    pub fn new(config: &SessionConfig, secret: &Secret) -> Self {
        Self {
            pool: Connections::default(),
            config: GrpcClientConfig::from(&config.ballista_config()),
            endpoint: Arc::new(BallistaConfigGrpcEndpoint::new(secret.override_fn())),
        }
    }

    /// Passes on the partitions that `pending` marks, in their order, and unmarks those that are
    /// complete. Stops at the first that cannot be fetched.
    ///
    /// Some partitions are fetched ahead, each a few batches far: readers want them in order, and
    /// what comes earlier would wait in this process.
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
        let mut wanted = wanted.into_iter();
        let mut fetches = FuturesUnordered::new();
        let mut ahead = VecDeque::new();
        loop {
            while ahead.len() < CONCURRENT_FETCHES
                && let Some(partition) = wanted.next()
            {
                // A partition without rows has no location.
                let locations = by_partition.remove(&partition).unwrap_or_default();
                let (batches, fetched) = mpsc::channel(BATCHES_AHEAD);
                fetches.push(self.fetch_partition(locations, batches));
                ahead.push_back((partition, fetched));
            }
            let Some((partition, mut fetched)) = ahead.pop_front() else {
                return Ok(());
            };
            pass_on(partition, &mut fetched, &mut fetches, events).await?;
            pending[partition] = false;
        }
    }

    /// Reads a partition into `batches`, its error last.
    async fn fetch_partition(
        &self,
        locations: Vec<PartitionLocation>,
        batches: mpsc::Sender<Result<RecordBatch, SparkError>>,
    ) {
        for location in locations {
            let mut rows = match self.open(location).await {
                Ok(rows) => rows,
                Err(error) => {
                    // Whoever has gone does not want it.
                    let _ = batches.send(Err(from_ballista(&error))).await;
                    return;
                }
            };
            while let Some(batch) = rows.next().await {
                let failed = batch.is_err();
                let batch = batch.map_err(to_spark_error);
                if batches.send(batch).await.is_err() || failed {
                    return;
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
