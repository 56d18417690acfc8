//! Primary expressions: literals, names, calls, parentheses, lambdas, `CASE` and `CAST`.

use spark_connect_proto::Expression;
use spark_connect_proto::expression::{self, ExprType};
use spark_connect_proto::subquery_expression::SubqueryType;

use crate::error::Result;
use crate::lexer::TokenKind;
use crate::literal::{binary, null, number};
use crate::message::{
    attribute, boolean, call, cast, expression, extract, internal_call, quote_identifier, star,
    string,
};
use crate::parser::{Parser, is_reserved};

/// Functions that stand without parentheses.
const BARE_FUNCTIONS: &[&str] = &[
    "current_date",
    "current_timestamp",
    "current_time",
    "current_user",
    "user",
    "session_user",
    "localtimestamp",
];

impl Parser<'_> {
    pub(crate) fn primary(&mut self) -> Result<Expression> {
        if let Some(value) = self.parameter()? {
            return Ok(value);
        }
        match self.peek() {
            TokenKind::Text(_) => Ok(string(self.string_literal()?)),
            TokenKind::Number(text) => {
                let value = number(text, false)?.ok_or_else(|| self.unexpected())?;
                self.advance();
                Ok(value)
            }
            TokenKind::Hex(digits) => {
                let value = binary(digits).ok_or_else(|| self.unexpected())?;
                self.advance();
                Ok(value)
            }
            TokenKind::Symbol(s) if s == "(" => self.in_parentheses(),
            TokenKind::Symbol(s) if s == "*" => self.star(Vec::new()),
            TokenKind::Quoted(_) => self.named(),
            TokenKind::Word(word) => {
                if let Some(value) = number(word, false)? {
                    self.advance();
                    return Ok(value);
                }
                let word = word.to_ascii_lowercase();
                self.word(&word)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// An expression that begins with a plain word, given in lower case.
    fn word(&mut self, word: &str) -> Result<Expression> {
        if let Some(value) = self.typed_literal()? {
            return Ok(value);
        }
        if let Some(value) = self.interval_literal()? {
            return Ok(value);
        }
        let called = self.is_symbol_at(1, "(");
        let qualified = self.is_symbol_at(1, ".");
        match word {
            "null" | "true" | "false" if !called && !qualified => {
                self.advance();
                Ok(match word {
                    "null" => null(),
                    flag => boolean(flag == "true"),
                })
            }
            "case" if !qualified && !called_as_column(self) => self.case(),
            "cast" | "try_cast" if called => self.cast_call(word == "try_cast"),
            "exists" if called && self.is_query_at(2) => {
                self.advance();
                self.expect_symbol("(")?;
                let query = self.query()?;
                self.expect_symbol(")")?;
                self.subquery(query, SubqueryType::Exists, Vec::new())
            }
            "date" | "timestamp" | "array" | "map" | "struct" if called => self.named(),
            bare if !called
                && !qualified
                && !self.is_symbol_at(1, "->")
                && BARE_FUNCTIONS.contains(&bare) =>
            {
                self.advance();
                Ok(call(bare, Vec::new()))
            }
            reserved
                if is_reserved(reserved)
                    && !(called && is_also_function(reserved))
                    && !self.is_reserved_column(reserved) =>
            {
                Err(self.unexpected())
            }
            _ => match self.special_call(word)? {
                Some(value) => Ok(value),
                None => self.named(),
            },
        }
    }

    /// A column, function call, lambda or qualified star.
    fn named(&mut self) -> Result<Expression> {
        if self.is_symbol_at(1, "->") {
            let name = self.identifier()?;
            self.advance();
            return self.lambda(vec![name]);
        }
        if self.is_word("identifier") && self.is_symbol_at(1, "(") {
            let parts = self.identifier_clause()?;
            return if self.is_symbol("(") {
                self.function_call(parts)
            } else {
                Ok(self.column(parts))
            };
        }
        let mut parts = vec![self.identifier()?];
        while self.is_symbol(".") {
            self.advance();
            if self.is_symbol("*") {
                return self.star(parts);
            }
            parts.push(self.name_after_dot()?);
        }
        if self.is_symbol("(") {
            return self.function_call(parts);
        }
        Ok(self.column(parts))
    }

    /// An attribute, or the lambda variable that hides it.
    fn column(&self, parts: Vec<String>) -> Expression {
        let is_variable = self
            .lambda_variables
            .iter()
            .rev()
            .flatten()
            .any(|name| name.eq_ignore_ascii_case(&parts[0]));
        if !is_variable {
            return attribute(&parts);
        }
        let mut parts = parts.into_iter();
        let variable = expression(ExprType::UnresolvedNamedLambdaVariable(
            expression::UnresolvedNamedLambdaVariable {
                name_parts: parts.next().into_iter().collect(),
            },
        ));
        parts.fold(variable, |value, field| extract(value, string(field)))
    }

    /// `*` with what may follow it; the qualifier has been read.
    fn star(&mut self, qualifier: Vec<String>) -> Result<Expression> {
        self.expect_symbol("*")?;
        let target = (!qualifier.is_empty()).then(|| format!("{}.*", quote_identifier(&qualifier)));
        let value = star(target);
        if !(self.is_word("except") && self.is_symbol_at(1, "(") && !self.is_query_at(2)) {
            return Ok(value);
        }
        self.advance();
        let mut arguments = vec![value];
        let columns = self.parenthesized(Self::multipart_identifier)?;
        arguments.extend(columns.iter().map(|parts| attribute(parts)));
        Ok(internal_call("except", arguments))
    }

    /// What begins with `(`: a lambda, a subquery, a row or a single expression.
    fn in_parentheses(&mut self) -> Result<Expression> {
        if let Some(parameters) = self.lambda_parameters() {
            return self.lambda(parameters);
        }
        let subquery = |p: &mut Self| {
            p.expect_symbol("(")?;
            let query = p.query()?;
            p.expect_symbol(")")?;
            Ok(query)
        };
        if self.is_symbol_at(1, "(") && self.is_query_at(1) {
            // Two parentheses may hold a query in parentheses, or an expression that begins with a subquery.
            if let Ok(query) = self.attempt(subquery) {
                return self.subquery(query, SubqueryType::Scalar, Vec::new());
            }
        } else if self.is_query_at(1) {
            let query = subquery(self)?;
            return self.subquery(query, SubqueryType::Scalar, Vec::new());
        }
        self.advance();
        let mut items = self.comma_separated(Self::named_expression)?;
        self.expect_symbol(")")?;
        let is_alias = matches!(items[0].expr_type, Some(ExprType::Alias(_)));
        Ok(if items.len() == 1 && !is_alias {
            items.remove(0)
        } else {
            call("struct", items)
        })
    }

    /// The parameters of `(x, y) -> ...`, consumed with the arrow; `None` and nothing consumed otherwise.
    fn lambda_parameters(&mut self) -> Option<Vec<String>> {
        let mut names = Vec::new();
        let mut ahead = 1;
        loop {
            match self.peek_at(ahead) {
                TokenKind::Word(name) | TokenKind::Quoted(name) => names.push(name.clone()),
                _ => return None,
            }
            ahead += 2;
            if self.is_symbol_at(ahead - 1, ",") {
                continue;
            }
            if !(self.is_symbol_at(ahead - 1, ")") && self.is_symbol_at(ahead, "->")) {
                return None;
            }
            for _ in 0..=ahead {
                self.advance();
            }
            return Some(names);
        }
    }

    /// The body of a lambda function whose parameters and arrow have been read.
    fn lambda(&mut self, parameters: Vec<String>) -> Result<Expression> {
        self.lambda_variables.push(parameters.clone());
        let body = self.expression();
        self.lambda_variables.pop();
        let arguments = parameters
            .into_iter()
            .map(|name| expression::UnresolvedNamedLambdaVariable {
                name_parts: vec![name],
            })
            .collect();
        Ok(expression(ExprType::LambdaFunction(Box::new(
            expression::LambdaFunction {
                function: Some(Box::new(body?)),
                arguments,
            },
        ))))
    }

    fn case(&mut self) -> Result<Expression> {
        self.expect_word("case")?;
        let operand = if self.is_word("when") {
            None
        } else {
            Some(self.expression()?)
        };
        let mut arguments = Vec::new();
        while self.eat_word("when") {
            let test = self.expression()?;
            arguments.push(match &operand {
                Some(value) => call("==", vec![value.clone(), test]),
                None => test,
            });
            self.expect_word("then")?;
            arguments.push(self.expression()?);
        }
        if arguments.is_empty() {
            return Err(self.unexpected());
        }
        if self.eat_word("else") {
            arguments.push(self.expression()?);
        }
        self.expect_word("end")?;
        Ok(call("when", arguments))
    }

    fn cast_call(&mut self, is_try: bool) -> Result<Expression> {
        self.advance();
        self.expect_symbol("(")?;
        let value = self.expression()?;
        self.expect_word("as")?;
        let to = self.data_type()?;
        self.expect_symbol(")")?;
        Ok(cast(value, to, is_try))
    }
}

/// Reserved words that are also functions: `like(a, b)`.
fn is_also_function(word: &str) -> bool {
    matches!(word, "like" | "ilike" | "rlike" | "regexp")
}

impl Parser<'_> {
    /// Whether a word that ends clauses is a column here: nothing but a column could stand before what follows.
    fn is_reserved_column(&self, word: &str) -> bool {
        let ends_item =
            self.is_symbol_at(1, ",") || self.is_symbol_at(1, ")") || self.is_word_at(1, "from");
        ends_item
            && matches!(
                word,
                "limit"
                    | "using"
                    | "join"
                    | "inner"
                    | "cross"
                    | "natural"
                    | "union"
                    | "minus"
                    | "lateral"
            )
    }
}

/// Whether `case` here is a column of that name.
fn called_as_column(parser: &Parser<'_>) -> bool {
    matches!(parser.peek_at(1), TokenKind::End)
        || parser.is_symbol_at(1, ",")
        || parser.is_symbol_at(1, ")")
        || parser.is_word_at(1, "from")
}
