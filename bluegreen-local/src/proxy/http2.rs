//! Clients that speak HTTP/2: each request is one of HTTP/1.1 on a pipe of its own, so that it is treated like any
//! other.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self as pipe, SendRequest};
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue, TRANSFER_ENCODING};
use hyper::http::uri::PathAndQuery;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, duplex, split};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::alarm::Alarm;
use super::client::Client;
use super::conversation;
use super::core::Core;

/// How often a silent client is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// How many requests a client may have open at a time: HAProxy's `tune.h2.max-concurrent-streams` (nginx: 128).
const MOST_STREAMS: u32 = 100;

/// How many requests of a client may break the rules, each of which the proxy resets, before its connection is ended.
const MOST_BROKEN_STREAMS: usize = 32;

/// How much of a request's body may be under way to us: nginx's and HAProxy's default.
const STREAM_WINDOW: u32 = 64 << 10;

/// How much may be under way on all streams of a connection.
const CONNECTION_WINDOW: u32 = 1 << 20;

/// How much of an answer is held for a client that does not take it.
const SEND_BUFFER: usize = 32 << 10;

/// What a pipe holds in each direction.
const PIPE: usize = 16 << 10;

/// One client.
#[derive(Debug)]
pub(super) struct Http2 {
    pub(super) core: Arc<Core>,
    pub(super) address: IpAddr,
    pub(super) tasks: TaskTracker,
    pub(super) drain: CancellationToken,
    pub(super) cut: CancellationToken,
    /// The one request that each connection may have open however many others there are.
    own: Arc<Semaphore>,
    /// The requests that are open, and how many there were.
    open: TaskTracker,
    begun: AtomicU64,
}

impl Http2 {
    pub(super) fn new(
        core: Arc<Core>,
        address: IpAddr,
        tasks: TaskTracker,
        drain: CancellationToken,
        cut: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            core,
            address,
            tasks,
            drain,
            cut,
            own: Arc::new(Semaphore::new(1)),
            open: TaskTracker::new(),
            begun: AtomicU64::new(0),
        })
    }

    /// Serves until the connection has ended. A client without a request for as long as it may be silent is told to go,
    /// and one that does not go then is cut off.
    pub(super) async fn serve(self: Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let (drain, most) = (self.drain.clone(), self.core.settings.header_limit);
        let idle = self.clone();
        let executor = Tracked { tasks: self.tasks.clone(), cut: self.cut.clone() };
        let service = service_fn(move |request| {
            let http2 = self.clone();
            async move { Ok::<_, Infallible>(http2.answer(request).await) }
        });
        let mut builder = http2::Builder::new(executor);
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .max_concurrent_streams(MOST_STREAMS)
            .max_local_error_reset_streams(MOST_BROKEN_STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(u32::try_from(most).unwrap_or(u32::MAX));
        let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let mut told = false;
        let ended = loop {
            tokio::select! {
                biased;
                ended = serving.as_mut() => break ended,
                () = drain.cancelled(), if !told => {}
                () = idle.idle() => {
                    if told {
                        return;
                    }
                }
            }
            told = true;
            serving.as_mut().graceful_shutdown();
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a client's connection ended");
        }
    }

    /// Waits until there was no request for as long as a client may be idle.
    async fn idle(&self) {
        loop {
            let before = self.begun.load(Ordering::Relaxed);
            sleep(self.core.settings.client_timeout).await;
            if self.open.is_empty() && self.begun.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        if request.method() == Method::CONNECT {
            return refused(
                StatusCode::NOT_IMPLEMENTED,
                "http_request_denied",
                "this is not a proxy to connect through",
            );
        }
        self.begun.fetch_add(1, Ordering::Relaxed);
        let open = self.open.token();
        let Some(place) = self.place().await else {
            return refused(StatusCode::SERVICE_UNAVAILABLE, "connection_limit_reached", "too many requests are open");
        };
        match self.pass_on(request).await {
            Ok((response, sender)) => {
                let (mut parts, incoming) = response.into_parts();
                parts.headers.remove(CONNECTION);
                parts.headers.remove(TRANSFER_ENCODING);
                Response::from_parts(parts, AnswerBody::Passed { incoming, _open: (sender, place, open) })
            }
            Err(error) => {
                tracing::debug!(%error, "a request was not answered");
                refused(StatusCode::BAD_REQUEST, "http_request_error", "the request cannot be passed on")
            }
        }
    }

    /// A place among the requests that are open. Those of HTTP/2 beyond the first of each connection have a share of
    /// the descriptors of their own, so that few clients with many requests do not keep others out.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        let any = async {
            tokio::select! {
                biased;
                own = self.own.clone().acquire_owned() => own.ok(),
                shared = self.core.streams.clone().acquire_owned() => shared.ok(),
            }
        };
        timeout(self.core.settings.limits.connect, any).await.ok().flatten()
    }

    async fn pass_on(&self, request: Request<Incoming>) -> hyper::Result<(Response<Incoming>, SendRequest<Incoming>)> {
        let (near, far) = duplex(PIPE);
        let (reader, writer) = split(far);
        let client = Client {
            core: self.core.clone(),
            address: self.address,
            reader,
            writer,
            buffer: BytesMut::new(),
            alarm: Alarm::at(Instant::now() + self.core.settings.client_timeout),
            // Nobody ends one side of a pipe only.
            half_close_timeout: Duration::ZERO,
            // The request that is about to come is one that has been accepted.
            drain: CancellationToken::new(),
        };
        let executor = Tracked { tasks: self.tasks.clone(), cut: self.cut.clone() };
        executor.execute(conversation::serve(client));
        let (mut sender, connection) = pipe::Builder::new().max_headers(1_100).handshake(TokioIo::new(near)).await?;
        executor.execute(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a request was broken off");
            }
        });
        let response = sender.send_request(as_http_1(request)).await?;
        Ok((response, sender))
    }
}

fn as_http_1(request: Request<Incoming>) -> Request<Incoming> {
    let (mut parts, body) = request.into_parts();
    if let Some(authority) = parts.uri.authority() {
        let text = authority.as_str();
        let host = text.rsplit_once('@').map_or(text, |(_, host)| host);
        if let Ok(host) = HeaderValue::from_str(host) {
            parts.headers.insert(HOST, host);
        }
    }
    if !body.is_end_stream() && body.size_hint().exact().is_none() {
        // Said outright, since a GET with a body of unknown length would otherwise be sent without it.
        parts.headers.remove(CONTENT_LENGTH);
        parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    parts.uri = Uri::from(path);
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    Request::from_parts(parts, body)
}

fn refused(status: StatusCode, error_type: &str, why: &str) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::Text(Some(Bytes::from(format!("bluegreen-proxy: {why}\n")))));
    *response.status_mut() = status;
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if let Ok(value) = HeaderValue::try_from(format!("bluegreen-proxy; error={error_type}")) {
        headers.insert("proxy-status", value);
    }
    response
}

/// The body of an answer.
#[derive(Debug)]
enum AnswerBody {
    Passed {
        incoming: Incoming,
        /// Held until the answer has ended: the pipe, and the place of the request.
        _open: (SendRequest<Incoming>, OwnedSemaphorePermit, TaskTrackerToken),
    },
    Text(Option<Bytes>),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Passed { incoming, .. } => pin!(incoming).poll_frame(cx),
            Self::Text(text) => std::task::Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Passed { incoming, .. } => incoming.is_end_stream(),
            Self::Text(text) => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Passed { incoming, .. } => incoming.size_hint(),
            Self::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
        }
    }
}

/// Spawns tasks that are waited for at a shutdown, and end when they are cut.
#[derive(Debug, Clone)]
struct Tracked {
    tasks: TaskTracker,
    cut: CancellationToken,
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Tracked {
    fn execute(&self, work: F) {
        let cut = self.cut.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                _ = work => {}
                () = cut.cancelled() => {}
            }
        });
    }
}
