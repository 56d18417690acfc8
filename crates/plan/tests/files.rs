//! Files written and read back.

mod support;

use support::{run, session, shown, sql};

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_back_from_every_format() {
    let directory = tempfile::tempdir().unwrap();
    let session = session();
    for format in ["parquet", "csv", "json"] {
        let path = directory.path().join(format);
        let write = format!(
            "INSERT OVERWRITE DIRECTORY '{}' USING {format} OPTIONS (header 'true') SELECT id, CAST(id AS STRING) AS name, id / 2 AS half FROM range(5)",
            path.display()
        );
        run(&session, &write).await;
        assert!(path.join("_SUCCESS").exists(), "{format}");
        assert!(!path.join("_temporary").exists(), "{format}");
        let view = format!(
            "CREATE OR REPLACE TEMP VIEW v USING {format} OPTIONS (path '{}', header 'true', inferSchema 'true')",
            path.display()
        );
        run(&session, &view).await;
        let rows = shown(&session, "SELECT id, half FROM v WHERE id > 2 ORDER BY id").await;
        assert_eq!(rows, ["|id |half|", "|3  |1.5 |", "|4  |2.0 |"], "{format}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_take_rows_and_partitions() {
    let directory = tempfile::tempdir().unwrap();
    let session = session();
    session
        .set_conf("spark.sql.session.timeZone", "UTC")
        .unwrap();
    let location = directory.path().join("t");
    let create = format!(
        "CREATE TABLE t USING parquet PARTITIONED BY (b) LOCATION '{}' AS SELECT id AS a, CAST(id % 2 AS INT) AS b FROM range(4)",
        location.display()
    );
    run(&session, &create).await;
    assert!(location.join("b=0").is_dir());
    run(&session, "INSERT INTO t SELECT 10L, 1").await;
    let rows = shown(
        &session,
        "SELECT b, count(*) AS n, sum(a) AS s FROM t GROUP BY b ORDER BY b",
    )
    .await;
    assert_eq!(rows, ["|b  |n  |s  |", "|0  |2  |2  |", "|1  |3  |14 |"]);
    let error = sql(&session, &create).await.unwrap_err();
    assert_eq!(error.condition, "TABLE_OR_VIEW_ALREADY_EXISTS");
    run(&session, "DROP TABLE t").await;
    let error = sql(&session, "SELECT * FROM t").await.unwrap_err();
    assert_eq!(error.condition, "TABLE_OR_VIEW_NOT_FOUND");
}
