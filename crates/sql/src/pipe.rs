//! The pipe syntax: `FROM t |> WHERE a > 1 |> AGGREGATE sum(b) GROUP BY c`.

use spark_connect_proto as connect;
use spark_connect_proto::expression::{Alias, ExprType};
use spark_connect_proto::relation::RelType;
use spark_connect_proto::{Expression, Relation};

use crate::error::Result;
use crate::message::{
    UNNAMED_SUBQUERY, attribute, filter, project, relation, star, subquery_alias,
};
use crate::parser::Parser;
use crate::select::{Grouping, aggregate};

impl Parser<'_> {
    /// Applies the pipe operators behind a query, if there are any.
    pub(crate) fn pipes(&mut self, mut input: Relation) -> Result<Relation> {
        while self.is_symbol("|") && self.is_symbol_at(1, ">") && self.is_adjacent() {
            self.advance();
            self.advance();
            input = self.pipe(input)?;
        }
        Ok(input)
    }

    fn pipe(&mut self, input: Relation) -> Result<Relation> {
        if self.is_word("select") {
            return self.select(Some(input));
        }
        if self.eat_word("where") {
            return Ok(filter(input, self.expression()?));
        }
        if self.eat_word("extend") {
            let mut list = vec![star(None)];
            list.extend(self.comma_separated(Self::named_expression)?);
            return Ok(project(Some(input), list));
        }
        if self.eat_word("set") {
            let aliases = self.comma_separated(|p| {
                let name = p.identifier()?;
                p.expect_symbol("=")?;
                let expr = Some(Box::new(p.expression()?));
                Ok(Alias {
                    expr,
                    name: vec![name],
                    metadata: None,
                })
            })?;
            return Ok(relation(RelType::WithColumns(Box::new(
                connect::WithColumns {
                    input: Some(Box::new(input)),
                    aliases,
                },
            ))));
        }
        if self.eat_word("drop") {
            let columns = self.comma_separated(Self::identifier)?;
            return Ok(relation(RelType::Drop(Box::new(connect::Drop {
                input: Some(Box::new(input)),
                columns: columns.iter().map(|name| attribute(&[name])).collect(),
                column_names: Vec::new(),
            }))));
        }
        if self.eat_word("as") {
            return Ok(subquery_alias(input, self.identifier()?));
        }
        if self.eat_word("aggregate") {
            return self.pipe_aggregate(input);
        }
        if self.is_join() {
            return self.join_onto(input);
        }
        if self.is_word("tablesample") {
            return self.sampled(input);
        }
        if self.is_word("pivot") {
            return self.pivot(input);
        }
        if self.is_word("unpivot") {
            return self.unpivot(input);
        }
        if self.is_any_word(&["union", "except", "minus", "intersect"]) {
            return self.set_operations_onto(input, 0);
        }
        if self.is_any_word(&["order", "cluster", "distribute", "sort", "limit", "offset"]) {
            return self.organization(input);
        }
        Err(self.unexpected())
    }

    /// `AGGREGATE [list] [GROUP BY keys]`, which puts out the keys and then the list.
    fn pipe_aggregate(&mut self, input: Relation) -> Result<Relation> {
        let mut list = Vec::new();
        if !self.is_word("group") {
            list = self.comma_separated(Self::named_expression)?;
        }
        let mut keys = Vec::new();
        if self.eat_words(&["group", "by"]) {
            keys = self.comma_separated(Self::named_expression)?;
        }
        let output = keys.iter().cloned().chain(list).collect();
        let grouping = Grouping {
            keys: keys.into_iter().map(without_alias).collect(),
            sets: Vec::new(),
        };
        // The alias keeps a following WHERE from being taken for HAVING.
        Ok(subquery_alias(
            aggregate(input, grouping, output),
            UNNAMED_SUBQUERY,
        ))
    }
}

fn without_alias(expression: Expression) -> Expression {
    match expression.expr_type {
        Some(ExprType::Alias(alias)) => alias.expr.map(|e| *e).unwrap_or_default(),
        expr_type => Expression {
            common: expression.common,
            expr_type,
        },
    }
}
