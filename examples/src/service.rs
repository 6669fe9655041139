//! The service that the examples deploy: a few HTTP/1.1 pages, with counters like a real one's.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a release of the service is like.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The version it reports.
    pub version: String,
    /// Of 100 requests for the front page, how many it fails with 500. Its health page stays healthy.
    pub fail_percent: u64,
    /// How long it takes until it listens.
    pub start_delay: Duration,
}

#[derive(Debug, Default)]
struct Counters {
    pages: AtomicU64,
    good: AtomicU64,
    failed: AtomicU64,
    orders: AtomicU64,
}

/// Serves until `stop` is cancelled, then ends the requests in flight.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(settings: Settings, stop: CancellationToken) -> std::io::Result<()> {
    tokio::time::sleep(settings.start_delay).await;
    let listener = TcpListener::bind(settings.listen).await?;
    eprintln!("{} listens on {}", settings.version, listener.local_addr()?);
    let (settings, counters) = (Arc::new(settings), Arc::new(Counters::default()));
    let connections = TaskTracker::new();
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted?.0,
        };
        let (settings, counters, stop) = (settings.clone(), counters.clone(), stop.clone());
        connections.spawn(async move {
            let service = service_fn(|request| {
                let answer = answer(&settings, &counters, &request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                eprintln!("a connection ended: {error}");
            }
        });
    }
    connections.close();
    connections.wait().await;
    eprintln!("{} has ended", settings.version);
    Ok(())
}

fn answer<B>(settings: &Settings, counters: &Counters, request: &Request<B>) -> Response<Full<Bytes>> {
    let version = &settings.version;
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => front_page(settings, counters),
        (&Method::GET, "/health") => json(StatusCode::OK, format!(r#"{{"status":"ok","version":"{version}"}}"#)),
        (&Method::GET, "/metrics") => text(version, StatusCode::OK, metrics(counters)),
        (&Method::POST, "/orders") => {
            let number = counters.orders.fetch_add(1, Ordering::Relaxed) + 1;
            json(StatusCode::CREATED, format!(r#"{{"order":{number}}}"#))
        }
        (&Method::GET, path) => match path.strip_prefix("/orders/").and_then(|number| number.parse::<u64>().ok()) {
            Some(number) if number <= counters.orders.load(Ordering::Relaxed) => {
                json(StatusCode::OK, format!(r#"{{"order":{number},"state":"open"}}"#))
            }
            _ => text(version, StatusCode::NOT_FOUND, "not here\n".to_owned()),
        },
        _ => text(version, StatusCode::METHOD_NOT_ALLOWED, "not that way\n".to_owned()),
    }
}

fn front_page(settings: &Settings, counters: &Counters) -> Response<Full<Bytes>> {
    let number = counters.pages.fetch_add(1, Ordering::Relaxed);
    // Spread over each hundred, so that a run of the example shows the same share every time.
    let fails = number * settings.fail_percent % 100 < settings.fail_percent && settings.fail_percent > 0;
    let version = &settings.version;
    if fails {
        eprintln!("request {number}: cannot render the front page");
        counters.failed.fetch_add(1, Ordering::Relaxed);
        text(version, StatusCode::INTERNAL_SERVER_ERROR, "something is wrong\n".to_owned())
    } else {
        counters.good.fetch_add(1, Ordering::Relaxed);
        text(version, StatusCode::OK, format!("hello from {version}\n"))
    }
}

fn metrics(counters: &Counters) -> String {
    let (good, failed) = (counters.good.load(Ordering::Relaxed), counters.failed.load(Ordering::Relaxed));
    format!(
        "# TYPE http_requests_total counter\n\
         http_requests_total{{status=\"200\"}} {good}\n\
         http_requests_total{{status=\"500\"}} {failed}\n"
    )
}

fn json(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    response
}

fn text(version: &str, status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    if let Ok(version) = hyper::header::HeaderValue::from_str(version) {
        response.headers_mut().insert("x-version", version);
    }
    response
}
