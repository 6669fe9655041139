//! Everything that can be wrong with a call, and what it means for whoever made it.

use std::time::Duration;

use bluegreen_core::{Error, ErrorKind};
use bluegreen_http_client::StatusCode;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// The call could not be made up.
    #[error("{0}")]
    Config(Error),
    /// No connection: it never left.
    #[error("no connection: {0}")]
    Unconnected(String),
    /// It left, and no whole answer came back.
    #[error("the answer was lost: {0}")]
    Lost(String),
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
    /// The API said no, in its own words.
    #[error("{status}, {code}: {message}{}", request.as_ref().map(|id| format!(" (request {id})")).unwrap_or_default())]
    Refused { status: StatusCode, code: String, message: String, request: Option<String> },
    /// Somebody in between said no.
    #[error("{what}")]
    TurnedAway { status: StatusCode, what: String },
    #[error("over the rate limit for another {} s: {said}", wait.as_secs())]
    Limited { wait: Duration, said: String },
    #[error("{status} to {host}; a redirect is never followed with a token")]
    Redirected { status: StatusCode, host: String },
    /// Neither JSON nor a refusal.
    #[error("{0}")]
    Nonsense(String),
}

impl Trouble {
    /// The API's own word for the error, if this is its status.
    pub(crate) fn refused_with(&self, wanted: u16) -> Option<(&str, &str)> {
        match self {
            Self::Refused { status, code, message, .. } if *status == wanted => Some((code, message)),
            _ => None,
        }
    }

    /// The API's own word for the error.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Whether the answer says nothing about what was asked: a look is repeated then.
    pub(crate) fn says_nothing(&self) -> bool {
        match self {
            Self::Unconnected(_) | Self::Lost(_) | Self::Late(_) | Self::Nonsense(_) => true,
            Self::Refused { status, .. } => status.is_server_error() && *status != StatusCode::NOT_IMPLEMENTED,
            Self::Config(_) | Self::TurnedAway { .. } | Self::Limited { .. } | Self::Redirected { .. } => false,
        }
    }

    /// Whether a change that was asked for may have been made all the same.
    pub(crate) fn may_be_applied(&self) -> bool {
        match self {
            Self::Lost(_) | Self::Late(_) | Self::Nonsense(_) => true,
            // Hetzner does not tell what a service of its own had done when it failed.
            Self::Refused { code, .. } if code == "service_error" => true,
            Self::Refused { status, .. } => status.is_server_error() || *status == StatusCode::REQUEST_TIMEOUT,
            Self::Config(_)
            | Self::Unconnected(_)
            | Self::TurnedAway { .. }
            | Self::Limited { .. }
            | Self::Redirected { .. } => false,
        }
    }

    /// The error of a call that only looked.
    pub(crate) fn looking(self, what: impl Into<String>, advice: &'static str) -> Error {
        self.error(what, advice).not_applied()
    }

    /// The error of a call that asked for a change.
    pub(crate) fn asking(self, what: impl Into<String>, advice: &'static str) -> Error {
        let unknown = self.may_be_applied();
        let error = self.error(what, advice);
        if unknown { error.maybe_applied() } else { error.not_applied() }
    }

    fn error(self, what: impl Into<String>, on_denial: &'static str) -> Error {
        let (kind, advice) = match (&self, self.code().and_then(by_code)) {
            (_, Some((kind, advice))) => (kind, Some(advice)),
            (Self::Config(_), _) => (ErrorKind::Config, None),
            (Self::Unconnected(_) | Self::Lost(_), _) => (ErrorKind::Unreachable, None),
            (Self::Late(_) | Self::Limited { .. }, _) => (ErrorKind::Timeout, None),
            (Self::Refused { status, .. } | Self::TurnedAway { status, .. }, _) => match status.as_u16() {
                401 => (ErrorKind::Unauthorized, Some("is the token right, and not expired?")),
                403 => (ErrorKind::Unauthorized, Some(on_denial)),
                404 | 410 => (ErrorKind::NotFound, None),
                409 | 412 | 423 => (ErrorKind::Conflict, None),
                500.. => (ErrorKind::Unreachable, None),
                _ => (ErrorKind::Unexpected, None),
            },
            (Self::Redirected { .. }, _) => (ErrorKind::Unexpected, Some("is the API's address right?")),
            (Self::Nonsense(_), _) => (ErrorKind::Unexpected, None),
        };
        // A limit that is worth waiting for was waited for already.
        let error = Error::new(kind, self.to_string())
            .with_operation(what.into())
            .retryable(self.says_nothing() || self.code() == Some(MAINTENANCE));
        match advice {
            Some(advice) => error.with_hint(advice),
            None => error,
        }
    }
}

/// Hetzner's word for an API that takes no changes for a while.
pub(crate) const MAINTENANCE: &str = "maintenance";

/// What a word of Hetzner's means, where its status alone would mislead: a 403 is not always the token's fault.
fn by_code(code: &str) -> Option<(ErrorKind, &'static str)> {
    Some(match code {
        "token_readonly" => (ErrorKind::Unauthorized, "the token may only read: use one that may read and write"),
        MAINTENANCE => (ErrorKind::Unhealthy, "try again when the provider's status page says that it is over"),
        "resource_limit_exceeded" => {
            (ErrorKind::Unexpected, "the project's limit is reached: remove what is not used, or have the limit raised")
        }
        "resolve_cloud_public_targets_error" => (
            ErrorKind::Config,
            "the server has no public IPv4 address: name an IPv6 address of it with `reached_at`, or use the private network",
        ),
        "resolve_cloud_private_targets_error" => {
            (ErrorKind::Config, "attach the server to the network of the load balancer")
        }
        "ip_not_assigned_to_server" => (ErrorKind::Config, "name an address of this server with `reached_at`"),
        _ => return None,
    })
}

impl From<bluegreen_http_client::Error> for Trouble {
    fn from(error: bluegreen_http_client::Error) -> Self {
        let reason = error.to_string();
        if error.is_connect() || error.is_request() { Self::Unconnected(reason) } else { Self::Lost(reason) }
    }
}
