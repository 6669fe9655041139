//! Gates learn what the live release's requests are like, before they are divided.

use std::convert::Infallible;
use std::future::Future;

use futures::future::join_all;
use tokio::time::{sleep, timeout};

use super::context::Context;
use crate::types::Target;

/// Does the work; meanwhile the gates read the live release as often as they look in a soak. That they cannot is no reason
/// to stop anything: it shows when they must judge.
pub(super) async fn meanwhile<T>(context: &Context, live: Option<&Target>, work: impl Future<Output = T>) -> T {
    match live.filter(|_| !context.gates.is_empty()) {
        Some(live) => tokio::select! {
            biased;
            done = work => done,
            never = read(context, live) => match never {},
        },
        None => work.await,
    }
}

async fn read(context: &Context, live: &Target) -> Infallible {
    let limit = context.settings.check_timeout;
    loop {
        if let Ok(Ok(instance)) = timeout(limit, context.runtime.inspect(live.slot)).await {
            loop {
                let _ = timeout(limit, join_all(context.gates.iter().map(|gate| gate.learn(live, &instance)))).await;
                sleep(context.settings.gate_interval).await;
            }
        }
        sleep(context.settings.gate_interval).await;
    }
}
