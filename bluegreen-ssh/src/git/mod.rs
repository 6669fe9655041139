//! Releases that are commits, deployed by `git push`.

mod builder;
mod prepare;
mod remote;
mod script;
mod server;
mod settings;
mod start;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::host::Script;
use bluegreen_core::{
    Endpoint, Error, Instance, Ownership, PerSlot, Preview, Result, Runtime, ServiceName, Slot, Stopped, Target,
    Version,
};

pub use builder::{DEFAULT_BRANCH, GitRuntimeBuilder};
pub use server::GitServer;
use settings::Settings;

/// Deploys commits of a repository on this machine to a server per slot, where a web server serves them.
///
/// ```no_run
/// use bluegreen_core::{OperationId, Release, Runtime, ServiceName, Slot, Target};
/// use bluegreen_ssh::{GitRuntime, GitServer, SshHost};
///
/// # async fn example() -> bluegreen_core::Result<()> {
/// let blue = SshHost::builder("deploy@blue.example.com").build()?;
/// let green = SshHost::builder("deploy@green.example.com").build()?;
/// let runtime = GitRuntime::builder("/home/me/sample_app")
///     .servers((GitServer::new(blue, "/srv/sample_app"), GitServer::new(green, "/srv/sample_app")))
///     .run("npm ci && npm run build")
///     .build()?;
///
/// let target = Target::new(ServiceName::new("sample")?, Slot::Blue, Release::new("v2")?, OperationId::new("op-1")?);
/// runtime.prepare(&target).await?; // pushes the commit that is tagged v2
/// let instance = runtime.start(&target).await?; // checks it out, runs the commands, switches the web root
/// assert_eq!(instance.to_string(), "running v2");
/// # Ok(()) }
/// ```
///
/// On the servers, nginx or Apache serves `/srv/sample_app/current`; nothing else has to be done there than to install
/// git and to make the directory writable for the user of the login.
///
/// # Which commit
///
/// The release's setting `commit` names it, as anything that git understands. Without that setting it is the tag with
/// the version's name, or with `v` before it; or else the branch of that name; or else the commit that the version is the
/// (beginning of the) id of, with 7 characters at least. What is not committed is not deployed. Commits with submodules are
/// refused.
///
/// # Guarantees
///
/// - **Prepare** makes the repository, the directories and the hook where they are missing
///   ([`setup`](Self::setup) does only that), and pushes the commit to the ref `refs/bluegreen/<commit>`, which deploys
///   nothing. Then it records version and commit: the same version with another commit is a `Conflict`. So is a branch
///   on the server with commits that are neither before nor after the release's (a history that was rewritten, somebody
///   else's push), and so are files of the server's release, and the hook, that were changed there by hand, unless
///   [`force`](GitRuntimeBuilder::force) is set. To go back to an older commit is none of these.
/// - **Start** checks the commit out into a directory of its own, `releases/<version>`, runs the commands there, and
///   then switches the web root, a symbolic link, by a rename. What fails before leaves the web root as it was; when the
///   restart command fails, it is switched back. The error has the last lines of the log. In the end the branch stands
///   at what is deployed. A version that has been checked out once is only switched to.
/// - **A push by hand** to the branch, `git push blue master`, is deployed by the hook with the very same scripts and
///   under the same lock, as the version whose commit it is, or else as the first 12 characters of the commit. Git
///   cannot tell the pusher about a hook that fails but by its words, since the branch has moved by then; the hook moves
///   it back, so that the same push can be made again. A deploy does not depend on that: it runs the scripts by
///   itself, and sees how they end.
/// - **Inspect** reads the link. What no deploy made, a link that leads elsewhere or a directory with something in it, is
///   running, with an unknown version, also before anything was set up. Whether the web server runs, it does not say: that
///   is the health check's business.
/// - **Stop** points the web root to an empty directory, so that the web server, which goes on running, answers 403 or
///   404; then it runs the [`on_stop`](GitRuntimeBuilder::on_stop) command.
/// - **What no deploy made is left alone**: to set up, prepare, start or stop where it is at the web root is a `Conflict`,
///   unless [`take_over`](GitRuntimeBuilder::take_over) is set. Then too it is served until a start (or a stop, or a push
///   by hand) puts the link in its place and keeps it beside; a start that fails puts it back. A link is replaced in one
///   step; between the two renames that a directory needs, a few milliseconds, requests are answered by a 404. Before the
///   first deploy, a pipeline takes such a site for the way back when its health check finds it well.
/// - **A start or a stop that comes late**, because its caller was cut off and the server had not begun, finds that the
///   slot was changed since, and does nothing. Lock files that a killed git left are removed.
/// - **A full disk** is named as such, and leaves what is served.
/// - **Git's ssh is told what the [`SshHost`](crate::SshHost) was told**, and is given nothing else: the same keys, the
///   same `known_hosts`, no configuration, no prompt. A host key that is not recorded ends the push. Here, the push runs
///   none of the repository's hooks, and a `url.insteadOf` that would lead it elsewhere is refused.
/// - Releases beyond [`keep_releases`](GitRuntimeBuilder::keep_releases) are removed, never the one that is served.
///
/// # Files
///
/// In the slot's directory on the server: `repository.git`, `releases/<version>/`, `current` (the web root, unless it is
/// elsewhere), `stopped/`, `log` (of the last deploy), and for the owner alone `versions/`, `ready/` and `index/`. The
/// web server must be able to enter the directory; a home directory that others may not enter is no place for it.
///
/// # Needs
///
/// Here: `git` 2.30, `ssh` 8.7 or newer. On the server: Linux with a POSIX `sh`, `git` and `flock`; `timeout` for
/// [`on_stop`](GitRuntimeBuilder::on_stop). Tested with git 2.47 and OpenSSH 9.2.
#[derive(Debug, Clone)]
pub struct GitRuntime {
    settings: Arc<Settings>,
    ownership: Ownership,
}

impl GitRuntime {
    /// Begins the configuration of a runtime for the repository in this directory of this machine.
    pub fn builder(repository: impl Into<PathBuf>) -> GitRuntimeBuilder {
        GitRuntimeBuilder::new(repository.into())
    }

    /// Makes the repository, the directories and the hook on a slot's server. What is there is kept, and nothing that is
    /// served changes. [`prepare`](Runtime::prepare) does it too.
    ///
    /// # Errors
    /// `Conflict` when there is a hook that is not ours, or something at the web root that no deploy made, unless
    /// [`take_over`](GitRuntimeBuilder::take_over) is set; `Unsupported` when there is no git.
    pub async fn setup(&self, slot: Slot) -> Result<()> {
        self.verify(slot).await?;
        self.set_up(slot, None)
            .await
            .map(drop)
            .map_err(|error| error.with_operation(format!("set up the server of {slot}")))
    }

    /// The URL for a push by hand to a slot's server: `git remote add blue <url>`.
    pub fn remote(&self, slot: Slot) -> String {
        let server = self.settings.server(slot);
        server.remote.url(&server.directory)
    }

    /// The commit that a release names in the repository on this machine.
    ///
    /// # Errors
    /// `NotFound` when there is none, or no repository.
    pub async fn commit(&self, target: &Target) -> Result<String> {
        self.resolve(target)
            .await
            .map_err(|error| error.with_operation(format!("find the commit of {}", target.version())))
    }

    /// The commit that a slot serves, by the server's own record. `None` when it serves none of ours.
    ///
    /// # Errors
    /// Those of asking the server.
    pub async fn deployed(&self, slot: Slot) -> Result<Option<String>> {
        let reply = self.web_root(slot).await.map_err(|error| error.with_operation(format!("inspect {slot}")))?;
        let commit = reply.rest().split_once(' ').map(|(_, commit)| commit.to_owned());
        Ok(commit.filter(|commit| reply.word() == "running" && !commit.is_empty()))
    }

    fn script(&self, slot: Slot, script: Script, patience: Duration) -> Script {
        script::in_slot(&self.settings, slot, script, patience)
    }

    fn running(&self, slot: Slot, version: Option<Version>) -> Instance {
        let server = self.settings.server(slot);
        Instance::Running { version, endpoints: vec![Endpoint::http(server.endpoint()).on(server.host.to_string())] }
    }

    /// Refuses a slot's directory that is another service's.
    async fn verify(&self, slot: Slot) -> Result<()> {
        let server = self.settings.server(slot);
        self.ownership.verify(&*server.host, &server.directory).await
    }

    /// As [`verify`](Self::verify), for a call that writes.
    async fn claim(&self, target: &Target) -> Result<()> {
        let server = self.settings.server(target.slot);
        self.ownership.claim_for(&target.service, &*server.host, &server.directory).await
    }

    async fn look(&self, slot: Slot) -> Result<Instance> {
        let reply = self.web_root(slot).await?;
        let version = || match reply.rest().split(' ').next() {
            None | Some("") => Ok(None),
            Some(version) => Version::new(version).map(Some),
        };
        match reply.word() {
            "absent" | "empty" => Ok(Instance::Absent),
            "running" => Ok(self.running(slot, version()?)),
            "elsewhere" | "directory" => Ok(self.running(slot, None)),
            "stopped" => Ok(Instance::Stopped { version: version()?, reason: Some("stopped on request".into()) }),
            "gone" => Ok(Instance::Stopped {
                version: version()?,
                reason: Some("its directory was removed from the server".into()),
            }),
            _ => Err(reply.unexpected()),
        }
    }

    async fn web_root(&self, slot: Slot) -> Result<script::Reply> {
        script::run(&self.script(slot, script::INSPECT, Duration::ZERO), &*self.settings.server(slot).host).await
    }

    async fn tail(&self, slot: Slot, tail: usize) -> Result<Vec<String>> {
        let script = self.script(slot, script::LOGS, Duration::ZERO).arg(tail.to_string());
        Ok(script::run(&script, &*self.settings.server(slot).host).await?.lines().to_vec())
    }
}

impl fmt::Display for GitRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PerSlot { blue, green } = &self.settings.servers;
        write!(f, "commits of {} on {} and {}", self.settings.repository.display(), blue.host, green.host)
    }
}

#[async_trait]
impl Runtime for GitRuntime {
    fn bind_service(&self, service: &ServiceName) -> Result<()> {
        self.ownership.bind(service)
    }

    async fn preview(&self, target: &Target) -> Result<Preview> {
        self.verify(target.slot).await?;
        let about = |error: Error| error.with_operation(format!("prepare {target}"));
        self.resolve(target).await.map_err(about)?;
        let hook = script::hook(&self.settings, target.slot);
        self.preview_changes(target.slot, hook).await.map(|()| Preview::default()).map_err(about)
    }

    async fn preview_slot(&self, slot: Slot) -> Result<Preview> {
        self.verify(slot).await?;
        let result = self.preview_changes(slot, String::new()).await;
        result
            .map(|()| Preview::default())
            .map_err(|error| error.with_operation(format!("look at the files of {slot}")))
    }

    async fn prepare(&self, target: &Target) -> Result<()> {
        let about = |error: Error| error.with_operation(format!("prepare {target}"));
        // First what can be refused without the server.
        let commit = self.resolve(target).await.map_err(about)?;
        self.claim(target).await?;
        self.prepare_commit(target, &commit).await.map_err(about)
    }

    async fn start(&self, target: &Target) -> Result<Instance> {
        self.claim(target).await?;
        self.start_release(target).await.map_err(|error| error.with_operation(format!("start {target}")))
    }

    fn start_timeout(&self) -> Option<Duration> {
        Some(self.longest_start())
    }

    async fn inspect(&self, slot: Slot) -> Result<Instance> {
        self.verify(slot).await?;
        self.look(slot).await.map_err(|error| error.with_operation(format!("inspect {slot}")))
    }

    async fn stop(&self, slot: Slot, grace: Duration) -> Result<Stopped> {
        self.verify(slot).await?;
        let ended = self.end(slot, grace).await.map(|()| Stopped::default());
        ended.map_err(|error| error.with_operation(format!("stop {slot}")))
    }

    async fn logs(&self, slot: Slot, tail: usize) -> Result<Vec<String>> {
        self.verify(slot).await?;
        self.tail(slot, tail).await.map_err(|error| error.with_operation(format!("read the log of {slot}")))
    }
}
