//! Which image each version was prepared with: a version name is never reused for other content.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bluegreen_core::host::Script;
use bluegreen_core::{Command, Error, ErrorKind, Host, Ownership, Result, Slot, Timestamp, Version, sha256_hex};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use crate::image::Reference;

/// The file of the state directory that holds the records, on the host.
const FILE: &str = "releases.json";

/// How often a change is made anew because another one came between. Each takes milliseconds.
const ATTEMPTS: usize = 20;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Records {
    #[serde(default)]
    pub(crate) releases: BTreeMap<Version, Record>,
    /// Versions that are being prepared, or could not be.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) attempts: BTreeMap<Version, Attempt>,
}

impl Records {
    /// What a version was prepared with; `NotFound` where it was not, or is no longer here.
    pub(crate) fn prepared(&self, version: &Version) -> Result<&Record> {
        let record = self.releases.get(version).filter(|record| !record.pruned);
        record.ok_or_else(|| unprepared("this version has not been prepared"))
    }

    /// The newest of the other versions with such images.
    pub(crate) fn newest_other(
        &self,
        version: &Version,
        has_such: impl Fn(&BTreeMap<String, ImageRecord>) -> bool,
    ) -> Option<&Version> {
        let others = self.releases.iter().filter(|(other, record)| *other != version && has_such(&record.images));
        others.max_by_key(|(_, record)| record.prepared).map(|(other, _)| other)
    }
}

impl Record {
    /// What runs is what was prepared, wherever the names of the images point by now.
    pub(crate) fn exact_image(&self, service: &str) -> Result<String> {
        let image = self.images.get(service);
        let image =
            image.ok_or_else(|| unprepared("the compose file has another service than when it was prepared"))?;
        Ok(match &image.digest {
            Some(digest) => image.reference.parse::<Reference>()?.pinned(digest),
            None => image.id.clone(),
        })
    }
}

fn unprepared(what: &str) -> Error {
    Error::new(ErrorKind::NotFound, what.to_owned())
        .not_applied()
        .with_hint("deploy this version again: a deploy prepares it")
}

/// What a prepare was about to fetch: it is ours, also when it comes while nobody waits for it any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    pub(crate) began: Timestamp,
    /// The names of the images that the engine did not have.
    pub(crate) absent: BTreeSet<String>,
}

/// One version, as it was prepared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) prepared: Timestamp,
    /// By the compose file's services.
    pub(crate) images: BTreeMap<String, ImageRecord>,
    /// Whether its images were removed since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) pruned: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    /// As the compose file names it.
    pub(crate) reference: String,
    /// The content, on the engine.
    pub(crate) id: String,
    /// The content, in the registry; none for an image that was never in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
    /// Whether it came to the engine for us, so that it is ours to remove.
    pub(crate) ours: bool,
}

impl ImageRecord {
    /// Whether it is the same content.
    pub(crate) fn is_content_of(&self, other: &Self) -> bool {
        self.reference == other.reference
            && (self.id == other.id || (self.digest.is_some() && self.digest == other.digest))
    }
}

/// A directory of a service, on a host, for what must outlive this process. Refused where it is marked as another service's.
#[derive(Debug, Clone)]
pub(crate) struct StateDirectory {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) path: String,
    ownership: Ownership,
    /// Whether it was made, and marked.
    claimed: Arc<OnceCell<()>>,
}

impl StateDirectory {
    pub(crate) fn new(host: Arc<dyn Host>, path: String, ownership: Ownership) -> Self {
        Self { host, path, ownership, claimed: Arc::default() }
    }

    pub(crate) fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    /// The lock under which a slot is changed.
    pub(crate) fn lock(&self, slot: Slot) -> String {
        self.file(&format!("{slot}.lock"))
    }

    pub(crate) async fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.verify().await?;
        self.host.read(&self.file(name)).await.map_err(Error::not_applied)
    }

    /// Replaces a file that only this user can read.
    pub(crate) async fn write(&self, name: &str, contents: &[u8]) -> Result<()> {
        self.claim().await?;
        let path = self.file(name);
        match self.host.write(&path, contents, 0o600).await {
            Ok(()) => Ok(()),
            // It was removed since.
            Err(_) => {
                self.make().await?;
                self.host.write(&path, contents, 0o600).await
            }
        }
    }

    /// For what only looks.
    pub(crate) async fn verify(&self) -> Result<()> {
        self.ownership.verify(&*self.host, &self.path).await.map_err(another_place)
    }

    /// For what writes.
    async fn claim(&self) -> Result<()> {
        let claim = async || {
            self.make().await?;
            self.ownership.claim(&*self.host, &self.path).await.map_err(another_place)
        };
        self.claimed.get_or_try_init(claim).await.map(drop)
    }

    async fn make(&self) -> Result<()> {
        let command = Command::new("mkdir").args(["-p", "-m", "700", "--", &self.path]);
        let output = self.host.run(&command).await?.ok(&command, &self.host);
        output.map(drop).map_err(|error| another_place(error.not_applied().with_operation("make the state directory")))
    }

    pub(crate) async fn read_all(&self) -> Result<Records> {
        self.parse(self.read(FILE).await?.as_deref())
    }

    fn parse(&self, text: Option<&[u8]>) -> Result<Records> {
        let Some(text) = text else { return Ok(Records::default()) };
        serde_json::from_slice(text).map_err(|error| {
            Error::new(ErrorKind::Corrupt, "the record of prepared releases cannot be read")
                .not_applied()
                .with("path", self.file(FILE))
                .with_source(error)
                .with_hint("put it back from a backup; or move it away: then a kept release that is down must be deployed again, and a version could be deployed with other content")
        })
    }

    /// Changes the records as they are now, which may be otherwise than when they were read: others prepare and prune
    /// too. `change` is made again when one of them comes between, so it changes only what is its own.
    pub(crate) async fn change(&self, change: impl Fn(&mut Records) -> Result<()>) -> Result<()> {
        let saving = async {
            for _ in 0..ATTEMPTS {
                let before = self.read(FILE).await?;
                let mut records = self.parse(before.as_deref())?;
                change(&mut records)?;
                let text = serde_json::to_vec_pretty(&records).map_err(|error| {
                    Error::new(ErrorKind::Unexpected, "cannot be written as JSON").with_source(error)
                })?;
                if self.replace(before.as_deref(), &text).await? {
                    return Ok(());
                }
            }
            Err(Error::new(ErrorKind::Conflict, "others change it without end").not_applied().retryable(true))
        };
        saving.await.map_err(|error: Error| error.with_operation("record the images of a release"))
    }

    /// Replaces the records if they still are what they were before; tells whether they were.
    async fn replace(&self, before: Option<&[u8]>, text: &[u8]) -> Result<bool> {
        self.claim().await?;
        let before = before.map(sha256_hex).unwrap_or_default();
        let script = Script::new("replace the records", include_str!("scripts/replace.sh"));
        let script = script.args([&*self.path, FILE, &before, &sha256_hex(text)]).stdin(text);
        let reply = script.run(&self.host).await.map_err(|error| match error.kind() {
            ErrorKind::Conflict => error,
            _ => another_place(error.with("path", self.file(FILE))),
        })?;
        match reply.word() {
            "replaced" => Ok(true),
            "changed" => Ok(false),
            _ => Err(reply.unexpected()),
        }
    }
}

fn another_place(error: Error) -> Error {
    error.with_hint("name another directory with `.state_directory(..)` or `.records_on(..)`")
}
