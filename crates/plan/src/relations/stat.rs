//! `df.stat`, `df.describe` and `df.summary`.

use arrow::datatypes::DataType;
use datafusion::functions_aggregate::expr_fn;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, cast, lit};
use pyrite_proto::connect;
use pyrite_proto::error::SparkError;

use super::build;
use super::simple::drop_hidden;
use crate::analyzer::{Analyzer, Scope, column, unique_name};
use crate::errors::{self, Result, from_datafusion};
use crate::functions::engine;
use crate::resolved::{ResolvedField, ResolvedPlan};

/// What `summary()` shows when nothing is asked for.
const SUMMARY: [&str; 8] = ["count", "mean", "stddev", "min", "25%", "50%", "75%", "max"];

impl Analyzer<'_> {
    pub(super) fn describe(
        &self,
        describe: &connect::StatDescribe,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let input = drop_hidden(self.input(describe.input.as_deref(), outer)?)?;
        let columns = chosen(&input, &describe.cols)?;
        let statistics = SUMMARY
            .iter()
            .filter(|s| !s.ends_with('%'))
            .map(|s| (*s).to_owned());
        self.statistics(input, columns, statistics.collect())
    }

    pub(super) fn summary(
        &self,
        summary: &connect::StatSummary,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let input = drop_hidden(self.input(summary.input.as_deref(), outer)?)?;
        let columns = chosen(&input, &[])?;
        let statistics = if summary.statistics.is_empty() {
            SUMMARY.iter().map(|s| (*s).to_owned()).collect()
        } else {
            summary.statistics.clone()
        };
        self.statistics(input, columns, statistics)
    }

    /// One row a statistic, every value as text.
    fn statistics(
        &self,
        input: ResolvedPlan,
        columns: Vec<ResolvedField>,
        statistics: Vec<String>,
    ) -> Result<ResolvedPlan> {
        let mut aggregates = vec![];
        let mut names: Vec<Vec<String>> = vec![];
        for statistic in &statistics {
            let mut row = vec![];
            for field in &columns {
                let name = unique_name(&field.name);
                aggregates.push(self.statistic(statistic, field)?.alias(&name));
                row.push(name);
            }
            names.push(row);
        }
        let grouped =
            build(LogicalPlanBuilder::from(input.plan).aggregate(Vec::<Expr>::new(), aggregates))?;
        let mut rows = vec![];
        for (statistic, row) in statistics.iter().zip(&names) {
            let mut args = vec![lit("summary"), lit(statistic.as_str())];
            for (index, name) in row.iter().enumerate() {
                args.extend([lit(format!("c{index}")), column(name)]);
            }
            rows.push(engine::call("named_struct", args)?);
        }
        let row = unique_name("row");
        let list = engine::call("make_array", rows)?.alias(&row);
        let unnested = LogicalPlanBuilder::from(grouped)
            .project([list])
            .and_then(|b| b.unnest_column(datafusion::common::Column::new_unqualified(&row)));
        let plan = build(unnested)?;
        let mut fields = vec![ResolvedField::new("summary", DataType::Utf8, true)];
        let mut exprs = vec![
            engine::call("get_field", vec![column(&row), lit("summary")])?.alias(&fields[0].column),
        ];
        for (index, field) in columns.iter().enumerate() {
            let out = ResolvedField::new(&field.name, DataType::Utf8, true);
            let key = lit(format!("c{index}"));
            exprs.push(engine::call("get_field", vec![column(&row), key])?.alias(&out.column));
            fields.push(out);
        }
        let plan = build(LogicalPlanBuilder::from(plan).project(exprs))?;
        Ok(ResolvedPlan::new(plan, fields))
    }

    fn statistic(&self, name: &str, field: &ResolvedField) -> Result<Expr> {
        let value = field.expr();
        let mode = pyrite_functions::cast::CastMode::Try;
        let number = || self.cast_expr(value.clone(), &field.data_type, &DataType::Float64, mode);
        let (computed, from) = match name {
            "count" => (expr_fn::count(value), DataType::Int64),
            "mean" => (expr_fn::avg(number()), DataType::Float64),
            "stddev" => (expr_fn::stddev(number()), DataType::Float64),
            "min" => (expr_fn::min(value), field.data_type.clone()),
            "max" => (expr_fn::max(value), field.data_type.clone()),
            percent if percent.ends_with('%') => {
                let place = percent.trim_end_matches('%').parse::<f64>().map_err(|_| {
                    errors::with_condition(
                        "22023",
                        "22023",
                        format!("Unable to parse {percent} as a percentile"),
                    )
                })?;
                let args = vec![number(), lit(place / 100.0)];
                let call = datafusion::logical_expr::expr::AggregateFunction::new_udf(
                    engine::aggregate("approx_percentile_cont")?,
                    args,
                    false,
                    None,
                    vec![],
                    None,
                );
                let estimate = Expr::AggregateFunction(call);
                if field.data_type.is_numeric() {
                    (
                        cast(estimate, field.data_type.clone()),
                        field.data_type.clone(),
                    )
                } else {
                    (estimate, DataType::Float64)
                }
            }
            other => {
                return Err(SparkError::not_supported(format!("statistic `{other}`")));
            }
        };
        Ok(self.cast_expr(computed, &from, &DataType::Utf8, mode))
    }

    pub(super) fn corr(
        &self,
        corr: &connect::StatCorr,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        if corr.method.as_deref().is_some_and(|m| m != "pearson") {
            return Err(SparkError::not_supported(
                "correlation other than Pearson's",
            ));
        }
        let input = self.input(corr.input.as_deref(), outer)?;
        self.two_columns(input, &corr.col1, &corr.col2, "corr", expr_fn::corr)
    }

    pub(super) fn cov(
        &self,
        cov: &connect::StatCov,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let input = self.input(cov.input.as_deref(), outer)?;
        self.two_columns(input, &cov.col1, &cov.col2, "cov", expr_fn::covar_samp)
    }

    fn two_columns(
        &self,
        input: ResolvedPlan,
        first: &str,
        second: &str,
        name: &str,
        function: fn(Expr, Expr) -> Expr,
    ) -> Result<ResolvedPlan> {
        let number = |wanted: &str| -> Result<Expr> {
            let field = input
                .visible()
                .find(|f| f.name.eq_ignore_ascii_case(wanted));
            let field =
                field.ok_or_else(|| errors::unresolved_column(&[wanted], &input.names()))?;
            Ok(self.cast_expr(
                field.expr(),
                &field.data_type,
                &DataType::Float64,
                self.cast_mode(),
            ))
        };
        let out = ResolvedField::new(name, DataType::Float64, true);
        let computed = function(number(first)?, number(second)?).alias(&out.column);
        let plan = LogicalPlanBuilder::from(input.plan.clone())
            .aggregate(Vec::<Expr>::new(), vec![computed])
            .and_then(LogicalPlanBuilder::build)
            .map_err(from_datafusion)?;
        Ok(ResolvedPlan::new(plan, vec![out]))
    }
}

/// The named columns, or all that have numbers or text.
fn chosen(input: &ResolvedPlan, names: &[String]) -> Result<Vec<ResolvedField>> {
    if names.is_empty() {
        return Ok(input
            .fields
            .iter()
            .filter(|f| f.data_type.is_numeric() || f.data_type == DataType::Utf8)
            .cloned()
            .collect());
    }
    names
        .iter()
        .map(|name| {
            let found = input
                .fields
                .iter()
                .find(|f| f.name.eq_ignore_ascii_case(name));
            found
                .cloned()
                .ok_or_else(|| errors::unresolved_column(&[name], &input.names()))
        })
        .collect()
}
