//! The one error type of the workspace: what was tried, on what, what came back, what to do.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure an [`Error`] is; callers branch on this, never on the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request or the configuration is wrong; nothing was tried.
    Config,
    /// Something that was named does not exist.
    NotFound,
    /// Someone else holds it, changed it first, or it is there already.
    Conflict,
    /// Credentials were refused, or a host key did not match.
    Unauthorized,
    /// The other side could not be reached.
    Unreachable,
    /// It took longer than it was allowed to.
    Timeout,
    /// It answered, and the answer says that it is not well.
    Unhealthy,
    /// This adapter cannot do that.
    Unsupported,
    /// Stored data cannot be trusted.
    Corrupt,
    /// It was cancelled on request.
    Cancelled,
    /// Anything else: a command that failed, an answer nobody expected.
    Unexpected,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config => "configuration error",
            Self::NotFound => "not found",
            Self::Conflict => "conflict",
            Self::Unauthorized => "unauthorized",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timed out",
            Self::Unhealthy => "unhealthy",
            Self::Unsupported => "unsupported",
            Self::Corrupt => "corrupt",
            Self::Cancelled => "cancelled",
            Self::Unexpected => "unexpected",
        })
    }
}

/// Why something was refused or failed, where callers have something to decide by it. [`Error::reason`] gives it.
///
/// A deploy job may, for example, take [`AlreadyLive`](Self::AlreadyLive) for a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// The version has the traffic already.
    AlreadyLive,
    /// The version is up in the idle slot already, and waits for its promotion.
    AlreadyStaged,
    /// The version is kept in the idle slot for a rollback.
    AlreadyRetained,
    /// Both slots get traffic.
    TrafficDivided,
    /// Another deployer holds the lease.
    LeaseHeld,
    /// This deployer held the lease, and does not hold it any more.
    LeaseLost,
    /// An operation's process died, and nobody has recovered from it yet.
    Unfinished,
    /// A contract phase has run: the release before it cannot live with the data any more.
    ContractHasRun,
    /// Nothing is staged.
    NothingStaged,
    /// There is no release to go back to.
    NothingToRollBackTo,
    /// The release to go back to is not healthy.
    RollbackTargetUnhealthy,
    /// The version is present with other content.
    OtherContent,
    /// Somebody else changed it in the meantime.
    ChangedElsewhere,
    /// It belongs to another service.
    OtherService,
}

/// Whether the failed call may have changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It is certain that nothing changed, or that the former state is back.
    NotApplied,
    /// It may have happened. The caller must look before it acts again.
    Unknown,
}

/// An error of any part of the workspace.
///
/// `Display` prints one level (what was tried, what came back, where, and what to do about it);
/// [`source`](StdError::source) carries the rest, and [`Error::chain`] prints it all.
///
/// ```
/// use bluegreen_core::{Effect, Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Unreachable, "connection refused")
///     .with_operation("reload nginx")
///     .with("host", "web1")
///     .not_applied()
///     .with_hint("is nginx running? `systemctl status nginx` on web1 tells");
/// assert_eq!(error.effect(), Effect::NotApplied);
/// assert!(error.to_string().starts_with("reload nginx: connection refused (host: web1)"));
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    effect: Effect,
    reason: Option<Reason>,
    retryable: bool,
    tried: Option<Cow<'static, str>>,
    message: Cow<'static, str>,
    context: Vec<(&'static str, String)>,
    advice: Option<Cow<'static, str>>,
    source: Option<Box<dyn StdError + Send + Sync>>,
    attachment: Option<Box<dyn Any + Send + Sync>>,
}

impl Error {
    /// An error of this kind; `message` says what came back.
    ///
    /// The effect is [`Effect::Unknown`] until [`not_applied`](Self::not_applied) says otherwise, except for
    /// [`ErrorKind::Config`] and [`ErrorKind::Unsupported`], which are raised before anything is tried.
    /// [`ErrorKind::Unreachable`] and [`ErrorKind::Timeout`] are retryable until told otherwise.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            effect: match kind {
                ErrorKind::Config | ErrorKind::Unsupported => Effect::NotApplied,
                _ => Effect::Unknown,
            },
            reason: None,
            retryable: matches!(kind, ErrorKind::Unreachable | ErrorKind::Timeout),
            tried: None,
            message: message.into(),
            context: Vec::new(),
            advice: None,
            source: None,
            attachment: None,
        }))
    }

    /// Shorthand for [`ErrorKind::Config`].
    pub fn config(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// Says why, where callers have something to decide by it.
    #[must_use]
    pub fn with_reason(mut self, reason: Reason) -> Self {
        self.0.reason = Some(reason);
        self
    }

    /// Says what was being done, as an imperative: "reload nginx". The outermost call wins the first place.
    #[must_use]
    pub fn with_operation(mut self, what: impl Into<Cow<'static, str>>) -> Self {
        let what = what.into();
        self.0.tried = Some(match self.0.tried.take() {
            Some(inner) if inner != what => format!("{what}: {inner}").into(),
            _ => what,
        });
        self
    }

    /// Adds a place or a value: `("host", "web1")`. A key that is there already is kept as it is.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        if !self.0.context.iter().any(|(have, _)| *have == key) {
            self.0.context.push((key, value.to_string()));
        }
        self
    }

    /// Says what a person can do about it.
    #[must_use]
    pub fn with_hint(mut self, advice: impl Into<Cow<'static, str>>) -> Self {
        self.0.advice = Some(advice.into());
        self
    }

    /// Marks that certainly nothing changed.
    #[must_use]
    pub fn not_applied(mut self) -> Self {
        self.0.effect = Effect::NotApplied;
        self
    }

    /// Marks that it may have happened all the same.
    #[must_use]
    pub fn maybe_applied(mut self) -> Self {
        self.0.effect = Effect::Unknown;
        self
    }

    /// Marks whether the same call may succeed when it is made again.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Attaches the error underneath. Its text must not be repeated in the message.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Attaches what is known of the operation that failed.
    pub(crate) fn attach(mut self, attachment: impl Any + Send + Sync) -> Self {
        self.0.attachment = Some(Box::new(attachment));
        self
    }

    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Why it was refused or failed, where callers have something to decide by it.
    pub fn reason(&self) -> Option<Reason> {
        self.0.reason
    }

    /// Whether anything may have changed.
    pub fn effect(&self) -> Effect {
        self.0.effect
    }

    /// Whether the same call may succeed when it is made again.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// What was being done, where that was noted.
    pub fn operation(&self) -> Option<&str> {
        self.0.tried.as_deref()
    }

    /// What came back, without its context.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// One value of the context.
    pub fn context(&self, key: &str) -> Option<&str> {
        self.0.context.iter().find(|(have, _)| *have == key).map(|(_, value)| value.as_str())
    }

    /// What was attached, if it is of this type.
    pub(crate) fn attachment<T: Any>(&self) -> Option<&T> {
        self.0.attachment.as_ref()?.downcast_ref()
    }

    /// The context, in the order in which it was added.
    pub(crate) fn place(&self) -> &[(&'static str, String)] {
        &self.0.context
    }

    /// What a person can do about it, where that is known.
    pub fn hint(&self) -> Option<&str> {
        self.0.advice.as_deref()
    }

    /// One line for a report, which has the service, the slot, the log lines and the advice in places of their own.
    pub(crate) fn summary(&self) -> String {
        let mut text = self.what();
        let elsewhere = ["service", "slot", LAST_LINES];
        let place: Vec<_> = self.0.context.iter().filter(|(key, _)| !elsewhere.contains(key)).collect();
        if !place.is_empty() {
            let place: Vec<_> = place.into_iter().map(|(key, value)| format!("{key}: {value}")).collect();
            text.push_str(&format!(" ({})", place.join(", ")));
        }
        for cause in sources(self) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        text
    }

    /// The error of an operation that ended by this one. `message` holds its [`summary`](Self::summary).
    pub(crate) fn ending(&self, message: String) -> Self {
        let mut error = Self::new(self.kind(), message).retryable(self.is_retryable()).maybe_applied();
        error.0.reason = self.0.reason;
        error.0.advice = self.0.advice.clone();
        let elsewhere = ["service", "slot", LAST_LINES];
        error.0.context = self.0.context.iter().filter(|(key, _)| elsewhere.contains(key)).cloned().collect();
        error
    }

    /// What was tried and what came back.
    pub(crate) fn what(&self) -> String {
        match self.operation() {
            Some(tried) => format!("{tried}: {}", self.message()),
            None => self.message().to_owned(),
        }
    }

    /// The whole chain on one line, sources separated by ": ".
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        for cause in sources(self) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        text
    }
}

/// The context that holds the last log lines of what failed. Reports have them in a place of their own.
pub(crate) const LAST_LINES: &str = "last lines";

/// What the errors underneath say, outermost first.
pub(crate) fn sources(error: &Error) -> impl Iterator<Item = String> + '_ {
    let first = error.source();
    std::iter::successors(first, |error: &&(dyn StdError + 'static)| (**error).source()).map(ToString::to_string)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { tried, message, context, advice, .. } = &*self.0;
        if let Some(tried) = tried {
            write!(f, "{tried}: ")?;
        }
        f.write_str(message)?;
        if !context.is_empty() {
            f.write_str(" (")?;
            for (index, (key, value)) in context.iter().enumerate() {
                let comma = if index == 0 { "" } else { ", " };
                write!(f, "{comma}{key}: {value}")?;
            }
            f.write_str(")")?;
        }
        if let Some(advice) = advice {
            write!(f, "; {advice}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}, effect {:?}]", self.chain(), self.0.kind, self.0.effect)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::PermissionDenied => ErrorKind::Unauthorized,
            Io::AlreadyExists | Io::AddrInUse => ErrorKind::Conflict,
            Io::TimedOut => ErrorKind::Timeout,
            Io::ConnectionRefused
            | Io::ConnectionReset
            | Io::ConnectionAborted
            | Io::HostUnreachable
            | Io::NetworkUnreachable
            | Io::NotConnected
            | Io::BrokenPipe => ErrorKind::Unreachable,
            _ => ErrorKind::Unexpected,
        };
        Self::new(kind, "input/output failed").with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_prints_one_level_and_the_chain_prints_all() {
        let io = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "refused");
        let error = Error::from(io).with_operation("connect").with("host", "web1").with("host", "other");
        assert_eq!(error.to_string(), "connect: input/output failed (host: web1)");
        assert_eq!(error.chain(), "connect: input/output failed (host: web1): refused");
        assert!(error.is_retryable());
    }

    #[test]
    fn the_outermost_operation_comes_first() {
        let error = Error::new(ErrorKind::Unexpected, "exit status 1")
            .with_operation("run nginx -t")
            .with_operation("shift traffic");
        assert_eq!(error.to_string(), "shift traffic: run nginx -t: exit status 1");
    }

    #[test]
    fn effect_is_unknown_unless_said_otherwise() {
        assert_eq!(Error::new(ErrorKind::Timeout, "x").effect(), Effect::Unknown);
        assert_eq!(Error::config("x").effect(), Effect::NotApplied);
        assert_eq!(Error::new(ErrorKind::Timeout, "x").not_applied().effect(), Effect::NotApplied);
    }
}
