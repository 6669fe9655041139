//! A process that kills itself in the middle of a deploy.

use std::time::Duration;

use bluegreen_core::event::EventKind;
use bluegreen_core::state::Step;
use bluegreen_core::{Error, Event, Observer, Result, observer};
use rustix::process::{Signal, getpid, kill_process};

/// Kills this process when a step begins, or so much later, at the latest when it has ended: `STEP[+MILLISECONDS]`.
///
/// # Errors
/// `Config` when it is none.
pub fn killer(at: &str) -> Result<impl Observer + use<>> {
    let (step, after) = at.split_once('+').unwrap_or((at, "0"));
    let step: Step = step.parse()?;
    let after = after.parse().map_err(|_| Error::config(format!("{after:?} are no milliseconds")))?;
    let after = Duration::from_millis(after);
    Ok(observer::from_fn(move |event: &Event| {
        if event.step != Some(step) {
            return;
        }
        match event.what {
            EventKind::StepStarted { .. } if !after.is_zero() => {
                std::thread::spawn(move || {
                    std::thread::sleep(after);
                    die();
                });
            }
            EventKind::StepStarted { .. } | EventKind::StepDone { .. } | EventKind::StepFailed { .. } => die(),
            _ => {}
        }
    }))
}

/// Kills this process, as somebody else would.
pub fn die() {
    let _ = kill_process(getpid(), Signal::KILL);
}
