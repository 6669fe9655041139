//! Which image each version was prepared with: a version name is never reused for other content.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bluegreen_core::{Command, Error, ErrorKind, Host, Result, Slot, Timestamp, Version};
use serde::{Deserialize, Serialize};

/// The file of the state directory that holds the records, on the host.
const FILE: &str = "releases.json";

/// How often a change is made anew because another one came between. Each takes milliseconds.
const ATTEMPTS: usize = 20;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Records {
    #[serde(default)]
    pub(super) releases: BTreeMap<Version, Record>,
    /// Versions that are being prepared, or could not be.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) attempts: BTreeMap<Version, Attempt>,
}

/// What a prepare was about to fetch: it is ours, also when it comes while nobody waits for it any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attempt {
    pub(super) began: Timestamp,
    /// The names of the images that the engine did not have.
    pub(super) absent: BTreeSet<String>,
}

/// One version, as it was prepared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) prepared: Timestamp,
    /// By the compose file's services.
    pub(super) images: BTreeMap<String, ImageRecord>,
    /// Whether its images were removed since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) pruned: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ImageRecord {
    /// As the compose file names it.
    pub(super) reference: String,
    /// The content, on the engine.
    pub(super) id: String,
    /// The content, in the registry; none for an image that was never in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<String>,
    /// Whether it came to the engine for us, so that it is ours to remove.
    pub(super) ours: bool,
}

impl ImageRecord {
    /// Whether it is the same content.
    pub(super) fn is_content_of(&self, other: &Self) -> bool {
        self.reference == other.reference
            && (self.id == other.id || (self.digest.is_some() && self.digest == other.digest))
    }
}

/// A directory of a service, on a host, for what must outlive this process.
#[derive(Debug, Clone)]
pub(super) struct StateDirectory {
    pub(super) host: Arc<dyn Host>,
    pub(super) path: String,
}

impl StateDirectory {
    pub(super) fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    /// The lock under which a slot is changed.
    pub(super) fn lock(&self, slot: Slot) -> String {
        self.file(&format!("{slot}.lock"))
    }

    pub(super) async fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.host.read(&self.file(name)).await.map_err(Error::not_applied)
    }

    /// Replaces a file that only this user can read.
    pub(super) async fn write(&self, name: &str, contents: &[u8]) -> Result<()> {
        let path = self.file(name);
        match self.host.write(&path, contents, 0o600).await {
            Ok(()) => Ok(()),
            // Most often the directory is there, which saves a command.
            Err(_) => {
                self.make().await?;
                self.host.write(&path, contents, 0o600).await
            }
        }
    }

    async fn make(&self) -> Result<()> {
        let command = Command::new("mkdir").args(["-p", "-m", "700", "--", &self.path]);
        let output = self.host.run(&command).await?.ok(&command, &self.host);
        output.map(drop).map_err(|error| {
            error
                .trying("make the state directory")
                .advice("name another one with `.state_directory(..)` or `.records_on(..)`")
        })
    }

    pub(super) async fn read_all(&self) -> Result<Records> {
        self.parse(self.read(FILE).await?.as_deref())
    }

    fn parse(&self, text: Option<&[u8]>) -> Result<Records> {
        let Some(text) = text else { return Ok(Records::default()) };
        serde_json::from_slice(text).map_err(|error| {
            Error::new(ErrorKind::Corrupt, "the record of prepared releases cannot be read")
                .not_applied()
                .with("path", self.file(FILE))
                .because(error)
                .advice("restore it; without it, a version could be deployed again with other content")
        })
    }

    /// Changes the records as they are now, which may be otherwise than when they were read: others prepare and prune
    /// too. `change` is made again when one of them comes between, so it changes only what is its own.
    pub(super) async fn change(&self, change: impl Fn(&mut Records) -> Result<()>) -> Result<()> {
        let saving = async {
            for _ in 0..ATTEMPTS {
                let before = self.read(FILE).await?;
                let mut records = self.parse(before.as_deref())?;
                change(&mut records)?;
                let text = serde_json::to_vec_pretty(&records)
                    .map_err(|error| Error::new(ErrorKind::Unexpected, "cannot be written as JSON").because(error))?;
                if self.replace(before.as_deref(), &text).await? {
                    return Ok(());
                }
            }
            Err(Error::new(ErrorKind::Conflict, "others change it without end").not_applied().retryable(true))
        };
        saving.await.map_err(|error: Error| error.trying("record the images of a release"))
    }

    /// Replaces the records if they still are what they were before; tells whether they were.
    async fn replace(&self, before: Option<&[u8]>, text: &[u8]) -> Result<bool> {
        let before = before.map(digest).unwrap_or_default();
        let command = Command::script(include_str!("scripts/replace.sh")).called("replace the records");
        let command = command.args([self.path.clone(), FILE.to_owned(), before, digest(text)]).stdin(text);
        let output = self.host.run(&command).await?;
        match output.status {
            Some(3) => Ok(false),
            Some(75) => Err(Error::new(ErrorKind::Conflict, "another deploy holds its lock")
                .not_applied()
                .retryable(true)
                .with("lock", format!("{}.lock", self.file(FILE)))),
            _ => output.ok(&command, &self.host).map(|_| true).map_err(|error| {
                error
                    .with("path", self.file(FILE))
                    .advice("name another directory with `.state_directory(..)` or `.records_on(..)`")
            }),
        }
    }
}

fn digest(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
