//! The shell scripts that do the work on the host: each is one round trip.

use std::time::Duration;

use bluegreen_core::host::quote;
use bluegreen_core::{Command, Slot};

use super::settings::Settings;
pub(super) use crate::reply::{Reply, failed, run};

const LIBRARY: &str = concat!(include_str!("../scripts/lib.sh"), "\n", include_str!("scripts/lib.sh"));

/// A script of ours, and what it does in a few words.
#[derive(Clone, Copy)]
pub(super) struct Body {
    does: &'static str,
    text: &'static str,
}

pub(super) const BEGIN_PREPARE: Body =
    Body { does: "make room for a release", text: include_str!("scripts/begin_prepare.sh") };
pub(super) const PREVIEW: Body =
    Body { does: "look what others have changed", text: include_str!("scripts/preview.sh") };
pub(super) const FINISH_PREPARE: Body =
    Body { does: "unpack a release", text: include_str!("scripts/finish_prepare.sh") };
pub(super) const START: Body = Body { does: "start a node", text: include_str!("scripts/start.sh") };
pub(super) const INSPECT: Body = Body { does: "look what runs", text: include_str!("scripts/inspect.sh") };
pub(super) const STOP: Body = Body { does: "stop a node", text: include_str!("scripts/stop.sh") };
pub(super) const LOGS: Body = Body { does: "read the log", text: include_str!("scripts/logs.sh") };
pub(super) const RPC: Body = Body { does: "run on a node", text: include_str!("scripts/rpc.sh") };
pub(super) const EVAL: Body = Body { does: "evaluate in a release", text: include_str!("scripts/eval.sh") };

/// The exit status of scripts when there is no release to run.
pub(super) const NO_RELEASE: i32 = 44;

/// What a script may take beyond the time that it is given to wait: for its lock, its disk and its processes.
const MARGIN: Duration = Duration::from_secs(120);

/// A script as a command of the host, with the places of the slot as its first arguments.
pub(super) fn command(settings: &Settings, slot: Slot, body: Body, patience: Duration) -> Command {
    let words = [
        ("app", settings.app.as_str()),
        ("distribution", settings.distribution()),
        ("mapper", &settings.epmd_port.to_string()),
        ("reach", if settings.is_loopback() { "loopback" } else { "network" }),
        ("overwrite", if settings.overwrite_changes { "yes" } else { "" }),
    ];
    let words: String = words.iter().map(|(name, value)| format!("{name}={}\n", quote(value))).collect();
    Command::script(format!("{words}{LIBRARY}\n{}", body.text))
        .called(body.does)
        .arg(&settings.directory)
        .arg(slot.as_str())
        .timeout(patience.saturating_add(MARGIN))
}
