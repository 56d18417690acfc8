//! Columns, struct fields, stars.

use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use pyrite_functions::type_names::key_value;
use pyrite_proto::connect::Expression;
use pyrite_proto::connect::expression::{
    ExprType, UnresolvedAttribute, UnresolvedRegex, UnresolvedStar, UpdateFields,
};
use pyrite_proto::error::SparkError;

use super::{required, text_literal};
use crate::analyzer::{Analyzer, Scope, Typed};
use crate::errors::{self, Result};
use crate::functions::engine;
use crate::resolved::ResolvedField;
use crate::sqltext;

fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || a.to_lowercase() == b.to_lowercase()
}

/// Claims that `parts` end `qualifier`: `t` and `db.t` both name `db.t`.
fn names_qualifier(qualifier: &[String], parts: &[String]) -> bool {
    parts.len() <= qualifier.len()
        && qualifier[qualifier.len() - parts.len()..]
            .iter()
            .zip(parts)
            .all(|(a, b)| same(a, b))
}

/// The column that a name means, and the struct fields inside it that follow.
type Found<'f, 'p> = (&'f ResolvedField, &'p [String]);

/// Looks a name up among columns; the most qualified reading wins, as in Spark.
fn find<'f, 'p>(fields: &'f [ResolvedField], parts: &'p [String]) -> Result<Option<Found<'f, 'p>>> {
    for split in (0..parts.len()).rev() {
        let (qualifier, rest) = parts.split_at(split);
        let mut found: Vec<&ResolvedField> = fields
            .iter()
            .filter(|f| same(&f.name, &rest[0]))
            .filter(|f| {
                if split == 0 {
                    !f.hidden
                } else {
                    names_qualifier(&f.qualifier, qualifier)
                }
            })
            .collect();
        found.dedup_by(|a, b| a.column == b.column);
        match found.as_slice() {
            [] => {}
            [one] => return Ok(Some((one, &rest[1..]))),
            many => {
                let candidates: Vec<String> = many.iter().map(|f| full_name(f)).collect();
                return Err(errors::ambiguous_reference(parts, &candidates));
            }
        }
    }
    Ok(None)
}

fn full_name(field: &ResolvedField) -> String {
    let mut parts = field.qualifier.clone();
    parts.push(field.name.clone());
    errors::quote(&parts)
}

/// Looks a column of a given DataFrame up: the one closest to it wins.
fn find_in_plan<'f, 'p>(
    fields: &'f [ResolvedField],
    parts: &'p [String],
    plan_id: i64,
) -> Result<Option<Found<'f, 'p>>> {
    let candidates: Vec<ResolvedField> = fields
        .iter()
        .filter(|f| f.plan_ids.contains(&plan_id))
        .cloned()
        .collect();
    if candidates.is_empty() {
        return Ok(None);
    }
    let distance = |f: &ResolvedField| {
        f.plan_ids
            .iter()
            .rev()
            .position(|p| *p == plan_id)
            .unwrap_or(usize::MAX)
    };
    for split in (0..parts.len()).rev() {
        let (qualifier, rest) = parts.split_at(split);
        let mut found: Vec<&ResolvedField> = fields
            .iter()
            .filter(|f| f.plan_ids.contains(&plan_id) && same(&f.name, &rest[0]))
            .filter(|f| split == 0 || names_qualifier(&f.qualifier, qualifier))
            .collect();
        let Some(closest) = found.iter().map(|f| distance(f)).min() else {
            continue;
        };
        found.retain(|f| distance(f) == closest);
        found.dedup_by(|a, b| a.column == b.column);
        return match found.as_slice() {
            [one] => Ok(Some((one, &rest[1..]))),
            _ => Err(errors::ambiguous_column(&rest[0])),
        };
    }
    Ok(None)
}

fn of_field(field: &ResolvedField) -> Typed {
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

impl Analyzer<'_> {
    /// Resolves a column by name.
    pub fn attribute(&self, attribute: &UnresolvedAttribute, scope: &Scope) -> Result<Typed> {
        if attribute.is_metadata_column == Some(true) {
            return Err(SparkError::not_supported("metadata columns"));
        }
        let parts = sqltext::identifier(&attribute.unparsed_identifier)?;
        self.named(&parts, attribute.plan_id, scope)
    }

    /// Resolves a column by the parts of its name.
    pub fn named(&self, parts: &[String], plan_id: Option<i64>, scope: &Scope) -> Result<Typed> {
        if let Some(variable) = scope.lambda.iter().rev().find(|v| same(&v.name, &parts[0])) {
            return self.descend(variable.typed.clone(), &parts[1..], scope);
        }
        if scope.aliases_first
            && let Some(typed) = self.by_alias(parts, scope)?
        {
            return Ok(typed);
        }
        if let Some(id) = plan_id
            && let Some((field, rest)) = find_in_plan(scope.fields, parts, id)?
        {
            return self.descend(of_field(field), rest, scope);
        }
        if let Some((field, rest)) = find(scope.fields, parts)? {
            return self.descend(of_field(field), rest, scope);
        }
        if !scope.aliases_first
            && let Some(typed) = self.by_alias(parts, scope)?
        {
            return Ok(typed);
        }
        if let Some(typed) = self.outer_attribute(parts, plan_id, scope)? {
            return Ok(typed);
        }
        let known: Vec<String> = scope
            .fields
            .iter()
            .filter(|f| !f.hidden)
            .map(|f| f.name.clone())
            .collect();
        Err(errors::unresolved_column(parts, &known))
    }

    /// Resolves a column of the query around a subquery.
    fn outer_attribute(
        &self,
        parts: &[String],
        plan_id: Option<i64>,
        scope: &Scope,
    ) -> Result<Option<Typed>> {
        let mut around = scope.outer;
        while let Some(outer) = around {
            let by_id = match plan_id {
                Some(id) => find_in_plan(outer.fields, parts, id)?,
                None => None,
            };
            let found = match by_id {
                Some(found) => Some(found),
                None => find(outer.fields, parts)?,
            };
            if let Some((field, rest)) = found {
                let mut typed = of_field(field);
                let arrow = Field::new(&field.column, field.data_type.clone(), field.nullable);
                let column = datafusion::common::Column::new_unqualified(&field.column);
                typed.expr = Expr::OuterReferenceColumn(arrow.into(), column);
                typed.source = None;
                typed.name = format!("outer({})", field.name);
                typed.column_name = Some(field.name.clone());
                return self.descend(typed, rest, scope).map(Some);
            }
            around = outer.outer;
        }
        Ok(None)
    }

    fn by_alias(&self, parts: &[String], scope: &Scope) -> Result<Option<Typed>> {
        let found: Vec<&Typed> = scope
            .aliases
            .iter()
            .rev()
            .filter(|a| same(a.output_name(), &parts[0]))
            .collect();
        let Some(alias) = found.first() else {
            return Ok(None);
        };
        if scope.aliases_first && found.iter().any(|other| other.expr != alias.expr) {
            // Several outputs of the name: the input's column decides, if it has one.
            return Ok(None);
        }
        let mut typed = (*alias).clone();
        typed.name = alias.output_name().to_owned();
        self.descend(typed, &parts[1..], scope).map(Some)
    }

    /// Resolves a variable of a lambda function, or a column of that name.
    pub fn lambda_variable(&self, parts: &[String], scope: &Scope) -> Result<Typed> {
        self.named(parts, None, scope)
    }

    fn descend(&self, mut typed: Typed, fields: &[String], scope: &Scope) -> Result<Typed> {
        for field in fields {
            let key = self.typed_literal(ScalarValue::Utf8(Some(field.clone())), field.clone());
            typed = self.extract(typed, key, scope)?;
            typed.column_name = Some(field.clone());
        }
        Ok(typed)
    }

    /// `child[key]` and `child.key`.
    pub fn extract(&self, child: Typed, key: Typed, scope: &Scope) -> Result<Typed> {
        let text = match &key.expr {
            Expr::Literal(ScalarValue::Utf8(Some(text)), _) => Some(text.clone()),
            _ => None,
        };
        match (&child.data_type, text) {
            (DataType::Struct(fields), Some(text)) => {
                let known: Vec<String> = fields.iter().map(|f| f.name().clone()).collect();
                let field = fields
                    .iter()
                    .find(|f| same(f.name(), &text))
                    .ok_or_else(|| errors::field_not_found(&text, &known))?;
                let name = format!("{}.{}", child.name, field.name());
                let nullable = child.nullable || field.is_nullable();
                // A field of a column is named after the field, of anything else after the text.
                let of_column = child.source.is_some() || child.column_name.is_some();
                let args = vec![child.expr, text_literal(field.name())];
                let mut typed = scope.typed(engine::call("get_field", args)?, name)?;
                typed.nullable = nullable;
                typed.column_name = of_column.then(|| field.name().clone());
                Ok(typed)
            }
            (DataType::List(item), Some(text))
                if matches!(item.data_type(), DataType::Struct(_)) =>
            {
                self.extract_from_each(child.clone(), &text, scope)
            }
            (DataType::List(_), _) => {
                let name = format!("{}[{}]", child.name, key.name);
                let index = self.coerce(key, &DataType::Int32)?;
                let mode = if self.ansi { "ansi" } else { "legacy" };
                let args = vec![child.expr, index, text_literal(mode)];
                scope.typed(engine::call("spark_array_get", args)?, name)
            }
            (DataType::Map(entries, _), _) => {
                let name = format!("{}[{}]", child.name, key.name);
                let key_type = key_value(entries).0.data_type().clone();
                let key = self.coerce(key, &key_type)?;
                scope.typed(engine::call("spark_map_get", vec![child.expr, key])?, name)
            }
            _ => Err(errors::with_condition(
                "INVALID_EXTRACT_BASE_FIELD_TYPE",
                "42000",
                format!(
                    "Can't extract a value from \"{}\". Need a complex type [STRUCT, ARRAY, MAP] but got \"{}\".",
                    child.name,
                    child.spark_type()
                ),
            )),
        }
    }

    /// `array_of_structs.field`: the array of that field.
    fn extract_from_each(&self, child: Typed, field: &str, scope: &Scope) -> Result<Typed> {
        let name = format!("{}.{field}", child.name);
        let args = vec![child.expr, text_literal(field)];
        let mut typed = scope.typed(engine::call("spark_array_field", args)?, name)?;
        typed.column_name = Some(field.to_owned());
        Ok(typed)
    }

    pub(super) fn update_fields(&self, update: &UpdateFields, scope: &Scope) -> Result<Typed> {
        let base = required(
            update.struct_expression.as_deref(),
            "UpdateFields.struct_expression",
        )?;
        let base = self.expression(base, scope)?;
        let DataType::Struct(fields) = base.data_type.clone() else {
            return Err(errors::unexpected_input(
                "update_fields",
                0,
                "STRUCT",
                &base.name,
                &base.spark_type(),
            ));
        };
        let parts = sqltext::identifier(&update.field_name)?;
        let [field_name] = parts.as_slice() else {
            return Err(SparkError::not_supported(
                "changing fields of nested structs by path",
            ));
        };
        let value = match update.value_expression.as_deref() {
            Some(value) => Some(self.expression(value, scope)?),
            None => None,
        };
        let mut args = vec![];
        let mut replaced = false;
        for field in &fields {
            let hit = same(field.name(), field_name);
            let expr = match (&value, hit) {
                (None, true) => continue,
                (Some(value), true) => {
                    replaced = true;
                    value.expr.clone()
                }
                _ => engine::call(
                    "get_field",
                    vec![base.expr.clone(), text_literal(field.name())],
                )?,
            };
            args.extend([text_literal(field.name()), expr]);
        }
        if let (Some(value), false) = (&value, replaced) {
            args.extend([text_literal(field_name), value.expr.clone()]);
        }
        if args.is_empty() {
            return Err(errors::type_mismatch(
                "CANNOT_DROP_ALL_FIELDS",
                &base.name,
                "Cannot drop all fields in struct.",
            ));
        }
        let what = match &value {
            Some(value) => format!("WithField({})", value.name),
            None => "dropfield()".to_owned(),
        };
        let name = format!("update_fields({}, {what})", base.name);
        let made = engine::call("named_struct", args)?;
        let expr = if base.nullable {
            datafusion::logical_expr::when(base.expr.is_not_null(), made)
                .end()
                .map_err(errors::from_datafusion)?
        } else {
            made
        };
        scope.typed(expr, name)
    }

    pub(super) fn star(&self, star: &UnresolvedStar, scope: &Scope) -> Result<Vec<Typed>> {
        if let Some(target) = &star.unparsed_target {
            let target = target.strip_suffix(".*").unwrap_or(target);
            let parts = sqltext::identifier(target)?;
            let found: Vec<Typed> = scope
                .fields
                .iter()
                .filter(|f| names_qualifier(&f.qualifier, &parts))
                .map(of_field)
                .collect();
            if !found.is_empty() {
                return Ok(found);
            }
            return self.struct_star(&parts, scope);
        }
        let mut found: Vec<Typed> = scope
            .fields
            .iter()
            .filter(|f| !f.hidden)
            .filter(|f| star.plan_id.is_none_or(|id| f.plan_ids.contains(&id)))
            .map(of_field)
            .collect();
        if found.is_empty() && star.plan_id.is_some() {
            found = scope
                .fields
                .iter()
                .filter(|f| !f.hidden)
                .map(of_field)
                .collect();
        }
        Ok(found)
    }

    fn struct_star(&self, parts: &[String], scope: &Scope) -> Result<Vec<Typed>> {
        let base = self.named(parts, None, scope)?;
        let DataType::Struct(fields) = base.data_type.clone() else {
            return Err(errors::with_condition(
                "INVALID_USAGE_OF_STAR_OR_REGEX",
                "42000",
                format!(
                    "Cannot expand {}.*: it is neither a table nor a struct.",
                    errors::quote(parts)
                ),
            ));
        };
        fields
            .iter()
            .map(|f| {
                let key =
                    self.typed_literal(ScalarValue::Utf8(Some(f.name().clone())), f.name().clone());
                self.extract(base.clone(), key, scope)
            })
            .collect()
    }

    /// `* EXCEPT (a, b)`
    pub(super) fn star_except(
        &self,
        arguments: &[Expression],
        scope: &Scope,
    ) -> Result<Vec<Typed>> {
        let (star, dropped) = arguments
            .split_first()
            .ok_or_else(|| errors::invalid_message("except"))?;
        let mut out = self.expand(star, scope)?;
        for expression in dropped {
            let typed = self.expression(expression, scope)?;
            out.retain(|t| t.expr != typed.expr);
        }
        Ok(out)
    }

    pub(super) fn regex(&self, regex: &UnresolvedRegex, scope: &Scope) -> Result<Vec<Typed>> {
        let pattern = regex.col_name.trim_matches('`');
        let pattern = regex::RegexBuilder::new(&format!("^(?:{pattern})$"))
            .case_insensitive(true)
            .build()
            .map_err(|e| {
                SparkError::other(format!("`{pattern}` is not a regular expression: {e}"))
            })?;
        Ok(scope
            .fields
            .iter()
            .filter(|f| !f.hidden && pattern.is_match(&f.name))
            .filter(|f| regex.plan_id.is_none_or(|id| f.plan_ids.contains(&id)))
            .map(of_field)
            .collect())
    }
}

/// The name of a plain attribute, for places that take column names.
pub(crate) fn attribute_name(expression: &Expression) -> Option<&str> {
    match &expression.expr_type {
        Some(ExprType::UnresolvedAttribute(a)) => Some(&a.unparsed_identifier),
        _ => None,
    }
}
