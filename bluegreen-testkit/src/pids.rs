//! Processes of this machine by their numbers, as `/proc` shows them.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

pub fn send(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// Whether a process runs; one that has ended and is not yet reaped does not.
pub fn runs(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

pub fn name_of(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default()
}

/// When a process started, in ticks since the machine did.
pub fn started(pid: i32) -> Option<String> {
    stat(pid, 19)
}

pub fn environment(pid: i32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    bytes.split(|byte| *byte == 0).map(|entry| String::from_utf8_lossy(entry).into_owned()).collect()
}

/// Whether a process has a variable in its environment: `NAME=value`.
pub fn has(pid: i32, variable: &str) -> bool {
    environment(pid).iter().any(|entry| entry == variable)
}

/// All that run with a variable in their environment.
pub fn running_with(variable: &str) -> Vec<i32> {
    all().filter(|pid| runs(*pid) && has(*pid, variable)).collect()
}

pub fn descendants(root: i32) -> Vec<i32> {
    let parent = |pid: i32| stat(pid, 1)?.parse::<i32>().ok();
    let all: Vec<(i32, i32)> = all().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let children = all.iter().filter(|(_, parent)| *parent == found[next]).map(|(pid, _)| *pid);
        let children: Vec<_> = children.collect();
        found.extend(children);
        next += 1;
    }
    found.split_off(1)
}

fn all() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// A word of what the kernel says of a process, counted from the one behind its name.
fn stat(pid: i32, word: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.split(' ').nth(word)?.to_owned())
}
