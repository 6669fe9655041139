use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures::future::join_all;

use super::contract::{Contract, steps};
use super::cut_off::CutOff;
use crate::error::{ErrorKind, Reason};
use crate::state::{FORMAT, State};
use crate::store::{Revision, StateStore, Versioned};
use crate::types::ServiceName;

/// What [`state_store`] needs: an empty place to store in.
#[async_trait]
pub trait StateStoreFixture: Sync {
    /// The adapter.
    type Store: StateStore;

    /// A new handle on the same place, such as another process would open. It is the oracle of the suite.
    async fn open(&self) -> Self::Store;

    /// Overwrites a stored document with these bytes, past the store. False: that cannot be done.
    async fn overwrite(&self, service: &ServiceName, bytes: &[u8]) -> bool {
        let _ = (service, bytes);
        false
    }

    /// The name of the backup, as errors about an unreadable document must print it. `None`: no backup is kept.
    fn backup(&self, service: &ServiceName) -> Option<String> {
        let _ = service;
        None
    }

    /// The content of the backup, read past the store. `None`: there is none.
    async fn read_backup(&self, service: &ServiceName) -> Option<Vec<u8>> {
        let _ = service;
        None
    }

    /// When calls are cut off.
    fn cut_offs(&self) -> Vec<CutOff> {
        CutOff::usual()
    }
}

/// Tests the contract of [`StateStore`].
///
/// # Panics
/// At the first clause that does not hold.
pub async fn state_store(fixture: &impl StateStoreFixture) {
    let store = fixture.open().await;
    let suite = Suite { fixture, contract: Contract::of(&store), store };
    steps! {
        suite:
        keeps_what_is_committed,
        refuses_a_stale_commit,
        keeps_services_apart,
        lets_one_of_many_win,
        loses_no_update,
        shows_whole_documents_only,
        survives_cut_offs,
        keeps_the_previous_document,
        never_takes_damage_for_empty,
    }
}

struct Suite<'a, F: StateStoreFixture> {
    fixture: &'a F,
    contract: Contract,
    store: F::Store,
}

impl<F: StateStoreFixture> Suite<'_, F> {
    async fn keeps_what_is_committed(&self) {
        let c = &self.contract;
        let service = self.service("kept");
        let none = c.ok("load answers before there is anything", self.store.load(&service).await);
        c.holds("load is None when there never was a document", none.is_none(), none);

        let mut state = numbered(&service, 1);
        let first = self.commit(None, &state).await;
        let clause = "what commit stored is what load gives, also to another handle, unknown fields included";
        let stored = self.stored(clause, &service).await;
        c.same(clause, &stored.value, &state);
        c.same("load gives the revision that commit returned", &stored.revision, &first);

        // More than a mebibyte, with everything a text can hold.
        state.unknown.insert("long".into(), "\u{0}\n\r\t\"\\'$`é日\u{1f980}".repeat(1 << 16).into());
        state.epoch = 2;
        let second = self.commit(Some(&first), &state).await;
        c.holds("another content has another revision", first != second, &second);
        let clause = "a large document comes back as it was";
        let stored = self.stored(clause, &service).await;
        c.holds(clause, stored.value == state, "another document");
        let again = self.commit(Some(&stored.revision), &numbered(&service, 3)).await;
        c.same("load after load gives the same", self.stored("load", &service).await.revision, again);
    }

    async fn refuses_a_stale_commit(&self) {
        let c = &self.contract;
        let service = self.service("stale");
        let made_up = Revision::new("0".repeat(64));
        let clause = "a commit that expects a document where there is none is a Conflict";
        let refused = self.store.commit(&service, Some(&made_up), &numbered(&service, 9)).await;
        c.refused_unapplied(clause, refused, &[ErrorKind::Conflict]);
        let none = c.ok("load", self.store.load(&service).await);
        c.holds("a refused commit stores nothing", none.is_none(), none);

        let first = self.commit(None, &numbered(&service, 1)).await;
        let second = self.commit(Some(&first), &numbered(&service, 2)).await;
        let stale = [None, Some(&first), Some(&made_up)];
        for expected in stale {
            let clause = "a commit whose expected revision is not the stored one is a Conflict, not applied";
            let refused = self.store.commit(&service, expected, &numbered(&service, 9)).await;
            c.refused_unapplied(clause, refused, &[ErrorKind::Conflict]);
            let stored = self.stored("load", &service).await;
            c.same("a refused commit changes nothing", (stored.value.epoch, &stored.revision), (2, &second));
        }
    }

    async fn keeps_services_apart(&self) {
        let c = &self.contract;
        // Names that could meet in a file name, were suffixes chosen carelessly.
        let names = ["a", "a.json", "a.json.bak", "a.bak", "a.lock", "a.json.lock", "a.json.new", "a+b_c-1"];
        let services: Vec<_> = names.into_iter().map(|name| self.service(name)).collect();
        for (number, service) in (10..).zip(&services) {
            let first = self.commit(None, &numbered(service, 1)).await;
            self.commit(Some(&first), &numbered(service, number)).await;
        }
        for (number, service) in (10..).zip(&services) {
            let clause = "each service has a document of its own";
            let stored = self.stored(clause, service).await;
            c.same(clause, (&stored.value.service, stored.value.epoch), (service, number));
        }
    }

    async fn lets_one_of_many_win(&self) {
        let c = &self.contract;
        let service = self.service("race");
        let mut expected = None;
        for round in 0..5_u64 {
            let attempts = (1..=8).map(|contender| {
                let (service, expected) = (&service, expected.as_ref());
                async move {
                    let state = numbered(service, round * 100 + contender);
                    (state.epoch, self.fixture.open().await.commit(service, expected, &state).await)
                }
            });
            let clause = "of commits that expect the same revision exactly one succeeds, the others are a Conflict";
            let mut winners = Vec::new();
            for (number, result) in join_all(attempts).await {
                match result {
                    Ok(revision) => winners.push((number, revision)),
                    lost => drop(c.refused_unapplied(clause, lost, &[ErrorKind::Conflict])),
                }
            }
            let stored = self.stored(clause, &service).await;
            c.same(clause, &winners, &vec![(stored.value.epoch, stored.revision.clone())]);
            expected = Some(stored.revision);
        }
    }

    async fn loses_no_update(&self) {
        const WRITERS: u64 = 6;
        const UPDATES: u64 = 8;
        let service = self.service("updates");
        self.commit(None, &numbered(&service, 0)).await;
        let writers = (0..WRITERS).map(|_| async {
            let store = self.fixture.open().await;
            for _ in 0..UPDATES {
                while !self.increment(&store, &service).await {}
            }
        });
        join_all(writers).await;
        let stored = self.stored("load", &service).await;
        let clause = "no update is lost when all commit on the revision that they loaded";
        self.contract.same(clause, stored.value.epoch, WRITERS * UPDATES);
    }

    /// Counts one further; false when someone else was faster.
    async fn increment(&self, store: &F::Store, service: &ServiceName) -> bool {
        let clause = "commit either succeeds or is a Conflict, however many commit at a time";
        let Some(Versioned { value, revision }) = self.contract.ok(clause, store.load(service).await) else {
            self.contract.broken("a document that is there is found", "None");
        };
        match store.commit(service, Some(&revision), &numbered(service, value.epoch + 1)).await {
            Ok(_) => true,
            lost => {
                self.contract.refused_unapplied(clause, lost, &[ErrorKind::Conflict]);
                false
            }
        }
    }

    async fn shows_whole_documents_only(&self) {
        let c = &self.contract;
        let service = self.service("whole");
        let sized = |number: u64| {
            let mut state = numbered(&service, number);
            state.unknown.insert("filling".into(), number.to_string().repeat((number as usize % 7) * 5000).into());
            state
        };
        let mut revision = self.commit(None, &sized(0)).await;
        let done = AtomicBool::new(false);
        let write = async {
            for number in 1..=20 {
                revision = self.commit(Some(&revision), &sized(number)).await;
                yield_times(1 + number % 3).await;
            }
            done.store(true, Ordering::Release);
        };
        // All at a different pace, so that one of them meets whatever lies between two steps of a commit.
        let readers = (1..=4).map(async |pace| {
            let store = self.fixture.open().await;
            let clause = "a document is seen whole while another one replaces it";
            while !done.load(Ordering::Acquire) {
                let seen = c.ok(clause, store.load(&service).await).map(|seen| seen.value);
                c.holds(clause, seen.as_ref().is_some_and(|seen| *seen == sized(seen.epoch)), "a mixed one, or none");
                yield_times(pace).await;
            }
        });
        tokio::join!(write, join_all(readers));
    }

    async fn survives_cut_offs(&self) {
        let c = &self.contract;
        let service = self.service("cut-off");
        let mut revision = self.commit(None, &numbered(&service, 0)).await;
        let mut number = 0;
        for cut_off in self.fixture.cut_offs() {
            let _ = cut_off.run(self.store.load(&service)).await;
            let next = numbered(&service, number + 1);
            let cut = cut_off.run(self.store.commit(&service, Some(&revision), &next)).await;
            let clause = "a commit that was cut off left the old document or the new one";
            let stored = self.stored(clause, &service).await;
            let possible = [number, number + 1].contains(&stored.value.epoch);
            c.holds(clause, possible, (cut_off, number, stored.value.epoch));
            if let Some(result) = cut {
                let clause = "a commit that was not cut off succeeded, and its document is there";
                c.ok(clause, result);
                c.same(clause, stored.value.epoch, number + 1);
            }
            // What was cut off may still come to its end in the background: then this one is refused, and sees why.
            number += 100;
            let clause = "after a cut-off the next commits converge";
            let after = self.store.commit(&service, Some(&stored.revision), &numbered(&service, number)).await;
            revision = match after {
                Ok(revision) => revision,
                lost => {
                    c.refused_unapplied(clause, lost, &[ErrorKind::Conflict]);
                    let late = self.stored(clause, &service).await.revision;
                    self.commit(Some(&late), &numbered(&service, number)).await
                }
            };
            c.same(clause, self.stored(clause, &service).await.value.epoch, number);
        }
    }

    async fn keeps_the_previous_document(&self) {
        let service = self.service("previous");
        let Some(backup) = self.fixture.backup(&service) else { return };
        let c = &self.contract;
        let clause = "the backup holds the document before the last commit";
        let mut revision = self.commit(None, &numbered(&service, 1)).await;
        for number in 2..5 {
            revision = self.commit(Some(&revision), &numbered(&service, number)).await;
            let kept = self.fixture.read_backup(&service).await.unwrap_or_default();
            let kept = State::from_bytes(&kept).unwrap_or_else(|error| c.broken(clause, format!("{backup}: {error}")));
            c.same(clause, kept.epoch, number - 1);
        }
    }

    async fn never_takes_damage_for_empty(&self) {
        let c = &self.contract;
        let service = self.service("damaged");
        let first = self.commit(None, &numbered(&service, 1)).await;
        let state = numbered(&service, 2);
        let second = self.commit(Some(&first), &state).await;
        let Ok(bytes) = state.to_bytes() else { return };
        if !self.fixture.overwrite(&service, &bytes).await {
            return;
        }
        // Without the line break at its end a document is still whole.
        for length in 0..bytes.len() - 1 {
            self.fixture.overwrite(&service, &bytes[..length]).await;
            let clause = "a document that was cut short is Corrupt at every length, never empty";
            let error = c.refused(clause, self.store.load(&service).await, &[ErrorKind::Corrupt]);
            self.names_the_backup(&service, &error.to_string());
            if length % 50 == 0 {
                let clause = "a damaged document is not written over";
                for expected in [None, Some(&second)] {
                    let kinds = [ErrorKind::Conflict, ErrorKind::Corrupt];
                    c.refused_unapplied(clause, self.store.commit(&service, expected, &state).await, &kinds);
                }
            }
        }
        let newer = String::from_utf8_lossy(&bytes).replace(&format!("\"format\": {FORMAT}"), "\"format\": 4000000000");
        let other = numbered(&self.service("other"), 2).to_bytes().unwrap_or_default();
        for (what, bytes, kind) in [
            ("a newer format is Unsupported", newer.as_bytes(), ErrorKind::Unsupported),
            ("a document of another service is a Conflict", &other, ErrorKind::Conflict),
        ] {
            self.fixture.overwrite(&service, bytes).await;
            let error = c.refused(what, self.store.load(&service).await, &[kind]);
            self.names_the_backup(&service, &error.to_string());
            c.same(what, error.reason(), Some(Reason::OtherService).filter(|_| kind == ErrorKind::Conflict));
        }
        self.fixture.overwrite(&service, &bytes).await;
        let clause = "a document that is put right is read again";
        c.same(clause, self.stored(clause, &service).await.value, state);
    }

    #[track_caller]
    fn names_the_backup(&self, service: &ServiceName, text: &str) {
        if let Some(backup) = self.fixture.backup(service) {
            self.contract.holds("an error about a damaged document names the backup", text.contains(&backup), text);
        }
    }

    async fn commit(&self, expected: Option<&Revision>, state: &State) -> Revision {
        let clause = "a commit that expects the stored revision succeeds";
        self.contract.ok(clause, self.store.commit(&state.service, expected, state).await)
    }

    /// What another handle finds.
    async fn stored(&self, clause: &str, service: &ServiceName) -> Versioned<State> {
        let found = self.contract.ok(clause, self.fixture.open().await.load(service).await);
        found.unwrap_or_else(|| self.contract.broken(clause, "no document"))
    }

    fn service(&self, name: &str) -> ServiceName {
        ServiceName::new(name).unwrap_or_else(|error| self.contract.broken("the suite uses valid names", error))
    }
}

/// A document that can be told from others, with fields of a later version.
fn numbered(service: &ServiceName, number: u64) -> State {
    let mut state = State::new(service.clone());
    state.epoch = number;
    state.unknown.insert("later".into(), serde_json::json!({ "number": number, "text": "\"quoted\" and ünïcode" }));
    state
}

async fn yield_times(times: u64) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}
