use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::error::{Error, ErrorKind, Result};
use crate::state::State;
use crate::store::{Revision, StateStore, Versioned};
use crate::types::ServiceName;

/// Keeps the documents of any number of services in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryStateStore {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    commits: u64,
    documents: BTreeMap<ServiceName, (u64, State)>,
}

impl MemoryStateStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// The document of a service as it is now.
    pub fn state(&self, service: &ServiceName) -> Option<State> {
        self.lock().documents.get(service).map(|(_, state)| state.clone())
    }

    /// Loses a document, as a deleted file would.
    pub fn lose(&self, service: &ServiceName) {
        self.lock().documents.remove(service);
    }

    /// Changes a document behind the pipeline's back, as another process would; nothing happens where there is none.
    pub fn edit(&self, service: &ServiceName, change: impl FnOnce(&mut State)) {
        let mut inner = self.lock();
        inner.commits += 1;
        let commits = inner.commits;
        if let Some((number, state)) = inner.documents.get_mut(service) {
            *number = commits;
            change(state);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for MemoryStateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory store")
    }
}

#[async_trait]
impl StateStore for MemoryStateStore {
    async fn load(&self, service: &ServiceName) -> Result<Option<Versioned<State>>> {
        let inner = self.lock();
        let found = inner.documents.get(service);
        Ok(found.map(|(number, state)| Versioned { value: state.clone(), revision: revision(*number) }))
    }

    async fn commit(&self, service: &ServiceName, expected: Option<&Revision>, state: &State) -> Result<Revision> {
        let mut inner = self.lock();
        let number = inner.documents.get(service).map(|(number, _)| *number);
        if number.map(revision).as_ref() != expected {
            return Err(Error::new(ErrorKind::Conflict, "someone else wrote the state first")
                .with_operation("write the state")
                .with("service", service)
                .not_applied());
        }
        inner.commits += 1;
        let number = inner.commits;
        inner.documents.insert(service.clone(), (number, state.clone()));
        Ok(revision(number))
    }
}

fn revision(number: u64) -> Revision {
    Revision::new(number.to_string())
}
