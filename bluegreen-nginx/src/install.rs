//! Putting a site's file in place, so that nginx has loaded it or the old one is back.

use bluegreen_core::host::{Reply, Script};
use bluegreen_core::{Effect, Error, ErrorKind, Reason, Result, sha256_hex};

use crate::answer::Answer;
use crate::elsewhere;
use crate::reload::{self, Reload, Shows};
use crate::server::Server;
use crate::site::{Site, id_of, is_as_rendered};

const PURPOSE: &str = "install the nginx site";

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Installed {
    /// nginx runs it; or does not read it yet, and it is in its place.
    Yes,
    /// Someone else changed the file since it was read.
    Overtaken,
}

/// How often someone else may change a site between a look and an installation before that is an error.
pub(crate) const ATTEMPTS: u32 = 5;

/// The error of an installation that was overtaken each time.
pub(crate) fn always_overtaken(path: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("the site was changed by someone else {ATTEMPTS} times"))
        .with_reason(Reason::ChangedElsewhere)
        .not_applied()
        .retryable(true)
        .with("site", path)
}

/// A change of one file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change<'a> {
    pub(crate) path: &'a str,
    /// The present text.
    pub(crate) old: Option<&'a str>,
    /// The text to come; `None` removes the file.
    pub(crate) new: Option<&'a str>,
    /// A site that this link does not point to is only stored; with an empty one, nginx reads the file itself.
    pub(crate) link: &'a str,
    /// What the change is made for: see [`before`](crate::before). Empty where it undoes one.
    pub(crate) key: &'a str,
}

/// Replaces a site's file.
pub(crate) async fn install(server: &Server, change: Change<'_>) -> Result<Installed> {
    let Change { path, old, new, link, key } = change;
    let config = &server.config;
    let state = config.state_directory_path();
    let sum = |text: Option<&str>| text.map(sha256_hex).unwrap_or_default();
    let (from, to) = (sum(old), sum(new));
    let log = config.layout.error_log.as_deref().unwrap_or_default();
    let ours = if new.is_some_and(is_as_rendered) { "ours" } else { "" };
    let read_as = if link.is_empty() { path } else { link };
    let script = Script::new(PURPOSE, include_str!("scripts/install_site.sh"))
        .args([&*state, path, &from, &to, link, &config.layout.pid_file, log, key, ours])
        .stdin(new.unwrap_or_default());
    let reply = server.run(script.detached()).await?;
    match reply.word() {
        "changed" => return Ok(Installed::Overtaken),
        "stored" => return Ok(Installed::Yes),
        "foreign" => {
            return Err(about(Error::new(ErrorKind::Conflict, "the site's file is a symbolic link"), server, path)
                .not_applied()
                .with_hint("name the file that it points to"));
        }
        _ => reloaded(&reply, PURPOSE).map_err(|error| about(error, server, path))?,
    }
    let id = new.and_then(id_of);
    let outcome = match id {
        Some(id) => reload::wait(server, &reply, |answer| shows(server, id, answer)).await,
        // Nothing tells a text without a mark from another one.
        None => reload::replaced(server, &reply).await,
    };
    match outcome.map_err(Error::maybe_applied)? {
        Reload::Done => end(server, path, "taken").await.map(|()| Installed::Yes),
        Reload::Refused(reason) => {
            let error = about(refused(reason, PURPOSE), server, path);
            Err(match end(server, path, "refused").await {
                Ok(()) => error.not_applied(),
                Err(undo) => error.with_hint(format!("the old site could not be put back: {undo}")),
            })
        }
        Reload::Late(missing) => match elsewhere::unread(server, read_as, id.unwrap_or_default()).await {
            None => Err(about(late(missing, server, PURPOSE), server, path)),
            Some(error) => Err(withdrawn(server, path, about(error.with_operation(PURPOSE), server, path)).await),
        },
        Reload::Elsewhere(answer) => {
            let error = elsewhere::answers(server, read_as, id.unwrap_or_default(), answer, &reply).await;
            Err(withdrawn(server, path, about(error.with_operation(PURPOSE), server, path)).await)
        }
    }
}

/// The error, after what it is about was put back.
async fn withdrawn(server: &Server, path: &str, error: Error) -> Error {
    match end(server, path, "withdrawn").await {
        Ok(()) => error.not_applied(),
        Err(undo) => error.maybe_applied().with_source(undo.with_operation("put the old site back")),
    }
}

/// Whether every worker of nginx runs the text that the file at `path` holds, and it is this one. An installation that
/// was cut off may be in the middle of its reload, when workers with the old text still take requests now and then: one
/// that was not ended is made again.
pub(crate) async fn is_in_force(server: &Server, path: &str, text: Option<&str>, site: &Site) -> Result<bool> {
    Ok(text == Some(&site.text) && is_loaded(server, path, &site.id).await?)
}

/// Whether every worker of nginx runs the text of this id.
pub(crate) async fn is_loaded(server: &Server, path: &str, id: &str) -> Result<bool> {
    let (open, answer) = tokio::try_join!(is_open(server, path), answer(server))?;
    Ok(!open && is_shown(server, id, answer.as_ref()))
}

/// What nginx answers now; `None` when it does not.
pub(crate) async fn answer(server: &Server) -> Result<Option<Answer>> {
    let line = server.line().await?;
    Ok(server.ask(&line, None).await.ok())
}

/// Whether an answer comes from the text of this id.
pub(crate) fn is_shown(server: &Server, id: &str, answer: Option<&Answer>) -> bool {
    answer.is_some_and(|answer| shows(server, id, answer) == Shows::New)
}

/// Whether an installation was begun and not ended.
pub(crate) async fn is_open(server: &Server, path: &str) -> Result<bool> {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    Ok(server.text(&format!("{directory}/.{name}.previous")).await?.is_some())
}

fn shows(server: &Server, id: &str, answer: &Answer) -> Shows {
    match answer.mark_of(&server.config.service) {
        Some(mark) if mark.site == id => Shows::New,
        Some(_) => Shows::Old,
        None => Shows::Other,
    }
}

async fn end(server: &Server, path: &str, how: &str) -> Result<()> {
    let state = server.config.state_directory_path();
    let script = Script::new(PURPOSE, include_str!("scripts/end_install.sh")).args([&*state, path, how]);
    server.run(script.detached()).await.map(drop)
}

/// That nginx was told to reload, or why not.
pub(crate) fn reloaded(reply: &Reply, purpose: &'static str) -> Result<()> {
    let (what, advice) = match reply.word() {
        "reloaded" => return Ok(()),
        "test-failed" => ("nginx refuses the configuration", "correct the file and the line that nginx names"),
        "reload-failed" => ("nginx could not be told to reload", "is nginx running?"),
        _ => return Err(reply.unexpected()),
    };
    let message = format!("{what}, and what was there before is back:\n{}", reply.said());
    let error = Error::new(ErrorKind::Unexpected, message).not_applied();
    Err(error.with_operation(purpose).with_hint(advice))
}

/// nginx took the order and kept its old configuration.
pub(crate) fn refused(reason: String, purpose: &'static str) -> Error {
    Error::new(ErrorKind::Unexpected, format!("nginx kept its old configuration: {reason}")).with_operation(purpose)
}

/// nginx took the order and did not finish in time.
pub(crate) fn late(missing: String, server: &Server, purpose: &'static str) -> Error {
    let limit = server.config.confirm_deadline;
    let error = Error::new(ErrorKind::Timeout, format!("the reload was not over within {limit:?}: {missing}"));
    debug_assert_eq!(error.effect(), Effect::Unknown);
    error
        .with_operation(purpose)
        .with("pid file", &server.config.layout.pid_file)
        .with_hint("see nginx's error log; repeat it to go on")
}

fn about(error: Error, server: &Server, path: &str) -> Error {
    error.with("site", path).with("host", &server.host)
}
