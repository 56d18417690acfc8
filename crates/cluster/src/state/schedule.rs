//! Who gets which cores. Follows Spark's standalone master: applications in order of arrival,
//! executors spread over workers or packed, bounded by cores and memory.

use std::time::Instant;

use pyrite_proto::cluster::{ExecutorState, LaunchExecutor, master_to_worker as to_worker};

use super::messages::added;
use super::{Executor, Grant, MasterAction, MasterState};
use crate::ids::{ExecutorId, WorkerId};

/// What one worker has to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Free cores.
    pub cores: u32,
    /// Free memory.
    pub memory_mib: u64,
}

/// What one application still wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Cores until its limit.
    pub cores: u32,
    /// Cores of one executor; `None` for one executor a worker with all it can get.
    pub cores_per_executor: Option<u32>,
    /// Memory of one executor.
    pub memory_mib_per_executor: u64,
}

/// Executors for one worker: how many, and the cores of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Number of executors.
    pub executors: u32,
    /// Cores of each.
    pub cores_each: u32,
}

/// Decides what each of `offers`, in this order, gives to one application.
///
/// With `spread_out` the cores go round the workers one executor (or one core) at a time, else each
/// worker is used up before the next.
pub fn place(offers: &[Offer], demand: Demand, spread_out: bool) -> Vec<Placement> {
    let step = demand.cores_per_executor.unwrap_or(1).max(1);
    let one_each = demand.cores_per_executor.is_none();
    let mut cores = vec![0u32; offers.len()];
    let mut executors = vec![0u32; offers.len()];
    let mut left = demand.cores;
    let fits = |at: usize, cores: &[u32], executors: &[u32], left: u32| {
        if left < step || offers[at].cores - cores[at] < step {
            return false;
        }
        let is_new = !one_each || executors[at] == 0;
        let wanted = demand
            .memory_mib_per_executor
            .saturating_mul(u64::from(executors[at]) + 1);
        !is_new || wanted <= offers[at].memory_mib
    };
    loop {
        let mut gave = false;
        for at in 0..offers.len() {
            while fits(at, &cores, &executors, left) {
                left -= step;
                cores[at] += step;
                executors[at] = if one_each { 1 } else { executors[at] + 1 };
                gave = true;
                if spread_out {
                    break;
                }
            }
        }
        if !gave {
            break;
        }
    }
    cores
        .into_iter()
        .zip(executors)
        .map(|(cores, executors)| Placement {
            executors,
            cores_each: if one_each { cores } else { step },
        })
        .collect()
}

impl MasterState {
    /// Gives free cores to waiting applications.
    pub(super) fn schedule(&mut self, now: Instant, actions: &mut Vec<MasterAction>) {
        for app_id in self.queue.clone() {
            let application = &self.applications[&app_id];
            let description = &application.description;
            let demand = Demand {
                cores: application.cores_left(&self.config),
                cores_per_executor: Some(description.cores_per_executor).filter(|cores| *cores > 0),
                memory_mib_per_executor: description.memory_mib_per_executor,
            };
            let mut workers: Vec<(WorkerId, Offer)> = self
                .workers
                .iter()
                .map(|(id, worker)| {
                    (
                        id.clone(),
                        Offer {
                            cores: worker.cores_free(),
                            memory_mib: worker.memory_free(),
                        },
                    )
                })
                .filter(|(_, offer)| offer.cores > 0)
                .collect();
            // Most cores first; of equals the lower id, so that the outcome does not depend on chance.
            workers
                .sort_by(|(a_id, a), (b_id, b)| b.cores.cmp(&a.cores).then_with(|| a_id.cmp(b_id)));
            let offers: Vec<Offer> = workers.iter().map(|(_, offer)| *offer).collect();
            let placements = place(&offers, demand, self.config.spread_out);
            for ((worker_id, _), placement) in workers.iter().zip(placements) {
                for _ in 0..placement.executors {
                    self.launch(&app_id, worker_id, placement.cores_each, now, actions);
                }
            }
        }
    }

    fn launch(
        &mut self,
        app_id: &crate::ids::AppId,
        worker_id: &WorkerId,
        cores: u32,
        now: Instant,
        actions: &mut Vec<MasterAction>,
    ) {
        let application = self
            .applications
            .get_mut(app_id)
            .expect("queued applications are known");
        let worker = self
            .workers
            .get_mut(worker_id)
            .expect("only known workers are offered");
        let executor_id = ExecutorId(application.next_executor);
        application.next_executor += 1;
        let memory_mib = application.description.memory_mib_per_executor;
        let grant = Grant {
            cores,
            memory_mib,
            orphan_until: None,
        };
        worker.grants.insert((app_id.clone(), executor_id), grant);
        application.executors.insert(
            executor_id,
            Executor {
                worker: worker_id.clone(),
                cores,
                state: ExecutorState::Launching,
                launched: now,
            },
        );
        actions.push(MasterAction::ToWorker(
            worker.connection,
            to_worker::Message::LaunchExecutor(LaunchExecutor {
                app_id: app_id.0.clone(),
                executor_id: executor_id.0,
                cores,
                memory_mib,
                application: Some(application.description.clone()),
            }),
        ));
        actions.push(added(
            application.connection,
            executor_id,
            worker_id,
            &worker.host,
            grant,
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn offers(cores: &[u32]) -> Vec<Offer> {
        cores
            .iter()
            .map(|cores| Offer {
                cores: *cores,
                memory_mib: 4096,
            })
            .collect()
    }

    fn demand(cores: u32, per_executor: Option<u32>) -> Demand {
        Demand {
            cores,
            cores_per_executor: per_executor,
            memory_mib_per_executor: 1024,
        }
    }

    fn shape(placements: &[Placement]) -> Vec<(u32, u32)> {
        placements
            .iter()
            .map(|p| (p.executors, p.cores_each))
            .collect()
    }

    #[test]
    fn an_application_without_limits_gets_one_executor_a_worker_with_all_cores() {
        let placed = place(&offers(&[4, 2]), demand(u32::MAX, None), true);
        assert_eq!(shape(&placed), [(1, 4), (1, 2)]);
    }

    #[test]
    fn cores_are_spread_or_packed() {
        assert_eq!(
            shape(&place(&offers(&[4, 4]), demand(4, None), true)),
            [(1, 2), (1, 2)]
        );
        assert_eq!(
            shape(&place(&offers(&[4, 4]), demand(4, None), false)),
            [(1, 4), (0, 0)]
        );
        assert_eq!(
            shape(&place(&offers(&[4, 4]), demand(6, Some(2)), true)),
            [(2, 2), (1, 2)]
        );
        assert_eq!(
            shape(&place(&offers(&[4, 4]), demand(6, Some(2)), false)),
            [(2, 2), (1, 2)]
        );
    }

    #[test]
    fn executors_need_all_their_cores_and_memory() {
        assert_eq!(
            shape(&place(&offers(&[3]), demand(8, Some(4)), true)),
            [(0, 4)]
        );
        let tight = [Offer {
            cores: 8,
            memory_mib: 2047,
        }];
        assert_eq!(shape(&place(&tight, demand(8, Some(1)), true)), [(1, 1)]);
        assert_eq!(shape(&place(&tight, demand(8, None), true)), [(1, 8)]);
        let none = [Offer {
            cores: 8,
            memory_mib: 1023,
        }];
        assert_eq!(shape(&place(&none, demand(8, None), true)), [(0, 0)]);
    }

    proptest! {
        #[test]
        fn nothing_is_given_that_is_not_there(
            cores in prop::collection::vec((0u32..9, 0u64..6000), 0..6),
            want in 0u32..40,
            per_executor in prop::option::of(1u32..5),
            memory_mib_per_executor in 0u64..3000,
            spread_out: bool,
        ) {
            let offers: Vec<_> = cores.iter().map(|(cores, memory_mib)| Offer { cores: *cores, memory_mib: *memory_mib }).collect();
            let demand = Demand { cores: want, cores_per_executor: per_executor, memory_mib_per_executor };
            let placed = place(&offers, demand, spread_out);
            let mut total = 0;
            for (offer, placement) in offers.iter().zip(&placed) {
                let given = placement.executors * placement.cores_each;
                prop_assert!(given <= offer.cores);
                prop_assert!(u64::from(placement.executors) * memory_mib_per_executor <= offer.memory_mib);
                total += given;
            }
            prop_assert!(total <= want);
        }
    }
}
