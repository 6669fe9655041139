//! [`Park`]: what becomes of a slot without a share.

use crate::command::State;

/// What HAProxy is told of the servers of a slot that has no share of the traffic.
///
/// In both states requests and connections that a server has are left alone, and are counted as in flight until they end. They
/// differ in what comes later from a client that *stickiness* (a cookie, a stick table) binds to such a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Park {
    /// `maint`: no request at all. A client that is bound to such a server is given another one by its next request. HAProxy's own
    /// checks of these servers pause; when they get a share again, HAProxy takes them as up and checks them at once. The default,
    /// because only then does a shift of all traffic move all clients.
    ///
    /// `on-marked-down shutdown-sessions` would cut off what is in flight: such a backend is for [`Drain`](Self::Drain).
    #[default]
    Maintenance,
    /// `drain`: no share, and clients that are bound to a server stay with it, until their binding ends. HAProxy's checks go
    /// on, and a shift to a slot that they hold down is refused before anything is changed.
    Drain,
}

impl Park {
    pub(crate) fn state(self) -> State {
        match self {
            Self::Maintenance => State::Maintenance,
            Self::Drain => State::Drain,
        }
    }
}
