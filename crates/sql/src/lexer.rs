//! Text into tokens: `sqlparser`'s tokenizer with Spark's rules on top.

use pyrite_proto::error::SparkError;
use sqlparser::dialect::{Dialect, SparkSqlDialect};
use sqlparser::tokenizer::{Token as RawToken, TokenWithSpan, Tokenizer, Whitespace};

use crate::error::{Position, Result, syntax_error};
use crate::literal::unescape_string;

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TokenKind {
    /// A word without quotes: keyword, identifier, or a number with a letter suffix such as `1L`.
    Word(String),
    /// An identifier in backticks, quotes removed.
    Quoted(String),
    /// A number without a suffix.
    Number(String),
    /// A string literal, escapes already applied.
    Text(String),
    /// The digits of `X'...'`.
    Hex(String),
    /// `?`, counted from 0 over the whole text.
    Question(usize),
    /// The inside of `/*+ ... */`.
    Hint(String),
    /// Operators and punctuation.
    Symbol(String),
    /// End of the text.
    End,
}

/// A token and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub kind: TokenKind,
    pub position: Position,
    /// Byte range in the text.
    pub start: usize,
    pub end: usize,
}

/// Spark's lexical rules: those of `SparkSqlDialect`, plus backslash escapes and identifiers that begin with
/// a digit or hold letters beyond ASCII.
#[derive(Debug)]
struct SparkLexicalDialect;

impl Dialect for SparkLexicalDialect {
    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        SparkSqlDialect.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        SparkSqlDialect.is_identifier_start(ch) || (!ch.is_ascii() && ch.is_alphabetic())
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        SparkSqlDialect.is_identifier_part(ch) || (!ch.is_ascii() && ch.is_alphanumeric())
    }

    fn supports_nested_comments(&self) -> bool {
        SparkSqlDialect.supports_nested_comments()
    }

    fn supports_string_literal_backslash_escape(&self) -> bool {
        true
    }

    fn supports_numeric_prefix(&self) -> bool {
        true
    }
}

/// Cuts `sql` into tokens; the last one is always [`TokenKind::End`].
pub(crate) fn tokenize(sql: &str) -> Result<Vec<Token>> {
    let raw = Tokenizer::new(&SparkLexicalDialect, sql)
        .with_unescape(false)
        .tokenize_with_location()
        .map_err(|e| {
            let position = Position {
                line: e.location.line.max(1) as usize,
                column: (e.location.column.max(1) - 1) as usize,
            };
            unreadable(sql, position)
        })?;
    let offsets = LineOffsets::new(sql);
    let mut tokens = Vec::with_capacity(raw.len() / 2 + 1);
    let mut questions = 0;
    let mut raw = raw.into_iter().peekable();
    while let Some(token) = raw.next() {
        let Some(mut token) = convert(sql, &offsets, token, &mut questions)? else {
            continue;
        };
        if let TokenKind::Word(word) = &token.kind
            && word.eq_ignore_ascii_case("r")
            && let Some(next) = raw.peek()
            && matches!(
                next.token,
                RawToken::SingleQuotedString(_) | RawToken::DoubleQuotedString(_)
            )
            && offsets.offset(next.span.start.line, next.span.start.column) == token.end
        {
            let next = raw.next().expect("peeked above");
            token.end = offsets.offset(next.span.end.line, next.span.end.column);
            let (RawToken::SingleQuotedString(text) | RawToken::DoubleQuotedString(text)) =
                next.token
            else {
                unreachable!("matched above");
            };
            token.kind = TokenKind::Text(text);
        }
        if let TokenKind::Number(digits) = &token.kind
            && digits.contains(['e', 'E'])
            && let Some(next) = raw.peek()
            && let RawToken::Word(suffix) = &next.token
            && offsets.offset(next.span.start.line, next.span.start.column) == token.end
        {
            // `1e3D`: sqlparser keeps suffixes apart from exponents.
            let word = format!("{digits}{}", suffix.value);
            token.end = offsets.offset(next.span.end.line, next.span.end.column);
            token.kind = TokenKind::Word(word);
            raw.next();
        }
        tokens.push(token);
    }
    let (line, column) = offsets.last_position(sql);
    tokens.push(Token {
        kind: TokenKind::End,
        position: Position { line, column },
        start: sql.len(),
        end: sql.len(),
    });
    Ok(tokens)
}

fn convert(
    sql: &str,
    offsets: &LineOffsets,
    token: TokenWithSpan,
    questions: &mut usize,
) -> Result<Option<Token>> {
    let start = offsets.offset(token.span.start.line, token.span.start.column);
    let end = offsets.offset(token.span.end.line, token.span.end.column);
    let position = Position {
        line: token.span.start.line.max(1) as usize,
        column: (token.span.start.column.max(1) - 1) as usize,
    };
    let kind = match token.token {
        RawToken::Whitespace(Whitespace::MultiLineComment(comment)) => {
            match comment.strip_prefix('+') {
                Some(hint) => TokenKind::Hint(hint.to_owned()),
                None => return Ok(None),
            }
        }
        RawToken::Whitespace(_) => return Ok(None),
        RawToken::Word(word) => match word.quote_style {
            Some('`') => TokenKind::Quoted(word.value.replace("``", "`")),
            _ => TokenKind::Word(word.value),
        },
        RawToken::Number(text, long) => {
            if long {
                TokenKind::Word(format!("{text}L"))
            } else {
                TokenKind::Number(text)
            }
        }
        RawToken::SingleQuotedString(text) => TokenKind::Text(unescape_string(&text, '\'')),
        RawToken::DoubleQuotedString(text) => TokenKind::Text(unescape_string(&text, '"')),
        RawToken::HexStringLiteral(text) => TokenKind::Hex(text),
        RawToken::Placeholder(text) if text == "?" => {
            *questions += 1;
            TokenKind::Question(*questions - 1)
        }
        RawToken::NationalStringLiteral(_) | RawToken::Placeholder(_) | RawToken::Char(_) => {
            return Err(unreadable(sql, position));
        }
        other => TokenKind::Symbol(other.to_string()),
    };
    Ok(Some(Token {
        kind,
        position,
        start,
        end,
    }))
}

fn unreadable(sql: &str, position: Position) -> SparkError {
    let near = sql
        .lines()
        .nth(position.line - 1)
        .and_then(|line| line.chars().nth(position.column))
        .map_or_else(|| "end of input".to_owned(), |c| format!("'{c}'"));
    syntax_error(sql, position, &near, "")
}

/// Byte offsets of (line, column) pairs; `sqlparser` counts both in characters, from 1.
struct LineOffsets {
    /// For each line, the byte offset of each of its characters and of its end.
    lines: Vec<Vec<usize>>,
    len: usize,
}

impl LineOffsets {
    fn new(sql: &str) -> Self {
        let mut lines = vec![Vec::new()];
        for (offset, ch) in sql.char_indices() {
            if let Some(line) = lines.last_mut() {
                line.push(offset);
            }
            if ch == '\n' {
                lines.push(Vec::new());
            }
        }
        Self {
            lines,
            len: sql.len(),
        }
    }

    fn offset(&self, line: u64, column: u64) -> usize {
        let line = line.max(1) as usize - 1;
        let column = column.max(1) as usize - 1;
        self.lines
            .get(line)
            .and_then(|l| l.get(column))
            .copied()
            .or_else(|| self.lines.get(line + 1).and_then(|l| l.first()).copied())
            .unwrap_or(self.len)
    }

    /// Line and column just behind the text.
    fn last_position(&self, _sql: &str) -> (usize, usize) {
        (self.lines.len(), self.lines.last().map_or(0, Vec::len))
    }
}
