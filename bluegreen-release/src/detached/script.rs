//! The scripts of this runtime.

use bluegreen_core::host::Script;

pub(super) const CHECK: Script = script("look for what starts need", include_str!("scripts/check.sh")).read_only();
pub(super) const PREPARE: Script = script("store the environment", include_str!("scripts/prepare.sh"));
pub(super) const START: Script = script("start a program", include_str!("scripts/start.sh"));
pub(super) const WATCH: Script = script("watch a program", include_str!("scripts/watch.sh")).read_only();
pub(super) const INSPECT: Script = script("look what runs", include_str!("scripts/inspect.sh")).read_only();
pub(super) const STOP: Script = script("stop a program", include_str!("scripts/stop.sh"));
pub(super) const LOGS: Script = script("read the log", include_str!("scripts/logs.sh")).read_only();

/// What stays with a program until it ends. It is not run as it is: its text goes to the host with [`START`].
pub(super) const SUPERVISE: Script =
    Script::new("supervise", include_str!("scripts/supervise.sh")).library(include_str!("scripts/process.sh"));

const fn script(operation: &'static str, body: &'static str) -> Script {
    let library = concat!(
        include_str!("../slots/scripts/lib.sh"),
        "\n",
        include_str!("scripts/process.sh"),
        "\n",
        include_str!("scripts/lib.sh")
    );
    Script::new(operation, body).library(library)
}
