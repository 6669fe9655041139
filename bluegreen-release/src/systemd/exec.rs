//! Commands in a release, such as consoles and migrations.

use bluegreen_core::{Command, Slot, Version};

use super::{SystemdRuntime, script};

impl SystemdRuntime {
    /// A command that runs these words in the release that was started last in a slot, with its environment: `bin/rails runner
    /// ...`, `python3 manage.py shell`, `psql`. Its directory is the release's. Run it by the host; one that needs a terminal, by
    /// the host's console.
    ///
    /// It runs as the user who deploys. Its exit status is 44 when nothing was ever started there.
    pub fn exec<W: Into<String>>(&self, slot: Slot, words: impl IntoIterator<Item = W>) -> Command {
        self.in_release(slot, None).args(words)
    }

    /// As [`exec`](Self::exec), in a version that is prepared.
    pub(super) fn in_release(&self, slot: Slot, version: Option<&Version>) -> Command {
        let version = version.map(ToString::to_string).unwrap_or_default();
        self.on_slot(slot, script::EXEC, bluegreen_core::host::DEFAULT_TIMEOUT).arg(version).command()
    }
}
