//! Whatever is done with a release, at any time: the adapters are given the settings it was deployed with.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bluegreen_core::pipeline::{Contract, PipelineBuilder};
use bluegreen_core::state::State;
use bluegreen_core::testing::Fault;
use bluegreen_core::{Health, HealthCheck, Instance, Migrator, Phase, Release, Result, Slot, Target, When};

use crate::world::{World, release, service, version};

/// Notes which settings it is given, as `contract 2: workers=4`.
#[derive(Debug, Clone, Default)]
struct Spy(Arc<Mutex<Vec<String>>>);

impl Spy {
    fn note(&self, what: impl std::fmt::Display, target: &Target) {
        let settings: Vec<_> = target.release.settings().map(|(key, value)| format!("{key}={value}")).collect();
        self.0.lock().unwrap().push(format!("{what} {}: {}", target.version(), settings.join(" ")));
    }

    /// What was noted since the last time, each thing once.
    fn take(&self) -> Vec<String> {
        let mut noted = std::mem::take(&mut *self.0.lock().unwrap());
        noted.dedup();
        noted
    }
}

impl std::fmt::Display for Spy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("spy")
    }
}

#[async_trait]
impl Migrator for Spy {
    fn when(&self) -> When {
        When::BeforeStart
    }

    async fn pending(&self, _target: &Target) -> Result<Option<Vec<String>>> {
        Ok(None)
    }

    async fn migrate(&self, phase: Phase, target: &Target) -> Result<()> {
        self.note(phase, target);
        Ok(())
    }
}

#[async_trait]
impl HealthCheck for Spy {
    async fn check(&self, target: &Target, _instance: &Instance) -> Result<Health> {
        self.note("check", target);
        Ok(Health::healthy())
    }
}

fn builder(world: &World, spy: &Spy) -> PipelineBuilder {
    let migrator = bluegreen_core::testing::Faulty::new(spy.clone(), &world.faults);
    world.builder().migrator(migrator).health(spy.clone())
}

fn with_workers(version: &str, workers: &str) -> Release {
    release(version).with_setting("workers", workers)
}

#[tokio::test(start_paused = true)]
async fn a_migration_on_its_own_sees_the_settings_of_the_release_in_its_slot() {
    let (world, spy) = (World::new(), Spy::default());
    let pipeline = builder(&world, &spy).build().unwrap();
    pipeline.deploy(with_workers("1", "2")).await.unwrap();
    pipeline.deploy(with_workers("2", "4")).await.unwrap();
    spy.take();
    pipeline.migrate_slot(Slot::Blue).await.unwrap();
    pipeline.migrate_slot(Slot::Green).await.unwrap();
    pipeline.migrate(Phase::Contract).await.unwrap();
    assert_eq!(spy.take(), ["expand 1: workers=2", "expand 2: workers=4", "contract 2: workers=4"]);
}

#[tokio::test(start_paused = true)]
async fn a_promotion_and_a_rollback_see_the_settings_of_both_releases() {
    let (world, spy) = (World::new(), Spy::default());
    let pipeline = builder(&world, &spy).contract(Contract::WhenAsked).build().unwrap();
    pipeline.deploy(with_workers("1", "2")).await.unwrap();
    pipeline.stage(with_workers("2", "4")).await.unwrap();
    spy.take();
    pipeline.promote().await.unwrap();
    assert_eq!(spy.take(), ["check 2: workers=4", "check 1: workers=2"]);
    pipeline.rollback().await.unwrap();
    assert_eq!(spy.take(), ["check 1: workers=2"]);
}

#[tokio::test(start_paused = true)]
async fn a_recovery_sees_the_settings_of_the_release_that_it_completes() {
    let (world, spy) = (World::new(), Spy::default());
    let pipeline = builder(&world, &spy).contract(Contract::AfterBake).build().unwrap();
    pipeline.deploy(with_workers("1", "2")).await.unwrap();
    world.faults.on("migrator.migrate contract", Fault::Die);
    assert!(world.faults.run(pipeline.deploy(with_workers("2", "4"))).await.is_none());
    spy.take();
    pipeline.recover().await.unwrap();
    assert_eq!(spy.take(), ["contract 2: workers=4"]);
}

#[tokio::test(start_paused = true)]
async fn settings_are_not_taken_for_those_of_another_version() {
    let (world, spy) = (World::new(), Spy::default());
    let pipeline = builder(&world, &spy).build().unwrap();
    pipeline.deploy(with_workers("1", "2")).await.unwrap();
    pipeline.deploy(with_workers("2", "4")).await.unwrap();
    pipeline.deploy(release("3")).await.unwrap();
    assert!(world.state().blue.settings.is_empty(), "a new release has its own");
    world.runtime.start_by_hand(Slot::Green, version("9"));
    spy.take();
    pipeline.migrate_slot(Slot::Green).await.unwrap();
    assert_eq!(spy.take(), ["expand 9: "]);
    assert!(world.state().green.settings.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_document_without_settings_loads_and_what_a_later_version_wrote_is_kept() {
    let (world, spy) = (World::new(), Spy::default());
    let pipeline = builder(&world, &spy).build().unwrap();
    pipeline.deploy(with_workers("1", "2")).await.unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&world.state().to_bytes().unwrap()).unwrap();
    assert_eq!(json["blue"]["settings"]["workers"], "2");
    json["blue"].as_object_mut().unwrap().remove("settings");
    json["green"]["weight"] = 3.into();
    let old = State::from_bytes(json.to_string().as_bytes()).unwrap();
    world.store.edit(&service(), |state| *state = old);

    pipeline.migrate(Phase::Expand).await.unwrap();
    pipeline.deploy(with_workers("2", "4")).await.unwrap();
    pipeline.deploy(with_workers("3", "8")).await.unwrap();
    pipeline.retire_now().await.unwrap();
    assert_eq!(world.state().green.unknown["weight"], 3);
}
