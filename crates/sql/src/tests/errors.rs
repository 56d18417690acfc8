//! Errors: their condition, their place and their text.

use std::collections::BTreeMap;

use pyrite_proto::error::class;

use super::render::Renderer;
use crate::{Arguments, Statement, parse, parse_expression, parse_with_arguments};

#[test]
fn a_syntax_error_names_the_token_and_its_place() {
    let error = parse("SELEC 1").expect_err("no statement");
    assert_eq!(error.class_name, class::PARSE);
    assert_eq!(error.condition, "PARSE_SYNTAX_ERROR");
    assert_eq!(error.sql_state, "42601");
    assert_eq!(error.parameters["error"], "'SELEC'");
    assert_eq!(error.parameters["hint"], "");
    assert_eq!(
        error.message,
        "Syntax error at or near 'SELEC'. (line 1, pos 0)\n\n== SQL ==\nSELEC 1\n^^^\n"
    );
}

#[test]
fn the_marker_stands_below_the_line() {
    let error = parse("SELECT a\nFROM t\nWHERE (b").expect_err("an open parenthesis");
    assert_eq!(error.parameters["error"], "end of input");
    assert!(
        error
            .message
            .ends_with("(line 3, pos 8)\n\n== SQL ==\nSELECT a\nFROM t\nWHERE (b\n--------^^^\n"),
        "{}",
        error.message
    );
    let error = parse("SELECT 1 1").expect_err("two literals");
    assert_eq!(error.parameters["hint"], ": extra input '1'");
    let error = parse("SELECT 1; SELECT 2").expect_err("two statements");
    assert_eq!(error.parameters["error"], "'SELECT'");
    let error = parse("SELECT 'abc").expect_err("an open string");
    assert_eq!(
        (error.condition.as_str(), error.parameters["error"].as_str()),
        ("PARSE_SYNTAX_ERROR", "'''")
    );
    let error = parse("SELECT größe, ü FROM (").expect_err("an open parenthesis");
    assert!(
        error.message.contains("(line 1, pos 22)"),
        "{}",
        error.message
    );
}

#[test]
fn each_mistake_has_its_condition() {
    for (sql, condition) in [
        ("", "PARSE_EMPTY_STATEMENT"),
        (" -- nothing\n;", "PARSE_EMPTY_STATEMENT"),
        ("SELECT a FROM", "PARSE_SYNTAX_ERROR"),
        ("SELECT FROM t", "PARSE_SYNTAX_ERROR"),
        ("SELECT a,, b", "PARSE_SYNTAX_ERROR"),
        ("SELECT CASE END", "PARSE_SYNTAX_ERROR"),
        ("SELECT CAST(a AS)", "PARSE_SYNTAX_ERROR"),
        ("SELECT CAST(a AS integr)", "UNSUPPORTED_DATATYPE"),
        ("SELECT a b c FROM t", "PARSE_SYNTAX_ERROR"),
        ("SELECT $x", "PARSE_SYNTAX_ERROR"),
        ("SELECT ?", "UNBOUND_SQL_PARAMETER"),
        ("SELECT :x", "UNBOUND_SQL_PARAMETER"),
        ("DELETE FROM t", "UNSUPPORTED_FEATURE"),
        ("MERGE INTO t USING u ON a", "UNSUPPORTED_FEATURE"),
        (
            "CREATE TEMP VIEW IF NOT EXISTS v AS SELECT 1",
            "INVALID_SQL_SYNTAX.CREATE_TEMP_VIEW_WITH_IF_NOT_EXISTS",
        ),
    ] {
        let error = parse(sql).expect_err(sql);
        assert_eq!(error.condition, condition, "{sql}: {error}");
    }
}

#[test]
fn a_subquery_needs_a_place_for_its_relation() {
    assert_eq!(
        parse_expression("a IN (SELECT 1)")
            .expect_err("a subquery")
            .condition,
        "UNSUPPORTED_FEATURE"
    );
    let (_, references) =
        crate::parse_expression_with_subqueries("a IN (SELECT 1)").expect("a subquery");
    assert_eq!(references.len(), 1);
}

#[test]
fn parameters_are_replaced_by_their_arguments() {
    let literal = |sql: &str| parse_expression(sql).expect("a literal");
    let arguments = Arguments {
        named: BTreeMap::from([
            ("lo".to_owned(), literal("1")),
            ("table".to_owned(), literal("'db.t'")),
        ]),
        positional: Vec::new(),
    };
    let query = |sql: &str, arguments: &Arguments| match parse_with_arguments(sql, arguments) {
        Ok(Statement::Query(relation)) => Renderer::default().relation(&relation),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        query(
            "SELECT a FROM IDENTIFIER(:table) WHERE a > :lo LIMIT :lo",
            &arguments
        ),
        "limit(1 | project(a | filter(>(a, 1) | db.t)))"
    );
    let arguments = Arguments {
        named: BTreeMap::new(),
        positional: vec![literal("'x'"), literal("2")],
    };
    assert_eq!(
        query("SELECT ((?)) + (?)", &arguments),
        "project(+(\"x\", 2) | -)"
    );
    assert!(parse_with_arguments("SELECT ?, ?, ?", &arguments).is_err());
}
