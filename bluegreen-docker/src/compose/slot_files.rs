//! The files of our own that belong to one slot, and the lock under which Compose changes it.

use bluegreen_core::{Command, Error, ErrorKind, Host, Output, Result};

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

/// What `flock` exits with when that was not enough. A command under the lock may exit with it too.
const BUSY: &str = "75";

/// The first line on standard error of a command that did get the lock. `flock` itself prints nothing when it does not.
const HELD: &str = "bluegreen: the slot is locked";

/// Says that the lock is held, and becomes the command.
const SAY_HELD: &str = r#"printf '%s\n' "$0" >&2; exec "$@""#;

impl SlotFiles {
    /// The words before those of a command that changes the slot.
    pub(super) fn locking(&self) -> Vec<String> {
        self.locking_within(PATIENCE)
    }

    fn locking_within(&self, seconds: &str) -> Vec<String> {
        ["flock", "-E", BUSY, "-w", seconds, &self.lock, "sh", "-c", SAY_HELD, HELD].map(str::to_owned).to_vec()
    }
}

/// What a command under the lock printed itself; an error when it did not get the lock.
pub(super) fn under_lock(mut output: Output) -> Result<Output> {
    if output.stdout.is_empty() && output.stderr.is_empty() {
        is_busy(output.status)?;
    }
    // Of a long text only the end is left.
    if let Some(own) = output.stderr.strip_prefix(format!("{HELD}\n").as_bytes()) {
        output.stderr = own.to_vec();
    }
    Ok(output)
}

/// The error of a `flock` that runs nothing of its own, by its exit status.
fn is_busy(status: Option<i32>) -> Result<()> {
    match status {
        Some(75) => Err(Error::new(ErrorKind::Conflict, "Compose is still at work in the slot, for an earlier deploy")
            .not_applied()
            .retryable(true)
            .with_hint("`fuser -v` with the path of the lock file names it; end it if it hangs")),
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

#[cfg(test)]
mod tests {
    use bluegreen_core::{Effect, LocalHost};

    use super::*;

    /// What a shell script comes to under the lock of a folder, which is not waited for.
    async fn under(folder: &std::path::Path, script: &str) -> Result<Output> {
        let lock = folder.join("green.lock").to_str().unwrap().to_owned();
        let mut words = SlotFiles { overlay: String::new(), lock }.locking_within("0").into_iter();
        let command = Command::new(words.next().unwrap()).args(words).args(["sh", "-c", script]);
        under_lock(LocalHost::new().run(&command).await.unwrap())
    }

    #[tokio::test]
    async fn a_command_that_ends_as_a_missed_lock_would_is_told_from_one() {
        let folder = tempfile::tempdir().unwrap();
        for (script, printed) in [("exit 75", ""), ("echo tried again later >&2; exit 75", "tried again later")] {
            let output = under(folder.path(), script).await.unwrap();
            assert_eq!((output.status, output.error_text().as_str()), (Some(75), printed));
        }
        let held = std::fs::File::create(folder.path().join("green.lock")).unwrap();
        held.lock().unwrap();
        let error = under(folder.path(), "touch \"$0.ran\"").await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied), "{error:?}");
        assert!(error.is_retryable());
    }
}
