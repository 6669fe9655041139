//! How long the shell scripts on the host may take: each is one round trip.

use std::time::Duration;

use bluegreen_core::host::Script;

/// What a script may take beyond the time that it is given: for its lock and its disk.
const MARGIN: Duration = Duration::from_secs(120);

/// The script, which waits this long for something else.
pub(crate) fn waiting(script: Script, waits: Duration) -> Script {
    script.timeout(waits.saturating_add(MARGIN))
}
