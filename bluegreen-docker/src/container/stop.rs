//! Stopping and removing a slot's container.

use std::time::Duration;

use bluegreen_core::{Result, Slot, Stopped};

use crate::slot::slots::Slots;
use crate::slot::take_down::TakeDown;

/// How long a container may take to appear that the engine is still making for a start that was cut off. One that comes later
/// does not run, and the next start or stop removes it.
const TO_APPEAR: Duration = Duration::from_millis(200);

/// What a killed container lacks, most often.
const INIT: &str = "a program that ignores SIGTERM as the container's first process ends with `.init(true)`, or with `exec` in its \
                    start script; one that needs longer gets it by `.stop_grace(..)`";

pub(super) async fn stop(slots: &Slots, slot: Slot, grace: Duration) -> Result<Stopped> {
    let mut down = TakeDown::new(slots, slot, grace);
    let settle = async {
        tokio::time::sleep(TO_APPEAR).await;
        Ok(())
    };
    let done = down.run(settle).await;
    down.ended(done, INIT)
}
