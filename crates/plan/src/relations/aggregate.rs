//! `GROUP BY` in all its forms.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{
    Aggregate as EngineAggregate, Expr, Extension, GroupingSet, LogicalPlan, LogicalPlanBuilder,
};
use pyrite_proto::connect::aggregate::GroupType;
use pyrite_proto::connect::{self, Expression};
use pyrite_proto::error::SparkError;

use super::build;
use super::project::{has_aggregate, output_column, passed_through, windows};
use crate::analyzer::{Analyzer, Scope, Typed, column, unique_name};
use crate::errors::{self, Result, from_datafusion};
use crate::expressions::{attribute_name, integer_literal};
use crate::nodes::PythonAggregate;
use crate::resolved::ResolvedPlan;
use crate::udf;

/// Name of the function that stands for `grouping()` until its aggregate is built.
pub(crate) const GROUPING_ID: &str = "__grouping_id";

impl Analyzer<'_> {
    pub(super) fn aggregate(
        &self,
        aggregate: &connect::Aggregate,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        match aggregate.group_type() {
            GroupType::Unspecified => {
                let (plan, _) = self.sql_aggregate(aggregate, &[], outer)?;
                super::missing::keep_fields(plan)
            }
            GroupType::Pivot => self.pivot(aggregate, outer),
            kind => {
                let input = self.input(aggregate.input.as_deref(), outer)?;
                let keys = self.select_items(&input, &aggregate.grouping_expressions, outer)?;
                let sets = match kind {
                    GroupType::Rollup => Some(rollup(keys.len())),
                    GroupType::Cube => Some(cube(keys.len())),
                    GroupType::GroupingSets => {
                        Some(self.grouping_sets(aggregate, &input, &keys, outer)?)
                    }
                    _ => None,
                };
                let mut items = keys.clone();
                items.extend(self.select_items(&input, &aggregate.aggregate_expressions, outer)?);
                let (plan, _) = self.aggregated(input, keys, sets, items, vec![])?;
                super::missing::keep_fields(plan)
            }
        }
    }

    /// An aggregate as the SQL parser writes it: the select list is the whole output.
    pub(super) fn sql_aggregate(
        &self,
        aggregate: &connect::Aggregate,
        extras: &[&Expression],
        outer: Option<&Scope>,
    ) -> Result<(ResolvedPlan, Vec<Typed>)> {
        let input = self.project_input(aggregate.input.as_deref(), outer)?;
        let items = self.select_items(&input, &aggregate.aggregate_expressions, outer)?;
        let keys = self.grouping_keys(&input, &aggregate.grouping_expressions, &items, outer)?;
        let sets = match aggregate.grouping_sets.is_empty() {
            true => None,
            false => Some(self.grouping_sets(aggregate, &input, &keys, outer)?),
        };
        let extra_items = {
            let scope = Scope::of(&input, outer);
            let scope = scope.with_aliases(&items, true);
            extras
                .iter()
                .map(|e| self.expression(e, &scope))
                .collect::<Result<Vec<_>>>()?
        };
        self.aggregated(input, keys, sets, items, extra_items)
    }

    /// Grouping keys as SQL writes them: ordinals, aliases, `ALL`.
    fn grouping_keys(
        &self,
        input: &ResolvedPlan,
        expressions: &[Expression],
        items: &[Typed],
        outer: Option<&Scope>,
    ) -> Result<Vec<Typed>> {
        if let [one] = expressions
            && attribute_name(one).is_some_and(|n| n.eq_ignore_ascii_case("all"))
            && !input
                .fields
                .iter()
                .any(|f| f.name.eq_ignore_ascii_case("all"))
        {
            return Ok(items
                .iter()
                .filter(|i| !has_aggregate(&i.expr))
                .cloned()
                .collect());
        }
        let scope = Scope::of(input, outer);
        let scope = scope.with_aliases(items, false);
        let mut keys = vec![];
        for expression in expressions {
            if let Some(ordinal) = integer_literal(expression) {
                let item = usize::try_from(ordinal - 1).ok().and_then(|i| items.get(i));
                keys.push(item.cloned().ok_or_else(|| {
                    errors::with_condition(
                        "GROUP_BY_POS_OUT_OF_RANGE",
                        "42805",
                        format!(
                            "GROUP BY position {ordinal} is not in select list (valid range is [1, {}]).",
                            items.len()
                        ),
                    )
                })?);
                continue;
            }
            keys.push(self.expression(expression, &scope)?);
        }
        for key in &keys {
            if has_aggregate(&key.expr) {
                return Err(errors::with_condition(
                    "GROUP_BY_AGGREGATE",
                    "42903",
                    format!(
                        "Aggregate functions are not allowed in GROUP BY, but found {}.",
                        key.name
                    ),
                ));
            }
        }
        Ok(keys)
    }

    /// The sets as places in the list of keys.
    fn grouping_sets(
        &self,
        aggregate: &connect::Aggregate,
        input: &ResolvedPlan,
        keys: &[Typed],
        outer: Option<&Scope>,
    ) -> Result<Vec<Vec<usize>>> {
        let scope = Scope::of(input, outer);
        aggregate
            .grouping_sets
            .iter()
            .map(|set| {
                set.grouping_set
                    .iter()
                    .map(|expression| {
                        let index = match integer_literal(expression) {
                            Some(_) => aggregate
                                .grouping_expressions
                                .iter()
                                .position(|g| g == expression),
                            None => {
                                let same = aggregate
                                    .grouping_expressions
                                    .iter()
                                    .position(|g| g == expression);
                                match same {
                                    Some(index) => Some(index),
                                    None => {
                                        let typed = self.expression(expression, &scope)?;
                                        keys.iter().position(|k| k.expr == typed.expr)
                                    }
                                }
                            }
                        };
                        index.ok_or_else(|| {
                            errors::invalid_message("a grouping key of a grouping set")
                        })
                    })
                    .collect()
            })
            .collect()
    }

    /// Groups `input` by `keys` and computes `items` (the output) and `extras` over the
    /// groups. Returns the extras as expressions over the result.
    pub(super) fn aggregated(
        &self,
        input: ResolvedPlan,
        keys: Vec<Typed>,
        sets: Option<Vec<Vec<usize>>>,
        items: Vec<Typed>,
        extras: Vec<Typed>,
    ) -> Result<(ResolvedPlan, Vec<Typed>)> {
        let count = items.len();
        let mut exprs: Vec<Expr> = items
            .iter()
            .chain(&extras)
            .map(|i| i.expr.clone())
            .collect();
        let (plan, key_columns) = self.with_key_columns(&input, &keys)?;
        let mut calls = Aggregates {
            found: vec![],
            keys: &keys,
            key_columns: &key_columns,
        };
        for expr in &mut exprs {
            *expr = calls.rewrite(expr.clone())?;
        }
        let allowed: HashSet<&str> = key_columns
            .iter()
            .map(String::as_str)
            .chain(calls.found.iter().map(|(_, name)| name.as_str()))
            .chain([GROUPING_ID])
            .collect();
        for (expr, item) in exprs.iter().zip(items.iter().chain(&extras)) {
            check_grouped(expr, item, &allowed, keys.is_empty() && sets.is_none())?;
        }
        let plan = self.grouped(plan, &key_columns, sets, &calls.found)?;
        let plan = udf::extract(plan, &mut exprs, self)?;
        let plan = windows(plan, &mut exprs)?;
        project_over(plan, items, extras, exprs, count)
    }

    /// Makes every key a column of its own, so that groups and outputs agree by name.
    fn with_key_columns(
        &self,
        input: &ResolvedPlan,
        keys: &[Typed],
    ) -> Result<(LogicalPlan, Vec<String>)> {
        let mut exprs: Vec<Expr> = keys.iter().map(|k| k.expr.clone()).collect();
        let plan = udf::extract(input.plan.clone(), &mut exprs, self)?;
        let plan = windows(plan, &mut exprs)?;
        let mut projected: Vec<Expr> = plan
            .schema()
            .fields()
            .iter()
            .map(|f| column(f.name()))
            .collect();
        let mut names: Vec<String> = vec![];
        let before = projected.len();
        for (key, expr) in keys.iter().zip(exprs) {
            match &expr {
                Expr::Column(c) if !names.contains(&c.name) => names.push(c.name.clone()),
                _ => {
                    let name = unique_name(key.output_name());
                    projected.push(expr.alias(&name));
                    names.push(name);
                }
            }
        }
        if projected.len() == before {
            return Ok((plan, names));
        }
        Ok((
            build(LogicalPlanBuilder::from(plan).project(projected))?,
            names,
        ))
    }

    fn grouped(
        &self,
        plan: LogicalPlan,
        key_columns: &[String],
        sets: Option<Vec<Vec<usize>>>,
        calls: &[(Expr, String)],
    ) -> Result<LogicalPlan> {
        if calls.iter().any(|(call, _)| udf::is_aggregate(call)) {
            return self.python_grouped(plan, key_columns, sets.is_some(), calls);
        }
        // Arguments may call Python functions: those run below the aggregate.
        let mut aggregates: Vec<Expr> = calls.iter().map(|(call, _)| call.clone()).collect();
        let plan = udf::extract(plan, &mut aggregates, self)?;
        let aggregates: Vec<Expr> = aggregates
            .into_iter()
            .zip(calls)
            .map(|(expr, (_, name))| expr.alias(name))
            .collect();
        let group: Vec<Expr> = match &sets {
            None => key_columns.iter().map(|k| column(k)).collect(),
            Some(sets) => {
                let sets = sets
                    .iter()
                    .map(|set| set.iter().map(|i| column(&key_columns[*i])).collect())
                    .collect();
                vec![Expr::GroupingSet(GroupingSet::GroupingSets(sets))]
            }
        };
        if group.is_empty() && aggregates.is_empty() {
            // `SELECT 1 FROM t HAVING ...`: one group, nothing computed.
            let one =
                datafusion::functions_aggregate::expr_fn::count(datafusion::logical_expr::lit(1));
            let all = EngineAggregate::try_new(
                Arc::new(plan),
                vec![],
                vec![one.alias(unique_name("rows"))],
            );
            return all.map(LogicalPlan::Aggregate).map_err(from_datafusion);
        }
        let aggregate =
            EngineAggregate::try_new(Arc::new(plan), group, aggregates).map_err(from_datafusion)?;
        let plan = LogicalPlan::Aggregate(aggregate);
        if sets.is_none() {
            return Ok(plan);
        }
        self.with_grouping_id(plan, key_columns, calls)
    }

    /// Groups whose aggregates are all Python functions.
    fn python_grouped(
        &self,
        plan: LogicalPlan,
        key_columns: &[String],
        has_sets: bool,
        calls: &[(Expr, String)],
    ) -> Result<LogicalPlan> {
        if has_sets {
            return Err(SparkError::not_supported(
                "Python aggregates over grouping sets",
            ));
        }
        if !calls.iter().all(|(call, _)| udf::is_aggregate(call)) {
            return Err(SparkError::not_supported(
                "Python aggregates beside other aggregates",
            ));
        }
        let mut calls = calls
            .iter()
            .map(|(call, output)| udf::call_of(call, output))
            .collect::<Result<Vec<_>>>()?;
        let mut args: Vec<Expr> = calls.iter().flat_map(|c| c.args.clone()).collect();
        let plan = udf::extract(plan, &mut args, self)?;
        let mut args = args.into_iter();
        for slot in calls.iter_mut().flat_map(|c| &mut c.args) {
            if let Some(arg) = args.next() {
                *slot = arg;
            }
        }
        let node = PythonAggregate::try_new(plan, key_columns, calls).map_err(from_datafusion)?;
        Ok(LogicalPlan::Extension(Extension {
            node: Arc::new(node),
        }))
    }

    /// Adds Spark's grouping id, which has the first key in its highest bit, from the engine's.
    fn with_grouping_id(
        &self,
        plan: LogicalPlan,
        key_columns: &[String],
        calls: &[(Expr, String)],
    ) -> Result<LogicalPlan> {
        let id = datafusion::logical_expr::Aggregate::INTERNAL_GROUPING_ID;
        let mut projected: Vec<Expr> = key_columns
            .iter()
            .chain(calls.iter().map(|(_, name)| name))
            .map(|name| column(name))
            .collect();
        let wide = datafusion::logical_expr::cast(column(id), arrow::datatypes::DataType::Int64);
        projected.push(wide.alias(GROUPING_ID));
        build(LogicalPlanBuilder::from(plan).project(projected))
    }
}

fn project_over(
    plan: LogicalPlan,
    items: Vec<Typed>,
    extras: Vec<Typed>,
    exprs: Vec<Expr>,
    count: usize,
) -> Result<(ResolvedPlan, Vec<Typed>)> {
    let mut used = HashSet::new();
    let mut fields = vec![];
    let mut projected = vec![];
    for (item, expr) in items.iter().zip(&exprs) {
        let (field, out) = output_column(item, expr.clone(), &mut used);
        fields.push(field);
        projected.push(out);
    }
    let mut extra_columns = vec![];
    for (extra, expr) in extras.iter().zip(&exprs[count..]) {
        let name = unique_name("extra");
        projected.push(expr.clone().alias(&name));
        extra_columns.push(Typed {
            expr: column(&name),
            ..extra.clone()
        });
    }
    let plan = build(LogicalPlanBuilder::from(plan).project(projected))?;
    // Keys are null in the groups of a set that leaves them out.
    for field in &mut fields {
        if let Ok(actual) = plan.schema().field_with_unqualified_name(&field.column) {
            field.nullable |= actual.is_nullable() && field.qualifier.is_empty();
        }
    }
    Ok((ResolvedPlan::new(plan, fields), extra_columns))
}

/// Collects aggregate calls and replaces them, and grouping keys, by columns.
struct Aggregates<'k> {
    found: Vec<(Expr, String)>,
    keys: &'k [Typed],
    key_columns: &'k [String],
}

impl Aggregates<'_> {
    fn rewrite(&mut self, expr: Expr) -> Result<Expr> {
        expr.transform_down(|e| {
            if let Some(index) = self.keys.iter().position(|k| k.expr == e) {
                let key = column(&self.key_columns[index]);
                return Ok(Transformed::new(key, true, TreeNodeRecursion::Jump));
            }
            if let Some(bits) = crate::grouping::resolve(&e, self.keys, GROUPING_ID) {
                return Ok(Transformed::new(bits, true, TreeNodeRecursion::Jump));
            }
            if matches!(e, Expr::AggregateFunction(_)) || udf::is_aggregate(&e) {
                let known = self.found.iter().find(|(call, _)| *call == e);
                let name = match known {
                    Some((_, name)) => name.clone(),
                    None => {
                        let name = unique_name("agg");
                        self.found.push((e, name.clone()));
                        name
                    }
                };
                return Ok(Transformed::new(
                    column(&name),
                    true,
                    TreeNodeRecursion::Jump,
                ));
            }
            Ok(Transformed::no(e))
        })
        .map(|t| t.data)
        .map_err(from_datafusion)
    }
}

/// Refuses outputs with columns that are neither grouped nor aggregated.
fn check_grouped(expr: &Expr, item: &Typed, allowed: &HashSet<&str>, global: bool) -> Result<()> {
    let mut stray = None;
    expr.apply(|e| {
        if let Expr::Column(c) = e
            && !allowed.contains(c.name.as_str())
        {
            stray = Some(c.name.clone());
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(from_datafusion)?;
    match stray {
        None => Ok(()),
        Some(_) if global => Err(errors::missing_group_by()),
        Some(name) => {
            let plain = name.rsplit_once('#').map_or(name.as_str(), |(n, _)| n);
            let shown = item.source.as_ref().map_or(plain, |f| f.name.as_str());
            Err(errors::missing_aggregation(shown))
        }
    }
}

fn rollup(keys: usize) -> Vec<Vec<usize>> {
    (0..=keys).rev().map(|n| (0..n).collect()).collect()
}

fn cube(keys: usize) -> Vec<Vec<usize>> {
    (0..1_usize << keys)
        .map(|mask| {
            (0..keys)
                .filter(|k| mask & (1 << (keys - 1 - k)) == 0)
                .collect()
        })
        .collect()
}

/// Every visible column of a plan as a key.
pub(super) fn all_columns(plan: &ResolvedPlan) -> Vec<Typed> {
    plan.visible().map(passed_through).collect()
}
