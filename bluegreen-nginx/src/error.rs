//! The errors of the libraries below, each turned into the workspace's error in one place.

use bluegreen_core::{Error, ErrorKind};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the site cannot be rendered")]
    Template(#[source] minijinja::Error),
    #[error("the HTTP client cannot be set up")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("nginx did not answer")]
    Request(#[source] reqwest::Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let kind = match &failure {
            Failure::Request(error) if error.is_timeout() => ErrorKind::Timeout,
            Failure::Request(error) if error.is_connect() => ErrorKind::Unreachable,
            _ => ErrorKind::Unexpected,
        };
        let message = failure.to_string();
        let source: Box<dyn std::error::Error + Send + Sync> = match failure {
            Failure::Template(error) => Box::new(error),
            Failure::Client(error) => error,
            // The URL is part of the context already.
            Failure::Request(error) => Box::new(error.without_url()),
        };
        Error::new(kind, message).not_applied().because(source)
    }
}
