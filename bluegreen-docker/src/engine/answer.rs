//! An answer of the engine that comes in parts, and may stop coming.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bluegreen_core::{Error, ErrorKind, Result};
use bollard::errors::Error as EngineError;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use tokio::time::timeout;

use super::failure::engine_error;

/// How long the engine may be silent while it moves an image. A registry takes minutes to store a large layer.
pub(crate) const MOVING: Duration = Duration::from_secs(10 * 60);

/// How long an instruction of a build may print nothing: compilers and package managers often do, for long.
pub(crate) const BUILDING: Duration = Duration::from_secs(60 * 60);

/// How long it may be silent where it only reads what it has.
pub(crate) const READING: Duration = Duration::from_secs(60);

/// The parts of an answer, as long as the engine is not silent for too long.
pub(crate) struct Answer<'a, T> {
    parts: BoxStream<'a, Result<T, EngineError>>,
    silence: Duration,
    heard: Option<String>,
    sent: Arc<AtomicU64>,
}

impl<'a, T> Answer<'a, T> {
    pub(crate) fn new(parts: impl Stream<Item = Result<T, EngineError>> + Send + 'a, silence: Duration) -> Self {
        Self { parts: parts.boxed(), silence, heard: None, sent: Arc::default() }
    }

    /// The engine is not expected to say anything while this grows: what was sent to it.
    pub(crate) fn after(self, sent: Arc<AtomicU64>) -> Self {
        Self { sent, ..self }
    }

    /// Notes what the engine said, for the error when it says no more.
    pub(crate) fn heard(&mut self, said: &str) {
        if !said.trim().is_empty() {
            self.heard = Some(said.trim().to_owned());
        }
    }

    /// The next part; `None` after the last one.
    pub(crate) async fn next(&mut self) -> Result<Option<T>> {
        loop {
            let before = self.sent.load(Ordering::Relaxed);
            match timeout(self.silence, self.parts.next()).await {
                Ok(part) => return part.transpose().map_err(engine_error),
                Err(_) if self.sent.load(Ordering::Relaxed) != before => {}
                Err(_) => return Err(self.silent()),
            }
        }
    }

    fn silent(&self) -> Error {
        let heard = match &self.heard {
            Some(heard) => format!("; the last was: {heard}"),
            None => String::new(),
        };
        Error::new(ErrorKind::Timeout, format!("the engine has said nothing for {:?}{heard}", self.silence))
            .with_hint("`docker info` on that machine tells whether the engine works")
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_falls_silent_is_told_with_what_it_said_last() {
        let said = ["layer 1: Pulling", " "].map(Ok::<_, EngineError>);
        let mut answer = Answer::new(stream::iter(said).chain(stream::pending()), MOVING);
        while answer.heard.is_none() {
            let part = answer.next().await.unwrap().unwrap();
            answer.heard(part);
        }
        answer.next().await.unwrap();
        answer.heard(" ");
        let error = answer.next().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
        assert!(error.to_string().contains("nothing for 600s; the last was: layer 1: Pulling"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_is_still_being_sent_to_is_not_silent() {
        let sent = Arc::new(AtomicU64::new(0));
        let slow = async {
            for _ in 0..10 {
                tokio::time::sleep(READING / 2).await;
                sent.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, EngineError>("done")
        };
        let mut answer = Answer::new(stream::once(slow), READING).after(Arc::clone(&sent));
        assert_eq!(answer.next().await.unwrap(), Some("done"));
        assert_eq!(answer.next().await.unwrap(), None);
    }
}
