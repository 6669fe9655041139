//! The service: `GET` and `PUT /customers/7` with the name as the body, and a health page that looks into the database.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::stage::Stage;
use super::table::Customers;
use crate::http_server::{self, Answer, json, text};

/// The longest name, in bytes.
const LONGEST: usize = 1000;

/// Serves until `stop` is cancelled, then ends the requests in flight.
///
/// # Errors
/// When the database cannot be opened, or the address not be listened on.
pub async fn serve(stage: Stage, database: &Path, listen: SocketAddr, stop: CancellationToken) -> std::io::Result<()> {
    let customers = Arc::new(Customers::open(database, stage).map_err(std::io::Error::other)?);
    let answer = move |request| answer(stage, customers.clone(), request);
    http_server::serve(stage.version(), TcpListener::bind(listen).await?, stop, answer).await
}

async fn answer(stage: Stage, customers: Arc<Customers>, request: Request<Incoming>) -> Answer {
    let version = stage.version();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let id = path.strip_prefix("/customers/").and_then(|id| id.parse().ok());
    let done = match (method, id) {
        (Method::GET, None) if path == "/health" => {
            look(customers, 0).await.map(|_| json(StatusCode::OK, format!(r#"{{"version":"{version}"}}"#)))
        }
        (Method::GET, Some(id)) => look(customers, id).await.map(|name| match name {
            Some(name) => text(version, StatusCode::OK, name),
            None => text(version, StatusCode::NOT_FOUND, "nobody".to_owned()),
        }),
        (Method::PUT, Some(id)) => {
            keep(customers, id, request).await.map(|()| text(version, StatusCode::OK, "kept".to_owned()))
        }
        _ => Ok(text(version, StatusCode::NOT_FOUND, "not here".to_owned())),
    };
    done.unwrap_or_else(|error| {
        eprintln!("{path}: {error}");
        text(version, StatusCode::INTERNAL_SERVER_ERROR, error)
    })
}

async fn look(customers: Arc<Customers>, id: i64) -> Result<Option<String>, String> {
    blocking(move || customers.name(id)).await
}

async fn keep(customers: Arc<Customers>, id: i64, request: Request<Incoming>) -> Result<(), String> {
    let body = Limited::new(request.into_body(), LONGEST).collect().await.map_err(|error| error.to_string())?;
    let name = String::from_utf8(body.to_bytes().to_vec()).map_err(|error| error.to_string())?;
    let Some((first_name, last_name)) = name.split_once(' ') else { return Err("no first and last name".to_owned()) };
    let (first_name, last_name) = (first_name.to_owned(), last_name.to_owned());
    blocking(move || customers.keep(id, &first_name, &last_name)).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> rusqlite::Result<T> + Send + 'static) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?;
    done.map_err(|error| error.to_string())
}
