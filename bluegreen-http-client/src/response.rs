use bytes::Bytes;
use http::header::HeaderMap;
use http::{StatusCode, response};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::body::Body;
use crate::encoding::decoded;
use crate::error::{Error, Stage};

/// The head of an answer, and its body as it comes.
#[derive(Debug)]
pub struct Response {
    head: response::Parts,
    body: Incoming,
}

impl Response {
    pub(crate) fn new(response: http::Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        Self { head, body }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The next piece of the body, as it came; `None` after the last one.
    ///
    /// # Errors
    /// When the connection breaks off.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        while let Some(frame) = self.body.frame().await {
            // Trailers are no part of the body.
            if let Ok(data) = frame.map_err(|error| Error::new(Stage::Exchange, error))?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// The body, decoded, up to so many bytes.
    ///
    /// # Errors
    /// When the connection breaks off, and when the body cannot be decoded.
    pub async fn body(mut self, limit: usize) -> Result<Body, Error> {
        let (mut bytes, mut complete) = (Vec::new(), true);
        while complete && let Some(chunk) = self.chunk().await? {
            let room = limit - bytes.len();
            bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
            complete = chunk.len() <= room;
        }
        let body = decoded(&self.head.headers, Body { bytes, complete }, limit);
        body.map_err(|reason| Error::new(Stage::Exchange, reason))
    }
}
