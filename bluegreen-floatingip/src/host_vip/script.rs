//! The shell scripts that run on a server: one for each step, so that a step is one round trip.

use std::net::IpAddr;
use std::time::Duration;

use bluegreen_core::{Command, Error, ErrorKind, Host, Result};

use super::Lingering;
use super::interface::Interface;

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

    fn command(self, address: IpAddr, interface: &Interface) -> Command {
        let words = [address.to_string(), interface.to_string(), self.argument().to_owned()];
        Command::script(format!("{LIBRARY}\n{}", self.body())).args(words).timeout(LIMIT)
    }
}

/// Runs one, and tells what it says of the address.
pub(super) async fn run(
    host: &dyn Host,
    address: IpAddr,
    interface: &Interface,
    purpose: Purpose,
    sudo: bool,
) -> Result<State> {
    // A look needs no rights.
    let sudo = sudo && !matches!(purpose, Purpose::Look);
    let command = purpose.command(address, interface).sudo(sudo);
    let output = host.run(&command).await.map_err(|error| error.trying(purpose.words()))?;
    let said = output.error_text();
    if !output.success() {
        let message = if said.is_empty() { output.ending() } else { said };
        return Err(Error::new(ErrorKind::Unexpected, message).trying(purpose.words()));
    }
    if !said.is_empty() {
        tracing::warn!(%host, %address, "{}: {said}", purpose.words());
    }
    match output.text().as_str() {
        "absent" | "released" => Ok(State::Absent),
        "candidate" | "taken" => Ok(State::Candidate),
        "held" | "confirmed" | "ready" => Ok(State::Held),
        other => {
            Err(Error::new(ErrorKind::Unexpected, format!("the script answered {other:?}")).trying(purpose.words()))
        }
    }
}
