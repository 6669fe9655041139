//! The switch: link, test, reload, and the certainty that it is over.

use bluegreen_core::host::{Reply, Script};
use bluegreen_core::{Error, ErrorKind, Reason, Result, Split, split_changed};

use super::observe::{self, Link};
use crate::answer::Answer;
use crate::elsewhere;
use crate::install::{late, refused, reloaded};
use crate::reload::{self, Reload, Shows};
use crate::server::Server;

const PURPOSE: &str = "switch the link";

pub(super) async fn shift(server: &Server, from: Option<Split>, to: Split) -> Result<()> {
    let Some(slot) = to.sole() else {
        return Err(Error::new(ErrorKind::Unsupported, format!("this router cannot divide traffic: {to}"))
            .with_hint("use `NginxRouter`, which can"));
    };
    let seen = observe::await_consistent(server).await?;
    let target = match &seen.link {
        Link::Slot(_, target) => target.clone(),
        Link::Absent => String::new(),
        Link::Elsewhere(_) => return seen.agreed(server).map(drop),
    };
    let routed = seen.routed(server)?;
    if routed == Some(slot) && !seen.open && matches!(&seen.link, Link::Slot(link, _) if *link == slot) {
        return Ok(());
    }
    // A link that disagrees with nginx is from a switch that was cut off, or made by hand: what nginx does counts, and
    // this switch makes both the same.
    if routed.map(Split::all) != from && routed != Some(slot) {
        return Err(split_changed(from, routed.map(Split::all)));
    }

    let config = &server.config;
    let wanted = config.slot_file_path(slot);
    has_addresses(server, slot, &wanted).await?;
    let back = routed.map(|slot| config.slot_file_path(slot)).unwrap_or_default();
    let (state, link) = (config.state_directory_path(), config.link_path());
    let log = config.layout.error_log.as_deref().unwrap_or_default();
    let script = Script::new(PURPOSE, include_str!("../scripts/switch_link.sh")).args([
        &*state,
        &link,
        &target,
        &wanted,
        &back,
        &config.layout.pid_file,
        log,
    ]);
    let reply = server.run(script.detached()).await?;
    if matches!(reply.word(), "foreign" | "changed") {
        // Someone else was first; if they want the same, all is well. It may have been a switch that was cut off: then it is
        // this one's to end.
        let seen = observe::await_consistent(server).await?;
        let open = seen.open;
        return match seen.agreed(server)? {
            Some(now) if now == slot && open => Box::pin(shift(server, from, to)).await,
            Some(now) if now == slot => Ok(()),
            now => Err(split_changed(from, now.map(Split::all))),
        };
    }
    if reply.word() == "missing" {
        let error = Error::new(ErrorKind::NotFound, format!("{slot} has no site yet")).not_applied();
        return Err(error.with("site", wanted).with_hint("attach the slot first, or write its site"));
    }
    reloaded(&reply, PURPOSE)?;
    let shows = |answer: &Answer| match (answer.slot, answer.mark_of(&config.service)) {
        // A site of the user's own has no mark.
        (_, None) if !config.own_files || answer.mark.is_some() => Shows::Other,
        (Some(now), _) if now == slot => Shows::New,
        (Some(_), _) => Shows::Old,
        (None, _) => Shows::Other,
    };
    let end = async |how: &str| {
        let script = Script::new(PURPOSE, include_str!("../scripts/end_switch.sh"));
        server.run(script.args([&*state, &link, &wanted, &back, how]).detached()).await
    };
    match reload::wait(server, &reply, shows).await.map_err(Error::maybe_applied)? {
        Reload::Done => match end("taken").await? {
            reply if reply.word() == "ended" => Ok(()),
            _ => Err(Error::new(ErrorKind::Conflict, "the link was changed by someone else during the switch")
                .with_reason(Reason::ChangedElsewhere)),
        },
        Reload::Late(missing) => match elsewhere::unread(server, &link, "").await {
            None => Err(late(missing, server, PURPOSE)),
            Some(error) => Err(withdrawn(error, end("withdrawn").await)),
        },
        Reload::Elsewhere(answer) => {
            let error = elsewhere::answers(server, &link, "", answer, &reply).await;
            Err(withdrawn(error, end("withdrawn").await))
        }
        Reload::Refused(reason) => {
            let error = refused(reason, PURPOSE);
            Err(match end("refused").await {
                Ok(reply) if reply.word() == "ended" => error.not_applied(),
                Ok(_) => error.with_hint("the link was changed by someone else meanwhile"),
                Err(undo) => error.with_hint(format!("the link could not be put back: {undo}")),
            })
        }
    }
}

/// The error, after the link was put back.
fn withdrawn(error: Error, undone: Result<Reply>) -> Error {
    let error = error.with_operation(PURPOSE);
    match undone {
        Ok(reply) if reply.word() == "ended" => error.not_applied(),
        Ok(_) => error.maybe_applied().with("link", "changed by someone else meanwhile"),
        Err(undo) => error.maybe_applied().with_source(undo.with_operation("put the link back")),
    }
}

/// Refuses to send traffic to a slot that nginx knows no address of. A site of the user's own is the user's business.
async fn has_addresses(server: &Server, slot: bluegreen_core::Slot, path: &str) -> Result<()> {
    if server.config.own_files {
        return Ok(());
    }
    let text = server.site(path).await?;
    if text.is_some() && server.known(text.as_deref()).of(slot).is_empty() {
        return Err(Error::new(ErrorKind::NotFound, format!("nothing is attached to {slot}")).not_applied());
    }
    Ok(())
}
