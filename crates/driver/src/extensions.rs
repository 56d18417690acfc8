//! Where analysis and RDD planning meet: RDDs as relations, DataFrames as RDDs.

use std::sync::{Arc, Weak};

use arrow::datatypes::{DataType as ArrowType, Schema, SchemaRef};
use async_trait::async_trait;
use base64::Engine;
use bytes::Bytes;
use datafusion::catalog::{Session, TableProvider};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use prost::Message;
use pyrite_plan::RelationExtensions;
use pyrite_proto::connect;
use pyrite_proto::core::{DataFrameRows, PythonFunction, RddRelation};
use pyrite_proto::error::SparkError;
use pyrite_rdd::{DataFramePlans, JobId, RddTable, external};
use pyrite_runtime::to_spark_error;

use crate::application::Application;
use crate::connect::artifacts::Artifacts;
use crate::jobs;
use crate::settled::settled;

/// Name of the message in `Relation.extension` that stands for an RDD.
const RDD_RELATION: &str = "pyrite.core.RddRelation";

/// Starts the additional include of a UDF that holds a [`PythonFunction`] in base64.
const FUNCTION_INCLUDE: &str = "pyrite.core.PythonFunction:";

/// What one session's analysis asks the driver for.
pub struct SessionExtensions {
    /// The application; weak, since it owns the session that owns this.
    pub application: Weak<Application>,
    /// The session's uploads.
    pub artifacts: Arc<Artifacts>,
}

#[async_trait]
impl RelationExtensions for SessionExtensions {
    async fn table(&self, any: &prost_types::Any) -> Result<Arc<dyn TableProvider>, SparkError> {
        let name = any.type_url.rsplit('/').next().unwrap_or_default();
        if name != RDD_RELATION {
            return Err(SparkError::not_supported(format!(
                "relation extension `{name}`"
            )));
        }
        let relation = RddRelation::decode(any.value.as_slice())
            .map_err(|e| SparkError::other(format!("malformed RDD relation: {e}")))?;
        let graph = relation
            .graph
            .ok_or_else(|| SparkError::other("an RDD relation without a graph"))?;
        let schema = connect::DataType::decode(relation.schema)
            .map_err(|e| SparkError::other(format!("malformed schema of an RDD relation: {e}")))?;
        let application = self
            .application
            .upgrade()
            .ok_or_else(|| SparkError::other("the application has stopped"))?;
        let schema = match pyrite_plan::types::to_arrow(&schema)? {
            ArrowType::Struct(fields) => Arc::new(Schema::new(fields)),
            other => {
                return Err(SparkError::other(format!(
                    "the schema of an RDD relation is `{other}`, no struct"
                )));
            }
        };
        let frames_of = Arc::new(FramesOf { application });
        Ok(Arc::new(JobTable {
            rows: RddTable::new(graph, schema, frames_of),
        }))
    }

    async fn cached_artifact(&self, hash: &str) -> Result<Bytes, SparkError> {
        self.artifacts.cached(hash).await
    }

    fn python_function(&self, udf: &connect::PythonUdf) -> Result<PythonFunction, SparkError> {
        let mut function = function_of(udf)?;
        self.artifacts.add_to(&mut function)?;
        Ok(function)
    }
}

/// The function of a UDF. What surrounds it (broadcasts, files, modules, environment) comes in an
/// additional include that the application's hooks add; other clients send none.
fn function_of(udf: &connect::PythonUdf) -> Result<PythonFunction, SparkError> {
    let mut function = PythonFunction::default();
    let mut includes = Vec::new();
    for include in &udf.additional_includes {
        let Some(encoded) = include.strip_prefix(FUNCTION_INCLUDE) else {
            includes.push(include.clone());
            continue;
        };
        let malformed =
            |e: String| SparkError::other(format!("malformed environment of a UDF: {e}"));
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(encoded)
            .map_err(|e| malformed(e.to_string()))?;
        function =
            PythonFunction::decode(bytes.as_slice()).map_err(|e| malformed(e.to_string()))?;
    }
    function.python_includes.extend(includes);
    function.command = udf.command.clone();
    function.python_version = udf.python_ver.clone();
    Ok(function)
}

/// An [`RddTable`] that knows which job it is planned for, so that accumulators in its
/// functions find their way.
#[derive(Debug)]
struct JobTable {
    rows: RddTable,
}

#[async_trait]
impl TableProvider for JobTable {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    fn table_type(&self) -> TableType {
        self.rows.table_type()
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
        // Outside of a job (`explain`) nothing runs, and nothing is reported.
        let job = jobs::report_id().zip(state.as_any().downcast_ref::<SessionState>());
        let Some((id, state)) = job else {
            return self.rows.scan(state, projection, filters, limit).await;
        };
        let mut state = state.clone();
        state.config_mut().set_extension(Arc::new(JobId(id)));
        self.rows.scan(&state, projection, filters, limit).await
    }
}

/// Plans the DataFrames that RDD graphs refer to (`DataFrame.rdd`).
pub struct FramesOf {
    /// The application whose sessions know the DataFrames.
    pub application: Arc<Application>,
}

#[async_trait]
impl DataFramePlans for FramesOf {
    async fn plan(
        &self,
        rows: &DataFrameRows,
    ) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
        self.plan_rows(rows).await.map_err(external)
    }
}

impl FramesOf {
    async fn plan_rows(&self, rows: &DataFrameRows) -> Result<Arc<dyn ExecutionPlan>, SparkError> {
        let relation = connect::Relation::decode(rows.relation.clone())
            .map_err(|e| SparkError::other(format!("malformed DataFrame in an RDD: {e}")))?;
        let session = self.application.sessions.get_or_create(
            &self.application,
            &rows.user_id,
            &rows.session_id,
        )?;
        let resolved = session.plan.resolve(&relation).await?;
        let plan = session
            .plan
            .physical(&resolved, jobs::report_id().unwrap_or(0))
            .await?;
        settled(plan, self.application.runtime.as_ref()).map_err(to_spark_error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_udf_brings_its_surroundings_along() {
        let surroundings = PythonFunction {
            broadcast_ids: vec![3],
            python_includes: vec!["modules.zip".to_owned()],
            ..Default::default()
        };
        let encoded =
            base64::engine::general_purpose::STANDARD.encode(surroundings.encode_to_vec());
        let udf = connect::PythonUdf {
            command: Bytes::from_static(b"command"),
            python_ver: "3.11".to_owned(),
            additional_includes: vec![
                format!("{FUNCTION_INCLUDE}{encoded}"),
                "plain.zip".to_owned(),
            ],
            ..Default::default()
        };
        let function = function_of(&udf).unwrap();
        assert_eq!(function.broadcast_ids, [3]);
        assert_eq!(function.python_includes, ["modules.zip", "plain.zip"]);
        assert_eq!(function.command, "command");
        assert_eq!(function.python_version, "3.11");
    }

    #[test]
    fn surroundings_that_cannot_be_read_are_refused() {
        let udf = connect::PythonUdf {
            additional_includes: vec![format!("{FUNCTION_INCLUDE}%")],
            ..Default::default()
        };
        assert!(function_of(&udf).unwrap_err().message.contains("malformed"));
    }
}
