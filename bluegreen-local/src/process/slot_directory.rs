//! What the state directory holds for one slot: the record of its occupant, exit statuses and logs.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bluegreen_core::{Error, ErrorKind, OperationId, Result, ServiceName, Slot, Timestamp, Version, durable};
use serde::{Deserialize, Serialize};

use super::procfs::Process;

/// The format this version writes. A record of another one is refused, never guessed at.
pub(super) const FORMAT: u32 = 1;

/// How long another call may hold the slot before this one gives up. Starting takes milliseconds; what takes longer is
/// the checksum of a large artifact.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);

/// How many versions' logs are kept in a slot: enough to look back over a bad week, and they do not pile up.
const KEPT_LOGS: usize = 10;

/// What was last started in a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) format: u32,
    pub(super) service: ServiceName,
    pub(super) version: Version,
    /// The checksum of the artifact, where there is one.
    pub(super) content: Option<String>,
    /// The release's settings; none in a record of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) settings: Option<BTreeMap<String, String>>,
    pub(super) operation: OperationId,
    pub(super) started: Timestamp,
    /// The value of [`MARK`](super::procfs::MARK) in the environment of this start.
    pub(super) token: String,
    pub(super) port: u16,
    /// Where this start's lines begin in the log of its version.
    pub(super) log_start: u64,
    /// The session leader; `None` from the moment before it is started until it is known.
    pub(super) process: Option<Process>,
    /// That its end was asked for, so that it is not taken for a crash.
    pub(super) stop_requested: bool,
}

/// The directory of one slot.
#[derive(Debug, Clone)]
pub(super) struct SlotDirectory {
    path: PathBuf,
}

impl SlotDirectory {
    pub(super) fn new(state: &Path, slot: Slot) -> Self {
        Self { path: state.join(slot.as_str()) }
    }

    /// Makes it, for the owner alone: logs and records are nobody else's business.
    pub(super) fn create(&self) -> Result<()> {
        make_private(&self.path)
    }

    /// Keeps other deployers, and other calls of this one, from changing the slot until the guard is dropped. The
    /// system lets go of it when the process dies.
    pub(super) fn lock(&self) -> Result<File> {
        let path = self.path.join("lock");
        let failed = |error: std::io::Error| {
            Error::from(error).not_applied().with_operation("lock the slot").with("path", path.display())
        };
        let file = File::options().create(true).append(true).open(&path).map_err(failed)?;
        let give_up = Instant::now() + LOCK_PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(std::fs::TryLockError::WouldBlock) if Instant::now() < give_up => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(std::fs::TryLockError::WouldBlock) => {
                    return Err(Error::new(ErrorKind::Conflict, "another deployer holds the slot")
                        .not_applied()
                        .with("path", path.display())
                        .with_hint(format!(
                            "wait for it to end, or find it: `fuser -v {}` names it",
                            bluegreen_core::host::quote(&path.display().to_string())
                        )));
                }
                Err(std::fs::TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
    }

    /// What was last started here.
    pub(super) fn load(&self) -> Result<Option<Record>> {
        let path = self.path.join("instance.json");
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::from(error).not_applied().with("path", path.display())),
        };
        let corrupt = |message: &'static str| {
            Error::new(ErrorKind::Corrupt, message).not_applied().with("path", path.display()).with_hint(
                "`grep -lza '^BLUEGREEN_INSTANCE=' /proc/[0-9]*/environ`, run as root, lists the processes of all slots: end \
                 the one of this slot, if it is there, and remove the file",
            )
        };
        let record: Record = serde_json::from_slice(&bytes)
            .map_err(|error| corrupt("the record of the slot cannot be read").with_source(error))?;
        if record.format != FORMAT {
            return Err(corrupt("the record of the slot has a format that this version does not know")
                .with("format", record.format));
        }
        Ok(Some(record))
    }

    /// Replaces the record, durably.
    pub(super) fn save(&self, record: &Record) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(record)
            .map_err(|error| Error::new(ErrorKind::Unexpected, "the record cannot be written").with_source(error))?;
        durable::replace(&self.path.join("instance.json"), &bytes, 0o600)
    }

    /// Where a start leaves its exit status.
    pub(super) fn exit_file(&self, token: &str) -> PathBuf {
        self.path.join(format!("exit-{token}"))
    }

    /// The exit status of a start, once it has ended and someone was there to write it down.
    pub(super) fn exit_status(&self, token: &str) -> Option<i32> {
        std::fs::read_to_string(self.exit_file(token)).ok()?.trim().parse().ok()
    }

    /// Removes the logs written to least recently, so that no more than [`KEPT_LOGS`] are left.
    pub(super) fn prune_logs(&self) {
        let entries = std::fs::read_dir(&self.path).into_iter().flatten().flatten();
        let mut logs: Vec<_> = entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .filter_map(|path| Some((std::fs::metadata(&path).ok()?.modified().ok()?, path)))
            .collect();
        logs.sort();
        for (_, path) in logs.iter().rev().skip(KEPT_LOGS) {
            // A log that cannot be removed is no reason not to start.
            let _ = std::fs::remove_file(path);
        }
    }

    /// The log of a version in this slot.
    pub(super) fn log(&self, version: &Version) -> PathBuf {
        self.path.join(format!("{version}.log"))
    }
}

/// Makes a directory that only its owner can enter; one that is there is left as it is.
pub(super) fn make_private(path: &Path) -> Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| {
        Error::from(error).not_applied().with_operation("make a directory").with("path", path.display())
    })
}
