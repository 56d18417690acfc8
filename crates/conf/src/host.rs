//! What this machine is called by others.

use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs, UdpSocket};

use crate::environment::Environment;

/// The name or address under which other machines find this one, as Spark chooses it:
/// `SPARK_LOCAL_HOSTNAME`, `SPARK_LOCAL_IP`, the host name if it leads to a real interface, the
/// address of the interface that leads outside, and at last loopback.
pub fn local_host(environment: &Environment) -> String {
    for name in ["SPARK_LOCAL_HOSTNAME", "SPARK_LOCAL_IP"] {
        if let Some(value) = environment.get(name) {
            return value.to_owned();
        }
    }
    if let Ok(name) = nix::unistd::gethostname()
        && let Ok(name) = name.into_string()
        && resolves_beyond_loopback(&name)
    {
        return name;
    }
    outward_address()
        .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
        .to_string()
}

/// Whether everything that `host` stands for is loopback.
pub fn is_loopback(host: &str) -> bool {
    match addresses(host) {
        Some(found) => !found.is_empty() && found.iter().all(IpAddr::is_loopback),
        None => false,
    }
}

/// Whether `host` is this machine.
pub fn is_this_machine(host: &str) -> bool {
    // Only an address of this machine can be bound.
    addresses(host).is_some_and(|found| {
        !found.is_empty()
            && found
                .iter()
                .all(|address| UdpSocket::bind((*address, 0)).is_ok())
    })
}

fn addresses(host: &str) -> Option<Vec<IpAddr>> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found = (host, 0).to_socket_addrs().ok()?;
    Some(found.map(|address| address.ip()).collect())
}

fn resolves_beyond_loopback(name: &str) -> bool {
    addresses(name).is_some_and(|found| found.iter().any(|address| !address.is_loopback()))
}

/// The local address of the route to the outside. Connecting a datagram socket sends nothing.
fn outward_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_spark_decide_the_host() {
        let both = Environment::from_pairs([
            ("SPARK_LOCAL_HOSTNAME", "node7"),
            ("SPARK_LOCAL_IP", "10.0.0.7"),
        ]);
        assert_eq!(local_host(&both), "node7");
        let address = Environment::from_pairs([("SPARK_LOCAL_IP", "10.0.0.7")]);
        assert_eq!(local_host(&address), "10.0.0.7");
        assert!(!local_host(&Environment::default()).is_empty());
    }

    #[test]
    fn loopback_and_this_machine_are_recognised() {
        assert!(is_loopback("127.0.0.1") && is_this_machine("127.0.0.1"));
        assert!(!is_loopback("192.0.2.1") && !is_this_machine("192.0.2.1"));
        assert!(!is_loopback("0.0.0.0"));
        assert!(!is_loopback("no.such.host.invalid"));
    }
}
