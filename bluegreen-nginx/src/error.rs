//! The errors of the libraries below, each turned into the workspace's error in one place.

use std::time::Duration;

use bluegreen_core::{Error, ErrorKind};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the site cannot be rendered")]
    Template(#[source] minijinja::Error),
    #[error("nginx cannot be asked there: {0}")]
    Url(String),
    #[error("nginx did not answer")]
    Request(#[from] bluegreen_http_client::Error),
    #[error("nginx did not answer within {} s", .0.as_secs())]
    Late(Duration),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let kind = match &failure {
            Failure::Late(_) => ErrorKind::Timeout,
            Failure::Request(error) if error.is_connect() => ErrorKind::Unreachable,
            _ => ErrorKind::Unexpected,
        };
        let message = failure.to_string();
        let error = Error::new(kind, message).not_applied();
        match failure {
            Failure::Template(source) => error.with_source(source),
            Failure::Request(source) => error.with_source(source),
            Failure::Url(_) | Failure::Late(_) => error,
        }
    }
}
