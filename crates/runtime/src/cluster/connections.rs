//! Connections to executors' shuffle servers, kept between fetches.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ballista_core::client::BallistaClient;
use ballista_core::client_pool::{BallistaClientPool, PooledClient};
use ballista_core::error::Result;
use ballista_core::extension::BallistaConfigGrpcEndpoint;
use ballista_core::utils::GrpcClientConfig;
use parking_lot::Mutex;

/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(60);

/// Unused connections to one executor that are kept.
const MAX_IDLE: usize = 8;

type Address = (String, u16);

/// Gives out connections and takes them back. Each is used by one fetch at a time.
#[derive(Default)]
pub struct Connections {
    idle: Arc<Mutex<HashMap<Address, Vec<Idle>>>>,
}

struct Idle {
    client: BallistaClient,
    since: Instant,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}

impl Connections {
    fn drop_stale(&self) {
        self.idle.lock().retain(|_, idle| {
            idle.retain(|connection| connection.since.elapsed() < IDLE);
            !idle.is_empty()
        });
    }
}

#[async_trait]
impl BallistaClientPool for Connections {
    async fn acquire(
        &self,
        host: &str,
        port: u16,
        config: &GrpcClientConfig,
        endpoint: Option<Arc<BallistaConfigGrpcEndpoint>>,
    ) -> Result<PooledClient> {
        let address = (host.to_owned(), port);
        self.drop_stale();
        let known = self.idle.lock().get_mut(&address).and_then(Vec::pop);
        let client = match known {
            Some(connection) => connection.client,
            None => {
                BallistaClient::try_new(
                    host,
                    port,
                    config.max_message_size,
                    false,
                    endpoint,
                    config.io_retries_times,
                    config.io_retry_wait_time_ms,
                    config.initial_connection_window_size,
                    config.initial_stream_window_size,
                )
                .await?
            }
        };
        let idle = self.idle.clone();
        let take_back = move |client| {
            let mut idle = idle.lock();
            let connections = idle.entry(address).or_default();
            if connections.len() < MAX_IDLE {
                connections.push(Idle {
                    client,
                    since: Instant::now(),
                });
            }
        };
        Ok(PooledClient::new(client, Box::new(take_back)))
    }

    async fn evict_idle(&self) {
        self.drop_stale();
    }
}
