//! What happens when something goes wrong.

use std::net::TcpListener;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pyrite_cluster::ClusterError;
use pyrite_cluster::client::{ApplicationClient, ApplicationEvent};

use pyrite_proto::PROTOCOL_VERSION;
use pyrite_proto::cluster::master_service_client::MasterServiceClient;
use pyrite_proto::cluster::{
    ApplicationDescription, DriverToMaster, RegisterApplication, RegisterWorker, WorkerToMaster,
    driver_to_master, master_to_driver, master_to_worker, worker_to_master,
};

use crate::harness::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_executor_is_reported_and_replaced() {
    let mut cluster = Cluster::new();
    let _master = cluster.master(0).await;
    let _worker = cluster.worker(OBEDIENT, 2).await;
    let mut driver = cluster.driver(application("etl")).await;
    let executor = driver.executor().await;
    let pid = driver.pid(executor).await;
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    assert_eq!(driver.ended().await, (executor, Some(137), false));
    let next = driver.executor().await;
    assert_ne!(driver.pid(next).await, pid);
}

#[tokio::test(flavor = "multi_thread")]
async fn executors_that_cannot_live_end_their_application() {
    let mut cluster = Cluster::new();
    let _master = cluster.master(0).await;
    let _worker = cluster.worker(BROKEN, 1).await;
    let mut driver = cluster.driver(application("broken")).await;
    let message = loop {
        if let ApplicationEvent::Removed { message } = driver.next().await {
            break message;
        }
    };
    assert!(
        message.contains("10 executors failed in a row") && message.contains("exited with code 3"),
        "{message}"
    );
    assert!(
        within(driver.events.recv()).await.is_none(),
        "nothing follows"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_ignores_sigterm_is_killed() {
    let mut cluster = Cluster::new();
    let _master = cluster.master(0).await;
    let _worker = cluster.worker(STUBBORN, 1).await;
    let mut driver = cluster.driver(application("stubborn")).await;
    let executor = driver.executor().await;
    let pid = driver.pid(executor).await;
    drop(driver.client.take());
    eventually("it is killed", || !is_alive(pid)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_outlives_a_restart_of_its_master() {
    let mut cluster = Cluster::new();
    let port = {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    cluster.conf.set("spark.port.maxRetries", "0");
    let master = cluster.master(port).await;
    let _worker = cluster.worker(OBEDIENT, 2).await;
    let mut driver = cluster.driver(application("long")).await;
    let app_id = driver.app_id().to_owned();
    let executor = driver.executor().await;
    let pid = driver.pid(executor).await;
    master.stop().await;
    loop {
        if let ApplicationEvent::MasterLost { .. } = driver.next().await {
            break;
        }
    }
    let _master = cluster.master(port).await;
    assert_eq!(driver.next().await, ApplicationEvent::MasterReconnected);
    assert_eq!(
        driver.executor().await,
        executor,
        "the same executor is announced again"
    );
    assert!(is_alive(pid));
    let json = cluster.json(&cluster.web_ui_url);
    assert_eq!(
        (
            json["activeapps"][0]["id"].as_str(),
            json["coresused"].as_u64()
        ),
        (Some(app_id.as_str()), Some(2))
    );
    let mut next = cluster.driver(application("next")).await;
    assert!(
        next.app_id().ends_with("-0001"),
        "numbers go on: {}",
        next.app_id()
    );
    driver.client.take().unwrap().unregister(false).await;
    next.executor().await;
    eventually("the executor ends", || !is_alive(pid)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_master_a_driver_gives_up_with_sparks_words() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let masters = [
        ("127.0.0.1".to_owned(), free),
        ("127.0.0.1".to_owned(), free),
    ];
    let error = ApplicationClient::register(&masters, application("etl"), None, &impatient())
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("All masters are unresponsive! Giving up."),
        "{text}"
    );
    assert!(
        text.contains(&format!("spark://127.0.0.1:{free},127.0.0.1:{free}")),
        "{text}"
    );
    assert!(
        text.contains("3 times") && text.contains("refused"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_does_not_answer_is_given_up_in_time() {
    // A port that accepts connections and says nothing.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let masters = [("127.0.0.1".to_owned(), mute.local_addr().unwrap().port())];
    let mut options = impatient();
    options.attempts = 1;
    let error = within(ApplicationClient::register(
        &masters,
        application("etl"),
        None,
        &options,
    ))
    .await
    .unwrap_err();
    assert!(error.is_retryable(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_peers_with_the_secret_come_in() {
    let mut cluster = Cluster::new();
    cluster.secret = Some("open sesame".to_owned());
    let _master = cluster.master(0).await;
    for secret in [None, Some("open barley")] {
        let error = ApplicationClient::register(
            &cluster.masters,
            application("thief"),
            secret,
            &impatient(),
        )
        .await
        .unwrap_err();
        assert!(matches!(error, ClusterError::Secret { .. }), "{error}");
        let mut options = cluster.worker_options(OBEDIENT, 1);
        options.secret = secret.map(str::to_owned);
        let error = start_worker(options).failure().await;
        assert!(matches!(error, ClusterError::Secret { .. }), "{error}");
    }
    let _worker = cluster.worker(OBEDIENT, 1).await;
    let mut driver = cluster.driver(application("friend")).await;
    driver.executor().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_master_takes_the_next_port() {
    let mut cluster = Cluster::new();
    let _first = cluster.master(0).await;
    let port = cluster.masters[0].1;
    let _second = cluster.master(port).await;
    assert!(
        (port + 1..=port + 16).contains(&cluster.masters[0].1),
        "{:?}",
        cluster.masters
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_finds_its_master_when_it_comes_later() {
    let mut cluster = Cluster::new();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    cluster.conf.set("spark.port.maxRetries", "0");
    cluster.masters = vec![("127.0.0.1".to_owned(), port)];
    let worker = start_worker(cluster.worker_options(OBEDIENT, 1));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let _master = cluster.master(port).await;
    let mut driver = cluster.driver(application("etl")).await;
    driver.executor().await;
    worker.stop().await;
    assert!(
        driver.ended().await.2,
        "a worker that stops is a lost worker"
    );
}

/// Registers an application of some version; gives the refusal.
async fn refused_application(address: &str, version: &str) -> Option<String> {
    let register = RegisterApplication {
        application: Some(ApplicationDescription {
            version: version.to_owned(),
            protocol_version: PROTOCOL_VERSION,
            ..application("etl")
        }),
        ..Default::default()
    };
    let message = DriverToMaster {
        message: Some(driver_to_master::Message::Register(register)),
    };
    let mut client = MasterServiceClient::connect(address.to_owned())
        .await
        .unwrap();
    let answers = client.connect_application(tokio_stream::once(message));
    let mut answers = within(answers).await.unwrap().into_inner();
    match within(answers.message()).await.unwrap().unwrap().message {
        Some(master_to_driver::Message::Registered(_)) => None,
        Some(master_to_driver::Message::Refused(refused)) => Some(refused.message),
        other => panic!("{other:?}"),
    }
}

/// Registers a worker of some version; gives the refusal.
async fn refused_worker(address: &str, version: &str) -> Option<String> {
    let register = RegisterWorker {
        worker_id: format!("worker-{version}"),
        host: "127.0.0.1".to_owned(),
        cores: 1,
        memory_mib: 1024,
        version: version.to_owned(),
        protocol_version: PROTOCOL_VERSION,
        ..Default::default()
    };
    let message = WorkerToMaster {
        message: Some(worker_to_master::Message::Register(register)),
    };
    let mut client = MasterServiceClient::connect(address.to_owned())
        .await
        .unwrap();
    let answers = client.connect_worker(tokio_stream::once(message));
    let mut answers = within(answers).await.unwrap().into_inner();
    match within(answers.message()).await.unwrap().unwrap().message {
        Some(master_to_worker::Message::Registered(_)) => None,
        Some(master_to_worker::Message::Refused(refused)) => Some(refused.message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_of_another_version_are_told_both() {
    let mut cluster = Cluster::new();
    let _master = cluster.master(0).await;
    let address = format!("http://127.0.0.1:{}", cluster.masters[0].1);
    let own = env!("CARGO_PKG_VERSION");
    for (peer, refused) in [
        ("application", refused_application(&address, "0.0.9").await),
        ("worker", refused_worker(&address, "0.0.9").await),
    ] {
        let refused = refused.unwrap_or_else(|| panic!("the {peer} was taken in"));
        let versions = [
            format!("Pyrite {own} "),
            format!("this {peer} runs Pyrite 0.0.9 "),
        ];
        assert!(versions.iter().all(|v| refused.contains(v)), "{refused}");
    }
    // Nothing but the version was wrong with them.
    assert_eq!(refused_application(&address, own).await, None);
    assert_eq!(refused_worker(&address, own).await, None);
}
