//! What can go wrong inside, and the one place where it becomes an [`Error`] of the workspace.

use bluegreen_core::{Error, ErrorKind};

/// A failure of a connection or of one of its channels.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Refused by us: the error is complete.
    #[error("{0}")]
    Refused(Error),
    #[error("the connection could not be made within {0:?}")]
    ConnectTimeout(std::time::Duration),
    #[error("the connection was lost: {0}")]
    Lost(String),
    #[error(transparent)]
    Protocol(#[from] russh::Error),
}

impl Failure {
    /// Whether the connection is gone, so that a new one may do better.
    pub(crate) fn is_lost(&self) -> bool {
        use russh::Error as Russh;
        match self {
            Self::Lost(_) => true,
            Self::Protocol(error) => matches!(
                error,
                Russh::Disconnect | Russh::HUP | Russh::SendError | Russh::RecvError | Russh::KeepaliveTimeout
            ),
            Self::Refused(_) | Self::ConnectTimeout(_) => false,
        }
    }
}

/// The effect of what comes out is `Unknown`, except where nothing can have been sent: the caller knows better.
impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        use russh::Error as Russh;
        let (kind, advice) = match failure {
            Failure::Refused(error) => return error,
            Failure::ConnectTimeout(_) => {
                (ErrorKind::Timeout, "is the address right, and does a firewall let it pass?")
            }
            Failure::Lost(_) => (ErrorKind::Unreachable, ""),
            Failure::Protocol(Russh::IO(error)) => return from_io(error),
            Failure::Protocol(Russh::NoCommonAlgo { .. }) => {
                (ErrorKind::Unsupported, "the server offers only algorithms that are out of date: update it")
            }
            Failure::Protocol(Russh::ChannelOpenFailure(_)) => (ErrorKind::Unexpected, ""),
            Failure::Protocol(_) => (ErrorKind::Unreachable, ""),
        };
        let error = Error::new(kind, failure.to_string());
        if advice.is_empty() { error } else { error.advice(advice) }
    }
}

fn from_io(error: std::io::Error) -> Error {
    let message = error.to_string();
    let kind = Error::from(error).kind();
    // A name that cannot be resolved has no kind of its own in the standard library.
    let kind = if message.contains("lookup") { ErrorKind::Unreachable } else { kind };
    Error::new(if kind == ErrorKind::Unexpected { ErrorKind::Unreachable } else { kind }, message)
}
