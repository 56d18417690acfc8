//! Listening on a port, and on the next ones when it is in use, as Spark's services do.

use std::io::ErrorKind;
use std::net::{TcpListener, ToSocketAddrs};

/// No port could be had.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The host names no address of this machine.
    #[error("Service '{service}' cannot listen on `{host}`")]
    Host {
        /// Name of the service.
        service: String,
        /// What it should listen on.
        host: String,
        /// Why it cannot.
        #[source]
        source: std::io::Error,
    },
    /// All ports that may be tried are in use.
    #[error(
        "Service '{service}' failed after {retries} retries (starting from {port}): {source}; \
         set another port for it or raise `spark.port.maxRetries`"
    )]
    InUse {
        /// Name of the service.
        service: String,
        /// First port tried.
        port: u16,
        /// How many others were tried.
        retries: u16,
        /// What the last attempt said.
        #[source]
        source: std::io::Error,
    },
}

/// Listens on `host:port`, or on one of the `max_retries` ports that follow when it is in use.
/// Port 0 takes any free port. The listener is non-blocking, as async runtimes want it.
///
/// # Errors
/// When the host is not of this machine, and when every port is in use or not allowed.
pub fn listen(
    service: &str,
    host: &str,
    port: u16,
    max_retries: u16,
) -> Result<TcpListener, PortError> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut last = None;
    for offset in 0..=max_retries {
        match listen_once(host, candidate(port, offset)) {
            Ok(listener) => return Ok(listener),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::AddrInUse | ErrorKind::PermissionDenied
                ) =>
            {
                last = Some(error);
            }
            Err(source) => {
                return Err(PortError::Host {
                    service: service.to_owned(),
                    host: host.to_owned(),
                    source,
                });
            }
        }
    }
    Err(PortError::InUse {
        service: service.to_owned(),
        port,
        retries: max_retries,
        source: last.expect("at least one port was tried"),
    })
}

fn listen_once(host: &str, port: u16) -> std::io::Result<TcpListener> {
    let addresses: Vec<_> = (host, port).to_socket_addrs()?.collect();
    let listener = TcpListener::bind(&addresses[..])?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The port to try after `offset` failures; wraps around above 1023, as in Spark.
fn candidate(port: u16, offset: u16) -> u16 {
    if port == 0 {
        return 0;
    }
    let next = u32::from(port) + u32::from(offset);
    match u16::try_from(next) {
        Ok(next) => next,
        Err(_) => {
            u16::try_from(next - 65536 + 1024).expect("port + offset is below 2 * 65536 - 1024")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_port_leads_to_the_next_one() {
        let busy = listen("test", "127.0.0.1", 0, 0).unwrap();
        let port = busy.local_addr().unwrap().port();
        let error = listen("test", "127.0.0.1", port, 0).unwrap_err();
        assert!(error.to_string().starts_with(&format!(
            "Service 'test' failed after 0 retries (starting from {port})"
        )));
        let other = listen("test", "127.0.0.1", port, 16)
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        assert_ne!(other, port);
    }

    #[test]
    fn a_host_of_elsewhere_is_an_error_at_once() {
        let error = listen("test", "192.0.2.1", 0, 16).unwrap_err();
        assert!(matches!(error, PortError::Host { .. }), "{error}");
    }

    #[test]
    fn candidates_wrap_to_unprivileged_ports() {
        assert_eq!(candidate(7077, 3), 7080);
        assert_eq!(candidate(65535, 1), 1024);
        assert_eq!(candidate(0, 5), 0);
    }
}
