//! How the adapter reaches a server of a test.

use bluegreen_ssh::{SshHost, SshHostBuilder};
use bluegreen_testkit::process::user;
use bluegreen_testkit::ssh::SshServer;

pub(crate) trait Reach {
    /// A client that knows neither the host key nor a key.
    fn bare_builder(&self) -> SshHostBuilder;

    /// A client that knows the host key and has the key.
    fn builder(&self) -> SshHostBuilder;

    fn host(&self) -> SshHost {
        self.builder().build().unwrap()
    }
}

impl Reach for SshServer {
    fn bare_builder(&self) -> SshHostBuilder {
        SshHost::builder(format!("{}@127.0.0.1:{}", user(), self.port()))
    }

    fn builder(&self) -> SshHostBuilder {
        self.bare_builder().key_file(self.key()).known_hosts(self.known_hosts())
    }
}
