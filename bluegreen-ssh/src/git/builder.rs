//! How a [`GitRuntime`] is made.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bluegreen_core::{Error, Ownership, PerSlot, Result, Slot};

use super::settings::Settings;
use super::{GitRuntime, GitServer};

/// Default branch of the server that is deployed: `master`.
pub const DEFAULT_BRANCH: &str = "master";

/// Settings of a [`GitRuntime`]; begun by [`GitRuntime::builder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct GitRuntimeBuilder {
    repository: PathBuf,
    servers: Option<PerSlot<GitServer>>,
    branch: String,
    commands: Vec<String>,
    restart: Option<String>,
    stop: Option<String>,
    keep_releases: usize,
    deadline: Duration,
    force: bool,
    take_over: bool,
    unfiltered: Vec<String>,
}

impl GitRuntimeBuilder {
    pub(super) fn new(repository: PathBuf) -> Self {
        Self {
            repository,
            servers: None,
            branch: DEFAULT_BRANCH.to_owned(),
            commands: Vec::new(),
            restart: None,
            stop: None,
            keep_releases: crate::DEFAULT_KEEP_RELEASES,
            deadline: bluegreen_core::host::DEFAULT_TIMEOUT,
            force: false,
            take_over: false,
            unfiltered: Vec::new(),
        }
    }

    /// The servers of blue and green. Both slots may be on one server, in different directories.
    pub fn servers(mut self, servers: impl Into<PerSlot<GitServer>>) -> Self {
        self.servers = Some(servers.into());
        self
    }

    /// Sets the branch that stands on the server for what is deployed there. Default: `master` ([`DEFAULT_BRANCH`]). A push to
    /// it by hand is deployed too.
    pub fn branch(mut self, name: impl Into<String>) -> Self {
        self.branch = name.into();
        self
    }

    /// Adds a shell command that is run in each release's directory on the server, once it is checked out and before it
    /// is served: `npm ci && npm run build`. It finds `SLOT`, `VERSION` and `COMMIT` in its environment. When it fails,
    /// so does the deploy.
    ///
    /// It is stored in the hook on the server, so it must hold no secret.
    pub fn run(mut self, command: impl Into<String>) -> Self {
        self.commands.push(command.into());
        self
    }

    /// Sets the shell command that is run in the release's directory when the web root has been switched, as
    /// `sudo -n systemctl reload apache2`. When it fails, the web root is switched back, and it is run again. A plain
    /// web server needs none.
    pub fn restart(mut self, command: impl Into<String>) -> Self {
        self.restart = Some(command.into());
        self
    }

    /// Sets the shell command that is run when the slot is stopped and the web root is empty. It gets the grace, and is
    /// ended then. A plain web server needs none.
    pub fn on_stop(mut self, command: impl Into<String>) -> Self {
        self.stop = Some(command.into());
        self
    }

    /// Sets how many releases stay on each server. Default: 5 ([`DEFAULT_KEEP_RELEASES`](crate::DEFAULT_KEEP_RELEASES)).
    /// The one that is served stays in any case.
    pub fn keep_releases(mut self, count: usize) -> Self {
        self.keep_releases = count;
        self
    }

    /// Sets how long a push, and how long checking out with all commands, may take. Default: 15
    /// minutes ([`DEFAULT_TIMEOUT`](bluegreen_core::host::DEFAULT_TIMEOUT)). Two minutes more are for locks and the disk.
    /// A pipeline gives a start that much time also where its own `start_deadline` is shorter.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Deploys a history that was rewritten, and over files and a hook that were changed on the server, where that is otherwise a
    /// `Conflict`; and lets people force-push to the server.
    pub fn force(mut self, force: bool) -> Self {
        self.force = force;
        self
    }

    /// Lets what is in the way be replaced: by the setup, a hook that is not ours; by the first start, stop or push by hand,
    /// what is at the web root. Both are kept beside, with `.before-bluegreen` at the end of their names.
    pub fn take_over(mut self, take_over: bool) -> Self {
        self.take_over = take_over;
        self
    }

    /// Takes files whose `filter` attribute has this value as they are stored. Otherwise a commit with such files is refused:
    /// a push brings no filter, so pointers of Git LFS would be served for the files, and encrypted text for the plain one.
    pub fn unfiltered(mut self, filter: impl Into<String>) -> Self {
        self.unfiltered.push(filter.into());
        self
    }

    /// The runtime. Nothing is done yet, here or on a server.
    ///
    /// # Errors
    /// `Config` when the slots have no servers, or share one directory, web root or address, or a name or path cannot be
    /// what it has to be; `Unsupported` when git's ssh cannot be told what the host was told: a fingerprint, a passphrase.
    pub fn build(self) -> Result<GitRuntime> {
        self.settings()
            .map(|settings| GitRuntime { settings: Arc::new(settings), ownership: Ownership::new() })
            .map_err(|error| error.with_operation("set up the git runtime"))
    }

    fn settings(self) -> Result<Settings> {
        let repository = std::path::absolute(&self.repository)
            .map_err(|error| Error::config("the repository needs a path").with_source(error))?;
        if repository.to_str().is_none_or(|path| path.contains(['\0', '\n'])) {
            return Err(Error::config(format!("{} cannot be passed on to git", repository.display())));
        }
        let Some(PerSlot { blue, green }) = self.servers else {
            return Err(Error::config("each slot needs a server: .servers((blue, green))"));
        };
        for (slot, server) in Slot::BOTH.into_iter().zip([&blue, &green]) {
            server.check().map_err(|error| error.with("slot", slot))?;
        }
        differ(&blue, &green)?;
        if !is_branch(&self.branch) {
            return Err(Error::config(format!("{:?} is not the name of a branch", self.branch)));
        }
        if self
            .unfiltered
            .iter()
            .any(|filter| filter.is_empty() || filter.contains(|c: char| c.is_whitespace() || c == '\0'))
        {
            return Err(Error::config("the name of a filter is one word"));
        }
        if self.keep_releases == 0 {
            return Err(Error::config("keep_releases is above 0"));
        }
        let mut commands = self.commands.iter().chain(&self.restart).chain(&self.stop);
        if commands.any(|command| command.contains('\0') || command.trim().is_empty()) {
            return Err(Error::config("a command is empty, or holds a NUL character"));
        }
        Ok(Settings {
            repository,
            servers: PerSlot::new(blue, green),
            branch: self.branch,
            commands: self.commands,
            restart: self.restart,
            stop: self.stop,
            keep_releases: self.keep_releases,
            deadline: self.deadline,
            force: self.force,
            take_over: self.take_over,
            unfiltered: self.unfiltered,
        })
    }
}

/// Two slots in one place would overwrite each other.
fn differ(blue: &GitServer, green: &GitServer) -> Result<()> {
    if blue.endpoint() == green.endpoint() {
        return Err(Error::config(format!("the slots need two addresses, and have {} twice", blue.endpoint())));
    }
    if blue.host.to_string() != green.host.to_string() {
        return Ok(());
    }
    let directory = |server: &GitServer| server.directory.trim_end_matches('/').to_owned();
    if directory(blue) == directory(green) {
        return Err(Error::config(format!("the slots need two directories, and have {} twice", blue.directory)));
    }
    match &blue.web_root {
        Some(root) if green.web_root.as_ref() == Some(root) => {
            Err(Error::config(format!("the slots need two web roots, and have {root} twice")))
        }
        _ => Ok(()),
    }
}

/// The rules of git-check-ref-format(1), and a little stricter.
fn is_branch(name: &str) -> bool {
    let harmless = |c: char| c.is_alphanumeric() || "._-+/@#,=".contains(c);
    let part = |part: &str| !part.is_empty() && !part.starts_with(['.', '-']) && !part.ends_with(".lock");
    name != "HEAD"
        && name.chars().all(harmless)
        && name.split('/').all(part)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.ends_with('.')
        && name != "@"
}

#[cfg(test)]
mod tests {
    use bluegreen_core::ErrorKind;

    use super::*;

    fn good() -> GitRuntimeBuilder {
        GitRuntime::builder("/r").servers((blue(), green()))
    }

    fn blue() -> GitServer {
        GitServer::local("/srv/blue").address("127.0.0.1:8001")
    }

    fn green() -> GitServer {
        GitServer::local("/srv/green").address("127.0.0.1:8002")
    }

    #[test]
    fn what_could_be_misread_or_overwrite_the_other_slot_is_refused_before_anything_is_done() {
        assert!(good().build().is_ok());
        assert!(GitRuntime::builder("/r").build().is_err());
        let bad = [
            good().servers((blue(), GitServer::local("/srv/blue/").address("127.0.0.1:8002"))),
            good().servers((blue(), green().address("127.0.0.1:8001"))),
            good().servers((blue().web_root("/www"), green().web_root("/www"))),
            good().servers((GitServer::local("srv/blue"), green())),
            good().servers((GitServer::local("/"), green())),
            good().servers((GitServer::local("/srv/a\nb"), green())),
            good().servers((blue().web_root("www"), green())),
            good().servers((blue().web_root("/"), green())),
            good().servers((blue().web_root("/www/"), green())),
            good().servers((blue().web_root("/srv"), green())),
            good().servers((blue().address("localhost"), green())),
            good().servers((blue().address("a b:80"), green())),
            good().run(" "),
            good().restart("a\0b"),
            good().keep_releases(0),
        ];
        for builder in bad {
            let shown = format!("{builder:?}");
            assert_eq!(builder.build().unwrap_err().kind(), ErrorKind::Config, "{shown}");
        }
        for url in ["", "-oProxyCommand=x", "ext::sh -c id", "fd::3", "a b", "a\nb"] {
            let server = GitServer::by_url(bluegreen_core::LocalHost::new(), "/srv/x", url);
            assert_eq!(good().servers((server, green())).build().unwrap_err().kind(), ErrorKind::Config, "{url:?}");
        }
    }

    #[test]
    fn a_branch_is_what_git_takes_for_one() {
        for name in ["master", "release/1.2", "it,s@a#1=b", "é"] {
            assert!(good().branch(name).build().is_ok(), "{name:?}");
        }
        let bad =
            "- -x a..b a/ /a a//b .a a/.b a.lock a.lock/b a@{b @ HEAD a~b a^b a:b a*b a?b a[b a\\b a. $(id) a;b 'a";
        for name in bad.split(' ').chain(["", "a b", "a\nb", "a\0b"]) {
            assert!(good().branch(name).build().is_err(), "{name:?}");
        }
    }
}
