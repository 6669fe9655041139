//! A real service to stand behind the proxy, a proxy on a port of its own, and clients.

#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bluegreen_core::{
    Endpoint, Instance, MetricSource, OperationId, Release, Router, Sample, ServiceName, Slot, Split, Target,
    VERSION_HEADER, Version,
};
use bluegreen_local::{Proxy, ProxyBuilder, ProxyRouter};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::{http1 as client_http1, http2 as client_http2};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

pub(crate) const LOOPBACK: &str = "127.0.0.1:0";

/// Fails a test that hangs.
pub(crate) async fn within<T>(seconds: u64, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(seconds), work).await.expect("this took too long")
}

pub(crate) async fn eventually(what: &str, mut probe: impl AsyncFnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while !probe().await {
        assert!(Instant::now() < give_up, "{what} did not happen within 20 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn toward_green(percent: u8) -> Split {
    Split::toward(Slot::Green, percent).unwrap()
}

pub(crate) fn instance_at(address: impl ToString) -> Instance {
    Instance::Running {
        version: Some(Version::new("1").unwrap()),
        endpoints: vec![Endpoint::http(address.to_string())],
    }
}

/// A body that is fed from outside, frame by frame, or holds one text.
pub(crate) struct TestBody {
    frames: mpsc::UnboundedReceiver<Frame<Bytes>>,
    length: Option<u64>,
}

pub(crate) type Feed = mpsc::UnboundedSender<Frame<Bytes>>;

impl TestBody {
    pub(crate) fn fed() -> (Feed, Self) {
        let (feed, frames) = mpsc::unbounded_channel();
        (feed, Self { frames, length: None })
    }

    pub(crate) fn text(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        let (feed, frames) = mpsc::unbounded_channel();
        let length = text.len() as u64;
        if length > 0 {
            feed.send(Frame::data(text)).unwrap();
        }
        Self { frames, length: Some(length) }
    }
}

impl Body for TestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.frames.poll_recv(cx).map(|frame| frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.length == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// A service that says its name, and does what its paths say.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<AtomicU64>,
    pub(crate) connections: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Service {
    pub(crate) async fn start(name: &'static str) -> Self {
        Self::start_with(name, Duration::from_secs(60)).await
    }

    /// One that closes a connection after it was idle for `keep_alive`.
    pub(crate) async fn start_with(name: &'static str, keep_alive: Duration) -> Self {
        let listener = TcpListener::bind(LOOPBACK).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, connections) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (counted, opened) = (requests.clone(), connections.clone());
        let task = tokio::spawn(async move {
            // Dropped with the task, and all connections with it.
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while open.try_join_next().is_some() {}
                opened.fetch_add(1, Ordering::SeqCst);
                let counted = counted.clone();
                let service = service_fn(move |request| {
                    counted.fetch_add(1, Ordering::SeqCst);
                    async move { Ok::<_, Infallible>(respond(name, request).await) }
                });
                open.spawn(async move {
                    let mut builder = http1::Builder::new();
                    builder.timer(TokioTimer::new()).header_read_timeout(keep_alive);
                    let _ = builder.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
                });
            }
        });
        Self { address, requests, connections, task }
    }

    pub(crate) fn instance(&self) -> Instance {
        instance_at(self.address)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// Ends it at once, whatever it is doing: a request in flight is lost.
    pub(crate) async fn kill(self) {
        self.task.abort();
        while !self.task.is_finished() {
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn respond(name: &'static str, mut request: Request<Incoming>) -> Response<TestBody> {
    let path = request.uri().path().to_owned();
    let mut response = Response::new(TestBody::text(name));
    response.headers_mut().insert("x-service", name.parse().unwrap());
    response.headers_mut().insert(VERSION_HEADER, "of the service".parse().unwrap());
    match path.split('/').collect::<Vec<_>>()[1..] {
        ["head"] => {
            let mut lines = vec![format!("{} {} {:?}", request.method(), request.uri(), request.version())];
            lines.extend(request.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())));
            lines.sort();
            *response.body_mut() = TestBody::text(lines.join("\n"));
        }
        ["echo"] => {
            let (feed, body) = TestBody::fed();
            *response.body_mut() = body;
            response.headers_mut().insert("trailer", "x-sum".parse().unwrap());
            tokio::spawn(async move {
                while let Some(Ok(frame)) = next_frame(request.body_mut()).await {
                    if feed.send(frame).is_err() {
                        break;
                    }
                }
            });
        }
        ["sleep", milliseconds] => tokio::time::sleep(Duration::from_millis(milliseconds.parse().unwrap())).await,
        ["status", status] => *response.status_mut() = StatusCode::from_u16(status.parse().unwrap()).unwrap(),
        ["drip", pieces, milliseconds] => {
            let (pieces, pause) = (pieces.parse().unwrap(), Duration::from_millis(milliseconds.parse().unwrap()));
            let (feed, body) = TestBody::fed();
            *response.body_mut() = body;
            tokio::spawn(async move {
                for piece in 0..pieces {
                    let _ = feed.send(Frame::data(Bytes::from(format!("{piece}\n"))));
                    tokio::time::sleep(pause).await;
                }
            });
        }
        ["zeros", bytes] => {
            let mut left: usize = bytes.parse().unwrap();
            let (feed, body) = TestBody::fed();
            *response.body_mut() = body;
            while left > 0 {
                let size = left.min(64 << 10);
                feed.send(Frame::data(Bytes::from(vec![0; size]))).unwrap();
                left -= size;
            }
        }
        ["hop"] => {
            response.headers_mut().insert("connection", "x-secret, keep-alive".parse().unwrap());
            response.headers_mut().insert("keep-alive", "timeout=5".parse().unwrap());
            response.headers_mut().insert("x-secret", "1".parse().unwrap());
            response.headers_mut().insert("set-cookie", "kept=1".parse().unwrap());
        }
        ["switch"] | ["ws"] => return switch(name, request),
        _ => {}
    }
    response
}

/// Switches to the protocol that was asked for: `echo`, or a WebSocket that echoes with its name.
fn switch(name: &'static str, mut request: Request<Incoming>) -> Response<TestBody> {
    let mut response = Response::new(TestBody::text(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert("connection", "upgrade".parse().unwrap());
    let protocol = request.headers().get("upgrade").cloned().unwrap_or("surprise".parse().unwrap());
    let is_websocket = protocol == "websocket";
    headers.insert("upgrade", protocol);
    if let Some(key) = request.headers().get("sec-websocket-key") {
        let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
        headers.insert("sec-websocket-accept", accept.parse().unwrap());
    }
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(&mut request).await else { return };
        let io = TokioIo::new(upgraded);
        if is_websocket {
            websocket_echo(name, io).await;
        } else {
            let (mut reader, mut writer) = tokio::io::split(io);
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
        }
    });
    response
}

async fn websocket_echo(name: &'static str, io: TokioIo<hyper::upgrade::Upgraded>) {
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::protocol::Role;
    let mut socket = tokio_tungstenite::WebSocketStream::from_raw_socket(io, Role::Server, None).await;
    while let Some(Ok(message)) = next_message(&mut socket).await {
        if let Message::Text(text) = message {
            let answer = Message::text(format!("{name}: {text}"));
            if send_message(&mut socket, answer).await.is_err() {
                return;
            }
        }
    }
}

type WebSocketResult<T> = Result<T, tokio_tungstenite::tungstenite::Error>;

pub(crate) async fn next_message<S>(
    socket: &mut tokio_tungstenite::WebSocketStream<S>,
) -> Option<WebSocketResult<tokio_tungstenite::tungstenite::Message>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    futures::StreamExt::next(socket).await
}

pub(crate) async fn send_message<S>(
    socket: &mut tokio_tungstenite::WebSocketStream<S>,
    message: tokio_tungstenite::tungstenite::Message,
) -> WebSocketResult<()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    futures::SinkExt::send(socket, message).await
}

pub(crate) async fn next_frame<B: Body + Unpin>(body: &mut B) -> Option<Result<Frame<B::Data>, B::Error>> {
    std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}

/// A proxy that serves on a port of its own, with both slots ready to be attached.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    pub(crate) router: ProxyRouter,
    pub(crate) proxy: Proxy,
    shutdown: Option<oneshot::Sender<()>>,
    pub(crate) task: JoinHandle<bluegreen_core::Result<()>>,
}

impl Front {
    pub(crate) async fn start(builder: ProxyBuilder) -> Self {
        let listener = TcpListener::bind(LOOPBACK).await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = builder.build().unwrap();
        let (router, serving) = (proxy.router(), proxy.clone());
        let (shutdown, ended) = oneshot::channel();
        let task = tokio::spawn(async move { serving.serve(listener, async { drop(ended.await) }).await });
        Self { address, router, proxy, shutdown: Some(shutdown), task }
    }

    /// A plain proxy in front of both services, with this share for green.
    pub(crate) async fn before(blue: &Service, green: &Service, percent: u8) -> Self {
        Self::with(Proxy::builder(), blue, green, percent).await
    }

    pub(crate) async fn with(builder: ProxyBuilder, blue: &Service, green: &Service, percent: u8) -> Self {
        let front = Self::start(builder).await;
        front.router.attach(Slot::Blue, &blue.instance()).await.unwrap();
        front.router.attach(Slot::Green, &green.instance()).await.unwrap();
        front.router.shift(None, toward_green(percent)).await.unwrap();
        front
    }

    pub(crate) async fn shift_to(&self, percent: u8) {
        let from = self.router.current().await.unwrap();
        self.router.shift(from, toward_green(percent)).await.unwrap();
    }

    pub(crate) async fn in_flight(&self, slot: Slot) -> u64 {
        self.router.in_flight(slot).await.unwrap().unwrap()
    }

    /// Asks the proxy to end.
    pub(crate) fn shut_down(&mut self) {
        let _ = self.shutdown.take().unwrap().send(());
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A keep-alive client.
pub(crate) struct Client {
    sender: client_http1::SendRequest<TestBody>,
    task: JoinHandle<()>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = client_http1::handshake(TokioIo::new(stream)).await.unwrap();
        let task = tokio::spawn(async move { drop(connection.with_upgrades().await) });
        Self { sender, task }
    }

    pub(crate) async fn send(&mut self, request: Request<TestBody>) -> hyper::Result<Response<Incoming>> {
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }

    pub(crate) async fn ask(&mut self, request: Request<TestBody>) -> hyper::Result<Reply> {
        read(self.send(request).await?).await
    }

    pub(crate) async fn get(&mut self, path: &str) -> hyper::Result<Reply> {
        self.ask(get(path)).await
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One HTTP/2 connection.
pub(crate) async fn http2(address: SocketAddr) -> client_http2::SendRequest<TestBody> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = client_http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub(crate) async fn read(response: Response<Incoming>) -> hyper::Result<Reply> {
    let (parts, mut incoming) = response.into_parts();
    let (mut body, mut trailers) = (Vec::new(), None);
    while let Some(frame) = next_frame(&mut incoming).await {
        match frame?.into_data() {
            Ok(data) => body.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok(Reply { status: parts.status, headers: parts.headers, body: body.into(), trailers })
}

pub(crate) fn request(method: &str, path: &str) -> hyper::http::request::Builder {
    Request::builder().method(method).uri(path).header("host", "shop.example")
}

pub(crate) fn get(path: &str) -> Request<TestBody> {
    request("GET", path).body(TestBody::text("")).unwrap()
}

/// One request on a connection of its own.
pub(crate) async fn fetch(address: SocketAddr, path: &str) -> Reply {
    Client::connect(address).await.get(path).await.unwrap()
}

/// What the proxy has counted on blue: requests, and those of them that failed.
pub(crate) async fn counted(router: &ProxyRouter) -> (u64, u64) {
    let service = ServiceName::new("shop").unwrap();
    let target = Target::new(service, Slot::Blue, Release::new("1").unwrap(), OperationId::new("op").unwrap());
    match router.sample(&target, &Instance::Absent).await.unwrap() {
        Sample::Data(series) => series.into_values().map(|have| (have.requests, have.bad)).next().unwrap(),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn before(builder: ProxyBuilder, address: SocketAddr) -> Front {
    let front = Front::start(builder).await;
    front.router.attach(Slot::Blue, &instance_at(address)).await.unwrap();
    front.router.shift(None, toward_green(0)).await.unwrap();
    front
}

/// A service of raw bytes: each connection is handled by this.
pub(crate) async fn raw_service<F>(handle: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(LOOPBACK).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(handle(stream));
        }
    });
    address
}

/// Reads a head, and returns it with what came behind it.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut seen = Vec::new();
    while !seen.windows(4).any(|window| window == b"\r\n\r\n") {
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(count) => seen.extend_from_slice(&chunk[..count]),
        }
    }
    String::from_utf8_lossy(&seen).into_owned()
}

/// Sends bytes as they are, and reads until the connection is closed.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = within(20, stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Waits until blue has no request any more.
pub(crate) async fn nothing_is_in_flight(front: &Front) {
    eventually("the end of all requests", async || front.in_flight(Slot::Blue).await == 0).await;
}

/// Reads until these bytes have come.
pub(crate) async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut seen = Vec::new();
    while !seen.ends_with(end.as_bytes()) {
        let count = within(10, stream.read_buf(&mut seen)).await.unwrap();
        assert!(count > 0, "it ended after {:?}", String::from_utf8_lossy(&seen));
    }
    String::from_utf8(seen).unwrap()
}

/// Whether an answer is what it says.
pub(crate) fn is_complete(answer: &str) -> bool {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    match head.lines().find_map(|line| line.strip_prefix("content-length: ")) {
        Some(length) => length.parse::<usize>().unwrap() == body.len(),
        None => body.ends_with("0\r\n\r\n"),
    }
}
