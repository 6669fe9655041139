use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Pipeline;
use super::cancel::Cancel;
use super::context::{Context, Settings};
use super::defaults::{self, LONGEST, LONGEST_LEASE_TTL, SHORTEST_LEASE_TTL};
use super::strategy::{Contract, Retention, Strategy};
use super::verify::CANNOT_TELL;
use crate::error::{Error, Result};
use crate::fleet::{Fleet, Waves};
use crate::gate::Gate;
use crate::health::HealthCheck;
use crate::hook::HookStep;
use crate::migrator::Migrator;
use crate::observer::Observer;
use crate::router::{Granularity, Router};
use crate::runtime::Runtime;
use crate::state::HookName;
use crate::store::StateStore;
use crate::types::{Clock, ServiceName, SystemClock, Timestamp};

/// Puts a [`Pipeline`] together. Made by [`Pipeline::builder`].
pub struct PipelineBuilder {
    service: String,
    holder: Option<String>,
    runtime: Option<Arc<dyn Runtime>>,
    router: Option<Arc<dyn Router>>,
    store: Option<Arc<dyn StateStore>>,
    health: Option<Arc<dyn HealthCheck>>,
    verify: Option<Arc<dyn HealthCheck>>,
    smoke: Vec<Arc<dyn HealthCheck>>,
    migrator: Option<Arc<dyn Migrator>>,
    gates: Vec<Arc<dyn Gate>>,
    hooks: Vec<HookStep>,
    observers: Vec<Arc<dyn Observer>>,
    fleet: Option<Fleet>,
    strategy: Strategy,
    retention: Retention,
    contract: Contract,
    require_healthy_rollback_target: bool,
    settings: Settings,
    clock: Arc<dyn Clock>,
    cancel: Cancel,
}

impl Pipeline {
    /// Begins a pipeline for this service.
    pub fn builder(service: impl Into<String>) -> PipelineBuilder {
        PipelineBuilder::new(service.into())
    }
}

impl PipelineBuilder {
    fn new(service: String) -> Self {
        Self {
            service,
            holder: None,
            runtime: None,
            router: None,
            store: None,
            health: None,
            verify: None,
            smoke: Vec::new(),
            migrator: None,
            gates: Vec::new(),
            hooks: Vec::new(),
            observers: Vec::new(),
            fleet: None,
            strategy: Strategy::blue_green(),
            retention: Retention::For(defaults::RETAIN),
            contract: Contract::default(),
            require_healthy_rollback_target: true,
            settings: Settings::default(),
            clock: Arc::new(SystemClock),
            cancel: Cancel::default(),
        }
    }

    /// What brings releases up and down. Required.
    #[must_use]
    pub fn runtime(mut self, runtime: impl Runtime) -> Self {
        self.runtime = Some(Arc::new(runtime));
        self
    }

    /// What directs the traffic. Required.
    #[must_use]
    pub fn router(mut self, router: impl Router) -> Self {
        self.router = Some(Arc::new(router));
        self
    }

    /// Deploys to all members of a fleet. Their runtimes, routers, checks and migrators are used, except where the pipeline is given
    /// another; members without routers need one that they share.
    #[must_use]
    pub fn fleet(mut self, fleet: &Fleet) -> Self {
        self.fleet = Some(fleet.clone());
        self
    }

    /// Where the state document, with lease and journal, is kept. Required.
    #[must_use]
    pub fn store(mut self, store: impl StateStore) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// When a slot is healthy. Required.
    #[must_use]
    pub fn health(mut self, check: impl HealthCheck) -> Self {
        self.health = Some(Arc::new(check));
        self
    }

    /// What answers at the public address, as a user sees it. Required: success means that this reported the new
    /// version, several times in a row. It must therefore be able to tell the version.
    #[must_use]
    pub fn verify(mut self, check: impl HealthCheck) -> Self {
        self.verify = Some(Arc::new(check));
        self
    }

    /// Adds a smoke test, run once against a slot that is healthy and has no traffic yet.
    #[must_use]
    pub fn smoke(mut self, check: impl HealthCheck) -> Self {
        self.smoke.push(Arc::new(check));
        self
    }

    /// What changes the shared data.
    #[must_use]
    pub fn migrator(mut self, migrator: impl Migrator) -> Self {
        self.migrator = Some(Arc::new(migrator));
        self
    }

    /// Adds a judge of live metrics for soaks and the bake.
    #[must_use]
    pub fn gate(mut self, gate: impl Gate) -> Self {
        self.gates.push(Arc::new(gate));
        self
    }

    /// Adds what is done at a place in an operation besides: see [`hook`](crate::hook).
    #[must_use]
    pub fn hook(mut self, hook: HookStep) -> Self {
        self.hooks.push(hook);
        self
    }

    /// Adds someone who is told all events.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observers.push(Arc::new(observer));
        self
    }

    /// How traffic moves. Default: all at once ([`Strategy::blue_green`]).
    #[must_use]
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// What happens to the old slot. Default: it is kept for 24 hours ([`defaults::RETAIN`]).
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// When the contract phase runs. Default: only when it is asked for.
    #[must_use]
    pub fn contract(mut self, contract: Contract) -> Self {
        self.contract = contract;
        self
    }

    /// Whether the live release must be healthy before traffic moves away from it. Default: yes. With `false`, one that
    /// runs and is unhealthy can be replaced: traffic then moves at once, and a failure leaves it on the new release.
    #[must_use]
    pub fn require_healthy_rollback_target(mut self, required: bool) -> Self {
        self.require_healthy_rollback_target = required;
        self
    }

    /// Who is deploying, as others will see it in the lease and in the history. Default: user, host and process.
    #[must_use]
    pub fn holder(mut self, holder: impl Into<String>) -> Self {
        self.holder = Some(holder.into());
        self
    }

    /// A token that cancels gracefully: the running operation unwinds, reports, and gives the lease back. For one operation,
    /// see [`Pipeline::cancel_on`].
    #[must_use]
    pub fn cancel_on(mut self, token: CancellationToken) -> Self {
        self.cancel.add(token);
        self
    }

    /// Who tells the absolute time; for tests.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Checks the settings and makes the pipeline.
    ///
    /// # Errors
    /// `Config` when a required part is missing, the service's name is not valid, an interval, a limit or a streak is
    /// zero, a time is longer than [`defaults::LONGEST`], the strategy's steps do not rise to 100, a hook has no valid
    /// [name](HookName) or one that another hook of its place has, or is at a share of traffic that the strategy has not.
    /// `Unsupported` when the strategy divides the traffic and the router cannot.
    pub fn build(mut self) -> Result<Pipeline> {
        if let Some(fleet) = self.fleet.clone() {
            self.take_from(&fleet)
                .map_err(|error| error.with_operation("build a pipeline").with("service", &self.service))?;
        } else if !self.strategy.waves.is_empty() {
            return Err(Error::config(
                "waves are of a fleet: call `.fleet(...)` on the builder, or use `Strategy::canary`",
            ));
        }
        let service = ServiceName::new(self.service)?;
        let missing = |what: &str| {
            Error::config(format!("a pipeline needs a {what}: call `.{what}(...)` on the builder"))
                .with("service", &service)
        };
        let context = Context {
            runtime: self.runtime.ok_or_else(|| missing("runtime"))?,
            router: self.router.ok_or_else(|| missing("router"))?,
            store: self.store.ok_or_else(|| missing("store"))?,
            health: self.health.ok_or_else(|| missing("health"))?,
            verify: self.verify.ok_or_else(|| missing("verify"))?,
            smoke: self.smoke,
            migrator: self.migrator,
            gates: self.gates,
            hooks: named(self.hooks)?,
            observers: self.observers,
            fleet: self.fleet,
            strategy: self.strategy,
            retention: self.retention,
            contract: self.contract,
            require_healthy_rollback_target: self.require_healthy_rollback_target,
            settings: self.settings,
            clock: self.clock,
            cancel: self.cancel,
            holder: self.holder.unwrap_or_else(this_process),
            service: service.clone(),
        };
        let bound = context.runtime.bind_service(&service).and_then(|()| context.router.bind_service(&service));
        bound
            .and_then(|()| context.validate())
            .map_err(|error| error.with_operation("build a pipeline").with("service", &service))?;
        Ok(Pipeline { context: Arc::new(context) })
    }
}

impl PipelineBuilder {
    fn take_from(&mut self, fleet: &Fleet) -> Result<()> {
        if let Some(sole) = fleet.sole().cloned() {
            self.runtime.get_or_insert(sole.runtime);
            self.router = self.router.take().or(sole.router);
            self.health = self.health.take().or(sole.health);
            self.verify = self.verify.take().or(sole.verify);
            self.migrator = self.migrator.take().or(sole.migrator);
        }
        self.runtime.get_or_insert_with(|| Arc::new(fleet.runtime()));
        if fleet.has_routers() {
            self.router.get_or_insert_with(|| Arc::new(fleet.router()));
        } else if !self.strategy.waves.is_empty() {
            return Err(Error::config(
                "waves need members with a router each: one router in front of all of them divides by `Strategy::canary`",
            ));
        }
        if let (None, Some(check)) = (&self.health, fleet.health()) {
            self.health = Some(Arc::new(check));
        }
        if let (None, Some(check)) = (&self.verify, fleet.verify()) {
            self.verify = Some(Arc::new(check));
        }
        if let (None, Some(migrator)) = (&self.migrator, fleet.migrator()) {
            self.migrator = Some(Arc::new(migrator));
        }
        let waves = match self.strategy.waves.is_empty() {
            true => Waves::default(),
            false => Waves::new(&self.strategy.waves, &fleet.weights())?,
        };
        if waves.divide_members() && !fleet.divides() {
            return Err(Error::config(
                "a wave is a part of its members' traffic, and not every member's router can divide that: leave out `share`",
            ));
        }
        self.strategy.take_steps_from(&waves);
        fleet.belong_to(waves, self.settings.check_timeout)
    }
}

macro_rules! setters {
    ($($(#[$meta:meta])* $name:ident: $type:ty, $default:ident, $shown:literal;)*) => {
        impl PipelineBuilder {
            $(
                $(#[$meta])*
                #[doc = concat!("Default: ", $shown, " ([`", stringify!($default), "`](defaults::", stringify!($default), ")).")]
                #[must_use]
                pub fn $name(mut self, value: $type) -> Self {
                    self.settings.$name = value;
                    self
                }
            )*
        }
    };
}

setters! {
    /// Time between two looks at an instance that starts.
    check_interval: Duration, CHECK_INTERVAL, "1 s";
    /// Time limit for one look at an instance or the public address.
    check_timeout: Duration, CHECK_TIMEOUT, "5 s";
    /// How many healthy answers in a row make a slot healthy.
    healthy_streak: u32, HEALTHY_STREAK, "3";
    /// Time limit for the start of a release, and again from then until it is healthy.
    start_deadline: Duration, START_DEADLINE, "60 s";
    /// How many answers in a row must come with the new version from the public address.
    verify_streak: u32, VERIFY_STREAK, "5";
    /// How long the public address may take to answer that way.
    verify_deadline: Duration, VERIFY_DEADLINE, "30 s";
    /// How long requests in flight on the slot that lost its traffic are waited for.
    drain: Duration, DRAIN, "30 s";
    /// Time between asking a slot to stop and ending it by force.
    stop_grace: Duration, STOP_GRACE, "30 s";
    /// Time between two looks at the gates.
    gate_interval: Duration, GATE_INTERVAL, "1 s";
    /// How long the holder of the lease may be silent before another may take over.
    lease_ttl: Duration, LEASE_TTL, "15 s";
    /// Time limit for bringing a release's content to where it will run.
    prepare_timeout: Duration, PREPARE_TIMEOUT, "30 minutes";
    /// Time limit for one phase of migrations.
    migrate_timeout: Duration, MIGRATE_TIMEOUT, "30 minutes";
    /// Time limit for one traffic shift.
    shift_timeout: Duration, SHIFT_TIMEOUT, "5 minutes";
    /// Time limit for all smoke tests together.
    smoke_timeout: Duration, SMOKE_TIMEOUT, "5 minutes";
    /// How long an undo is tried again: asking the router, moving the traffic back, and stopping the failed release, each.
    /// Counted from the first failure of each; zero tries once. What cannot pass (a conflict, a refusal, a slot to go back
    /// to that does not run) ends it at once.
    undo_timeout: Duration, UNDO_TIMEOUT, "60 s";
    /// How many of the last lines of a failed slot's log go into the report.
    log_lines: usize, LOG_LINES, "100";
}

impl fmt::Debug for PipelineBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineBuilder").field("service", &self.service).finish_non_exhaustive()
    }
}

impl Context {
    /// Until when a slot that is retained now is kept; `None` where that has no limit.
    pub(super) fn retain_until(&self) -> Option<Timestamp> {
        match self.retention {
            Retention::For(keep) => Some(self.clock.now().plus(keep)),
            Retention::UntilNextDeploy | Retention::Retire => None,
        }
    }

    fn validate(&self) -> Result<()> {
        let Settings {
            check_interval,
            check_timeout,
            healthy_streak,
            start_deadline,
            verify_streak,
            verify_deadline,
            drain,
            stop_grace,
            gate_interval,
            lease_ttl,
            prepare_timeout,
            migrate_timeout,
            shift_timeout,
            smoke_timeout,
            undo_timeout,
            log_lines: _,
        } = &self.settings;
        let durations = [
            ("check_interval", check_interval),
            ("check_timeout", check_timeout),
            ("start_deadline", start_deadline),
            ("verify_deadline", verify_deadline),
            ("gate_interval", gate_interval),
            ("lease_ttl", lease_ttl),
            ("prepare_timeout", prepare_timeout),
            ("migrate_timeout", migrate_timeout),
            ("shift_timeout", shift_timeout),
            ("smoke_timeout", smoke_timeout),
        ];
        if let Some((name, _)) = durations.iter().find(|(_, duration)| duration.is_zero()) {
            return Err(Error::config(format!("`{name}` is zero")));
        }
        let may_be_zero = [("drain", drain), ("stop_grace", stop_grace), ("undo_timeout", undo_timeout)];
        let too_long = |(_, duration): &&(&str, &Duration)| **duration > LONGEST;
        if let Some((name, duration)) = durations.iter().chain(&may_be_zero).find(too_long) {
            return Err(Error::config(format!("`{name}` is {duration:?}, and a year is the longest that can be set")));
        }
        if !(SHORTEST_LEASE_TTL..=LONGEST_LEASE_TTL).contains(lease_ttl) {
            return Err(Error::config(format!(
                "`lease_ttl` is {lease_ttl:?}: set it between {SHORTEST_LEASE_TTL:?} and {LONGEST_LEASE_TTL:?}"
            )));
        }
        if matches!(self.retention, Retention::For(keep) if keep > LONGEST) {
            return Err(Error::config("`retention` is longer than a year: use `Retention::UntilNextDeploy`"));
        }
        if *healthy_streak == 0 || *verify_streak == 0 {
            return Err(Error::config("a streak of zero answers proves nothing: use 1 or more"));
        }
        if !self.verify.tells_version() {
            return Err(Error::config(
                "the check of the public address has no place to find a version, so no deploy could be confirmed",
            )
            .with("verify", &self.verify)
            .with_hint(CANNOT_TELL));
        }
        self.strategy.validate()?;
        validate_hooks(&self.hooks, &self.strategy)?;
        if self.strategy.divides_traffic() && self.router.granularity() == Granularity::AllOrNothing {
            return Err(Error::new(
                crate::ErrorKind::Unsupported,
                "a canary needs a router that can divide traffic, and this one sends all of it to one slot",
            )
            .with("router", &self.router)
            .with_hint("use Strategy::blue_green(), with a bake to watch it"));
        }
        Ok(())
    }
}

fn named(hooks: Vec<HookStep>) -> Result<Vec<(HookName, HookStep)>> {
    hooks.into_iter().map(|hook| Ok((HookName::new(&hook.name)?, hook))).collect()
}

fn validate_hooks(hooks: &[(HookName, HookStep)], strategy: &Strategy) -> Result<()> {
    let shares: Vec<u8> = strategy.steps.iter().map(|step| step.percent).collect();
    let mut taken = HashSet::new();
    for (name, hook) in hooks {
        let refused = |what: String| Err(Error::config(format!("the hook `{name}` {what}")));
        if hook.timeout.is_zero() || hook.timeout > LONGEST {
            return refused(format!("has a time limit of {:?}: set it between 1 ns and a year", hook.timeout));
        }
        let places: HashSet<_> = hook.moment.places(&shares).into_iter().collect();
        for place in places {
            if let Some(percent) = place.percent().filter(|percent| *percent != 100 && !shares.contains(percent)) {
                return refused(format!("is at {percent} % of the traffic, and the strategy has steps at {shares:?}"));
            }
            if !taken.insert((place, *name)) {
                return refused(format!("is there twice for {place}: give each hook of a place a name of its own"));
            }
        }
    }
    Ok(())
}

/// `user@host (pid 123)`, as far as it can be told.
fn this_process() -> String {
    let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let user = user.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()));
    let name = rustix::system::uname();
    format!("{user}@{} (pid {})", name.nodename().to_string_lossy(), std::process::id())
}
