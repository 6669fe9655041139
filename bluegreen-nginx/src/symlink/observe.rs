//! What the link says, what nginx does, and whether it is the same.

use std::time::Duration;

use bluegreen_core::host::Script;
use bluegreen_core::{Error, ErrorKind, Result, Slot};
use tokio::time::{Instant, sleep};

use crate::reload::WITHOUT_WORKERS;
use crate::server::Server;

/// For link and nginx to agree: during a switch they differ until the reload is over.
const AGREE_WITHIN: Duration = Duration::from_secs(2);

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Answers that must be the same: while a reload is going on, old and new ones alternate.
const SAME_ANSWERS: u32 = 3;

/// What was seen.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) link: Link,
    pub(super) nginx: Nginx,
    /// A switch was begun and not seen to its end.
    pub(super) open: bool,
}

/// What the link says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Link {
    Absent,
    /// It leads to this slot's site, by this target.
    Slot(Slot, String),
    Elsewhere(String),
}

/// What nginx says.
#[derive(Debug)]
pub(super) enum Nginx {
    Slot(Slot),
    /// Something else answers: this.
    Other(String),
    /// Different answers one after the other.
    Alternating,
    Silent(Error),
}

impl Seen {
    /// The slot that nginx routes to and the link says.
    pub(super) fn agreed(self, server: &Server) -> Result<Option<Slot>> {
        match (&self.link, self.nginx) {
            (Link::Absent, Nginx::Other(_) | Nginx::Silent(_)) => Ok(None),
            (Link::Slot(link, _), Nginx::Slot(nginx)) if *link == nginx => Ok(Some(nginx)),
            (Link::Slot(..), Nginx::Silent(error)) => Err(error),
            (link, nginx) => Err(drifted(server, link, &nginx)),
        }
    }

    /// The slot that nginx routes to, whatever the link says.
    pub(super) fn routed(&self, server: &Server) -> Result<Option<Slot>> {
        match (&self.link, &self.nginx) {
            (_, Nginx::Slot(slot)) => Ok(Some(*slot)),
            (_, Nginx::Other(_)) | (Link::Absent, Nginx::Silent(_)) => Ok(None),
            (_, Nginx::Silent(error)) => {
                Err(Error::new(error.kind(), error.message().to_owned()).not_applied().with("host", &server.host))
            }
            (link, Nginx::Alternating) => Err(drifted(server, link, &self.nginx)),
        }
    }
}

fn drifted(server: &Server, link: &Link, nginx: &Nginx) -> Error {
    let link = match link {
        Link::Absent => "nothing is routed".to_owned(),
        Link::Slot(slot, _) => slot.to_string(),
        Link::Elsewhere(target) => format!("`{target}`, which is neither slot's site"),
    };
    let nginx = match nginx {
        Nginx::Slot(slot) => slot.to_string(),
        Nginx::Other(answer) => answer.clone(),
        Nginx::Alternating => "now one slot and now the other".to_owned(),
        Nginx::Silent(error) => error.message().to_owned(),
    };
    Error::new(ErrorKind::Conflict, format!("the link says {link}, and nginx says {nginx}"))
        .not_applied()
        .with("link", server.config.link_path())
        .with_hint("the next reload will follow the link: point it to the slot that shall be live, and reload nginx")
}

/// Looks until link and nginx agree, or have disagreed for [`AGREE_WITHIN`]. After a switch that was cut off they must
/// agree for a while: its reload may still be going on.
pub(super) async fn await_consistent(server: &Server) -> Result<Seen> {
    let (start, mut agreed_since) = (Instant::now(), None);
    loop {
        let (link, open) = look_at_link(server).await?;
        let seen = Seen { link, open, nginx: ask(server).await? };
        let agreed = match (&seen.link, &seen.nginx) {
            (Link::Absent, Nginx::Other(_)) | (_, Nginx::Silent(_)) => true,
            (Link::Slot(link, _), Nginx::Slot(nginx)) => link == nginx,
            _ => false,
        };
        let since = *agreed_since.get_or_insert_with(Instant::now);
        match agreed {
            true if !open || since.elapsed() >= WITHOUT_WORKERS => return Ok(seen),
            true => {}
            false if start.elapsed() > AGREE_WITHIN => return Ok(seen),
            false => agreed_since = None,
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn ask(server: &Server) -> Result<Nginx> {
    let line = server.line().await?;
    let mut first = None;
    for _ in 0..SAME_ANSWERS {
        let answer = match server.ask(&line, None).await {
            Ok(answer) => answer,
            Err(error) => return Ok(Nginx::Silent(error)),
        };
        // Sites that the user wrote have no mark; another service's mark is another service's site.
        let unmarked = server.config.own_files && answer.mark.is_none();
        let ours = unmarked || answer.mark_of(&server.config.service).is_some();
        let slot = answer.slot.filter(|_| ours);
        match first {
            None => first = Some((slot, answer)),
            Some((before, _)) if before != slot => return Ok(Nginx::Alternating),
            Some(_) => {}
        }
    }
    Ok(match first {
        Some((Some(slot), _)) => Nginx::Slot(slot),
        Some((None, answer)) => Nginx::Other(answer.describe()),
        None => Nginx::Alternating,
    })
}

async fn look_at_link(server: &Server) -> Result<(Link, bool)> {
    let config = &server.config;
    let [blue, green] = Slot::BOTH.map(|slot| config.slot_file_path(slot));
    let script = Script::new("read the link", include_str!("../scripts/look_link.sh")).read_only();
    let reply = server.run(script.args([config.state_directory_path(), config.link_path(), blue, green])).await?;
    match reply.word() {
        "absent" => return Ok((Link::Absent, false)),
        "foreign" => return Ok((Link::Elsewhere("a file or a directory of that name".to_owned()), false)),
        _ => {}
    }
    let Some(target) = reply.get("link") else { return Err(reply.unexpected().not_applied()) };
    let file = reply.get("file").filter(|file| !file.is_empty());
    let slot = Slot::BOTH.into_iter().find(|slot| file.is_some() && reply.get(slot.as_str()) == file);
    let link = match slot {
        Some(slot) => Link::Slot(slot, target.to_owned()),
        None => Link::Elsewhere(target.to_owned()),
    };
    Ok((link, reply.get("open").is_some()))
}
