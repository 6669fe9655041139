//! What can go wrong inside, and the one place where it becomes an [`Error`] of the workspace.

use bluegreen_core::{Error, ErrorKind};
use russh::AlgorithmKind;

/// A failure of a connection or of one of its channels.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Refused by us: the error is complete.
    #[error("{0}")]
    Refused(Error),
    #[error("the connection could not be made within {0:?}")]
    ConnectTimeout(std::time::Duration),
    #[error("the server closed the connection before it let anyone in")]
    Unwelcome,
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
            Self::Refused(_) | Self::ConnectTimeout(_) | Self::Unwelcome => false,
        }
    }

    /// Whether the other end has broken it off.
    pub(crate) fn is_cut_off(&self) -> bool {
        use std::io::ErrorKind as Io;
        match self {
            Self::Protocol(russh::Error::IO(error)) => {
                matches!(error.kind(), Io::UnexpectedEof | Io::ConnectionReset | Io::BrokenPipe)
            }
            failure => failure.is_lost(),
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
            Failure::Unwelcome => (
                ErrorKind::Unreachable,
                "does it let too many others in at the moment (MaxStartups), or shut this address out for a while \
                 (PerSourcePenalties, fail2ban)? Is it an SSH server?",
            ),
            Failure::Lost(_) => (ErrorKind::Unreachable, ""),
            Failure::Protocol(Russh::IO(error)) => return from_io(error),
            Failure::Protocol(Russh::NoCommonAlgo { kind, ours, theirs }) => {
                return nothing_in_common(kind, &ours, &theirs);
            }
            Failure::Protocol(Russh::ChannelOpenFailure(_)) => (ErrorKind::Unexpected, ""),
            Failure::Protocol(_) => (ErrorKind::Unreachable, ""),
        };
        let error = Error::new(kind, failure.to_string());
        if advice.is_empty() { error } else { error.with_hint(advice) }
    }
}

fn nothing_in_common(kind: AlgorithmKind, ours: &[String], theirs: &[String]) -> Error {
    let (what, setting) = match kind {
        AlgorithmKind::Kex => ("key exchange", "KexAlgorithms"),
        AlgorithmKind::Key => ("type of host key", "HostKeyAlgorithms"),
        AlgorithmKind::Cipher => ("cipher", "Ciphers"),
        AlgorithmKind::Mac => ("MAC", "MACs"),
        AlgorithmKind::Compression => ("compression", "Compression"),
    };
    let real = |names: &[String]| {
        let real = names.iter().filter(|name| !name.starts_with("ext-info-") && !name.starts_with("kex-strict-"));
        real.cloned().collect::<Vec<_>>()
    };
    let (ours, theirs) = (real(ours), real(theirs));
    let advice = if theirs.iter().all(|name| is_out_of_date(name)) {
        format!("it offers only what is out of date: update it, or allow one of ours there ({setting} in sshd_config)")
    } else {
        format!("allow one of ours on the server ({setting} in sshd_config)")
    };
    Error::new(ErrorKind::Unsupported, format!("the server offers no {what} that we have"))
        .with("it offers", theirs.join(", "))
        .with("we have", ours.join(", "))
        .with_hint(advice)
}

/// Whether OpenSSH does not use it any more unless told to, because it can be broken.
fn is_out_of_date(name: &str) -> bool {
    let broken = ["-sha1", "-md5", "-cbc", "arcfour", "ssh-dss", "3des", "umac-64", "hmac-ripemd"];
    name == "ssh-rsa" || broken.iter().any(|part| name.contains(part)) || name.starts_with("hmac-sha1")
}

fn from_io(error: std::io::Error) -> Error {
    let message = error.to_string();
    let kind = Error::from(error).kind();
    // A name that cannot be resolved has no kind of its own in the standard library.
    let kind = if message.contains("lookup") { ErrorKind::Unreachable } else { kind };
    Error::new(if kind == ErrorKind::Unexpected { ErrorKind::Unreachable } else { kind }, message)
}
