//! Which plans read what is cached.

mod support;

use pyrite_plan::PlanSession;
use support::{run, session, show, sql};

/// How often a query reads cached rows, counted in its optimised plan.
async fn scans(session: &PlanSession, query: &str) -> usize {
    let explained = sql(session, &format!("EXPLAIN EXTENDED {query}"))
        .await
        .unwrap();
    let text = show(session, explained).await.unwrap();
    let (_, optimized) = text.split_once("== Optimized Logical Plan ==").unwrap();
    optimized.matches("TableScan: cached").count()
}

async fn cached(statement: &str) -> PlanSession {
    let session = session();
    run(
        &session,
        "CREATE TEMP VIEW n AS SELECT id, id % 3 AS k FROM range(10)",
    )
    .await;
    run(&session, statement).await;
    session
}

#[tokio::test]
async fn equal_plans_of_other_analyses_are_cached() {
    let session =
        cached("CACHE LAZY TABLE c AS SELECT k, count(*) AS n FROM n WHERE id > 2 GROUP BY k")
            .await;
    let same = "SELECT k, count(*) AS other FROM n WHERE id > 2 GROUP BY k";
    assert_eq!(scans(&session, same).await, 1);
    assert_eq!(
        scans(&session, &format!("SELECT * FROM ({same}) WHERE k = 1")).await,
        1
    );
    assert_eq!(
        scans(&session, &format!("{same} UNION ALL {same}")).await,
        2
    );
    for other in [
        "SELECT k, count(*) FROM n WHERE id > 3 GROUP BY k",
        "SELECT k, count(id + 1) FROM n WHERE id > 2 GROUP BY k",
        "SELECT k, count(*) FROM n WHERE k > 2 GROUP BY k",
        "SELECT id % 3 AS k, count(*) FROM range(11) WHERE id > 2 GROUP BY 1",
    ] {
        assert_eq!(scans(&session, other).await, 0, "{other}");
    }
}

#[tokio::test]
async fn internal_names_in_texts_are_no_names() {
    let session =
        cached("CACHE LAZY TABLE c AS SELECT id FROM n WHERE cast(id AS string) = 'a#1'").await;
    let query = |text: &str| format!("SELECT id FROM n WHERE cast(id AS string) = '{text}'");
    assert_eq!(scans(&session, &query("a#1")).await, 1);
    assert_eq!(scans(&session, &query("a#2")).await, 0);
}

#[tokio::test]
async fn subqueries_are_cached_and_hold_what_is_cached() {
    let session = cached("CACHE LAZY TABLE n").await;
    for (query, count) in [
        ("SELECT * FROM n WHERE id IN (SELECT k FROM n)", 2),
        ("SELECT * FROM n WHERE id < (SELECT max(k) FROM n)", 2),
        (
            "SELECT * FROM n a WHERE EXISTS (SELECT 1 FROM n b WHERE b.id = a.k)",
            2,
        ),
        ("SELECT (SELECT sum(id) FROM n) AS s FROM range(2)", 1),
    ] {
        assert_eq!(scans(&session, query).await, count, "{query}");
    }
    let with_subquery = "SELECT k FROM n WHERE id < (SELECT avg(id) FROM n)";
    run(&session, &format!("CACHE LAZY TABLE s AS {with_subquery}")).await;
    assert_eq!(scans(&session, with_subquery).await, 1);
    assert_eq!(
        scans(
            &session,
            "SELECT k FROM n WHERE id < (SELECT max(id) FROM n)"
        )
        .await,
        2
    );
}

#[tokio::test]
async fn what_is_uncached_is_computed() {
    let session = cached("CACHE LAZY TABLE n").await;
    run(&session, "CACHE LAZY TABLE m AS SELECT k FROM n").await;
    run(&session, "UNCACHE TABLE n").await;
    assert_eq!(scans(&session, "SELECT id FROM n").await, 0);
    assert_eq!(scans(&session, "SELECT * FROM m").await, 1);
    run(&session, "CREATE OR REPLACE TEMP VIEW m AS SELECT 1 AS one").await;
    assert_eq!(
        scans(&session, "SELECT k FROM n").await,
        0,
        "its view has another plan"
    );
    run(&session, "CACHE LAZY TABLE n").await;
    run(&session, "CLEAR CACHE").await;
    assert_eq!(scans(&session, "SELECT * FROM n").await, 0);
}
