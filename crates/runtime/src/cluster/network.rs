//! Channels and listeners between the driver and its executors.
//!
//! Every socket has TCP_NODELAY: with Nagle's algorithm, a small message waits for the peer's
//! delayed acknowledgement, 40 ms at a time.
//!
//! Ballista's clients cannot be given headers, but they can be given an [`Endpoint`], and an
//! endpoint has a user agent. So the application's secret travels as `pyrite/<secret>` there,
//! on our own calls and Ballista's alike.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use ballista_core::extension::EndpointOverrideFn;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpcServer;
use pyrite_proto::exec::driver_service_server::DriverServiceServer;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Status};

use super::executor_calls::ExecutorCalls;
use super::service::Service;
use crate::session::MAX_MESSAGE_BYTES;

/// The application's secret on both ends of a connection.
#[derive(Clone)]
pub struct Secret {
    user_agent: Option<String>,
}

impl Secret {
    /// A secret to send and to ask for; `None` asks for nothing.
    pub fn new(secret: Option<&str>) -> Self {
        Self {
            user_agent: secret
                .filter(|secret| !secret.is_empty())
                .map(|secret| format!("pyrite/{}", fingerprint(secret))),
        }
    }

    /// Sets up an endpoint the way all of ours are.
    ///
    /// # Errors
    /// When the secret cannot be sent, which hexadecimal digits always can.
    pub fn endpoint(&self, endpoint: Endpoint) -> Result<Endpoint, tonic::transport::Error> {
        let endpoint = endpoint
            .tcp_nodelay(true)
            .tcp_keepalive(Some(Duration::from_secs(60)))
            .http2_keep_alive_interval(Duration::from_secs(5))
            .keep_alive_timeout(Duration::from_secs(10))
            .connect_timeout(Duration::from_secs(10));
        match &self.user_agent {
            Some(user_agent) => endpoint.user_agent(user_agent.clone()),
            None => Ok(endpoint),
        }
    }

    /// What Ballista does to each endpoint that it connects to.
    pub fn override_fn(&self) -> EndpointOverrideFn {
        let secret = self.clone();
        std::sync::Arc::new(move |endpoint| Ok(secret.endpoint(endpoint)?))
    }

    /// A channel to `host:port` that connects when it is first used.
    ///
    /// # Errors
    /// When the address is not one.
    pub fn channel(&self, address: &str) -> Result<Channel, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
        Ok(self.endpoint(endpoint)?.connect_lazy())
    }
}

/// Nobody who sees the connection should learn the secret for other uses.
fn fingerprint(secret: &str) -> String {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    hash.update(b"pyrite executor connection\n");
    hash.update(secret.as_bytes());
    hex::encode(hash.finalize())
}

impl Interceptor for Secret {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(expected) = &self.user_agent else {
            return Ok(request);
        };
        // tonic appends its own name to the user agent.
        let given = request
            .metadata()
            .get("user-agent")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(' ').next());
        match given {
            Some(given) if same(given.as_bytes(), expected.as_bytes()) => Ok(request),
            _ => Err(Status::unauthenticated(
                "this port needs the secret of its application",
            )),
        }
    }
}

/// Compares without telling by its duration where the two differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |acc, (x, y)| acc | (x ^ y)) == 0
}

/// Opens a listening socket without Nagle's delay. The port accepts connections from here on.
///
/// # Errors
/// When the address cannot be resolved or bound.
pub fn listen(host: &str, port: u16) -> std::io::Result<(TcpIncoming, SocketAddr)> {
    let address = (host, port).to_socket_addrs()?.next().ok_or_else(|| {
        std::io::Error::new(std::io::ErrorKind::NotFound, "the host has no address")
    })?;
    let incoming = TcpIncoming::bind(address)?;
    let address = incoming.local_addr()?;
    let incoming = incoming
        .with_nodelay(Some(true))
        .with_keepalive(Some(Duration::from_secs(60)));
    Ok((incoming, address))
}

/// A server that notices dead peers within seconds.
pub fn server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(5)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
}

/// Serves executors until the handle is aborted.
pub(super) fn serve(
    incoming: TcpIncoming,
    secret: &Secret,
    scheduler: ExecutorCalls,
    service: Service,
) -> tokio::task::AbortHandle {
    let scheduler = SchedulerGrpcServer::new(scheduler)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let router = server()
        .add_service(InterceptedService::new(scheduler, secret.clone()))
        .add_service(InterceptedService::new(
            DriverServiceServer::new(service).max_decoding_message_size(MAX_MESSAGE_BYTES),
            secret.clone(),
        ));
    let task = tokio::spawn(async move {
        if let Err(error) = router.serve_with_incoming(incoming).await {
            tracing::error!(%error, "the port for executors has closed");
        }
    });
    task.abort_handle()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(user_agent: Option<&str>) -> Request<()> {
        let mut request = Request::new(());
        if let Some(user_agent) = user_agent {
            request
                .metadata_mut()
                .insert("user-agent", user_agent.parse().unwrap());
        }
        request
    }

    #[test]
    fn only_the_right_secret_passes() {
        let mut secret = Secret::new(Some("s3cret"));
        let sent = secret.user_agent.clone().unwrap();
        assert!(!sent.contains("s3cret"));
        assert!(
            secret
                .call(request(Some(&format!("{sent} tonic/0.14"))))
                .is_ok()
        );
        assert!(
            secret
                .call(request(Some("pyrite/s3cret tonic/0.14")))
                .is_err()
        );
        assert!(secret.call(request(Some("tonic/0.14"))).is_err());
        assert!(secret.call(request(None)).is_err());
        assert!(Secret::new(None).call(request(None)).is_ok());
    }
}
