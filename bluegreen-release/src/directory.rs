//! [`ReleaseDirectory`]: the releases of one service, as directories on a host.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::host::{Reply, Script};
use bluegreen_core::{Error, ErrorKind, Host, OperationId, Reason, Result, ServiceName, Target, Version};
use tempfile::NamedTempFile;

use crate::artifact::{Artifact, DEFAULT_MAX_SIZE};
use crate::manifest::Manifest;
use crate::member;
use crate::script::waiting;
use crate::shared::Shared;

/// How many releases stay on the host unless set: the two in the slots, and three to look back at.
pub const DEFAULT_KEEP_RELEASES: usize = 5;

/// How much of a manifest is read: that of half a million members.
const MANIFEST_LIMIT: usize = 128 << 20;

/// The largest archive that goes to the host with the script that unpacks it, in one round trip: 1 MiB. A larger one is streamed
/// before, with its progress.
const GOES_ALONG: u64 = 1 << 20;

/// The servers of a fleet are sent the same content: it is read once, and packed once for all that have the same base.
static ARTIFACTS: Shared<Content, Artifact> = Shared::new();
static ARCHIVES: Shared<(Content, String), NamedTempFile> = Shared::new();

/// What a release's content depends on: never shared between two operations, as an artifact may be built anew in between.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Content {
    operation: OperationId,
    service: ServiceName,
    path: PathBuf,
    strip_components: usize,
    max_size: u64,
}

/// The releases of one service, each a directory on a [`Host`].
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use bluegreen_core::{LocalHost, OperationId, Release, ServiceName, Slot, Target};
/// use bluegreen_release::ReleaseDirectory;
///
/// let server = tempfile::tempdir()?;
/// let build = tempfile::tempdir()?;
/// std::fs::write(build.path().join("server.py"), "print('hello')")?;
///
/// let releases = ReleaseDirectory::builder(LocalHost::new(), server.path().to_str().unwrap())
///     .shared_directory("uploads")
///     .build()?;
/// let release = Release::new("1.4.0")?.with_artifact(build.path());
/// let target = Target::new(ServiceName::new("shop")?, Slot::Blue, release, OperationId::new("op-1")?);
/// releases.prepare(&target).await?;
///
/// assert!(server.path().join("releases/1.4.0/server.py").is_file());
/// assert!(server.path().join("releases/1.4.0/uploads").is_symlink());
/// # Ok::<(), bluegreen_core::Error>(()) }).unwrap();
/// ```
///
/// # Guarantees
///
/// - **Nothing is seen under its name until it is whole.** A release is put together aside; every file of it is compared
///   with the digest that it has here; then it is renamed into place. What a cut-off left is removed by the next prepare.
/// - **A version is never overwritten.** The same version with other content, told by paths, modes and digests, is a
///   `Conflict`.
/// - **Unchanged files cost neither transfer nor disk.** They are hard links to those of the newest release. So a program
///   must not write into its own files; what it writes belongs in a shared path.
/// - **Hostile archives are refused** before anything is sent: members or links that lead outside, devices, hard links,
///   and more than [`max_size`](ReleaseDirectoryBuilder::max_size).
/// - **Shared paths** are links into `shared/`, where they are made on first use, with what the release brings there. They are
///   never deleted.
/// - **Room** on the disk is looked at before anything is sent.
/// - Releases beyond [`keep_releases`](ReleaseDirectoryBuilder::keep_releases) are removed at the end of each prepare that brought a new
///   one, never those on record for a slot or that a process has open.
///
/// # Files
///
/// In the service's directory: `releases/<version>/`, `shared/`, `assets/`, `manifests/` and `incoming/`.
///
/// # Needs
///
/// A POSIX `sh`, `flock`, `tar`, `gzip`, `awk` and `sha256sum`; busybox will do.
#[derive(Debug, Clone)]
pub struct ReleaseDirectory {
    host: Arc<dyn Host>,
    directory: String,
    keep: usize,
    shared: Vec<String>,
    assets: Option<String>,
    strip_components: usize,
    max_size: u64,
}

/// Makes a [`ReleaseDirectory`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ReleaseDirectoryBuilder(ReleaseDirectory);

impl ReleaseDirectory {
    /// The releases in this directory of the host, which is made when it is missing.
    pub fn builder(host: impl Host, directory: impl Into<String>) -> ReleaseDirectoryBuilder {
        ReleaseDirectoryBuilder(Self {
            host: Arc::new(host),
            directory: directory.into(),
            keep: DEFAULT_KEEP_RELEASES,
            shared: Vec::new(),
            assets: None,
            strip_components: 0,
            max_size: DEFAULT_MAX_SIZE,
        })
    }

    /// The directory of a version on the host.
    pub fn path(&self, version: &Version) -> String {
        format!("{}/releases/{version}", self.directory)
    }

    /// The host.
    pub fn host(&self) -> &Arc<dyn Host> {
        &self.host
    }

    /// Brings the release to the host, where it is not there yet.
    ///
    /// # Errors
    /// `Conflict` when the version is there with other content; `NotFound` when it is not there and has no artifact;
    /// `Corrupt` and `Config` for an artifact that is cut off or hostile; `Unsupported` when the host lacks a tool.
    pub async fn prepare(&self, target: &Target) -> Result<()> {
        self.prepare_beside(target, std::future::ready(Ok(()))).await
    }

    /// As [`prepare`](Self::prepare), and does something else of the version, once it is known that the version is not there with
    /// other content.
    pub(crate) async fn prepare_beside(&self, target: &Target, beside: impl Future<Output = Result<()>>) -> Result<()> {
        self.bring(target, beside).await?;
        self.link_assets().await
    }

    async fn bring(&self, target: &Target, beside: impl Future<Output = Result<()>>) -> Result<()> {
        let begin = self.begin(target);
        let (artifact, reply) = tokio::try_join!(self.read(target), begin.run(&*self.host))?;
        match reply.word() {
            "present" => {
                artifact.map_or(Ok(()), |artifact| self.same_content(target, &artifact, reply.rest()))?;
                beside.await
            }
            "absent" => match artifact {
                Some(artifact) => {
                    let (sent, done) = tokio::join!(self.send(target, &artifact, &reply), beside);
                    sent.and(done)
                }
                None => Err(Error::new(ErrorKind::NotFound, "the release is not on the server, and has no artifact")
                    .not_applied()
                    .with("host", &self.host)
                    .with_hint("give the release the path of its content: Release::with_artifact")),
            },
            "foreign" => {
                Err(Error::new(ErrorKind::Conflict, "the version's directory is there, and not made by a deploy")
                    .not_applied()
                    .with("host", &self.host)
                    .with("directory", self.path(target.version()))
                    .with_hint("move it away, or give the release another version"))
            }
            "missing" => {
                Err(Error::new(ErrorKind::Unsupported, format!("there is no `{}` on the server", reply.rest()))
                    .not_applied()
                    .with("host", &self.host)
                    .with_hint("install it: flock comes with util-linux, the others with every distribution's base"))
            }
            _ => Err(reply.unexpected()),
        }
    }

    /// Reads the artifact, and refuses one that [`prepare`](Self::prepare) would refuse. Nothing is done on the host.
    ///
    /// # Errors
    /// Those of `prepare` that concern the artifact.
    pub async fn check(&self, target: &Target) -> Result<()> {
        self.read(target).await.map(drop)
    }

    /// The digest of the release's content as it is here, in hexadecimal; `None` without an artifact, or when it is gone.
    pub(crate) async fn digest(&self, target: &Target) -> Result<Option<String>> {
        match target.release.artifact() {
            Some(path) if tokio::fs::try_exists(path).await.unwrap_or(false) => {
                Ok(self.read(target).await?.map(|artifact| artifact.manifest().digest()))
            }
            _ => Ok(None),
        }
    }

    async fn link_assets(&self) -> Result<()> {
        let Some(assets) = &self.assets else { return Ok(()) };
        let script = Script::new("link the assets of all releases", include_str!("scripts/link_assets.sh"));
        let reply = waiting(script, Duration::ZERO).args([&self.directory, assets]).run(&*self.host).await?;
        if reply.word() == "ready" { Ok(()) } else { Err(reply.unexpected()) }
    }

    async fn read(&self, target: &Target) -> Result<Option<Arc<Artifact>>> {
        let Some(content) = self.content(target) else { return Ok(None) };
        let path = content.path.clone();
        let read = Artifact::read(&path, self.strip_components, target.service.as_str(), self.max_size);
        ARTIFACTS.get(content, read).await.map(Some)
    }

    fn content(&self, target: &Target) -> Option<Content> {
        Some(Content {
            operation: target.operation.clone(),
            service: target.service.clone(),
            path: target.release.artifact()?.to_owned(),
            strip_components: self.strip_components,
            max_size: self.max_size,
        })
    }

    async fn pack(&self, target: &Target, artifact: &Artifact, base: Manifest) -> Result<Arc<NamedTempFile>> {
        match self.content(target) {
            Some(content) => ARCHIVES.get((content, base.digest()), artifact.pack(base)).await,
            None => artifact.pack(base).await.map(Arc::new),
        }
    }

    fn begin(&self, target: &Target) -> Script {
        let script = Script::new("make room for a release", include_str!("scripts/begin_prepare.sh"));
        waiting(script, Duration::ZERO)
            .args([self.directory.clone(), target.version().to_string()])
            .output_limit(MANIFEST_LIMIT)
    }

    /// Sends what the base lacks, and all of it where that cannot be put together with the base.
    async fn send(&self, target: &Target, artifact: &Artifact, reply: &Reply) -> Result<()> {
        // A base that shares no file saves nothing.
        let base = base(reply).filter(|base| artifact.manifest().shares_files_with(base));
        if let (Some(from), Some(base)) = (reply.get("base"), base) {
            match self.send_beside(target, artifact, reply, from, base).await? {
                Sent::Ready => return Ok(()),
                Sent::Damaged(reason) => {
                    tracing::warn!(host = %self.host, version = %target.version(), from, reason, "sending all of the release");
                }
            }
        }
        match self.send_beside(target, artifact, reply, "", Manifest::default()).await? {
            Sent::Ready => Ok(()),
            Sent::Damaged(reason) => Err(Error::new(ErrorKind::Unexpected, format!("it cannot be unpacked: {reason}"))
                .not_applied()
                .with("host", &self.host)),
        }
    }

    async fn send_beside(
        &self,
        target: &Target,
        artifact: &Artifact,
        reply: &Reply,
        from: &str,
        base: Manifest,
    ) -> Result<Sent> {
        let manifest = artifact.manifest();
        let lacking = manifest.entries().filter(|(path, entry)| base.get(path) != Some(entry));
        let unpacked: u64 = lacking.map(|(_, entry)| entry.size()).sum();
        let packed = self.pack(target, artifact, base).await?;
        let sent = packed.as_file().metadata().map_err(Error::from)?.len();
        let incoming = reply.get("incoming").ok_or_else(|| reply.unexpected())?;
        self.check_room(reply, unpacked.saturating_add(sent))?;
        let text = manifest.text();
        let mut input = text.clone().into_bytes();
        let goes_along = sent <= GOES_ALONG;
        if goes_along {
            input.extend(tokio::fs::read(packed.path()).await.map_err(|error| Error::from(error).not_applied())?);
        } else {
            let remote = format!("{incoming}/{}.tar.gz", target.version());
            self.host.upload(packed.path(), &remote, &target.progress).await.map_err(Error::not_applied)?;
        }
        let words = [
            self.directory.clone(),
            target.version().to_string(),
            manifest.digest(),
            self.keep.to_string(),
            from.to_owned(),
            text.len().to_string(),
            if goes_along { input.len().to_string() } else { String::new() },
        ];
        let script = Script::new("put a release together", include_str!("scripts/finish_prepare.sh"));
        let script =
            waiting(script, bluegreen_core::host::DEFAULT_TIMEOUT).args(words).args(self.shared.clone()).stdin(input);
        let reply = script.run(&*self.host).await?;
        if goes_along {
            target.progress.bytes(&packed.path().display().to_string(), sent, Some(sent));
        }
        match reply.word() {
            "ready" => Ok(Sent::Ready),
            "present" => self.same_content(target, artifact, reply.rest()).map(|()| Sent::Ready),
            "damaged" => Ok(Sent::Damaged(reply.said().to_owned())),
            _ => Err(reply.unexpected()),
        }
    }

    fn check_room(&self, reply: &Reply, needed: u64) -> Result<()> {
        let free = reply.get("free").and_then(|free| free.parse::<u64>().ok());
        match free.map(|kilobytes| kilobytes.saturating_mul(1024)) {
            Some(free) if free < needed => {
                Err(Error::new(ErrorKind::Unexpected, "the disk has no room for the release")
                    .not_applied()
                    .with("host", &self.host)
                    .with("directory", &self.directory)
                    .with("needed bytes", needed)
                    .with("free bytes", free)
                    .with_hint("`df` shows the disk; keep_releases says how many releases stay on it"))
            }
            _ => Ok(()),
        }
    }

    fn same_content(&self, target: &Target, artifact: &Artifact, there: &str) -> Result<()> {
        let here = artifact.manifest().digest();
        if here == there { Ok(()) } else { Err(other_content(target, &here, there).with("host", &self.host)) }
    }
}

impl ReleaseDirectoryBuilder {
    /// How many releases stay. Those in the slots stay in any case. Default: 5 ([`DEFAULT_KEEP_RELEASES`]).
    pub fn keep_releases(mut self, count: usize) -> Self {
        self.0.keep = count;
        self
    }

    /// Shares a directory between all releases: uploads, caches, sessions.
    pub fn shared_directory(mut self, path: impl Into<String>) -> Self {
        self.0.shared.push(format!("{}/", path.into()));
        self
    }

    /// Shares a file between all releases, such as a database of SQLite. The program makes it when it is not there.
    pub fn shared_file(mut self, path: impl Into<String>) -> Self {
        self.0.shared.push(path.into());
        self
    }

    /// Serves the files of all kept releases that have a hash in their names, such as `app-4f9d2c1b.js`, from one directory:
    /// `<directory>/assets`. `path` is where they are in a release: `public/assets`, `dist/static`.
    ///
    /// A page of the old release finds its files after a switch, and a page of the new one before it. The web server serves the
    /// directory, and asks the app for the rest: `Location::assets` of bluegreen-nginx.
    ///
    /// A hash is at least eight characters of `A-Z a-z 0-9 _ -` in front of the ending, among them a digit, or a capital behind
    /// a small letter. Names without one, hidden files and manifests are left to the app, as are names that two releases have
    /// with different contents. A file goes with the last release that has it.
    pub fn assets(mut self, path: impl Into<String>) -> Self {
        self.0.assets = Some(path.into());
        self
    }

    /// How many leading directories of a tarball's members are left out, as of `shop-1.4.0/bin/shop`. Default: 0.
    pub fn strip_components(mut self, count: usize) -> Self {
        self.0.strip_components = count;
        self
    }

    /// How many bytes a release may hold, unpacked. Default: 8 GiB ([`DEFAULT_MAX_SIZE`]).
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.0.max_size = bytes;
        self
    }

    /// The releases. Nothing is done on the host yet.
    ///
    /// # Errors
    /// `Config` when the directory cannot belong to one service, or a path leads out of the release or from one shared path into
    /// another.
    pub fn build(self) -> Result<ReleaseDirectory> {
        let Self(mut releases) = self;
        let directory = &releases.directory;
        if directory.contains(|c: char| c.is_control()) || matches!(directory.trim_end_matches('/'), "" | "." | "~") {
            return Err(Error::config(format!("{directory:?} is not a directory that can belong to one service")));
        }
        let given = std::mem::take(&mut releases.shared);
        for given in given {
            let (path, end) = (member::inside(given.as_bytes())?, if given.ends_with('/') { "/" } else { "" });
            let mut others = releases.shared.iter().map(|other| other.trim_end_matches('/'));
            if path.is_empty() || others.any(|other| is_in(&path, other) || is_in(other, &path)) {
                return Err(Error::config(format!("{path:?} cannot be a shared path: it is empty, or in another one")));
            }
            releases.shared.push(format!("{path}{end}"));
        }
        if let Some(given) = &releases.assets {
            let path = member::inside(given.as_bytes())?;
            if path.is_empty() || releases.shared.iter().any(|shared| is_in(&path, shared.trim_end_matches('/'))) {
                return Err(Error::config(format!("{given:?} cannot be the path of assets: it is empty, or shared")));
            }
            releases.assets = Some(path);
        }
        Ok(releases)
    }
}

/// Whether the path is the other one, or lies below it.
fn is_in(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The files of a release on the host that can be taken: those of its shared paths are not where they were unpacked.
fn base(reply: &Reply) -> Option<Manifest> {
    let mut manifest = Manifest::parse(&reply.after("manifest").join("\n")).ok()?;
    let shared: Vec<_> = reply.all("shared").collect();
    manifest.retain(|path| !shared.iter().any(|shared| is_in(path, shared)));
    Some(manifest)
}

pub(crate) fn other_content(target: &Target, here: &str, there: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("version {} is on the server with other content", target.version()))
        .with_reason(Reason::OtherContent)
        .not_applied()
        .with("digest here", here)
        .with("digest there", there)
        .with_hint("a version is never used again: give the new build a new one")
}

enum Sent {
    Ready,
    Damaged(String),
}

impl fmt::Display for ReleaseDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "releases in {} on {}", self.directory, self.host)
    }
}
