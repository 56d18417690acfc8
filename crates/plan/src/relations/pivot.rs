//! `PIVOT`: one column for each value of a column.

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, lit};
use prost::Message;
use pyrite_functions::format::ValueFormat;
use pyrite_proto::connect;
use pyrite_proto::connect::expression::ExprType;
use pyrite_proto::connect::relation::RelType;
use pyrite_proto::error::SparkError;

use crate::analyzer::{Analyzer, Scope, Typed};
use crate::errors::{self, Result, from_datafusion};
use crate::expressions::literal_value;
use crate::leaves::{Leaf, LoadedLeaf};
use crate::resolved::ResolvedPlan;

impl Analyzer<'_> {
    pub(super) fn pivot(
        &self,
        aggregate: &connect::Aggregate,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let pivot = aggregate
            .pivot
            .as_ref()
            .ok_or_else(|| errors::invalid_message("Aggregate.pivot"))?;
        let input = self.input(aggregate.input.as_deref(), outer)?;
        let scope = Scope::of(&input, outer);
        let by = pivot
            .col
            .as_ref()
            .ok_or_else(|| errors::invalid_message("Pivot.col"))?;
        let by = self.expression(by, &scope)?;
        let found;
        let values = if pivot.values.is_empty() {
            found = self.distinct_values(aggregate)?;
            &found
        } else {
            &pivot.values
        };
        let aggregates = self.select_items(&input, &aggregate.aggregate_expressions, outer)?;
        let keys = self.pivot_keys(aggregate, &input, &by, &aggregates, outer)?;
        let mut items = keys.clone();
        for literal in values {
            let (value, label) = self.pivot_value(literal)?;
            for aggregation in &aggregates {
                let name = match (aggregates.len(), aggregation.aliased) {
                    (1, _) => label.clone(),
                    _ => format!("{label}_{}", aggregation.output_name()),
                };
                items.push(only_where(aggregation, &by, &value)?.renamed(name));
            }
        }
        for item in &mut items[keys.len()..] {
            item.aliased = true;
        }
        let (plan, _) = self.aggregated(input, keys, None, items, vec![])?;
        super::missing::keep_fields(plan)
    }

    /// The values of the pivot column: they are asked for before analysis can go on.
    fn distinct_values(
        &self,
        aggregate: &connect::Aggregate,
    ) -> Result<Vec<connect::expression::Literal>> {
        let column = aggregate.pivot.as_ref().and_then(|p| p.col.clone());
        let column = column.ok_or_else(|| errors::invalid_message("Pivot.col"))?;
        let project = connect::Project {
            input: aggregate.input.clone(),
            expressions: vec![column],
        };
        let project = connect::Relation {
            common: None,
            rel_type: Some(RelType::Project(Box::new(project))),
        };
        let distinct = connect::Deduplicate {
            input: Some(Box::new(project)),
            all_columns_as_keys: Some(true),
            ..Default::default()
        };
        let relation = connect::Relation {
            common: None,
            rel_type: Some(RelType::Deduplicate(Box::new(distinct))),
        };
        match self.leaf(Leaf::Values(relation.encode_to_vec()))? {
            LoadedLeaf::Values(values) => values.iter().map(literal_of).collect(),
            _ => Err(SparkError::other("values of a pivot are not values")),
        }
    }

    /// The grouping keys; a star stands for every column that is not otherwise used.
    fn pivot_keys(
        &self,
        aggregate: &connect::Aggregate,
        input: &ResolvedPlan,
        by: &Typed,
        aggregates: &[Typed],
        outer: Option<&Scope>,
    ) -> Result<Vec<Typed>> {
        let star = matches!(
            aggregate.grouping_expressions.as_slice(),
            [one] if matches!(one.expr_type, Some(ExprType::UnresolvedStar(_)))
        );
        if !star {
            return self.select_items(input, &aggregate.grouping_expressions, outer);
        }
        let mut used: Vec<String> = vec![];
        for expr in aggregates.iter().map(|a| &a.expr).chain([&by.expr]) {
            used.extend(expr.column_refs().iter().map(|c| c.name.clone()));
        }
        let mut keys = super::aggregate::all_columns(input);
        keys.retain(|k| k.source.as_ref().is_none_or(|f| !used.contains(&f.column)));
        Ok(keys)
    }

    fn pivot_value(&self, literal: &connect::expression::Literal) -> Result<(ScalarValue, String)> {
        let value = literal_value(literal)?;
        // A struct of one named field carries the alias of the value.
        if let ScalarValue::Struct(one) = &value
            && one.num_columns() == 1
        {
            let inner = ScalarValue::try_from_array(one.column(0), 0).map_err(from_datafusion)?;
            return Ok((inner, one.fields()[0].name().clone()));
        }
        let mut label = String::new();
        let array = value.to_array().map_err(from_datafusion)?;
        ValueFormat::cast(&self.time_zone)
            .and_then(|f| f.write(array.as_ref(), 0, &mut label))
            .map_err(from_datafusion)?;
        Ok((value, label))
    }
}

/// A value as a literal message.
fn literal_of(value: &ScalarValue) -> Result<connect::expression::Literal> {
    use connect::expression::literal::LiteralType;
    let literal_type = match value {
        v if v.is_null() => LiteralType::Null(connect::DataType::default()),
        ScalarValue::Utf8(Some(v)) => LiteralType::String(v.clone()),
        ScalarValue::Boolean(Some(v)) => LiteralType::Boolean(*v),
        ScalarValue::Int8(Some(v)) => LiteralType::Byte(i32::from(*v)),
        ScalarValue::Int16(Some(v)) => LiteralType::Short(i32::from(*v)),
        ScalarValue::Int32(Some(v)) => LiteralType::Integer(*v),
        ScalarValue::Int64(Some(v)) => LiteralType::Long(*v),
        ScalarValue::Float32(Some(v)) => LiteralType::Float(*v),
        ScalarValue::Float64(Some(v)) => LiteralType::Double(*v),
        ScalarValue::Date32(Some(v)) => LiteralType::Date(*v),
        ScalarValue::TimestampMicrosecond(Some(v), Some(_)) => LiteralType::Timestamp(*v),
        ScalarValue::TimestampMicrosecond(Some(v), None) => LiteralType::TimestampNtz(*v),
        other => {
            return Err(SparkError::not_supported(format!(
                "pivot without a list of values on a column of type {}",
                other.data_type()
            )));
        }
    };
    Ok(connect::expression::Literal {
        literal_type: Some(literal_type),
        data_type: None,
    })
}

/// The aggregate over the rows in which `by` has the value.
fn only_where(aggregate: &Typed, by: &Typed, value: &ScalarValue) -> Result<Typed> {
    let value = if value.is_null() {
        by.expr.clone().is_null()
    } else {
        let literal = value.cast_to(&by.data_type).map_err(from_datafusion)?;
        by.expr.clone().eq(lit(literal))
    };
    let expr = aggregate
        .expr
        .clone()
        .transform_down(|e| match e {
            Expr::AggregateFunction(mut call) => {
                let filter = match call.params.filter.take() {
                    Some(old) => old.and(value.clone()),
                    None => value.clone(),
                };
                call.params.filter = Some(Box::new(filter));
                Ok(Transformed::new(
                    Expr::AggregateFunction(call),
                    true,
                    TreeNodeRecursion::Jump,
                ))
            }
            other => Ok(Transformed::no(other)),
        })
        .map_err(from_datafusion)?
        .data;
    Ok(Typed {
        expr,
        nullable: true,
        ..aggregate.clone()
    })
}
