//! The `FROM` clause: tables, subqueries, joins, lateral views, samples.

use std::collections::HashMap;

use pyrite_proto::error::SparkError;
use spark_connect_proto as connect;
use spark_connect_proto::Relation;
use spark_connect_proto::join::JoinType;
use spark_connect_proto::relation::RelType;

use crate::error::Result;
use crate::lexer::TokenKind;
use crate::message::{
    UNNAMED_SUBQUERY, named_table, quote_identifier, relation, subquery_alias, table_function,
    to_df,
};
use crate::parser::Parser;
use crate::query::constant_integer;

/// Stands in `using_columns` for every name that both sides have.
const NATURAL: &str = "*";

/// `AS t (a, b)`.
type TableAlias = (Option<String>, Vec<String>);

impl Parser<'_> {
    /// What follows `FROM`.
    pub(crate) fn relations(&mut self) -> Result<Relation> {
        let mut left = self.joined_relation()?;
        while self.eat_symbol(",") {
            let is_lateral = self.eat_word("lateral");
            let right = self.joined_relation()?;
            left = if is_lateral {
                lateral_join(left, right, JoinType::Inner, None)
            } else {
                join(left, right, JoinType::Cross, None, Vec::new())
            };
        }
        loop {
            if self.is_words(&["lateral", "view"]) {
                left = self.lateral_view(left)?;
            } else if self.is_join() {
                left = self.join_onto(left)?;
            } else if self.is_word("pivot") && self.is_symbol_at(1, "(") {
                left = self.pivot(left)?;
            } else if self.is_unpivot() {
                left = self.unpivot(left)?;
            } else {
                return Ok(left);
            }
        }
    }

    fn is_unpivot(&self) -> bool {
        self.is_word("unpivot")
            && (self.is_symbol_at(1, "(")
                || self.is_word_at(1, "include")
                || self.is_word_at(1, "exclude"))
    }

    /// A relation with the joins, pivots and unpivots behind it.
    fn joined_relation(&mut self) -> Result<Relation> {
        self.nested(|p| {
            let mut left = p.primary_relation()?;
            loop {
                if p.is_join() {
                    left = p.join_onto(left)?;
                } else if p.is_word("pivot") && p.is_symbol_at(1, "(") {
                    left = p.pivot(left)?;
                } else if p.is_unpivot() {
                    left = p.unpivot(left)?;
                } else {
                    return Ok(left);
                }
            }
        })
    }

    pub(crate) fn is_join(&self) -> bool {
        const WORDS: &[&str] = &[
            "inner", "cross", "left", "right", "full", "semi", "anti", "natural",
        ];
        self.is_word("join") || (self.is_any_word(WORDS) && !self.is_symbol_at(1, "("))
    }

    pub(crate) fn join_onto(&mut self, left: Relation) -> Result<Relation> {
        let is_natural = self.eat_word("natural");
        let join_type = self.join_type()?;
        self.expect_word("join")?;
        let is_lateral = self.eat_word("lateral");
        let right = self.primary_relation()?;
        let mut condition = None;
        let mut using = Vec::new();
        if is_natural {
            using.push(NATURAL.to_owned());
        } else if self.eat_word("on") {
            condition = Some(self.expression()?);
        } else if self.eat_word("using") {
            using = self.parenthesized(Self::identifier)?;
        }
        if !is_lateral {
            let is_plain = condition.is_none() && using.is_empty();
            let join_type = if is_plain && join_type == JoinType::Inner {
                JoinType::Cross
            } else {
                join_type
            };
            return Ok(join(left, right, join_type, condition, using));
        }
        if !using.is_empty() {
            return Err(SparkError::not_supported(
                "a lateral join with USING or NATURAL",
            ));
        }
        let join_type = if join_type == JoinType::Cross {
            JoinType::Inner
        } else {
            join_type
        };
        Ok(lateral_join(left, right, join_type, condition))
    }

    /// The words in front of `JOIN`.
    fn join_type(&mut self) -> Result<JoinType> {
        if self.eat_word("inner") {
            return Ok(JoinType::Inner);
        }
        if self.eat_word("cross") {
            return Ok(JoinType::Cross);
        }
        if self.eat_word("full") {
            self.eat_word("outer");
            return Ok(JoinType::FullOuter);
        }
        if self.eat_word("right") {
            self.eat_word("outer");
            return Ok(JoinType::RightOuter);
        }
        let is_left = self.eat_word("left");
        if self.eat_word("semi") {
            return Ok(JoinType::LeftSemi);
        }
        if self.eat_word("anti") {
            return Ok(JoinType::LeftAnti);
        }
        if is_left {
            self.eat_word("outer");
            return Ok(JoinType::LeftOuter);
        }
        Ok(JoinType::Inner)
    }

    /// A table, function, subquery, inline table or relation in parentheses, with sample and alias.
    fn primary_relation(&mut self) -> Result<Relation> {
        if self.is_word("values") && !self.is_word_at(1, "as") && !self.is_symbol_at(1, ",") {
            let rows = self.values()?;
            return self.aliased(rows, None);
        }
        if self.is_symbol("(") {
            return self.relation_in_parentheses();
        }
        if self.is_word("stream")
            && matches!(self.peek_at(1), TokenKind::Word(_) | TokenKind::Quoted(_))
            && !self.is_word_at(1, "as")
        {
            return Err(SparkError::not_supported("STREAM tables in SQL"));
        }
        if !self.is_identifier() && !self.is_word("identifier") {
            return Err(self.unexpected());
        }
        let parts = self.multipart_identifier()?;
        if self.is_symbol("(") {
            return self.table_function_call(&parts);
        }
        if let Some((name, query)) = self.common_table_expression(&parts) {
            let table = self.sampled(subquery_alias(query, name))?;
            return self.aliased(table, None);
        }
        if self.is_words(&["version", "as"])
            || self.is_words(&["timestamp", "as"])
            || self.is_words(&["for", "version"])
        {
            return Err(SparkError::not_supported("time travel"));
        }
        let options = if self.is_word("with") && self.is_symbol_at(1, "(") {
            self.advance();
            self.option_list()?
        } else {
            HashMap::new()
        };
        let table = self.sampled(named_table(&parts, options))?;
        self.aliased(table, None)
    }

    fn relation_in_parentheses(&mut self) -> Result<Relation> {
        if self.is_query_at(1) {
            let query = |p: &mut Self| {
                p.expect_symbol("(")?;
                let query = p.query()?;
                p.expect_symbol(")")?;
                Ok(query)
            };
            // `((SELECT 1) a JOIN b)` begins like a query.
            let parsed = if self.is_symbol_at(1, "(") {
                self.attempt(query).ok()
            } else {
                Some(query(self)?)
            };
            if let Some(query) = parsed {
                let query = self.sampled(query)?;
                return self.aliased(query, Some(UNNAMED_SUBQUERY));
            }
        }
        self.expect_symbol("(")?;
        let inner = self.nested(Self::relations)?;
        self.expect_symbol(")")?;
        let inner = self.sampled(inner)?;
        self.aliased(inner, None)
    }

    /// `f(x, y)` in `FROM`.
    fn table_function_call(&mut self, parts: &[String]) -> Result<Relation> {
        let name = match parts {
            [name] => name.to_ascii_lowercase(),
            parts => quote_identifier(parts),
        };
        self.expect_symbol("(")?;
        let mut arguments = Vec::new();
        if !self.is_symbol(")") {
            arguments = self.comma_separated(Self::argument)?;
        }
        self.expect_symbol(")")?;
        let integers: Option<Vec<i64>> = arguments.iter().map(constant_integer).collect();
        let call = match (name.as_str(), integers) {
            ("range", Some(numbers)) if (1..=4).contains(&numbers.len()) => range(&numbers)?,
            _ => table_function(&name, arguments),
        };
        let call = self.sampled(call)?;
        self.aliased(call, None)
    }

    /// Wraps `input` into its alias, or into `unnamed` when there is none.
    fn aliased(&mut self, input: Relation, unnamed: Option<&str>) -> Result<Relation> {
        let (name, columns) = self.table_alias()?;
        let input = to_df(input, columns);
        Ok(match name.or_else(|| unnamed.map(str::to_owned)) {
            Some(name) => subquery_alias(input, name),
            None => input,
        })
    }

    /// `[AS] t [(a, b)]`, if there is one.
    fn table_alias(&mut self) -> Result<TableAlias> {
        let name = if self.eat_word("as") {
            if self.is_symbol("(") {
                None
            } else {
                Some(self.identifier()?)
            }
        } else {
            self.implicit_alias()
        };
        let columns = if name.is_some() && self.is_symbol("(") {
            self.parenthesized(Self::identifier)?
        } else {
            Vec::new()
        };
        Ok((name, columns))
    }

    /// `LATERAL VIEW [OUTER] f(x) t [AS a, b]` onto `left`.
    pub(crate) fn lateral_view(&mut self, left: Relation) -> Result<Relation> {
        self.advance();
        self.advance();
        let join_type = if self.is_word("outer") && !self.is_symbol_at(1, "(") {
            self.advance();
            JoinType::LeftOuter
        } else {
            JoinType::Inner
        };
        let parts = self.multipart_identifier()?;
        let name = match &parts[..] {
            [name] => name.to_ascii_lowercase(),
            parts => quote_identifier(parts),
        };
        self.expect_symbol("(")?;
        let mut arguments = Vec::new();
        if !self.is_symbol(")") {
            arguments = self.comma_separated(Self::argument)?;
        }
        self.expect_symbol(")")?;
        let table = if self.is_word("as") {
            None
        } else {
            self.implicit_alias()
        };
        let mut columns = Vec::new();
        if self.eat_word("as") {
            columns = if self.is_symbol("(") {
                self.parenthesized(Self::identifier)?
            } else {
                self.comma_separated(Self::identifier)?
            };
        } else if table.is_some()
            && self.is_identifier()
            && crate::parser::is_alias(&self.word_text())
        {
            columns = self.comma_separated(Self::identifier)?;
        }
        let right = to_df(table_function(&name, arguments), columns);
        let right = match table {
            Some(table) => subquery_alias(right, table),
            None => right,
        };
        Ok(lateral_join(left, right, join_type, None))
    }

    /// The current word, or nothing for other tokens.
    fn word_text(&self) -> String {
        match self.peek() {
            TokenKind::Word(word) => word.clone(),
            TokenKind::Quoted(_) => "_".to_owned(),
            _ => String::new(),
        }
    }

    /// `TABLESAMPLE (...) [REPEATABLE (seed)]` on `input`, if there is one.
    pub(crate) fn sampled(&mut self, input: Relation) -> Result<Relation> {
        if !self.eat_word("tablesample") {
            return Ok(input);
        }
        self.expect_symbol("(")?;
        let mut limit = None;
        let mut fraction = 0.0;
        if self.eat_word("bucket") {
            let bucket = self.row_count("bucket")?;
            self.expect_word("out")?;
            self.expect_word("of")?;
            let total = self.row_count("bucket")?;
            if self.is_word("on") {
                return Err(SparkError::not_supported("TABLESAMPLE (BUCKET ... ON ...)"));
            }
            if total == 0 {
                return Err(self.unexpected());
            }
            fraction = f64::from(bucket) / f64::from(total);
        } else {
            let start = self.index;
            let value = self.value(0)?;
            let text = self.text_since(start);
            if self.eat_word("percent") {
                fraction = text.parse::<f64>().map_err(|_| self.unexpected())? / 100.0;
            } else {
                self.expect_word("rows")?;
                let rows = constant_integer(&value).and_then(|n| i32::try_from(n).ok());
                limit = Some(rows.ok_or_else(|| self.unexpected())?);
            }
        }
        self.expect_symbol(")")?;
        let mut seed = None;
        if self.eat_word("repeatable") {
            self.expect_symbol("(")?;
            let value = self.expression()?;
            seed = Some(constant_integer(&value).ok_or_else(|| self.unexpected())?);
            self.expect_symbol(")")?;
        }
        if let Some(limit) = limit {
            return Ok(crate::query::limited(input, limit));
        }
        Ok(relation(RelType::Sample(Box::new(connect::Sample {
            input: Some(Box::new(input)),
            lower_bound: 0.0,
            upper_bound: fraction,
            with_replacement: Some(false),
            seed,
            deterministic_order: false,
        }))))
    }
}

pub(crate) fn join(
    left: Relation,
    right: Relation,
    join_type: JoinType,
    join_condition: Option<connect::Expression>,
    using_columns: Vec<String>,
) -> Relation {
    relation(RelType::Join(Box::new(connect::Join {
        left: Some(Box::new(left)),
        right: Some(Box::new(right)),
        join_condition,
        join_type: join_type as i32,
        using_columns,
        join_data_type: None,
    })))
}

fn lateral_join(
    left: Relation,
    right: Relation,
    join_type: JoinType,
    join_condition: Option<connect::Expression>,
) -> Relation {
    relation(RelType::LateralJoin(Box::new(connect::LateralJoin {
        left: Some(Box::new(left)),
        right: Some(Box::new(right)),
        join_condition,
        join_type: join_type as i32,
    })))
}

/// `range(end)`, `range(start, end[, step[, partitions]])`.
fn range(numbers: &[i64]) -> Result<Relation> {
    let (start, end) = if numbers.len() == 1 {
        (0, numbers[0])
    } else {
        (numbers[0], numbers[1])
    };
    let num_partitions = match numbers.get(3) {
        Some(n) => Some(
            i32::try_from(*n)
                .map_err(|_| SparkError::other("the number of partitions is out of range"))?,
        ),
        None => None,
    };
    Ok(relation(RelType::Range(connect::Range {
        start: Some(start),
        end,
        step: numbers.get(2).copied().unwrap_or(1),
        num_partitions,
    })))
}
