//! The way of one request through the proxy.

use std::net::IpAddr;
use std::sync::Arc;

use bluegreen_core::Slot;
use hyper::body::{Body, Incoming};
use hyper::header::{HeaderValue, SET_COOKIE};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::backend::Sender;
use super::body::{RequestBody, ResponseBody};
use super::core::Core;
use super::exchange::exchange;
use super::failure::{self, Failure};
use super::headers::{self, Origin};
use super::routing::Claim;
use super::tunnel::tunnel;

/// One client's connection, and what it takes to serve its requests.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) core: Arc<Core>,
    pub(super) client: IpAddr,
    /// Where tunnels run on when the HTTP connection is over.
    pub(super) tasks: TaskTracker,
    pub(super) cut: CancellationToken,
    /// Held as long as the client's socket is open.
    pub(super) _permit: OwnedSemaphorePermit,
}

/// Answers one request: by its slot, or by saying why not.
pub(super) async fn forward(connection: Arc<Connection>, mut request: Request<Incoming>) -> Response<ResponseBody> {
    if request.method() == Method::CONNECT {
        return failure::not_implemented("this is not a proxy to connect through");
    }
    let client_side = hyper::upgrade::on(&mut request);
    let (mut parts, body) = request.into_parts();
    let host = match headers::host(&parts) {
        Ok(host) => host,
        Err(why) => return failure::bad_request(why),
    };
    let upgrade = headers::upgrade_wanted(&parts);
    let client_side = upgrade.is_some().then_some(client_side);

    let settings = &connection.core.settings;
    let pin = settings.sticky.as_ref().and_then(|cookie| cookie.read(&parts.headers));
    let Some(claim) = connection.core.routing.claim(pin) else {
        return failure::nothing_routed();
    };
    let host = host.or_else(|| HeaderValue::from_str(claim.backend.address().as_str()).ok());
    let origin = Origin { client: connection.client, trusted: settings.trust_forwarded };
    let unknown_length = !body.is_end_stream() && body.size_hint().exact().is_none();
    headers::prepare_request(&mut parts, host, origin, upgrade, unknown_length);
    let request = Request::from_parts(parts, RequestBody::new(body));

    let mut response = match exchange(&claim.backend, request, settings.limits).await {
        Ok((response, sender)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            drop(sender);
            switch(&connection, response, client_side, claim)
        }
        Ok((response, sender)) => answer(&connection, response, sender, claim),
        Err(failure) => refuse(&failure, claim),
    };
    if let Some((slot, name)) = response.extensions_mut().remove::<Slotted>().zip(settings.slot_header.clone()) {
        response.headers_mut().insert(name, HeaderValue::from_static(slot.0.as_str()));
    }
    response
}

/// Which slot a response belongs to.
#[derive(Debug, Clone, Copy)]
struct Slotted(Slot);

fn answer(
    connection: &Connection,
    response: Response<Incoming>,
    sender: Sender,
    claim: Claim,
) -> Response<ResponseBody> {
    let (mut parts, body) = response.into_parts();
    headers::prepare_response(&mut parts.headers);
    parts.extensions.clear();
    parts.extensions.insert(Slotted(claim.slot));
    if let Some((cookie, pin)) = connection.core.settings.sticky.as_ref().zip(claim.new_pin) {
        parts.headers.extend(cookie.write(pin).map(|value| (SET_COOKIE, value)));
    }
    claim.answered(parts.status.is_server_error());
    Response::from_parts(parts, ResponseBody::from_slot(body, claim, sender))
}

fn switch(
    connection: &Arc<Connection>,
    mut response: Response<Incoming>,
    client_side: Option<OnUpgrade>,
    claim: Claim,
) -> Response<ResponseBody> {
    let Some(client_side) = client_side else {
        return refuse(&Failure::UnexpectedUpgrade, claim);
    };
    let slot_side = hyper::upgrade::on(&mut response);
    let (mut parts, _) = response.into_parts();
    headers::prepare_upgrade(&mut parts.headers);
    parts.extensions.clear();
    parts.extensions.insert(Slotted(claim.slot));
    claim.answered(false);
    connection.tasks.spawn(tunnel(client_side, slot_side, claim, connection.clone()));
    Response::from_parts(parts, ResponseBody::empty())
}

fn refuse(failure: &Failure, claim: Claim) -> Response<ResponseBody> {
    tracing::warn!(slot = %claim.slot, address = %claim.backend.address(), ?failure, "a request was not answered: {failure}");
    claim.answered(true);
    let mut response = failure.response(claim.slot);
    response.extensions_mut().insert(Slotted(claim.slot));
    response
}
