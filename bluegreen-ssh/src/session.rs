//! [`Session`]: the connection to one server, made anew when it is gone.

use std::sync::Arc;

use bluegreen_core::{Error, Result};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::failure::Failure;
use crate::process::Process;
use crate::script::{Feed, Script};
use crate::settings::Settings;

/// The connection to one server, made anew when it is gone.
pub(crate) struct Session {
    pub(crate) settings: Settings,
    connection: Mutex<Option<Arc<Connection>>>,
}

impl Session {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, connection: Mutex::default() }
    }

    /// The connection. Callers at the same time wait for the same one.
    pub(crate) async fn connection(&self) -> Result<Arc<Connection>> {
        let mut connection = self.connection.lock().await;
        match &*connection {
            Some(open) if !open.is_closed() => Ok(Arc::clone(open)),
            _ => {
                let open = Arc::new(Connection::open(&self.settings).await?);
                *connection = Some(Arc::clone(&open));
                Ok(open)
            }
        }
    }

    /// Starts a script, over a new connection if the old one turns out to be gone.
    ///
    /// # Errors
    /// The script has not been run then, except where the error says so.
    pub(crate) async fn start(&self, script: &Script, feed: Feed, deadline: Instant) -> Result<Process> {
        let first = match Process::start(&self.connection().await?, script, feed, deadline).await {
            Err(failure) if failure.is_lost() => {
                Process::start(&self.connection().await?, script, feed, deadline).await
            }
            outcome => outcome,
        };
        first.map_err(|failure| match failure {
            Failure::Refused(error) => error,
            failure => Error::from(failure).not_applied(),
        })
    }

    /// Does something that may be repeated, once more if the connection was lost meanwhile.
    pub(crate) async fn again_when_lost<T, F: Future<Output = Result<T>>>(
        &self,
        mut work: impl FnMut() -> F,
    ) -> Result<T> {
        match work().await {
            Err(error) if error.kind() == bluegreen_core::ErrorKind::Unreachable && self.is_lost().await => {
                tracing::info!(host = %self.settings, error = %error.chain(), "connecting anew");
                work().await
            }
            outcome => outcome,
        }
    }

    async fn is_lost(&self) -> bool {
        self.connection.lock().await.as_ref().is_some_and(|connection| connection.is_closed())
    }
}
