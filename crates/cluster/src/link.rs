//! gRPC connections to a master: the same settings for workers and drivers.

use std::time::Duration;

use pyrite_proto::auth::SendToken;
use pyrite_proto::cluster::master_service_client::MasterServiceClient;
use tonic::Code;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Server};

use crate::error::ClusterError;

/// Messages that may wait on one connection before its peer counts as gone.
pub const QUEUE: usize = 1024;

/// Interval of HTTP/2 pings, by which a machine is missed that vanished without a word.
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// Longest wait for the answer to such a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// A client of a master that shows the cluster's secret.
pub type MasterClient = MasterServiceClient<InterceptedService<Channel, SendToken>>;

/// Connects to one master.
///
/// # Errors
/// With the reason when it cannot be reached within `timeout`.
pub async fn connect(
    (host, port): &(String, u16),
    secret: Option<&str>,
    timeout: Duration,
) -> Result<MasterClient, ClusterError> {
    let unreachable = |reason: String| ClusterError::Unresponsive {
        masters: format!("spark://{host}:{port}"),
        attempts: 1,
        reason,
    };
    let token = SendToken::new(secret).map_err(|_| {
        ClusterError::Refused(
            "the secret has characters that cannot be sent; use printable ASCII".to_owned(),
        )
    })?;
    let endpoint = Endpoint::from_shared(format!("http://{host}:{port}"))
        .map_err(|error| unreachable(error.to_string()))?
        .tcp_nodelay(true)
        .connect_timeout(timeout)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true);
    let channel = endpoint
        .connect()
        .await
        .map_err(|error| unreachable(innermost(&error)))?;
    Ok(MasterServiceClient::with_interceptor(channel, token))
}

/// A server with the settings that the other side of [`connect`] wants.
pub fn server() -> Server {
    Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
}

/// What a failed call means for the caller.
pub fn call_error((host, port): &(String, u16), status: &tonic::Status) -> ClusterError {
    let master = format!("spark://{host}:{port}");
    match status.code() {
        Code::Unauthenticated => ClusterError::Secret { master },
        Code::InvalidArgument | Code::Unimplemented => {
            ClusterError::Refused(status.message().to_owned())
        }
        _ => ClusterError::Unresponsive {
            masters: master,
            attempts: 1,
            reason: status.message().to_owned(),
        },
    }
}

/// The cause at the bottom, which says what happened: `connection refused` rather than `transport error`.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
