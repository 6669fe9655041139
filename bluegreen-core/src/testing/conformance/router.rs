use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use super::contract::{Contract, another_service, steps};
use super::cut_off::CutOff;
use crate::error::{Effect, ErrorKind};
use crate::router::{Granularity, Router};
use crate::types::{Instance, ServiceName, Slot, Split};

/// What [`router`] needs: a router whose two slots answer, each in its own way, and real requests through it.
#[async_trait]
pub trait RouterFixture: Sync {
    /// The adapter.
    type Router: Router;

    /// A new handle on the router, such as another process would open.
    async fn open(&self) -> Self::Router;

    /// The running instance of a slot.
    async fn instance(&self, slot: Slot) -> Instance;

    /// Sends one real request through the router, as a new client would, and tells the slot that answered it. `None`:
    /// no answer came. It is the oracle of the suite.
    async fn request(&self) -> Option<Slot>;

    /// Whether the router routes nothing when the suite begins.
    fn begins_unrouted(&self) -> bool {
        true
    }

    /// Whether the shares are exact over every 100 requests. Otherwise they are taken for random.
    fn is_exact(&self) -> bool {
        false
    }

    /// Starts another instance of a slot, at another address, and ends the one before. `None`: addresses are fixed.
    async fn replace(&self, slot: Slot) -> Option<Instance> {
        let _ = slot;
        None
    }

    /// Begins a request that stays in flight until it is told to finish. `None`: that cannot be done.
    async fn hold_request(&self) -> Option<Box<dyn HeldRequest>> {
        None
    }

    /// Moves the traffic past the adapter, as a person might. False: that cannot be done.
    async fn switch_by_hand(&self, split: Split) -> bool {
        let _ = split;
        false
    }

    /// The service whose router it is, where the router marks its place as that service's. The suite then comes to it as another
    /// one.
    fn marked_as(&self) -> Option<ServiceName> {
        None
    }

    /// When calls are cut off.
    fn cut_offs(&self) -> Vec<CutOff> {
        CutOff::usual()
    }
}

/// A request in flight.
#[async_trait]
pub trait HeldRequest: Send {
    /// The slot that is answering.
    fn slot(&self) -> Slot;

    /// Lets the answer end, and says whether it came whole.
    async fn finish(self: Box<Self>) -> bool;
}

/// Tests the contract of [`Router`].
///
/// # Panics
/// At the first clause that does not hold.
pub async fn router(fixture: &impl RouterFixture) {
    let router = fixture.open().await;
    let suite = Suite { fixture, contract: Contract::of(&router), router };
    steps! {
        suite:
        begins_with_what_is_there,
        attaches_without_moving_traffic,
        confirms_a_shift_before_it_returns,
        compares_before_it_swaps,
        divides_traffic_as_it_says,
        sees_what_others_did,
        lets_one_of_two_win,
        fails_no_request_while_it_shifts,
        leaves_requests_in_flight_alone,
        survives_cut_offs,
        follows_an_instance_that_moved,
        refuses_another_service,
    }
}

const BLUE: Split = Split::all(Slot::Blue);
const GREEN: Split = Split::all(Slot::Green);

/// Requests after each shift of all traffic: enough to meet every worker of a router that has several.
const REQUESTS: usize = 20;

/// Requests to see a share: five standard deviations stay within what the suite tolerates.
const REQUESTS_PER_SHARE: usize = 300;

struct Suite<'a, F: RouterFixture> {
    fixture: &'a F,
    contract: Contract,
    router: F::Router,
}

impl<F: RouterFixture> Suite<'_, F> {
    async fn begins_with_what_is_there(&self) {
        let c = &self.contract;
        c.same("the granularity is constant", self.router.granularity(), self.fixture.open().await.granularity());
        let current = c.ok("current answers before anything is routed", self.router.current().await);
        if self.fixture.begins_unrouted() {
            c.same("current is None while nothing is routed", current, None);
        }
        for slot in Slot::BOTH {
            let clause = "attach works before anything is routed";
            c.ok(clause, self.router.attach(slot, &self.fixture.instance(slot).await).await);
            c.same("attach does not route anything", self.current().await, current);
        }
        let clause = "the first shift names what is there";
        c.ok(clause, self.router.shift(current, BLUE).await);
        self.all_goes_to(clause, Slot::Blue).await;
    }

    async fn attaches_without_moving_traffic(&self) {
        self.bring_to(BLUE).await;
        for slot in [Slot::Green, Slot::Blue, Slot::Green] {
            let clause = "attach can be repeated, and moves no traffic";
            let instance = self.fixture.instance(slot).await;
            self.contract.ok(clause, self.router.attach(slot, &instance).await);
            self.all_goes_to(clause, Slot::Blue).await;
        }
    }

    async fn confirms_a_shift_before_it_returns(&self) {
        self.bring_to(BLUE).await;
        for _ in 0..5 {
            for (from, to, slot) in [(BLUE, GREEN, Slot::Green), (GREEN, BLUE, Slot::Blue)] {
                let clause = "when shift returns, every new request follows it";
                self.contract.ok(clause, self.router.shift(Some(from), to).await);
                self.all_goes_to(clause, slot).await;
            }
        }
    }

    async fn compares_before_it_swaps(&self) {
        let c = &self.contract;
        self.bring_to(BLUE).await;
        for from in [Some(GREEN), None] {
            let clause = "a shift from a split that is not in force is a Conflict, not applied";
            c.refused_unapplied(clause, self.router.shift(from, GREEN).await, &[ErrorKind::Conflict]);
            self.all_goes_to(clause, Slot::Blue).await;

            let clause = "a shift to the split that is in force succeeds, wherever it says to come from";
            c.ok(clause, self.router.shift(from, BLUE).await);
            self.all_goes_to(clause, Slot::Blue).await;
        }
    }

    async fn divides_traffic_as_it_says(&self) {
        let c = &self.contract;
        self.bring_to(BLUE).await;
        if self.router.granularity() == Granularity::AllOrNothing {
            let clause = "a split finer than the granularity is Unsupported, not applied";
            let refused = self.router.shift(Some(BLUE), self.toward(Slot::Green, 10)).await;
            c.refused_unapplied(clause, refused, &[ErrorKind::Unsupported]);
            return self.all_goes_to(clause, Slot::Blue).await;
        }
        let mut from = BLUE;
        for percent in [1, 10, 50, 90, 99, 100, 25, 0] {
            let clause = "each slot gets its share of the requests";
            let to = self.toward(Slot::Green, percent);
            c.ok(clause, self.router.shift(Some(from), to).await);
            c.same("current is the split that was shifted to", self.current().await, Some(to));
            let mut green = 0;
            for _ in 0..REQUESTS_PER_SHARE {
                green += usize::from(self.request(clause).await == Slot::Green);
            }
            let (all, share) = (REQUESTS_PER_SHARE as f64, f64::from(percent) / 100.0);
            let off = (green as f64 - all * share).abs();
            let exact = self.fixture.is_exact() || [0, 100].contains(&percent);
            let tolerated = if exact { 0.0 } else { 5.0 * (all * share * (1.0 - share)).sqrt() + 1.0 };
            c.holds(clause, off <= tolerated, format!("{green} of {REQUESTS_PER_SHARE} at {percent} %"));
            from = to;
        }
    }

    async fn sees_what_others_did(&self) {
        let c = &self.contract;
        self.bring_to(BLUE).await;
        let other = self.fixture.open().await;
        let clause = "a handle sees what another one did: the router itself is asked";
        c.ok(clause, other.shift(Some(BLUE), GREEN).await);
        self.all_goes_to(clause, Slot::Green).await;
        let refused = self.router.shift(Some(BLUE), BLUE).await;
        c.refused_unapplied("a shift compares with the router, not with a memory", refused, &[ErrorKind::Conflict]);
        if self.fixture.switch_by_hand(BLUE).await {
            let clause = "current is what the router does, also after someone else switched it";
            self.all_goes_to(clause, Slot::Blue).await;
        }
    }

    async fn lets_one_of_two_win(&self) {
        if self.router.granularity() == Granularity::AllOrNothing {
            return;
        }
        let c = &self.contract;
        for round in 0..5 {
            self.bring_to(BLUE).await;
            let (one, other) = (self.fixture.open().await, self.fixture.open().await);
            let targets = [self.toward(Slot::Green, 30 + round), self.toward(Slot::Green, 70 + round)];
            let (first, second) = tokio::join!(one.shift(Some(BLUE), targets[0]), other.shift(Some(BLUE), targets[1]));
            let clause = "of two shifts from the same split one succeeds, the other one is a Conflict";
            let (won, lost) = if first.is_ok() { (targets[0], second) } else { (targets[1], first) };
            c.refused_unapplied(clause, lost, &[ErrorKind::Conflict]);
            c.same(clause, self.current().await, Some(won));
        }
    }

    async fn fails_no_request_while_it_shifts(&self) {
        let c = &self.contract;
        self.bring_to(BLUE).await;
        let done = AtomicBool::new(false);
        let shift = async {
            for _ in 0..5 {
                let clause = "a shift under traffic succeeds";
                c.ok(clause, self.router.shift(Some(BLUE), GREEN).await);
                c.ok(clause, self.router.shift(Some(GREEN), BLUE).await);
            }
            done.store(true, Ordering::Release);
        };
        let clients = (0..4).map(|_| async {
            while !done.load(Ordering::Acquire) {
                self.request("no request fails because of a shift").await;
                tokio::task::yield_now().await;
            }
        });
        tokio::join!(shift, futures::future::join_all(clients));
    }

    async fn leaves_requests_in_flight_alone(&self) {
        let c = &self.contract;
        self.bring_to(BLUE).await;
        for slot in Slot::BOTH {
            let idle = c.ok("in_flight answers", self.router.in_flight(slot).await);
            c.holds("without requests nothing is in flight, or it is not known", idle.is_none_or(|n| n == 0), idle);
        }
        let Some(held) = self.fixture.hold_request().await else { return };
        c.same("a request goes to the slot that has the traffic", held.slot(), Slot::Blue);
        let clause = "a request in flight is counted on its slot, or nothing is known";
        let blue = c.ok(clause, self.router.in_flight(Slot::Blue).await);
        c.holds(clause, blue.is_none_or(|count| count == 1), blue);
        let clause = "a shift leaves a request in flight where it is, and does not wait for it";
        c.ok(clause, self.router.shift(Some(BLUE), GREEN).await);
        self.all_goes_to(clause, Slot::Green).await;
        c.same(clause, c.ok(clause, self.router.in_flight(Slot::Blue).await), blue);
        c.holds("a request in flight is not cut off by a shift", held.finish().await, "an answer that is not whole");
        let clause = "a request that has ended is not in flight any more";
        for _ in 0..100 {
            if c.ok(clause, self.router.in_flight(Slot::Blue).await).is_none_or(|count| count == 0) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        c.broken(clause, "it still is, after two seconds");
    }

    async fn survives_cut_offs(&self) {
        let c = &self.contract;
        self.bring_to(BLUE).await;
        let mut from = BLUE;
        for cut_off in self.fixture.cut_offs() {
            let to = if from == BLUE { GREEN } else { BLUE };
            let cut = cut_off.run(self.router.shift(Some(from), to)).await;
            let clause = "a shift that was cut off left the old split or the new one";
            let current = self.current().await;
            c.holds(clause, [Some(from), Some(to)].contains(&current), (cut_off, current));
            if let Some(result) = cut {
                c.ok("a shift that was not cut off succeeds", result);
            }
            let clause = "after a cut-off the same shift, made again from what is there, converges";
            if let Err(error) = self.router.shift(current, to).await {
                // What was cut off may have come to its end in between; then it is all done.
                let late = error.kind() == ErrorKind::Conflict && error.effect() == Effect::NotApplied;
                c.holds(clause, late && self.current().await == Some(to), error);
            }
            let slot = if to == BLUE { Slot::Blue } else { Slot::Green };
            self.all_goes_to(clause, slot).await;
            let _ = cut_off.run(self.router.attach(slot.other(), &self.fixture.instance(slot.other()).await)).await;
            let clause = "an attach that was cut off moved no traffic, and can be repeated";
            self.all_goes_to(clause, slot).await;
            c.ok(clause, self.router.attach(slot.other(), &self.fixture.instance(slot.other()).await).await);
            let _ = cut_off.run(self.router.current()).await;
            let _ = cut_off.run(self.router.in_flight(slot)).await;
            from = to;
        }
    }

    async fn follows_an_instance_that_moved(&self) {
        let c = &self.contract;
        for (live, idle) in [(Slot::Blue, Slot::Green), (Slot::Green, Slot::Blue)] {
            self.bring_to(Split::all(live)).await;
            let Some(moved) = self.fixture.replace(idle).await else { return };
            let clause = "attach tells the router where an idle slot listens now, and disturbs nothing";
            c.ok(clause, self.router.attach(idle, &moved).await);
            self.all_goes_to(clause, live).await;
            let clause = "after the slot was attached anew, its requests reach its new address";
            c.ok(clause, self.router.shift(Some(Split::all(live)), Split::all(idle)).await);
            self.all_goes_to(clause, idle).await;
        }
    }

    async fn refuses_another_service(&self) {
        let Some(service) = self.fixture.marked_as() else { return };
        let c = &self.contract;
        self.bring_to(BLUE).await;
        let (mine, other) = (self.fixture.open().await, self.fixture.open().await);
        c.ok("a service can be bound, and bound again", mine.bind_service(&service));
        c.ok("a service can be bound, and bound again", mine.bind_service(&service));
        c.ok("shift", mine.shift(Some(BLUE), GREEN).await);
        let stranger = another_service(c);
        c.is_anothers("a router that is bound is not bound to another service", mine.bind_service(&stranger));
        c.ok("a service can be bound", other.bind_service(&stranger));
        for slot in Slot::BOTH {
            c.is_anothers("preview", other.preview(slot).await);
            c.is_anothers("attach", other.attach(slot, &self.fixture.instance(slot).await).await);
            c.is_anothers("detach", other.detach(slot).await);
            c.is_anothers("in_flight", other.in_flight(slot).await);
            c.is_anothers("shift", other.shift(Some(GREEN), Split::all(slot)).await);
        }
        c.is_anothers("current", other.current().await);
        self.all_goes_to("what another service was refused changes nothing", Slot::Green).await;
        c.ok("its own service shifts it", mine.shift(Some(GREEN), BLUE).await);
    }

    async fn bring_to(&self, to: Split) {
        let current = self.current().await;
        self.contract.ok("a shift from the current split succeeds", self.router.shift(current, to).await);
    }

    async fn current(&self) -> Option<Split> {
        self.contract.ok("current answers, to a new handle too", self.fixture.open().await.current().await)
    }

    async fn all_goes_to(&self, clause: &str, slot: Slot) {
        for _ in 0..REQUESTS {
            self.contract.same(clause, self.request(clause).await, slot);
        }
        self.contract.same(clause, self.current().await, Some(Split::all(slot)));
    }

    async fn request(&self, clause: &str) -> Slot {
        match self.fixture.request().await {
            Some(slot) => slot,
            None => self.contract.broken(clause, "a request that nobody answered"),
        }
    }

    fn toward(&self, slot: Slot, percent: u8) -> Split {
        Split::toward(slot, percent).unwrap_or_else(|error| self.contract.broken("the suite uses valid splits", error))
    }
}
