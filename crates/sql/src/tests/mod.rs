//! Tests over whole texts: data files of SQL and the messages it becomes, errors, and properties.

mod commands;
mod errors;
mod properties;
mod render;

use crate::{Statement, parse};
use render::{Renderer, render_expression};

/// Runs `actual` over the cases of a file under `src/tests`, in which every case is a line of input and a
/// line of expected output that begins with `=> `. `⏎` in the input is a line break. With `PYRITE_BLESS` set, writes the output back instead.
fn check_file(file: &str, actual: impl Fn(&str) -> String) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/tests")
        .join(file);
    let text = std::fs::read_to_string(&path).expect("the data file is part of the sources");
    let mut blessed = String::new();
    let mut failures = Vec::new();
    let mut lines = text.lines().peekable();
    let mut count = 0;
    while let Some(line) = lines.next() {
        blessed.push_str(line);
        blessed.push('\n');
        if line.is_empty() || line.starts_with("# ") {
            continue;
        }
        count += 1;
        let expected = lines.next_if(|l| l.starts_with("=> ")).map(|l| &l[3..]);
        let found = actual(&line.replace('⏎', "\n"));
        blessed.push_str(&format!("=> {found}\n"));
        if expected != Some(found.as_str()) {
            failures.push(format!(
                "{line}\n   expected {}\n   found    {found}",
                expected.unwrap_or("nothing")
            ));
        }
    }
    if std::env::var_os("PYRITE_BLESS").is_some() {
        std::fs::write(&path, blessed).expect("the data file can be written");
        return;
    }
    assert!(count > 0, "no cases in {file}");
    assert!(
        failures.is_empty(),
        "{} of {count} cases differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

fn render_query(sql: &str) -> String {
    match parse(sql) {
        Ok(Statement::Query(relation)) => Renderer::default().relation(&relation),
        Ok(Statement::Command(command)) => format!("command {command:?}"),
        Err(e) => format!(
            "error {}: {}",
            e.condition,
            e.message.lines().next().unwrap_or_default()
        ),
    }
}

#[test]
fn queries_become_these_relations() {
    check_file("queries.txt", render_query);
}

#[test]
fn expressions_become_these_messages() {
    check_file("expressions.txt", |sql| {
        match crate::parse_expression(sql) {
            Ok(expression) => render_expression(&expression),
            Err(e) => format!(
                "error {}: {}",
                e.condition,
                e.message.lines().next().unwrap_or_default()
            ),
        }
    });
}

#[test]
fn types_round_trip_as_simple_strings() {
    check_file("types.txt", |ddl| {
        match crate::parse_data_type_or_schema(ddl) {
            Ok(data_type) => crate::type_text(&data_type).expect("every parsed type has a text"),
            Err(e) => format!("error {}", e.condition),
        }
    });
}

#[test]
fn names_are_split_at_dots_outside_backticks() {
    assert_eq!(
        crate::parse_identifier("a.`b.c`.d").expect("a name"),
        ["a", "b.c", "d"]
    );
    assert_eq!(crate::parse_identifier("`a``b`").expect("a name"), ["a`b"]);
    assert!(crate::parse_identifier("a b").is_err());
    assert_eq!(
        crate::parse_attribute_name("a b.`c.d`").expect("a name"),
        ["a b", "c.d"]
    );
    assert_eq!(
        crate::parse_attribute_name("`x``y`.1").expect("a name"),
        ["x`y", "1"]
    );
    for bad in ["a.", ".a", "`a", "a`b`", "`a`b", ""] {
        let error = crate::parse_attribute_name(bad).expect_err(bad);
        assert_eq!(error.condition, "INVALID_ATTRIBUTE_NAME_SYNTAX", "{bad}");
    }
}
