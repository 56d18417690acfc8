//! Properties that hold for all input.

use proptest::prelude::*;

use super::render::render_expression;
use crate::{parse, parse_attribute_name, parse_expression, parse_identifier, quote_identifier};

proptest! {
    #[test]
    fn integers_keep_their_value(n in any::<i64>()) {
        let expected = if i32::try_from(n).is_ok() { n.to_string() } else { format!("{n}L") };
        prop_assert_eq!(render_expression(&parse_expression(&n.to_string()).expect("a number")), expected);
    }

    #[test]
    fn doubles_keep_their_value(x in any::<f64>().prop_filter("finite", |x| x.is_finite())) {
        let parsed = parse_expression(&format!("{x:?}D")).expect("a number");
        prop_assert_eq!(render_expression(&parsed), format!("{x:?}D"));
    }

    #[test]
    fn strings_keep_their_text(s in any::<String>()) {
        let quoted = format!("'{}'", s.replace('\\', "\\\\").replace('\'', "''"));
        prop_assert_eq!(render_expression(&parse_expression(&quoted).expect("a string")), format!("{s:?}"));
    }

    #[test]
    fn names_survive_quoting(parts in prop::collection::vec("[^\\x00-\\x1f]{1,8}", 1..4)) {
        let quoted = quote_identifier(&parts);
        prop_assert_eq!(parse_identifier(&quoted).expect("a name"), parts.clone());
        prop_assert_eq!(parse_attribute_name(&quoted).expect("a name"), parts);
    }

    #[test]
    fn no_text_makes_the_parser_panic(sql in any::<String>()) {
        let _ = parse(&sql);
    }

    #[test]
    fn no_shuffled_query_makes_the_parser_panic(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "SELECT", "FROM", "WHERE", "GROUP", "BY", "(", ")", ",", "a", "t.", "*", "1", "'x'", "JOIN", "ON", "AS",
                "WITH", "UNION", "ORDER", "LIMIT", "VALUES", "OVER", "CASE", "WHEN", "END", "CAST", "->", "[", "]", ">",
                "INTERVAL", "DAY", "NOT", "IN", "EXISTS", "LATERAL", "VIEW", "PIVOT", "FOR", "CREATE", "TABLE", "INSERT",
                "INTO", "SHOW", "SET", "DESCRIBE", "::", "?", ":", "-", "array", "<", ">>",
            ]),
            0..25,
        )
    ) {
        let _ = parse(&words.join(" "));
    }
}

#[test]
fn deep_parentheses_are_refused() {
    let deep = format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000));
    assert_eq!(
        parse(&deep).expect_err("too deep").condition,
        "FAILED_TO_PARSE_TOO_COMPLEX"
    );
}

#[test]
fn deep_signs_are_refused() {
    let deep = format!("SELECT {}a", "- ".repeat(5000));
    assert_eq!(
        parse(&deep).expect_err("too deep").condition,
        "FAILED_TO_PARSE_TOO_COMPLEX"
    );
}

#[test]
fn deep_subqueries_are_refused() {
    let deep = format!(
        "{}SELECT 1{}",
        "SELECT * FROM (".repeat(5000),
        ")".repeat(5000)
    );
    assert_eq!(
        parse(&deep).expect_err("too deep").condition,
        "FAILED_TO_PARSE_TOO_COMPLEX"
    );
}

#[test]
fn long_chains_are_fine() {
    for operator in ["+", "AND", "OR", "||"] {
        let long = format!("SELECT {}1", format!("1 {operator} ").repeat(1000));
        assert!(parse(&long).is_ok(), "{operator}");
    }
}
