//! Relations that rename, cut or pass on.

use datafusion::logical_expr::{Expr, LogicalPlanBuilder, Partitioning};
use pyrite_proto::connect;
use pyrite_proto::connect::Relation;
use pyrite_proto::error::SparkError;

use super::build;
use super::project::passed_through;
use crate::analyzer::{Analyzer, Scope, Typed};
use crate::errors::{self, Result, from_datafusion};
use crate::finish::Finish;
use crate::resolved::{ResolvedField, ResolvedPlan};
use crate::types;

fn same(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

impl Analyzer<'_> {
    pub(super) fn subquery_alias(
        &self,
        alias: &connect::SubqueryAlias,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let mut input = self.input(alias.input.as_deref(), outer)?;
        input.fields.retain(|f| !f.hidden);
        let mut qualifier = alias.qualifier.clone();
        qualifier.push(alias.alias.clone());
        for field in &mut input.fields {
            field.qualifier.clone_from(&qualifier);
        }
        super::missing::keep_fields(input)
    }

    pub(super) fn to_df(
        &self,
        to_df: &connect::ToDf,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let input = self.input(to_df.input.as_deref(), outer)?;
        let count = input.visible().count();
        if count != to_df.column_names.len() {
            return Err(errors::with_condition(
                "ASSIGNMENT_ARITY_MISMATCH",
                "42802",
                format!(
                    "The number of columns or variables assigned or aliased: {} does not match the number of source expressions: {count}.",
                    to_df.column_names.len()
                ),
            ));
        }
        let items = input
            .visible()
            .zip(&to_df.column_names)
            .map(|(field, name)| renamed(field, name))
            .collect();
        self.project_items(input, items, vec![])
            .map(|(plan, _)| plan)
    }

    pub(super) fn with_columns_renamed(
        &self,
        rename: &connect::WithColumnsRenamed,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let input = self.input(rename.input.as_deref(), outer)?;
        let old_form = rename.rename_columns_map.iter();
        let pairs: Vec<(String, String)> = rename
            .renames
            .iter()
            .map(|r| (r.col_name.clone(), r.new_col_name.clone()))
            .chain(old_form.map(|(a, b)| (a.clone(), b.clone())))
            .collect();
        let items = input
            .visible()
            .map(|field| {
                let mut name = field.name.clone();
                for (from, to) in &pairs {
                    if same(&name, from) {
                        name.clone_from(to);
                    }
                }
                if name == field.name {
                    passed_through(field)
                } else {
                    renamed(field, &name)
                }
            })
            .collect();
        self.project_items(input, items, vec![])
            .map(|(plan, _)| plan)
    }

    pub(super) fn drop_columns(
        &self,
        drop: &connect::Drop,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let input = self.input(drop.input.as_deref(), outer)?;
        let mut gone: Vec<Expr> = vec![];
        {
            let scope = Scope::of(&input, outer);
            for expression in &drop.columns {
                // A column that is not there is no error.
                match self.expression(expression, &scope) {
                    Ok(typed) => gone.push(typed.expr),
                    Err(e) if e.condition.starts_with("UNRESOLVED_COLUMN") => {}
                    Err(e) => return Err(e),
                }
            }
        }
        let items: Vec<Typed> = input
            .visible()
            .filter(|f| !drop.column_names.iter().any(|n| same(n, &f.name)))
            .filter(|f| !gone.contains(&f.expr()))
            .map(passed_through)
            .collect();
        self.project_items(input, items, vec![])
            .map(|(plan, _)| plan)
    }

    pub(super) fn to_schema(
        &self,
        to: &connect::ToSchema,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let input = self.input(to.input.as_deref(), outer)?;
        let schema = to
            .schema
            .as_ref()
            .ok_or_else(|| errors::invalid_message("ToSchema.schema"))?;
        let Some(connect::data_type::Kind::Struct(structure)) = &schema.kind else {
            return Err(errors::invalid_message("a struct in ToSchema.schema"));
        };
        let mut items = vec![];
        for field in types::struct_fields(structure)?.iter() {
            let source = input.visible().find(|f| same(&f.name, field.name()));
            let Some(source) = source else {
                return Err(errors::unresolved_column(&[field.name()], &input.names()));
            };
            let typed = passed_through(source);
            let nullable = source.nullable;
            let expr = self.coerce(typed.clone(), field.data_type())?;
            items.push(Typed {
                expr,
                data_type: field.data_type().clone(),
                nullable,
                source: None,
                ..typed.renamed(field.name())
            });
        }
        self.project_items(input, items, vec![])
            .map(|(plan, _)| plan)
    }

    /// Rows as a table takes them: by place, or into the named columns, the rest null.
    pub(crate) fn for_table(
        &self,
        input: ResolvedPlan,
        wanted: &[ResolvedField],
        columns: &[String],
        table: &[String],
    ) -> Result<ResolvedPlan> {
        let given: Vec<ResolvedField> = input.visible().cloned().collect();
        let expected = if columns.is_empty() {
            wanted.len()
        } else {
            columns.len()
        };
        if given.len() != expected {
            let sub = if given.len() > expected {
                "TOO_MANY_DATA_COLUMNS"
            } else {
                "NOT_ENOUGH_DATA_COLUMNS"
            };
            return Err(errors::with_condition(
                &format!("INSERT_COLUMN_ARITY_MISMATCH.{sub}"),
                "21S01",
                format!(
                    "Cannot write to {}: the table takes {expected} columns, the data has {}.",
                    errors::quote(table),
                    given.len()
                ),
            ));
        }
        let mut items = vec![];
        for (index, field) in wanted.iter().enumerate() {
            let place = match columns.is_empty() {
                true => Some(index),
                false => columns.iter().position(|c| same(c, &field.name)),
            };
            let expr = match place.and_then(|p| given.get(p)) {
                Some(source) => self.coerce(passed_through(source), &field.data_type)?,
                None => {
                    let null = datafusion::common::ScalarValue::try_from(&field.data_type);
                    Expr::Literal(null.map_err(from_datafusion)?, None)
                }
            };
            items.push(Typed {
                expr,
                nullable: true,
                source: None,
                ..passed_through(field).renamed(&field.name)
            });
        }
        self.project_items(input, items, vec![])
            .map(|(plan, _)| plan)
    }

    pub(super) fn deduplicate(
        &self,
        deduplicate: &connect::Deduplicate,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let input = self.input(deduplicate.input.as_deref(), outer)?;
        if deduplicate.within_watermark == Some(true) {
            return Err(SparkError::not_supported("dropDuplicatesWithinWatermark"));
        }
        let input = drop_hidden(input)?;
        if deduplicate.all_columns_as_keys == Some(true) || deduplicate.column_names.is_empty() {
            let plan = build(LogicalPlanBuilder::from(input.plan.clone()).distinct())?;
            return Ok(input.over(plan));
        }
        let mut keys = vec![];
        for name in &deduplicate.column_names {
            let found: Vec<&ResolvedField> =
                input.visible().filter(|f| same(&f.name, name)).collect();
            if found.is_empty() {
                return Err(errors::unresolved_column(&[name], &input.names()));
            }
            keys.extend(found.into_iter().map(|f| f.expr()));
        }
        let all = input.fields.iter().map(|f| f.expr()).collect::<Vec<_>>();
        let plan =
            build(LogicalPlanBuilder::from(input.plan.clone()).distinct_on(keys, all, None))?;
        Ok(input.over(plan))
    }

    pub(super) fn repartition(
        &self,
        repartition: &connect::Repartition,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let input = self.input(repartition.input.as_deref(), outer)?;
        let count = usize::try_from(repartition.num_partitions)
            .ok()
            .filter(|n| *n > 0);
        let count = count.ok_or_else(|| {
            errors::with_condition(
                "INVALID_NUMBER_OF_PARTITIONS",
                "42000",
                format!(
                    "Number of partitions ({}) must be positive.",
                    repartition.num_partitions
                ),
            )
        })?;
        let partitioning = Partitioning::RoundRobinBatch(count);
        let plan = build(LogicalPlanBuilder::from(input.plan.clone()).repartition(partitioning))?;
        Ok(input.over(plan))
    }

    pub(super) fn repartition_by(
        &self,
        repartition: &connect::RepartitionByExpression,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let input = self.input(repartition.input.as_deref(), outer)?;
        let count = repartition
            .num_partitions
            .and_then(|n| usize::try_from(n).ok());
        let count = count.filter(|n| *n > 0).unwrap_or(self.partitions);
        let scope = Scope::of(&input, outer);
        let mut keys = vec![];
        for expression in &repartition.partition_exprs {
            keys.push(self.expression(expression, &scope)?.expr);
        }
        let partitioning = if keys.is_empty() {
            Partitioning::RoundRobinBatch(count)
        } else {
            Partitioning::Hash(keys, count)
        };
        let plan = build(LogicalPlanBuilder::from(input.plan.clone()).repartition(partitioning))?;
        Ok(input.over(plan))
    }

    pub(super) fn sample(
        &self,
        sample: &connect::Sample,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let input = self.input(sample.input.as_deref(), outer)?;
        if sample.with_replacement == Some(true) {
            return Err(SparkError::not_supported("sampling with replacement"));
        }
        let (low, high) = (sample.lower_bound, sample.upper_bound);
        let seed = sample.seed.unwrap_or_else(|| self.now.timestamp_micros());
        let seed = datafusion::logical_expr::lit(seed);
        let random = crate::functions::engine::random("spark_rand", seed)?;
        let name = crate::analyzer::unique_name("sample");
        let mut columns: Vec<Expr> = input.fields.iter().map(|f| f.expr()).collect();
        columns.push(random.alias(&name));
        let drawn = crate::analyzer::column(&name);
        let inside = drawn
            .clone()
            .gt_eq(datafusion::logical_expr::lit(low))
            .and(drawn.lt(datafusion::logical_expr::lit(high)));
        let plan = LogicalPlanBuilder::from(input.plan.clone())
            .project(columns)
            .and_then(|b| b.filter(inside));
        let plan = build(plan)?;
        super::missing::keep_fields(input.over(plan))
    }

    pub(super) fn tail(&self, tail: &connect::Tail, outer: Option<&Scope>) -> Result<ResolvedPlan> {
        let mut input = self.input(tail.input.as_deref(), outer)?;
        let rows = super::non_negative(tail.limit, "limit")?;
        let schema = types::struct_of(input.visible())?;
        input.finish = Some(Finish::Tail { rows, schema });
        Ok(input)
    }

    pub(super) fn show_string(
        &self,
        show: &connect::ShowString,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let input = self.input(show.input.as_deref(), outer)?;
        let rows = usize::try_from(show.num_rows).unwrap_or(0);
        let names = input.names();
        let mut limited = super::limited(drop_hidden(input)?, 0, Some(rows.saturating_add(1)))?;
        limited.finish = Some(Finish::Show {
            rows,
            truncate: usize::try_from(show.truncate).unwrap_or(0),
            vertical: show.vertical,
            names,
            time_zone: self.time_zone.clone(),
        });
        Ok(limited)
    }

    pub(super) fn html_string(
        &self,
        html: &connect::HtmlString,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let input = self.input(html.input.as_deref(), outer)?;
        let rows = usize::try_from(html.num_rows).unwrap_or(0);
        let names = input.names();
        let mut limited = super::limited(drop_hidden(input)?, 0, Some(rows.saturating_add(1)))?;
        limited.finish = Some(Finish::Html {
            rows,
            truncate: usize::try_from(html.truncate).unwrap_or(0),
            names,
            time_zone: self.time_zone.clone(),
        });
        Ok(limited)
    }

    pub(super) fn range(&self, range: &connect::Range) -> Result<ResolvedPlan> {
        let start = range.start.unwrap_or(0);
        let partitions = range.num_partitions.and_then(|n| usize::try_from(n).ok());
        let partitions = partitions.filter(|n| *n > 0).unwrap_or(self.partitions);
        let table = crate::range::RangeTable::try_new(start, range.end, range.step, partitions)?;
        let (plan, fields) =
            crate::analyzer::scan("range", &table.content(), std::sync::Arc::new(table))?;
        Ok(ResolvedPlan::new(plan, fields))
    }

    pub(super) fn with_relations(
        &self,
        with: &connect::WithRelations,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let before = self.references.borrow().len();
        for reference in &with.references {
            self.add_reference(reference);
        }
        let root = with.root.as_deref();
        let plan = self.input(root, outer);
        self.references.borrow_mut().truncate(before);
        plan
    }

    fn add_reference(&self, relation: &Relation) {
        let id = relation
            .common
            .as_ref()
            .and_then(|c| c.plan_id)
            .unwrap_or(-1);
        self.references.borrow_mut().push((id, relation.clone()));
    }
}

/// A column under another name.
pub(super) fn renamed(field: &ResolvedField, name: &str) -> Typed {
    let mut typed = passed_through(field).renamed(name);
    typed.aliased = true;
    typed
}

/// Drops columns that only qualified names reach.
pub(super) fn drop_hidden(mut input: ResolvedPlan) -> Result<ResolvedPlan> {
    if input.fields.iter().all(|f| !f.hidden) {
        return super::missing::keep_fields(input);
    }
    input.fields.retain(|f| !f.hidden);
    let columns: Vec<Expr> = input.fields.iter().map(|f| f.expr()).collect();
    let plan = LogicalPlanBuilder::from(input.plan.clone())
        .project(columns)
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)?;
    Ok(input.over(plan))
}
