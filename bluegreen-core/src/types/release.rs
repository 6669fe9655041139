use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::types::{OperationId, Progress, ServiceName, Slot, Version};

/// One version of a service, and where its content comes from.
///
/// What `artifact` and the settings mean is up to the runtime: a path to a tarball, a command, an image tag.
///
/// ```
/// use bluegreen_core::Release;
///
/// let release = Release::new("1.4.0")?.with_artifact("/srv/builds/shop-1.4.0.tar.gz").with_setting("workers", "4");
/// assert_eq!(release.version().as_str(), "1.4.0");
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    version: Version,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    settings: BTreeMap<String, String>,
}

impl Release {
    /// A release of this version, without an artifact.
    ///
    /// # Errors
    /// `Config` when the version is not a valid [`Version`].
    pub fn new(version: impl Into<String>) -> Result<Self> {
        Ok(Self { version: Version::new(version)?, artifact: None, settings: BTreeMap::new() })
    }

    /// Says where the content is.
    #[must_use]
    pub fn with_artifact(mut self, path: impl Into<PathBuf>) -> Self {
        self.artifact = Some(path.into());
        self
    }

    /// Adds a setting for the runtime. Settings are not secrets: they may be recorded and printed.
    #[must_use]
    pub fn with_setting(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.insert(key.into(), value.into());
        self
    }

    /// The version.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// Where the content is, if the release carries any.
    pub fn artifact(&self) -> Option<&Path> {
        self.artifact.as_deref()
    }

    /// One setting.
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.settings.get(key).map(String::as_str)
    }

    /// All settings, in the order of their names.
    pub fn settings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.settings.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// All settings, to be recorded or compared as a whole.
    pub fn settings_map(&self) -> &BTreeMap<String, String> {
        &self.settings
    }
}

impl From<Version> for Release {
    fn from(version: Version) -> Self {
        Self { version, artifact: None, settings: BTreeMap::new() }
    }
}

/// What an adapter is asked to act on: a release, in a slot, of a service, for an operation.
#[derive(Debug, Clone)]
pub struct Target {
    /// The service.
    pub service: ServiceName,
    /// The slot the release goes into.
    pub slot: Slot,
    /// The release.
    pub release: Release,
    /// The operation this belongs to; adapters label what they create with it.
    pub operation: OperationId,
    /// Where an adapter reports how far it is.
    pub progress: Progress,
}

impl Target {
    /// A target whose progress nobody watches.
    pub fn new(service: ServiceName, slot: Slot, release: Release, operation: OperationId) -> Self {
        Self { service, slot, release, operation, progress: Progress::none() }
    }

    /// The version of the release.
    pub fn version(&self) -> &Version {
        self.release.version()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} in {}", self.service, self.release.version(), self.slot)
    }
}
