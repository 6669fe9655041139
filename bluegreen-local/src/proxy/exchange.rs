//! One request to a slot, one response back, and when it is safe to try again.

use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::client::conn::TrySendError;
use hyper::{Request, Response};

use super::backend::{Backend, Sender};
use super::body::RequestBody;
use super::failure::Failure;

/// How long each part of an exchange may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) connect: Duration,
    pub(super) response: Duration,
}

/// Sends a request and waits for the head of its response. The sender comes back to be used again.
///
/// A connection that was kept can have been closed by the slot in the meantime, and that must not fail a request which
/// a new connection can serve. So there is a second try, on a new connection, in two cases: nothing of the request was
/// sent; or it was, and it may be repeated (RFC 9110, section 9.2.2: an idempotent method, here also without a body).
/// Whatever else fails on a kept connection cannot be told from a request that was carried out, so
/// [`Backend::take_idle`] gives out only connections on which that does not happen.
pub(super) async fn exchange(
    backend: &Backend,
    request: Request<RequestBody>,
    limits: Limits,
) -> Result<(Response<Incoming>, Sender), Failure> {
    let repeatable = request.method().is_idempotent() && request.body().is_end_stream();
    let Some(sender) = backend.take_idle(repeatable) else {
        return on_new_connection(backend, request, limits).await;
    };
    let copy = repeatable.then(|| copy(&request));
    match send(sender, request, limits.response).await {
        Ok(answer) => Ok(answer),
        Err(Unanswered { failure: Failure::Broken(error), unsent }) => match unsent.or(copy) {
            Some(request) => {
                tracing::debug!(%error, "a kept connection had ended; trying a new one");
                on_new_connection(backend, request, limits).await
            }
            None => Err(Failure::Broken(error)),
        },
        Err(unanswered) => Err(unanswered.failure),
    }
}

async fn on_new_connection(
    backend: &Backend,
    request: Request<RequestBody>,
    limits: Limits,
) -> Result<(Response<Incoming>, Sender), Failure> {
    let sender = backend.connect(limits.connect).await?;
    send(sender, request, limits.response).await.map_err(|unanswered| unanswered.failure)
}

struct Unanswered {
    failure: Failure,
    /// The request, when nothing of it was sent.
    unsent: Option<Request<RequestBody>>,
}

async fn send(
    mut sender: Sender,
    request: Request<RequestBody>,
    limit: Duration,
) -> Result<(Response<Incoming>, Sender), Unanswered> {
    let activity = request.body().activity();
    let answer = sender.try_send_request(request);
    tokio::select! {
        answer = answer => match answer {
            Ok(response) => Ok((response, sender)),
            Err(error) => Err(broken(error)),
        },
        () = activity.silence(limit) => Err(Unanswered { failure: Failure::ResponseTimeout, unsent: None }),
    }
}

fn broken(mut error: TrySendError<Request<RequestBody>>) -> Unanswered {
    let unsent = error.take_message();
    Unanswered { failure: Failure::Broken(error.into_error()), unsent }
}

fn copy(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}
