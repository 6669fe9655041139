//! [`Command`]: what is said on the runtime socket. Nowhere else does text become a command.

use std::net::SocketAddr;

use crate::name::Name;
use crate::token::Token;

/// The administrative state of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Ready,
    Drain,
    Maintenance,
}

/// One command about one backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    SetAddress(Name, SocketAddr),
    SetWeight(Name, u16),
    SetState(Name, State),
    ShowServers,
    /// The backend and its servers, with their counters.
    ShowStat,
    /// What this connection may do.
    ShowLevel,
    /// Needed on each connection that sets a variable.
    Experimental,
    /// Takes the lock if nobody has it.
    TakeLock(Token),
    ShowLock,
    /// Takes the lock away from this holder: once, whoever else tries it too. The holder gives it back in the same way, so that
    /// it never takes it away from who came after it.
    TakeLockFrom(Token),
    /// Forgets that the lock was taken from this holder.
    Forget(Token),
}

impl Command {
    /// The text for the socket.
    pub(crate) fn text(&self, backend: &Name) -> String {
        match self {
            Self::SetAddress(server, address) => {
                format!("set server {backend}/{server} addr {} port {}", address.ip(), address.port())
            }
            Self::SetWeight(server, weight) => format!("set server {backend}/{server} weight {weight}"),
            Self::SetState(server, state) => {
                let state = match state {
                    State::Ready => "ready",
                    State::Drain => "drain",
                    State::Maintenance => "maint",
                };
                format!("set server {backend}/{server} state {state}")
            }
            Self::ShowServers => format!("show servers state {backend}"),
            Self::ShowStat => format!("show stat {backend} 6 -1"),
            Self::ShowLevel => "show cli level".to_owned(),
            Self::Experimental => "experimental-mode on".to_owned(),
            // The conditions are HAProxy's own: where one does not hold, what stands behind it is not done either.
            Self::TakeLock(token) => format!("{ASIDE} str({token}),set-var({},ifnotset)", lock_of(backend)),
            Self::ShowLock => format!("get var {}", lock_of(backend)),
            Self::TakeLockFrom(token) => {
                let lock = lock_of(backend);
                format!("{ASIDE} str(over),set-var({lock}_over_{token},ifnotset),unset-var({lock})")
            }
            Self::Forget(token) => format!("{ASIDE} str(over),unset-var({}_over_{token})", lock_of(backend)),
        }
    }

    /// Whether HAProxy's answer says that it was done.
    pub(crate) fn is_done(&self, answer: &str) -> bool {
        match self {
            Self::SetAddress(..) => answer.starts_with("IP changed from") || answer.starts_with("no need to change"),
            Self::SetWeight(..) | Self::SetState(..) => answer.is_empty(),
            _ => true,
        }
    }
}

/// A variable has to be set for the sake of the one that is meant.
const ASIDE: &str = "set var proc.bluegreen_aside";

/// The process-wide variable that is the lock of a backend. Names that differ in punctuation share one, which costs a wait at most.
fn lock_of(backend: &Name) -> String {
    let plain = backend.as_str().replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
    format!("proc.bluegreen_lock_{plain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_one_line_of_haproxys_language() {
        let backend = Name::new("backend", "be-shop").unwrap();
        let blue = Name::new("server", "blue1").unwrap();
        for (command, text) in [
            (
                Command::SetAddress(blue.clone(), "[::1]:4000".parse().unwrap()),
                "set server be-shop/blue1 addr ::1 port 4000",
            ),
            (Command::SetWeight(blue.clone(), 90), "set server be-shop/blue1 weight 90"),
            (Command::SetState(blue, State::Maintenance), "set server be-shop/blue1 state maint"),
            (Command::ShowStat, "show stat be-shop 6 -1"),
            (Command::ShowLock, "get var proc.bluegreen_lock_be_shop"),
        ] {
            assert_eq!(command.text(&backend), text);
        }
    }
}
