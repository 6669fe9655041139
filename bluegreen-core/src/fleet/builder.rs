use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::Fleet;
use super::listener::Listener;
use super::member::Member;
use super::policy::{Policy, Unreachable};
use super::roster::Roster;
use super::shared::Shared;
use crate::error::{Error, Result};
use crate::health::HealthCheck;
use crate::router::Router;
use crate::runtime::Runtime;
use crate::types::{MemberName, host_port};

type Checks = dyn Fn(&MemberName) -> Arc<dyn HealthCheck> + Send + Sync;

/// Puts a [`Fleet`] together. Made by [`Fleet::builder`].
#[derive(Default)]
pub struct FleetBuilder {
    members: Vec<Member>,
    policy: Policy,
    health: Option<Box<Checks>>,
    migrate_on: Option<String>,
}

impl Fleet {
    /// Begins a fleet.
    pub fn builder() -> FleetBuilder {
        FleetBuilder::default()
    }
}

impl FleetBuilder {
    /// Adds a member with a runtime and a router of its own. For anything else, see [`with_member`](Self::with_member).
    #[must_use]
    pub fn member(self, name: impl Into<String>, runtime: impl Runtime, router: impl Router) -> Self {
        self.with_member(Member::new(name, runtime).router(router))
    }

    /// Adds a member.
    #[must_use]
    pub fn with_member(mut self, member: Member) -> Self {
        self.members.push(member);
        self
    }

    /// Adds a member for each name.
    ///
    /// # Errors
    /// The first one of `member`.
    pub fn members<N: AsRef<str>>(
        mut self,
        names: impl IntoIterator<Item = N>,
        mut member: impl FnMut(&str) -> Result<Member>,
    ) -> Result<Self> {
        for name in names {
            self.members.push(member(name.as_ref())?);
        }
        Ok(self)
    }

    /// When a member's slot is healthy, for each that has no [check of its own](Member::health). The check is given that member's
    /// endpoints. A pipeline takes it for its own.
    #[must_use]
    pub fn health<C: HealthCheck>(mut self, check: impl Fn(&MemberName) -> C + Send + Sync + 'static) -> Self {
        self.health = Some(Box::new(move |name| Arc::new(check(name))));
        self
    }

    /// Migrations run on a member with this label only. Default: on the first that takes part and has a migrator.
    #[must_use]
    pub fn migrate_on(mut self, label: impl Into<String>) -> Self {
        self.migrate_on = Some(label.into());
        self
    }

    /// How many members a successful deploy may leave behind. Default: none.
    #[must_use]
    pub fn max_failures(mut self, count: usize) -> Self {
        self.policy.max_failures = Some(count);
        self
    }

    /// How many members a successful deploy may leave behind, in percent of all, rounded down. Where a count is set too, both
    /// hold.
    #[must_use]
    pub fn max_failures_percent(mut self, percent: u8) -> Self {
        self.policy.max_failures_percent = Some(percent);
        self
    }

    /// What a deploy does about a member that is out of reach when it begins. Default: it is refused.
    #[must_use]
    pub fn unreachable(mut self, policy: Unreachable) -> Self {
        self.policy.unreachable = policy;
        self
    }

    /// Begins nothing on further members once more have failed than may. Default: no; the report then names all that fail.
    #[must_use]
    pub fn stop_on_first(mut self, stop: bool) -> Self {
        self.policy.stop_on_first = stop;
        self
    }

    /// Time limit for one call on one member, retries included. Default: 5 minutes
    /// ([`DEADLINE`](super::defaults::DEADLINE)); a transfer has 25 ([`PREPARE_DEADLINE`](super::defaults::PREPARE_DEADLINE)).
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.policy.deadline = deadline;
        self
    }

    /// How many times a call that may pass is made again before its member counts as failed. Default: 2
    /// ([`RETRIES`](super::defaults::RETRIES)).
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.policy.retries = retries;
        self
    }

    /// How many members are worked on at the same time. Default: 50 ([`MAX_PARALLEL`](super::defaults::MAX_PARALLEL)).
    #[must_use]
    pub fn max_parallel(mut self, count: usize) -> Self {
        self.policy.max_parallel = count;
        self
    }

    /// Checks the members and the policy, and puts the members in order: canaries first, then zone by zone.
    ///
    /// # Errors
    /// `Config` when there is no member, two have one name, a name or an address is not valid, some have a router and some have
    /// none, a weight is zero, or all members may fail by the policy.
    pub fn build(mut self) -> Result<Fleet> {
        let failed = |error: Error| error.with_operation("build a fleet");
        self.put_in_order();
        let names: Result<Vec<_>> = self.members.iter().map(|member| MemberName::new(&*member.name)).collect();
        let names = names.map_err(failed)?;
        self.validate(&names).map_err(failed)?;
        if let Some(health) = &self.health {
            for (member, name) in self.members.iter_mut().zip(&names) {
                member.health.get_or_insert_with(|| health(name));
            }
        }
        self.each_or_none().map_err(failed)?;
        Ok(Fleet {
            shared: Arc::new(Shared {
                roster: Roster::new(names.len()),
                members: self.members,
                names,
                policy: self.policy,
                migrate_on: self.migrate_on,
                waves: OnceLock::new(),
                check_timeout: OnceLock::new(),
                busy: AtomicBool::new(false),
                listener: Listener::default(),
            }),
        })
    }

    fn put_in_order(&mut self) {
        let mut zones: Vec<Option<String>> = Vec::new();
        for member in &self.members {
            if !zones.contains(&member.zone) {
                zones.push(member.zone.clone());
            }
        }
        let place = |member: &Member| zones.iter().position(|zone| *zone == member.zone);
        self.members.sort_by_key(|member| (!member.is_canary, place(member)));
    }

    /// What only some members have would silently not hold for the others.
    fn each_or_none(&self) -> Result<()> {
        let count = |has: fn(&Member) -> bool| self.members.iter().filter(|member| has(member)).count();
        let checks = [
            ("health check", count(|member| member.health.is_some())),
            ("check of its public address", count(|member| member.verify.is_some())),
        ];
        let all = self.members.len();
        match checks.into_iter().find(|(_, count)| *count > 0 && *count < all) {
            Some((what, count)) => {
                Err(Error::config(format!("{count} of {all} members have a {what}: give one to each, or to none")))
            }
            None => Ok(()),
        }
    }

    fn validate(&self, names: &[MemberName]) -> Result<()> {
        if names.is_empty() {
            return Err(Error::config("a fleet needs a member: call `.member(...)` on the builder"));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = names.iter().find(|name| !seen.insert(*name)) {
            return Err(Error::config(format!("two members are named {twice}")));
        }
        let with_router = self.members.iter().filter(|member| member.router.is_some()).count();
        if with_router > 0 && with_router < names.len() {
            return Err(Error::config(format!(
                "{with_router} of {} members have a router of their own: give one to each, or to none where they share one",
                names.len()
            )));
        }
        for member in &self.members {
            if member.weight == 0 {
                return Err(Error::config(format!("the weight of {} is zero: use 1 or more", member.name)));
            }
            if let Some(address) = &member.address {
                let bracketed = if address.contains(':') { format!("[{address}]:1") } else { format!("{address}:1") };
                if host_port(&bracketed).is_none() {
                    return Err(Error::config(format!(
                        "the address {address:?} of {} is neither a host name nor an IP address",
                        member.name
                    )));
                }
                if with_router > 0 {
                    return Err(Error::config(format!(
                        "{} has a router of its own, which reaches it on its own machine: leave out the address",
                        member.name
                    )));
                }
            }
        }
        self.policy.validate(names.len())
    }
}

impl fmt::Debug for FleetBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetBuilder").field("members", &self.members).finish_non_exhaustive()
    }
}
