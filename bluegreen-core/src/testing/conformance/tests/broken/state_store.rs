use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use crate::error::{Error, ErrorKind, Reason, Result};
use crate::state::State;
use crate::store::{Revision, StateStore, Versioned};
use crate::testing::conformance::{self, StateStoreFixture};
use crate::types::ServiceName;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    IgnoresExpected,
    ComparesTooEarly,
    SaysNothingOfTheEffect,
    DropsUnknownFields,
    SharesOneDocument,
    DeletesBeforeItWrites,
    TakesDamageForEmpty,
    ReadsNewerFormats,
    HidesTheBackup,
    KeepsNoBackup,
}

/// Bytes in memory, with awaits between all that it does.
#[derive(Debug, Clone)]
struct Store {
    fault: Fault,
    documents: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    lock: Arc<tokio::sync::Mutex<()>>,
}

impl Store {
    fn key(&self, service: &ServiceName) -> String {
        if self.fault == Fault::SharesOneDocument { "the one".to_owned() } else { service.to_string() }
    }

    fn bytes(&self, key: &str) -> Option<Vec<u8>> {
        self.documents.lock().unwrap().get(key).cloned()
    }

    fn conflict(&self) -> Error {
        let error = Error::new(ErrorKind::Conflict, "someone else was first");
        if self.fault == Fault::SaysNothingOfTheEffect { error } else { error.not_applied() }
    }

    fn backup(&self, key: &str) -> String {
        format!("{key}-backup")
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a store that {:?}", self.fault)
    }
}

fn revision(bytes: &[u8]) -> Revision {
    crate::state_file::revision(bytes)
}

#[async_trait]
impl StateStore for Store {
    async fn load(&self, service: &ServiceName) -> Result<Option<Versioned<State>>> {
        tokio::task::yield_now().await;
        let key = self.key(service);
        let Some(mut bytes) = self.bytes(&key) else { return Ok(None) };
        if self.fault == Fault::ReadsNewerFormats {
            bytes = String::from_utf8_lossy(&bytes).replace("\"format\": 4000000000", "\"format\": 1").into_bytes();
        }
        match State::from_bytes(&bytes) {
            Ok(value) if value.service == *service || self.fault == Fault::SharesOneDocument => {
                Ok(Some(Versioned { value, revision: revision(&bytes) }))
            }
            Ok(_) => Err(Error::new(ErrorKind::Conflict, "another service's")
                .with_reason(Reason::OtherService)
                .with("backup", self.backup(&key))),
            Err(_) if self.fault == Fault::TakesDamageForEmpty => Ok(None),
            Err(error) if self.fault == Fault::HidesTheBackup => Err(error),
            Err(error) => Err(error.with("backup", self.backup(&key))),
        }
    }

    async fn commit(&self, service: &ServiceName, expected: Option<&Revision>, state: &State) -> Result<Revision> {
        let mut state = state.clone();
        if self.fault == Fault::DropsUnknownFields {
            state.unknown.clear();
        }
        let (key, bytes) = (self.key(service), state.to_bytes()?);
        let fits = self.bytes(&key).map(|bytes| revision(&bytes)).as_ref() == expected;
        let compared_early = (self.fault == Fault::ComparesTooEarly).then_some(fits);
        tokio::task::yield_now().await;
        let _lock = self.lock.lock().await;
        let fits = self.bytes(&key).map(|bytes| revision(&bytes)).as_ref() == expected;
        if !compared_early.unwrap_or(fits) && self.fault != Fault::IgnoresExpected {
            return Err(self.conflict());
        }
        if self.fault == Fault::DeletesBeforeItWrites {
            self.documents.lock().unwrap().remove(&key);
            tokio::task::yield_now().await;
        }
        let before = self.documents.lock().unwrap().insert(key.clone(), bytes.clone());
        if let Some(before) = before.filter(|_| self.fault != Fault::KeepsNoBackup) {
            self.documents.lock().unwrap().insert(self.backup(&key), before);
        }
        tokio::task::yield_now().await;
        Ok(revision(&bytes))
    }
}

struct Place(Store);

#[async_trait]
impl StateStoreFixture for Place {
    type Store = Store;

    async fn open(&self) -> Store {
        self.0.clone()
    }

    async fn overwrite(&self, service: &ServiceName, bytes: &[u8]) -> bool {
        self.0.documents.lock().unwrap().insert(self.0.key(service), bytes.to_vec());
        true
    }

    fn backup(&self, service: &ServiceName) -> Option<String> {
        Some(self.0.backup(&self.0.key(service)))
    }

    async fn read_backup(&self, service: &ServiceName) -> Option<Vec<u8>> {
        self.0.bytes(&self.0.backup(&self.0.key(service)))
    }
}

async fn suite(fault: Fault) {
    conformance::state_store(&Place(Store { fault, documents: Arc::default(), lock: Arc::default() })).await;
}

#[tokio::test]
async fn without_a_fault_the_suite_passes() {
    suite(Fault::None).await;
}

#[tokio::test]
#[should_panic(expected = "a commit that expects a document where there is none is a Conflict")]
async fn a_store_that_ignores_what_is_expected_is_noticed() {
    suite(Fault::IgnoresExpected).await;
}

#[tokio::test]
#[should_panic(expected = "of commits that expect the same revision exactly one succeeds")]
async fn a_store_that_compares_before_it_locks_is_noticed() {
    suite(Fault::ComparesTooEarly).await;
}

#[tokio::test]
#[should_panic(expected = "does not say that nothing changed")]
async fn a_store_whose_conflict_leaves_open_what_happened_is_noticed() {
    suite(Fault::SaysNothingOfTheEffect).await;
}

#[tokio::test]
#[should_panic(expected = "unknown fields included")]
async fn a_store_that_drops_the_fields_of_a_later_version_is_noticed() {
    suite(Fault::DropsUnknownFields).await;
}

#[tokio::test]
#[should_panic(expected = "the contract of")]
async fn a_store_that_mixes_services_up_is_noticed() {
    suite(Fault::SharesOneDocument).await;
}

#[tokio::test]
#[should_panic(expected = "a document is seen whole while another one replaces it")]
async fn a_store_that_deletes_before_it_writes_is_noticed() {
    suite(Fault::DeletesBeforeItWrites).await;
}

#[tokio::test]
#[should_panic(expected = "a document that was cut short is Corrupt at every length, never empty")]
async fn a_store_that_takes_damage_for_empty_is_noticed() {
    suite(Fault::TakesDamageForEmpty).await;
}

#[tokio::test]
#[should_panic(expected = "a newer format is Unsupported")]
async fn a_store_that_guesses_at_newer_formats_is_noticed() {
    suite(Fault::ReadsNewerFormats).await;
}

#[tokio::test]
#[should_panic(expected = "names the backup")]
async fn a_store_that_does_not_name_the_backup_is_noticed() {
    suite(Fault::HidesTheBackup).await;
}

#[tokio::test]
#[should_panic(expected = "the backup holds the document before the last commit")]
async fn a_store_that_keeps_no_backup_is_noticed() {
    suite(Fault::KeepsNoBackup).await;
}
