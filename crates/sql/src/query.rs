//! Queries: common table expressions, set operations, order and limit.

use std::collections::HashMap;

use pyrite_proto::error::SparkError;
use spark_connect_proto as connect;
use spark_connect_proto::expression::ExprType;
use spark_connect_proto::relation::RelType;
use spark_connect_proto::set_operation::SetOpType;
use spark_connect_proto::{Expression, Relation};

use crate::error::{Result, parse_error};
use crate::lexer::TokenKind;
use crate::message::{
    LiteralType, call, named_table, relation, subquery_alias, table_function, to_df,
};
use crate::parser::Parser;
use crate::window::ascending;

impl Parser<'_> {
    /// Whether a query begins here.
    pub(crate) fn is_query_start(&self) -> bool {
        self.is_query_at(0)
    }

    /// Whether a query begins `ahead` tokens on, opening parentheses aside.
    pub(crate) fn is_query_at(&self, mut ahead: usize) -> bool {
        while self.is_symbol_at(ahead, "(") {
            ahead += 1;
        }
        let word = |w| self.is_word_at(ahead, w);
        let named = matches!(
            self.peek_at(ahead + 1),
            TokenKind::Word(_) | TokenKind::Quoted(_)
        );
        word("select")
            || (word("with") && named)
            || (word("from") && (named || self.is_symbol_at(ahead + 1, "(")))
            || (word("values")
                && !self.is_symbol_at(ahead + 1, ",")
                && !self.is_symbol_at(ahead + 1, ")"))
            || (word("table") && named)
    }

    /// A whole query, with the subqueries that its expressions refer to.
    pub(crate) fn query(&mut self) -> Result<Relation> {
        self.nested(|p| {
            let scopes = p.ctes.len();
            p.references.push(Vec::new());
            let parsed = p.query_here();
            p.ctes.truncate(scopes);
            let references = p.references.pop().unwrap_or_default();
            Ok(with_relations(parsed?, references))
        })
    }

    fn query_here(&mut self) -> Result<Relation> {
        if self.eat_word("with") {
            self.common_table_expressions()?;
        }
        let body = self.set_operations(0)?;
        let organized = self.organization(body)?;
        self.pipes(organized)
    }

    /// What follows `WITH`; opens a scope that the caller closes.
    pub(crate) fn common_table_expressions(&mut self) -> Result<()> {
        if self.is_word("recursive") && !self.is_word_at(1, "as") && !self.is_symbol_at(1, "(") {
            return Err(SparkError::not_supported("WITH RECURSIVE"));
        }
        self.ctes.push(HashMap::new());
        self.comma_separated(|p| {
            let name = p.identifier()?;
            let columns = if p.is_symbol("(") && !p.is_query_at(1) {
                p.parenthesized(Self::identifier)?
            } else {
                Vec::new()
            };
            p.eat_word("as");
            p.expect_symbol("(")?;
            let query = p.query()?;
            p.expect_symbol(")")?;
            let scope = p.ctes.last_mut().expect("pushed above");
            if scope
                .insert(name.to_lowercase(), to_df(query, columns))
                .is_some()
            {
                return Err(parse_error(
                    "DUPLICATED_CTE_NAMES",
                    "42602",
                    format!("CTE definition can't have duplicate names: `{name}`."),
                )
                .with("duplicateNames", format!("`{name}`")));
            }
            Ok(())
        })?;
        Ok(())
    }

    /// The query of a common table expression in scope, and its name.
    pub(crate) fn common_table_expression(&self, parts: &[String]) -> Option<(String, Relation)> {
        let [name] = parts else { return None };
        let key = name.to_lowercase();
        let found = self.ctes.iter().rev().find_map(|scope| scope.get(&key))?;
        Some((name.clone(), found.clone()))
    }

    /// Set operations that bind tighter than `floor`; `INTERSECT` binds tighter than the others.
    fn set_operations(&mut self, floor: u8) -> Result<Relation> {
        let left = self.primary_query()?;
        self.set_operations_onto(left, floor)
    }

    pub(crate) fn set_operations_onto(
        &mut self,
        mut left: Relation,
        floor: u8,
    ) -> Result<Relation> {
        loop {
            let (operation, binding) = if self.is_word("union") {
                (SetOpType::Union, 1)
            } else if self.is_any_word(&["except", "minus"]) {
                (SetOpType::Except, 1)
            } else if self.is_word("intersect") {
                (SetOpType::Intersect, 2)
            } else {
                return Ok(left);
            };
            if binding <= floor {
                return Ok(left);
            }
            self.advance();
            let is_all = self.eat_word("all");
            if !is_all {
                self.eat_word("distinct");
            }
            let by_name = self.eat_words(&["by", "name"]);
            let right = self.nested(|p| p.set_operations(binding))?;
            left = relation(RelType::SetOp(Box::new(connect::SetOperation {
                left_input: Some(Box::new(left)),
                right_input: Some(Box::new(right)),
                set_op_type: operation as i32,
                is_all: Some(is_all),
                by_name: Some(by_name),
                allow_missing_columns: Some(false),
            })));
        }
    }

    fn primary_query(&mut self) -> Result<Relation> {
        if self.is_word("select") {
            return self.select(None);
        }
        if self.eat_word("from") {
            let input = self.relations()?;
            if !self.is_word("select") {
                // The pipe syntax begins like this and ends without SELECT.
                return Ok(input);
            }
            return self.select(Some(input));
        }
        if self.is_word("values") {
            return self.values();
        }
        if self.eat_word("table") {
            let parts = self.multipart_identifier()?;
            return Ok(match self.common_table_expression(&parts) {
                Some((name, query)) => subquery_alias(query, name),
                None => named_table(&parts, HashMap::new()),
            });
        }
        if !self.is_query_start() {
            return Err(self.unexpected());
        }
        self.expect_symbol("(")?;
        let query = self.query()?;
        self.expect_symbol(")")?;
        Ok(query)
    }

    /// `VALUES (1, 'a'), (2, 'b')` or `VALUES 1, 2`, without an alias.
    pub(crate) fn values(&mut self) -> Result<Relation> {
        self.expect_word("values")?;
        let rows = self.comma_separated(|p| {
            let start = p.index;
            let row = p.expression()?;
            Ok(match row.expr_type {
                Some(ExprType::UnresolvedFunction(f))
                    if is_row_constructor(p, start, &f.function_name) =>
                {
                    f.arguments
                }
                expr_type => vec![Expression {
                    common: None,
                    expr_type,
                }],
            })
        })?;
        let width = rows[0].len();
        if rows.iter().any(|row| row.len() != width) {
            return Err(parse_error(
                "INVALID_INLINE_TABLE.NUM_COLUMNS_MISMATCH",
                "42000",
                format!(
                    "Invalid inline table. Inline table expected {width} columns but found another number in a row."
                ),
            ));
        }
        Ok(table_function(
            "values",
            rows.into_iter().map(|row| call("struct", row)).collect(),
        ))
    }

    /// `ORDER BY`, `CLUSTER BY`, `DISTRIBUTE BY`, `SORT BY`, `WINDOW`, `LIMIT`, `OFFSET`.
    pub(crate) fn organization(&mut self, mut input: Relation) -> Result<Relation> {
        if self.eat_words(&["order", "by"]) {
            input = sort(input, self.sort_orders()?, true);
        }
        if self.eat_words(&["cluster", "by"]) {
            let keys = self.comma_separated(Self::expression)?;
            let order = keys.iter().cloned().map(ascending).collect();
            input = sort(distribute(input, keys), order, false);
        }
        if self.eat_words(&["distribute", "by"]) {
            let keys = self.comma_separated(Self::expression)?;
            input = distribute(input, keys);
        }
        if self.eat_words(&["sort", "by"]) {
            input = sort(input, self.sort_orders()?, false);
        }
        if self.is_word("window") {
            // Inlined already; see `look_for_named_windows`.
            self.window_clause()?;
        }
        let mut limit = None;
        if self.eat_word("limit") && !self.eat_word("all") {
            limit = Some(self.row_count("limit")?);
        }
        if self.eat_word("offset") {
            let offset = self.row_count("offset")?;
            input = relation(RelType::Offset(Box::new(connect::Offset {
                input: Some(Box::new(input)),
                offset,
            })));
        }
        Ok(match limit {
            Some(limit) => limited(input, limit),
            None => input,
        })
    }

    /// The constant after `LIMIT` or `OFFSET`.
    pub(crate) fn row_count(&mut self, clause: &str) -> Result<i32> {
        let start = self.index;
        let value = self.expression()?;
        let count = constant_integer(&value).ok_or_else(|| {
            SparkError::not_supported(format!(
                "{} with an expression that is not constant",
                clause.to_uppercase()
            ))
        })?;
        i32::try_from(count).ok().filter(|n| *n >= 0).ok_or_else(|| {
            let text = self.text_since(start);
            parse_error(
                "INVALID_LIMIT_LIKE_EXPRESSION.IS_NEGATIVE",
                "42K0E",
                format!("The limit like expression \"{text}\" is invalid. The {clause} expression must be an integer from 0 to 2147483647, but got {count}."),
            )
            .with("name", clause)
            .with("expr", text)
        })
    }
}

/// Whether the row just read was written in parentheses or with `struct(...)`: then it is several columns.
fn is_row_constructor(parser: &Parser<'_>, start: usize, name: &str) -> bool {
    name == "struct"
        && (parser.is_symbol_at_index(start, "(") || parser.is_word_at_index(start, "struct"))
}

pub(crate) fn with_relations(root: Relation, references: Vec<Relation>) -> Relation {
    if references.is_empty() {
        return root;
    }
    relation(RelType::WithRelations(Box::new(connect::WithRelations {
        root: Some(Box::new(root)),
        references,
    })))
}

pub(crate) fn sort(
    input: Relation,
    order: Vec<connect::expression::SortOrder>,
    is_global: bool,
) -> Relation {
    relation(RelType::Sort(Box::new(connect::Sort {
        input: Some(Box::new(input)),
        order,
        is_global: Some(is_global),
    })))
}

fn distribute(input: Relation, partition_exprs: Vec<Expression>) -> Relation {
    relation(RelType::RepartitionByExpression(Box::new(
        connect::RepartitionByExpression {
            input: Some(Box::new(input)),
            partition_exprs,
            num_partitions: None,
        },
    )))
}

pub(crate) fn limited(input: Relation, limit: i32) -> Relation {
    relation(RelType::Limit(Box::new(connect::Limit {
        input: Some(Box::new(input)),
        limit,
    })))
}

/// The value of an integer literal, or of arithmetic on such.
pub(crate) fn constant_integer(value: &Expression) -> Option<i64> {
    match value.expr_type.as_ref()? {
        ExprType::Literal(literal) => match *literal.literal_type.as_ref()? {
            LiteralType::Byte(n) | LiteralType::Short(n) | LiteralType::Integer(n) => {
                Some(n.into())
            }
            LiteralType::Long(n) => Some(n),
            _ => None,
        },
        ExprType::UnresolvedFunction(f) => {
            let arguments: Option<Vec<i64>> = f.arguments.iter().map(constant_integer).collect();
            match (f.function_name.as_str(), arguments?.as_slice()) {
                ("+", [a, b]) => a.checked_add(*b),
                ("-", [a, b]) => a.checked_sub(*b),
                ("*", [a, b]) => a.checked_mul(*b),
                ("div", [a, b]) => a.checked_div(*b),
                ("%", [a, b]) => a.checked_rem(*b),
                ("negative" | "-", [a]) => a.checked_neg(),
                ("positive", [a]) => Some(*a),
                _ => None,
            }
        }
        ExprType::Cast(cast) => constant_integer(cast.expr.as_deref()?),
        _ => None,
    }
}
