//! `df.na`: nulls filled, dropped, replaced; `unpivot`.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, cast, lit, when};
use pyrite_proto::connect;

use super::build;
use super::project::passed_through;
use super::simple::drop_hidden;
use crate::analyzer::{Analyzer, Scope, Typed};
use crate::errors::{self, Result, from_datafusion};
use crate::expressions::literal_value;
use crate::functions::engine;
use crate::resolved::{ResolvedField, ResolvedPlan};

fn same(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

/// Refuses names that the relation does not have.
fn check_names(plan: &ResolvedPlan, names: &[String]) -> Result<()> {
    for name in names {
        if !plan.fields.iter().any(|f| same(&f.name, name)) {
            return Err(errors::unresolved_column(&[name], &plan.names()));
        }
    }
    Ok(())
}

/// Claims that a value of this type may take the place of one of that type.
fn fits(value: &ScalarValue, column: &DataType) -> bool {
    match value.data_type() {
        t if t.is_numeric() => column.is_numeric(),
        DataType::Utf8 => *column == DataType::Utf8,
        DataType::Boolean => *column == DataType::Boolean,
        DataType::Null => true,
        _ => false,
    }
}

impl Analyzer<'_> {
    pub(super) fn fill_na(
        &self,
        fill: &connect::NaFill,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let input = drop_hidden(self.input(fill.input.as_deref(), outer)?)?;
        check_names(&input, &fill.cols)?;
        let values = fill
            .values
            .iter()
            .map(literal_value)
            .collect::<Result<Vec<_>>>()?;
        let mut items = vec![];
        for field in &input.fields {
            let typed = passed_through(field);
            let place = fill.cols.iter().position(|c| same(c, &field.name));
            let value = match (fill.cols.is_empty(), place, values.as_slice()) {
                (true, _, [one, ..]) | (false, Some(_), [one]) => Some(one),
                (false, Some(index), many) => many.get(index),
                _ => None,
            };
            let value = value.filter(|v| fits(v, &field.data_type));
            items.push(match value {
                None => typed,
                Some(value) => filled(typed, value)?,
            });
        }
        self.project_items(input, items, vec![])
            .map(|(plan, _)| plan)
    }

    pub(super) fn drop_na(
        &self,
        drop: &connect::NaDrop,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let input = drop_hidden(self.input(drop.input.as_deref(), outer)?)?;
        check_names(&input, &drop.cols)?;
        let chosen: Vec<&ResolvedField> = input
            .fields
            .iter()
            .filter(|f| drop.cols.is_empty() || drop.cols.iter().any(|c| same(c, &f.name)))
            .collect();
        let present = |field: &ResolvedField| -> Result<Expr> {
            let there = field.expr().is_not_null();
            if matches!(field.data_type, DataType::Float32 | DataType::Float64) {
                let number = engine::call("isnan", vec![field.expr()])?;
                return Ok(there.and(datafusion::logical_expr::not(number)));
            }
            Ok(there)
        };
        let wanted = drop
            .min_non_nulls
            .map_or(chosen.len(), |n| usize::try_from(n).unwrap_or(0));
        let mut count = lit(0);
        for field in &chosen {
            count = count
                + when(present(field)?, lit(1))
                    .otherwise(lit(0))
                    .map_err(from_datafusion)?;
        }
        let condition = if wanted == chosen.len() {
            let mut all = lit(true);
            for field in &chosen {
                all = all.and(present(field)?);
            }
            all
        } else {
            count.gt_eq(lit(wanted as i32))
        };
        let plan = build(LogicalPlanBuilder::from(input.plan.clone()).filter(condition))?;
        Ok(input.over(plan))
    }

    pub(super) fn replace_na(
        &self,
        replace: &connect::NaReplace,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let input = drop_hidden(self.input(replace.input.as_deref(), outer)?)?;
        check_names(&input, &replace.cols)?;
        let mut pairs = vec![];
        for pair in &replace.replacements {
            let old = pair
                .old_value
                .as_ref()
                .ok_or_else(|| errors::invalid_message("old_value"))?;
            let new = pair
                .new_value
                .as_ref()
                .ok_or_else(|| errors::invalid_message("new_value"))?;
            pairs.push((literal_value(old)?, literal_value(new)?));
        }
        let mut items = vec![];
        for field in &input.fields {
            let mut typed = passed_through(field);
            let chosen =
                replace.cols.is_empty() || replace.cols.iter().any(|c| same(c, &field.name));
            let pairs: Vec<_> = pairs
                .iter()
                .filter(|(old, _)| fits(old, &field.data_type))
                .collect();
            if chosen && !pairs.is_empty() {
                let mut expr = field.expr();
                for (old, new) in pairs.into_iter().rev() {
                    let hit = if old.is_null() {
                        field.expr().is_null()
                    } else {
                        field.expr().eq(lit(old
                            .cast_to(&field.data_type)
                            .map_err(from_datafusion)?))
                    };
                    let new = if new.is_null() {
                        ScalarValue::try_from(&field.data_type).map_err(from_datafusion)?
                    } else {
                        new.cast_to(&field.data_type).map_err(from_datafusion)?
                    };
                    expr = when(hit, lit(new))
                        .otherwise(expr)
                        .map_err(from_datafusion)?;
                }
                typed = Typed {
                    expr,
                    source: None,
                    nullable: true,
                    ..typed
                };
            }
            items.push(typed);
        }
        self.project_items(input, items, vec![])
            .map(|(plan, _)| plan)
    }

    pub(super) fn unpivot(
        &self,
        unpivot: &connect::Unpivot,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let input = drop_hidden(self.input(unpivot.input.as_deref(), outer)?)?;
        let mut ids = self.select_items(&input, &unpivot.ids, outer)?;
        let values = match &unpivot.values {
            Some(values) => self.select_items(&input, &values.values, outer)?,
            None => {
                let all = super::aggregate::all_columns(&input);
                all.into_iter()
                    .filter(|c| !ids.iter().any(|i| i.expr == c.expr))
                    .collect()
            }
        };
        if unpivot.ids.is_empty() && unpivot.values.is_some() {
            let all = super::aggregate::all_columns(&input);
            ids = all
                .into_iter()
                .filter(|c| !values.iter().any(|v| v.expr == c.expr))
                .collect();
        }
        let names: Vec<String> = values.iter().map(|v| v.output_name().to_owned()).collect();
        let (exprs, common) = self.unify(values.clone(), "unpivot(...)")?;
        let pairs = exprs
            .into_iter()
            .zip(&names)
            .map(|(expr, name)| {
                engine::call(
                    "named_struct",
                    vec![lit("n"), lit(name.as_str()), lit("v"), expr],
                )
            })
            .collect::<Result<Vec<_>>>()?;
        let pair = crate::analyzer::unique_name("pair");
        let mut columns: Vec<Expr> = input.fields.iter().map(|f| f.expr()).collect();
        columns.push(engine::call("make_array", pairs)?.alias(&pair));
        let column = datafusion::common::Column::new_unqualified(&pair);
        let plan = LogicalPlanBuilder::from(input.plan.clone())
            .project(columns)
            .and_then(|b| b.unnest_column(column));
        let plan = build(plan)?;
        let get =
            |name: &str| engine::call("get_field", vec![crate::analyzer::column(&pair), lit(name)]);
        let made = |expr: Expr, name: &str, data_type: DataType, nullable: bool| Typed {
            expr: cast(expr, data_type.clone()),
            name: name.to_owned(),
            column_name: None,
            data_type,
            nullable,
            metadata: None,
            source: None,
            aliased: true,
            interval: None,
        };
        let mut items = ids;
        items.push(made(
            get("n")?,
            &unpivot.variable_column_name,
            DataType::Utf8,
            false,
        ));
        items.push(made(get("v")?, &unpivot.value_column_name, common, true));
        self.project_items(input.over(plan), items, vec![])
            .map(|(plan, _)| plan)
    }
}

/// `coalesce(column, value)` in the column's type.
fn filled(typed: Typed, value: &ScalarValue) -> Result<Typed> {
    let value = value.cast_to(&typed.data_type).map_err(from_datafusion)?;
    let mut base = typed.expr.clone();
    if matches!(typed.data_type, DataType::Float32 | DataType::Float64) {
        let null = ScalarValue::try_from(&typed.data_type).map_err(from_datafusion)?;
        let is_nan = engine::call("isnan", vec![base.clone()])?;
        base = when(is_nan, lit(null))
            .otherwise(base)
            .map_err(from_datafusion)?;
    }
    let expr = engine::call("coalesce", vec![base, lit(value)])?;
    Ok(Typed {
        expr,
        source: None,
        nullable: false,
        ..typed
    })
}
