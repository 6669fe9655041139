//! The shell scripts that run on a server: one for each step, so that a step is one round trip.

use std::net::IpAddr;
use std::time::Duration;

use bluegreen_core::host::Script;
use bluegreen_core::{Ownership, Result};

use super::lingering::Lingering;
use super::server::VipServer;

const LIBRARY: &str = include_str!("scripts/lib.sh");
const ANNOUNCER: &str = include_str!("scripts/announce.py");

/// For one script: they take a tenth of a second.
const TIMEOUT: Duration = Duration::from_secs(20);

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
    fn operation(self) -> &'static str {
        match self {
            Self::Look => "look for the address",
            Self::Check(_) => "check that the server can take the address and give it up",
            Self::Take => "take the address",
            Self::Release(_) => "give the address up",
            Self::Confirm => "confirm the address",
        }
    }

    fn body(self) -> &'static str {
        match self {
            Self::Look => include_str!("scripts/look.sh"),
            Self::Check(_) => include_str!("scripts/check.sh"),
            Self::Take => include_str!("scripts/take.sh"),
            Self::Release(_) => include_str!("scripts/release.sh"),
            Self::Confirm => include_str!("scripts/confirm.sh"),
        }
    }

    fn script(self) -> Script {
        let script = Script::new(self.operation(), self.body()).library(LIBRARY).timeout(TIMEOUT);
        match self {
            Self::Look => script.read_only(),
            Self::Take | Self::Confirm => script.variable("announcer", ANNOUNCER),
            Self::Check(Lingering::Reset) | Self::Release(Lingering::Reset) => script.variable("lingering", "reset"),
            Self::Check(Lingering::Leave) | Self::Release(Lingering::Leave) => script.variable("lingering", "leave"),
        }
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
    let (host, mark) = (&*server.host, server.mark_of(&address.to_string()));
    let script = purpose
        .script()
        .variable("address", &address.to_string())
        .variable("interface", &server.interface.to_string())
        .variable("mark", &mark)
        .variable("service", ownership.service().map_or("", |service| service.as_str()))
        // A look needs no rights.
        .sudo(sudo && !matches!(purpose, Purpose::Look));
    let reply = script.run(host).await?;
    if !reply.said().is_empty() {
        tracing::warn!(%host, %address, "{}: {}", purpose.operation(), reply.said());
    }
    let owner = reply.rest();
    let checked = ownership.check(Some(owner), address);
    checked.map_err(|error| error.with_operation(purpose.operation()).with("mark", mark))?;
    let state = match reply.word() {
        "absent" | "released" => State::Absent,
        "candidate" | "taken" => State::Candidate,
        "held" | "confirmed" | "ready" => State::Held,
        _ => return Err(reply.unexpected()),
    };
    Ok(Report { state, ours: !owner.is_empty() })
}
