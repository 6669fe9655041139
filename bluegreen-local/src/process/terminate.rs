//! Ending a process with all that belongs to it.

use std::time::Duration;

use bluegreen_core::{Error, ErrorKind, Result};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::procfs::{self, Process};

/// How long the system may take to remove processes that were killed. Longer means that one hangs in the kernel.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked whether they are gone: at first often, since most services end at once.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const SLOWEST_LOOK: Duration = Duration::from_millis(100);

/// Asks the process group to end; what is left of the start after `grace` is killed. Returns when all of it is gone, and
/// names what was killed.
pub(super) async fn terminate(leader: Option<&Process>, token: &str, grace: Duration) -> Result<Vec<String>> {
    match leader.filter(|leader| leader.is_running()) {
        Some(leader) => leader.signal_group(Signal::TERM)?,
        None => signal_all(&procfs::members(None, token), Signal::TERM)?,
    }
    if gone(leader, token, grace).await {
        return Ok(Vec::new());
    }
    let left = procfs::members(leader, token).iter().map(ToString::to_string).collect();
    kill(leader, token).await?;
    Ok(left)
}

/// Kills all that is left of a start. Returns when it is gone.
pub(super) async fn kill(leader: Option<&Process>, token: &str) -> Result<()> {
    let give_up = Instant::now() + KILL_PATIENCE;
    loop {
        // Each time anew: a process may have started another one in the meantime.
        let members = procfs::members(leader, token);
        signal_all(&members, Signal::KILL)?;
        if gone(leader, token, SLOWEST_LOOK).await {
            return Ok(());
        }
        if Instant::now() >= give_up {
            let pids: Vec<String> = members.iter().map(ToString::to_string).collect();
            return Err(Error::new(ErrorKind::Timeout, "processes are still there after SIGKILL")
                .with("pids", pids.join(" "))
                .with_hint(format!(
                    "a process that waits for a dead disk or network mount cannot be killed: `ps -o pid,wchan:32,args -p {}` \
                     shows what it waits for",
                    pids.join(",")
                )));
        }
    }
}

async fn gone(leader: Option<&Process>, token: &str, within: Duration) -> bool {
    let deadline = Instant::now() + within;
    let mut pause = FIRST_LOOK;
    loop {
        // To look at one process is cheap, to look at all is not.
        if !leader.is_some_and(Process::is_running) && procfs::members(leader, token).is_empty() {
            return true;
        }
        let now = Instant::now();
        if now >= deadline {
            return false;
        }
        sleep(pause.min(deadline - now)).await;
        pause = (pause * 2).min(SLOWEST_LOOK);
    }
}

fn signal_all(pids: &[i32], signal: Signal) -> Result<()> {
    pids.iter().try_for_each(|pid| procfs::signal(*pid, signal))
}
