//! A pipeline in an axum service: `GET /status`, `POST /deploy/1.4.0`, `POST /rollback`.
//!
//! ```text
//! cargo run --example axum-service
//! curl -X POST http://127.0.0.1:3000/deploy/1.4.0
//! ```

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use bluegreen::memory::{MemoryHealth, MemoryPublic, MemoryRouter, MemoryRuntime, MemoryStateStore};
use bluegreen::{CancellationToken, Error, ErrorKind, Pipeline, Release, Result};
use tokio::net::TcpListener;

type Answer = (StatusCode, String);

fn app(pipeline: Pipeline) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/deploy/{version}", post(deploy))
        .route("/rollback", post(rollback))
        .with_state(pipeline)
}

async fn status(State(pipeline): State<Pipeline>) -> Answer {
    answer(pipeline.status().await)
}

async fn deploy(State(pipeline): State<Pipeline>, Path(version): Path<String>) -> Answer {
    answer(to_its_end(async move { pipeline.deploy(Release::new(version)?).await }).await)
}

async fn rollback(State(pipeline): State<Pipeline>) -> Answer {
    answer(to_its_end(async move { pipeline.rollback().await }).await)
}

/// axum drops a handler when its client goes away, and a deploy that is dropped counts as killed: it needs a task of its own.
async fn to_its_end<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|panic| Err(Error::new(ErrorKind::Unexpected, "the operation panicked").with_source(panic)))
}

fn answer(result: Result<impl Display>) -> Answer {
    match result {
        Ok(report) => (StatusCode::OK, report.to_string()),
        Err(error) => {
            let status = match error.kind() {
                ErrorKind::Config => StatusCode::BAD_REQUEST,
                ErrorKind::NotFound => StatusCode::NOT_FOUND,
                ErrorKind::Conflict => StatusCode::CONFLICT, // Another deploy runs, or the version is live already.
                _ => StatusCode::BAD_GATEWAY,
            };
            (status, error.render())
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let stop = CancellationToken::new();
    let (runtime, router) = (MemoryRuntime::new(), MemoryRouter::new()); // Yours go here.
    let pipeline = Pipeline::builder("shop")
        .runtime(runtime.clone())
        .router(router.clone())
        .store(MemoryStateStore::new())
        .health(MemoryHealth::new())
        .verify(MemoryPublic::new(&router, &runtime))
        .check_interval(Duration::from_millis(20))
        .cancel_on(stop.clone()) // A deploy that runs when the service ends is undone, and says so to its client.
        .build()?;
    pipeline.recover().await?; // The service may have been killed in a deploy.

    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listens on {}", listener.local_addr()?);
    let ended = async move {
        let _ = tokio::signal::ctrl_c().await;
        stop.cancel();
    };
    Ok(axum::serve(listener, app(pipeline)).with_graceful_shutdown(ended).await?)
}
