//! The scripts of this runtime, with what all of them know.

use std::time::Duration;

use bluegreen_core::Command;
use bluegreen_core::host::quote;

use super::settings::Settings;
use crate::script;

const LIBRARY: &str = concat!(include_str!("scripts/lib.sh"), "\n", include_str!("scripts/unit.sh"));

/// A script of ours, and what it does in a few words.
#[derive(Clone, Copy)]
pub(super) struct Body {
    does: &'static str,
    text: &'static str,
}

pub(super) const PREPARE: Body = Body { does: "store the environment", text: include_str!("scripts/prepare.sh") };
pub(super) const PREVIEW: Body = Body { does: "look at the unit", text: include_str!("scripts/preview.sh") };
pub(super) const START: Body = Body { does: "start a unit", text: include_str!("scripts/start.sh") };
pub(super) const WATCH: Body = Body { does: "watch a unit", text: include_str!("scripts/watch.sh") };
pub(super) const INSPECT: Body = Body { does: "look what runs", text: include_str!("scripts/inspect.sh") };
pub(super) const STOP: Body = Body { does: "stop a unit", text: include_str!("scripts/stop.sh") };
pub(super) const GRACE: Body = Body { does: "ask for a unit's grace", text: include_str!("scripts/grace.sh") };
pub(super) const LOGS: Body = Body { does: "read the journal", text: include_str!("scripts/logs.sh") };
pub(super) const EXEC: Body = Body { does: "run in a release", text: include_str!("scripts/exec.sh") };
pub(super) const PROMOTED: Body = Body { does: "enable the live unit", text: include_str!("scripts/promoted.sh") };

/// The exit status of a script when there is no release to run in.
pub(super) const NO_RELEASE: i32 = 44;

/// A script as a command of the host, which waits this long for something else than its lock and its disk.
pub(super) fn command(settings: &Settings, body: Body, waits: Duration) -> Command {
    let scope = quote(settings.scope_option());
    script::command(body.does, &format!("scope={scope}\n{LIBRARY}\n{}", body.text), waits)
}

/// A time as the scripts count it.
pub(super) fn hundredths(duration: Duration) -> String {
    (duration.as_millis() / 10).to_string()
}
