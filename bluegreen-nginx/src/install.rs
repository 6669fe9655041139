//! Putting a site's file in place, so that nginx has loaded it or the old one is back.

use bluegreen_core::{Effect, Error, ErrorKind, Result};

use crate::reload::{self, Reload};
use crate::script::{Reply, Script};
use crate::server::Server;
use crate::site::{Site, digest};

const PURPOSE: &str = "install the nginx site";

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Installed {
    /// nginx runs it; or does not read it yet, and it is in its place.
    Yes,
    /// Someone else changed the file since it was read.
    Overtaken,
}

/// Replaces the site at `path`, of which `old` is the present text. With a `link`, a site that it does not point to is
/// only stored.
pub(crate) async fn install(
    server: &Server,
    path: &str,
    old: Option<&str>,
    site: &Site,
    link: &str,
) -> Result<Installed> {
    let config = &server.config;
    let state = config.state_directory_path();
    let (old, new) = (old.map(|text| digest(text.as_bytes())).unwrap_or_default(), digest(site.text.as_bytes()));
    let log = config.error_log.as_deref().unwrap_or_default();
    let arguments = [&state, path, &old, &new, link, &config.pid_file, log];
    let script = Script::change(PURPOSE, include_str!("scripts/install_site.sh"), &arguments);
    let reply = server.run(script.input(site.text.as_bytes()).detached()).await?;
    if reply.is("changed") {
        return Ok(Installed::Overtaken);
    }
    if reply.is("stored") {
        return Ok(Installed::Yes);
    }
    if reply.is("foreign") {
        return Err(about(Error::new(ErrorKind::Conflict, "the site's file is a symbolic link"), server, path)
            .not_applied()
            .advice("name the file that it points to"));
    }
    reloaded(&reply, PURPOSE).map_err(|error| about(error, server, path))?;
    let outcome = reload::wait(server, &reply, |answer| is_loaded(server, site, answer)).await;
    match outcome.map_err(Error::maybe_applied)? {
        Reload::Done => end(server, path, "taken").await.map(|()| Installed::Yes),
        Reload::Refused(reason) => {
            let error = about(refused(reason, PURPOSE), server, path);
            Err(match end(server, path, "refused").await {
                Ok(()) => error.not_applied(),
                Err(undo) => error.advice(format!("the old site could not be put back: {undo}")),
            })
        }
        Reload::Late(missing) => Err(about(late(missing, server, PURPOSE), server, path)),
    }
}

/// Whether every worker of nginx runs the text that the file at `path` holds, and it is this one. An installation that
/// was cut off may be in the middle of its reload, when workers with the old text still take requests now and then: one
/// that was not ended is made again.
pub(crate) async fn is_in_force(server: &Server, path: &str, text: Option<&str>, site: &Site) -> Result<bool> {
    if text != Some(&site.text) {
        return Ok(false);
    }
    let loaded = async {
        let line = server.line().await?;
        Ok(server.ask(&line, None).await.is_ok_and(|answer| is_loaded(server, site, &answer)))
    };
    let (open, loaded) = tokio::try_join!(is_open(server, path), loaded)?;
    Ok(loaded && !open)
}

async fn is_open(server: &Server, path: &str) -> Result<bool> {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    Ok(server.text(&format!("{directory}/.{name}.previous")).await?.is_some())
}

/// Whether nginx answers with this text loaded.
fn is_loaded(server: &Server, site: &Site, answer: &crate::answer::Answer) -> bool {
    answer.mark_of(&server.config.service).is_some_and(|mark| mark.site == site.id)
}

async fn end(server: &Server, path: &str, how: &str) -> Result<()> {
    let state = server.config.state_directory_path();
    let script = Script::change(PURPOSE, include_str!("scripts/end_install.sh"), &[&state, path, how]);
    server.run(script.detached()).await.map(drop)
}

/// That nginx was told to reload, or why not.
pub(crate) fn reloaded(reply: &Reply, purpose: &'static str) -> Result<()> {
    let failed = |what: &str| Error::new(ErrorKind::Unexpected, format!("{what}:\n{}", reply.said)).not_applied();
    if reply.is("reloaded") {
        Ok(())
    } else if reply.is("test-failed") {
        let error = failed("nginx refuses the configuration, and what was there before is back").trying(purpose);
        Err(error.advice("nginx names the file and the line; nothing was reloaded"))
    } else if reply.is("reload-failed") {
        let error = failed("nginx could not be told to reload, and what was there before is back").trying(purpose);
        Err(error.advice("is nginx running?"))
    } else {
        Err(reply.unexpected(purpose))
    }
}

/// nginx took the order and kept its old configuration.
pub(crate) fn refused(reason: String, purpose: &'static str) -> Error {
    Error::new(ErrorKind::Unexpected, format!("nginx kept its old configuration: {reason}")).trying(purpose)
}

/// nginx took the order and did not finish in time.
pub(crate) fn late(missing: String, server: &Server, purpose: &'static str) -> Error {
    let limit = server.config.confirm_within;
    let error = Error::new(ErrorKind::Timeout, format!("the reload was not over within {limit:?}: {missing}"));
    debug_assert_eq!(error.effect(), Effect::Unknown);
    error.trying(purpose).with("pid file", &server.config.pid_file).advice("see nginx's error log; repeat it to go on")
}

fn about(error: Error, server: &Server, path: &str) -> Error {
    error.with("site", path).with("host", &server.host)
}
