//! [`Verifier`]: what a connection asks of us while it is open.

use russh::client::{self, DisconnectReason};
use russh::keys::PublicKeyOrCertificate;
use tokio::sync::watch;

use crate::failure::Failure;
use crate::host_key::HostKeyCheck;

/// Checks the host key, and hears why a connection ended.
pub(crate) struct Verifier {
    pub(crate) check: HostKeyCheck,
    pub(crate) reason: watch::Sender<Option<String>>,
}

impl client::Handler for Verifier {
    type Error = Failure;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Failure> {
        self.check.verify(key).map_err(Failure::Refused)?;
        Ok(true)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Failure>) -> Result<(), Failure> {
        let reason = match reason {
            DisconnectReason::ReceivedDisconnect(info) => format!("the server said: {}", info.message),
            DisconnectReason::Error(error) => error.to_string(),
        };
        self.reason.send_replace(Some(reason));
        Ok(())
    }
}
