//! Expressions: operators and predicates with Spark's precedences, and what stands between them.

use spark_connect_proto::expression::ExprType;
use spark_connect_proto::subquery_expression::SubqueryType;
use spark_connect_proto::{Expression, Relation, SubqueryExpression};

use crate::error::Result;
use crate::lexer::TokenKind;
use crate::literal::number;
use crate::message::{alias, boolean, call, cast, expression, extract, not, string, with_plan_id};
use crate::parser::Parser;

/// Binary operators on values: symbol, function, and how tightly they bind.
const OPERATORS: &[(&str, &str, u8)] = &[
    ("=", "==", 1),
    ("==", "==", 1),
    ("<>", "<>", 1),
    ("<=>", "<=>", 1),
    ("<", "<", 1),
    ("<=", "<=", 1),
    (">", ">", 1),
    (">=", ">=", 1),
    ("|", "|", 2),
    ("^", "^", 3),
    ("&", "&", 4),
    ("<<", "<<", 5),
    (">>", ">>", 5),
    ("+", "+", 6),
    ("-", "-", 6),
    ("||", "concat", 6),
    ("*", "*", 7),
    ("/", "/", 7),
    ("%", "%", 7),
];

impl Parser<'_> {
    /// Any expression, without an alias.
    pub(crate) fn expression(&mut self) -> Result<Expression> {
        self.nested(|p| {
            let mut left = p.conjunction()?;
            while p.eat_word("or") {
                left = call("or", vec![left, p.conjunction()?]);
            }
            Ok(left)
        })
    }

    /// An expression with an optional alias: `e`, `e AS x`, `e x`, `e AS (x, y)`.
    pub(crate) fn named_expression(&mut self) -> Result<Expression> {
        let value = self.expression()?;
        if self.eat_word("as") {
            if self.is_symbol("(") {
                let names = self.parenthesized(Self::identifier)?;
                return Ok(alias(value, names));
            }
            return Ok(alias(value, vec![self.identifier()?]));
        }
        Ok(match self.implicit_alias() {
            Some(name) => alias(value, vec![name]),
            None => value,
        })
    }

    fn conjunction(&mut self) -> Result<Expression> {
        let mut left = self.negation()?;
        while self.eat_word("and") {
            left = call("and", vec![left, self.negation()?]);
        }
        Ok(left)
    }

    fn negation(&mut self) -> Result<Expression> {
        let mut count = 0;
        while self.eat_symbol("!") || self.eat_word("not") {
            count += 1;
        }
        let mut value = self.predicate()?;
        for _ in 0..count {
            value = not(value);
        }
        Ok(value)
    }

    fn predicate(&mut self) -> Result<Expression> {
        let start = self.index;
        let mut left = self.value(0)?;
        loop {
            if self.eat_word("is") {
                left = self.is_predicate(left)?;
                continue;
            }
            let ahead = usize::from(self.is_word("not") || self.is_symbol("!"));
            let TokenKind::Word(word) = self.peek_at(ahead) else {
                return Ok(left);
            };
            let word = word.to_ascii_lowercase();
            if !matches!(
                word.as_str(),
                "between" | "in" | "like" | "ilike" | "rlike" | "regexp"
            ) {
                return Ok(left);
            }
            for _ in 0..=ahead {
                self.advance();
            }
            let negated = ahead == 1;
            left = match word.as_str() {
                "between" => {
                    let low = self.value(0)?;
                    self.expect_word("and")?;
                    let high = self.value(0)?;
                    negate_if(negated, call("between", vec![left, low, high]))
                }
                "in" => negate_if(negated, self.in_predicate(left, start)?),
                "rlike" | "regexp" => negate_if(negated, call("rlike", vec![left, self.value(0)?])),
                like => self.like_predicate(left, like, negated)?,
            };
        }
    }

    /// What follows `IS`.
    fn is_predicate(&mut self, left: Expression) -> Result<Expression> {
        let negated = self.eat_word("not");
        if self.eat_word("null") || self.eat_word("unknown") {
            return Ok(call(
                if negated { "isnotnull" } else { "isnull" },
                vec![left],
            ));
        }
        if self.eat_word("true") {
            return Ok(negate_if(negated, call("<=>", vec![left, boolean(true)])));
        }
        if self.eat_word("false") {
            return Ok(negate_if(negated, call("<=>", vec![left, boolean(false)])));
        }
        self.expect_word("distinct")?;
        self.expect_word("from")?;
        let right = self.value(0)?;
        Ok(negate_if(!negated, call("<=>", vec![left, right])))
    }

    /// What follows `IN`; `start` is the index of the left side's first token.
    fn in_predicate(&mut self, left: Expression, start: usize) -> Result<Expression> {
        self.expect_symbol("(")?;
        if self.is_query_start() {
            let query = self.query()?;
            self.expect_symbol(")")?;
            let values = self.row_values(left, start);
            return self.subquery(query, SubqueryType::In, values);
        }
        let mut arguments = vec![left];
        arguments.extend(self.comma_separated(Self::expression)?);
        self.expect_symbol(")")?;
        Ok(call("in", arguments))
    }

    /// The values of a row written as `(a, b)`; any other expression is one value.
    fn row_values(&self, left: Expression, start: usize) -> Vec<Expression> {
        let is_row = self.is_symbol_at_index(start, "(");
        match left.expr_type {
            Some(ExprType::UnresolvedFunction(f)) if is_row && f.function_name == "struct" => {
                f.arguments
            }
            expr_type => vec![Expression {
                common: left.common,
                expr_type,
            }],
        }
    }

    /// What follows `LIKE` or `ILIKE`.
    fn like_predicate(
        &mut self,
        left: Expression,
        name: &str,
        negated: bool,
    ) -> Result<Expression> {
        let quantifier = ["any", "some", "all"]
            .into_iter()
            .find(|q| self.is_word(q) && self.is_symbol_at(1, "("));
        if let Some(quantifier) = quantifier {
            self.advance();
            let patterns = self.parenthesized(Self::expression)?;
            let connective = if quantifier == "all" { "and" } else { "or" };
            let tests = patterns
                .into_iter()
                .map(|p| negate_if(negated, call(name, vec![left.clone(), p])));
            return Ok(tests
                .reduce(|a, b| call(connective, vec![a, b]))
                .expect("a parenthesised list has an item"));
        }
        let mut arguments = vec![left, self.value(0)?];
        if self.eat_word("escape") {
            let text = self.string_literal()?;
            if text.chars().count() != 1 {
                return Err(crate::error::parse_error(
                    "INVALID_ESCAPE_CHAR",
                    "42604",
                    format!(
                        "`EscapeChar` should be a string literal of length one, but got '{text}'."
                    ),
                )
                .with("sqlExpr", text));
            }
            arguments.push(string(text));
        }
        Ok(negate_if(negated, call(name, arguments)))
    }

    /// Operators that bind tighter than predicates; `floor` is the weakest binding to accept.
    pub(crate) fn value(&mut self, floor: u8) -> Result<Expression> {
        let mut left = self.unary()?;
        loop {
            let Some((name, binding, tokens)) = self.binary_operator() else {
                return Ok(left);
            };
            if binding <= floor {
                return Ok(left);
            }
            for _ in 0..tokens {
                self.advance();
            }
            let right = self.value(binding)?;
            left = if name == "<>" {
                not(call("==", vec![left, right]))
            } else {
                call(name, vec![left, right])
            };
        }
    }

    /// The operator here: its function, how tightly it binds, and how many tokens it takes.
    fn binary_operator(&self) -> Option<(&'static str, u8, usize)> {
        if self.is_word("div") {
            return Some(("div", 7, 1));
        }
        let TokenKind::Symbol(symbol) = self.peek() else {
            return None;
        };
        if symbol == "|" && self.is_symbol_at(1, ">") && self.is_adjacent() {
            // A pipe operator ends the expression.
            return None;
        }
        if symbol == ">>" && self.is_symbol_at(1, ">") && self.is_adjacent() {
            return Some((">>>", 5, 2));
        }
        OPERATORS
            .iter()
            .find(|(text, _, _)| text == symbol)
            .map(|&(_, name, binding)| (name, binding, 1))
    }

    fn unary(&mut self) -> Result<Expression> {
        let TokenKind::Symbol(symbol) = self.peek() else {
            return self.postfix(None);
        };
        match symbol.as_str() {
            "-" => {
                self.advance();
                if let TokenKind::Number(text) | TokenKind::Word(text) = self.peek()
                    && let Some(value) = number(text, true)?
                {
                    self.advance();
                    return self.postfix(Some(value));
                }
                // Not `negative`: columns are named after what was written.
                Ok(call("-", vec![self.nested(Self::unary)?]))
            }
            "+" => {
                self.advance();
                Ok(call("positive", vec![self.nested(Self::unary)?]))
            }
            "~" => {
                self.advance();
                Ok(call("~", vec![self.nested(Self::unary)?]))
            }
            _ => self.postfix(None),
        }
    }

    /// A primary expression with subscripts, field accesses and `::` casts.
    fn postfix(&mut self, start: Option<Expression>) -> Result<Expression> {
        let mut value = match start {
            Some(value) => value,
            None => self.primary()?,
        };
        loop {
            if self.eat_symbol("[") {
                let key = self.expression()?;
                self.expect_symbol("]")?;
                value = extract(value, key);
            } else if self.is_symbol(".") && !self.is_symbol_at(1, "*") {
                self.advance();
                value = extract(value, string(self.name_after_dot()?));
            } else if self.eat_symbol("::") {
                value = cast(value, self.data_type()?, false);
            } else if self.is_word("collate")
                && matches!(self.peek_at(1), TokenKind::Word(_) | TokenKind::Quoted(_))
            {
                self.advance();
                value = call(
                    "collate",
                    vec![value, string(self.multipart_identifier()?.join("."))],
                );
            } else {
                return Ok(value);
            }
        }
    }

    /// Registers `query` with the open query block and returns the expression that refers to it.
    pub(crate) fn subquery(
        &mut self,
        query: Relation,
        kind: SubqueryType,
        values: Vec<Expression>,
    ) -> Result<Expression> {
        let plan_id = Self::next_plan_id();
        if self.references.is_empty() {
            self.references.push(Vec::new());
        }
        let block = self.references.last_mut().expect("pushed above");
        block.push(with_plan_id(query, plan_id));
        Ok(expression(ExprType::SubqueryExpression(
            SubqueryExpression {
                plan_id,
                subquery_type: kind as i32,
                table_arg_options: None,
                in_subquery_values: values,
            },
        )))
    }
}

fn negate_if(negated: bool, value: Expression) -> Expression {
    if negated { not(value) } else { value }
}
