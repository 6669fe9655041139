mod commands;
mod files;
mod transfer;
mod tunnels;

use std::time::Duration;

use async_trait::async_trait;

use super::contract::{Contract, steps};
use super::cut_off::CutOff;
use crate::error::Error;
use crate::host::Host;

/// What [`host`] needs: a machine with a POSIX shell and the usual small tools, and another way to see its files.
#[async_trait]
pub trait HostFixture: Sync {
    /// The adapter.
    type Host: Host;

    /// A new handle on the machine.
    async fn open(&self) -> Self::Host;

    /// The absolute path of an empty directory on the machine, writable for the host's user.
    fn directory(&self) -> String;

    /// The content and the mode (permission bits) of a file, seen past the host. `None`: there is none.
    async fn look(&self, path: &str) -> Option<(Vec<u8>, u32)>;

    /// What a symbolic link says, seen past the host. `None`: there is none.
    async fn look_at_link(&self, path: &str) -> Option<String>;

    /// The names in a directory, seen past the host.
    async fn list(&self, directory: &str) -> Vec<String>;

    /// Something that changes when a file is replaced: its inode number.
    async fn identity(&self, path: &str) -> Option<String>;

    /// Makes a file, past the host.
    async fn put(&self, path: &str, contents: &[u8]);

    /// Makes a directory, past the host.
    async fn make_directory(&self, path: &str);

    /// The address, as seen from the machine, of a TCP server that sends these bytes to each connection and closes it;
    /// it runs as long as the fixture. `None`: tunnels are not tested.
    async fn greeter(&self, greeting: &[u8]) -> Option<String> {
        let _ = greeting;
        None
    }

    /// The same on a socket in the file system, as `unix:/path`. `None`: tunnels to sockets are not tested.
    async fn socket_greeter(&self, greeting: &[u8]) -> Option<String> {
        let _ = greeting;
        None
    }

    /// Whether `sudo -n` works for the host's user.
    fn has_sudo(&self) -> bool {
        false
    }

    /// When calls are cut off.
    fn cut_offs(&self) -> Vec<CutOff> {
        CutOff::usual()
    }
}

/// Tests the contract of [`Host`].
///
/// # Panics
/// At the first clause that does not hold.
pub async fn host(fixture: &impl HostFixture) {
    let host = fixture.open().await;
    let suite = Suite { fixture, contract: Contract::of(&host), host };
    steps! {
        suite:
        commands_get_exactly_what_they_are_given,
        secrets_are_not_in_the_process_list,
        files_are_read_as_they_are,
        files_are_replaced_whole,
        files_keep_their_mode_and_nothing_is_left_over,
        links_are_replaced_in_one_step,
        what_was_cut_off_does_not_land_later,
        uploads_arrive_whole_and_once,
        downloads_arrive_whole,
        cut_off_transfers_show_nothing_half,
        tunnels_reach_the_machine,
        commands_tell_how_they_ended,
        commands_are_ended_when_their_time_is_over,
    }
}

struct Suite<'a, F: HostFixture> {
    fixture: &'a F,
    contract: Contract,
    host: F::Host,
}

impl<F: HostFixture> Suite<'_, F> {
    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.fixture.directory())
    }

    #[track_caller]
    fn names_the_host(&self, error: &Error) {
        let named = error.chain().contains(&self.host.to_string());
        self.contract.holds("errors name the host", named, error);
    }

    async fn content(&self, path: &str) -> Option<Vec<u8>> {
        self.fixture.look(path).await.map(|(content, _)| content)
    }
}

/// How long something may take that only fails to come where it is broken.
const PATIENCE: Duration = Duration::from_secs(120);

/// A name that every careless command would trip over.
const HOSTILE_NAME: &str = "-it's a \"$(name)\" *;é";

/// Bytes of every value, in a pattern that shows what is missing.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8 ^ (at / 251 % 256) as u8).collect()
}
