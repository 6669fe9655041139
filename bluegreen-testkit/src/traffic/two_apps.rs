use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bluegreen_core::testing::conformance::HeldRequest;
use bluegreen_core::{Instance, Slot};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::app::App;
use super::client::get;

/// An app in each slot behind a router, for the suite of `Router`: each answers with the name of its slot.
pub struct TwoApps(Mutex<[Arc<App>; 2]>);

impl TwoApps {
    /// Starts both.
    pub async fn start() -> Self {
        Self(Mutex::new([App::start("blue").await.into(), App::start("green").await.into()]))
    }

    /// Where a slot's app listens.
    pub async fn instance(&self, slot: Slot) -> Instance {
        self.0.lock().await[slot as usize].instance()
    }

    /// Starts another one in a slot, and ends the one before.
    pub async fn replace(&self, slot: Slot) -> Instance {
        let app = App::start(slot.as_str()).await;
        let instance = app.instance();
        self.0.lock().await[slot as usize] = app.into();
        instance
    }

    /// Begins a request through the router at this address that stays in flight until it is told to finish. `None` where no app
    /// got it.
    pub async fn hold(&self, router: String) -> Option<Box<dyn HeldRequest>> {
        let answer = tokio::spawn(async move { get(&router, "shop.test", "/hold").await.map(|answer| answer.body) });
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            for slot in Slot::BOTH {
                let app = self.0.lock().await[slot as usize].clone();
                if app.holding() == 1 {
                    return Some(Box::new(Held { slot, app, answer }));
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        None
    }
}

/// The slot whose app answers a new request to the router at this address.
pub async fn answering_slot(router: &str) -> Option<Slot> {
    let answer = get(router, "shop.test", "/").await.ok()?;
    if answer.status == 200 { answer.body.parse().ok() } else { None }
}

struct Held {
    slot: Slot,
    app: Arc<App>,
    answer: JoinHandle<Result<String, String>>,
}

#[async_trait]
impl HeldRequest for Held {
    fn slot(&self) -> Slot {
        self.slot
    }

    async fn finish(self: Box<Self>) -> bool {
        self.app.release();
        self.answer.await.is_ok_and(|answer| answer.is_ok_and(|body| body == self.slot.as_str()))
    }
}
