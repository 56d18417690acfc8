//! Joins.

use datafusion::common::JoinType;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Subquery, when};
use pyrite_proto::connect;
use pyrite_proto::connect::join::JoinType as SparkJoin;
use pyrite_proto::error::SparkError;
use std::sync::Arc;

use super::build;
use super::project::passed_through;
use crate::analyzer::{Analyzer, Scope, column, unique_name};
use crate::errors::{self, Result, from_datafusion};
use crate::resolved::{ResolvedField, ResolvedPlan};
use crate::udf;

fn same(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

impl Analyzer<'_> {
    pub(super) fn join(&self, join: &connect::Join, outer: Option<&Scope>) -> Result<ResolvedPlan> {
        let left = self.input(join.left.as_deref(), outer)?;
        let right = self.input(join.right.as_deref(), outer)?;
        let right = self.apart(&left, right)?;
        if !join.using_columns.is_empty() {
            return self.join_using(left, right, join.join_type(), &join.using_columns);
        }
        let fields: Vec<ResolvedField> = left.fields.iter().chain(&right.fields).cloned().collect();
        let condition = match &join.join_condition {
            None => None,
            Some(expression) => {
                let schema = left
                    .plan
                    .schema()
                    .join(right.plan.schema())
                    .map_err(from_datafusion)?;
                let scope = Scope {
                    fields: &fields,
                    schema: Arc::new(schema),
                    outer,
                    aliases: &[],
                    aliases_first: false,
                    lambda: vec![],
                };
                Some(self.condition(expression, &scope)?)
            }
        };
        let kind = engine_type(join.join_type());
        if condition.is_none()
            && !matches!(
                join.join_type(),
                SparkJoin::Cross | SparkJoin::Inner | SparkJoin::Unspecified
            )
        {
            return self.join_plans(left, right, kind, vec![datafusion::logical_expr::lit(true)]);
        }
        let condition = match condition {
            Some(typed) => vec![self.coerce(typed, &arrow::datatypes::DataType::Boolean)?],
            None => vec![],
        };
        self.join_plans(left, right, kind, condition)
    }

    /// Gives columns that both sides have (the same view joined with itself) other names.
    fn apart(&self, left: &ResolvedPlan, right: ResolvedPlan) -> Result<ResolvedPlan> {
        let clash = right.plan.schema().fields().iter().any(|f| {
            left.plan
                .schema()
                .fields()
                .iter()
                .any(|l| l.name() == f.name())
        });
        if clash { fresh_names(right) } else { Ok(right) }
    }

    /// Joins two plans on conditions over both.
    pub(super) fn join_plans(
        &self,
        left: ResolvedPlan,
        right: ResolvedPlan,
        kind: JoinType,
        mut conditions: Vec<Expr>,
    ) -> Result<ResolvedPlan> {
        let fields = joined_fields(&left, &right, kind);
        let has_python = conditions.iter().any(udf::contains);
        if has_python {
            if kind != JoinType::Inner {
                return Err(SparkError::not_supported(
                    "a Python function in the condition of an outer join",
                ));
            }
            let crossed = build(LogicalPlanBuilder::from(left.plan).cross_join(right.plan))?;
            let plan = udf::extract(crossed, &mut conditions, self)?;
            let mut builder = LogicalPlanBuilder::from(plan);
            for condition in conditions {
                builder = builder.filter(condition).map_err(from_datafusion)?;
            }
            let plan = builder.build().map_err(from_datafusion)?;
            return super::missing::keep_fields(ResolvedPlan::new(plan, fields));
        }
        let builder = LogicalPlanBuilder::from(left.plan);
        let plan = if conditions.is_empty() {
            build(builder.cross_join(right.plan))?
        } else {
            build(builder.join_on(right.plan, kind, conditions))?
        };
        Ok(ResolvedPlan::new(plan, fields))
    }

    /// `USING`: the named columns come first and once.
    fn join_using(
        &self,
        left: ResolvedPlan,
        right: ResolvedPlan,
        kind: SparkJoin,
        names: &[String],
    ) -> Result<ResolvedPlan> {
        let natural = matches!(names, [one] if one == "*");
        let names: Vec<String> = if natural {
            let shared = |f: &&ResolvedField| right.visible().any(|r| same(&r.name, &f.name));
            left.visible()
                .filter(shared)
                .map(|f| f.name.clone())
                .collect()
        } else {
            names.to_vec()
        };
        let mut pairs: Vec<(ResolvedField, ResolvedField)> = vec![];
        for name in &names {
            pairs.push((
                using_column(&left, name, "left")?,
                using_column(&right, name, "right")?,
            ));
        }
        let mut conditions = vec![];
        for (l, r) in &pairs {
            let common = self.wider(&l.data_type, &r.data_type).ok_or_else(|| {
                let (l, r) = (passed_through(l), passed_through(r));
                errors::different_types(
                    &format!("({} = {})", l.name, r.name),
                    &l.spark_type(),
                    &r.spark_type(),
                )
            })?;
            let mode = self.cast_mode();
            conditions.push(
                self.cast_expr(l.expr(), &l.data_type, &common, mode)
                    .eq(self.cast_expr(r.expr(), &r.data_type, &common, mode)),
            );
        }
        let engine = engine_type(kind);
        let joined = self.join_plans(left, right, engine, conditions)?;
        if matches!(engine, JoinType::LeftSemi | JoinType::LeftAnti) {
            let is_key = |f: &ResolvedField| pairs.iter().any(|(l, _)| l.column == f.column);
            let (keys, rest): (Vec<_>, Vec<_>) = joined.fields.iter().cloned().partition(is_key);
            let fields = keys.into_iter().chain(rest).collect();
            return super::missing::keep_fields(reordered(ResolvedPlan { fields, ..joined })?);
        }
        self.merge_using(joined, &pairs, engine)
    }

    fn merge_using(
        &self,
        joined: ResolvedPlan,
        pairs: &[(ResolvedField, ResolvedField)],
        kind: JoinType,
    ) -> Result<ResolvedPlan> {
        let find = |wanted: &ResolvedField| {
            joined
                .fields
                .iter()
                .find(|f| f.column == wanted.column)
                .cloned()
        };
        let mut fields: Vec<ResolvedField> = vec![];
        let mut exprs: Vec<Expr> = vec![];
        for (l, r) in pairs {
            let (Some(l), Some(r)) = (find(l), find(r)) else {
                continue;
            };
            let mut field = if kind == JoinType::Right {
                r.clone()
            } else {
                l.clone()
            };
            field.name.clone_from(&l.name);
            if kind == JoinType::Full {
                field.column = unique_name(&field.name);
                let either = when(l.expr().is_not_null(), l.expr())
                    .otherwise(self.cast_expr(
                        r.expr(),
                        &r.data_type,
                        &l.data_type,
                        self.cast_mode(),
                    ))
                    .map_err(from_datafusion)?;
                field.qualifier.clear();
                exprs.push(either.alias(&field.column));
            } else {
                exprs.push(field.expr());
            }
            field.hidden = false;
            fields.push(field);
        }
        let is_key = |f: &ResolvedField| {
            pairs
                .iter()
                .any(|(l, r)| f.column == l.column || f.column == r.column)
        };
        for field in joined.fields.iter().filter(|f| !is_key(f)) {
            exprs.push(field.expr());
            fields.push(field.clone());
        }
        for field in joined.fields.iter().filter(|f| is_key(f)) {
            if fields.iter().any(|f| f.column == field.column) {
                continue;
            }
            exprs.push(field.expr());
            fields.push(ResolvedField {
                hidden: true,
                ..field.clone()
            });
        }
        let plan = build(LogicalPlanBuilder::from(joined.plan).project(exprs))?;
        Ok(ResolvedPlan::new(plan, fields))
    }

    pub(super) fn lateral_join(
        &self,
        join: &connect::LateralJoin,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let left = self.input(join.left.as_deref(), outer)?;
        let right = join
            .right
            .as_deref()
            .ok_or_else(|| errors::invalid_message("LateralJoin.right"))?;
        if let Some(plan) = self.lateral_generator(&left, right, join.join_type(), outer)? {
            return Ok(plan);
        }
        let scope = Scope::of(&left, outer);
        let right = self.relation(right, Some(&scope))?;
        let right = self.apart(&left, right)?;
        let fields: Vec<ResolvedField> = left.fields.iter().chain(&right.fields).cloned().collect();
        let kind = engine_type(join.join_type());
        if !matches!(kind, JoinType::Inner | JoinType::Left) {
            return Err(SparkError::not_supported("a lateral join of this type"));
        }
        let outer_refs = right.plan.all_out_ref_exprs();
        let subquery = LogicalPlan::Subquery(Subquery {
            subquery: Arc::new(right.plan),
            outer_ref_columns: outer_refs,
            spans: Default::default(),
        });
        let conditions = match &join.join_condition {
            None => vec![datafusion::logical_expr::lit(true)],
            Some(expression) => {
                let schema = left
                    .plan
                    .schema()
                    .join(subquery.schema())
                    .map_err(from_datafusion)?;
                let scope = Scope {
                    fields: &fields,
                    schema: Arc::new(schema),
                    outer,
                    aliases: &[],
                    aliases_first: false,
                    lambda: vec![],
                };
                vec![self.condition(expression, &scope)?.expr]
            }
        };
        let plan = build(LogicalPlanBuilder::from(left.plan).join_on(subquery, kind, conditions))?;
        Ok(ResolvedPlan::new(plan, fields))
    }
}

fn using_column(side: &ResolvedPlan, name: &str, which: &str) -> Result<ResolvedField> {
    let found: Vec<&ResolvedField> = side.visible().filter(|f| same(&f.name, name)).collect();
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => {
            let known = side
                .names()
                .iter()
                .map(|n| errors::quote(&[n]))
                .collect::<Vec<_>>()
                .join(", ");
            Err(errors::with_condition(
                "UNRESOLVED_USING_COLUMN_FOR_JOIN",
                "42703",
                format!("USING column {} cannot be resolved on the {which} side of the join. The {which}-side columns: [{known}].", errors::quote(&[name])),
            )
            .with("colName", errors::quote(&[name]))
            .with("side", which)
            .with("suggestion", known))
        }
        many => Err(errors::ambiguous_reference(
            &[name],
            &many
                .iter()
                .map(|f| errors::quote(&[&f.name]))
                .collect::<Vec<_>>(),
        )),
    }
}

fn engine_type(kind: SparkJoin) -> JoinType {
    match kind {
        SparkJoin::Unspecified | SparkJoin::Inner | SparkJoin::Cross => JoinType::Inner,
        SparkJoin::FullOuter => JoinType::Full,
        SparkJoin::LeftOuter => JoinType::Left,
        SparkJoin::RightOuter => JoinType::Right,
        SparkJoin::LeftAnti => JoinType::LeftAnti,
        SparkJoin::LeftSemi => JoinType::LeftSemi,
    }
}

fn joined_fields(left: &ResolvedPlan, right: &ResolvedPlan, kind: JoinType) -> Vec<ResolvedField> {
    let nullable = |f: &ResolvedField, forced: bool| ResolvedField {
        nullable: f.nullable || forced,
        ..f.clone()
    };
    let left_forced = matches!(kind, JoinType::Right | JoinType::Full);
    let right_forced = matches!(kind, JoinType::Left | JoinType::Full);
    let mut fields: Vec<_> = left
        .fields
        .iter()
        .map(|f| nullable(f, left_forced))
        .collect();
    if !matches!(kind, JoinType::LeftSemi | JoinType::LeftAnti) {
        fields.extend(right.fields.iter().map(|f| nullable(f, right_forced)));
    }
    fields
}

/// The same rows under new internal names.
pub(crate) fn fresh_names(input: ResolvedPlan) -> Result<ResolvedPlan> {
    let mut fields = input.fields;
    let mut exprs = vec![];
    for field in &mut fields {
        let name = unique_name(&field.name);
        exprs.push(column(&field.column).alias(&name));
        field.column = name;
    }
    let plan = build(LogicalPlanBuilder::from(input.plan).project(exprs))?;
    Ok(ResolvedPlan {
        plan,
        fields,
        finish: input.finish,
    })
}

fn reordered(input: ResolvedPlan) -> Result<ResolvedPlan> {
    let exprs: Vec<Expr> = input.fields.iter().map(|f| f.expr()).collect();
    let plan = build(LogicalPlanBuilder::from(input.plan.clone()).project(exprs))?;
    Ok(input.over(plan))
}
