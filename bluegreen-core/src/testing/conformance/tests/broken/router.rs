use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use super::super::memory::{Routed, instance};
use crate::error::Result;
use crate::memory::MemoryRouter;
use crate::router::{Granularity, Router};
use crate::testing::conformance::{self, HeldRequest, RouterFixture};
use crate::types::{Instance, Slot, Split};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    IgnoresFrom,
    ConflictsWithWhatIsThere,
    ReturnsBeforeItIsDone,
    RemembersInsteadOfAsking,
    RoutesNothingInBetween,
    AttachMovesTraffic,
    DividesByHalves,
    DividesWhatItCannot,
    CutsRequests,
    MiscountsRequests,
}

#[derive(Debug)]
struct Broken {
    fault: Fault,
    router: MemoryRouter,
    remembered: Mutex<Option<Split>>,
    cut: Arc<AtomicBool>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a router that {:?}", self.fault)
    }
}

#[async_trait]
impl Router for Broken {
    fn granularity(&self) -> Granularity {
        if self.fault == Fault::DividesWhatItCannot { Granularity::AllOrNothing } else { self.router.granularity() }
    }

    async fn current(&self) -> Result<Option<Split>> {
        let remembered = *self.remembered.lock().unwrap();
        match remembered {
            Some(split) if self.fault == Fault::RemembersInsteadOfAsking => Ok(Some(split)),
            _ => self.router.current().await,
        }
    }

    async fn attach(&self, slot: Slot, instance: &Instance) -> Result<()> {
        if self.fault == Fault::AttachMovesTraffic && self.router.split().is_some() {
            self.router.switch_by_hand(Some(Split::all(slot)));
        }
        self.router.attach(slot, instance).await
    }

    async fn shift(&self, from: Option<Split>, to: Split) -> Result<()> {
        let current = match self.fault {
            Fault::RemembersInsteadOfAsking => *self.remembered.lock().unwrap(),
            _ => self.router.split(),
        };
        match self.fault {
            Fault::IgnoresFrom => self.router.switch_by_hand(Some(to)),
            Fault::ConflictsWithWhatIsThere if from != current => {
                return self.router.shift(from, Split::toward(Slot::Green, 33)?).await;
            }
            Fault::ReturnsBeforeItIsDone if current.is_some() && from == current => {
                let router = self.router.clone();
                tokio::spawn(async move {
                    tokio::task::yield_now().await;
                    router.switch_by_hand(Some(to));
                });
            }
            Fault::RoutesNothingInBetween if from == current => {
                self.router.switch_by_hand(None);
                tokio::task::yield_now().await;
                self.router.switch_by_hand(Some(to));
            }
            Fault::RemembersInsteadOfAsking if from == current => self.router.switch_by_hand(Some(to)),
            Fault::DividesByHalves if from == current && to.sole().is_none() => {
                self.router.shift(from, Split::toward(Slot::Green, 50)?).await?;
            }
            Fault::CutsRequests => {
                self.router.shift(from, to).await?;
                self.cut.store(true, Ordering::Relaxed);
            }
            _ => self.router.shift(from, to).await?,
        }
        *self.remembered.lock().unwrap() = Some(to);
        tokio::task::yield_now().await;
        Ok(())
    }

    async fn in_flight(&self, slot: Slot) -> Result<Option<u64>> {
        let count = self.router.in_flight(slot).await?;
        Ok(if self.fault == Fault::MiscountsRequests { Some(7) } else { count })
    }
}

struct Fixture {
    fault: Fault,
    routed: Routed,
    cut: Arc<AtomicBool>,
}

struct Held(MemoryRouter, Arc<AtomicBool>);

#[async_trait]
impl HeldRequest for Held {
    fn slot(&self) -> Slot {
        Slot::Blue
    }

    async fn finish(self: Box<Self>) -> bool {
        self.0.set_in_flight(Slot::Blue, 0);
        !self.1.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl RouterFixture for Fixture {
    type Router = Broken;

    async fn open(&self) -> Broken {
        let (fault, router, cut) = (self.fault, self.routed.router.clone(), self.cut.clone());
        Broken { fault, router, remembered: Mutex::new(None), cut }
    }

    async fn instance(&self, slot: Slot) -> Instance {
        instance(slot, "1")
    }

    async fn request(&self) -> Option<Slot> {
        self.routed.answer()
    }

    async fn hold_request(&self) -> Option<Box<dyn HeldRequest>> {
        self.cut.store(false, Ordering::Relaxed);
        self.routed.router.set_in_flight(Slot::Blue, 1);
        Some(Box::new(Held(self.routed.router.clone(), self.cut.clone())))
    }
}

async fn suite(fault: Fault) {
    let routed = Routed::new(Granularity::Percent);
    conformance::router(&Fixture { fault, routed, cut: Arc::default() }).await;
}

#[tokio::test]
async fn without_a_fault_the_suite_passes() {
    suite(Fault::None).await;
}

#[tokio::test]
#[should_panic(expected = "a shift from a split that is not in force is a Conflict")]
async fn a_router_that_does_not_compare_is_noticed() {
    suite(Fault::IgnoresFrom).await;
}

#[tokio::test]
#[should_panic(expected = "a shift to the split that is in force succeeds")]
async fn a_router_that_refuses_what_is_done_already_is_noticed() {
    suite(Fault::ConflictsWithWhatIsThere).await;
}

#[tokio::test]
#[should_panic(expected = "when shift returns, every new request follows it")]
async fn a_router_that_returns_before_it_is_done_is_noticed() {
    suite(Fault::ReturnsBeforeItIsDone).await;
}

#[tokio::test]
#[should_panic(expected = "a shift compares with the router, not with a memory")]
async fn a_router_that_remembers_instead_of_asking_is_noticed() {
    let fixture = Fixture {
        fault: Fault::RemembersInsteadOfAsking,
        routed: Routed::new(Granularity::Percent),
        cut: Arc::default(),
    };
    fixture.routed.router.switch_by_hand(Some(Split::all(Slot::Blue)));
    conformance::router(&Begun(fixture)).await;
}

/// Each handle knows what there was when it was opened.
struct Begun(Fixture);

#[async_trait]
impl RouterFixture for Begun {
    type Router = Broken;

    async fn open(&self) -> Broken {
        let router = self.0.open().await;
        *router.remembered.lock().unwrap() = self.0.routed.router.split();
        router
    }

    async fn instance(&self, slot: Slot) -> Instance {
        self.0.instance(slot).await
    }

    async fn request(&self) -> Option<Slot> {
        self.0.request().await
    }

    fn begins_unrouted(&self) -> bool {
        false
    }
}

#[tokio::test]
#[should_panic(expected = "no request fails because of a shift")]
async fn a_router_that_routes_nothing_for_a_moment_is_noticed() {
    suite(Fault::RoutesNothingInBetween).await;
}

#[tokio::test]
#[should_panic(expected = "attach can be repeated, and moves no traffic")]
async fn a_router_whose_attach_moves_traffic_is_noticed() {
    suite(Fault::AttachMovesTraffic).await;
}

#[tokio::test]
#[should_panic(expected = "current is the split that was shifted to")]
async fn a_router_that_divides_otherwise_is_noticed() {
    suite(Fault::DividesByHalves).await;
}

#[tokio::test]
#[should_panic(expected = "a split finer than the granularity is Unsupported")]
async fn a_router_that_takes_splits_it_cannot_do_is_noticed() {
    suite(Fault::DividesWhatItCannot).await;
}

#[tokio::test]
#[should_panic(expected = "a request in flight is not cut off by a shift")]
async fn a_router_that_cuts_requests_off_is_noticed() {
    suite(Fault::CutsRequests).await;
}

#[tokio::test]
#[should_panic(expected = "without requests nothing is in flight")]
async fn a_router_that_miscounts_requests_is_noticed() {
    suite(Fault::MiscountsRequests).await;
}
