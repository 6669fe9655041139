//! How long each step may take. What a plan shows is what an observer is told.

use std::time::Duration;

use super::context::{Context, Settings};
use super::defaults::{LOOKS, OBSERVE_TIMEOUT};
use super::hook_places::hook;
use crate::state::Step;

/// How long a step may take before it counts as failed.
pub(super) fn limit(context: &Context, step: Step) -> Duration {
    let settings = &context.settings;
    match step {
        Step::CatchUp => settings.prepare_timeout + start_timeout(context) + settings.start_deadline,
        Step::Prepare => settings.prepare_timeout,
        Step::ExpandBeforeStart | Step::ExpandAfterStart | Step::Migrate | Step::Contract => settings.migrate_timeout,
        Step::StopOccupant | Step::StopFailed | Step::Retire => settings.stop_grace,
        Step::Start | Step::StartOccupant => start_timeout(context),
        Step::Health => settings.start_deadline,
        Step::Smoke => settings.smoke_timeout,
        Step::CheckSlots(_) => (settings.check_interval + settings.check_timeout) * LOOKS,
        Step::Shift(_) | Step::ShiftBack => settings.shift_timeout,
        Step::Soak(percent) => {
            let traffic = context.strategy.steps.iter().find(|traffic| traffic.percent == percent);
            traffic.map_or(Duration::ZERO, |traffic| traffic.max_soak_or_default())
        }
        Step::Verify => settings.verify_deadline,
        Step::Drain | Step::DrainFailed => settings.drain,
        Step::Bake => context.strategy.max_bake_or_default(),
        Step::Hook(place, name) => hook(context, place, name).map_or(Duration::ZERO, |hook| hook.timeout),
        Step::Observe => OBSERVE_TIMEOUT * 2,
        Step::Attach | Step::Detach | Step::Retain | Step::CollectLogs => OBSERVE_TIMEOUT,
    }
}

/// When a step is cut off. One that ends by itself, with an error that says more, is given the time for that.
pub(super) fn cut_off(context: &Context, step: Step) -> Duration {
    let Settings { check_timeout, .. } = context.settings;
    let own = limit(context, step);
    match step {
        Step::Health | Step::Verify | Step::CheckSlots(_) => own + check_timeout * 2 + OBSERVE_TIMEOUT,
        Step::Soak(_) | Step::Bake | Step::Drain | Step::DrainFailed | Step::Hook(..) => own + OBSERVE_TIMEOUT,
        Step::StopOccupant | Step::StopFailed | Step::Retire => own + OBSERVE_TIMEOUT,
        _ => own,
    }
}

/// A runtime that watches its start itself says more than that the time is up: it is left to end it.
fn start_timeout(context: &Context) -> Duration {
    let own = context.runtime.start_timeout().map_or(Duration::ZERO, |limit| limit.saturating_add(OBSERVE_TIMEOUT));
    context.settings.start_deadline.max(own)
}
