//! Relations: one file a topic, dispatched here.

mod aggregate;
mod generate;
mod join;
mod local;
mod missing;
mod na;
mod pivot;
mod project;
mod python;
mod set;
mod simple;
mod sort;
mod stat;
mod table;

pub(crate) use table::arguments;

use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use pyrite_proto::connect::Relation;
use pyrite_proto::connect::relation::RelType;
use pyrite_proto::error::SparkError;

use crate::analyzer::{Analyzer, Scope, with_stack};
use crate::cache::Remembered;
use crate::errors::{self, Result, from_datafusion};
use crate::resolved::ResolvedPlan;

impl Analyzer<'_> {
    /// Resolves a relation inside the scope of the query around it, if there is one.
    pub fn relation(&self, relation: &Relation, outer: Option<&Scope>) -> Result<ResolvedPlan> {
        let mut plan = match Remembered::find(self.remembered, relation) {
            Some(plan) => join::fresh_names(plan.clone())?,
            None => with_stack(|| self.relation_kind(relation, outer))?,
        };
        if let Some(id) = relation.common.as_ref().and_then(|c| c.plan_id) {
            for field in &mut plan.fields {
                field.plan_ids.retain(|p| *p != id);
                field.plan_ids.push(id);
            }
        }
        Ok(plan)
    }

    /// Resolves a mandatory input.
    pub fn input(&self, input: Option<&Relation>, outer: Option<&Scope>) -> Result<ResolvedPlan> {
        self.relation(
            input.ok_or_else(|| errors::invalid_message("an input relation"))?,
            outer,
        )
    }

    fn relation_kind(&self, relation: &Relation, outer: Option<&Scope>) -> Result<ResolvedPlan> {
        let kind = relation
            .rel_type
            .as_ref()
            .ok_or_else(|| errors::invalid_message("Relation.rel_type"))?;
        match kind {
            RelType::Read(read) => self.read(read),
            RelType::Project(project) => self.project(project, outer),
            RelType::Filter(filter) => self.filter(filter, outer),
            RelType::Join(join) => self.join(join, outer),
            RelType::SetOp(set) => self.set_operation(set, outer),
            RelType::Sort(sort) => self.sort(sort, outer),
            RelType::Limit(limit) => {
                let input = self.input(limit.input.as_deref(), outer)?;
                limited(input, 0, Some(non_negative(limit.limit, "limit")?))
            }
            RelType::Offset(offset) => {
                let input = self.input(offset.input.as_deref(), outer)?;
                limited(input, non_negative(offset.offset, "offset")?, None)
            }
            RelType::Tail(tail) => self.tail(tail, outer),
            RelType::Aggregate(aggregate) => self.aggregate(aggregate, outer),
            RelType::Sql(sql) => self.sql(sql, outer),
            RelType::LocalRelation(local) => self.local(local),
            RelType::CachedLocalRelation(cached) => self.cached_local(cached),
            RelType::ChunkedCachedLocalRelation(chunked) => self.chunked_local(chunked),
            RelType::CachedRemoteRelation(remote) => self.remote(remote),
            RelType::Sample(sample) => self.sample(sample, outer),
            RelType::Deduplicate(deduplicate) => self.deduplicate(deduplicate, outer),
            RelType::Range(range) => self.range(range),
            RelType::SubqueryAlias(alias) => self.subquery_alias(alias, outer),
            RelType::Repartition(r) => self.repartition(r, outer),
            RelType::RepartitionByExpression(r) => self.repartition_by(r, outer),
            RelType::ToDf(to_df) => self.to_df(to_df, outer),
            RelType::WithColumnsRenamed(renamed) => self.with_columns_renamed(renamed, outer),
            RelType::WithColumns(with) => self.with_columns(with, outer),
            RelType::Drop(drop) => self.drop_columns(drop, outer),
            RelType::Hint(hint) => self.input(hint.input.as_deref(), outer),
            RelType::Unpivot(unpivot) => self.unpivot(unpivot, outer),
            RelType::ToSchema(to) => self.to_schema(to, outer),
            RelType::ShowString(show) => self.show_string(show, outer),
            RelType::HtmlString(html) => self.html_string(html, outer),
            RelType::WithRelations(with) => self.with_relations(with, outer),
            RelType::UnresolvedTableValuedFunction(f) => self.table_function(f, outer),
            RelType::LateralJoin(join) => self.lateral_join(join, outer),
            RelType::FillNa(fill) => self.fill_na(fill, outer),
            RelType::DropNa(drop) => self.drop_na(drop, outer),
            RelType::Replace(replace) => self.replace_na(replace, outer),
            RelType::Summary(summary) => self.summary(summary, outer),
            RelType::Describe(describe) => self.describe(describe, outer),
            RelType::Corr(corr) => self.corr(corr, outer),
            RelType::Cov(cov) => self.cov(cov, outer),
            RelType::Catalog(catalog) => self.catalog_relation(catalog),
            RelType::Extension(any) => self.extension(any),
            RelType::MapPartitions(map) => self.map_partitions(map, outer),
            RelType::GroupMap(map) => self.group_map(map, outer),
            other => Err(SparkError::not_supported(format!(
                "relation {}",
                kind_name(other)
            ))),
        }
    }
}

fn kind_name(kind: &RelType) -> String {
    let text = format!("{kind:?}");
    text.split(['(', ' ']).next().unwrap_or_default().to_owned()
}

fn non_negative(value: i32, what: &str) -> Result<usize> {
    usize::try_from(value).map_err(|_| {
        errors::with_condition(
            "INVALID_LIMIT_LIKE_EXPRESSION.IS_NEGATIVE",
            "42K0E",
            format!(
                "The limit like expression \"{value}\" is invalid. The {what} expression must be \
                 equal to or greater than 0, but got {value}."
            ),
        )
    })
}

/// Rows from `skip`, `fetch` at most.
pub(crate) fn limited(
    input: ResolvedPlan,
    skip: usize,
    fetch: Option<usize>,
) -> Result<ResolvedPlan> {
    let plan = build(LogicalPlanBuilder::from(input.plan.clone()).limit(skip, fetch))?;
    Ok(input.over(plan))
}

/// Finishes a builder step.
pub(crate) fn build(step: datafusion::common::Result<LogicalPlanBuilder>) -> Result<LogicalPlan> {
    step.and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)
}
