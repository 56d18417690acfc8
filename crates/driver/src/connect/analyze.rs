//! `AnalyzePlan`: analysis answers nearly all of it.

use pyrite_proto::connect::analyze_plan_request::Analyze;
use pyrite_proto::connect::analyze_plan_response::{Result as Analyzed, SparkVersion};
use pyrite_proto::error::SparkError;

use super::session::Session;

/// The version of Spark whose behaviour we follow.
pub const SPARK_VERSION: &str = "4.2.0";

/// Answers one request.
///
/// # Errors
/// Analysis errors.
pub async fn analyze(session: &Session, request: &Analyze) -> Result<Analyzed, SparkError> {
    match request {
        Analyze::SparkVersion(_) => Ok(Analyzed::SparkVersion(SparkVersion {
            version: SPARK_VERSION.to_owned(),
        })),
        other => session.plan.analyze(other).await,
    }
}
