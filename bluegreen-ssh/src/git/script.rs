//! The shell scripts that do the work, here and on the servers: each is one round trip.

use std::time::Duration;

pub(super) use bluegreen_core::host::Reply;
use bluegreen_core::host::{Script, quote};
use bluegreen_core::{Error, ErrorKind, Host, Result, Slot};

use super::settings::Settings;

pub(super) const SETUP: Script = on_server("set up the repository", include_str!("scripts/setup.sh"));
pub(super) const PREVIEW: Script = on_server("look what others have changed", include_str!("scripts/preview.sh"));
pub(super) const ACCEPT: Script = on_server("accept a commit", include_str!("scripts/accept.sh"));
pub(super) const TURN: Script = on_server("ask for a turn", include_str!("scripts/turn.sh"));
pub(super) const START: Script = on_server("deploy a version", include_str!("scripts/start.sh"));
pub(super) const STOP: Script = on_server("empty the web root", include_str!("scripts/stop.sh"));
pub(super) const INSPECT: Script = on_server("look at the web root", include_str!("scripts/inspect.sh"));
pub(super) const LOGS: Script = on_server("read the log", include_str!("scripts/logs.sh"));

/// Those for the repository on this machine.
pub(super) const RESOLVE: Script =
    Script::new("find the commit", include_str!("scripts/resolve.sh")).library(include_str!("scripts/stored.sh"));
pub(super) const PUSH: Script = Script::new("git push", include_str!("scripts/push.sh"));

/// What git runs after a push by hand.
const HOOK: Script = Script::new("deploy what was pushed", include_str!("scripts/hook.sh")).library(concat!(
    include_str!("../scripts/lib.sh"),
    "\n",
    include_str!("scripts/lib.sh"),
    "\n",
    include_str!("scripts/deploy.sh"),
    "\n",
    include_str!("scripts/stored.sh")
));

const fn on_server(operation: &'static str, body: &'static str) -> Script {
    Script::new(operation, body).library(concat!(
        include_str!("../scripts/lib.sh"),
        "\n",
        include_str!("scripts/lib.sh"),
        "\n",
        include_str!("scripts/deploy.sh")
    ))
}

/// What a script may take beyond the time that it is given: for its lock and its disk.
const MARGIN: Duration = Duration::from_secs(120);

/// When a script is ended that is given this much time.
pub(super) fn limit(patience: Duration) -> Duration {
    patience.saturating_add(MARGIN)
}

/// A script for a slot's server, with its directory as the first argument.
pub(super) fn in_slot(settings: &Settings, slot: Slot, script: Script, patience: Duration) -> Script {
    with_settings(settings, slot, script).arg(&settings.server(slot).directory).timeout(limit(patience))
}

/// A script for the repository on this machine, with its path as the first argument.
pub(super) fn here(settings: &Settings, script: Script) -> Script {
    script.arg(settings.repository.display().to_string()).timeout(limit(settings.deadline))
}

/// The hook that deploys what is pushed by hand: the same scripts, whole in one file.
pub(super) fn hook(settings: &Settings, slot: Slot) -> String {
    let about = "# Written by bluegreen-ssh, and again at each deploy, which is refused while it holds anything else.";
    format!("#!/bin/sh\n{about}\n{}", with_settings(settings, slot, HOOK).text())
}

fn with_settings(settings: &Settings, slot: Slot, script: Script) -> Script {
    let server = settings.server(slot);
    let flag = |set: bool| if set { "yes" } else { "" };
    // It is given to another shell as one of its arguments.
    let stop = settings.stop.as_deref().map(quote).unwrap_or_default();
    let commands = settings.commands.iter().map(|command| format!("\nrun \"$release\" {} || return 1", quote(command)));
    script
        .variable("slot", slot.as_str())
        .variable("branch", &settings.branch)
        .variable("web_root", server.web_root.as_deref().unwrap_or_default())
        .variable("keep", &settings.keep_releases.to_string())
        .variable("unfiltered", &settings.unfiltered.join(" "))
        .variable("force", flag(settings.force))
        .variable("take_over", flag(settings.take_over))
        .variable("deny_force", if settings.force { "false" } else { "true" })
        .variable("restart_by", settings.restart.as_deref().unwrap_or_default())
        .variable("stop_by", &stop)
        .function("commands", &format!(":{}", commands.collect::<String>()))
}

/// Runs a script to its end.
///
/// # Errors
/// As [`Script::run`], with what to do about a disk that is full.
pub(super) async fn run(script: &Script, host: &dyn Host) -> Result<Reply> {
    script.run(host).await.map_err(|error| match error.message().contains(DISK_FULL) {
        true => error.with_hint(FREE_THE_DISK),
        false => error,
    })
}

const DISK_FULL: &str = "No space left on device";
const FREE_THE_DISK: &str = "the disk is full: `df` shows which; keep_releases says how many releases stay on it";

/// An error about a command of the service that failed, with the last lines of its log.
pub(super) fn failed(what: &str, reply: &Reply) -> Error {
    let lines: String = reply.after("log").iter().map(|line| format!("\n  {line}")).collect();
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
