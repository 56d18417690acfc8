//! Answers recorded from Apache Spark (see `record.py`) against ours.

mod support;

use std::path::Path;

use pyrite_plan::PlanSession;
use pyrite_proto::error::SparkError;
use support::{session, show, sql};

/// Schema and table of a statement, as the recording writes them.
async fn answer(session: &PlanSession, text: &str) -> Result<Vec<String>, SparkError> {
    let relation = sql(session, text).await?;
    let plan = session.resolve(&relation).await?;
    let arrow = arrow::datatypes::DataType::Struct(plan.arrow_schema().fields().clone());
    let mut out = vec![pyrite_functions::type_names::simple_name(&arrow)];
    assert!(plan.spark_schema()?.kind.is_some());
    if plan.fields.is_empty() {
        return Ok(out);
    }
    let shown = show(session, relation).await?;
    let mut rows: Vec<String> = shown.trim_end().split('\n').map(str::to_owned).collect();
    if !text.to_lowercase().contains("order by") {
        let end = rows.len() - 1;
        rows[3..end].sort();
    }
    out.extend(rows);
    Ok(out)
}

/// Compares a recording; returns how many statements it has and those that differ.
async fn differences(name: &str) -> (usize, Vec<String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name);
    let text = std::fs::read_to_string(&path).expect("the recording is there");
    let session = session();
    let (mut failures, mut total) = (vec![], 0);
    for block in text.split("\n<<<") {
        let Some(block) = block.trim_start().strip_prefix(">>> ") else {
            continue;
        };
        let start = block
            .find("\nstruct<")
            .or(block.find("\nerror "))
            .expect("a recorded answer has a schema or an error");
        let (sql, expected) = (block[..start].trim(), block[start + 1..].trim_end());
        total += 1;
        let actual = match answer(&session, sql).await {
            Ok(lines) => lines.join("\n"),
            Err(e) if e.condition.is_empty() => format!("error {}", e.message),
            Err(e) if format!("error {}", e.condition) == expected => expected.to_owned(),
            Err(e) => format!("error {}: {}", e.condition, e.message),
        };
        if actual.trim_end() != expected {
            failures.push(format!(
                "{sql}\n--- Spark\n{expected}\n--- here\n{actual}\n"
            ));
        }
    }
    assert!(total > 0, "{name} holds no statements");
    (total, failures)
}

async fn check(name: &str) {
    let (total, failures) = differences(name).await;
    assert!(
        failures.is_empty(),
        "{} of {total} statements differ from Spark:\n\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn basic_queries_answer_as_spark() {
    check("basic.txt").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_answer_as_spark() {
    check("functions.txt").await;
}

/// What is known to be missing; a statement that starts to work moves to another file.
#[tokio::test(flavor = "multi_thread")]
async fn known_gaps_are_still_gaps() {
    let (total, failures) = differences("gaps.txt").await;
    assert_eq!(
        failures.len(),
        total,
        "a gap is closed; still open:\n\n{}",
        failures.join("\n")
    );
}
