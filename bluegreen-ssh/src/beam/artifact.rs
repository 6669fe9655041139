//! [`Artifact`]: the tarball of a release, as it is on this machine.

use std::path::{Path, PathBuf};

use bluegreen_core::{Command, Error, ErrorKind, Host, LocalHost, Release, Result};

use super::archive;

/// The tarball of a release: read to its end, whole, and safe to unpack.
///
/// ```no_run
/// use bluegreen_core::Command;
/// use bluegreen_ssh::Artifact;
/// use bluegreen_core::Secret;
///
/// # async fn example() -> bluegreen_core::Result<()> {
/// let build = Command::new("mix").arg("release").arg("--overwrite").env("MIX_ENV", Secret::new("prod"));
/// let artifact = Artifact::built_by(&build, "_build/prod/shop-1.4.0.tar.gz").await?;
/// let release = artifact.release("1.4.0")?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    file: PathBuf,
    size: u64,
    sha256: String,
}

impl Artifact {
    /// The tarball in this file.
    ///
    /// # Errors
    /// `NotFound` when there is none; `Corrupt` when it is not a whole `.tar.gz`; `Config` when a member could land or
    /// point outside of where it is unpacked.
    pub async fn path(file: impl AsRef<Path>) -> Result<Self> {
        let given = file.as_ref();
        let contents = archive::read(given).await?;
        // A deploy tool may change its directory before it deploys.
        let file = std::path::absolute(given).map_err(|error| Error::from(error).with("artifact", given.display()))?;
        Ok(Self { file, size: contents.size, sha256: contents.sha256 })
    }

    /// Runs a command on this machine, and takes the tarball that it leaves in `file`.
    ///
    /// It is ended after 15 minutes unless [`Command::timeout`] says otherwise, and what it prints is not shown; the end of
    /// that is in the error if it fails.
    ///
    /// # Errors
    /// Those of running it; `Unexpected` with the exit status and the last lines it wrote when it fails; `NotFound`
    /// when it succeeds and there is no such file; and as [`path`](Self::path).
    pub async fn built_by(command: &Command, file: impl AsRef<Path>) -> Result<Self> {
        let about = |error: Error| error.with_operation("build the release");
        let host = LocalHost::new();
        let output = host.run(command).await.map_err(about)?;
        output.ok(command, &host).map_err(|error| about(error.not_applied()))?;
        Self::path(&file).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound => about(missing(command, file.as_ref())),
            _ => about(error),
        })
    }

    /// The file, as an absolute path.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The SHA-256 of the file, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// A release of this version with this content.
    ///
    /// # Errors
    /// `Config` when the version is not a valid one.
    pub fn release(&self, version: impl Into<String>) -> Result<Release> {
        Ok(Release::new(version)?.with_artifact(&self.file))
    }
}

/// Says what is there instead, since it is most often another version's.
fn missing(command: &Command, file: &Path) -> Error {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut there: Vec<_> = names.filter(|name| name.ends_with(".tar.gz")).collect();
    there.sort();
    let there = if there.is_empty() { "no .tar.gz".to_owned() } else { there.join(", ") };
    Error::new(ErrorKind::NotFound, format!("{command} succeeded, and there is no {}", file.display()))
        .not_applied()
        .with("there instead", there)
        .with_hint("does mix.exs have `steps: [:assemble, :tar]`, and the version that you deploy?")
}
