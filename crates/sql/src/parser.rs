//! The token cursor and the state that lives for one text.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};

use pyrite_proto::error::SparkError;
use spark_connect_proto::{Expression, Relation};

use crate::error::{Result, syntax_error, unbound_parameter};
use crate::lexer::{Token, TokenKind, tokenize};

/// First id that this crate gives to a relation; clients count up from 0.
pub const FIRST_PLAN_ID: i64 = 1 << 40;

static NEXT_PLAN_ID: AtomicI64 = AtomicI64::new(FIRST_PLAN_ID);

/// How deep expressions and queries may nest; keeps bad input from using up the stack.
const MAX_DEPTH: usize = 150;

/// A level of nesting needs less stack than this; with less left, a chunk is added.
const STACK_RED_ZONE: usize = 256 * 1024;
const STACK_CHUNK: usize = 2 * 1024 * 1024;

/// Words that end an expression, so they are neither column names nor implicit aliases.
const RESERVED: &[&str] = &[
    "select",
    "from",
    "where",
    "having",
    "union",
    "except",
    "minus",
    "intersect",
    "join",
    "inner",
    "cross",
    "natural",
    "on",
    "using",
    "when",
    "then",
    "else",
    "and",
    "or",
    "in",
    "is",
    "as",
    "between",
    "like",
    "ilike",
    "rlike",
    "regexp",
    "not",
    "limit",
    "lateral",
];

/// Further words that are column names, but not implicit aliases.
const NOT_AN_ALIAS: &[&str] = &[
    "group",
    "order",
    "sort",
    "cluster",
    "distribute",
    "offset",
    "left",
    "right",
    "full",
    "semi",
    "anti",
    "window",
    "asc",
    "desc",
    "nulls",
    "pivot",
    "unpivot",
    "tablesample",
    "end",
    "div",
    "qualify",
    "escape",
    "preceding",
    "following",
    "values",
    "with",
    "set",
    "sync",
    "for",
];

/// Arguments for the parameters in a text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Arguments {
    /// Values of `:name`.
    pub named: BTreeMap<String, Expression>,
    /// Values of `?`, in order.
    pub positional: Vec<Expression>,
}

/// A named window, inlined where `OVER name` stands.
pub(crate) type NamedWindows = HashMap<String, crate::window::WindowSpec>;

pub(crate) struct Parser<'a> {
    pub sql: &'a str,
    tokens: Vec<Token>,
    pub index: usize,
    arguments: &'a Arguments,
    /// Common table expressions in scope, innermost last; names in lower case.
    pub ctes: Vec<HashMap<String, Relation>>,
    /// Subqueries of each open query block, innermost last.
    pub references: Vec<Vec<Relation>>,
    /// Named windows of each open `SELECT`, innermost last.
    pub windows: Vec<NamedWindows>,
    /// Lambda variables in scope.
    pub lambda_variables: Vec<Vec<String>>,
    depth: usize,
    /// Index of a `>>` of which the first `>` has been consumed.
    half_read: Option<usize>,
}

impl<'a> Parser<'a> {
    pub fn new(sql: &'a str, arguments: &'a Arguments) -> Result<Self> {
        Ok(Self {
            sql,
            tokens: tokenize(sql)?,
            index: 0,
            arguments,
            ctes: Vec::new(),
            references: Vec::new(),
            windows: Vec::new(),
            lambda_variables: Vec::new(),
            depth: 0,
            half_read: None,
        })
    }

    pub fn peek(&self) -> &TokenKind {
        self.peek_at(0)
    }

    /// The token `ahead` places on; the end token past the end.
    pub fn peek_at(&self, ahead: usize) -> &TokenKind {
        let last = self.tokens.len() - 1;
        &self.tokens[(self.index + ahead).min(last)].kind
    }

    pub fn token(&self) -> &Token {
        &self.tokens[self.index.min(self.tokens.len() - 1)]
    }

    pub fn previous(&self) -> &Token {
        &self.tokens[self.index.saturating_sub(1)]
    }

    pub fn is_symbol_at_index(&self, index: usize, symbol: &str) -> bool {
        matches!(self.tokens.get(index).map(|t| &t.kind), Some(TokenKind::Symbol(s)) if s == symbol)
    }

    pub fn is_word_at_index(&self, index: usize, word: &str) -> bool {
        matches!(self.tokens.get(index).map(|t| &t.kind), Some(TokenKind::Word(w)) if w.eq_ignore_ascii_case(word))
    }

    /// Whether the next token begins where the current one ends.
    pub fn is_adjacent(&self) -> bool {
        self.tokens
            .get(self.index + 1)
            .is_some_and(|next| next.start == self.token().end)
    }

    pub fn advance(&mut self) {
        if self.index + 1 < self.tokens.len() {
            self.index += 1;
        }
    }

    pub fn at_end(&self) -> bool {
        matches!(self.peek(), TokenKind::End)
    }

    /// Whether the token `ahead` places on is the keyword `word` (lower case).
    pub fn is_word_at(&self, ahead: usize, word: &str) -> bool {
        matches!(self.peek_at(ahead), TokenKind::Word(w) if w.eq_ignore_ascii_case(word))
    }

    pub fn is_word(&self, word: &str) -> bool {
        self.is_word_at(0, word)
    }

    pub fn is_any_word(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is_word(word))
    }

    /// Whether the next tokens are these keywords.
    pub fn is_words(&self, words: &[&str]) -> bool {
        words
            .iter()
            .enumerate()
            .all(|(i, word)| self.is_word_at(i, word))
    }

    pub fn eat_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.advance();
        }
        found
    }

    /// Consumes these keywords if all of them follow.
    pub fn eat_words(&mut self, words: &[&str]) -> bool {
        let found = self.is_words(words);
        if found {
            for _ in words {
                self.advance();
            }
        }
        found
    }

    pub fn expect_word(&mut self, word: &str) -> Result<()> {
        if self.eat_word(word) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    pub fn is_symbol_at(&self, ahead: usize, symbol: &str) -> bool {
        matches!(self.peek_at(ahead), TokenKind::Symbol(s) if s == symbol)
    }

    pub fn is_symbol(&self, symbol: &str) -> bool {
        self.is_symbol_at(0, symbol)
    }

    pub fn eat_symbol(&mut self, symbol: &str) -> bool {
        let found = self.is_symbol(symbol);
        if found {
            self.advance();
        }
        found
    }

    pub fn expect_symbol(&mut self, symbol: &str) -> Result<()> {
        if self.eat_symbol(symbol) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    /// Consumes one `>`, splitting `>>` in nested types.
    pub fn expect_closing_angle(&mut self) -> Result<()> {
        if self.eat_symbol(">") {
            return Ok(());
        }
        if !self.is_symbol(">>") {
            return Err(self.unexpected());
        }
        if self.half_read == Some(self.index) {
            self.half_read = None;
            self.advance();
        } else {
            self.half_read = Some(self.index);
        }
        Ok(())
    }

    /// The syntax error at the current token.
    pub fn unexpected(&self) -> SparkError {
        self.unexpected_with("")
    }

    pub fn unexpected_with(&self, hint: &str) -> SparkError {
        let token = self.token();
        let near = match &token.kind {
            TokenKind::End => "end of input".to_owned(),
            _ => format!("'{}'", &self.sql[token.start..token.end]),
        };
        syntax_error(self.sql, token.position, &near, hint)
    }

    /// Fails unless the whole text has been consumed; a trailing `;` is fine.
    pub fn expect_end(&mut self) -> Result<()> {
        while self.eat_symbol(";") {}
        if self.at_end() {
            return Ok(());
        }
        let token = self.token();
        let hint = format!(": extra input '{}'", &self.sql[token.start..token.end]);
        Err(self.unexpected_with(&hint))
    }

    /// Parses items separated by commas, at least one.
    pub fn comma_separated<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.eat_symbol(",") {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// Parses `( item, ... )`, at least one item.
    pub fn parenthesized<T>(&mut self, item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        self.expect_symbol("(")?;
        let items = self.comma_separated(item)?;
        self.expect_symbol(")")?;
        Ok(items)
    }

    /// Tries `parse`; on failure everything is as before.
    pub fn attempt<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let index = self.index;
        let (depth, half_read) = (self.depth, self.half_read);
        let (ctes, windows, lambdas) = (
            self.ctes.len(),
            self.windows.len(),
            self.lambda_variables.len(),
        );
        let (blocks, references) = (
            self.references.len(),
            self.references.last().map_or(0, Vec::len),
        );
        let result = parse(self);
        if result.is_err() {
            self.index = index;
            self.depth = depth;
            self.half_read = half_read;
            self.ctes.truncate(ctes);
            self.windows.truncate(windows);
            self.lambda_variables.truncate(lambdas);
            self.references.truncate(blocks);
            if let Some(block) = self.references.last_mut() {
                block.truncate(references);
            }
        }
        result
    }

    /// Runs `parse` one level deeper.
    pub fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= MAX_DEPTH {
            return Err(crate::error::parse_error(
                "FAILED_TO_PARSE_TOO_COMPLEX",
                "54001",
                "The statement, including potential SQL functions and referenced views, was too complex to parse. \
                 To mitigate this error divide the statement into multiple, less complex chunks.",
            ));
        }
        self.depth += 1;
        let result = stacker::maybe_grow(STACK_RED_ZONE, STACK_CHUNK, || parse(self));
        self.depth -= 1;
        result
    }

    pub fn next_plan_id() -> i64 {
        NEXT_PLAN_ID.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether an identifier follows; with `strict`, words that end clauses are no identifiers.
    pub fn is_identifier(&self) -> bool {
        match self.peek() {
            TokenKind::Quoted(_) => true,
            TokenKind::Word(word) => !is_number(word) && !is_reserved(word),
            _ => false,
        }
    }

    /// One part of a name. Any word will do: the caller knows that a name has to follow.
    pub fn identifier(&mut self) -> Result<String> {
        let name = match self.peek() {
            TokenKind::Quoted(name) | TokenKind::Word(name) => name.clone(),
            _ => return Err(self.unexpected()),
        };
        self.advance();
        Ok(name)
    }

    /// `a.b.c`, or the name in `IDENTIFIER(...)`.
    pub fn multipart_identifier(&mut self) -> Result<Vec<String>> {
        if self.is_word("identifier") && self.is_symbol_at(1, "(") {
            return self.identifier_clause();
        }
        let mut parts = vec![self.identifier()?];
        while self.is_symbol(".") {
            self.advance();
            parts.push(self.name_after_dot()?);
        }
        Ok(parts)
    }

    /// A name part behind a dot, where digits are names too.
    pub fn name_after_dot(&mut self) -> Result<String> {
        if let TokenKind::Number(digits) = self.peek()
            && digits.chars().all(|c| c.is_ascii_digit())
        {
            let digits = digits.clone();
            self.advance();
            return Ok(digits);
        }
        self.identifier()
    }

    /// An alias without `AS`, if one follows.
    pub fn implicit_alias(&mut self) -> Option<String> {
        let name = match self.peek() {
            TokenKind::Quoted(name) => name.clone(),
            TokenKind::Word(word) if is_alias(word) => word.clone(),
            _ => return None,
        };
        self.advance();
        Some(name)
    }

    /// The value of a parameter if one stands here: `:name` or `?`.
    pub fn parameter(&mut self) -> Result<Option<Expression>> {
        if let TokenKind::Question(index) = *self.peek() {
            let value = self.arguments.positional.get(index).cloned();
            let start = self.token().start;
            self.advance();
            return value
                .map(Some)
                .ok_or_else(|| unbound_parameter(&format!("_{start}")));
        }
        if self.is_symbol(":")
            && matches!(self.peek_at(1), TokenKind::Word(_) | TokenKind::Quoted(_))
        {
            self.advance();
            let name = self.identifier()?;
            let value = self.arguments.named.get(&name).cloned();
            return value.map(Some).ok_or_else(|| unbound_parameter(&name));
        }
        Ok(None)
    }

    /// Text of the tokens from `first` up to, not including, the current one.
    pub fn text_since(&self, first: usize) -> &'a str {
        if first >= self.index {
            return "";
        }
        &self.sql[self.tokens[first].start..self.tokens[self.index - 1].end]
    }

    /// Text from the current token to the end, without a final `;`.
    pub fn rest_of_text(&mut self) -> &'a str {
        let start = self.token().start;
        self.index = self.tokens.len() - 1;
        self.sql[start..].trim().trim_end_matches(';').trim_end()
    }
}

pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED.iter().any(|r| word.eq_ignore_ascii_case(r))
}

pub(crate) fn is_alias(word: &str) -> bool {
    !is_number(word)
        && !is_reserved(word)
        && !NOT_AN_ALIAS.iter().any(|r| word.eq_ignore_ascii_case(r))
}

/// Whether a word is really a number with a suffix, such as `1L` or `2.5BD`.
pub(crate) fn is_number(word: &str) -> bool {
    crate::literal::split_number(word).is_some()
}
