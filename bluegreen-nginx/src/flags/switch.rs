//! Replacing the link, and seeing nginx follow.

use std::time::Duration;

use bluegreen_core::host::Script;
use bluegreen_core::{Error, ErrorKind, Result, Slot, Split};
use tokio::time::{Instant, sleep};

use super::observe::{self, Seen};
use crate::server::Server;

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Replaces the link, if it still stands for `from`; false if not. Removes it where `to` is `None`.
pub(super) async fn switch(server: &Server, from: Option<Split>, to: Option<Split>) -> Result<bool> {
    let state = server.config.state_directory_path();
    let name = |split: Option<Split>| split.map(observe::name_of).unwrap_or_default();
    let (expected, wanted) = (name(from), name(to));
    let count = to.map_or(0, |split| split.share(Slot::Green)).to_string();
    let script = Script::new("switch the flags", include_str!("../scripts/switch_flags.sh"));
    let reply = server.run(script.args([state, expected, wanted, count])).await?;
    match reply.word() {
        "switched" => Ok(true),
        "foreign" | "changed" => Ok(false),
        _ => Err(reply.unexpected()),
    }
}

/// Waits until nginx does what the link says.
pub(super) async fn confirm(server: &Server, to: Split) -> Result<()> {
    let (start, limit) = (Instant::now(), server.config.confirm_deadline);
    loop {
        if observe::is_followed(server, to).await.is_ok_and(|followed| followed) {
            return Ok(());
        }
        if start.elapsed() > limit {
            let error = Error::new(ErrorKind::Timeout, format!("nginx did not follow the flags within {limit:?}"));
            return Err(match observe::look(server).await?.agreed() {
                Ok(now) => {
                    error.with("now", now.map_or_else(|| "nothing routed".to_owned(), |split| split.to_string()))
                }
                Err(why) => error.with_source(why),
            });
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Puts the old link back after a switch that was not confirmed, and says whether that is how it is now.
pub(super) async fn take_back(server: &Server, from: Option<Split>, to: Split, error: Error) -> Error {
    let back = switch(server, Some(to), from).await;
    let seen = match back {
        Ok(true) => observe::await_consistent(server).await.and_then(Seen::agreed),
        Ok(false) => return error.maybe_applied(),
        Err(undo) => Err(undo),
    };
    match seen {
        Ok(now) if now == from => error.not_applied(),
        Ok(_) => error.maybe_applied(),
        Err(undo) => error.maybe_applied().with_hint(format!("that the old split is back is not certain: {undo}")),
    }
}
