//! Commands in a release, such as consoles and migrations.

use bluegreen_core::{Command, Slot};

use super::SystemdRuntime;

impl SystemdRuntime {
    /// A command that runs these words in the release that was started last in a slot, with its environment: `bin/rails runner
    /// ...`, `python3 manage.py shell`, `psql`. Its directory is the release's. Run it by the host; one that needs a terminal, by
    /// the host's console.
    ///
    /// It runs as the user who deploys. Its exit status is 44 when nothing was ever started there.
    pub fn exec<W: Into<String>>(&self, slot: Slot, words: impl IntoIterator<Item = W>) -> Command {
        self.slots.exec(slot, None).args(words)
    }
}
