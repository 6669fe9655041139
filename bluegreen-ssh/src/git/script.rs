//! The shell scripts that do the work, here and on the servers: each is one round trip.

use std::time::Duration;

use bluegreen_core::host::quote;
use bluegreen_core::{Command, Error, ErrorKind, Host, Result, Slot};

use super::settings::Settings;
pub(super) use crate::reply::Reply;

const COMMON: &str = include_str!("../scripts/lib.sh");
const LIBRARY: &str = concat!(include_str!("scripts/lib.sh"), "\n", include_str!("scripts/deploy.sh"));
const STORED: &str = include_str!("scripts/stored.sh");
const HOOK: &str = include_str!("scripts/hook.sh");

/// A script of ours, and what it does in a few words.
#[derive(Clone, Copy)]
pub(super) struct Body {
    does: &'static str,
    text: &'static str,
}

pub(super) const SETUP: Body = Body { does: "set up the repository", text: include_str!("scripts/setup.sh") };
pub(super) const PREVIEW: Body =
    Body { does: "look what others have changed", text: include_str!("scripts/preview.sh") };
pub(super) const ACCEPT: Body = Body { does: "accept a commit", text: include_str!("scripts/accept.sh") };
pub(super) const TURN: Body = Body { does: "ask for a turn", text: include_str!("scripts/turn.sh") };
pub(super) const START: Body = Body { does: "deploy a version", text: include_str!("scripts/start.sh") };
pub(super) const STOP: Body = Body { does: "empty the web root", text: include_str!("scripts/stop.sh") };
pub(super) const INSPECT: Body = Body { does: "look at the web root", text: include_str!("scripts/inspect.sh") };
pub(super) const LOGS: Body = Body { does: "read the log", text: include_str!("scripts/logs.sh") };

const RESOLVE: Body = Body { does: "find the commit", text: include_str!("scripts/resolve.sh") };
const PUSH: Body = Body { does: "git push", text: include_str!("scripts/push.sh") };

/// What a script may take beyond the time that it is given: for its lock and its disk.
const MARGIN: Duration = Duration::from_secs(120);

/// When a script is ended that is given this much time.
pub(super) fn limit(patience: Duration) -> Duration {
    patience.saturating_add(MARGIN)
}

/// A script for a slot's server, with its directory as the first argument.
pub(super) fn on_server(settings: &Settings, slot: Slot, body: Body, patience: Duration) -> Command {
    Command::script(format!("{}{COMMON}\n{LIBRARY}\n{}", words(settings, slot), body.text))
        .called(body.does)
        .arg(&settings.server(slot).directory)
        .timeout(limit(patience))
}

/// A script for the repository on this machine, with its path as the first argument.
fn here(settings: &Settings, body: Body) -> Command {
    Command::script(format!("{COMMON}\n{STORED}\n{}", body.text))
        .called(body.does)
        .arg(settings.repository.display().to_string())
        .timeout(limit(settings.deadline))
}

pub(super) fn resolve(settings: &Settings) -> Command {
    here(settings, RESOLVE)
}

pub(super) fn push(settings: &Settings) -> Command {
    here(settings, PUSH)
}

/// The hook that deploys what is pushed by hand: the same scripts, whole in one file.
pub(super) fn hook(settings: &Settings, slot: Slot) -> String {
    let about = "# Written by bluegreen-ssh, and again at each deploy, which is refused while it holds anything else.";
    format!("#!/bin/sh\n{about}\n{}{COMMON}\n{LIBRARY}\n{STORED}\n{HOOK}", words(settings, slot))
}

fn words(settings: &Settings, slot: Slot) -> String {
    let server = settings.server(slot);
    let flag = |set: bool| if set { "yes" } else { "" };
    // It is given to another shell as one of its arguments.
    let stop = settings.stop.as_deref().map(quote).unwrap_or_default();
    let words = [
        ("slot", slot.as_str()),
        ("branch", &settings.branch),
        ("web_root", server.web_root.as_deref().unwrap_or_default()),
        ("keep", &settings.keep_releases.to_string()),
        ("unfiltered", &settings.unfiltered.join(" ")),
        ("force", flag(settings.force)),
        ("take_over", flag(settings.take_over)),
        ("deny_force", if settings.force { "false" } else { "true" }),
        ("restart_by", settings.restart.as_deref().unwrap_or_default()),
        ("stop_by", &stop),
    ];
    let words: String = words.iter().map(|(name, value)| format!("{name}={}\n", quote(value))).collect();
    let commands = settings.commands.iter().map(|command| format!("run \"$release\" {} || return 1\n", quote(command)));
    format!("{words}commands() {{\n:\n{}}}\n", commands.collect::<String>())
}

/// Runs a script to its end.
///
/// # Errors
/// As [`crate::reply::run`], with what to do about a disk that is full.
pub(super) async fn run(host: &dyn Host, command: &Command) -> Result<Reply> {
    crate::reply::run(host, command).await.map_err(|error| match error.message().contains(DISK_FULL) {
        true => error.with_hint(FREE_THE_DISK),
        false => error,
    })
}

const DISK_FULL: &str = "No space left on device";
const FREE_THE_DISK: &str = "the disk is full: `df` shows which; keep_releases says how many releases stay on it";

/// An error about a command of the service that failed, with the last lines of its log.
pub(super) fn failed(what: &str, reply: &Reply) -> Error {
    let lines: String = reply.log().iter().map(|line| format!("\n  {line}")).collect();
    let lines = if lines.is_empty() { " none".to_owned() } else { lines };
    let error = Error::new(ErrorKind::Unexpected, format!("{what}. The last lines of the log:{lines}"));
    if lines.contains(DISK_FULL) { error.with_hint(FREE_THE_DISK) } else { error }
}

/// An error about a web root that we must not replace.
pub(super) fn taken(reply: &Reply) -> Error {
    Error::new(ErrorKind::Conflict, format!("{} is there, and not made by a deploy", reply.rest()))
        .not_applied()
        .with_hint(
            "move it away; or let the web server serve another path; or, to have it kept beside, set `take_over` and \
             call `setup`",
        )
}
