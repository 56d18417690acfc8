//! Queries inside expressions.

use std::sync::Arc;

use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery};
use pyrite_proto::connect::SubqueryExpression;
use pyrite_proto::connect::subquery_expression::SubqueryType;
use pyrite_proto::error::SparkError;

use crate::analyzer::{Analyzer, Scope, Typed};
use crate::errors::{self, Result};
use crate::resolved::ResolvedPlan;

impl Analyzer<'_> {
    /// Resolves a subquery; columns it does not have itself come from `scope`.
    pub(super) fn subquery(&self, subquery: &SubqueryExpression, scope: &Scope) -> Result<Typed> {
        let relation = {
            let references = self.references.borrow();
            let found = references
                .iter()
                .rev()
                .find(|(id, _)| *id == subquery.plan_id);
            found.map(|(_, relation)| relation.clone())
        };
        let relation = relation
            .ok_or_else(|| errors::invalid_message("the relation of a subquery expression"))?;
        let plan = self.relation(&relation, Some(scope))?;
        match subquery.subquery_type() {
            SubqueryType::Scalar => scalar(plan, scope),
            SubqueryType::Exists => {
                let expr = Expr::Exists(Exists {
                    subquery: as_subquery(plan.plan),
                    negated: false,
                });
                scope.typed(expr, "exists()")
            }
            SubqueryType::In => self.in_subquery(subquery, plan, scope),
            SubqueryType::TableArg => Err(SparkError::not_supported("table arguments")),
            SubqueryType::Unknown => {
                Err(errors::invalid_message("SubqueryExpression.subquery_type"))
            }
        }
    }

    fn in_subquery(
        &self,
        subquery: &SubqueryExpression,
        plan: ResolvedPlan,
        scope: &Scope,
    ) -> Result<Typed> {
        let [value] = subquery.in_subquery_values.as_slice() else {
            return Err(SparkError::not_supported(
                "IN with several columns and a subquery",
            ));
        };
        let value = self.expression(value, scope)?;
        let fields: Vec<_> = plan.visible().cloned().collect();
        let [field] = fields.as_slice() else {
            return Err(errors::type_mismatch(
                "IN_SUBQUERY_LENGTH_MISMATCH",
                &format!("({} IN (listquery()))", value.name),
                format!(
                    "The number of columns in the left hand side of an IN subquery does not match the number of columns in the output of subquery. Left hand side columns(length: 1): [\"{}\"], right hand side columns(length: {}).",
                    value.name,
                    fields.len()
                ),
            ));
        };
        let text = format!("({} IN (listquery()))", value.name);
        let common = self
            .wider(&value.data_type, &field.data_type)
            .ok_or_else(|| {
                errors::different_types(
                    &text,
                    &value.spark_type(),
                    &pyrite_functions::type_names::sql_name(&field.data_type),
                )
            })?;
        let mode = self.cast_mode();
        let left = self.cast_expr(value.expr, &value.data_type, &common, mode);
        let name = crate::analyzer::unique_name("in");
        let right = self
            .cast_expr(field.expr(), &field.data_type, &common, mode)
            .alias(name);
        let inner = datafusion::logical_expr::LogicalPlanBuilder::from(plan.plan)
            .project([right])
            .and_then(datafusion::logical_expr::LogicalPlanBuilder::build)
            .map_err(errors::from_datafusion)?;
        let expr = Expr::InSubquery(InSubquery {
            expr: Box::new(left),
            subquery: as_subquery(inner),
            negated: false,
        });
        scope.typed(expr, text)
    }
}

fn scalar(plan: ResolvedPlan, scope: &Scope) -> Result<Typed> {
    let fields: Vec<_> = plan.visible().cloned().collect();
    let [field] = fields.as_slice() else {
        return Err(errors::with_condition(
            "INVALID_SUBQUERY_EXPRESSION.SCALAR_SUBQUERY_RETURN_MORE_THAN_ONE_OUTPUT_COLUMN",
            "42823",
            format!(
                "Invalid subquery: Scalar subquery must return only one column, but got {}.",
                fields.len()
            ),
        ));
    };
    let name = format!("scalarsubquery({})", field.name);
    let expr = Expr::ScalarSubquery(as_subquery(plan.plan));
    let mut typed = scope.typed(expr, name)?;
    typed.data_type = field.data_type.clone();
    typed.nullable = true;
    typed.name = "scalarsubquery()".into();
    Ok(typed)
}

fn as_subquery(plan: LogicalPlan) -> Subquery {
    Subquery {
        outer_ref_columns: plan.all_out_ref_exprs(),
        subquery: Arc::new(plan),
        spans: Default::default(),
    }
}
