//! Conditions and sort keys over the result of a select list or over its input:
//! `HAVING`, and `ORDER BY` with columns that are not selected.

use datafusion::logical_expr::{LogicalPlanBuilder, SortExpr};
use pyrite_proto::connect::expression::SortOrder;
use pyrite_proto::connect::expression::sort_order::{NullOrdering, SortDirection};
use pyrite_proto::connect::relation::RelType;
use pyrite_proto::connect::{self, Expression, Relation, aggregate::GroupType};

use super::build;
use crate::analyzer::{Analyzer, Scope, Typed};
use crate::errors::Result;
use crate::expressions::{attribute_name, integer_literal, required};
use crate::relations::project::{has_aggregate, passed_through};
use crate::resolved::ResolvedPlan;
use crate::{errors, udf};

impl Analyzer<'_> {
    /// Resolves a relation together with expressions over it. The plan may have more columns
    /// than the relation; they are dropped with [`keep_fields`].
    pub(super) fn with_extras(
        &self,
        relation: &Relation,
        extras: &[&Expression],
        outer: Option<&Scope>,
    ) -> Result<(ResolvedPlan, Vec<Typed>)> {
        let (mut plan, typed) = match &relation.rel_type {
            Some(RelType::Project(project)) => {
                // What the list puts out is taken as it is; only what it does not is looked
                // up below, where an alias stands for its expression.
                let plain = self.relation(relation, outer)?;
                match self.over_plan(plain, extras, outer) {
                    Err(e)
                        if e.condition.starts_with("UNRESOLVED_COLUMN")
                            || e.condition == "AMBIGUOUS_REFERENCE" => {}
                    Ok((_, typed)) if typed.iter().any(|t| has_aggregate(&t.expr)) => {}
                    done => return done,
                }
                let input = self.project_input(project.input.as_deref(), outer)?;
                self.select(input, &project.expressions, extras, outer)?
            }
            Some(RelType::Aggregate(aggregate)) if has_whole_output(aggregate) => {
                self.sql_aggregate(aggregate, extras, outer)?
            }
            Some(RelType::Filter(filter)) => {
                let condition = required(filter.condition.as_ref(), "Filter.condition")?;
                let mut all = vec![condition];
                all.extend_from_slice(extras);
                let input = required(filter.input.as_deref(), "Filter.input")?;
                if !lets_extras_through(input) {
                    let plan = self.relation(relation, outer)?;
                    return self.over_plan(plan, extras, outer);
                }
                let (plan, mut typed) = self.with_extras(input, &all, outer)?;
                let condition = typed.remove(0);
                (self.filtered(plan, condition)?, typed)
            }
            _ => {
                let plan = self.relation(relation, outer)?;
                return self.over_plan(plan, extras, outer);
            }
        };
        if let Some(id) = relation.common.as_ref().and_then(|c| c.plan_id) {
            for field in &mut plan.fields {
                field.plan_ids.retain(|p| *p != id);
                field.plan_ids.push(id);
            }
        }
        Ok((plan, typed))
    }

    fn over_plan(
        &self,
        plan: ResolvedPlan,
        extras: &[&Expression],
        outer: Option<&Scope>,
    ) -> Result<(ResolvedPlan, Vec<Typed>)> {
        let scope = Scope::of(&plan, outer);
        let typed = extras
            .iter()
            .map(|e| self.expression(e, &scope))
            .collect::<Result<Vec<_>>>()?;
        Ok((plan, typed))
    }

    pub(super) fn filter(
        &self,
        filter: &connect::Filter,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let condition = required(filter.condition.as_ref(), "Filter.condition")?;
        let input = required(filter.input.as_deref(), "Filter.input")?;
        if lets_extras_through(input) {
            let (plan, mut typed) = self.with_extras(input, &[condition], outer)?;
            let filtered = self.filtered(plan, typed.remove(0))?;
            return keep_fields(filtered);
        }
        let plan = self.relation(input, outer)?;
        let condition = {
            let scope = Scope::of(&plan, outer);
            self.condition(condition, &scope)?
        };
        if has_aggregate(&condition.expr) {
            return Err(errors::with_condition(
                "INVALID_WHERE_CONDITION",
                "42903",
                format!(
                    "The WHERE condition \"{}\" contains invalid expressions: aggregate functions. Rewrite the query to avoid window functions, aggregate functions, and generator functions in the WHERE clause.",
                    condition.name
                ),
            ));
        }
        let filtered = self.filtered(plan, condition)?;
        keep_fields(filtered)
    }

    /// Filters a plan by a resolved condition, Python functions included.
    pub(super) fn filtered(&self, input: ResolvedPlan, condition: Typed) -> Result<ResolvedPlan> {
        let expr = self.coerce(condition, &arrow::datatypes::DataType::Boolean)?;
        let mut exprs = [expr];
        let plan = udf::extract(input.plan.clone(), &mut exprs, self)?;
        let [expr] = exprs;
        let plan = build(LogicalPlanBuilder::from(plan).filter(expr))?;
        Ok(input.over(plan))
    }

    pub(super) fn sort(&self, sort: &connect::Sort, outer: Option<&Scope>) -> Result<ResolvedPlan> {
        let input = required(sort.input.as_deref(), "Sort.input")?;
        let (plan, keys) = self.sorted_keys(input, &sort.order, outer)?;
        let mut exprs: Vec<_> = keys.iter().map(|k| k.expr.clone()).collect();
        let inner = udf::extract(plan.plan.clone(), &mut exprs, self)?;
        let inner = super::project::windows(inner, &mut exprs)?;
        let keys: Vec<SortExpr> = exprs
            .into_iter()
            .zip(keys)
            .map(|(expr, key)| SortExpr::new(expr, key.asc, key.nulls_first))
            .collect();
        let sorted = if sort.is_global.unwrap_or(true) {
            build(LogicalPlanBuilder::from(inner).sort(keys))?
        } else {
            super::sort::local_sort(inner, keys)
        };
        keep_fields(plan.over(sorted))
    }

    /// Resolves sort keys over a relation: ordinals, `ALL`, and missing columns included.
    fn sorted_keys(
        &self,
        input: &Relation,
        orders: &[SortOrder],
        outer: Option<&Scope>,
    ) -> Result<(ResolvedPlan, Vec<SortExpr>)> {
        let children: Vec<&Expression> = orders
            .iter()
            .map(|o| required(o.child.as_deref(), "SortOrder.child"))
            .collect::<Result<_>>()?;
        let is_all = matches!(children.as_slice(), [one] if attribute_name(one).is_some_and(|n| n.eq_ignore_ascii_case("all")));
        let named: Vec<&Expression> = children
            .iter()
            .copied()
            .filter(|c| integer_literal(c).is_none() && !is_all)
            .collect();
        let (plan, typed) = self.with_extras(input, &named, outer)?;
        let mut typed = typed.into_iter();
        let mut keys = vec![];
        for (order, child) in orders.iter().zip(&children) {
            let (ascending, nulls_first) = direction(order);
            if is_all {
                keys.extend(
                    plan.visible()
                        .map(|f| SortExpr::new(f.expr(), ascending, nulls_first)),
                );
            } else if let Some(ordinal) = integer_literal(child) {
                let field = by_ordinal(&plan, ordinal, "ORDER BY")?;
                keys.push(SortExpr::new(field.expr, ascending, nulls_first));
            } else if let Some(key) = typed.next() {
                keys.push(SortExpr::new(key.expr, ascending, nulls_first));
            }
        }
        Ok((plan, keys))
    }
}

/// The column that an ordinal stands for.
pub(super) fn by_ordinal(plan: &ResolvedPlan, ordinal: i64, clause: &str) -> Result<Typed> {
    let count = plan.visible().count();
    let field = usize::try_from(ordinal)
        .ok()
        .and_then(|o| o.checked_sub(1))
        .and_then(|index| plan.visible().nth(index));
    field.map(passed_through).ok_or_else(|| {
        errors::with_condition(
            &format!("{}_POS_OUT_OF_RANGE", clause.replace(' ', "_")),
            "42805",
            format!(
                "{clause} position {ordinal} is not in select list (valid range is [1, {count}])."
            ),
        )
    })
}

fn direction(order: &SortOrder) -> (bool, bool) {
    let ascending = order.direction() != SortDirection::Descending;
    let nulls_first = match order.null_ordering() {
        NullOrdering::SortNullsUnspecified => ascending,
        NullOrdering::SortNullsFirst => true,
        NullOrdering::SortNullsLast => false,
    };
    (ascending, nulls_first)
}

/// Claims that the select list is the whole output, as the SQL parser writes aggregates.
pub(super) fn has_whole_output(aggregate: &connect::Aggregate) -> bool {
    aggregate.group_type() == GroupType::Unspecified
}

/// Claims that a condition directly over the relation may use columns it does not put out.
fn lets_extras_through(relation: &Relation) -> bool {
    match &relation.rel_type {
        Some(RelType::Project(_)) => true,
        Some(RelType::Aggregate(aggregate)) => has_whole_output(aggregate),
        Some(RelType::Filter(filter)) => filter.input.as_deref().is_some_and(lets_extras_through),
        _ => false,
    }
}

/// Drops the columns of the plan that are not among its fields.
pub(super) fn keep_fields(input: ResolvedPlan) -> Result<ResolvedPlan> {
    if input.plan.schema().fields().len() == input.fields.len() {
        return Ok(input);
    }
    let columns: Vec<_> = input.fields.iter().map(|f| f.expr()).collect();
    let plan = build(LogicalPlanBuilder::from(input.plan.clone()).project(columns))?;
    Ok(input.over(plan))
}
