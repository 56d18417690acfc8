//! What happens when nothing goes wrong.

use std::time::{Duration, Instant};

use pyrite_proto::cluster::ApplicationDescription;

use crate::harness::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_application_has_its_executors_as_long_as_it_lives() {
    let mut cluster = Cluster::new();
    let master = cluster.master(0).await;
    let (worker, ready) = cluster.worker(OBEDIENT, 3).await;
    let mut driver = cluster
        .driver(ApplicationDescription {
            conf: [("spark.a".to_owned(), "b".to_owned())].into(),
            ..application("etl")
        })
        .await;
    assert!(
        driver.app_id().starts_with("app-20") && driver.app_id().ends_with("-0000"),
        "{}",
        driver.app_id()
    );
    let executor = driver.executor().await;
    let pid = driver.pid(executor).await;

    let stdout = driver.dir(executor).join("stdout");
    eventually("the executor has told all", || {
        read(&stdout).contains("PYRITE_EXECUTOR_CONF=")
    })
    .await;
    let told = read(&stdout);
    for part in [
        "executor --driver-address=127.0.0.1:1",
        "--cores=3",
        "--memory-mib=512",
        "--executor-id=0",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(
        told.contains(&format!("--worker-id={}", ready.worker_id)),
        "{told}"
    );
    assert!(
        told.contains("PYRITE_APP_SECRET=of the application"),
        "{told}"
    );
    assert!(
        told.contains(r#"PYRITE_EXECUTOR_CONF={"spark.a":"b"}"#),
        "{told}"
    );

    let json = cluster.json(&cluster.web_ui_url);
    assert_eq!(json["coresused"], 3);
    assert_eq!(json["activeapps"][0]["name"], "etl");
    let json = cluster.json(&ready.web_ui_url);
    assert_eq!(json["executors"][0]["appid"], driver.app_id());
    let page = format!(
        "{}/logPage/?appId={}&executorId=0&logType=stdout&byteLength=9",
        ready.web_ui_url,
        driver.app_id()
    );
    let (status, body) = get(&page);
    assert!(
        status.contains("200") && body.contains("of"),
        "{status} {body}"
    );
    assert!(
        get(&format!(
            "{}/logPage/?appId=..&executorId=0&logType=stdout",
            ready.web_ui_url
        ))
        .0
        .contains("400")
    );

    let ended = Instant::now();
    driver.client.take().unwrap().unregister(false).await;
    eventually("the executor ends with its application", || !is_alive(pid)).await;
    assert!(
        ended.elapsed() < Duration::from_secs(2),
        "it took {:?}",
        ended.elapsed()
    );
    let json = cluster.json(&cluster.web_ui_url);
    assert_eq!(json["coresused"], 0);
    assert_eq!(json["completedapps"][0]["state"], "FINISHED");
    worker.stop().await;
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_vanishes_frees_its_cores_for_the_next() {
    let mut cluster = Cluster::new();
    let _master = cluster.master(0).await;
    let _worker = cluster.worker(OBEDIENT, 2).await;
    let mut first = cluster.driver(application("first")).await;
    let executor = first.executor().await;
    let pid = first.pid(executor).await;
    let mut second = cluster.driver(application("second")).await;
    drop(first.client.take());
    let executor = second.executor().await;
    second.pid(executor).await;
    eventually("the first executor ends", || !is_alive(pid)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn executors_end_with_their_worker() {
    let mut cluster = Cluster::new();
    let _master = cluster.master(0).await;
    let (worker, _) = cluster.worker(OBEDIENT, 2).await;
    let mut driver = cluster.driver(application("etl")).await;
    let executor = driver.executor().await;
    let pid = driver.pid(executor).await;
    worker.stop().await;
    assert!(!is_alive(pid));
    assert_eq!(driver.ended().await.0, executor);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_executors_are_replaced() {
    let mut cluster = Cluster::new();
    let _master = cluster.master(0).await;
    let _worker = cluster.worker(OBEDIENT, 2).await;
    let mut driver = cluster.driver(application("etl")).await;
    let executor = driver.executor().await;
    let pid = driver.pid(executor).await;
    driver
        .client
        .as_ref()
        .unwrap()
        .kill_executors(vec![executor])
        .await;
    assert_eq!(driver.ended().await.0, executor);
    let next = driver.executor().await;
    assert_eq!(next.0, executor.0 + 1);
    eventually("the killed executor ends", || !is_alive(pid)).await;
}
