//! Getting a release's commit to the server.

use std::time::Duration;

use bluegreen_core::{Error, ErrorKind, Host, LocalHost, Output, Reason, Result, Secret, Slot, Target, changed_file};

use super::script::{self, Reply};
use super::{GitRuntime, Settings};

/// How many lines of what git said an error shows.
const LINES_IN_ERROR: usize = 15;

impl GitRuntime {
    pub(super) async fn prepare_commit(&self, target: &Target, commit: &str) -> Result<()> {
        let there = self.set_up(target.slot, Some((target, commit))).await?;
        if let Some(known) = there.get("version") {
            return match known == commit {
                true => Ok(()),
                false => Err(self.other_commit(target, commit, known)),
            };
        }
        if there.get("received").is_none() {
            self.push(target.slot, there.rest(), commit).await.map_err(Error::not_applied)?;
        }
        self.accept(target, commit).await
    }

    /// The commit of a release, by the repository on this machine.
    pub(super) async fn resolve(&self, target: &Target) -> Result<String> {
        let Settings { repository, .. } = &*self.settings;
        let revision = target.release.setting("commit").unwrap_or_default();
        let host = LocalHost::new();
        let unfiltered = self.settings.unfiltered.join(" ");
        let script = script::here(&self.settings, script::RESOLVE);
        let script = script.args([target.version().as_str(), revision, &unfiltered]);
        let reply = script::run(&script, &host).await?;
        let error = match reply.word() {
            "commit" => return Ok(reply.rest().to_owned()),
            "git" => Error::new(ErrorKind::NotFound, "there is no git on this machine").with_hint("install git"),
            "repository" => Error::new(ErrorKind::NotFound, format!("it is no repository: {}", reply.rest())),
            "missing" => {
                let what = match revision {
                    "" => format!("no tag, branch or commit is called {}", target.version()),
                    revision => format!("no commit is called {revision:?}"),
                };
                let tags = reply.get("tags").map(str::trim).filter(|tags| !tags.is_empty()).unwrap_or("none");
                Error::new(ErrorKind::NotFound, what).with("newest tags", tags).with_hint(
                    "is it fetched? `git fetch --tags`; or name the commit: Release::with_setting(\"commit\", ..)",
                )
            }
            "submodule" => Error::new(ErrorKind::Unsupported, format!("the commit has a submodule, {}", reply.rest()))
                .with_hint("a push does not bring submodules: commit the files themselves, or fetch them in a command"),
            "filter" => {
                let (filter, path) = reply.rest().split_once(' ').unwrap_or((reply.rest(), ""));
                let message =
                    format!("git filters {path} by {filter:?} when it is checked out, and stores something else");
                Error::new(ErrorKind::Unsupported, message).with_hint(format!(
                    "a push brings what is stored (a pointer of LFS, or what is encrypted): commit the files themselves; or, \
                     where the server has the filter, or its stored form is what is to be served, say unfiltered({filter:?})"
                ))
            }
            _ => reply.unexpected(),
        };
        Err(error.not_applied().with("repository", repository.display()))
    }

    /// Makes what is missing on the server, and says what is there of a version.
    pub(super) async fn set_up(&self, slot: Slot, wanted: Option<(&Target, &str)>) -> Result<Reply> {
        let server = self.settings.server(slot);
        let (version, commit) = wanted.map_or(("", ""), |(target, commit)| (target.version().as_str(), commit));
        let script = self
            .script(slot, script::SETUP, Duration::ZERO)
            .args([version, commit])
            .stdin(script::hook(&self.settings, slot).into_bytes());
        let reply = script::run(&script, &*server.host).await?;
        let error = match reply.word() {
            "ready" => return Ok(reply),
            "missing" => Error::new(ErrorKind::Unsupported, format!("there is no `{}` on the server", reply.rest()))
                .with_hint("install it there: `apt-get install git`; flock comes with util-linux"),
            "hook" => Error::new(ErrorKind::Conflict, "the repository has a post-receive hook that is not ours")
                .with("hook", reply.rest())
                .with_hint("move it away, or let the setup do that with take_over; what it does can go into `run`"),
            "changed" => return Err(changed(&reply, &*server.host)),
            "closed" => {
                let message =
                    format!("the user of the login cannot write in {}, where the web root is to be", reply.rest());
                Error::new(ErrorKind::Unauthorized, message)
                    .with_hint("as root there, make it (`mkdir -p`) and give it to that user (`chown`); or let the web server serve another path")
            }
            "taken" => script::taken(&reply),
            "kept" => {
                let message =
                    format!("what is at the web root cannot be kept as {}, which is there already", reply.rest());
                Error::new(ErrorKind::Conflict, message).with_hint("it was taken over before: move one of them away")
            }
            "dirty" => {
                let files = reply.after("log").join(", ");
                let message = format!("files of version {} were changed on the server: {files}", reply.rest());
                Error::new(ErrorKind::Conflict, message)
                    .with_hint("commit what is worth keeping; `force` deploys without it (the files stay for a while)")
            }
            _ => reply.unexpected(),
        };
        Err(error.not_applied().with("host", &server.host))
    }

    /// Refuses to lose what others have put into the hook. `hook` is the one to be; an empty one is none of theirs.
    pub(super) async fn preview_changes(&self, slot: Slot, hook: String) -> Result<()> {
        let host = &*self.settings.server(slot).host;
        let script = self.script(slot, script::PREVIEW, Duration::ZERO).stdin(hook.into_bytes());
        let reply = script::run(&script, host).await?;
        match reply.word() {
            "fine" => Ok(()),
            "changed" => Err(changed(&reply, host)),
            _ => Err(reply.unexpected()),
        }
    }

    async fn push(&self, slot: Slot, directory: &str, commit: &str) -> Result<()> {
        let remote = &self.settings.server(slot).remote;
        let url = remote.url(directory);
        let ssh = remote.ssh()?;
        let command = script::here(&self.settings, script::PUSH)
            .args([url.as_str(), commit])
            .command()
            .env("GIT_SSH_COMMAND", Secret::new(ssh.text.as_str()));
        let host = LocalHost::new();
        let output = host.run(&command).await?;
        match output.success() {
            true => Ok(()),
            false => Err(refused(&output).with_operation("git push").with("to", url)),
        }
    }

    async fn accept(&self, target: &Target, commit: &str) -> Result<()> {
        let host = &self.settings.server(target.slot).host;
        let script = self.script(target.slot, script::ACCEPT, Duration::ZERO).args([target.version().as_str(), commit]);
        let reply = script::run(&script, &**host).await?;
        let branch = &self.settings.branch;
        let error = match reply.word() {
            "ready" => return Ok(()),
            "present" => return Err(self.other_commit(target, commit, reply.rest())),
            "missing" => Error::new(ErrorKind::Conflict, "the commit is gone from the server again").retryable(true),
            "diverged" => {
                let (tip, count) = reply.rest().split_once(' ').unwrap_or((reply.rest(), "?"));
                let message = format!("{branch} on the server has {count} commits that this release has not");
                Error::new(ErrorKind::Conflict, message)
                    .with("there", tip)
                    .with("here", commit)
                    .with_hint("merge them, or, if the history was rewritten on purpose, deploy once with `force`")
            }
            _ => reply.unexpected(),
        };
        Err(error.not_applied().with("host", host))
    }

    fn other_commit(&self, target: &Target, ours: &str, theirs: &str) -> Error {
        Error::new(ErrorKind::Conflict, format!("version {} is on the server with another commit", target.version()))
            .with_reason(Reason::OtherContent)
            .not_applied()
            .with("commit here", ours)
            .with("commit there", theirs)
            .with("host", &self.settings.server(target.slot).host)
            .with_hint("a version is never used again: was the tag moved? give the new commit a new one")
    }
}

fn changed(reply: &Reply, host: &dyn Host) -> Error {
    changed_file("hook", reply.rest(), host, reply.after("log").iter().map(|line| line.trim_end().to_owned()))
        .with_hint("what it does can go into `run`; `force` deploys over it")
}

/// Git says in words alone why it did not push.
fn refused(output: &Output) -> Error {
    use ErrorKind::{Conflict, NotFound, Unauthorized, Unexpected, Unreachable};
    const SAID: &[(&str, ErrorKind, &str)] = &[
        (
            "Host key verification failed",
            Unauthorized,
            "the server's host key is not the recorded one: see above, and compare with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the server",
        ),
        ("Permission denied (", Unauthorized, "git's ssh has the keys that the host was given, and no others"),
        ("No space left on device", Unexpected, "the disk of the server is full: `df` there shows which"),
        ("Disk quota exceeded", Unexpected, "the quota of the server's user is used up"),
        ("shallow update not allowed", Conflict, "the repository here is a shallow clone: `git fetch --unshallow`"),
        (
            "git-receive-pack: not found",
            NotFound,
            "install git on the server, where a login without a terminal finds it",
        ),
        ("would send it elsewhere", Conflict, "remove that url.insteadOf from git's configuration"),
        ("Could not resolve hostname", Unreachable, "is the name right?"),
        ("Connection refused", Unreachable, "does sshd run on that port?"),
        ("Connection timed out", Unreachable, "is a firewall in between?"),
        ("Connection closed", Unreachable, "try again"),
        ("Connection reset", Unreachable, "try again"),
    ];
    let said = output.last_words(LINES_IN_ERROR);
    match SAID.iter().find(|(words, _, _)| said.contains(words)) {
        Some((_, kind, advice)) => Error::new(*kind, said).with_hint(*advice),
        None => Error::new(Unexpected, said),
    }
}
