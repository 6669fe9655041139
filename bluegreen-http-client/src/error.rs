use std::error::Error as StdError;
use std::fmt;

/// Why there is no answer, or no whole one. `Display` is the innermost reason, such as "Connection refused (os error 111)":
/// the outer ones repeat the URL, which may hold a secret.
#[derive(Debug)]
pub struct Error {
    stage: Stage,
    source: Box<dyn StdError + Send + Sync>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Request,
    Connect,
    Exchange,
}

impl Error {
    pub(crate) fn new(stage: Stage, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { stage, source: source.into() }
    }

    /// The request could not be made up: nothing was sent.
    pub fn is_request(&self) -> bool {
        self.stage == Stage::Request
    }

    /// There was no connection: nothing was sent.
    pub fn is_connect(&self) -> bool {
        self.stage == Stage::Connect
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut reason: &dyn StdError = &*self.source;
        while let Some(source) = reason.source() {
            reason = source;
        }
        write!(f, "{reason}")
    }
}

/// Without a source: the innermost one is shown already.
impl StdError for Error {}
