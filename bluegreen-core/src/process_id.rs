use std::{fmt, fs};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};

use crate::procfs::{self, Stat};

/// Names one process of one machine for good: its number, its start, and the kernel and namespace in which that number is
/// valid.
///
/// Another process can tell by it whether the process has certainly ended. From another machine, after a reboot, or from
/// another container, nothing is certain. The text that `Display` prints can be kept, in a label for example, and becomes the
/// same id again by `From`; a text of any other form names a process of which nothing is certain.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProcessId(String);

impl ProcessId {
    /// This process; `None` where there is no procfs to tell it by.
    pub fn current() -> Option<Self> {
        let pid = i32::try_from(std::process::id()).ok()?;
        Some(Self(format!("{} {pid} {}", processes_seen_here()?, start_of(pid)?)))
    }

    /// Whether it is certain that the process has ended.
    pub fn is_gone(&self) -> bool {
        let Some((rest, start)) = self.0.rsplit_once(' ') else { return false };
        let Some((seen_from, pid)) = rest.rsplit_once(' ') else { return false };
        let Ok(pid) = pid.parse() else { return false };
        let Some(raw) = Pid::from_raw(pid) else { return false };
        if processes_seen_here().is_none_or(|here| here != seen_from) {
            return false;
        }
        match start_of(pid) {
            // Another process may have its number by now.
            Some(now) => now != start,
            // What procfs hides from this user may run all the same.
            None => test_kill_process(raw) == Err(Errno::SRCH),
        }
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for ProcessId {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// The boot of the kernel, and the namespace in which a process's number is valid.
fn processes_seen_here() -> Option<String> {
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", procfs::boot_id()?, namespace.display()))
}

/// When a process began. A zombie has ended: it has no start.
fn start_of(pid: i32) -> Option<String> {
    Stat::of(pid).filter(Stat::is_running).map(|stat| stat.start_time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_that_has_certainly_ended_is_called_gone() {
        assert!(!ProcessId::current().unwrap().is_gone());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let start = start_of(child.id() as i32).unwrap();
        let id = ProcessId(format!("{} {} {start}", processes_seen_here().unwrap(), child.id()));
        assert!(!id.is_gone());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(id.is_gone());

        let reused = ProcessId(format!("{} {} 1", processes_seen_here().unwrap(), std::process::id()));
        assert!(reused.is_gone(), "its number is another's");
        let elsewhere = id.0.replacen("pid:[", "pid:[9", 1);
        for unknown in [elsewhere.as_str(), "", "1 2", "a b c d"] {
            assert!(!ProcessId::from(unknown).is_gone(), "{unknown}");
        }
    }
}
