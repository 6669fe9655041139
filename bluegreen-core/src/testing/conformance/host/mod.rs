mod commands;
mod files;
mod transfer;
mod tunnels;

use async_trait::async_trait;

use super::contract::Contract;
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
    suite.commands_get_exactly_what_they_are_given().await;
    suite.secrets_are_not_in_the_process_list().await;
    suite.files_are_read_as_they_are().await;
    suite.files_are_replaced_whole().await;
    suite.files_keep_their_mode_and_nothing_is_left_over().await;
    suite.links_are_replaced_in_one_step().await;
    suite.uploads_arrive_whole_and_once().await;
    suite.downloads_arrive_whole().await;
    suite.cut_off_transfers_show_nothing_half().await;
    suite.tunnels_reach_the_machine().await;
    suite.commands_tell_how_they_ended().await;
    suite.commands_are_ended_when_their_time_is_over().await;
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

/// Words that a shell would change if they were not quoted, or quoted twice.
const HOSTILE: &[&str] = &[
    "",
    " ",
    "a b",
    "it's",
    "\"double\"",
    "\\",
    "\\'",
    "$HOME",
    "$(id)",
    "`id`",
    "a;b",
    "a&&b",
    "a|b",
    "a>b",
    "*",
    "?",
    "[a]",
    "{a,b}",
    "~",
    "#x",
    "!x",
    "line\nbreak",
    "tab\t",
    "\r",
    "-n",
    "--",
    "a=b",
    "é日本",
    "%s",
];

/// A name that every careless command would trip over.
const HOSTILE_NAME: &str = "-it's a \"$(name)\" *;é";

/// Bytes of every value, in a pattern that shows what is missing.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8 ^ (at / 251 % 256) as u8).collect()
}
