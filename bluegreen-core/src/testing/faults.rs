use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};
use crate::testing::CallLog;

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It fails and does nothing.
    Fail,
    /// It never returns and does nothing.
    Hang,
    /// It is done, and reported as failed.
    ApplyThenFail,
    /// It is done, and the answer is lost: a timeout, which may be tried again.
    LoseAnswer,
    /// The process dies before it is done.
    Die,
    /// The process dies after it is done.
    ApplyThenDie,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 6] =
        [Fault::Fail, Fault::Hang, Fault::ApplyThenFail, Fault::LoseAnswer, Fault::Die, Fault::ApplyThenDie];
}

type Witness = dyn Fn(&str) + Send + Sync;

/// A schedule of faults, shared by all [`Faulty`](crate::testing::Faulty) adapters of a pipeline: they count their calls
/// together. Clones share it.
#[derive(Clone, Default)]
pub struct Faults {
    inner: Arc<Mutex<Inner>>,
    died: Arc<Mutex<CancellationToken>>,
    log: CallLog,
}

#[derive(Default)]
struct Inner {
    calls: u64,
    by_number: BTreeMap<u64, Fault>,
    by_name: Vec<(String, Fault)>,
    witness: Option<Arc<Witness>>,
}

impl Faults {
    /// No faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a fault to the `number`th call from the beginning, counted from 0.
    pub fn at(&self, number: u64, fault: Fault) {
        self.lock().by_number.insert(number, fault);
    }

    /// Adds a fault to the next call whose text begins with `prefix`, such as `runtime.start` or `router.shift`. Once.
    pub fn on(&self, prefix: impl Into<String>, fault: Fault) {
        self.lock().by_name.push((prefix.into(), fault));
    }

    /// Forgets all faults that have not happened yet.
    pub fn clear(&self) {
        let mut inner = self.lock();
        inner.by_number.clear();
        inner.by_name.clear();
    }

    /// Calls `witness` with the text of each call, before it is done and after.
    pub fn witness(&self, witness: impl Fn(&str) + Send + Sync + 'static) {
        self.lock().witness = Some(Arc::new(witness));
    }

    /// How many calls were made.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// The calls, in order.
    pub fn log(&self) -> &CallLog {
        &self.log
    }

    /// Completes when the process "died"; drop the pipeline's future then. A later death needs another call of this.
    pub async fn died(&self) {
        let token = self.died.lock().unwrap_or_else(PoisonError::into_inner).clone();
        token.cancelled().await;
        *self.died.lock().unwrap_or_else(PoisonError::into_inner) = CancellationToken::new();
    }

    /// Runs `operation` as a process of its own: `None` when it died in it.
    pub async fn run<T>(&self, operation: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.died() => None,
            done = operation => Some(done),
        }
    }

    pub(super) async fn around<T>(&self, call: String, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let (fault, witness) = {
            let mut inner = self.lock();
            let number = inner.calls;
            inner.calls += 1;
            let named = inner.by_name.iter().position(|(prefix, _)| call.starts_with(prefix.as_str()));
            let named = named.map(|index| inner.by_name.remove(index).1);
            (inner.by_number.remove(&number).or(named), inner.witness.clone())
        };
        self.log.record(call.clone());
        let saw = |moment: &str| {
            if let Some(witness) = &witness {
                witness(&format!("{moment} {call}"));
            }
        };
        let injected =
            |text: &str| Error::new(ErrorKind::Unexpected, format!("injected fault: {text}")).with("call", &call);
        saw("before");
        match fault {
            None => {
                let result = work.await;
                saw("after");
                result
            }
            Some(Fault::Fail) => Err(injected("failed").not_applied()),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::ApplyThenFail) => {
                work.await?;
                saw("after");
                Err(injected("done, and reported as failed"))
            }
            Some(Fault::LoseAnswer) => {
                work.await?;
                saw("after");
                Err(Error::new(ErrorKind::Timeout, "injected fault: the answer is lost").with("call", &call))
            }
            Some(Fault::Die) => self.die().await,
            Some(Fault::ApplyThenDie) => {
                work.await?;
                saw("after");
                self.die().await
            }
        }
    }

    async fn die<T>(&self) -> T {
        self.died.lock().unwrap_or_else(PoisonError::into_inner).cancel();
        std::future::pending().await
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("calls", &self.calls()).finish_non_exhaustive()
    }
}
