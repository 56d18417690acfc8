//! Short constructors for Connect messages.

use spark_connect_proto as connect;
use spark_connect_proto::expression::{self, ExprType};
use spark_connect_proto::relation::RelType;
use spark_connect_proto::{Expression, Relation, RelationCommon};

pub(crate) use spark_connect_proto::expression::literal::LiteralType;

/// Name that Spark gives to a subquery in `FROM` that has none.
pub(crate) const UNNAMED_SUBQUERY: &str = "__auto_generated_subquery_name";

pub(crate) fn expression(expr_type: ExprType) -> Expression {
    Expression {
        common: None,
        expr_type: Some(expr_type),
    }
}

pub(crate) fn literal(literal_type: LiteralType) -> Expression {
    expression(ExprType::Literal(expression::Literal {
        literal_type: Some(literal_type),
        data_type: None,
    }))
}

pub(crate) fn string(value: impl Into<String>) -> Expression {
    literal(LiteralType::String(value.into()))
}

pub(crate) fn boolean(value: bool) -> Expression {
    literal(LiteralType::Boolean(value))
}

/// A call of a function of Spark's.
pub(crate) fn call(name: &str, arguments: Vec<Expression>) -> Expression {
    expression(ExprType::UnresolvedFunction(
        expression::UnresolvedFunction {
            function_name: name.to_owned(),
            arguments,
            is_distinct: false,
            is_user_defined_function: false,
            is_internal: None,
        },
    ))
}

/// A call that stands for syntax without a message of its own.
pub(crate) fn internal_call(name: &str, arguments: Vec<Expression>) -> Expression {
    expression(ExprType::UnresolvedFunction(
        expression::UnresolvedFunction {
            function_name: name.to_owned(),
            arguments,
            is_distinct: false,
            is_user_defined_function: false,
            is_internal: Some(true),
        },
    ))
}

pub(crate) fn not(e: Expression) -> Expression {
    call("not", vec![e])
}

/// An attribute by its parts, quoted where needed.
pub(crate) fn attribute<S: AsRef<str>>(parts: &[S]) -> Expression {
    expression(ExprType::UnresolvedAttribute(
        expression::UnresolvedAttribute {
            unparsed_identifier: quote_identifier(parts),
            plan_id: None,
            is_metadata_column: None,
        },
    ))
}

pub(crate) fn star(target: Option<String>) -> Expression {
    expression(ExprType::UnresolvedStar(expression::UnresolvedStar {
        unparsed_target: target,
        plan_id: None,
    }))
}

pub(crate) fn alias(expr: Expression, names: Vec<String>) -> Expression {
    expression(ExprType::Alias(Box::new(expression::Alias {
        expr: Some(Box::new(expr)),
        name: names,
        metadata: None,
    })))
}

pub(crate) fn extract(child: Expression, extraction: Expression) -> Expression {
    expression(ExprType::UnresolvedExtractValue(Box::new(
        expression::UnresolvedExtractValue {
            child: Some(Box::new(child)),
            extraction: Some(Box::new(extraction)),
        },
    )))
}

pub(crate) fn cast(expr: Expression, to: connect::DataType, is_try: bool) -> Expression {
    let mode = if is_try {
        expression::cast::EvalMode::Try
    } else {
        expression::cast::EvalMode::Unspecified
    };
    expression(ExprType::Cast(Box::new(expression::Cast {
        expr: Some(Box::new(expr)),
        eval_mode: mode as i32,
        cast_to_type: Some(expression::cast::CastToType::Type(to)),
    })))
}

pub(crate) fn relation(rel_type: RelType) -> Relation {
    Relation {
        common: None,
        rel_type: Some(rel_type),
    }
}

/// Gives a relation the id by which subquery expressions find it.
pub(crate) fn with_plan_id(mut relation: Relation, plan_id: i64) -> Relation {
    relation
        .common
        .get_or_insert_with(RelationCommon::default)
        .plan_id = Some(plan_id);
    relation
}

pub(crate) fn project(input: Option<Relation>, expressions: Vec<Expression>) -> Relation {
    relation(RelType::Project(Box::new(connect::Project {
        input: input.map(Box::new),
        expressions,
    })))
}

pub(crate) fn filter(input: Relation, condition: Expression) -> Relation {
    relation(RelType::Filter(Box::new(connect::Filter {
        input: Some(Box::new(input)),
        condition: Some(condition),
    })))
}

pub(crate) fn subquery_alias(input: Relation, name: impl Into<String>) -> Relation {
    relation(RelType::SubqueryAlias(Box::new(connect::SubqueryAlias {
        input: Some(Box::new(input)),
        alias: name.into(),
        qualifier: Vec::new(),
    })))
}

pub(crate) fn to_df(input: Relation, column_names: Vec<String>) -> Relation {
    if column_names.is_empty() {
        return input;
    }
    relation(RelType::ToDf(Box::new(connect::ToDf {
        input: Some(Box::new(input)),
        column_names,
    })))
}

pub(crate) fn table_function(name: &str, arguments: Vec<Expression>) -> Relation {
    relation(RelType::UnresolvedTableValuedFunction(
        connect::UnresolvedTableValuedFunction {
            function_name: name.to_owned(),
            arguments,
        },
    ))
}

pub(crate) fn named_table(
    parts: &[String],
    options: std::collections::HashMap<String, String>,
) -> Relation {
    relation(RelType::Read(connect::Read {
        is_streaming: false,
        read_type: Some(connect::read::ReadType::NamedTable(
            connect::read::NamedTable {
                unparsed_identifier: quote_identifier(parts),
                options,
            },
        )),
    }))
}

/// Joins the parts of a name with dots, in backticks where they are not plain identifiers.
pub fn quote_identifier<S: AsRef<str>>(parts: &[S]) -> String {
    let quoted: Vec<String> = parts.iter().map(|part| quote_part(part.as_ref())).collect();
    quoted.join(".")
}

fn quote_part(part: &str) -> String {
    let mut chars = part.chars();
    let plain = chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || c == '_');
    if plain {
        part.to_owned()
    } else {
        format!("`{}`", part.replace('`', "``"))
    }
}
