//! Select lists: projection with aggregates, windows, generators and Python functions in it.

use std::collections::HashSet;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use pyrite_proto::connect::expression::Alias;
use pyrite_proto::connect::{self, Expression};

use super::build;
use crate::analyzer::{Analyzer, Scope, Typed, column, unique_name};
use crate::errors::{Result, from_datafusion};
use crate::resolved::{ResolvedField, ResolvedPlan};
use crate::udf;

impl Analyzer<'_> {
    pub(super) fn project(
        &self,
        project: &connect::Project,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let input = self.project_input(project.input.as_deref(), outer)?;
        self.select(input, &project.expressions, &[], outer)
            .map(|(plan, _)| plan)
    }

    /// The input of a select list; one row without columns when there is no `FROM`.
    pub(super) fn project_input(
        &self,
        input: Option<&connect::Relation>,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        match input {
            Some(input) => self.relation(input, outer),
            None => {
                let plan = LogicalPlanBuilder::empty(true)
                    .build()
                    .map_err(from_datafusion)?;
                Ok(ResolvedPlan::new(plan, vec![]))
            }
        }
    }

    /// Resolves the items of a select list; later ones may use the aliases of earlier ones.
    pub(super) fn select_items(
        &self,
        input: &ResolvedPlan,
        expressions: &[Expression],
        outer: Option<&Scope>,
    ) -> Result<Vec<Typed>> {
        let scope = Scope::of(input, outer);
        let mut items: Vec<Typed> = vec![];
        for expression in expressions {
            let aliases: Vec<Typed> = items.iter().filter(|i| i.aliased).cloned().collect();
            let scope = scope.with_aliases(&aliases, false);
            items.extend(self.expand(expression, &scope)?);
        }
        Ok(items)
    }

    /// Projects `input`; `extras` are sort keys or conditions over the result or, where that
    /// has no such column, over the input.
    pub(super) fn select(
        &self,
        input: ResolvedPlan,
        expressions: &[Expression],
        extras: &[&Expression],
        outer: Option<&Scope>,
    ) -> Result<(ResolvedPlan, Vec<Typed>)> {
        let (input, expressions) = self.generators(input, expressions, outer)?;
        let items = self.select_items(&input, &expressions, outer)?;
        let extra_items = {
            let scope = Scope::of(&input, outer);
            let scope = scope.with_aliases(&items, true);
            extras
                .iter()
                .map(|e| self.expression(e, &scope))
                .collect::<Result<Vec<_>>>()?
        };
        if items.iter().any(|i| has_aggregate(&i.expr)) {
            return self.aggregated(input, vec![], None, items, extra_items);
        }
        self.project_items(input, items, extra_items)
    }

    /// The projection itself. Returns the extras as expressions over its result.
    pub(super) fn project_items(
        &self,
        input: ResolvedPlan,
        items: Vec<Typed>,
        extras: Vec<Typed>,
    ) -> Result<(ResolvedPlan, Vec<Typed>)> {
        let ResolvedPlan { plan, .. } = input;
        let count = items.len();
        let mut exprs: Vec<Expr> = items
            .iter()
            .chain(&extras)
            .map(|i| i.expr.clone())
            .collect();
        let plan = udf::extract(plan, &mut exprs, self)?;
        let plan = windows(plan, &mut exprs)?;
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
            // A key that the list already holds needs no column of its own.
            let known = exprs[..count].iter().position(|e| e == expr);
            let name = match known {
                Some(index) => fields[index].column.clone(),
                None => {
                    let name = unique_name("extra");
                    projected.push(expr.clone().alias(&name));
                    name
                }
            };
            extra_columns.push(Typed {
                expr: column(&name),
                ..extra.clone()
            });
        }
        let plan = build(LogicalPlanBuilder::from(plan).project(projected))?;
        Ok((ResolvedPlan::new(plan, fields), extra_columns))
    }

    pub(super) fn with_columns(
        &self,
        with: &connect::WithColumns,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let input = self.input(with.input.as_deref(), outer)?;
        let new: Vec<Typed> = {
            let expressions: Vec<Expression> = with.aliases.iter().map(of_alias).collect();
            self.select_items(&input, &expressions, outer)?
        };
        let mut items: Vec<Typed> = vec![];
        let mut placed = vec![false; new.len()];
        for field in input.fields.iter().filter(|f| !f.hidden) {
            let hits: Vec<usize> = new
                .iter()
                .enumerate()
                .filter(|(_, n)| n.output_name().eq_ignore_ascii_case(&field.name))
                .map(|(i, _)| i)
                .collect();
            match hits.last() {
                Some(index) => {
                    placed[*index] = true;
                    items.push(new[*index].clone());
                }
                None => items.push(passed_through(field)),
            }
        }
        items.extend(
            new.into_iter()
                .zip(placed)
                .filter(|(_, placed)| !placed)
                .map(|(n, _)| n),
        );
        self.project_items(input, items, vec![])
            .map(|(plan, _)| plan)
    }
}

fn of_alias(alias: &Alias) -> Expression {
    Expression {
        common: None,
        expr_type: Some(connect::expression::ExprType::Alias(Box::new(
            alias.clone(),
        ))),
    }
}

/// An item that is a column as it stands.
pub(super) fn passed_through(field: &ResolvedField) -> Typed {
    Typed {
        expr: field.expr(),
        name: field.name.clone(),
        column_name: None,
        data_type: field.data_type.clone(),
        nullable: field.nullable,
        metadata: field.metadata.clone(),
        source: Some(field.clone()),
        aliased: false,
        interval: None,
    }
}

/// The column that an item becomes: a plain column keeps its internal name and its history.
pub(super) fn output_column(
    item: &Typed,
    expr: Expr,
    used: &mut HashSet<String>,
) -> (ResolvedField, Expr) {
    if let (Some(source), Expr::Column(c)) = (&item.source, &expr)
        && c.name == source.column
    {
        let mut field = source.clone();
        field.hidden = false;
        if item.aliased {
            field.name = item.output_name().to_owned();
            field.qualifier.clear();
            field.plan_ids.clear();
            field.metadata.clone_from(&item.metadata);
        }
        if used.insert(source.column.clone()) {
            return (field, expr);
        }
        field.column = unique_name(&field.name);
        let out = expr.alias(&field.column);
        return (field, out);
    }
    let mut field = ResolvedField::new(item.output_name(), item.data_type.clone(), item.nullable);
    field.metadata.clone_from(&item.metadata);
    let out = expr.alias(&field.column);
    (field, out)
}

/// Claims that an expression holds an aggregate function (outside windows).
pub(super) fn has_aggregate(expr: &Expr) -> bool {
    let mut found = false;
    let walked = expr.apply(|e| {
        if matches!(e, Expr::AggregateFunction(_)) || udf::is_aggregate(e) {
            found = true;
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found && walked.is_ok()
}

/// Pulls window functions out into `Window` nodes below.
pub(super) fn windows(mut plan: LogicalPlan, exprs: &mut [Expr]) -> Result<LogicalPlan> {
    loop {
        // Innermost first: a window over the result of another needs a node of its own.
        let mut found: Vec<Expr> = vec![];
        for expr in exprs.iter() {
            expr.apply(|e| {
                if let Expr::WindowFunction(_) = e
                    && !nested_window(e)
                    && !found.contains(e)
                {
                    found.push(e.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
            .map_err(from_datafusion)?;
        }
        if found.is_empty() {
            return Ok(plan);
        }
        plan = LogicalPlanBuilder::window_plan(plan, found.clone()).map_err(from_datafusion)?;
        for expr in exprs.iter_mut() {
            *expr = expr
                .clone()
                .transform_down(|e| {
                    if found.contains(&e) {
                        let name = e.schema_name().to_string();
                        return Ok(Transformed::new(
                            column(&name),
                            true,
                            TreeNodeRecursion::Jump,
                        ));
                    }
                    Ok(Transformed::no(e))
                })
                .map_err(from_datafusion)?
                .data;
        }
    }
}

fn nested_window(expr: &Expr) -> bool {
    let mut inner = false;
    let walked = expr.apply_children(|child| {
        child.apply(|e| {
            inner |= matches!(e, Expr::WindowFunction(_));
            Ok(TreeNodeRecursion::Continue)
        })
    });
    inner && walked.is_ok()
}
