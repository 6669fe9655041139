//! Where a case is played: the world, what is unhealthy in it, and the invariants that are checked at every call.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::memory::MemoryHealth;
use bluegreen_core::pipeline::{Contract, PipelineBuilder, Retention, Strategy, TrafficStep, Undecided};
use bluegreen_core::testing::{Faults, Faulty, ScriptedGate};
use bluegreen_core::{Health, HealthCheck, Instance, Result, Slot, Split, Target, Verdict, Version, When};

use super::case::{Case, Deployer};
use super::drift::Drift;
use crate::world::{World, seconds, service};

#[derive(Debug, Clone)]
pub(super) struct Stage {
    pub(super) world: World,
    unhealthy: Arc<Mutex<BTreeSet<Version>>>,
    case: Arc<Case>,
}

impl Stage {
    pub(super) fn new(case: &Case) -> Self {
        let world = World::new();
        world.router.set_in_flight(Slot::Blue, case.in_flight[0]);
        world.router.set_in_flight(Slot::Green, case.in_flight[1]);
        Self { world, unhealthy: Arc::default(), case: Arc::new(case.clone()) }
    }

    pub(super) fn sicken(&self, version: Option<Version>) {
        self.unhealthy.lock().unwrap().extend(version);
    }

    /// A deployer's pipeline.
    pub(super) fn builder(&self, by: Deployer, faults: &Faults) -> PipelineBuilder {
        let Case { canary, verdicts, undecided, retention, contract, before_start, bob_migrates, .. } = &*self.case;
        let builder = self
            .world
            .builder_for(faults, name(by))
            .health(Faulty::new(SickHealth(self.unhealthy.clone()), faults))
            .require_healthy_rollback_target(self.case.require_healthy_rollback_target);
        let builder = if self.case.hooks { self.world.with_hooks(builder, faults) } else { builder };
        let migrator = |when| {
            let migrator = bluegreen_core::testing::RecordingMigrator::new(when, &self.world.migrations);
            Faulty::new(migrator, faults)
        };
        if by == Deployer::Bob {
            return match bob_migrates {
                true => builder.migrator(migrator(When::BeforeStart)),
                false => builder,
            };
        }
        let strategy = match canary {
            true => {
                let steps = [TrafficStep::new(10, seconds(2)), TrafficStep::new(100, Duration::ZERO)];
                Strategy::canary(steps).bake(seconds(2))
            }
            false => Strategy::blue_green(),
        };
        let verdicts = verdicts.iter().map(|verdict| match verdict {
            0 => Verdict::Fail { reason: "bad".into() },
            1 | 2 => Verdict::Undecided { needs: "more".into() },
            3 => Verdict::Hold { reason: "unhealthy".into() },
            _ => Verdict::Pass { evidence: "good".into() },
        });
        let undecided = [Undecided::Hold, Undecided::Abort, Undecided::Accept][usize::from(*undecided)];
        let retention =
            [Retention::For(seconds(60)), Retention::UntilNextDeploy, Retention::Retire][usize::from(*retention)];
        builder
            .strategy(strategy.when_undecided(undecided))
            .retention(retention)
            .contract(if *contract { Contract::AfterBake } else { Contract::WhenAsked })
            .migrator(migrator(if *before_start { When::BeforeStart } else { When::AfterStart }))
            .gate(Faulty::new(ScriptedGate::new(verdicts), faults))
    }

    /// Faults whose calls are watched: the invariants hold at each, and the case's drift happens at its number.
    pub(super) fn watched(&self, by: Deployer, drift: Vec<(u64, Drift)>) -> Faults {
        let (faults, stage, seen) = (Faults::new(), self.clone(), Mutex::new(Seen::default()));
        let numbers = faults.clone();
        faults.witness(move |call| {
            let mut seen = seen.lock().unwrap();
            seen.check(&stage, by, call);
            if call.starts_with("before ") {
                let number = numbers.calls() - 1;
                for (_, drift) in drift.iter().filter(|(at, _)| *at == number) {
                    drift.happen(&stage);
                    seen.drifted(*drift);
                }
            }
        });
        faults
    }
}

/// What a deployer may still believe: what it saw last, unless something has changed since.
#[derive(Debug, Default)]
struct Seen {
    /// Since each slot was last looked into.
    slot_changed: [bool; 2],
    /// Since the router was last asked.
    router_changed: bool,
    record_lost: bool,
    drifted: bool,
}

impl Seen {
    fn drifted(&mut self, drift: Drift) {
        self.drifted = true;
        match drift {
            Drift::Switch(_) => self.router_changed = true,
            Drift::LoseRecord => self.record_lost = true,
            _ => self.slot_changed = [true; 2],
        }
    }

    fn check(&mut self, stage: &Stage, by: Deployer, call: &str) {
        let world = &stage.world;
        let split = world.router.split();
        let routed = |slot: Slot| split.is_some_and(|split| split.routes_to(slot));
        for slot in Slot::BOTH {
            let looks = ["before health.check", "before runtime.inspect"].map(|look| format!("{look} {slot}"));
            if looks.iter().any(|look| call.starts_with(look)) {
                self.slot_changed[slot as usize] = false;
            }
        }
        if call == "before router.current" {
            self.router_changed = false;
        }
        if let Some(to) = call.strip_prefix("before router.shift to ") {
            for slot in Slot::BOTH.into_iter().filter(|slot| gains(*slot, split, to)) {
                let runs = world.runtime.instance(slot).is_running();
                assert!(runs || self.slot_changed[slot as usize], "{call}: {slot} gains traffic and does not run");
            }
        }
        for slot in Slot::BOTH {
            if call.starts_with(&format!("before runtime.stop {slot}")) {
                assert!(!routed(slot) || self.router_changed, "{call}: it has traffic");
            }
        }
        let acts = [
            "router.shift",
            "router.attach",
            "runtime.prepare",
            "runtime.start",
            "runtime.stop",
            "migrator.migrate",
            "hook.run",
        ];
        let before = call.strip_prefix("before ");
        if before.is_some_and(|call| acts.iter().any(|act| call.starts_with(act))) && !self.record_lost {
            let lease = world.store.state(&service()).and_then(|state| state.lease);
            let held_by = lease.map(|lease| lease.holder);
            assert_eq!(held_by.as_deref(), Some(name(by)), "{call} without the lease");
        }
    }
}

fn gains(slot: Slot, from: Option<Split>, to: &str) -> bool {
    let candidates = [Split::all(Slot::Blue), Split::all(Slot::Green)]
        .into_iter()
        .chain((1..100).filter_map(|percent| Split::toward(Slot::Green, percent).ok()));
    let to = candidates.into_iter().find(|split| split.to_string() == to).expect("a split");
    to.share(slot) > from.map_or(0, |from| from.share(slot))
}

fn name(by: Deployer) -> &'static str {
    match by {
        Deployer::Ann => "ann",
        Deployer::Bob => "bob",
    }
}

/// As the memory health check, but for the versions that are unhealthy.
#[derive(Debug)]
struct SickHealth(Arc<Mutex<BTreeSet<Version>>>);

impl std::fmt::Display for SickHealth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("health check")
    }
}

#[async_trait]
impl HealthCheck for SickHealth {
    async fn check(&self, target: &Target, instance: &Instance) -> Result<Health> {
        let unhealthy = instance.version().is_some_and(|version| self.0.lock().unwrap().contains(version));
        match unhealthy {
            true => Ok(Health::unhealthy("503 Service Unavailable")),
            false => MemoryHealth::new().check(target, instance).await,
        }
    }
}
