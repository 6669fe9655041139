//! Processes as the system shows them in `/proc`, told apart from later ones that got the same pid.

use std::fmt;
use std::path::Path;

use bluegreen_core::procfs::{Stat, boot_id};
use bluegreen_core::{Error, ErrorKind, Result};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::{Deserialize, Serialize};

/// The name of the environment variable by which the processes of one start are found again.
pub(super) const MARK: &str = "BLUEGREEN_INSTANCE";

/// One process. Pids are used again; a pid with its start time, within one boot of the machine, is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    pid: i32,
    /// See [`Stat::start_time`].
    start_time: u64,
    boot: String,
}

impl Process {
    /// The process that has this pid now; a zombie counts, since it keeps the pid.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let pid = i32::try_from(pid).ok()?;
        Some(Self { pid, start_time: Stat::of(pid)?.start_time, boot: boot_id()? })
    }

    /// Whether it still runs.
    pub(super) fn is_running(&self) -> bool {
        self.stat().is_some_and(|stat| stat.is_running())
    }

    /// Whether the machine was started again since.
    pub(super) fn is_of_an_earlier_boot(&self) -> bool {
        boot_id().is_some_and(|now| now != self.boot)
    }

    /// Sends a signal to its whole process group. Nothing happens when it is gone.
    pub(super) fn signal_group(&self, signal: Signal) -> Result<()> {
        if !self.is_running() {
            return Ok(());
        }
        sent(self.pid, signal, Pid::from_raw(self.pid).map(|pid| kill_process_group(pid, signal)))
    }

    fn stat(&self) -> Option<Stat> {
        let stat = Stat::of(self.pid)?;
        (stat.start_time == self.start_time && boot_id()? == self.boot).then_some(stat)
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)
    }
}

/// The pids of all that belongs to one start and still runs: the leader's session, and every process that carries the
/// mark in its environment, also when the leader is gone or was never recorded.
pub(super) fn members(leader: Option<&Process>, token: &str) -> Vec<i32> {
    let session = leader.filter(|leader| leader.stat().is_some());
    let mark = format!("{MARK}={token}");
    pids()
        .filter(|pid| {
            Stat::of(*pid).filter(Stat::is_running).is_some_and(|stat| {
                session.is_some_and(|leader| stat.session == leader.pid && stat.start_time >= leader.start_time)
                    || environment_has(*pid, mark.as_bytes())
            })
        })
        .collect()
}

/// The session leader among the processes that carry the mark.
pub(super) fn leader(token: &str) -> Option<Process> {
    members(None, token).into_iter().find_map(|pid| {
        let stat = Stat::of(pid)?;
        let boot = boot_id()?;
        (stat.session == pid).then_some(Process { pid, start_time: stat.start_time, boot })
    })
}

/// Sends a signal to one process. Nothing happens when it is gone.
pub(super) fn signal(pid: i32, signal: Signal) -> Result<()> {
    sent(pid, signal, Pid::from_raw(pid).map(|pid| kill_process(pid, signal)))
}

/// Whether this system has what the process runtime lives on.
pub(super) fn is_available() -> bool {
    Path::new("/proc/self/stat").exists() && Path::new("/proc/self/environ").exists()
}

/// A name that no other start has.
pub(super) fn fresh_token() -> Result<String> {
    let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid").map_err(|error| {
        Error::from(error)
            .not_applied()
            .with_operation("get a unique name")
            .with("path", "/proc/sys/kernel/random/uuid")
    })?;
    Ok(uuid.trim().to_owned())
}

fn sent(pid: i32, signal: Signal, result: Option<rustix::io::Result<()>>) -> Result<()> {
    match result {
        None | Some(Ok(()) | Err(Errno::SRCH)) => Ok(()),
        Some(Err(error)) => {
            let kind = if error == Errno::PERM { ErrorKind::Unauthorized } else { ErrorKind::Unexpected };
            Err(Error::new(kind, "the system refused it")
                .with_operation("signal a process")
                .with("pid", pid)
                .with("signal", signal.as_raw())
                .with_source(std::io::Error::from(error))
                .with_hint("run the deployer as the user who started the process"))
        }
    }
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn environment_has(pid: i32, variable: &[u8]) -> bool {
    // Processes of other users cannot be read, and are not ours.
    std::fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|have| have == variable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_the_same_pid_and_another_start_time_is_another_process() {
        let me = Process::of(std::process::id()).unwrap();
        assert!(me.is_running());
        assert!(!Process { start_time: me.start_time + 1, ..me.clone() }.is_running());
        assert!(!Process { boot: "another".to_owned(), ..me.clone() }.is_running());
        assert!(Process { boot: "another".to_owned(), ..me }.is_of_an_earlier_boot());
    }
}
