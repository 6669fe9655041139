//! A pipeline over memory adapters, every call of which is logged and can be made to fail.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bluegreen_core::hook::{self, HookCall, HookStep};
use bluegreen_core::memory::{MemoryHealth, MemoryPublic, MemoryRouter, MemoryRuntime, MemoryStateStore};
use bluegreen_core::pipeline::{PipelineBuilder, Report};
use bluegreen_core::state::{SlotStatus, State};
use bluegreen_core::testing::{CallLog, Faults, Faulty, PausedClock, RecordingMigrator};
use bluegreen_core::{
    Error, Event, FromFn, Health, HealthCheck, OperationId, Pipeline, Release, ServiceName, Slot, Target, Version, When,
};

#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) runtime: MemoryRuntime,
    pub(crate) router: MemoryRouter,
    pub(crate) store: MemoryStateStore,
    pub(crate) faults: Faults,
    pub(crate) clock: PausedClock,
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
    pub(crate) migrations: CallLog,
    /// `deploy-1 before-deploy:once`, for each time that a hook began.
    pub(crate) hooks: CallLog,
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self {
            runtime: MemoryRuntime::new(),
            router: MemoryRouter::new(),
            store: MemoryStateStore::new(),
            faults: Faults::new(),
            clock: PausedClock::new(),
            events: Arc::default(),
            migrations: CallLog::new(),
            hooks: CallLog::new(),
        };
        world.watch_invariants(&world.faults, "me");
        world
    }

    /// A builder whose adapters all pass through the faults.
    pub(crate) fn builder(&self) -> PipelineBuilder {
        self.builder_for(&self.faults, "me")
    }

    pub(crate) fn builder_for(&self, faults: &Faults, holder: &str) -> PipelineBuilder {
        let events = self.events.clone();
        Pipeline::builder("shop")
            .holder(holder)
            .runtime(Faulty::new(self.runtime.clone(), faults))
            .router(Faulty::new(self.router.clone(), faults))
            .store(Faulty::new(self.store.clone(), faults))
            .health(Faulty::new(MemoryHealth::new(), faults))
            .verify(Faulty::new(MemoryPublic::new(&self.router, &self.runtime), faults).named("public"))
            .clock(self.clock)
            .observer(bluegreen_core::observer::from_fn(move |event: &Event| {
                events.lock().unwrap().push(event.clone());
            }))
    }

    pub(crate) fn pipeline(&self) -> Pipeline {
        self.builder().build().unwrap()
    }

    pub(crate) fn migrator(&self, when: When) -> Faulty<RecordingMigrator> {
        Faulty::new(RecordingMigrator::new(when, &self.migrations), &self.faults)
    }

    /// Two hooks at each place, of which one must not run twice. Both pass through the faults.
    pub(crate) fn with_hooks(&self, builder: PipelineBuilder, faults: &Faults) -> PipelineBuilder {
        type Place = fn(&'static str, Faulty<FromFn<Recording>>) -> HookStep;
        let places: [Place; 9] = [
            HookStep::before_deploy,
            HookStep::after_prepare,
            HookStep::after_health,
            HookStep::before_each_shift,
            HookStep::after_each_shift,
            HookStep::after_success,
            HookStep::after_failure,
            HookStep::after_rollback,
            HookStep::before_retire,
        ];
        let hook = || {
            let log = self.hooks.clone();
            let record: Recording = Box::new(move |call| {
                log.record(format!("{} {}:{}", call.operation, call.place, call.hook));
                std::future::ready(Ok(()))
            });
            Faulty::new(hook::from_fn("record", record), faults)
        };
        places.into_iter().fold(builder, |builder, place| {
            builder.hook(place("once", hook())).hook(place("again", hook()).repeatable(true))
        })
    }

    /// No hook ran twice in an operation that must not.
    pub(crate) fn assert_hooks_ran_once(&self) {
        let mut ran = self.hooks.calls();
        ran.retain(|call| call.ends_with(":once"));
        let mut unique = ran.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), ran.len(), "a hook ran twice: {ran:?}");
    }

    pub(crate) fn state(&self) -> State {
        self.store.state(&service()).expect("a state document")
    }

    pub(crate) fn live(&self) -> Option<Slot> {
        self.router.split().and_then(|split| split.sole())
    }

    /// Checks at every call what must hold at any moment: traffic goes to running slots only, nothing that has traffic is
    /// stopped, and nobody acts without holding the lease.
    pub(crate) fn watch_invariants(&self, faults: &Faults, holder: &'static str) {
        let (runtime, router, store) = (self.runtime.clone(), self.router.clone(), self.store.clone());
        faults.witness(move |call| {
            let split = router.split();
            let routed = |slot: &Slot| split.is_some_and(|split| split.routes_to(*slot));
            for slot in Slot::BOTH {
                if call.starts_with("after") && routed(&slot) {
                    assert!(runtime.instance(slot).is_running(), "{call}: {slot} has traffic and does not run");
                }
                if call.starts_with(&format!("before runtime.stop {slot}")) {
                    assert!(!routed(&slot), "{call}: it has traffic");
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
            if before.is_some_and(|call| acts.iter().any(|act| call.starts_with(act))) {
                let lease = store.state(&service()).and_then(|state| state.lease);
                let held_by = lease.map(|lease| lease.holder);
                assert_eq!(held_by.as_deref(), Some(holder), "{call} without the lease");
            }
        });
    }

    /// What must hold when nothing is going on: router, runtime and record agree, the lease is free, and the live slot
    /// answers.
    pub(crate) async fn assert_settled(&self) {
        let state = self.state();
        assert!(state.lease.is_none(), "the lease is free: {:?}", state.lease);
        assert!(state.operation.is_none(), "nothing is unfinished: {:?}", state.operation);
        assert_eq!(state.split, self.router.split(), "router and record agree");
        let live = self.router.split().and_then(|split| split.sole());
        assert_eq!(state.live, live, "the live slot is recorded");
        for slot in Slot::BOTH {
            let (record, instance) = (state.slot(slot), self.runtime.instance(slot));
            if instance.is_running() {
                assert_eq!(record.version.as_ref(), instance.version(), "{slot}: version on record");
                assert!(
                    !matches!(record.status, SlotStatus::Empty | SlotStatus::Starting),
                    "{slot}: {}",
                    record.status
                );
            } else {
                // A release that was kept warm and went down since is not forgotten.
                let kept = matches!(record.status, SlotStatus::Retained | SlotStatus::Staged);
                assert!(kept || record.status == SlotStatus::Empty, "{slot} is {instance}, and {}", record.status);
            }
        }
        if self.router.split().is_some() {
            let public = MemoryPublic::new(&self.router, &self.runtime);
            let target = Target::new(service(), Slot::Blue, release("x"), OperationId::new("x").unwrap());
            let health = public.check(&target, &bluegreen_core::Instance::Absent).await.unwrap();
            assert!(matches!(health, Health::Healthy { .. }), "the live slot answers: {health:?}");
        }
    }

    /// Recovers as another process that nothing goes wrong for.
    pub(crate) async fn recover(&self) -> Result<Report, Error> {
        let quiet = Faults::new();
        self.watch_invariants(&quiet, "rescuer");
        let migrator = RecordingMigrator::new(When::BeforeStart, &self.migrations);
        let builder = self.builder_for(&quiet, "rescuer").migrator(Faulty::new(migrator, &quiet));
        self.with_hooks(builder, &quiet).build().unwrap().recover().await
    }
}

type Recording = Box<dyn Fn(HookCall) -> std::future::Ready<Result<(), Error>> + Send + Sync>;

pub(crate) fn service() -> ServiceName {
    ServiceName::new("shop").unwrap()
}

pub(crate) fn release(version: &str) -> Release {
    Release::new(version).unwrap()
}

pub(crate) fn version(text: &str) -> Version {
    Version::new(text).unwrap()
}

pub(crate) const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
