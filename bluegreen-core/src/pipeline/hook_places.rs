//! Which hooks run where.

use super::context::Context;
use crate::hook::HookStep;
use crate::state::{HookName, HookPlace, Step};

/// The hooks of a place, as steps, in order.
pub(super) fn at(context: &Context, place: HookPlace) -> Vec<Step> {
    at_shift(context, place, false)
}

/// The same; before a shift, `is_first` says whether it is the first one of the release.
pub(super) fn at_shift(context: &Context, place: HookPlace, is_first: bool) -> Vec<Step> {
    let here = context.hooks.iter().filter(|(_, hook)| hook.moment.is_at(place, is_first));
    here.map(|(name, _)| Step::Hook(place, *name)).collect()
}

/// The hook that a step runs.
pub(super) fn hook(context: &Context, place: HookPlace, name: HookName) -> Option<&HookStep> {
    let is_it = |(own, hook): &&(HookName, HookStep)| *own == name && hook.moment.is_at(place, true);
    context.hooks.iter().find(is_it).map(|(_, hook)| hook)
}
