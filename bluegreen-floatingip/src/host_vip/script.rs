//! The shell scripts that run on a server: one for each step, so that a step is one round trip.

use std::net::IpAddr;
use std::time::Duration;

use bluegreen_core::{Command, Error, ErrorKind, Ownership, Result};

use super::lingering::Lingering;
use super::server::VipServer;

const LIBRARY: &str = include_str!("scripts/lib.sh");
const ANNOUNCER: &str = include_str!("scripts/announce.py");

/// For one script: they take a tenth of a second.
const LIMIT: Duration = Duration::from_secs(20);

/// What a script is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    Look,
    Check(Lingering),
    Take,
    Release(Lingering),
    Confirm,
}

/// Whether a server has the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Absent,
    /// It has, and the move to it is not complete.
    Candidate,
    Held,
}

impl Purpose {
    fn body(self) -> &'static str {
        match self {
            Self::Look => include_str!("scripts/look.sh"),
            Self::Check(_) => include_str!("scripts/check.sh"),
            Self::Take => include_str!("scripts/take.sh"),
            Self::Release(_) => include_str!("scripts/release.sh"),
            Self::Confirm => include_str!("scripts/confirm.sh"),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Look => "look for the address",
            Self::Check(_) => "check that the server can take the address and give it up",
            Self::Take => "take the address",
            Self::Release(_) => "give the address up",
            Self::Confirm => "confirm the address",
        }
    }

    fn argument(self) -> &'static str {
        match self {
            Self::Look => "",
            Self::Check(Lingering::Reset) | Self::Release(Lingering::Reset) => "reset",
            Self::Check(Lingering::Leave) | Self::Release(Lingering::Leave) => "leave",
            Self::Take | Self::Confirm => ANNOUNCER,
        }
    }

    fn command(self, address: IpAddr, server: &VipServer, service: &str) -> Command {
        let (address, interface) = (address.to_string(), server.interface.to_string());
        let mark = server.mark_of(&address);
        let words = [address, interface, self.argument().to_owned(), mark, service.to_owned()];
        Command::script(format!("{LIBRARY}\n{}", self.body())).args(words).timeout(LIMIT)
    }
}

/// What a script says of the address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Report {
    pub(super) state: State,
    /// It is marked, and not as another service's.
    pub(super) ours: bool,
}

/// Runs one, and refuses the address where the server has it marked as another service's.
pub(super) async fn run(
    server: &VipServer,
    address: IpAddr,
    ownership: &Ownership,
    purpose: Purpose,
    sudo: bool,
) -> Result<Report> {
    let host = &*server.host;
    let service = ownership.service().map_or("", |service| service.as_str());
    // A look needs no rights.
    let sudo = sudo && !matches!(purpose, Purpose::Look);
    let command = purpose.command(address, server, service).sudo(sudo);
    let output = host.run(&command).await.map_err(|error| error.with_operation(purpose.words()))?;
    let said = output.error_text();
    if !output.success() {
        let message = if said.is_empty() { output.ending() } else { said };
        return Err(Error::new(ErrorKind::Unexpected, message).with_operation(purpose.words()));
    }
    if !said.is_empty() {
        tracing::warn!(%host, %address, "{}: {said}", purpose.words());
    }
    let text = output.text();
    let (word, mark) = text.split_once(' ').unwrap_or((&text, ""));
    let checked = ownership.check(Some(mark), address);
    checked
        .map_err(|error| error.with_operation(purpose.words()).with("mark", server.mark_of(&address.to_string())))?;
    let state = match word {
        "absent" | "released" => State::Absent,
        "candidate" | "taken" => State::Candidate,
        "held" | "confirmed" | "ready" => State::Held,
        _ => {
            let message = format!("the script answered {text:?}");
            return Err(Error::new(ErrorKind::Unexpected, message).with_operation(purpose.words()));
        }
    };
    Ok(Report { state, ours: !mark.is_empty() })
}
