//! Answers to `AnalyzePlan`: schema, explain, tree and the like.

use datafusion::physical_plan::displayable;
use prost::Message;
use pyrite_proto::connect;
use pyrite_proto::connect::analyze_plan_request::{Analyze, explain::ExplainMode};
use pyrite_proto::connect::analyze_plan_response as answer;
use pyrite_proto::connect::analyze_plan_response::Result as Analyzed;
use pyrite_proto::connect::data_type::Kind;
use pyrite_proto::error::SparkError;

use crate::command::CommandResult;
use crate::errors::{self, Result};
use crate::nodes::hash_of;
use crate::resolved::ResolvedPlan;
use crate::session::PlanSession;
use crate::{json_schema, sqltext, tree};

impl PlanSession {
    /// Answers an `AnalyzePlan` request.
    ///
    /// # Errors
    /// Spark's analysis errors.
    pub async fn analyze(&self, request: &Analyze) -> Result<Analyzed> {
        Ok(match request {
            Analyze::Schema(r) => {
                let plan = self.resolve(root(r.plan.as_ref())?).await?;
                Analyzed::Schema(answer::Schema {
                    schema: Some(plan.spark_schema()?),
                })
            }
            Analyze::Explain(r) => {
                let plan = self.resolve(root(r.plan.as_ref())?).await?;
                let extended = !matches!(
                    r.explain_mode(),
                    ExplainMode::Unspecified | ExplainMode::Simple
                );
                Analyzed::Explain(answer::Explain {
                    explain_string: self.explain(&plan, extended).await?,
                })
            }
            Analyze::TreeString(r) => {
                let plan = self.resolve(root(r.plan.as_ref())?).await?;
                let tree_string = tree::tree_string(&plan.spark_schema()?, r.level);
                Analyzed::TreeString(answer::TreeString { tree_string })
            }
            Analyze::IsLocal(r) => {
                let relation = root(r.plan.as_ref())?;
                let is_local = matches!(
                    relation.rel_type,
                    Some(connect::relation::RelType::LocalRelation(_))
                );
                Analyzed::IsLocal(answer::IsLocal { is_local })
            }
            Analyze::IsStreaming(r) => {
                self.resolve(root(r.plan.as_ref())?).await?;
                Analyzed::IsStreaming(answer::IsStreaming {
                    is_streaming: false,
                })
            }
            Analyze::InputFiles(r) => {
                let plan = self.resolve(root(r.plan.as_ref())?).await?;
                let exec = self.physical_without_cache(&plan).await?;
                Analyzed::InputFiles(answer::InputFiles {
                    files: crate::input_files::of(&exec),
                })
            }
            Analyze::SparkVersion(_) => Analyzed::SparkVersion(answer::SparkVersion {
                version: crate::SPARK_VERSION.into(),
            }),
            Analyze::DdlParse(r) => Analyzed::DdlParse(answer::DdlParse {
                parsed: Some(sqltext::schema(&r.ddl_string)?),
            }),
            Analyze::SameSemantics(r) => {
                let target = canonical(root(r.target_plan.as_ref())?);
                let other = canonical(root(r.other_plan.as_ref())?);
                Analyzed::SameSemantics(answer::SameSemantics {
                    result: target == other,
                })
            }
            Analyze::SemanticHash(r) => {
                let bytes = canonical(root(r.plan.as_ref())?).encode_to_vec();
                Analyzed::SemanticHash(answer::SemanticHash {
                    result: hash_of(&bytes) as i32,
                })
            }
            Analyze::JsonToDdl(r) => {
                let parsed = json_schema::parse(&r.json_string)?;
                let ddl_string = match &parsed.kind {
                    Some(Kind::Struct(_)) => pyrite_sql::schema_text(&parsed)?,
                    _ => pyrite_sql::type_text(&parsed)?,
                };
                Analyzed::JsonToDdl(answer::JsonToDdl { ddl_string })
            }
            Analyze::Persist(r) => {
                let relation = relation(r.relation.as_ref())?;
                self.persist(relation, r.storage_level).await?;
                Analyzed::Persist(answer::Persist {})
            }
            Analyze::Unpersist(r) => {
                let relation = relation(r.relation.as_ref())?;
                self.unpersist(relation, r.blocking.unwrap_or(false))
                    .await?;
                Analyzed::Unpersist(answer::Unpersist {})
            }
            Analyze::GetStorageLevel(r) => {
                let level = self.storage_level(relation(r.relation.as_ref())?).await?;
                Analyzed::GetStorageLevel(answer::GetStorageLevel {
                    storage_level: Some(level),
                })
            }
        })
    }

    /// The text of `DataFrame.explain()`.
    pub(crate) async fn explain(&self, plan: &ResolvedPlan, extended: bool) -> Result<String> {
        let exec = self.physical(plan, 0).await?;
        let physical = displayable(exec.as_ref()).indent(false).to_string();
        if !extended {
            return Ok(format!("== Physical Plan ==\n{physical}\n"));
        }
        let logical = plan.plan.display_indent();
        let optimized = self
            .context
            .state()
            .optimize(&self.cache.substitute(plan.plan.clone())?)
            .map_err(errors::from_datafusion)?;
        Ok(format!(
            "== Analyzed Logical Plan ==\n{logical}\n\n== Optimized Logical Plan ==\n{}\n\n== Physical Plan ==\n{physical}\n",
            optimized.display_indent()
        ))
    }

    /// `EXPLAIN`: one row of text.
    pub(crate) async fn explain_statement(
        &self,
        mode: pyrite_sql::ExplainMode,
        statement: pyrite_sql::Statement,
    ) -> Result<CommandResult> {
        let pyrite_sql::Statement::Query(query) = statement else {
            return Err(SparkError::not_supported("EXPLAIN of a command"));
        };
        let plan = self.resolve(&query).await?;
        let text = self
            .explain(&plan, mode != pyrite_sql::ExplainMode::Simple)
            .await?;
        let column = std::sync::Arc::new(arrow::array::StringArray::from(vec![text]));
        crate::statements::rows(vec![("plan", column)])
    }
}

fn root(plan: Option<&connect::Plan>) -> Result<&connect::Relation> {
    match plan.and_then(|p| p.op_type.as_ref()) {
        Some(connect::plan::OpType::Root(relation)) => Ok(relation),
        _ => Err(errors::invalid_message("Plan.root")),
    }
}

fn relation(relation: Option<&connect::Relation>) -> Result<&connect::Relation> {
    relation.ok_or_else(|| errors::invalid_message("a relation"))
}

/// A relation without the ids that differ between equal DataFrames.
fn canonical(relation: &connect::Relation) -> connect::Relation {
    let mut out = relation.clone();
    out.common = None;
    if let Some(input) = input_of(&mut out) {
        *input = canonical(input);
    }
    out
}

fn input_of(relation: &mut connect::Relation) -> Option<&mut connect::Relation> {
    use connect::relation::RelType;
    match relation.rel_type.as_mut()? {
        RelType::Project(p) => p.input.as_deref_mut(),
        RelType::Filter(f) => f.input.as_deref_mut(),
        RelType::Limit(l) => l.input.as_deref_mut(),
        RelType::Sort(s) => s.input.as_deref_mut(),
        RelType::Aggregate(a) => a.input.as_deref_mut(),
        RelType::WithColumns(w) => w.input.as_deref_mut(),
        RelType::SubqueryAlias(s) => s.input.as_deref_mut(),
        RelType::Drop(d) => d.input.as_deref_mut(),
        _ => None,
    }
}
