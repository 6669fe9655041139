//! A small HTTP/1.1 server that ends gracefully.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the services answer with.
pub type Answer = Response<Full<Bytes>>;

/// Answers requests until `stop` is cancelled, then ends those in flight.
///
/// # Errors
/// When no connection can be accepted any more.
pub async fn serve<F, A>(
    version: &str,
    listener: TcpListener,
    stop: CancellationToken,
    answer: F,
) -> std::io::Result<()>
where
    F: Fn(Request<Incoming>) -> A + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    eprintln!("{version} listens on {}", listener.local_addr()?);
    let (answer, connections) = (Arc::new(answer), TaskTracker::new());
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted?.0,
        };
        let (answer, stop) = (answer.clone(), stop.clone());
        connections.spawn(async move {
            let service = service_fn(|request| {
                let answer = answer(request);
                async move { Ok::<_, Infallible>(answer.await) }
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
    eprintln!("{version} has ended");
    Ok(())
}

/// A text, with the version of the release that answers in `x-version`.
pub fn text(version: &str, status: StatusCode, body: String) -> Answer {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    if let Ok(version) = hyper::header::HeaderValue::from_str(version) {
        response.headers_mut().insert("x-version", version);
    }
    response
}

/// JSON.
pub fn json(status: StatusCode, body: String) -> Answer {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    response
}

/// Is cancelled when the process is asked to end by SIGTERM.
///
/// # Errors
/// When the signal cannot be listened to.
pub fn until_terminated() -> std::io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let stopper = stop.clone();
    tokio::spawn(async move {
        terminate.recv().await;
        stopper.cancel();
    });
    Ok(stop)
}
