//! Which image each version was prepared with: a version name is never reused for other content.

use std::collections::BTreeMap;
use std::sync::Arc;

use bluegreen_core::{Command, Error, ErrorKind, Host, Result, Slot, Timestamp, Version};
use serde::{Deserialize, Serialize};

/// The file of the state directory that holds the records, on the host.
const FILE: &str = "releases.json";

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Records {
    #[serde(default)]
    pub(super) releases: BTreeMap<Version, Record>,
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

/// The state directory of a service, on its host.
#[derive(Debug)]
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
            error.trying("make the state directory").advice("name another one with `.state_directory(..)`")
        })
    }

    pub(super) async fn records(&self) -> Result<Records> {
        let Some(bytes) = self.read(FILE).await? else { return Ok(Records::default()) };
        serde_json::from_slice(&bytes).map_err(|error| {
            Error::new(ErrorKind::Corrupt, "the record of prepared releases cannot be read")
                .not_applied()
                .with("path", self.file(FILE))
                .because(error)
                .advice("restore it; without it, a version could be deployed again with other content")
        })
    }

    pub(super) async fn save(&self, records: &Records) -> Result<()> {
        let text = serde_json::to_vec_pretty(records)
            .map_err(|error| Error::new(ErrorKind::Unexpected, "cannot be written as JSON").because(error))?;
        self.write(FILE, &text).await.map_err(|error| error.trying("record the images of a release"))
    }
}
