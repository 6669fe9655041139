use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// How often a step tells how far it is, at most.
const TELLS: usize = 20;

type Tell = dyn Fn(usize, usize, usize) + Send + Sync;

/// Who is told on how many members a call is done, of how many, and on how many it failed.
#[derive(Default)]
pub(super) struct Listener(Mutex<Option<Arc<Tell>>>);

impl Listener {
    pub(super) fn set(&self, tell: Option<Arc<Tell>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = tell;
    }

    /// Tells it when it is a further twentieth, or all.
    pub(super) fn progressed(&self, done: usize, total: usize, failed: usize) {
        if total < 2 || done * TELLS / total == (done - 1) * TELLS / total {
            return;
        }
        let tell = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(tell) = tell {
            tell(done, total, failed);
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_members_there_are_twenty_tells_are_made_and_the_last_one_is_of_all() {
        for total in [2, 7, 20, 1000] {
            let (listener, told) = (Listener::default(), Arc::new(Mutex::new(Vec::new())));
            let tells = told.clone();
            listener.set(Some(Arc::new(move |done, total, _| tells.lock().unwrap().push((done, total)))));
            (1..=total).for_each(|done| listener.progressed(done, total, 0));
            let told = told.lock().unwrap();
            assert_eq!(told.len(), total.min(TELLS));
            assert_eq!(told.last(), Some(&(total, total)));
        }
    }
}
