//! Switching by servers: the new slot's are added, and when they are healthy, the old slot's removed.

use std::collections::{BTreeMap, BTreeSet};

use bluegreen_core::{Error, ErrorKind, Result, Slot, Split};
use serde_json::Value;
use tokio::time::{Duration, Instant, sleep, sleep_until};

use super::balancer::{Balancer, Members, Seen};
use super::change::Change;
use super::switch::{Desk, conflict, interfered, share};
use crate::probe::Confirmation;

/// For bringing the old servers back: with the deadline of a switch it stays within what the pipeline gives a shift.
const UNDO_LIMIT: Duration = Duration::from_secs(90);

/// The servers of blue and of green behind a load balancer, by their numbers.
///
/// ```
/// use bluegreen_floatingip::Pools;
///
/// assert!(Pools::new([11, 12], [21, 22]).is_ok());
/// assert!(Pools::new([11], [11]).is_err(), "a server belongs to one slot");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pools {
    blue: BTreeSet<u64>,
    green: BTreeSet<u64>,
}

impl Pools {
    /// The servers of blue and those of green.
    ///
    /// # Errors
    /// `Config` when a slot has none, or a server is in both.
    pub fn new(blue: impl IntoIterator<Item = u64>, green: impl IntoIterator<Item = u64>) -> Result<Self> {
        let pools = Self { blue: blue.into_iter().collect(), green: green.into_iter().collect() };
        if pools.blue.is_empty() || pools.green.is_empty() {
            return Err(Error::config("each slot needs a server behind the load balancer"));
        }
        if let Some(server) = pools.blue.intersection(&pools.green).next() {
            return Err(Error::config(format!("server {server} cannot be blue and green")));
        }
        Ok(pools)
    }

    pub(super) fn of(&self, slot: Slot) -> &BTreeSet<u64> {
        match slot {
            Slot::Blue => &self.blue,
            Slot::Green => &self.green,
        }
    }

    /// The split that the balancer's members stand for.
    pub(super) fn split(&self, members: &Members) -> Result<Option<Split>> {
        let servers = known(members)?;
        let strangers: Vec<String> = servers
            .keys()
            .filter(|server| !self.blue.contains(server) && !self.green.contains(server))
            .map(u64::to_string)
            .collect();
        if !strangers.is_empty() {
            let message = format!("server {} behind it is neither blue nor green", strangers.join(", "));
            return Err(Error::new(ErrorKind::Conflict, message)
                .not_applied()
                .advice("find out who added it; remove it, or name it as blue's or green's"));
        }
        let green = servers.keys().filter(|server| self.green.contains(server)).count();
        Ok(share(green, servers.len()))
    }

    /// What a switch to this slot changes.
    pub(super) fn change(&self, balancer: &dyn Balancer, seen: &Seen, to: Slot) -> Result<Change> {
        known(&seen.members)?;
        Ok(Change::between(&seen.settings, &balancer.with_members(&seen.settings, self.of(to))?))
    }
}

fn known(members: &Members) -> Result<&BTreeMap<u64, Option<bool>>> {
    match members {
        Members::Servers(servers) => Ok(servers),
        Members::Chosen(how) => Err(Error::config(format!("it cannot be switched by servers: {how}"))
            .advice("have it name its servers one by one, or switch by ports")),
    }
}

/// How a switch by servers goes about it.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    /// How many servers are exchanged at a time; `None`: all at once.
    pub(super) at_a_time: Option<usize>,
    /// Between two such exchanges.
    pub(super) pause: Duration,
    /// How long a new server is given, instead of what the balancer's health check says.
    pub(super) healthy_within: Option<Duration>,
}

/// Exchanges the servers. On an error the old ones are back, or the error says that it is unknown.
pub(super) async fn switch(
    desk: Desk<'_>,
    pools: &Pools,
    manner: &Manner,
    confirmation: &Confirmation,
    from: Option<Split>,
    to: Slot,
) -> Result<()> {
    let before = desk.settled(|seen, asked| there(seen) == *pools.of(asked)).await?;
    let now = pools.split(&before.members)?;
    let present = there(&before);
    if present == *pools.of(to) {
        return Ok(());
    }
    if now != Some(Split::all(to)) && now != from {
        return Err(conflict(from, now));
    }
    let all = present.union(pools.of(to)).copied().collect();
    let all = &desk.balancer.with_members(&before.settings, &all)?;
    let exchange = Exchange { desk, manner, confirmation, pools, to, before: &before, all };
    exchange.fits()?;
    let mut members = present.clone();
    match exchange.run(&mut members).await {
        Ok(()) => Ok(()),
        Err(error) => Err(exchange.take_back(&present, error).await),
    }
}

struct Exchange<'a> {
    desk: Desk<'a>,
    manner: &'a Manner,
    confirmation: &'a Confirmation,
    pools: &'a Pools,
    to: Slot,
    before: &'a Seen,
    /// The settings of before, with the servers of both slots.
    all: &'a Value,
}

impl Exchange<'_> {
    /// Refuses what cannot end before the deadline, instead of half way.
    fn fits(&self) -> Result<()> {
        let coming = self.pools.of(self.to).difference(&there(self.before)).count();
        let waves = u32::try_from(coming.div_ceil(self.wave(coming)).max(1)).unwrap_or(u32::MAX);
        let within = self.given(self.before);
        // Each wave is looked at after what it adds, and after what it removes.
        let looks = self.desk.patience.poll_every.1.saturating_mul(2);
        let pauses = self.manner.pause.saturating_mul(waves - 1);
        let least = within.unwrap_or_default().saturating_add(looks).saturating_mul(waves).saturating_add(pauses);
        let (deadline, left) = (self.desk.patience.deadline, self.desk.left());
        if least <= left {
            return Ok(());
        }
        let kind = if least > deadline { ErrorKind::Config } else { ErrorKind::Timeout };
        let turns = match waves {
            1 => "at once".to_owned(),
            _ => format!("in {waves} turns with pauses of {:?} in between", self.manner.pause),
        };
        let given = within.map(|within| format!(", given {within:?} to get well each time")).unwrap_or_default();
        let message = format!(
            "new servers would come {turns}{given}: that takes {least:?} at least, and {left:?} are left of the router's \
             deadline of {deadline:?}"
        );
        let whole = Duration::from_secs(least.as_secs().saturating_add(1));
        let shift = whole.saturating_add(whole.min(UNDO_LIMIT));
        Err(Error::new(kind, message).not_applied().advice(format!(
            "allow the router a `deadline` of {whole:?} or more, and the pipeline a `shift_limit` of {shift:?} or more (five \
             minutes unless set); or exchange more servers at a time, or have the balancer check its servers more often"
        )))
    }

    /// How many servers are added at a time, of those that come.
    fn wave(&self, coming: usize) -> usize {
        self.manner.at_a_time.unwrap_or(coming).max(1)
    }

    /// How long new servers are given to get well, where the balancer does not say when they are.
    fn given(&self, seen: &Seen) -> Option<Duration> {
        seen.healthy_within.map(|checked| self.manner.healthy_within.unwrap_or(checked))
    }

    async fn run(&self, members: &mut BTreeSet<u64>) -> Result<()> {
        let coming: Vec<u64> = self.pools.of(self.to).difference(members).copied().collect();
        let mut going: Vec<u64> = members.difference(self.pools.of(self.to)).copied().collect();
        let wave = self.wave(coming.len());
        let waves = coming.chunks(wave).count();
        for (index, add) in coming.chunks(wave).enumerate() {
            if index > 0 {
                sleep(self.manner.pause).await;
            }
            self.desk
                .change(self.to, || self.desk.balancer.add(add, self.all), |seen| there(seen).is_superset(&set(add)))
                .await?;
            members.extend(add);
            self.await_health(self.desk, self.to, &self.coming(members)).await?;
            self.undisturbed(members).await?;
            // The last wave removes all that is left: the slots need not be of the same size.
            let count = if index + 1 == waves { 0 } else { wave.min(going.len()) };
            let remove: Vec<u64> = going.drain(..count).collect();
            self.remove(members, &remove).await?;
        }
        if waves == 0 {
            // Added by a switch that was cut off.
            self.await_health(self.desk, self.to, &self.coming(members)).await?;
        }
        self.remove(members, &going).await
    }

    async fn remove(&self, members: &mut BTreeSet<u64>, servers: &[u64]) -> Result<()> {
        if servers.is_empty() {
            return Ok(());
        }
        let gone = |seen: &Seen| there(seen).is_disjoint(&set(servers));
        self.desk.change(self.to, || self.desk.balancer.remove(servers), gone).await?;
        members.retain(|id| !servers.contains(id));
        self.undisturbed(members).await
    }

    /// Those of them that are the new slot's.
    fn coming(&self, members: &BTreeSet<u64>) -> Vec<u64> {
        members.intersection(self.pools.of(self.to)).copied().collect()
    }

    /// Waits until the balancer calls these servers of a slot healthy; where it does not say, as long as its own health
    /// check needs. Then a probe, where there is one, must have met one of the slot's.
    async fn await_health(&self, desk: Desk<'_>, slot: Slot, servers: &[u64]) -> Result<()> {
        let began = Instant::now();
        let sick = || Error::new(ErrorKind::Unhealthy, format!("the load balancer does not call {servers:?} healthy"));
        let mut looked = false;
        loop {
            let seen = match desk.idle().await {
                Err(error) if looked && Instant::now() >= desk.deadline => return Err(sick().because(error)),
                seen => seen?,
            };
            looked = true;
            let there = known(&seen.members)?;
            let health: Vec<Option<bool>> =
                servers.iter().map(|id| there.get(id).copied().unwrap_or(Some(false))).collect();
            if health.iter().all(|health| *health != Some(false)) {
                if let Some(within) = self.given(&seen) {
                    if within > desk.deadline.saturating_duration_since(began) {
                        let message =
                            format!("servers are given {within:?} to get well, which is longer than there is time");
                        return Err(Error::new(ErrorKind::Timeout, message)
                            .advice("allow the router a longer deadline, or exchange more servers at a time"));
                    }
                    sleep_until(began + within).await;
                }
                break;
            }
            if !desk.patience.pause(desk.deadline).await {
                return Err(sick());
            }
        }
        let Some(probe) = self.confirmation.probe() else { return Ok(()) };
        while probe.answers().await? != Some(slot) {
            if !desk.patience.pause(desk.deadline).await {
                let message = format!("{slot} was added, and never answered at the public address");
                return Err(Error::new(ErrorKind::Unhealthy, message).with("probe", probe));
            }
        }
        Ok(())
    }

    /// Returns when the balancer shows these members, and nothing else that has changed.
    async fn undisturbed(&self, members: &BTreeSet<u64>) -> Result<()> {
        let expected = self.desk.balancer.with_members(self.all, members)?;
        loop {
            let seen = self.desk.idle().await?;
            if seen.settings == expected {
                return Ok(());
            }
            let (before, now) = (without_members(&expected), without_members(&seen.settings));
            if now != before {
                return Err(interfered(self.desk.balancer, &before, &now));
            }
            let there = there(&seen);
            if there == *members {
                return Err(interfered(self.desk.balancer, &expected, &seen.settings));
            }
            self.pools.split(&seen.members)?;
            if !self.desk.patience.pause(self.desk.deadline).await {
                return Err(self.desk.late(format!("it has the servers {:?} instead of {members:?}", there)));
            }
        }
    }

    /// Brings the old members back after an error, and says whether they are. Somebody else's change is left alone.
    async fn take_back(&self, present: &BTreeSet<u64>, error: Error) -> Error {
        let limit = self.desk.patience.deadline.min(UNDO_LIMIT);
        let desk = Desk { deadline: Instant::now() + limit, ..self.desk };
        let undo = async {
            let seen = desk.idle().await?;
            self.pools.split(&seen.members)?;
            let there = self::there(&seen);
            let missing: Vec<u64> = present.difference(&there).copied().collect();
            let extra: Vec<u64> = there.difference(present).copied().collect();
            // Added first: the balancer must never be without servers.
            if !missing.is_empty() {
                let back = |seen: &Seen| self::there(seen).is_superset(&set(&missing));
                desk.change(self.to.other(), || desk.balancer.add(&missing, self.all), back).await?;
                self.await_health(desk, self.to.other(), &missing).await?;
            }
            if !extra.is_empty() && !present.is_empty() {
                let gone = |seen: &Seen| self::there(seen).is_disjoint(&set(&extra));
                desk.change(self.to.other(), || desk.balancer.remove(&extra), gone).await?;
            }
            let seen = desk.idle().await?;
            Ok::<bool, Error>(members_of(&seen.settings) == members_of(&self.before.settings))
        };
        match undo.await {
            Ok(true) => error.not_applied(),
            Ok(false) => error.maybe_applied(),
            Err(undo) => error.maybe_applied().advice(format!("that the old servers are back is not certain: {undo}")),
        }
    }
}

/// The servers behind the balancer.
fn there(seen: &Seen) -> BTreeSet<u64> {
    match &seen.members {
        Members::Servers(servers) => servers.keys().copied().collect(),
        Members::Chosen(_) => BTreeSet::new(),
    }
}

fn set(servers: &[u64]) -> BTreeSet<u64> {
    servers.iter().copied().collect()
}

/// What a switch by servers changes in the settings: at DigitalOcean the one, at Hetzner the other.
const MEMBERS: [&str; 2] = ["droplet_ids", "targets"];

fn members_of(settings: &Value) -> [Option<&Value>; 2] {
    MEMBERS.map(|name| settings.get(name))
}

fn without_members(settings: &Value) -> Value {
    let mut settings = settings.clone();
    if let Some(fields) = settings.as_object_mut() {
        fields.retain(|name, _| !MEMBERS.contains(&name.as_str()));
    }
    settings
}
