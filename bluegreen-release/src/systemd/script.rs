//! The scripts of this runtime, with what all of them know.

use bluegreen_core::host::Script;

pub(super) const PREPARE: Script = script("store the environment", include_str!("scripts/prepare.sh"));
pub(super) const PREVIEW: Script = script("look at the unit", include_str!("scripts/preview.sh"));
pub(super) const START: Script = script("start a unit", include_str!("scripts/start.sh"));
pub(super) const WATCH: Script = script("watch a unit", include_str!("scripts/watch.sh"));
pub(super) const INSPECT: Script = script("look what runs", include_str!("scripts/inspect.sh"));
pub(super) const STOP: Script = script("stop a unit", include_str!("scripts/stop.sh"));
pub(super) const GRACE: Script = script("ask for a unit's grace", include_str!("scripts/grace.sh"));
pub(super) const LOGS: Script = script("read the journal", include_str!("scripts/logs.sh"));
pub(super) const PROMOTED: Script = script("enable the live unit", include_str!("scripts/promoted.sh"));

const fn script(operation: &'static str, body: &'static str) -> Script {
    Script::new(operation, body).library(concat!(
        include_str!("../slots/scripts/lib.sh"),
        "\n",
        include_str!("scripts/lib.sh"),
        "\n",
        include_str!("scripts/unit.sh")
    ))
}
