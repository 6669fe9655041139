//! The files of our own that belong to one slot, and the lock under which Compose changes it.

use bluegreen_core::{Command, Error, ErrorKind, Host, Result};

/// Paths on the host.
#[derive(Debug)]
pub(crate) struct SlotFiles {
    /// The compose file of our own, which comes last.
    pub(crate) overlay: String,
    /// Held by whatever changes the slot. A deployer that is killed leaves Compose at its work, and the next one must
    /// not take the slot for quiet until that has ended.
    pub(crate) lock: String,
}

/// How long one waits for another, in seconds.
const PATIENCE: &str = "120";

/// What `flock` exits with when that was not enough; nothing that Compose uses.
const BUSY: &str = "75";

impl SlotFiles {
    /// The words before those of a command that changes the slot.
    pub(super) fn locking(&self) -> Vec<String> {
        ["flock", "-E", BUSY, "-w", PATIENCE, &self.lock].map(str::to_owned).to_vec()
    }
}

/// The error of a command under the lock that did not get it, by its exit status.
pub(crate) fn is_busy(status: Option<i32>) -> Result<()> {
    match status {
        Some(75) => Err(Error::new(ErrorKind::Conflict, "Compose is still at work in the slot, for an earlier deploy")
            .not_applied()
            .retryable(true)
            .advice("`ps` on the host shows it; end it if it hangs")),
        _ => Ok(()),
    }
}

/// Waits until nothing changes a slot any more.
pub(crate) async fn wait_for_others(host: &dyn Host, lock: &str) -> Result<()> {
    let command = Command::new("flock").args(["-E", BUSY, "-w", PATIENCE, lock, "true"]);
    match host.run(&command).await {
        Ok(output) => is_busy(output.status),
        // Without flock nothing was ever started here.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
