//! Which process made something that is not to outlive it, as the value of a label.

use std::fs;

/// This process; `None` where there is no procfs to tell it by.
pub(super) fn this_process() -> Option<String> {
    let pid = std::process::id();
    Some(format!("{} {pid} {}", processes_seen_here()?, start_of(&pid.to_string())?))
}

/// Whether it is certain that the process is gone. Of a process that cannot be seen from here, nothing is.
pub(super) fn is_gone(owner: &str) -> bool {
    let Some((owner, start)) = owner.rsplit_once(' ') else { return false };
    let Some((seen_from, pid)) = owner.rsplit_once(' ') else { return false };
    let is_number = pid.bytes().all(|byte| byte.is_ascii_digit()) && !pid.is_empty();
    is_number
        && processes_seen_here().is_some_and(|here| here == seen_from)
        // Another process may have its number by now.
        && start_of(pid).is_none_or(|now| now != start)
}

/// The start of the kernel, and the namespace in which a process's number is valid.
fn processes_seen_here() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), namespace.display()))
}

/// When a process began, in the kernel's clock ticks.
fn start_of(pid: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_that_is_certainly_gone_is_called_so() {
        let this = this_process().unwrap();
        assert!(!is_gone(&this));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let start = start_of(&child.id().to_string()).unwrap();
        let dead = format!("{} {} {start}", processes_seen_here().unwrap(), child.id());
        child.wait().unwrap();
        assert!(is_gone(&dead));
        let reused = format!("{} {} 1", processes_seen_here().unwrap(), std::process::id());
        assert!(is_gone(&reused), "its number is another's");
        let elsewhere = dead.replacen("pid:[", "pid:[9", 1);
        for unknown in [elsewhere.as_str(), "", "1 2", "a b c d"] {
            assert!(!is_gone(unknown), "{unknown}");
        }
    }
}
