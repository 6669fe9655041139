//! A client that never tries twice, so that every lost request is seen.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONNECTION, HOST, HeaderMap};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Begins the error about a request of which nothing was written: the connection was closed before, and was seen to be.
pub(super) const UNSENT: &str = "nothing was sent: ";

/// What came back.
#[derive(Debug)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

/// One connection.
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Client {
    pub async fn connect(address: &str, host: &str) -> Result<Self, String> {
        let stream = TcpStream::connect(address).await.map_err(|error| format!("connect: {error}"))?;
        let _ = stream.set_nodelay(true);
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        Ok(Self { sender, host: host.to_owned() })
    }

    pub async fn get(&mut self, path: &str) -> Result<Response, String> {
        self.send(Request::get(path)).await
    }

    pub async fn send(&mut self, request: hyper::http::request::Builder) -> Result<Response, String> {
        let request = request.header(HOST, &self.host).body(Full::default()).unwrap();
        self.sender.ready().await.map_err(|error| format!("{UNSENT}{}", chain(error)))?;
        let response = self.sender.send_request(request).await.map_err(|error| match error.is_canceled() {
            true => format!("{UNSENT}{}", chain(error)),
            false => chain(error),
        })?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(chain)?.to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Response { status: head.status, headers: head.headers, body })
    }
}

impl Response {
    /// Whether the server says that it will close the connection.
    pub fn closes(&self) -> bool {
        self.headers.get(CONNECTION).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// One request over a connection of its own.
pub async fn get(address: &str, host: &str, path: &str) -> Result<Response, String> {
    Client::connect(address, host).await?.get(path).await
}

/// A WebSocket's handshake; afterwards every byte written comes back as a line, with the app's name in front.
pub async fn open_web_socket(address: &str, host: &str) -> BufReader<TcpStream> {
    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
    let key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade";
    let request = format!("GET /socket HTTP/1.1\r\nHost: {host}\r\n{upgrade}\r\n{key}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).await.unwrap() > 0, "the handshake ended early: {head}");
    }
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream
}

fn chain(error: hyper::Error) -> String {
    match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
