//! What the link says, what nginx does, and whether it is the same.

use std::time::Duration;

use bluegreen_core::host::{Script, quote};
use bluegreen_core::{Error, ErrorKind, Result, Slot, Split};
use tokio::time::{Instant, sleep};

use crate::answer::{Answer, Green};
use crate::server::{ProbeConnection, Server};

/// For link and nginx to agree: while someone switches, they are read at different moments.
const AGREE_WITHIN: Duration = Duration::from_secs(1);

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The directory of a split's flags.
pub(super) fn name_of(split: Split) -> String {
    format!("green-{}", split.share(Slot::Green))
}

/// What was seen.
#[derive(Debug)]
pub(super) enum Seen {
    /// nginx does what the link says.
    Agreed(Option<Split>),
    /// The link says this, and some of its flags are wrong.
    Damaged(Split, Error),
    /// nginx does something else than the link says.
    Drifted(Error),
    /// nginx does not answer.
    Unreachable(Error),
}

impl Seen {
    pub(super) fn agreed(self) -> Result<Option<Split>> {
        match self {
            Self::Agreed(split) => Ok(split),
            Self::Damaged(_, error) | Self::Drifted(error) | Self::Unreachable(error) => Err(error),
        }
    }
}

/// Looks until link and nginx agree, or have disagreed for [`AGREE_WITHIN`].
pub(super) async fn await_consistent(server: &Server) -> Result<Seen> {
    let start = Instant::now();
    loop {
        let seen = look(server).await?;
        match seen {
            Seen::Damaged(..) | Seen::Drifted(_) if start.elapsed() < AGREE_WITHIN => sleep(LOOK_EVERY).await,
            _ => return Ok(seen),
        }
    }
}

/// Looks once.
pub(super) async fn look(server: &Server) -> Result<Seen> {
    let ask = async {
        let line = server.line().await?;
        // The border of a whole split is known before the split is: asked for at once, it is no round trip more.
        let asked = tokio::join!(server.ask(&line, None), server.ask(&line, Some(0)), server.ask(&line, Some(99)));
        Ok((line, asked))
    };
    let (link, (line, (answer, first, last))) = tokio::try_join!(look_at_link(server), ask)?;
    let answer = match answer {
        Ok(answer) => answer,
        // Before the first deploy, nginx need not listen there at all.
        Err(_) if matches!(link, Link::Absent) => return Ok(Seen::Agreed(None)),
        Err(error) => return Ok(Seen::Unreachable(error)),
    };
    let path = server.config.flag_link_path();
    let drifted = |nginx: String, advice: &'static str| {
        let error =
            Error::new(ErrorKind::Conflict, format!("the link says {}, and nginx says {nginx}", link.describe()));
        Seen::Drifted(error.not_applied().with("link", &path).with_hint(advice))
    };
    let Some(mark) = answer.mark_of(&server.config.service) else {
        return Ok(match link {
            Link::Absent => Seen::Agreed(None),
            _ => drifted(answer.describe(), "nginx has not loaded the site, or another site has its server name"),
        });
    };
    let percent = match (&link, mark.green) {
        (Link::Absent, Green::Nothing) => return Ok(Seen::Agreed(None)),
        (Link::Percent { percent, .. }, Green::Percent(seen)) if *percent == seen => seen,
        (Link::Percent { .. }, Green::Nothing) => {
            return Ok(drifted("nothing is routed".into(), "can nginx's workers enter the directory?"));
        }
        (_, Green::Nothing) => {
            return Ok(drifted("nothing is routed".into(), "remove the link, or point it to a share"));
        }
        (_, Green::Percent(seen)) => {
            return Ok(drifted(format!("{seen} % green"), "does its site name this directory?"));
        }
        (_, Green::Unknown) => {
            return Ok(drifted("something unknown".into(), "point the link to a share, like green-0"));
        }
    };
    let split = Split::toward(Slot::Green, percent)?;
    let flags = if let Link::Percent { flags, .. } = link { flags } else { 0 };
    let damage = match percent {
        _ if flags != u32::from(percent) => Ok(Some(format!("{flags} flags are there"))),
        0 => first.map(|answer| misdirected(&answer, 0, Slot::Blue)),
        100 => last.map(|answer| misdirected(&answer, 99, Slot::Green)),
        _ => wrong_border(server, &line, percent).await,
    };
    Ok(match damage {
        Ok(None) => Seen::Agreed(Some(split)),
        Ok(Some(what)) => {
            let error = Error::new(ErrorKind::Conflict, format!("the link says {}, and {what}", link.describe()));
            let root = if server.config.commands.sudo { " as root" } else { "" };
            let advice = format!("to repair the flags, run on the host{root}: {}", repair(server, split));
            Seen::Damaged(split, error.not_applied().with("host", &server.host).with("link", &path).with_hint(advice))
        }
        Err(error) => Seen::Unreachable(error),
    })
}

/// A command that makes the flags of a split what they should be. At no moment is a request sent to blue for a flag that
/// is there already.
fn repair(server: &Server, split: Split) -> String {
    let flags = quote(&format!("{}/{}", server.config.state_directory_path(), name_of(split)));
    let count = split.share(Slot::Green);
    format!(
        "cd {flags} && n=0 && while [ $n -lt 100 ]; do f=$(printf %02d $n); \
         if [ $n -lt {count} ]; then : >> $f; else rm -f $f; fi; n=$((n + 1)); done"
    )
}

/// Who gets the last bucket of green and the first of blue, if it is not them.
async fn wrong_border(server: &Server, line: &ProbeConnection, percent: u8) -> Result<Option<String>> {
    let wrong = async |bucket: Option<u8>, slot: Slot| {
        let Some(bucket) = bucket else { return Ok::<_, Error>(None) };
        Ok(misdirected(&server.ask(line, Some(bucket)).await?, bucket, slot))
    };
    let (last, first) = (percent.checked_sub(1), Some(percent).filter(|bucket| *bucket < 100));
    let (green, blue) = tokio::try_join!(wrong(last, Slot::Green), wrong(first, Slot::Blue))?;
    Ok(green.or(blue))
}

/// What is wrong with the answer to a request of this bucket, which this slot should get.
fn misdirected(answer: &Answer, bucket: u8, slot: Slot) -> Option<String> {
    let said = answer.slot.map_or_else(|| answer.describe(), |slot| slot.to_string());
    (answer.slot != Some(slot)).then(|| format!("nginx sends bucket {bucket} to {said} in place of {slot}"))
}

/// Whether nginx does this now. The link is not looked at.
pub(super) async fn is_followed(server: &Server, split: Split) -> Result<bool> {
    let (line, percent) = (server.line().await?, split.share(Slot::Green));
    let (answer, wrong) = tokio::try_join!(server.ask(&line, None), wrong_border(server, &line, percent))?;
    let sees = answer.mark_of(&server.config.service).is_some_and(|mark| mark.green == Green::Percent(percent));
    Ok(sees && wrong.is_none())
}

/// What the link says.
#[derive(Debug)]
enum Link {
    Absent,
    Percent { percent: u8, flags: u32 },
    Elsewhere(String),
}

impl Link {
    fn describe(&self) -> String {
        match self {
            Self::Absent => "nothing is routed".to_owned(),
            Self::Percent { percent, .. } => format!("{percent} % green"),
            Self::Elsewhere(target) => format!("`{target}`, which is no share"),
        }
    }
}

async fn look_at_link(server: &Server) -> Result<Link> {
    let state = server.config.state_directory_path();
    let script = Script::new("read the flags", include_str!("../scripts/look_flags.sh")).read_only();
    let reply = server.run(script.arg(state)).await?;
    match reply.word() {
        "absent" => return Ok(Link::Absent),
        "foreign" => return Ok(Link::Elsewhere("a file or a directory of that name".to_owned())),
        _ => {}
    }
    let (Some(target), Some(flags)) = (reply.get("link"), reply.get("flags")) else {
        return Err(reply.unexpected().not_applied());
    };
    let percent =
        target.strip_prefix("green-").and_then(|number| number.parse().ok()).filter(|number: &u8| *number <= 100);
    match (percent, flags.parse()) {
        // A name that we would not write, like `green-07`, is not taken for one of ours.
        (Some(percent), Ok(flags)) if target == format!("green-{percent}") => Ok(Link::Percent { percent, flags }),
        _ => Ok(Link::Elsewhere(target.to_owned())),
    }
}
