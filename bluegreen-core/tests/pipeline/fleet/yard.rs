//! A fleet whose members are in memory.

use std::time::Duration;

use bluegreen_core::fleet::{Fleet, FleetBuilder, Member};
use bluegreen_core::memory::{MemoryHealth, MemoryPublic, MemoryRouter, MemoryRuntime, MemoryStateStore};
use bluegreen_core::pipeline::{PipelineBuilder, Report, Retention};
use bluegreen_core::state::State;
use bluegreen_core::testing::{Faults, Faulty, PausedClock};
use bluegreen_core::{Event, Granularity, Instance, MemberName, Pipeline, Result, Slot, Split};
use std::sync::{Arc, Mutex};

use crate::world::{release, service};

const NAMES: [&str; 12] = ["m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9", "m10", "m11"];

#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) name: &'static str,
    pub(crate) runtime: MemoryRuntime,
    pub(crate) router: MemoryRouter,
}

impl Machine {
    /// The version that its own router sends all traffic to.
    pub(crate) fn serves(&self) -> Option<String> {
        let live = self.router.split()?.sole()?;
        match self.runtime.instance(live) {
            Instance::Running { version, .. } => Some(version?.to_string()),
            _ => None,
        }
    }

    pub(crate) fn set_reachable(&self, reachable: bool) {
        Slot::BOTH.into_iter().for_each(|slot| self.runtime.set_reachable(slot, reachable));
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Yard {
    pub(crate) machines: Vec<Machine>,
    pub(crate) store: MemoryStateStore,
    pub(crate) faults: Faults,
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
}

impl Yard {
    pub(crate) fn new(members: usize) -> Self {
        Self::of(members, Granularity::AllOrNothing)
    }

    pub(crate) fn of(members: usize, granularity: Granularity) -> Self {
        let machine = |name: &&'static str| Machine {
            name,
            runtime: MemoryRuntime::new(),
            router: MemoryRouter::with_granularity(granularity),
        };
        let yard = Self {
            machines: NAMES[..members].iter().map(machine).collect(),
            store: MemoryStateStore::new(),
            faults: Faults::new(),
            events: Arc::default(),
        };
        yard.watch_invariants(&yard.faults);
        yard
    }

    /// At every call: traffic goes to slots that run, and nothing that has traffic is stopped, on each machine by itself.
    pub(crate) fn watch_invariants(&self, faults: &Faults) {
        let machines = self.machines.clone();
        faults.witness(move |call| {
            for machine in &machines {
                let split = machine.router.split();
                for slot in Slot::BOTH.into_iter().filter(|slot| split.is_some_and(|split| split.routes_to(*slot))) {
                    let stop = format!("before {}.stop {slot}", machine.name);
                    assert!(!call.starts_with(&stop), "{call}: it has traffic");
                    let shifted = call.starts_with(&format!("after {}.shift", machine.name));
                    let runs = machine.runtime.instance(slot).is_running();
                    assert!(!shifted || runs, "{call}: {slot} has traffic and does not run");
                }
            }
        });
    }

    pub(crate) fn member(machine: &Machine, faults: &Faults) -> Member {
        let runtime = Faulty::new(machine.runtime.clone(), faults).named(machine.name);
        let router = Faulty::new(machine.router.clone(), faults).named(machine.name);
        Member::new(machine.name, runtime).router(router)
    }

    /// All machines as a fleet.
    pub(crate) fn fleet(&self) -> FleetBuilder {
        self.fleet_of(&self.machines, &self.faults)
    }

    pub(crate) fn fleet_of(&self, machines: &[Machine], faults: &Faults) -> FleetBuilder {
        let faults = faults.clone();
        let builder =
            machines.iter().fold(Fleet::builder(), |fleet, machine| fleet.with_member(Self::member(machine, &faults)));
        builder.health(move |name| Faulty::new(MemoryHealth::new(), &faults).named(checked(name)))
    }

    pub(crate) fn builder(&self, fleet: FleetBuilder) -> PipelineBuilder {
        self.builder_for(fleet, &self.faults, "me")
    }

    pub(crate) fn builder_for(&self, fleet: FleetBuilder, faults: &Faults, holder: &str) -> PipelineBuilder {
        let fleet = fleet.build().unwrap();
        let public = fleet.check_each_address(|name| {
            let machine = self.machine(name);
            Faulty::new(MemoryPublic::new(&machine.router, &machine.runtime), faults).named(public(name))
        });
        let events = self.events.clone();
        Pipeline::builder("shop")
            .holder(holder)
            .fleet(&fleet)
            .store(Faulty::new(self.store.clone(), faults))
            .verify(public)
            .clock(PausedClock::new())
            .retention(Retention::UntilNextDeploy)
            .drain(Duration::ZERO)
            .observer(bluegreen_core::observer::from_fn(move |event: &Event| {
                events.lock().unwrap().push(event.clone());
            }))
    }

    /// A pipeline over all machines, with the usual policy.
    pub(crate) fn pipeline(&self) -> Pipeline {
        self.builder(self.fleet()).build().unwrap()
    }

    /// One that lets so many members fail.
    pub(crate) fn lenient(&self, max_failures: usize) -> Pipeline {
        self.builder(self.fleet().max_failures(max_failures)).build().unwrap()
    }

    pub(crate) fn machine(&self, name: &MemberName) -> &Machine {
        self.machines.iter().find(|machine| machine.name == name.as_str()).unwrap()
    }

    /// The version that each machine serves.
    pub(crate) fn serve(&self) -> Vec<Option<String>> {
        self.machines.iter().map(Machine::serves).collect()
    }

    pub(crate) fn state(&self) -> State {
        self.store.state(&service()).expect("a state document")
    }

    /// The names on record of those that are set aside.
    pub(crate) fn set_aside(&self) -> Vec<String> {
        let members = self.state().members;
        members.into_iter().filter(|(_, record)| record.set_aside.is_some()).map(|(name, _)| name.to_string()).collect()
    }

    /// Recovers as another process that nothing goes wrong for.
    pub(crate) async fn recover(&self) -> Result<Report> {
        let quiet = Faults::new();
        self.watch_invariants(&quiet);
        let fleet = self.fleet_of(&self.machines, &quiet);
        self.builder_for(fleet, &quiet, "rescuer").build().unwrap().recover().await
    }

    /// All members serve this version, and the record agrees.
    pub(crate) fn assert_all_serve(&self, version: &str) {
        assert_eq!(self.serve(), vec![Some(version.to_owned()); self.machines.len()]);
        self.assert_settled();
    }

    /// The lease is free, nothing is unfinished, and the record knows what each member does.
    pub(crate) fn assert_settled(&self) {
        let state = self.state();
        assert!(state.lease.is_none(), "the lease is free: {:?}", state.lease);
        assert!(state.operation.is_none(), "nothing is unfinished: {:?}", state.operation);
        for machine in &self.machines {
            let Some(record) = state.members.get(&machine.name.parse().unwrap()) else { continue };
            if record.set_aside.is_none() {
                assert_eq!(record.split, machine.router.split(), "{}: the split on record", machine.name);
                assert_eq!(state.split, machine.router.split(), "{} does what the fleet does", machine.name);
                let live = machine.router.split().and_then(Split::sole);
                let version = live.and_then(|live| machine.runtime.instance(live).version().cloned());
                assert_eq!(
                    live.and_then(|live| record.versions[live].clone()),
                    version,
                    "{}: its version",
                    machine.name
                );
            }
        }
    }
}

/// The first word of the calls of the check of a member's public address.
fn public(name: &MemberName) -> &'static str {
    const PUBLIC: [&str; 12] = ["p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9", "p10", "p11"];
    PUBLIC[NAMES.iter().position(|known| *known == name.as_str()).unwrap()]
}

/// The first word of the calls of a member's health check.
fn checked(name: &MemberName) -> &'static str {
    const CHECKED: [&str; 12] = ["h0", "h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8", "h9", "h10", "h11"];
    CHECKED[NAMES.iter().position(|known| *known == name.as_str()).unwrap()]
}

pub(crate) async fn deploy(pipeline: &Pipeline, version: &str) -> Result<Report> {
    pipeline.deploy(release(version)).await
}
