//! Where an application runs: `local[4]`, `local-cluster[2,1,1024]`, `spark://host:7077`.

use std::fmt;
use std::num::NonZeroUsize;

use crate::error::ConfError;

/// Port of the master process itself. In a URL the port is never left out, as in Spark.
pub const DEFAULT_MASTER_PORT: u16 = 7077;

/// A parsed `spark.master`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MasterUrl {
    /// Everything inside the driver.
    Local {
        /// Task slots; `local[*]` has as many as this machine has logical cores.
        threads: usize,
        /// How often one task may fail.
        max_failures: usize,
    },
    /// A master and workers as children of the driver, for tests.
    LocalCluster {
        /// Number of workers.
        workers: u32,
        /// Cores of each worker.
        cores: u32,
        /// Memory of each worker.
        memory_mib: u64,
    },
    /// A standalone cluster; several hosts are masters that stand in for each other.
    Standalone {
        /// Host and port of each master.
        hosts: Vec<(String, u16)>,
    },
}

impl MasterUrl {
    /// Parses `spark.master`.
    ///
    /// # Errors
    /// On an unknown kind of master, and on a part out of range.
    pub fn parse(url: &str) -> Result<Self, ConfError> {
        let text = url.trim();
        if text == "local" {
            return Ok(Self::Local {
                threads: 1,
                max_failures: 1,
            });
        }
        if let Some(inner) = bracketed(text, "local") {
            return parse_local(url, inner);
        }
        if let Some(inner) = bracketed(text, "local-cluster") {
            return parse_local_cluster(url, inner);
        }
        if let Some(rest) = text.strip_prefix("spark://") {
            return parse_standalone(url, rest);
        }
        Err(ConfError::MasterUrl(url.to_owned()))
    }

    /// Whether everything runs inside the driver process.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Local { .. })
    }
}

impl fmt::Display for MasterUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local {
                threads,
                max_failures: 1,
            } => write!(f, "local[{threads}]"),
            Self::Local {
                threads,
                max_failures,
            } => write!(f, "local[{threads},{max_failures}]"),
            Self::LocalCluster {
                workers,
                cores,
                memory_mib,
            } => {
                write!(f, "local-cluster[{workers},{cores},{memory_mib}]")
            }
            Self::Standalone { hosts } => {
                f.write_str("spark://")?;
                for (index, (host, port)) in hosts.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma}{host}:{port}")?;
                }
                Ok(())
            }
        }
    }
}

fn bracketed<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.strip_prefix(name)?
        .strip_prefix('[')?
        .strip_suffix(']')
}

fn parse_local(url: &str, inner: &str) -> Result<MasterUrl, ConfError> {
    let unknown = || ConfError::MasterUrl(url.to_owned());
    let (threads, failures) = match inner.split_once(',') {
        Some((threads, failures)) => (threads.trim(), Some(failures.trim())),
        None => (inner.trim(), None),
    };
    let threads = match threads {
        "*" => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        number => number.parse().map_err(|_| unknown())?,
    };
    let max_failures = failures.map_or(Ok(1), str::parse).map_err(|_| unknown())?;
    if threads == 0 {
        return Err(part(url, "asked to run locally with 0 threads"));
    }
    if max_failures == 0 {
        return Err(part(
            url,
            "the number of failures allowed must be at least 1",
        ));
    }
    Ok(MasterUrl::Local {
        threads,
        max_failures,
    })
}

fn parse_local_cluster(url: &str, inner: &str) -> Result<MasterUrl, ConfError> {
    let numbers: Vec<u64> = inner
        .split(',')
        .map(|n| n.trim().parse())
        .collect::<Result<_, _>>()
        .map_err(|_| ConfError::MasterUrl(url.to_owned()))?;
    let [workers, cores, memory_mib] = numbers[..] else {
        return Err(ConfError::MasterUrl(url.to_owned()));
    };
    let small = |n: u64, name: &str| {
        u32::try_from(n)
            .ok()
            .filter(|n| *n > 0)
            .ok_or_else(|| part(url, &format!("{name} must be at least 1")))
    };
    if memory_mib == 0 {
        return Err(part(url, "memory per worker (MiB) must be at least 1"));
    }
    Ok(MasterUrl::LocalCluster {
        workers: small(workers, "the number of workers")?,
        cores: small(cores, "cores per worker")?,
        memory_mib,
    })
}

fn parse_standalone(url: &str, rest: &str) -> Result<MasterUrl, ConfError> {
    let hosts = rest
        .split(',')
        .map(|address| {
            let address = address.trim().trim_end_matches('/');
            let (host, port) = address
                .rsplit_once(':')
                .ok_or_else(|| part(url, "each master is given as host:port"))?;
            let port = port
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| part(url, &format!("`{port}` is not a port")))?;
            if host.is_empty() || host.contains(['/', '@', ' ']) {
                return Err(part(url, &format!("`{host}` is not a host")));
            }
            Ok((host.to_owned(), port))
        })
        .collect::<Result<_, _>>()?;
    Ok(MasterUrl::Standalone { hosts })
}

fn part(url: &str, message: &str) -> ConfError {
    ConfError::MasterUrlPart {
        url: url.to_owned(),
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_master_is_known() {
        let local = |threads, max_failures| MasterUrl::Local {
            threads,
            max_failures,
        };
        assert_eq!(MasterUrl::parse("local").unwrap(), local(1, 1));
        assert_eq!(MasterUrl::parse("local[4]").unwrap(), local(4, 1));
        assert_eq!(MasterUrl::parse("local[2, 3]").unwrap(), local(2, 3));
        let MasterUrl::Local { threads, .. } = MasterUrl::parse("local[*]").unwrap() else {
            panic!("local[*] is local");
        };
        assert!(threads >= 1);
        assert_eq!(
            MasterUrl::parse("local-cluster[2, 1, 1024]").unwrap(),
            MasterUrl::LocalCluster {
                workers: 2,
                cores: 1,
                memory_mib: 1024
            }
        );
        let standalone = MasterUrl::parse("spark://a:7077,b:7078").unwrap();
        assert_eq!(
            standalone,
            MasterUrl::Standalone {
                hosts: vec![("a".into(), 7077), ("b".into(), 7078)]
            }
        );
        assert_eq!(standalone.to_string(), "spark://a:7077,b:7078");
        assert_eq!(
            MasterUrl::parse("spark://[::1]:7077").unwrap(),
            MasterUrl::Standalone {
                hosts: vec![("[::1]".into(), 7077)]
            }
        );
    }

    #[test]
    fn unknown_masters_get_sparks_words() {
        for url in [
            "yarn",
            "k8s://x",
            "loca",
            "local[x]",
            "local[1",
            "local-cluster[1,2]",
            "",
        ] {
            let error = MasterUrl::parse(url).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("Could not parse Master URL: '{url}'")
            );
        }
    }

    #[test]
    fn parts_out_of_range_are_named() {
        for (url, word) in [
            ("local[0]", "0 threads"),
            ("local[1,0]", "failures"),
            ("local-cluster[0,1,1024]", "workers"),
            ("spark://host", "host:port"),
            ("spark://host:port", "`port` is not a port"),
            ("spark://:7077", "not a host"),
        ] {
            let text = MasterUrl::parse(url).unwrap_err().to_string();
            assert!(text.contains(word) && text.contains(url), "{text}");
        }
    }
}
