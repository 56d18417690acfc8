//! Statements that are not queries.

use std::collections::BTreeMap;

use super::check_file;
use super::render::Renderer;
use crate::{
    CreateTable, ExplainMode, Insert, InsertTarget, SqlCommand, Statement, parse, type_text,
};

fn command(sql: &str) -> SqlCommand {
    match parse(sql) {
        Ok(Statement::Command(command)) => command,
        other => panic!("{sql}: {other:?}"),
    }
}

fn name(text: &str) -> Vec<String> {
    text.split('.').map(str::to_owned).collect()
}

fn query(relation: &spark_connect_proto::Relation) -> String {
    Renderer::default().relation(relation)
}

fn table(sql: &str) -> CreateTable {
    match command(sql) {
        SqlCommand::CreateTable(table) => *table,
        other => panic!("{other:?}"),
    }
}

fn insert(sql: &str) -> Insert {
    match command(sql) {
        SqlCommand::Insert(insert) => *insert,
        other => panic!("{other:?}"),
    }
}

#[test]
fn commands_without_queries_are_plain_data() {
    check_file("commands.txt", |sql| match parse(sql) {
        Ok(Statement::Command(command)) => format!("{command:?}"),
        Ok(Statement::Query(_)) => "a query".to_owned(),
        Err(e) => format!(
            "error {}: {}",
            e.condition,
            e.message.lines().next().unwrap_or_default()
        ),
    });
}

#[test]
fn temporary_views_take_a_query_or_a_source() {
    let SqlCommand::CreateTempView {
        name,
        global,
        replace,
        columns,
        query: q,
    } = command("CREATE OR REPLACE GLOBAL TEMPORARY VIEW v (x, y COMMENT 'why') AS SELECT 1, 2")
    else {
        panic!("no view");
    };
    assert_eq!((name.as_str(), global, replace), ("v", true, true));
    assert_eq!(columns, ["x", "y"]);
    assert_eq!(query(&q), "project(1, 2 | -)");
    let SqlCommand::CreateTempView {
        query: q, columns, ..
    } = command(
        "CREATE TEMP VIEW v (a INT NOT NULL, `b c` array<int>) USING csv OPTIONS (path '/x', header true, 'sep' = ';')",
    )
    else {
        panic!("no view");
    };
    assert!(columns.is_empty());
    let text = query(&q);
    assert!(
        text.contains(r#"format: Some("csv"), schema: Some("a int NOT NULL, `b c` array<int>")"#),
        "{text}"
    );
    assert!(
        text.contains(r#"paths: ["/x"]"#)
            && text.contains(r#""header": "true""#)
            && text.contains(r#""sep": ";""#),
        "{text}"
    );
    assert!(parse("CREATE TEMP VIEW a.b AS SELECT 1").is_err());
}

#[test]
fn tables_have_all_their_clauses() {
    let created = table(
        "CREATE TABLE IF NOT EXISTS db.t (a INT, b STRING COMMENT 'x') USING PARQUET OPTIONS (k 'v') \
         PARTITIONED BY (b) LOCATION '/data' COMMENT 'c' TBLPROPERTIES ('p.q' = '1', r.s = 2)",
    );
    assert_eq!(created.name, name("db.t"));
    assert!(created.if_not_exists && !created.replace && created.query.is_none());
    assert_eq!(
        type_text(created.schema.as_ref().expect("columns")).expect("a type"),
        "struct<a:int,b:string>"
    );
    assert_eq!(created.provider.as_deref(), Some("parquet"));
    assert_eq!(
        created.options,
        BTreeMap::from([("k".to_owned(), "v".to_owned())])
    );
    assert_eq!(created.properties["p.q"], "1");
    assert_eq!(created.properties["r.s"], "2");
    assert_eq!(created.partitioned_by, ["b"]);
    assert_eq!(
        (created.location.as_deref(), created.comment.as_deref()),
        (Some("/data"), Some("c"))
    );

    let created = table("CREATE OR REPLACE TABLE t USING csv PARTITIONED BY (x) AS SELECT 1 AS x");
    assert!(created.replace);
    assert_eq!(
        query(created.query.as_ref().expect("a query")),
        "project(1 AS x | -)"
    );

    let created = table(
        "CREATE TABLE t (a INT) PARTITIONED BY (d DATE) CLUSTERED BY (a) SORTED BY (a) INTO 4 BUCKETS",
    );
    assert_eq!(
        type_text(created.schema.as_ref().expect("columns")).expect("a type"),
        "struct<a:int,d:date>"
    );
    assert_eq!(created.partitioned_by, ["d"]);
    assert_eq!(
        created.bucketed_by,
        Some((4, vec!["a".to_owned()], vec!["a".to_owned()]))
    );
}

#[test]
fn inserts_say_where_and_what() {
    let inserted = insert("INSERT INTO db.t (a, b) VALUES (1, 'x')");
    assert_eq!(inserted.target, InsertTarget::Table(name("db.t")));
    assert_eq!(inserted.columns, ["a", "b"]);
    assert!(!inserted.overwrite);
    assert_eq!(query(&inserted.query), "values<struct(1, \"x\")>");
    let inserted = insert(
        "INSERT OVERWRITE TABLE t PARTITION (d = DATE '2020-01-01', e) IF NOT EXISTS SELECT * FROM u",
    );
    assert!(inserted.overwrite && inserted.if_not_exists);
    assert_eq!(inserted.partition.len(), 2);
    assert!(inserted.partition[0].1.is_some() && inserted.partition[1].1.is_none());
    let inserted = insert("WITH c AS (SELECT 1 AS a) INSERT INTO t BY NAME SELECT * FROM c");
    assert!(inserted.by_name);
    assert_eq!(
        query(&inserted.query),
        "project(* | c:=(project(1 AS a | -)))"
    );
    let inserted = insert("INSERT OVERWRITE DIRECTORY '/out' USING json OPTIONS (a 'b') SELECT 1");
    assert!(
        matches!(inserted.target, InsertTarget::Directory { path, provider, .. } if path == "/out" && provider == "json")
    );
    assert_eq!(query(&insert("INSERT INTO t TABLE u").query), "u");
    assert_eq!(
        query(&insert("INSERT INTO t (SELECT 1)").query),
        "project(1 | -)"
    );
}

#[test]
fn explain_and_cache_hold_statements() {
    let SqlCommand::Explain { mode, statement } = command("EXPLAIN EXTENDED SELECT 1") else {
        panic!("no explain")
    };
    assert_eq!(mode, ExplainMode::Extended);
    assert!(matches!(*statement, Statement::Query(_)));
    let SqlCommand::Explain { statement, .. } = command("EXPLAIN DROP TABLE t") else {
        panic!("no explain")
    };
    assert!(matches!(
        *statement,
        Statement::Command(SqlCommand::DropTable { .. })
    ));
    let SqlCommand::CacheTable {
        lazy,
        query: q,
        options,
        ..
    } = command("CACHE LAZY TABLE t OPTIONS ('storageLevel' 'DISK_ONLY') AS SELECT 1")
    else {
        panic!("no cache");
    };
    assert!(lazy && q.is_some() && options["storageLevel"] == "DISK_ONLY");
    let SqlCommand::DescribeQuery { query: q } = command("DESCRIBE SELECT 1 AS a") else {
        panic!("no describe")
    };
    assert_eq!(query(&q), "project(1 AS a | -)");
}
