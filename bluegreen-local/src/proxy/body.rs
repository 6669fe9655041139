//! Bodies on their way through: passed on piece by piece, never collected.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::backend::Sender;
use super::routing::Claim;

/// A client's request body on its way to the slot.
#[derive(Debug)]
pub(super) struct RequestBody {
    incoming: Option<Incoming>,
    activity: Arc<Activity>,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming) -> Self {
        Self { incoming: Some(incoming), activity: Arc::default() }
    }

    pub(super) fn empty() -> Self {
        Self { incoming: None, activity: Arc::default() }
    }

    pub(super) fn activity(&self) -> Arc<Activity> {
        self.activity.clone()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(incoming).poll_frame(cx));
        self.activity.note();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

/// When a piece of the request last moved, so that a long upload is not taken for a slot that does not answer.
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    last: AtomicU64,
}

impl Default for Activity {
    fn default() -> Self {
        Self { began: Instant::now(), last: AtomicU64::new(0) }
    }
}

impl Activity {
    fn note(&self) {
        let elapsed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(elapsed, Ordering::Relaxed);
    }

    /// Waits until nothing has moved for this long.
    pub(super) async fn silence(&self, limit: Duration) {
        loop {
            let idle = self.began.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)));
            match limit.checked_sub(idle) {
                Some(rest) if !rest.is_zero() => tokio::time::sleep(rest).await,
                _ => return,
            }
        }
    }
}

/// The body of an answer to a client.
#[derive(Debug)]
pub(super) struct ResponseBody(Source);

#[derive(Debug)]
enum Source {
    /// An answer of the slot. The request is in flight, and its connection taken, until the body has ended.
    Slot { incoming: Incoming, lease: Option<Lease> },
    /// An answer of the proxy itself.
    Text(Option<Bytes>),
}

#[derive(Debug)]
struct Lease {
    claim: Claim,
    sender: Sender,
}

impl ResponseBody {
    pub(super) fn from_slot(incoming: Incoming, claim: Claim, sender: Sender) -> Self {
        let mut lease = Some(Lease { claim, sender });
        if incoming.is_end_stream() {
            finish(&mut lease);
        }
        Self(Source::Slot { incoming, lease })
    }

    pub(super) fn text(text: Bytes) -> Self {
        Self(Source::Text(Some(text)))
    }

    pub(super) fn empty() -> Self {
        Self(Source::Text(None))
    }
}

/// Ends the request. A body that is dropped before its end does not come here: its connection is closed.
fn finish(lease: &mut Option<Lease>) {
    if let Some(Lease { claim, sender }) = lease.take() {
        claim.backend.give_back(sender);
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match &mut self.0 {
            Source::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Source::Slot { incoming, lease } => {
                let frame = ready!(Pin::new(&mut *incoming).poll_frame(cx));
                match &frame {
                    Some(Err(_)) => *lease = None,
                    // Of a body whose end is known, nobody asks for the frame after the last.
                    Some(Ok(_)) if incoming.is_end_stream() => finish(lease),
                    Some(Ok(_)) => {}
                    None => finish(lease),
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Slot { incoming, .. } => incoming.is_end_stream(),
            Source::Text(text) => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Slot { incoming, .. } => incoming.size_hint(),
            Source::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
        }
    }
}
