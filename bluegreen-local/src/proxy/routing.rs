//! Which slot each request goes to. The hot path: one short lock per request, never held across an await.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bluegreen_core::{PerSlot, Slot, Split};

use super::backend::Backend;
use super::routes::Routes;
use super::sticky::Pin;

/// How far the traffic may run ahead of the split, in hundredths of a request: what clients that stay on their slot
/// take too much of is made good by others, but not for longer than this.
const MOST_OWED: i32 = 100 * 100;

/// The routes as they apply to a request that arrives now.
#[derive(Debug, Default)]
pub(super) struct Routing {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    split: Option<Split>,
    round: u64,
    /// What green is owed, in hundredths of a request.
    owed: i32,
    slots: PerSlot<SlotState>,
}

#[derive(Debug, Default)]
struct SlotState {
    backend: Option<Arc<Backend>>,
    counts: Arc<Counts>,
}

/// What a slot has had to do since the proxy was started.
#[derive(Debug, Default)]
pub(super) struct Counts {
    in_flight: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
}

impl Counts {
    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Requests that were answered, by the slot or by the proxy in its place.
    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Those of them that were answered with 500 or above, or of which the answer broke off.
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

impl Routing {
    /// Gives a request its slot, and counts it in flight there, in one step: whoever shifts the traffic away and then
    /// sees nothing in flight knows that no request will go there any more.
    ///
    /// A pinned request stays where it is pinned as long as that slot has a share. The others are dealt out evenly:
    /// of any 100 requests in a row, a slot with a share of n gets exactly n. `None`: nothing is routed.
    pub(super) fn claim(&self, pin: Option<Pin>) -> Option<Claim> {
        let mut table = self.lock();
        let split = table.split?;
        table.owed += i32::from(split.share(Slot::Green));
        let kept = pin.filter(|pin| pin.round == table.round && split.routes_to(pin.slot));
        let slot = match kept {
            Some(pin) => pin.slot,
            None if table.owed >= 100 => Slot::Green,
            None => Slot::Blue,
        };
        if slot == Slot::Green {
            table.owed -= 100;
        }
        table.owed = table.owed.clamp(-MOST_OWED, MOST_OWED);
        let new_pin = (kept.is_none() && split.sole().is_none()).then_some(Pin { slot, round: table.round });
        let state = &table.slots[slot];
        let backend = state.backend.clone()?;
        let counts = state.counts.clone();
        counts.in_flight.fetch_add(1, Ordering::SeqCst);
        Some(Claim { slot, backend, new_pin, counts, has_ended: AtomicBool::new(false) })
    }

    /// Makes these routes apply to every request that claims its slot from now on.
    ///
    /// A slot in `renewed`, and one that loses its share, begins with no connections: those that are idle are closed
    /// when the last request in flight on them has ended, so an old process can end without waiting for us.
    pub(super) fn apply(&self, routes: &Routes, renewed: Option<Slot>) {
        let mut table = self.lock();
        for slot in Slot::BOTH {
            let lost = table.split.is_some_and(|split| split.routes_to(slot)) && !routes.routes_to(slot);
            let state = &mut table.slots[slot];
            if lost || renewed == Some(slot) || state.backend.is_none() {
                state.backend = routes
                    .address(slot)
                    .map(|address| Arc::new(Backend::new(address.clone(), routes.version(slot).cloned())));
            }
        }
        if table.split != routes.split {
            table.owed = 0;
        }
        table.split = routes.split;
        table.round = routes.round;
    }

    pub(super) fn split(&self) -> Option<Split> {
        self.lock().split
    }

    pub(super) fn counts(&self, slot: Slot) -> Arc<Counts> {
        self.lock().slots[slot].counts.clone()
    }

    pub(super) fn close_expired_connections(&self) {
        let backends = self.lock().slots.as_ref().map(|state| state.backend.clone()).into_array();
        backends.into_iter().flatten().for_each(|backend| backend.close_expired());
    }

    /// Closes all idle connections.
    pub(super) fn close_idle_connections(&self) {
        let backends = self.lock().slots.as_ref().map(|state| state.backend.clone()).into_array();
        backends.into_iter().flatten().for_each(|backend| backend.close_all());
    }

    /// Closes an idle connection of either slot, to make room for one that is needed.
    pub(super) fn close_an_idle_connection(&self) -> bool {
        let backends = self.lock().slots.as_ref().map(|state| state.backend.clone()).into_array();
        backends.into_iter().flatten().any(|backend| backend.close_one())
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request's place in a slot. It counts as in flight until it is ended or dropped.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) slot: Slot,
    pub(super) backend: Arc<Backend>,
    /// What to remember for a client that is not pinned yet.
    pub(super) new_pin: Option<Pin>,
    counts: Arc<Counts>,
    has_ended: AtomicBool,
}

impl Claim {
    /// Counts the answer.
    pub(super) fn answered(&self, failed: bool) {
        self.counts.answered.fetch_add(1, Ordering::Relaxed);
        if failed {
            self.counts.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts an answer that was counted as a good one, and then broke off.
    pub(super) fn broke_off(&self) {
        self.counts.failed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Claim {
    /// Nothing is wanted of the slot any more.
    pub(super) fn end(&self) {
        if !self.has_ended.swap(true, Ordering::SeqCst) {
            self.counts.in_flight.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::address::Address;
    use super::*;

    fn routing(percent: u8) -> (Routing, Routes) {
        let routing = Routing::default();
        let routes = Routes::default()
            .attached(Slot::Blue, Address::new("127.0.0.1:1").unwrap(), None)
            .attached(Slot::Green, Address::new("127.0.0.1:2").unwrap(), None)
            .shifted(None, green(percent))
            .unwrap()
            .unwrap();
        routing.apply(&routes, None);
        (routing, routes)
    }

    fn green(percent: u8) -> Split {
        Split::toward(Slot::Green, percent).unwrap()
    }

    fn shift(routing: &Routing, routes: &Routes, percent: u8) -> Routes {
        let next = routes.shifted(routes.split, green(percent)).unwrap().unwrap();
        routing.apply(&next, None);
        next
    }

    #[test]
    fn nothing_routed_claims_nothing() {
        assert!(Routing::default().claim(None).is_none());
    }

    #[test]
    fn ten_percent_is_every_tenth_request() {
        let (routing, _) = routing(10);
        let slots: Vec<_> = (1..=50).map(|_| routing.claim(None).unwrap().slot).collect();
        for (index, slot) in slots.into_iter().enumerate() {
            assert_eq!(slot == Slot::Green, (index + 1) % 10 == 0, "request {}", index + 1);
        }
    }

    proptest! {
        #[test]
        fn of_any_100_requests_in_a_row_each_slot_gets_exactly_its_share(percent in 0_u8..=100, offset in 0_usize..500) {
            let (routing, _) = routing(percent);
            let slots: Vec<_> = (0..offset + 100).map(|_| routing.claim(None).unwrap().slot).collect();
            let got = slots[offset..].iter().filter(|slot| **slot == Slot::Green).count();
            prop_assert_eq!(got, usize::from(percent));
        }

        #[test]
        fn requests_are_spread_evenly_and_never_lumped(percent in 1_u8..=100) {
            let (routing, _) = routing(percent);
            let mut got = 0;
            for count in 1..=1000_u32 {
                got += u32::from(routing.claim(None).unwrap().slot == Slot::Green);
                prop_assert_eq!(got, count * u32::from(percent) / 100);
            }
        }

        #[test]
        fn whatever_is_pinned_a_slot_without_a_share_gets_nothing(
            steps in proptest::collection::vec((0_u8..=100, proptest::collection::vec((any::<bool>(), 0_u64..4), 0..40)), 1..20),
        ) {
            let (routing, mut routes) = routing(50);
            for (percent, requests) in steps {
                if routes.split != Some(green(percent)) {
                    routes = shift(&routing, &routes, percent);
                }
                for (is_green, round) in requests {
                    let slot = if is_green { Slot::Green } else { Slot::Blue };
                    let claim = routing.claim(Some(Pin { slot, round })).unwrap();
                    prop_assert!(green(percent).routes_to(claim.slot));
                }
            }
        }
    }

    #[test]
    fn a_claim_counts_until_it_is_dropped_and_a_shift_moves_none() {
        let (routing, routes) = routing(0);
        let held: Vec<_> = (0..3).map(|_| routing.claim(None).unwrap()).collect();
        shift(&routing, &routes, 100);
        assert_eq!(routing.counts(Slot::Blue).in_flight(), 3);
        let new = routing.claim(None).unwrap();
        assert_eq!((new.slot, routing.counts(Slot::Green).in_flight()), (Slot::Green, 1));
        drop(held);
        assert_eq!(routing.counts(Slot::Blue).in_flight(), 0);
    }

    #[test]
    fn with_nothing_in_flight_after_a_shift_no_request_goes_there_any_more() {
        let (routing, mut routes) = routing(0);
        let routing = Arc::new(routing);
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let forbidden = Arc::new(AtomicU64::new(u64::MAX));
        let clients: Vec<_> = (0..2)
            .map(|_| {
                let (routing, stop, forbidden) = (routing.clone(), stop.clone(), forbidden.clone());
                std::thread::spawn(move || {
                    while !stop.load(Ordering::SeqCst) {
                        let claim = routing.claim(None).unwrap();
                        // A slot that was seen empty after the shift is "stopped" now; a claim on it would be a lost request.
                        assert_ne!(forbidden.load(Ordering::SeqCst), claim.slot as u64);
                        drop(claim);
                    }
                })
            })
            .collect();
        for percent in [100, 0].repeat(300) {
            routes = shift(&routing, &routes, percent);
            let old = if percent == 100 { Slot::Blue } else { Slot::Green };
            while routing.counts(old).in_flight() > 0 {
                std::thread::yield_now();
            }
            forbidden.store(old as u64, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_micros(100));
            forbidden.store(u64::MAX, Ordering::SeqCst);
        }
        stop.store(true, Ordering::SeqCst);
        clients.into_iter().for_each(|client| client.join().unwrap());
    }

    #[test]
    fn a_pinned_client_stays_while_its_slot_has_a_share_and_growth_moves_nobody_back() {
        let (routing, routes) = routing(10);
        let pins: Vec<Pin> = (0..100).map(|_| routing.claim(None).unwrap().new_pin.unwrap()).collect();
        let mut routes = routes;
        for percent in [10, 50, 99] {
            if routes.split != Some(green(percent)) {
                routes = shift(&routing, &routes, percent);
            }
            for pin in &pins {
                let claim = routing.claim(Some(*pin)).unwrap();
                assert_eq!((claim.slot, claim.new_pin), (pin.slot, None));
            }
        }
        shift(&routing, &routes, 100);
        assert!(pins.iter().all(|pin| routing.claim(Some(*pin)).unwrap().slot == Slot::Green));
    }

    #[test]
    fn a_pin_from_an_earlier_round_does_not_fill_the_next_canary() {
        let (routing, mut routes) = routing(10);
        let old = (0..10).map(|_| routing.claim(None).unwrap().new_pin.unwrap()).find(|pin| pin.slot == Slot::Green);
        for percent in [0, 10] {
            routes = shift(&routing, &routes, percent);
        }
        let greens = (0..100).filter(|_| routing.claim(old).unwrap().slot == Slot::Green).count();
        assert_eq!(greens, 10);
    }

    #[test]
    fn what_pinned_clients_take_too_much_of_is_made_good_by_others() {
        let (routing, _) = routing(50);
        let pin = std::iter::repeat_with(|| routing.claim(None).unwrap().new_pin.unwrap())
            .find(|pin| pin.slot == Slot::Blue)
            .unwrap();
        let mut greens = 0;
        for request in 0..1000 {
            let claim = routing.claim((request % 2 == 0).then_some(pin)).unwrap();
            greens += usize::from(claim.slot == Slot::Green);
        }
        assert_eq!(greens, 500);
    }
}
