//! What the engine answers, turned into the workspace's error in one place.

use std::time::Duration;

use bluegreen_core::{Error, ErrorKind, Result};
use bollard::errors::Error as EngineError;

/// How long a request may take that the engine answers at once. Generous: an engine under load takes seconds.
const QUICK: Duration = Duration::from_secs(60);

/// Waits for a request that the engine answers at once.
pub(crate) async fn quick<T>(what: &str, request: impl Future<Output = Result<T, EngineError>>) -> Result<T> {
    within(QUICK, what, request).await
}

/// Waits for a request that may take its time.
pub(crate) async fn within<T>(
    limit: Duration,
    what: &str,
    request: impl Future<Output = Result<T, EngineError>>,
) -> Result<T> {
    match tokio::time::timeout(limit, request).await {
        Ok(answer) => answer.map_err(|error| engine_error(error).with_operation(what.to_owned())),
        Err(_) => Err(Error::new(ErrorKind::Timeout, format!("the engine did not answer within {limit:?}"))
            .with_operation(what.to_owned())
            .with_hint("`docker info` on that machine tells whether the engine works")),
    }
}

/// `None` where the engine says that there is no such thing.
pub(crate) fn if_found<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn engine_error(error: EngineError) -> Error {
    match error {
        EngineError::DockerResponseServerError { status_code, message } => {
            let kind = match status_code {
                401 | 403 => ErrorKind::Unauthorized,
                404 => ErrorKind::NotFound,
                409 => ErrorKind::Conflict,
                _ => ErrorKind::Unexpected,
            };
            Error::new(kind, format!("the engine answered {status_code}: {}", message.trim()))
        }
        EngineError::DockerStreamError { error } => {
            Error::new(ErrorKind::Unexpected, format!("the engine said: {}", error.trim()))
        }
        EngineError::RequestTimeoutError => Error::new(ErrorKind::Timeout, "the engine did not answer in time"),
        EngineError::SocketNotFoundError(socket) => {
            Error::new(ErrorKind::Unreachable, "the engine's socket is missing")
                .not_applied()
                .with("socket", socket)
                .with_hint(NOT_RUNNING)
        }
        other if is_denied(&other) => Error::new(ErrorKind::Unauthorized, "this user may not use the engine's socket")
            .not_applied()
            .with_source(other)
            .with_hint("add the user to the group `docker`, or give the address of an engine that it may use"),
        other if is_connection(&other) => Error::new(ErrorKind::Unreachable, "the connection to the engine failed")
            .with_source(other)
            .with_hint(NOT_RUNNING),
        other => Error::new(ErrorKind::Unexpected, "the engine's answer makes no sense").with_source(other),
    }
}

const NOT_RUNNING: &str = "is the engine running? `docker version` on that machine tells";

fn is_connection(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::HyperLegacyError { .. } | EngineError::HyperResponseError { .. } | EngineError::IOError { .. }
    )
}

fn is_denied(error: &EngineError) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::PermissionDenied) {
            return true;
        }
        source = error.source();
    }
    false
}
