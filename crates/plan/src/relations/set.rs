//! `UNION`, `INTERSECT`, `EXCEPT`.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{JoinType, NullEquality, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Union};
use pyrite_functions::type_names::sql_name;
use pyrite_proto::connect;
use pyrite_proto::connect::set_operation::SetOpType;
use pyrite_proto::error::SparkError;

use super::build;
use super::simple::drop_hidden;
use crate::analyzer::{Analyzer, Scope};
use crate::errors::{self, Result, from_datafusion};
use crate::resolved::{ResolvedField, ResolvedPlan};

impl Analyzer<'_> {
    pub(super) fn set_operation(
        &self,
        set: &connect::SetOperation,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let left = drop_hidden(self.input(set.left_input.as_deref(), outer)?)?;
        let right = drop_hidden(self.input(set.right_input.as_deref(), outer)?)?;
        let (word, all) = match set.set_op_type() {
            SetOpType::Union => ("UNION", set.is_all.unwrap_or(true)),
            SetOpType::Intersect => ("INTERSECT", set.is_all.unwrap_or(false)),
            SetOpType::Except => ("EXCEPT", set.is_all.unwrap_or(false)),
            SetOpType::Unspecified => {
                return Err(errors::invalid_message("SetOperation.set_op_type"));
            }
        };
        let (left, right) = if set.by_name == Some(true) {
            self.by_name(left, right, set.allow_missing_columns == Some(true))?
        } else {
            (left, right)
        };
        let (left, right, fields) = self.aligned(left, right, word)?;
        match set.set_op_type() {
            SetOpType::Union => union(left, right, fields, all),
            SetOpType::Intersect if !all => membership(left, right, fields, JoinType::LeftSemi),
            SetOpType::Except if !all => membership(left, right, fields, JoinType::LeftAnti),
            _ => self.counted(left, right, fields, set.set_op_type()),
        }
    }

    /// Orders the right side's columns as the left's, adding nulls where allowed.
    fn by_name(
        &self,
        left: ResolvedPlan,
        right: ResolvedPlan,
        allow_missing: bool,
    ) -> Result<(ResolvedPlan, ResolvedPlan)> {
        let same =
            |a: &ResolvedField, b: &ResolvedField| a.name.to_lowercase() == b.name.to_lowercase();
        let extra: Vec<ResolvedField> = right
            .fields
            .iter()
            .filter(|r| !left.fields.iter().any(|l| same(l, r)))
            .cloned()
            .collect();
        if !allow_missing && let Some(lacking) = extra.first() {
            return Err(errors::unresolved_column(&[&lacking.name], &left.names()));
        }
        let mut wanted = left.fields.clone();
        wanted.extend(extra);
        let fill = |side: ResolvedPlan| -> Result<ResolvedPlan> {
            let mut fields = vec![];
            let mut exprs = vec![];
            for field in &wanted {
                match side.fields.iter().find(|f| same(f, field)) {
                    Some(own) => {
                        exprs.push(own.expr());
                        fields.push(own.clone());
                    }
                    None if allow_missing => {
                        let null =
                            ScalarValue::try_from(&field.data_type).map_err(from_datafusion)?;
                        let new = ResolvedField::new(&field.name, field.data_type.clone(), true);
                        exprs.push(Expr::Literal(null, None).alias(&new.column));
                        fields.push(new);
                    }
                    None => return Err(errors::unresolved_column(&[&field.name], &side.names())),
                }
            }
            let plan = build(LogicalPlanBuilder::from(side.plan).project(exprs))?;
            Ok(ResolvedPlan::new(plan, fields))
        };
        Ok((fill(left)?, fill(right)?))
    }

    /// Brings both sides to the same types under the same, new internal names.
    fn aligned(
        &self,
        left: ResolvedPlan,
        right: ResolvedPlan,
        word: &str,
    ) -> Result<(LogicalPlan, LogicalPlan, Vec<ResolvedField>)> {
        if left.fields.len() != right.fields.len() {
            return Err(errors::column_count_mismatch(
                word,
                left.fields.len(),
                right.fields.len(),
            ));
        }
        let mut fields = vec![];
        let (mut left_exprs, mut right_exprs) = (vec![], vec![]);
        for (index, (l, r)) in left.fields.iter().zip(&right.fields).enumerate() {
            let common = self.wider(&l.data_type, &r.data_type).ok_or_else(|| {
                errors::incompatible_column(
                    word,
                    index + 1,
                    &sql_name(&l.data_type),
                    &sql_name(&r.data_type),
                )
            })?;
            let mut field = ResolvedField::new(&l.name, common.clone(), l.nullable || r.nullable);
            field.metadata.clone_from(&l.metadata);
            let mode = self.cast_mode();
            left_exprs.push(
                self.cast_expr(l.expr(), &l.data_type, &common, mode)
                    .alias(&field.column),
            );
            right_exprs.push(
                self.cast_expr(r.expr(), &r.data_type, &common, mode)
                    .alias(&field.column),
            );
            fields.push(field);
        }
        let left = build(LogicalPlanBuilder::from(left.plan).project(left_exprs))?;
        let right = build(LogicalPlanBuilder::from(right.plan).project(right_exprs))?;
        Ok((left, right, fields))
    }

    /// `INTERSECT ALL` and `EXCEPT ALL`: the n-th copy of a row meets the n-th copy.
    fn counted(
        &self,
        left: LogicalPlan,
        right: LogicalPlan,
        fields: Vec<ResolvedField>,
        kind: SetOpType,
    ) -> Result<ResolvedPlan> {
        let (left, number) = numbered(left, &fields)?;
        let (right, right_number) = numbered(right, &fields)?;
        let mut columns: Vec<ResolvedField> = fields.clone();
        columns.push(ResolvedField {
            column: number,
            ..ResolvedField::new("n", DataType::UInt64, false)
        });
        let right_columns: Vec<String> = fields
            .iter()
            .map(|f| f.column.clone())
            .chain([right_number])
            .collect();
        let join = if kind == SetOpType::Except {
            JoinType::LeftAnti
        } else {
            JoinType::LeftSemi
        };
        let plan = matched(left, right, &columns, &right_columns, join)?;
        super::missing::keep_fields(ResolvedPlan::new(plan, fields))
    }
}

fn union(
    left: LogicalPlan,
    right: LogicalPlan,
    fields: Vec<ResolvedField>,
    all: bool,
) -> Result<ResolvedPlan> {
    let union = Union::try_new_with_loose_types(vec![Arc::new(left), Arc::new(right)]);
    let mut plan = LogicalPlan::Union(union.map_err(from_datafusion)?);
    if !all {
        plan = build(LogicalPlanBuilder::from(plan).distinct())?;
    }
    Ok(ResolvedPlan::new(plan, fields))
}

fn membership(
    left: LogicalPlan,
    right: LogicalPlan,
    fields: Vec<ResolvedField>,
    kind: JoinType,
) -> Result<ResolvedPlan> {
    let left = build(LogicalPlanBuilder::from(left).distinct())?;
    let names: Vec<String> = fields.iter().map(|f| f.column.clone()).collect();
    let plan = matched(left, right, &fields, &names, kind)?;
    Ok(ResolvedPlan::new(plan, fields))
}

/// Joins on all columns, with nulls equal to nulls.
fn matched(
    left: LogicalPlan,
    right: LogicalPlan,
    left_columns: &[ResolvedField],
    right_columns: &[String],
    kind: JoinType,
) -> Result<LogicalPlan> {
    let mut renamed = vec![];
    let mut right_keys = vec![];
    for name in right_columns {
        let new = crate::analyzer::unique_name("right");
        renamed.push(crate::analyzer::column(name).alias(&new));
        right_keys.push(datafusion::common::Column::new_unqualified(new));
    }
    let right = build(LogicalPlanBuilder::from(right).project(renamed))?;
    let left_keys: Vec<_> = left_columns
        .iter()
        .map(|f| datafusion::common::Column::new_unqualified(&f.column))
        .collect();
    build(LogicalPlanBuilder::from(left).join_detailed(
        right,
        kind,
        (left_keys, right_keys),
        None,
        NullEquality::NullEqualsNull,
    ))
}

/// Numbers the copies of each row.
fn numbered(plan: LogicalPlan, fields: &[ResolvedField]) -> Result<(LogicalPlan, String)> {
    use datafusion::logical_expr::ExprFunctionExt;
    let keys: Vec<Expr> = fields.iter().map(|f| f.expr()).collect();
    let order = keys
        .iter()
        .take(1)
        .map(|k| k.clone().sort(true, true))
        .collect();
    let number = datafusion::functions_window::expr_fn::row_number()
        .partition_by(keys)
        .order_by(order)
        .build()
        .map_err(from_datafusion)?;
    let name = crate::analyzer::unique_name("copy");
    let mut exprs = vec![number];
    let plan = super::project::windows(plan, &mut exprs)?;
    let [number] = <[Expr; 1]>::try_from(exprs)
        .map_err(|_| SparkError::other("a window function got lost"))?;
    let mut out: Vec<Expr> = fields.iter().map(|f| f.expr()).collect();
    out.push(number.alias(&name));
    Ok((build(LogicalPlanBuilder::from(plan).project(out))?, name))
}
