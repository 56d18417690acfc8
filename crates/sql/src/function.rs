//! Function calls, and the functions with a syntax of their own.

use pyrite_proto::error::SparkError;
use spark_connect_proto::expression::{self, ExprType};
use spark_connect_proto::subquery_expression::{SubqueryType, TableArgOptions};
use spark_connect_proto::{Expression, NamedArgumentExpression};

use crate::error::Result;
use crate::lexer::TokenKind;
use crate::message::{
    LiteralType, boolean, call, expression, internal_call, named_table, quote_identifier, string,
    subquery_alias,
};
use crate::parser::Parser;

impl Parser<'_> {
    /// A call; its name has been read, its parenthesis not.
    pub(crate) fn function_call(&mut self, parts: Vec<String>) -> Result<Expression> {
        let name = match &parts[..] {
            [name] => name.to_ascii_lowercase(),
            parts => quote_identifier(parts),
        };
        self.expect_symbol("(")?;
        let mut is_distinct = false;
        let mut ignore_nulls = false;
        let mut arguments = Vec::new();
        if !self.is_symbol(")") {
            if self.is_quantifier("distinct") {
                self.advance();
                is_distinct = true;
            } else if self.is_quantifier("all") {
                self.advance();
            }
            arguments = self.comma_separated(Self::argument)?;
            ignore_nulls = self.null_treatment();
        }
        self.expect_symbol(")")?;
        let mut value = expression(ExprType::UnresolvedFunction(
            expression::UnresolvedFunction {
                function_name: name,
                arguments,
                is_distinct,
                is_user_defined_function: false,
                is_internal: None,
            },
        ));
        if self.eat_words(&["within", "group"]) {
            self.expect_symbol("(")?;
            self.expect_word("order")?;
            self.expect_word("by")?;
            let mut arguments = vec![value];
            for order in self.sort_orders()? {
                arguments.push(expression(ExprType::SortOrder(Box::new(order))));
            }
            self.expect_symbol(")")?;
            value = internal_call("within_group", arguments);
        }
        if self.is_word("filter") && self.is_symbol_at(1, "(") && self.is_word_at(2, "where") {
            for _ in 0..3 {
                self.advance();
            }
            let condition = self.expression()?;
            self.expect_symbol(")")?;
            value = internal_call("aggregate_filter", vec![value, condition]);
        }
        if self.null_treatment() || ignore_nulls {
            value = ignoring_nulls(value)?;
        }
        if self.is_word("over")
            && (self.is_symbol_at(1, "(")
                || !matches!(self.peek_at(1), TokenKind::Symbol(_) | TokenKind::End))
        {
            self.advance();
            value = self.over(value)?;
        }
        Ok(value)
    }

    /// `DISTINCT` or `ALL` in front of arguments, rather than a column of that name.
    fn is_quantifier(&self, word: &str) -> bool {
        self.is_word(word)
            && !self.is_symbol_at(1, ",")
            && !self.is_symbol_at(1, ")")
            && !self.is_symbol_at(1, ".")
    }

    /// Consumes `IGNORE NULLS` (true) or `RESPECT NULLS`.
    fn null_treatment(&mut self) -> bool {
        if self.eat_words(&["ignore", "nulls"]) {
            return true;
        }
        self.eat_words(&["respect", "nulls"]);
        false
    }

    /// One argument of a function.
    pub(crate) fn argument(&mut self) -> Result<Expression> {
        let is_named = self.is_symbol_at(1, "=>");
        if is_named {
            let key = self.identifier()?;
            self.expect_symbol("=>")?;
            let value = self.argument_value()?;
            return Ok(expression(ExprType::NamedArgumentExpression(Box::new(
                NamedArgumentExpression {
                    key,
                    value: Some(Box::new(value)),
                },
            ))));
        }
        self.argument_value()
    }

    fn argument_value(&mut self) -> Result<Expression> {
        let is_table = self.is_word("table")
            && (self.is_symbol_at(1, "(")
                || matches!(self.peek_at(1), TokenKind::Word(_) | TokenKind::Quoted(_)));
        if is_table {
            return self.table_argument();
        }
        let value = self.expression()?;
        if self.eat_word("as") {
            return Ok(crate::message::alias(value, vec![self.identifier()?]));
        }
        Ok(value)
    }

    /// `TABLE(t) [PARTITION BY ... | WITH SINGLE PARTITION] [ORDER BY ...]`.
    fn table_argument(&mut self) -> Result<Expression> {
        self.expect_word("table")?;
        let relation = if self.eat_symbol("(") {
            let relation = if self.is_query_start() {
                self.query()?
            } else {
                self.table_argument_name()?
            };
            self.expect_symbol(")")?;
            relation
        } else {
            self.table_argument_name()?
        };
        let mut options = TableArgOptions::default();
        let parenthesized = self.is_symbol("(");
        if self.eat_words(&["with", "single", "partition"]) {
            options.with_single_partition = Some(true);
        } else if self.eat_words(&["partition", "by"]) || self.eat_words(&["distribute", "by"]) {
            options.partition_spec = if self.is_symbol("(") && !parenthesized {
                self.parenthesized(Self::expression)?
            } else {
                // Without parentheses there is one key: a comma would begin the next argument.
                vec![self.expression()?]
            };
        }
        if self.eat_words(&["order", "by"]) || self.eat_words(&["sort", "by"]) {
            options.order_spec = if self.eat_symbol("(") {
                let orders = self.sort_orders()?;
                self.expect_symbol(")")?;
                orders
            } else {
                vec![self.sort_order()?]
            };
        }
        let mut value = self.subquery(relation, SubqueryType::TableArg, Vec::new())?;
        if let Some(ExprType::SubqueryExpression(subquery)) = &mut value.expr_type
            && options != TableArgOptions::default()
        {
            subquery.table_arg_options = Some(options);
        }
        Ok(value)
    }

    fn table_argument_name(&mut self) -> Result<spark_connect_proto::Relation> {
        let parts = self.multipart_identifier()?;
        Ok(match self.common_table_expression(&parts) {
            Some((name, relation)) => subquery_alias(relation, name),
            None => named_table(&parts, Default::default()),
        })
    }

    /// Calls that are not written as calls; `None` when `word` (lower case) does not begin one.
    pub(crate) fn special_call(&mut self, word: &str) -> Result<Option<Expression>> {
        if !self.is_symbol_at(1, "(") {
            return Ok(None);
        }
        match word {
            "extract" if self.is_word_at(3, "from") => self.extract_call().map(Some),
            "trim" if self.is_trim_with_keywords() => self.trim_call().map(Some),
            "substring" | "substr" => self.attempt_keyword_call(Self::substring_call),
            "position" => self.attempt_keyword_call(Self::position_call),
            "overlay" => self.attempt_keyword_call(Self::overlay_call),
            "timestampadd" | "dateadd" | "date_add" if self.is_datetime_unit() => {
                self.unit_call("timestampadd").map(Some)
            }
            "timestampdiff" | "datediff" | "date_diff" | "timediff" if self.is_datetime_unit() => {
                self.unit_call("timestampdiff").map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Tries the keyword form of a call; the plain form is left to others.
    fn attempt_keyword_call(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<Option<Expression>>,
    ) -> Result<Option<Expression>> {
        let start = self.index;
        let value = self.attempt(parse).unwrap_or(None);
        if value.is_none() {
            self.index = start;
        }
        Ok(value)
    }

    fn extract_call(&mut self) -> Result<Expression> {
        self.advance();
        self.expect_symbol("(")?;
        let field = match self.peek() {
            TokenKind::Text(_) => self.string_literal()?,
            _ => self.identifier()?,
        };
        self.expect_word("from")?;
        let source = self.value(0)?;
        self.expect_symbol(")")?;
        Ok(call("extract", vec![string(field), source]))
    }

    fn is_trim_with_keywords(&self) -> bool {
        if ["both", "leading", "trailing"]
            .iter()
            .any(|w| self.is_word_at(2, w))
        {
            return !self.is_symbol_at(3, ")") && !self.is_symbol_at(3, ",");
        }
        // TRIM(chars FROM text) with a simple first operand.
        self.is_word_at(3, "from")
    }

    fn trim_call(&mut self) -> Result<Expression> {
        self.advance();
        self.expect_symbol("(")?;
        let name = if self.eat_word("leading") {
            "ltrim"
        } else if self.eat_word("trailing") {
            "rtrim"
        } else {
            self.eat_word("both");
            "trim"
        };
        let characters = if self.is_word("from") {
            None
        } else {
            Some(self.value(0)?)
        };
        let mut arguments = Vec::new();
        if self.eat_word("from") {
            arguments.push(self.value(0)?);
            arguments.extend(characters);
        } else {
            arguments.extend(characters);
        }
        self.expect_symbol(")")?;
        Ok(call(name, arguments))
    }

    fn substring_call(&mut self) -> Result<Option<Expression>> {
        self.advance();
        self.expect_symbol("(")?;
        let mut arguments = vec![self.value(0)?];
        if !self.eat_word("from") {
            return Ok(None);
        }
        arguments.push(self.value(0)?);
        if self.eat_word("for") {
            arguments.push(self.value(0)?);
        }
        self.expect_symbol(")")?;
        Ok(Some(call("substring", arguments)))
    }

    fn position_call(&mut self) -> Result<Option<Expression>> {
        self.advance();
        self.expect_symbol("(")?;
        let needle = self.value(0)?;
        if !self.eat_word("in") {
            return Ok(None);
        }
        let text = self.value(0)?;
        self.expect_symbol(")")?;
        Ok(Some(call("position", vec![needle, text])))
    }

    fn overlay_call(&mut self) -> Result<Option<Expression>> {
        self.advance();
        self.expect_symbol("(")?;
        let mut arguments = vec![self.value(0)?];
        if !self.eat_word("placing") {
            return Ok(None);
        }
        arguments.push(self.value(0)?);
        self.expect_word("from")?;
        arguments.push(self.value(0)?);
        if self.eat_word("for") {
            arguments.push(self.value(0)?);
        }
        self.expect_symbol(")")?;
        Ok(Some(call("overlay", arguments)))
    }

    /// Whether the first argument is a unit such as `DAY`, followed by a comma.
    fn is_datetime_unit(&self) -> bool {
        const UNITS: &[&str] = &[
            "year",
            "quarter",
            "month",
            "week",
            "day",
            "dayofyear",
            "hour",
            "minute",
            "second",
            "millisecond",
            "microsecond",
        ];
        UNITS.iter().any(|unit| self.is_word_at(2, unit)) && self.is_symbol_at(3, ",")
    }

    fn unit_call(&mut self, name: &str) -> Result<Expression> {
        self.advance();
        self.expect_symbol("(")?;
        let mut arguments = vec![string(self.identifier()?)];
        self.expect_symbol(",")?;
        arguments.extend(self.comma_separated(Self::expression)?);
        self.expect_symbol(")")?;
        if arguments.len() != 3 {
            return Err(self.unexpected());
        }
        Ok(call(name, arguments))
    }

    /// The name in `IDENTIFIER('a.b')`; the word has not been read yet.
    pub(crate) fn identifier_clause(&mut self) -> Result<Vec<String>> {
        self.advance();
        self.expect_symbol("(")?;
        let value = self.expression()?;
        self.expect_symbol(")")?;
        let text = constant_string(&value).ok_or_else(|| {
            SparkError::not_supported("IDENTIFIER of an expression that is not a constant string")
        })?;
        crate::parse_identifier(&text)
    }
}

/// The value of string literals and concatenations of them.
fn constant_string(value: &Expression) -> Option<String> {
    match value.expr_type.as_ref()? {
        ExprType::Literal(literal) => match literal.literal_type.as_ref()? {
            LiteralType::String(text) => Some(text.clone()),
            _ => None,
        },
        ExprType::UnresolvedFunction(f) if f.function_name == "concat" => f
            .arguments
            .iter()
            .map(constant_string)
            .collect::<Option<String>>(),
        _ => None,
    }
}

/// The call with `IGNORE NULLS`, as PySpark's functions say it where they can.
fn ignoring_nulls(mut value: Expression) -> Result<Expression> {
    let Some(ExprType::UnresolvedFunction(f)) = &mut value.expr_type else {
        return Err(no_ignore_nulls("it"));
    };
    let wanted = match f.function_name.as_str() {
        "first" | "first_value" | "last" | "last_value" | "any_value" => 1,
        "nth_value" => 2,
        "lag" | "lead" => return Ok(internal_call("ignore_nulls", vec![value])),
        // These never take nulls in.
        "collect_list" | "collect_set" | "array_agg" => return Ok(value),
        "aggregate_filter" if f.is_internal == Some(true) => {
            let inner = ignoring_nulls(f.arguments.remove(0))?;
            f.arguments.insert(0, inner);
            return Ok(value);
        }
        name => return Err(no_ignore_nulls(name)),
    };
    if f.arguments.len() != wanted {
        return Err(no_ignore_nulls(&f.function_name));
    }
    f.arguments.push(boolean(true));
    Ok(value)
}

fn no_ignore_nulls(name: &str) -> SparkError {
    crate::error::parse_error(
        "INVALID_SQL_SYNTAX.FUNCTION_WITH_UNSUPPORTED_SYNTAX",
        "42000",
        format!("The function {name} does not support IGNORE NULLS."),
    )
}
