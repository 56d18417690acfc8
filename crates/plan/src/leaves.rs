//! What analysis needs from outside: tables of extensions, files, uploaded data.
//!
//! Analysis itself is a pure function. When it meets a leaf that is not loaded it stops and
//! names it; [`crate::session`] loads it and starts again. A plan has few leaves and analysis
//! takes microseconds, so nothing is gained by being cleverer.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::prelude::SessionContext;
use prost::Message;
use pyrite_proto::connect;
use pyrite_proto::error::SparkError;

use crate::errors::Result;
use crate::read;
use crate::resolved::ResolvedPlan;
use crate::session::RelationExtensions;

/// Something to load, as a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Leaf {
    /// A relation extension, encoded.
    Extension(Vec<u8>),
    /// Uploaded data, by hash.
    Artifact(String),
    /// A DataFrame that the driver keeps.
    Remote(String),
    /// Files.
    Files(FileScan),
    /// The values of a relation of one column, encoded, in order.
    Values(Vec<u8>),
}

/// Files to read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct FileScan {
    /// Format in lower case.
    pub format: String,
    /// Paths as the user wrote them.
    pub paths: Vec<String>,
    /// Options, keys in lower case.
    pub options: BTreeMap<String, String>,
    /// Schema in Spark's JSON form, if the user gave one.
    pub schema: Option<String>,
}

/// A loaded leaf.
#[derive(Clone)]
pub(crate) enum LoadedLeaf {
    Table(Arc<dyn TableProvider>),
    Bytes(Bytes),
    Plan(Box<ResolvedPlan>),
    Files(read::LoadedFiles),
    Values(Arc<Vec<ScalarValue>>),
}

/// Loads a leaf.
pub(crate) async fn load(
    leaf: &Leaf,
    context: &SessionContext,
    extensions: &dyn RelationExtensions,
    time_zone: &str,
) -> Result<LoadedLeaf> {
    Ok(match leaf {
        Leaf::Extension(encoded) => {
            let any = prost_types::Any::decode(encoded.as_slice()).map_err(|e| {
                SparkError::other(format!("a relation extension is malformed: {e}"))
            })?;
            LoadedLeaf::Table(extensions.table(&any).await?)
        }
        Leaf::Artifact(hash) => LoadedLeaf::Bytes(extensions.cached_artifact(hash).await?),
        Leaf::Remote(id) => {
            LoadedLeaf::Plan(Box::new(extensions.cached_remote_relation(id).await?))
        }
        Leaf::Values(_) => {
            return Err(SparkError::other("values are computed by the session"));
        }
        Leaf::Files(scan) => LoadedLeaf::Files(read::load(scan, context, time_zone).await?),
    })
}

/// Options with keys in lower case, in order.
pub(crate) fn lower_keys(options: &HashMap<String, String>) -> BTreeMap<String, String> {
    options
        .iter()
        .map(|(k, v)| (k.to_lowercase(), v.clone()))
        .collect()
}

/// The leaf of a `Read.DataSource` message.
pub(crate) fn file_scan(
    source: &connect::read::DataSource,
    default_format: &str,
) -> Result<FileScan> {
    let options = lower_keys(&source.options);
    let mut paths = source.paths.clone();
    if paths.is_empty()
        && let Some(path) = options.get("path")
    {
        paths.push(path.clone());
    }
    let schema = match source.schema.as_deref() {
        None | Some("") => None,
        Some(text) => {
            Some(crate::json_schema::to_json(&crate::sqltext::schema(text)?)?.to_string())
        }
    };
    let format = source
        .format
        .as_deref()
        .filter(|f| !f.is_empty())
        .unwrap_or(default_format);
    Ok(FileScan {
        format: format.to_lowercase(),
        paths,
        options,
        schema,
    })
}
