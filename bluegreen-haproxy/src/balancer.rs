//! [`Balancer`]: one backend of an HAProxy on a host, with the settings of its router.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use bluegreen_core::{Command, Error, ErrorKind, Host, Ownership, Result};
use tokio::sync::OnceCell;

use crate::members::Members;
use crate::park::Park;
use crate::seen::{LOOK, Seen};
use crate::socket::Socket;
use crate::state_file;

#[derive(Debug)]
pub(crate) struct Balancer {
    pub(crate) socket: Socket,
    pub(crate) members: Members,
    pub(crate) park: Park,
    pub(crate) endpoint: Option<String>,
    /// The addresses of hosts that endpoints name, as seen from HAProxy.
    pub(crate) hosts: BTreeMap<String, IpAddr>,
    pub(crate) state_directory: String,
    pub(crate) keeps_state: bool,
    pub(crate) confirm_deadline: Duration,
    pub(crate) ownership: Ownership,
    pub(crate) has_directory: OnceCell<()>,
}

impl Balancer {
    pub(crate) fn host(&self) -> &dyn Host {
        &*self.socket.host
    }

    pub(crate) async fn look(&self) -> Result<Seen> {
        self.read(&self.socket.ask(&LOOK).await?)
    }

    pub(crate) fn read(&self, answers: &[String]) -> Result<Seen> {
        let seen = Seen::read(answers, &self.socket.backend, &self.members);
        seen.map_err(|error| error.with("socket", &self.socket.address).with("host", &self.socket.host))
    }

    /// Refuses what is another service's.
    pub(crate) async fn verify(&self) -> Result<()> {
        self.ownership.verify(self.host(), &self.state_directory).await
    }

    /// Marks the backend as this service's.
    pub(crate) async fn claim(&self) -> Result<()> {
        self.verify().await?;
        self.ownership.claim(self.host(), &self.state_directory).await
    }

    /// Makes the directory for what is kept, once.
    pub(crate) async fn make_directory(&self) -> Result<()> {
        let make = || async {
            let command = Command::new("mkdir").args(["-p", "--", &self.state_directory]).called("make the directory");
            let made = self.host().run(&command).await.and_then(|output| output.ok(&command, self.host()));
            made.map(drop).map_err(|error| error.not_applied().with_hint("run the router's setup script once, as root"))
        };
        self.has_directory.get_or_try_init(make).await.copied()
    }

    /// Notes for the next start of HAProxy what it does now, where that is wanted.
    pub(crate) async fn keep(&self, seen: &Seen) {
        if !self.keeps_state {
            return;
        }
        let write = async {
            self.make_directory().await?;
            state_file::write(self.host(), &self.state_directory, &seen.states).await
        };
        if let Err(error) = write.await {
            // The traffic has moved all the same. `preview` tells about the file until it is right.
            tracing::warn!(%error, "what HAProxy reads at its next start is out of date");
        }
    }
}

/// Does this to its end, also when the call that wants it is cut off: HAProxy stops reading the commands of a connection that is
/// closed.
pub(crate) async fn to_its_end<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::new(ErrorKind::Unexpected, "a change was cut off").with_source(error)),
    }
}
