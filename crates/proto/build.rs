//! Generates the services of our own and the server glue of Spark Connect.

use std::{env, error::Error, path::PathBuf};

use tonic_build::manual::{Builder, Method, Service};

/// Methods of `spark.connect.SparkConnectService`: name, input, output, streaming in, streaming out.
const CONNECT_METHODS: &[(&str, &str, &str, bool, bool)] = &[
    (
        "ExecutePlan",
        "ExecutePlanRequest",
        "ExecutePlanResponse",
        false,
        true,
    ),
    (
        "AnalyzePlan",
        "AnalyzePlanRequest",
        "AnalyzePlanResponse",
        false,
        false,
    ),
    ("Config", "ConfigRequest", "ConfigResponse", false, false),
    (
        "AddArtifacts",
        "AddArtifactsRequest",
        "AddArtifactsResponse",
        true,
        false,
    ),
    (
        "ArtifactStatus",
        "ArtifactStatusesRequest",
        "ArtifactStatusesResponse",
        false,
        false,
    ),
    (
        "Interrupt",
        "InterruptRequest",
        "InterruptResponse",
        false,
        false,
    ),
    (
        "ReattachExecute",
        "ReattachExecuteRequest",
        "ExecutePlanResponse",
        false,
        true,
    ),
    (
        "ReleaseExecute",
        "ReleaseExecuteRequest",
        "ReleaseExecuteResponse",
        false,
        false,
    ),
    (
        "ReleaseSession",
        "ReleaseSessionRequest",
        "ReleaseSessionResponse",
        false,
        false,
    ),
    (
        "FetchErrorDetails",
        "FetchErrorDetailsRequest",
        "FetchErrorDetailsResponse",
        false,
        false,
    ),
    (
        "CloneSession",
        "CloneSessionRequest",
        "CloneSessionResponse",
        false,
        false,
    ),
    (
        "GetStatus",
        "GetStatusRequest",
        "GetStatusResponse",
        false,
        false,
    ),
];

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    tonic_prost_build::configure()
        .bytes(".pyrite")
        .btree_map(".pyrite")
        .file_descriptor_set_path(out.join("pyrite.bin"))
        .compile_protos(
            &[
                "proto/core.proto",
                "proto/cluster.proto",
                "proto/exec.proto",
            ],
            &["proto"],
        )?;

    let mut service = Service::builder()
        .name("SparkConnectService")
        .package("spark.connect");
    for (name, input, output, client_streaming, server_streaming) in CONNECT_METHODS {
        let mut method = Method::builder()
            .name(snake_case(name))
            .route_name(*name)
            .input_type(format!("::spark_connect_proto::{input}"))
            .output_type(format!("::spark_connect_proto::{output}"))
            .codec_path("::tonic_prost::ProstCodec");
        if *client_streaming {
            method = method.client_streaming();
        }
        if *server_streaming {
            method = method.server_streaming();
        }
        service = service.method(method.build());
    }
    Builder::new()
        .build_client(false)
        .compile(&[service.build()]);
    Ok(())
}

fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() {
            if !out.is_empty() {
                out.push('_');
            }
            out.extend(c.to_lowercase());
        } else {
            out.push(c);
        }
    }
    out
}
