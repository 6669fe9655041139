//! The shell scripts that do the work on the host: each is one round trip.

use std::time::Duration;

pub(super) use bluegreen_core::host::Reply;
use bluegreen_core::host::Script;
use bluegreen_core::{Error, ErrorKind, Host, Output, Slot};

use super::settings::Settings;

const LIBRARY: &str = concat!(include_str!("../scripts/lib.sh"), "\n", include_str!("scripts/lib.sh"));

pub(super) const BEGIN_PREPARE: Script = script("make room for a release", include_str!("scripts/begin_prepare.sh"));
pub(super) const PREVIEW: Script = script("look what others have changed", include_str!("scripts/preview.sh"));
pub(super) const FINISH_PREPARE: Script = script("unpack a release", include_str!("scripts/finish_prepare.sh"));
pub(super) const START: Script = script("start a node", include_str!("scripts/start.sh"));
pub(super) const INSPECT: Script = script("look what runs", include_str!("scripts/inspect.sh"));
pub(super) const STOP: Script = script("stop a node", include_str!("scripts/stop.sh"));
pub(super) const LOGS: Script = script("read the log", include_str!("scripts/logs.sh"));
pub(super) const RPC: Script = script("run on a node", include_str!("scripts/rpc.sh"));
pub(super) const EVAL: Script = script("evaluate in a release", include_str!("scripts/eval.sh"));

const fn script(operation: &'static str, body: &'static str) -> Script {
    Script::new(operation, body).library(LIBRARY)
}

/// The exit status of scripts when there is no release to run.
pub(super) const NO_RELEASE: i32 = 44;

/// What a script may take beyond the time that it is given to wait: for its lock, its disk and its processes.
const MARGIN: Duration = Duration::from_secs(120);

/// How many lines of what a release said an error shows.
const LINES_IN_ERROR: usize = 15;

/// The error of a command of a release that failed.
pub(super) fn failed(host: &dyn Host, output: &Output) -> Error {
    Error::new(ErrorKind::Unexpected, output.last_words(LINES_IN_ERROR)).with("host", host)
}

/// A script with the places of the slot as its first arguments.
pub(super) fn in_slot(settings: &Settings, slot: Slot, script: Script, patience: Duration) -> Script {
    script
        .variable("app", &settings.app)
        .variable("distribution", settings.distribution())
        .variable("mapper", &settings.epmd_port.to_string())
        .variable("reach", if settings.is_loopback() { "loopback" } else { "network" })
        .variable("overwrite", if settings.overwrite_changes { "yes" } else { "" })
        .arg(&settings.directory)
        .arg(slot.as_str())
        .timeout(patience.saturating_add(MARGIN))
}
