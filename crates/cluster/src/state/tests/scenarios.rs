//! One story a test.

use std::time::Duration;

use pyrite_proto::cluster::{ApplicationDescription, ExecutorState, RegisterApplication};

use super::sim::{Did, Sim, at, description, running, worker};
use crate::ids::{AppId, ConnectionId, ExecutorId};
use crate::state::{MasterConfig, MasterEvent};

fn launch(worker: &'static str, number: u64, executor: u32, cores: u32) -> Did {
    Did::Launch {
        worker,
        app: Sim::app_id(number),
        executor,
        cores,
    }
}

fn added(worker: &str, executor: u32) -> Did {
    Did::Added {
        executor,
        host: format!("host-of-{worker}"),
    }
}

fn lost(executor: u32) -> Did {
    Did::Updated {
        executor,
        state: ExecutorState::Lost,
        worker_lost: true,
    }
}

#[test]
fn an_application_gets_all_free_cores_spread_over_workers() {
    let mut sim = Sim::new();
    sim.worker("w1", 2);
    sim.worker("w2", 4);
    let (_, did) = sim.app(description("etl"));
    assert_eq!(
        did,
        [
            Did::Save(Sim::app_id(0), 1),
            Did::TakeApplication(Sim::app_id(0)),
            launch("w2", 0, 0, 4),
            added("w2", 0),
            launch("w1", 0, 1, 2),
            added("w1", 1),
        ]
    );
    assert_eq!(Sim::app_id(0).0.len(), "app-20261122123456-0000".len());
}

#[test]
fn a_worker_that_comes_later_is_used_at_once() {
    let mut sim = Sim::new();
    sim.app(ApplicationDescription {
        cores_max: 3,
        ..description("etl")
    });
    let (_, did) = sim.worker("w1", 2);
    assert_eq!(
        did,
        [Did::TakeWorker("w1"), launch("w1", 0, 0, 2), added("w1", 0)]
    );
    let (_, did) = sim.worker("w2", 2);
    assert_eq!(
        did,
        [Did::TakeWorker("w2"), launch("w2", 0, 1, 1), added("w2", 1)]
    );
}

#[test]
fn the_next_application_waits_until_cores_are_free() {
    let mut sim = Sim::new();
    sim.worker("w1", 4);
    let (first, _) = sim.app(description("first"));
    let (_, did) = sim.app(description("second"));
    assert_eq!(
        did,
        [
            Did::Save(Sim::app_id(1), 2),
            Did::TakeApplication(Sim::app_id(1))
        ]
    );
    let did = sim.disconnect(first);
    assert_eq!(
        did,
        [
            Did::Finish {
                worker: "w1",
                app: Sim::app_id(0)
            },
            Did::Forget(Sim::app_id(0)),
            Did::Close(first),
            launch("w1", 1, 0, 4),
            added("w1", 0),
        ]
    );
    assert!(
        sim.disconnect(first).is_empty(),
        "a second notice of the same end changes nothing"
    );
}

#[test]
fn applications_share_when_the_first_sets_a_limit() {
    let mut sim = Sim::with(
        MasterConfig {
            default_cores: Some(1),
            ..MasterConfig::default()
        },
        7,
        &[],
    );
    sim.worker("w1", 4);
    let (_, did) = sim.app(description("default limit"));
    assert!(did.contains(&launch("w1", 7, 0, 1)), "{did:?}");
    let limits = ApplicationDescription {
        cores_max: 2,
        cores_per_executor: 1,
        ..description("own limit")
    };
    let (_, did) = sim.app(limits);
    assert!(
        did.contains(&launch("w1", 8, 0, 1)) && did.contains(&launch("w1", 8, 1, 1)),
        "{did:?}"
    );
}

#[test]
fn a_lost_worker_is_removed_once_and_its_executors_are_replaced() {
    let mut sim = Sim::new();
    let (w1, _) = sim.worker("w1", 2);
    sim.app(ApplicationDescription {
        cores_max: 2,
        ..description("etl")
    });
    sim.worker("w2", 2);
    let did = sim.disconnect(w1);
    assert_eq!(did, [lost(0), launch("w2", 0, 1, 2), added("w2", 1)]);
    assert!(sim.disconnect(w1).is_empty());
    sim.change(w1, &Sim::app_id(0), 0, ExecutorState::Exited, Some(1));
    assert_eq!(sim.state.stale_messages(), 1);
}

#[test]
fn a_silent_worker_is_lost_and_a_beating_one_is_not() {
    let mut sim = Sim::new();
    let (w1, _) = sim.worker("w1", 2);
    let (w2, _) = sim.worker("w2", 2);
    sim.app(description("etl"));
    sim.advance(Duration::from_secs(50));
    sim.beat(w2);
    let did = sim.advance(Duration::from_secs(11));
    assert_eq!(did, [lost(0), Did::Close(w1)]);
    assert!(sim.disconnect(w1).is_empty());
}

#[test]
fn a_failed_executor_is_replaced() {
    let mut sim = Sim::new();
    let (w1, _) = sim.worker("w1", 2);
    sim.app(description("etl"));
    let app = Sim::app_id(0);
    assert_eq!(
        sim.change(w1, &app, 0, ExecutorState::Running, None),
        [Did::Updated {
            executor: 0,
            state: ExecutorState::Running,
            worker_lost: false
        }]
    );
    let did = sim.change(w1, &app, 0, ExecutorState::Exited, Some(137));
    let gone = Did::Updated {
        executor: 0,
        state: ExecutorState::Exited,
        worker_lost: false,
    };
    assert_eq!(did, [gone, launch("w1", 0, 1, 2), added("w1", 1)]);
    let again = sim.change(w1, &app, 0, ExecutorState::Exited, Some(137));
    assert!(again.is_empty(), "a repeated report changes nothing");
}

#[test]
fn ten_failures_in_a_row_remove_the_application() {
    let mut sim = Sim::new();
    let (w1, _) = sim.worker("w1", 2);
    let (driver, _) = sim.app(description("broken"));
    let app = Sim::app_id(0);
    for executor in 0..9 {
        sim.change(w1, &app, executor, ExecutorState::Running, None);
        let did = sim.change(w1, &app, executor, ExecutorState::Exited, Some(1));
        assert!(did.contains(&launch("w1", 0, executor + 1, 2)), "{did:?}");
    }
    let did = sim.change(w1, &app, 9, ExecutorState::Exited, Some(1));
    let Some(Did::Removed(message)) = did.get(1) else {
        panic!("{did:?}")
    };
    assert!(
        message.contains("10 executors failed in a row") && message.contains("because"),
        "{message}"
    );
    assert_eq!(did[2..], [Did::Forget(app), Did::Close(driver)]);
}

#[test]
fn an_executor_that_lived_long_starts_the_count_anew() {
    let mut sim = Sim::new();
    let (w1, _) = sim.worker("w1", 1);
    sim.app(description("long"));
    let app = Sim::app_id(0);
    for executor in 0..40 {
        sim.now += Duration::from_secs(31);
        sim.beat(w1);
        let did = sim.change(w1, &app, executor, ExecutorState::Exited, Some(1));
        assert!(did.contains(&launch("w1", 0, executor + 1, 1)), "{did:?}");
    }
}

#[test]
fn clean_exits_and_kills_are_no_failures() {
    let mut sim = Sim::new();
    let (w1, _) = sim.worker("w1", 1);
    let (driver, _) = sim.app(description("etl"));
    let app = Sim::app_id(0);
    for executor in 0..20 {
        sim.change(w1, &app, executor, ExecutorState::Exited, Some(0));
    }
    let did = sim.handle(MasterEvent::KillExecutors {
        connection: driver,
        executors: vec![ExecutorId(20), ExecutorId(3)],
    });
    assert_eq!(
        did,
        [
            Did::Kill {
                worker: "w1",
                app: app.clone(),
                executor: 20
            },
            Did::Updated {
                executor: 20,
                state: ExecutorState::Killed,
                worker_lost: false
            },
            launch("w1", 0, 21, 1),
            added("w1", 21),
        ]
    );
}

#[test]
fn an_application_is_killed_when_somebody_asks() {
    let mut sim = Sim::new();
    sim.worker("w1", 4);
    sim.app(description("etl"));
    let page = sim.state.page(sim.now, at());
    let kill = |app_id: &str| MasterEvent::KillApplication {
        app_id: AppId::from(app_id),
        at: at(),
    };
    assert!(sim.handle(kill("app-other")).is_empty());
    sim.handle(kill(&page.active[0].id));
    let page = sim.state.page(sim.now, at());
    assert!(page.active.is_empty());
    assert_eq!(page.completed[0].state, "KILLED");
    assert_eq!(page.workers[0].cores_used, 0);
}

#[test]
fn peers_of_another_version_are_refused_with_both_versions() {
    let mut sim = Sim::new();
    let mut old = worker("w1", 1, 1024);
    old.version = "0.0.9".to_owned();
    let (connection, did) = sim.worker_with("w1", old);
    let [Did::Refuse(message), Did::Close(closed)] = &did[..] else {
        panic!("{did:?}")
    };
    assert_eq!(*closed, connection);
    assert!(
        message.contains("0.0.9") && message.contains(env!("CARGO_PKG_VERSION")),
        "{message}"
    );
    let (_, did) = sim.app(ApplicationDescription {
        protocol_version: 99,
        ..description("new")
    });
    assert!(
        matches!(&did[..], [Did::Refuse(m), Did::Close(_)] if m.contains("protocol 99")),
        "{did:?}"
    );
}

#[test]
fn a_worker_that_reconnects_keeps_its_executors() {
    let mut sim = Sim::new();
    let (old, _) = sim.worker("w1", 4);
    sim.app(ApplicationDescription {
        cores_per_executor: 2,
        ..description("etl")
    });
    let mut back = worker("w1", 4, 8192);
    back.executors = vec![
        running(&Sim::app_id(0), 0, 2),
        running(&AppId::from("app-unknown"), 5, 1),
    ];
    let (new, did) = sim.worker_with("w1", back);
    assert_eq!(
        did,
        [
            Did::Close(old),
            Did::TakeWorker("w1"),
            Did::Kill {
                worker: "w1",
                app: AppId::from("app-unknown"),
                executor: 5
            },
            Did::Updated {
                executor: 1,
                state: ExecutorState::Lost,
                worker_lost: false
            },
            launch("w1", 0, 2, 2),
            added("w1", 2),
        ]
    );
    assert!(
        sim.disconnect(old).is_empty(),
        "the end of the old connection is not the end of the worker"
    );
    assert_eq!(sim.disconnect(new).len(), 2);
}

fn returning(app: &str, next_executor_id: u32) -> RegisterApplication {
    RegisterApplication {
        application: Some(description("etl")),
        app_id: app.to_owned(),
        next_executor_id,
    }
}

#[test]
fn after_a_restart_applications_find_their_executors_again() {
    let mut sim = Sim::with(MasterConfig::default(), 5, &["app-old"]);
    let old = AppId::from("app-old");
    let mut back = worker("w1", 4, 8192);
    back.executors = vec![running(&old, 3, 2)];
    let (_, did) = sim.worker_with("w1", back);
    assert_eq!(did, [Did::TakeWorker("w1")]);
    // Another application gets only what the orphan leaves.
    let (_, did) = sim.app(ApplicationDescription {
        cores_max: 8,
        ..description("other")
    });
    assert!(did.contains(&launch("w1", 5, 0, 2)), "{did:?}");
    let (_, did) = sim.register(returning("app-old", 7));
    assert_eq!(did, [Did::TakeApplication(old.clone()), added("w1", 3)]);
    let mut late = worker("w2", 2, 8192);
    late.executors = vec![running(&old, 6, 1)];
    let (_, did) = sim.worker_with("w2", late);
    assert!(
        did.contains(&added("w2", 6)),
        "a worker that is back after the application counts, too: {did:?}"
    );
    assert_eq!(sim.state.executors_of(&old).len(), 2);
}

#[test]
fn orphans_are_given_up_after_a_while() {
    let mut sim = Sim::with(MasterConfig::default(), 5, &["app-old"]);
    let mut back = worker("w1", 4, 8192);
    back.executors = vec![running(&AppId::from("app-old"), 3, 4)];
    let (w1, _) = sim.worker_with("w1", back);
    sim.app(description("waiting"));
    sim.advance(Duration::from_secs(50));
    sim.beat(w1);
    let did = sim.advance(Duration::from_secs(11));
    assert_eq!(
        did,
        [
            Did::Kill {
                worker: "w1",
                app: AppId::from("app-old"),
                executor: 3
            },
            Did::Forget(AppId::from("app-old")),
            launch("w1", 5, 0, 4),
            added("w1", 0),
        ]
    );
    let (_, did) = sim.register(returning("app-old", 4));
    assert!(
        matches!(&did[..], [Did::Refuse(m), Did::Close(_)] if m.contains("app-old")),
        "{did:?}"
    );
}

#[test]
fn an_application_that_ended_cannot_return() {
    let mut sim = Sim::with(MasterConfig::default(), 5, &["app-old"]);
    let (driver, _) = sim.register(returning("app-old", 1));
    let (_, did) = sim.register(returning("app-old", 1));
    assert!(
        matches!(&did[..], [Did::Refuse(_), Did::Close(_)]),
        "not twice at a time: {did:?}"
    );
    sim.handle(MasterEvent::ApplicationEnds {
        connection: driver,
        failed: true,
        at: at(),
    });
    let (_, did) = sim.register(returning("app-old", 1));
    assert!(
        matches!(&did[..], [Did::Refuse(_), Did::Close(_)]),
        "{did:?}"
    );
}

#[test]
fn messages_of_strangers_are_counted_and_ignored() {
    let mut sim = Sim::new();
    let nobody = ConnectionId(99);
    sim.beat(nobody);
    sim.change(nobody, &Sim::app_id(0), 0, ExecutorState::Exited, None);
    assert!(
        sim.handle(MasterEvent::KillExecutors {
            connection: nobody,
            executors: vec![ExecutorId(0)]
        })
        .is_empty()
    );
    let end = MasterEvent::ApplicationEnds {
        connection: nobody,
        failed: false,
        at: at(),
    };
    assert!(sim.handle(end).is_empty());
    assert_eq!(sim.state.stale_messages(), 4);
}

#[test]
fn pages_show_who_has_what() {
    let mut sim = Sim::new();
    sim.worker("w1", 4);
    let (first, _) = sim.app(ApplicationDescription {
        cores_max: 3,
        ..description("first")
    });
    sim.app(ApplicationDescription {
        cores_per_executor: 2,
        ..description("waits")
    });
    let page = sim.state.page(sim.now, at());
    assert_eq!((page.workers[0].cores, page.workers[0].cores_used), (4, 3));
    let shown: Vec<_> = page
        .active
        .iter()
        .map(|a| (a.name.as_str(), a.cores, a.state))
        .collect();
    assert_eq!(shown, [("first", 3, "WAITING"), ("waits", 0, "WAITING")]);
    sim.disconnect(first);
    let page = sim.state.page(sim.now, at());
    assert_eq!(
        (page.completed[0].name.as_str(), page.completed[0].state),
        ("first", "FINISHED")
    );
}
