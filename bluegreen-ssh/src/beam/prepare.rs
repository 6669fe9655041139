//! Getting a release onto the server.

use std::collections::BTreeMap;
use std::path::Path;

use bluegreen_core::{Error, ErrorKind, Reason, Result, Secret, Slot, Target, changed_file};

use super::archive::{self, Contents};
use super::script::Reply;
use super::{BeamRuntime, environment, script};

impl BeamRuntime {
    /// The environment to be, of a release whose tarball is there.
    pub(super) async fn environment_for(&self, target: &Target) -> Result<BTreeMap<String, Secret>> {
        if let Some(artifact) = target.release.artifact() {
            tokio::fs::metadata(artifact).await.map_err(|error| {
                Error::from(error)
                    .not_applied()
                    .with_operation("look at the artifact")
                    .with("artifact", artifact.display())
            })?;
        }
        self.settings.environment().await
    }

    /// The tarball is read here while the server makes ready and takes it: what is wrong with it is known before the
    /// server is told to unpack.
    pub(super) async fn prepare_release(&self, target: &Target, environment: &BTreeMap<String, Secret>) -> Result<()> {
        let Some(artifact) = target.release.artifact() else {
            return match self.begin(target, environment).await? {
                Present::Content(_) => Ok(()),
                Present::Nothing(_) => {
                    Err(Error::new(ErrorKind::NotFound, "the release is not on the server, and has no artifact")
                        .not_applied()
                        .with_hint("give the release the path of its tarball: Release::with_artifact"))
                }
            };
        };
        let look = self.read(artifact);
        let send = async {
            let present = self.begin(target, environment).await?;
            if let Present::Nothing(incoming) = &present {
                let remote = format!("{incoming}/{}.tar.gz", target.version());
                self.host.upload(artifact, &remote, &target.progress).await.map_err(Error::not_applied)?;
            }
            Ok::<_, Error>(present)
        };
        let (contents, present) = tokio::try_join!(look, send)?;
        match present {
            Present::Content(content) => self.same_content(target, &contents, &content),
            Present::Nothing(_) => self.unpack(target, &contents).await,
        }
    }

    /// What can be known without writing: of the tarball, the environment file, and what others have changed.
    pub(super) async fn preview_release(&self, target: &Target) -> Result<()> {
        let environment = self.environment_for(target).await?;
        if let Some(artifact) = target.release.artifact() {
            self.read(artifact).await?;
        }
        self.preview_changes(target.slot, &environment).await
    }

    /// Refuses to lose what others have changed. `environment` is the one to be; an empty one is none of theirs.
    pub(super) async fn preview_changes(&self, slot: Slot, environment: &BTreeMap<String, Secret>) -> Result<()> {
        let input = environment::input(environment, self.settings.cookie.as_ref());
        let script = self.script(slot, script::PREVIEW, std::time::Duration::ZERO).stdin(input.bytes);
        let reply = script.run(&*self.host).await?;
        match reply.word() {
            "fine" => Ok(()),
            "changed" => Err(self.changed(&reply)),
            _ => Err(reply.unexpected()),
        }
    }

    fn changed(&self, reply: &Reply) -> Error {
        let (what, path) = reply.rest().split_once(' ').unwrap_or(("", reply.rest()));
        let (what, advice) = match what {
            "cookie" => ("cookie", "to keep it, give it to the builder (`cookie`), or set none there"),
            _ => (
                "environment",
                "to keep the change, make it in the configuration of the deploy too (`env`, `env_file`)",
            ),
        };
        let lines = reply.after("log").iter().filter(|line| !line.is_empty()).cloned();
        changed_file(what, path, &*self.host, lines).with_hint(format!("{advice}; to lose it, set `overwrite_changes`"))
    }

    async fn read(&self, artifact: &Path) -> Result<Contents> {
        let contents = archive::read(artifact).await?;
        self.has_program(&contents, artifact)?;
        Ok(contents)
    }

    fn has_program(&self, contents: &Contents, artifact: &Path) -> Result<()> {
        let app = &self.settings.app;
        if contents.programs.contains(app) {
            return Ok(());
        }
        let found: Vec<_> = contents.programs.iter().map(|program| format!("bin/{program}")).collect();
        let found = if found.is_empty() { "no program in bin".to_owned() } else { found.join(", ") };
        Err(Error::config(format!("the tarball has no program bin/{app}; it has {found}"))
            .with("artifact", artifact.display())
            .with_hint("is it a release of this app, packed by the step :tar with bin at its top?"))
    }

    async fn begin(&self, target: &Target, environment: &BTreeMap<String, Secret>) -> Result<Present> {
        let input = environment::input(environment, self.settings.cookie.as_ref());
        let script = self
            .script(target.slot, script::BEGIN_PREPARE, std::time::Duration::ZERO)
            .args([target.version().to_string(), input.size.to_string()])
            .stdin(input.bytes);
        let reply = script.run(&*self.host).await?;
        match reply.word() {
            "absent" => match reply.get("incoming") {
                Some(incoming) => Ok(Present::Nothing(incoming.to_owned())),
                None => Err(reply.unexpected()),
            },
            "present" => Ok(Present::Content(reply.rest().to_owned())),
            "foreign" => {
                Err(Error::new(ErrorKind::Conflict, "the version's directory is there, and not made by a deploy")
                    .not_applied()
                    .with("host", &self.host)
                    .with("directory", format!("{}/releases/{}", self.settings.directory, target.version()))
                    .with_hint("move it away, or give the release another version"))
            }
            "changed" => Err(self.changed(&reply)),
            "missing" => {
                Err(Error::new(ErrorKind::Unsupported, format!("there is no `{}` on the server", reply.rest()))
                    .with("host", &self.host)
                    .with_hint("install it: flock comes with util-linux, or with busybox"))
            }
            _ => Err(reply.unexpected()),
        }
    }

    async fn unpack(&self, target: &Target, contents: &Contents) -> Result<()> {
        let script = self.script(target.slot, script::FINISH_PREPARE, bluegreen_core::host::DEFAULT_TIMEOUT).args([
            target.version().to_string(),
            contents.sha256.clone(),
            self.settings.keep_releases.to_string(),
        ]);
        let reply = script.run(&*self.host).await?;
        match reply.word() {
            "ready" => Ok(()),
            "present" => self.same_content(target, contents, reply.rest()),
            "damaged" => {
                Err(Error::new(ErrorKind::Unexpected, format!("the tarball cannot be unpacked: {}", reply.said()))
                    .not_applied()
                    .with("host", &self.host)
                    .with_hint("is the disk full? `df` on the server tells"))
            }
            _ => Err(reply.unexpected()),
        }
    }

    fn same_content(&self, target: &Target, contents: &Contents, there: &str) -> Result<()> {
        if contents.sha256 == there {
            return Ok(());
        }
        Err(other_content(target, &contents.sha256, there).with("host", &self.host))
    }
}

pub(super) fn other_content(target: &Target, ours: &str, theirs: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("version {} is on the server with other content", target.version()))
        .with_reason(Reason::OtherContent)
        .not_applied()
        .with("sha256 here", ours)
        .with("sha256 there", theirs)
        .with_hint("a version is never used again: give the new build a new one")
}

/// What the server has of a version.
enum Present {
    /// Nothing; and where to upload it to.
    Nothing(String),
    /// A release with this SHA-256.
    Content(String),
}
