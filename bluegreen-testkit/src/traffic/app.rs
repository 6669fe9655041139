//! An app behind nginx, which says who it is.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bluegreen_core::{Endpoint, Instance, VERSION_HEADER, Version};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, SET_COOKIE, UPGRADE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// What `/hold` waits for.
#[derive(Default)]
struct Hold {
    waiting: AtomicU64,
    release: Notify,
}

/// Answers every path with its name; `/strict` with 400 unless the request names one host, `/large` with so many bytes of
/// cookies, `/slow` after a while, `/hold` when it is told to, `/headers` with the headers it got, `/echo` with the body,
/// and `/socket` by a WebSocket's handshake after which it repeats every byte, its name in front.
pub struct App {
    pub port: u16,
    requests: Arc<AtomicU64>,
    hold: Arc<Hold>,
    task: JoinHandle<()>,
}

impl App {
    pub async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (requests, hold) = (Arc::new(AtomicU64::new(0)), Arc::new(Hold::default()));
        let (counter, holding) = (requests.clone(), hold.clone());
        let task = tokio::spawn(async move {
            // The connections end with the app.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let _ = stream.set_nodelay(true);
                let (counter, holding) = (counter.clone(), holding.clone());
                let service = service_fn(move |request| {
                    counter.fetch_add(1, Ordering::Relaxed);
                    answer(name, request, holding.clone())
                });
                connections.spawn(async move {
                    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    let _ = connection.with_upgrades().await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { port, requests, hold, task }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// As a runtime reports it.
    pub fn instance(&self) -> Instance {
        let version = Some(Version::new("1.0.0").unwrap());
        Instance::Running { version, endpoints: vec![Endpoint::http(self.address())] }
    }

    /// How many requests for `/hold` are waiting.
    pub fn holding(&self) -> u64 {
        self.hold.waiting.load(Ordering::Relaxed)
    }

    /// Lets those requests be answered.
    pub fn release(&self) {
        self.hold.release.notify_waiters();
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    name: &'static str,
    mut request: Request<Incoming>,
    hold: Arc<Hold>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let text = |text: String| Ok(Response::new(Full::new(Bytes::from(text))));
    match request.uri().path() {
        "/slow" => {
            let millis = request.uri().query().and_then(|query| query.parse().ok()).unwrap_or(1000);
            tokio::time::sleep(Duration::from_millis(millis)).await;
            text(name.to_owned())
        }
        "/hold" => {
            let released = hold.release.notified();
            hold.waiting.fetch_add(1, Ordering::Relaxed);
            released.await;
            hold.waiting.fetch_sub(1, Ordering::Relaxed);
            text(name.to_owned())
        }
        "/strict" => {
            let hosts: Vec<_> = request.headers().get_all(HOST).iter().collect();
            let named = hosts.len() == 1 && !hosts[0].is_empty();
            let status = if named { StatusCode::OK } else { StatusCode::BAD_REQUEST };
            Ok(Response::builder().status(status).body(Full::default()).unwrap())
        }
        "/large" => {
            let bytes = request.uri().query().and_then(|query| query.parse().ok()).unwrap_or(0);
            Ok(Response::builder().header(SET_COOKIE, "x".repeat(bytes)).body(Full::default()).unwrap())
        }
        "/headers" => {
            let line = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
                format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()))
            };
            text(request.headers().iter().map(line).collect())
        }
        "/echo" => {
            let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
            text(format!("{name}:{}", String::from_utf8_lossy(&body.unwrap_or_default())))
        }
        "/socket" if request.headers().contains_key(UPGRADE) => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let Ok(stream) = upgrade.await else { return };
                let (mut stream, mut byte) = (TokioIo::new(stream), [0]);
                while matches!(stream.read(&mut byte).await, Ok(1)) {
                    let said = format!("{name}:{}\n", byte[0] as char);
                    if stream.write_all(said.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
            let switching = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
            let headers = switching.header(CONNECTION, "upgrade").header(UPGRADE, "websocket");
            // The answer to the key of `open_web_socket`, which some proxies demand.
            let headers = headers.header("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
            Ok(headers.body(Full::default()).unwrap())
        }
        // As an app behind a router of its own may say.
        _ => Ok(Response::builder().header(VERSION_HEADER, "of the app").body(Full::new(name.into())).unwrap()),
    }
}
