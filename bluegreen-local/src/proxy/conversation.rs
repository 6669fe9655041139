//! The requests of one client, one after the other.

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::Instant;

use super::client::Client;
use super::core::Core;
use super::exchange::{End, Exchange};
use super::failure::Refusal;
use super::http1::{self, Head, Origin, Refused, Rewrite};
use super::routing::Claim;

/// What is read of a request in one go.
const ROOM: usize = 4 << 10;

/// Serves until the connection has ended.
pub(super) async fn serve<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(mut client: Client<R, W>) {
    loop {
        let mut out = Vec::new();
        let end = match request(&mut client, &mut out).await {
            Next::Request(head, Some(claim)) => Exchange { client: &mut client, head, claim }.run(out).await,
            Next::Request(head, None) => refuse(&mut client, &Refusal::nothing_routed(), Some(head)).await,
            Next::Refuse(refusal) => refuse(&mut client, &refusal, None).await,
            Next::End => return,
        };
        match end {
            End::Keep => {}
            End::Linger => return client.linger().await,
            End::Cut => return,
        }
    }
}

/// Waits for the next request.
async fn request<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(client: &mut Client<R, W>, out: &mut Vec<u8>) -> Next {
    let settings = &client.core.settings;
    let (limit, most) = (Instant::now() + settings.client_timeout, settings.header_limit);
    let origin = Origin { client: client.address, trusted: settings.trusted_peers.contain(client.address) };
    let mut is_worth_a_look = !client.buffer.is_empty();
    loop {
        if is_worth_a_look {
            match http1::request(&client.buffer, origin, &mut Routed(&client.core), out) {
                Ok(None) if client.buffer.len() < most => {}
                Ok(Some((head, claim))) if head.bytes <= most => {
                    client.buffer.advance(head.bytes);
                    return Next::Request(head, claim);
                }
                Ok(_) => return Next::Refuse(Refusal::head_too_large("the head of the request is too large")),
                Err(Refused::TooManyFields) => {
                    return Next::Refuse(Refusal::head_too_large("the request has too many header lines"));
                }
                Err(Refused::Bad(why)) => {
                    return Next::Refuse(Refusal::bad_request(&format!("the request cannot be passed on: {why}")));
                }
                Err(Refused::Connect) => {
                    return Next::Refuse(Refusal::not_implemented("this is not a proxy to connect through"));
                }
            }
        }
        let before = client.buffer.len();
        client.buffer.reserve(ROOM);
        tokio::select! {
            biased;
            read = client.reader.read_buf(&mut client.buffer) => match read {
                Ok(0) | Err(_) => return Next::End,
                // A head that is not complete is looked at again only when a line has come to its end.
                Ok(_) => is_worth_a_look = client.buffer[before..].contains(&b'\n') || client.buffer.len() >= most,
            },
            () = client.drain.cancelled(), if client.buffer.is_empty() => return Next::End,
            () = client.alarm.reaches(limit) => {
                return if client.buffer.is_empty() { Next::End } else { Next::Refuse(Refusal::request_timeout()) };
            }
        }
    }
}

/// Answers in the place of a slot. `None`: where the request ends is not known.
async fn refuse<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    client: &mut Client<R, W>,
    refusal: &Refusal,
    head: Option<Head>,
) -> End {
    let (minor, is_head) = head.map_or((1, false), |head| (head.minor, head.is_head));
    let keep = head.is_some_and(|head| head.keep_alive && head.length == http1::Length::Exactly(0));
    let keep = keep && !client.drain.is_cancelled();
    let answer = refusal.answer(minor, is_head, keep, None);
    match client.tell(&answer).await {
        Ok(()) if keep => End::Keep,
        Ok(()) => End::Linger,
        Err(_) => End::Cut,
    }
}

enum Next {
    Request(Head, Option<Claim>),
    Refuse(Refusal),
    End,
}

struct Routed<'c>(&'c Core);

impl Rewrite for Routed<'_> {
    type Claim = Claim;

    fn claim<'b>(&mut self, cookies: impl Iterator<Item = &'b [u8]>) -> Option<Claim> {
        let pin = self.0.settings.sticky.as_ref().and_then(|cookie| cookie.read(cookies));
        self.0.routing.claim(pin)
    }

    fn address(claim: &Claim) -> &str {
        claim.backend.address().as_str()
    }
}
