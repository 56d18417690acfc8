//! Functions that make rows: `explode` and its kin, in select lists and in `FROM`.

use arrow::datatypes::DataType;
use datafusion::common::{Column, UnnestOptions};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, lit};
use pyrite_functions::type_names::key_value;
use pyrite_proto::connect::expression::{ExprType, UnresolvedAttribute};
use pyrite_proto::connect::join::JoinType as SparkJoin;
use pyrite_proto::connect::relation::RelType;
use pyrite_proto::connect::{self, Expression, Relation};
use pyrite_proto::error::SparkError;

use super::build;
use crate::analyzer::{Analyzer, Scope, Typed, column, unique_name};
use crate::errors::{self, Result, from_datafusion};
use crate::functions::engine;
use crate::resolved::{ResolvedField, ResolvedPlan};
use crate::sqltext;
use crate::udf;

/// A generator call in a select list.
struct Generator {
    name: String,
    arguments: Vec<Expression>,
    aliases: Vec<String>,
}

impl Generator {
    fn is_outer(&self) -> bool {
        self.name.ends_with("_outer")
    }

    fn of(expression: &Expression) -> Result<Option<Self>> {
        let (inner, aliases) = match &expression.expr_type {
            Some(ExprType::Alias(alias)) => (alias.expr.as_deref(), alias.name.clone()),
            Some(ExprType::ExpressionString(text)) => {
                return Self::of(&sqltext::expression(&text.expression)?);
            }
            _ => (Some(expression), vec![]),
        };
        let Some(Some(ExprType::UnresolvedFunction(call))) = inner.map(|e| &e.expr_type) else {
            return Ok(None);
        };
        let name = call.function_name.to_lowercase();
        Ok(is_generator(&name).then(|| Self {
            name,
            arguments: call.arguments.clone(),
            aliases,
        }))
    }
}

fn is_generator(name: &str) -> bool {
    matches!(
        name,
        "explode"
            | "explode_outer"
            | "posexplode"
            | "posexplode_outer"
            | "inline"
            | "inline_outer"
            | "stack"
    )
}

impl Analyzer<'_> {
    /// Replaces generators in a select list by columns of an unnested input.
    pub(super) fn generators(
        &self,
        input: ResolvedPlan,
        expressions: &[Expression],
        outer: Option<&Scope>,
    ) -> Result<(ResolvedPlan, Vec<Expression>)> {
        let mut input = input;
        let mut out = vec![];
        for expression in expressions {
            let Some(generator) = Generator::of(expression)? else {
                out.push(expression.clone());
                continue;
            };
            let visible = input.fields.len();
            input = self.generate(input, &generator, outer)?;
            for field in &mut input.fields[visible..] {
                // Reached by id only: the select list's star must not see them.
                let id = -(unique_name("")
                    .trim_start_matches(['_', '#'])
                    .parse::<i64>()
                    .unwrap_or(1));
                field.plan_ids = vec![id];
                field.hidden = true;
                out.push(by_id(&field.name, id));
            }
        }
        Ok((input, out))
    }

    /// Adds the columns of a generator to its input.
    fn generate(
        &self,
        input: ResolvedPlan,
        generator: &Generator,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let scope = Scope::of(&input, outer);
        let mut args: Vec<Typed> = vec![];
        for argument in &generator.arguments {
            args.push(self.expression(argument, &scope)?);
        }
        let value = if generator.name == "stack" {
            self.stacked(&args, &scope)?
        } else {
            let count = args.len();
            let mut args = args.into_iter();
            match (args.next(), count) {
                (Some(value), 1) => value,
                _ => return Err(errors::wrong_arguments(&generator.name, "1", count)),
            }
        };
        let shape = Shape::of(&generator.name, &value)?;
        let (item, place) = (unique_name("item"), unique_name("pos"));
        let mut list = shape.list(&value)?;
        if generator.is_outer() {
            let empty = engine::call("spark_size", vec![list.clone()])?.eq(lit(0));
            let typed = scope.typed(list.clone(), "")?;
            let null = datafusion::common::ScalarValue::try_from(&typed.data_type)
                .map_err(from_datafusion)?;
            list = datafusion::logical_expr::when(empty, lit(null))
                .otherwise(list)
                .map_err(from_datafusion)?;
        }
        let mut exprs = vec![list];
        let plan = udf::extract(input.plan.clone(), &mut exprs, self)?;
        let [list] =
            <[Expr; 1]>::try_from(exprs).map_err(|_| SparkError::other("a generator got lost"))?;
        let mut columns: Vec<Expr> = input.fields.iter().map(|f| f.expr()).collect();
        let mut unnested = vec![Column::new_unqualified(&item)];
        if shape.with_position {
            columns.push(engine::call("spark_positions", vec![list.clone()])?.alias(&place));
            unnested.push(Column::new_unqualified(&place));
        }
        columns.push(list.alias(&item));
        let options = UnnestOptions::new().with_preserve_nulls(generator.is_outer());
        let plan = LogicalPlanBuilder::from(plan)
            .project(columns)
            .and_then(|b| b.unnest_columns_with_options(unnested, options));
        let plan = build(plan)?;
        self.name_generated(input, plan, &shape, generator, (&item, &place))
    }

    /// Gives the generated values their names.
    fn name_generated(
        &self,
        input: ResolvedPlan,
        plan: datafusion::logical_expr::LogicalPlan,
        shape: &Shape,
        generator: &Generator,
        (item, place): (&str, &str),
    ) -> Result<ResolvedPlan> {
        let outer = generator.is_outer();
        let mut fields = input.fields;
        let mut exprs: Vec<Expr> = fields.iter().map(|f| f.expr()).collect();
        let mut made: Vec<(String, DataType, bool, Expr)> = vec![];
        if shape.with_position {
            made.push(("pos".into(), DataType::Int32, outer, column(place)));
        }
        for (name, data_type, nullable, key) in &shape.columns {
            let expr = match key {
                None => column(item),
                Some(key) => engine::call("get_field", vec![column(item), lit(key.as_str())])?,
            };
            made.push((name.clone(), data_type.clone(), *nullable || outer, expr));
        }
        if !generator.aliases.is_empty() && generator.aliases.len() != made.len() {
            return Err(errors::with_condition(
                "UDTF_ALIAS_NUMBER_MISMATCH",
                "42802",
                format!(
                    "The number of aliases supplied in the AS clause does not match the number of columns output by the UDTF. Expected {} aliases, but got {}. Please ensure that the number of aliases provided matches the number of columns output by the UDTF.",
                    made.len(),
                    generator.aliases.join(",")
                ),
            ));
        }
        for (index, (name, data_type, nullable, expr)) in made.into_iter().enumerate() {
            let name = generator.aliases.get(index).unwrap_or(&name);
            let field = ResolvedField::new(name, data_type, nullable);
            exprs.push(expr.alias(&field.column));
            fields.push(field);
        }
        let plan = build(LogicalPlanBuilder::from(plan).project(exprs))?;
        Ok(ResolvedPlan::new(plan, fields))
    }

    /// `stack(n, v1, v2, ...)` as an array of structs.
    fn stacked(&self, args: &[Typed], scope: &Scope) -> Result<Typed> {
        let (rows, values) = args
            .split_first()
            .ok_or_else(|| errors::wrong_arguments("stack", "> 1", 0))?;
        let rows = rows.name.parse::<usize>().ok().filter(|n| *n > 0);
        let rows = rows.ok_or_else(|| {
            SparkError::not_supported("stack with a row count that is no literal")
        })?;
        let width = values.len().div_ceil(rows);
        let mut columns: Vec<Vec<Expr>> = vec![];
        for index in 0..width {
            let mut column: Vec<Typed> = vec![];
            for row in 0..rows {
                column.push(match values.get(row * width + index) {
                    Some(value) => value.clone(),
                    None => {
                        self.typed_literal(datafusion::common::ScalarValue::Null, "NULL".into())
                    }
                });
            }
            columns.push(self.unify(column, "stack(...)")?.0);
        }
        let mut structs = vec![];
        for row in 0..rows {
            let mut parts = vec![];
            for (index, column) in columns.iter().enumerate() {
                parts.extend([lit(format!("col{index}")), column[row].clone()]);
            }
            structs.push(engine::call("named_struct", parts)?);
        }
        scope.typed(engine::call("make_array", structs)?, "stack")
    }

    /// A function in `FROM`.
    pub(super) fn table_function(
        &self,
        function: &connect::UnresolvedTableValuedFunction,
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let name = function.function_name.to_lowercase();
        if name == "values" {
            return self.values(&function.arguments, outer);
        }
        if name == "range" {
            return self.range_function(&function.arguments, outer);
        }
        if !is_generator(&name) {
            return Err(errors::with_condition(
                "UNRESOLVABLE_TABLE_VALUED_FUNCTION",
                "42883",
                format!(
                    "Could not resolve {} to a table-valued function.\nPlease make sure that {} is defined as a table-valued function and that all required parameters are provided correctly.\nIf {} is not defined, please create the table-valued function before using it.\nFor more information about defining table-valued functions, please refer to the Apache Spark documentation.",
                    errors::quote(&[&name]),
                    errors::quote(&[&name]),
                    errors::quote(&[&name])
                ),
            ));
        }
        let generator = Generator {
            name,
            arguments: function.arguments.clone(),
            aliases: vec![],
        };
        let empty = self.project_input(None, outer)?;
        self.generate(empty, &generator, outer)
    }

    fn range_function(
        &self,
        arguments: &[Expression],
        outer: Option<&Scope>,
    ) -> Result<ResolvedPlan> {
        let scope = Scope::empty(outer);
        let mut numbers = vec![];
        for argument in arguments {
            let typed = self.expression(argument, &scope)?;
            let number = typed.name.parse::<i64>();
            numbers.push(
                number.map_err(|_| {
                    SparkError::not_supported("range of values that are no literals")
                })?,
            );
        }
        let (start, end, step) = match numbers.as_slice() {
            [end] => (0, *end, 1),
            [start, end] => (*start, *end, 1),
            [start, end, step, ..] => (*start, *end, *step),
            [] => return Err(errors::wrong_arguments("range", "[1, 2, 3, 4]", 0)),
        };
        let num_partitions = numbers.get(3).and_then(|n| i32::try_from(*n).ok());
        self.range(&connect::Range {
            start: Some(start),
            end,
            step,
            num_partitions,
        })
    }

    /// `VALUES`: a struct for each row.
    fn values(&self, rows: &[Expression], outer: Option<&Scope>) -> Result<ResolvedPlan> {
        let scope = Scope::empty(outer);
        let mut table: Vec<Vec<Typed>> = vec![];
        for row in rows {
            let Some(ExprType::UnresolvedFunction(call)) = &row.expr_type else {
                return Err(errors::invalid_message("a row of VALUES"));
            };
            let cells = call.arguments.iter().map(|c| self.expression(c, &scope));
            table.push(cells.collect::<Result<_>>()?);
        }
        let width = table.first().map_or(0, Vec::len);
        if table.iter().any(|r| r.len() != width) {
            return Err(errors::with_condition(
                "INVALID_INLINE_TABLE.NUM_COLUMNS_MISMATCH",
                "42000",
                "Invalid inline table. Inline table expected the same number of columns in every row.",
            ));
        }
        let mut columns = vec![];
        let mut fields = vec![];
        for index in 0..width {
            let cells: Vec<Typed> = table.iter().map(|row| row[index].clone()).collect();
            let nullable = cells.iter().any(|c| c.nullable);
            let (exprs, data_type) = self.unify(cells, "VALUES")?;
            fields.push(ResolvedField::new(
                &format!("col{}", index + 1),
                data_type,
                nullable,
            ));
            columns.push(exprs);
        }
        let rows: Vec<Vec<Expr>> = (0..table.len())
            .map(|row| columns.iter().map(|c| c[row].clone()).collect())
            .collect();
        let values = LogicalPlanBuilder::values(rows).map_err(from_datafusion)?;
        let exprs: Vec<Expr> = fields
            .iter()
            .enumerate()
            .map(|(i, f)| column(&format!("column{}", i + 1)).alias(&f.column))
            .collect();
        let plan = build(values.project(exprs))?;
        Ok(ResolvedPlan::new(plan, fields))
    }

    /// A lateral join with a generator needs no join at all.
    pub(super) fn lateral_generator(
        &self,
        left: &ResolvedPlan,
        right: &Relation,
        kind: SparkJoin,
        outer: Option<&Scope>,
    ) -> Result<Option<ResolvedPlan>> {
        let Some((mut generator, qualifier)) = generator_of(right) else {
            return Ok(None);
        };
        if kind == SparkJoin::LeftOuter && !generator.is_outer() {
            generator.name.push_str("_outer");
        }
        let count = left.fields.len();
        let mut plan = self.generate(left.clone(), &generator, outer)?;
        if let Some(qualifier) = qualifier {
            for field in &mut plan.fields[count..] {
                field.qualifier = vec![qualifier.clone()];
            }
        }
        Ok(Some(plan))
    }
}

/// A reference to a generated column.
fn by_id(name: &str, id: i64) -> Expression {
    Expression {
        common: None,
        expr_type: Some(ExprType::UnresolvedAttribute(UnresolvedAttribute {
            unparsed_identifier: errors::quote(&[name]),
            plan_id: Some(id),
            is_metadata_column: None,
        })),
    }
}

/// The generator inside the right side of a `LATERAL VIEW`, with its table's name.
fn generator_of(right: &Relation) -> Option<(Generator, Option<String>)> {
    let (inner, qualifier) = match &right.rel_type {
        Some(RelType::SubqueryAlias(alias)) => (alias.input.as_deref()?, Some(alias.alias.clone())),
        _ => (right, None),
    };
    let (inner, aliases) = match &inner.rel_type {
        Some(RelType::ToDf(to_df)) => (to_df.input.as_deref()?, to_df.column_names.clone()),
        _ => (inner, vec![]),
    };
    let Some(RelType::UnresolvedTableValuedFunction(function)) = &inner.rel_type else {
        return None;
    };
    let name = function.function_name.to_lowercase();
    is_generator(&name).then(|| {
        (
            Generator {
                name,
                arguments: function.arguments.clone(),
                aliases,
            },
            qualifier,
        )
    })
}

/// What comes out of a generator.
struct Shape {
    with_position: bool,
    is_map: bool,
    /// Name, type, nullability, field inside the item (or the item itself).
    columns: Vec<(String, DataType, bool, Option<String>)>,
}

impl Shape {
    fn of(name: &str, value: &Typed) -> Result<Self> {
        let with_position = name.starts_with("posexplode");
        let wrong = |wanted: &str| {
            errors::unexpected_input(
                &format!("{name}({})", value.name),
                0,
                wanted,
                &value.name,
                &value.spark_type(),
            )
        };
        let explodes = name.contains("explode");
        let columns = match &value.data_type {
            DataType::Map(entries, _) if explodes => {
                let (key, val) = key_value(entries);
                vec![
                    (
                        "key".to_owned(),
                        key.data_type().clone(),
                        false,
                        Some(key.name().clone()),
                    ),
                    (
                        "value".to_owned(),
                        val.data_type().clone(),
                        val.is_nullable(),
                        Some(val.name().clone()),
                    ),
                ]
            }
            DataType::List(item) if explodes => {
                vec![(
                    "col".to_owned(),
                    item.data_type().clone(),
                    item.is_nullable(),
                    None,
                )]
            }
            DataType::List(item) => match item.data_type() {
                DataType::Struct(fields) => fields
                    .iter()
                    .map(|f| {
                        let name = f.name().clone();
                        let nullable = f.is_nullable() || item.is_nullable();
                        (name.clone(), f.data_type().clone(), nullable, Some(name))
                    })
                    .collect(),
                _ => return Err(wrong("ARRAY<STRUCT>")),
            },
            _ if explodes => return Err(wrong("ARRAY\" or \"MAP")),
            _ => return Err(wrong("ARRAY<STRUCT>")),
        };
        Ok(Self {
            with_position,
            is_map: matches!(value.data_type, DataType::Map(_, _)),
            columns,
        })
    }

    fn list(&self, value: &Typed) -> Result<Expr> {
        if self.is_map {
            return engine::call("map_entries", vec![value.expr.clone()]);
        }
        Ok(value.expr.clone())
    }
}
