//! One `SELECT`: list, filter, grouping, having, distinct and hints.

use pyrite_proto::error::SparkError;
use spark_connect_proto as connect;
use spark_connect_proto::aggregate::{GroupType, GroupingSets};
use spark_connect_proto::relation::RelType;
use spark_connect_proto::{Expression, Relation};

use crate::error::Result;
use crate::lexer::TokenKind;
use crate::message::{alias, attribute, filter, project, relation};
use crate::parser::{Arguments, Parser};

/// Hints that say how the result is partitioned; the others are about joins.
const PARTITIONING_HINTS: &[&str] = &[
    "COALESCE",
    "REPARTITION",
    "REPARTITION_BY_RANGE",
    "REBALANCE",
];

/// Holds the condition of `QUALIFY` until its rows are chosen.
const QUALIFY_COLUMN: &str = "__qualify";

/// A hint: name in upper case, and parameters.
type Hint = (String, Vec<Expression>);

/// `GROUP BY`: the distinct keys, and the sets of them when there is more than the one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Grouping {
    pub keys: Vec<Expression>,
    pub sets: Vec<Vec<Expression>>,
}

impl Parser<'_> {
    /// A `SELECT`; its input when `FROM` came first.
    pub(crate) fn select(&mut self, input: Option<Relation>) -> Result<Relation> {
        let windows = self.look_for_named_windows()?;
        self.windows.push(windows);
        let result = self.select_here(input);
        self.windows.pop();
        result
    }

    fn select_here(&mut self, mut input: Option<Relation>) -> Result<Relation> {
        self.expect_word("select")?;
        let mut hints = Vec::new();
        while let TokenKind::Hint(text) = self.peek() {
            hints.extend(parse_hints(&text.clone())?);
            self.advance();
        }
        let is_distinct = self.select_quantifier();
        let mut list = self.comma_separated(Self::select_item)?;
        if input.is_none() && self.eat_word("from") {
            input = Some(self.relations()?);
        } else {
            while let Some(relation) = input.take_if(|_| self.is_words(&["lateral", "view"])) {
                input = Some(self.lateral_view(relation)?);
            }
        }
        let (over_result, over_input): (Vec<Hint>, Vec<Hint>) = hints
            .into_iter()
            .partition(|(name, _)| PARTITIONING_HINTS.contains(&name.as_str()));
        input = input.map(|input| with_hints(input, over_input));
        if self.eat_word("where") {
            let condition = self.expression()?;
            input = Some(filter(input.unwrap_or_else(one_row), condition));
        }
        let grouping = if self.eat_words(&["group", "by"]) {
            Some(self.group_by()?)
        } else {
            None
        };
        let having = if self.eat_word("having") {
            Some(self.expression()?)
        } else {
            None
        };
        let qualify = if self.eat_word("qualify") {
            Some(self.expression()?)
        } else {
            None
        };
        if let Some(condition) = qualify.clone() {
            list.push(alias(condition, vec![QUALIFY_COLUMN.to_owned()]));
        }
        let mut result = match (grouping, &having) {
            (None, None) => project(input, list),
            (grouping, _) => aggregate(
                input.unwrap_or_else(one_row),
                grouping.unwrap_or_default(),
                list,
            ),
        };
        if let Some(condition) = having {
            result = filter(result, condition);
        }
        if qualify.is_some() {
            let column = attribute(&[QUALIFY_COLUMN]);
            result = relation(RelType::Drop(Box::new(connect::Drop {
                input: Some(Box::new(filter(result, column))),
                columns: Vec::new(),
                column_names: vec![QUALIFY_COLUMN.to_owned()],
            })));
        }
        if is_distinct {
            result = relation(RelType::Deduplicate(Box::new(connect::Deduplicate {
                input: Some(Box::new(result)),
                all_columns_as_keys: Some(true),
                ..Default::default()
            })));
        }
        Ok(with_hints(result, over_result))
    }

    /// Consumes `DISTINCT` (true) or `ALL`, unless they are columns.
    fn select_quantifier(&mut self) -> bool {
        let is_column = self.is_symbol_at(1, ",")
            || self.is_symbol_at(1, ".")
            || self.is_word_at(1, "from")
            || self.is_word_at(1, "as")
            || matches!(self.peek_at(1), TokenKind::End);
        if is_column {
            return false;
        }
        if self.eat_word("distinct") {
            return true;
        }
        self.eat_word("all");
        false
    }

    fn select_item(&mut self) -> Result<Expression> {
        if matches!(self.peek(), TokenKind::Word(w) if w.eq_ignore_ascii_case("from")) {
            return Err(self.unexpected());
        }
        self.named_expression()
    }

    /// What follows `GROUP BY`.
    fn group_by(&mut self) -> Result<Grouping> {
        let mut elements = Vec::new();
        let mut is_analytic = false;
        loop {
            let (element, analytic) = self.grouping_element()?;
            elements.push(element);
            is_analytic |= analytic;
            if !self.eat_symbol(",") {
                break;
            }
        }
        let keys = |sets: &[Vec<Vec<Expression>>]| distinct(sets.iter().flatten().flatten());
        if self.is_words(&["with", "rollup"]) || self.is_words(&["with", "cube"]) {
            self.advance();
            let keys = keys(&elements);
            let units: Vec<_> = keys.iter().map(|k| vec![k.clone()]).collect();
            let sets = if self.eat_word("rollup") {
                rollup(&units)
            } else {
                self.cube_of(&units)?
            };
            self.eat_word("cube");
            return Ok(Grouping { keys, sets });
        }
        if self.eat_words(&["grouping", "sets"]) {
            let sets = self.grouping_sets()?;
            return Ok(Grouping {
                keys: keys(&elements),
                sets,
            });
        }
        let keys = keys(&elements);
        if !is_analytic {
            return Ok(Grouping {
                keys,
                sets: Vec::new(),
            });
        }
        Ok(Grouping {
            keys,
            sets: product(elements),
        })
    }

    /// One element of `GROUP BY` as the sets it stands for, and whether it is more than an expression.
    fn grouping_element(&mut self) -> Result<(Vec<Vec<Expression>>, bool)> {
        if self.eat_words(&["grouping", "sets"]) {
            return Ok((self.grouping_sets()?, true));
        }
        if self.is_word("rollup") && self.is_symbol_at(1, "(") {
            self.advance();
            return Ok((rollup(&self.parenthesized(Self::grouping_unit)?), true));
        }
        if self.is_word("cube") && self.is_symbol_at(1, "(") {
            self.advance();
            let units = self.parenthesized(Self::grouping_unit)?;
            return Ok((self.cube_of(&units)?, true));
        }
        if self.is_symbol("(") && self.is_symbol_at(1, ")") {
            self.advance();
            self.advance();
            return Ok((vec![Vec::new()], true));
        }
        Ok((vec![vec![self.expression()?]], false))
    }

    /// `((a, b), a, ())`, whose elements may again be `ROLLUP`, `CUBE` or `GROUPING SETS`.
    fn grouping_sets(&mut self) -> Result<Vec<Vec<Expression>>> {
        let sets = self.parenthesized(|p| {
            let is_nested = p.is_words(&["grouping", "sets"])
                || ((p.is_word("rollup") || p.is_word("cube")) && p.is_symbol_at(1, "("));
            if is_nested {
                return Ok(p.grouping_element()?.0);
            }
            Ok(vec![p.grouping_unit()?])
        })?;
        Ok(sets.into_iter().flatten().collect())
    }

    /// `a`, `(a, b)` or `()`.
    fn grouping_unit(&mut self) -> Result<Vec<Expression>> {
        if self.is_symbol("(") && self.is_symbol_at(1, ")") {
            self.advance();
            self.advance();
            return Ok(Vec::new());
        }
        let start = self.index;
        if self.is_symbol("(")
            && let Ok(unit) = self.attempt(|p| {
                let unit = p.parenthesized(Self::expression)?;
                if p.is_symbol(",") || p.is_symbol(")") {
                    Ok(unit)
                } else {
                    Err(p.unexpected())
                }
            })
        {
            return Ok(unit);
        }
        self.index = start;
        Ok(vec![self.expression()?])
    }

    /// Every subset of `units`.
    fn cube_of(&self, units: &[Vec<Expression>]) -> Result<Vec<Vec<Expression>>> {
        const MAX_CUBE_KEYS: usize = 12;
        if units.len() > MAX_CUBE_KEYS {
            return Err(SparkError::not_supported(format!(
                "CUBE over more than {MAX_CUBE_KEYS} keys"
            )));
        }
        let mut sets = vec![Vec::new()];
        for unit in units {
            let with: Vec<Vec<Expression>> = sets
                .iter()
                .map(|set: &Vec<Expression>| [set.as_slice(), unit.as_slice()].concat())
                .collect();
            // Sets with the earlier keys come first.
            sets = with.into_iter().chain(sets).collect();
        }
        Ok(sets)
    }
}

fn rollup(units: &[Vec<Expression>]) -> Vec<Vec<Expression>> {
    (0..=units.len())
        .rev()
        .map(|len| units[..len].concat())
        .collect()
}

/// One set out of each element, in every combination.
fn product(elements: Vec<Vec<Vec<Expression>>>) -> Vec<Vec<Expression>> {
    elements
        .into_iter()
        .fold(vec![Vec::new()], |sets, element| {
            sets.iter()
                .flat_map(|set| {
                    element
                        .iter()
                        .map(move |more| distinct(set.iter().chain(more)))
                })
                .collect()
        })
}

/// The expressions in order, each once.
fn distinct<'a>(all: impl Iterator<Item = &'a Expression>) -> Vec<Expression> {
    let mut kept: Vec<Expression> = Vec::new();
    for expression in all {
        if !kept.contains(expression) {
            kept.push(expression.clone());
        }
    }
    kept
}

pub(crate) fn aggregate(input: Relation, grouping: Grouping, list: Vec<Expression>) -> Relation {
    relation(RelType::Aggregate(Box::new(connect::Aggregate {
        input: Some(Box::new(input)),
        group_type: GroupType::Unspecified as i32,
        grouping_expressions: grouping.keys,
        aggregate_expressions: list,
        pivot: None,
        grouping_sets: grouping
            .sets
            .into_iter()
            .map(|grouping_set| GroupingSets { grouping_set })
            .collect(),
    })))
}

/// A relation of one row, for clauses that need an input where the text has no `FROM`.
fn one_row() -> Relation {
    relation(RelType::Range(connect::Range {
        start: Some(0),
        end: 1,
        step: 1,
        num_partitions: Some(1),
    }))
}

fn with_hints(input: Relation, hints: Vec<Hint>) -> Relation {
    hints
        .into_iter()
        .rev()
        .fold(input, |input, (name, parameters)| {
            relation(RelType::Hint(Box::new(connect::Hint {
                input: Some(Box::new(input)),
                name,
                parameters,
            })))
        })
}

/// `BROADCAST(a, b), REPARTITION(3)`: the inside of a hint comment.
fn parse_hints(text: &str) -> Result<Vec<Hint>> {
    let arguments = Arguments::default();
    let mut parser = Parser::new(text, &arguments)?;
    let mut hints = Vec::new();
    while !parser.at_end() {
        let name = parser.identifier()?.to_uppercase();
        let mut parameters = Vec::new();
        if parser.eat_symbol("(") && !parser.eat_symbol(")") {
            parameters = parser.comma_separated(|p| p.value(0))?;
            parser.expect_symbol(")")?;
        }
        hints.push((name, parameters));
        parser.eat_symbol(",");
    }
    Ok(hints)
}
