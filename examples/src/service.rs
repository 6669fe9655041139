//! The service that the examples deploy: a few HTTP/1.1 pages, with counters like a real one's.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::{Method, Request, StatusCode};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::http_server::{self, Answer, json, text};

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
    let (version, counters) = (settings.version.clone(), Counters::default());
    let answer = move |request| std::future::ready(answer(&settings, &counters, &request));
    http_server::serve(&version, listener, stop, answer).await
}

fn answer<B>(settings: &Settings, counters: &Counters, request: &Request<B>) -> Answer {
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

fn front_page(settings: &Settings, counters: &Counters) -> Answer {
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
