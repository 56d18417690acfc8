//! Random histories: after every event all that the master knows fits together, and no core that
//! somebody waits for is left idle.

use std::time::Duration;

use proptest::prelude::*;
use pyrite_proto::cluster::{ApplicationDescription, ExecutorState, RegisterApplication};

use super::sim::{Did, Sim, at, description, running, worker};
use crate::ids::{ConnectionId, ExecutorId};
use crate::state::MasterEvent;

const NAMES: [&str; 4] = ["w1", "w2", "w3", "w4"];

#[derive(Debug, Clone)]
enum Step {
    Worker {
        name: usize,
        cores: u32,
        memory_gib: u64,
        reports: Vec<(u64, u32)>,
    },
    App {
        cores_max: u32,
        per_executor: u32,
        memory_gib: u64,
    },
    Return {
        number: u64,
        next: u32,
    },
    Change {
        connection: u64,
        app: u64,
        executor: u32,
        state: i32,
        status: Option<i32>,
    },
    Kill {
        connection: u64,
        executor: u32,
    },
    End {
        connection: u64,
    },
    Disconnect {
        connection: u64,
    },
    Beat {
        connection: u64,
    },
    Advance {
        seconds: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let connection = 1u64..25;
    prop_oneof![
        3 => (0..4usize, 1u32..9, 1u64..9, prop::collection::vec((0u64..4, 0u32..6), 0..3))
            .prop_map(|(name, cores, memory_gib, reports)| Step::Worker { name, cores, memory_gib, reports }),
        3 => (0u32..9, 0u32..4, 0u64..4)
            .prop_map(|(cores_max, per_executor, memory_gib)| Step::App { cores_max, per_executor, memory_gib }),
        1 => (0u64..4, 0u32..4).prop_map(|(number, next)| Step::Return { number, next }),
        4 => (connection.clone(), 0u64..6, 0u32..6, 0i32..6, prop::option::of(0i32..2))
            .prop_map(|(connection, app, executor, state, status)| Step::Change { connection, app, executor, state, status }),
        1 => (connection.clone(), 0u32..6).prop_map(|(connection, executor)| Step::Kill { connection, executor }),
        1 => connection.clone().prop_map(|connection| Step::End { connection }),
        2 => connection.clone().prop_map(|connection| Step::Disconnect { connection }),
        1 => connection.prop_map(|connection| Step::Beat { connection }),
        1 => (0u64..70).prop_map(|seconds| Step::Advance { seconds }),
    ]
}

fn apply(sim: &mut Sim, step: Step) -> Vec<Did> {
    match step {
        Step::Worker {
            name,
            cores,
            memory_gib,
            reports,
        } => {
            let mut message = worker(NAMES[name], cores, memory_gib * 1024);
            message.executors = reports
                .into_iter()
                .map(|(app, id)| running(&Sim::app_id(app), id, 1))
                .collect();
            sim.worker_with(NAMES[name], message).1
        }
        Step::App {
            cores_max,
            per_executor,
            memory_gib,
        } => {
            let application = ApplicationDescription {
                cores_max,
                cores_per_executor: per_executor,
                memory_mib_per_executor: memory_gib * 1024,
                ..description("any")
            };
            sim.app(application).1
        }
        Step::Return { number, next } => {
            let request = RegisterApplication {
                application: Some(description("back")),
                app_id: Sim::app_id(number).0,
                next_executor_id: next,
            };
            sim.register(request).1
        }
        Step::Change {
            connection,
            app,
            executor,
            state,
            status,
        } => {
            let state = ExecutorState::try_from(state).unwrap();
            sim.change(
                ConnectionId(connection),
                &Sim::app_id(app),
                executor,
                state,
                status,
            )
        }
        Step::Kill {
            connection,
            executor,
        } => {
            let executors = vec![ExecutorId(executor)];
            sim.handle(MasterEvent::KillExecutors {
                connection: ConnectionId(connection),
                executors,
            })
        }
        Step::End { connection } => sim.handle(MasterEvent::ApplicationEnds {
            connection: ConnectionId(connection),
            failed: false,
            at: at(),
        }),
        Step::Disconnect { connection } => sim.disconnect(ConnectionId(connection)),
        Step::Beat { connection } => {
            sim.beat(ConnectionId(connection));
            Vec::new()
        }
        Step::Advance { seconds } => sim.advance(Duration::from_secs(seconds)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_history_leaves_the_state_consistent(steps in prop::collection::vec(step(), 1..60)) {
        // Two applications of before a restart may return; new ones are numbered after them.
        let before = [Sim::app_id(0).0, Sim::app_id(1).0];
        let awaited: Vec<&str> = before.iter().map(String::as_str).collect();
        let mut sim = Sim::with(Default::default(), 2, &awaited);
        for step in steps {
            apply(&mut sim, step.clone());
            let more = sim.advance(Duration::ZERO);
            let idle = more.iter().any(|did| matches!(did, Did::Launch { .. }));
            prop_assert!(!idle, "{step:?} left cores idle that were wanted: {more:?}");
        }
    }
}
