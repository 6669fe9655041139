//! The processes of a connection that wait to be ended.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Commands whose time ends together are ended together: a server allows only so many sessions.
#[derive(Debug, Default)]
pub(crate) struct KillQueue {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Kill>,
    /// Whether someone works them off.
    busy: bool,
}

/// A process to end.
#[derive(Debug)]
pub(crate) struct Kill {
    pub(crate) pid: u32,
    /// Whether only root can.
    pub(crate) sudo: bool,
    /// Told how it went.
    pub(crate) done: oneshot::Sender<Result<(), String>>,
}

impl KillQueue {
    /// Adds one, and says whether the caller has to work the queue off.
    #[must_use]
    pub(crate) fn push(&self, kill: Kill) -> bool {
        let mut state = self.lock();
        state.waiting.push(kill);
        !std::mem::replace(&mut state.busy, true)
    }

    /// All that wait and are ended in the same way. None: the work is done.
    pub(crate) fn take(&self) -> Vec<Kill> {
        let mut state = self.lock();
        let Some(sudo) = state.waiting.first().map(|kill| kill.sudo) else {
            state.busy = false;
            return Vec::new();
        };
        let (batch, others) = std::mem::take(&mut state.waiting).into_iter().partition(|kill| kill.sudo == sudo);
        state.waiting = others;
        batch
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_works_off_what_all_have_added() {
        let queue = KillQueue::default();
        let kill = |pid, sudo| Kill { pid, sudo, done: oneshot::channel().0 };
        let added = [(1, false), (2, true), (3, false)].map(|(pid, sudo)| queue.push(kill(pid, sudo)));
        assert_eq!(added, [true, false, false]);
        let pids = || queue.take().iter().map(|kill| kill.pid).collect::<Vec<_>>();
        assert_eq!((pids(), pids(), pids()), (vec![1, 3], vec![2], vec![]));
        assert!(queue.push(kill(4, false)));
    }
}
