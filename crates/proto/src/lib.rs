//! Messages and services between Pyrite's processes, and the server side of Spark Connect.
//!
//! - [`core`]: application to driver (RDDs, jobs, shared variables)
//! - [`cluster`]: master, workers, drivers
//! - [`exec`]: executors to their driver, and errors as values
//! - [`connect`]: Spark Connect's messages and the server trait generated over them
//! - [`error`]: the one error type that reaches Python users
//! - [`attempt`]: what failed attempts of tasks are called
//! - [`auth`]: bearer tokens on gRPC

pub mod attempt;
pub mod auth;
pub mod error;

/// Version of the protocols in this crate. Peers that differ refuse each other.
pub const PROTOCOL_VERSION: u32 = 1;

/// Application to driver.
#[allow(missing_docs, clippy::doc_markdown, clippy::large_enum_variant)]
pub mod core {
    tonic::include_proto!("pyrite.core");
}

/// Master, workers and drivers.
#[allow(missing_docs, clippy::doc_markdown, clippy::large_enum_variant)]
pub mod cluster {
    tonic::include_proto!("pyrite.cluster");
}

/// Executors and their driver.
#[allow(missing_docs, clippy::doc_markdown, clippy::large_enum_variant)]
pub mod exec {
    tonic::include_proto!("pyrite.exec");
}

/// Spark Connect: Spark's own messages, and the server trait over them.
#[allow(missing_docs, clippy::doc_markdown)]
pub mod connect {
    pub use spark_connect_proto::*;

    include!(concat!(
        env!("OUT_DIR"),
        "/spark.connect.SparkConnectService.rs"
    ));
}

/// Serialised `google.protobuf.FileDescriptorSet` of our own services. The driver hands
/// it to the application at start, so that the Python side needs no generated code.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pyrite.bin"));
