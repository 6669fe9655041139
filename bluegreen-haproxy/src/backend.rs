//! [`HaproxyBackend`]: the section of HAProxy's configuration that the router needs.

use bluegreen_core::{Error, Result, Slot};

use crate::builder::path;
use crate::name::Name;
use crate::place::NOWHERE;

/// Default for how many servers a slot has: 1.
pub const DEFAULT_SERVERS_PER_SLOT: usize = 1;

/// The largest slot: a line of commands about all its servers stays small.
const MAX_SERVERS_PER_SLOT: usize = 500;

/// What a backend balances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Requests.
    #[default]
    Http,
    /// Connections.
    Tcp,
}

/// A `backend` section as [`HaproxyRouter`](crate::HaproxyRouter) needs it, to be put into HAProxy's configuration once.
///
/// All servers are out of use until a slot is attached and gets a share, so a request is never sent to a slot by accident. Their
/// addresses are names that lead nowhere, because HAProxy restores the address of a server only where the configuration has a name.
///
/// ```
/// use bluegreen_haproxy::HaproxyBackend;
///
/// let backend = HaproxyBackend::new("shop").servers_per_slot(2).server_options("check inter 2s");
/// let section = backend.state_file("/var/lib/bluegreen/haproxy/shop/servers").render()?;
/// assert_eq!(section, "\
/// backend shop
///     mode http
///     balance roundrobin
///     load-server-state-from-file local
///     server-state-file-name /var/lib/bluegreen/haproxy/shop/servers
///     server-template blue 1-2 blue.invalid:1 init-addr last,127.0.0.1 weight 0 disabled check inter 2s
///     server-template green 1-2 green.invalid:1 init-addr last,127.0.0.1 weight 0 disabled check inter 2s
/// ");
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct HaproxyBackend {
    name: String,
    mode: Mode,
    servers_per_slot: usize,
    state_file: Option<String>,
    server_options: String,
    lines: Vec<String>,
}

impl HaproxyBackend {
    /// A backend of this name: HTTP, one server per slot.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            mode: Mode::default(),
            servers_per_slot: DEFAULT_SERVERS_PER_SLOT,
            state_file: None,
            server_options: String::new(),
            lines: Vec::new(),
        }
    }

    /// Sets what it balances. Default: [`Mode::Http`].
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets how many endpoints a slot can have. Default: 1 ([`DEFAULT_SERVERS_PER_SLOT`]); 500 at most.
    pub fn servers_per_slot(mut self, servers: usize) -> Self {
        self.servers_per_slot = servers;
        self
    }

    /// Has HAProxy read at its start what the router wrote last:
    /// [`state_file`](crate::HaproxyRouterBuilder::state_file), the file `servers` in its state directory.
    pub fn state_file(mut self, path: impl Into<String>) -> Self {
        self.state_file = Some(path.into());
        self
    }

    /// Adds words to each server: `check inter 2s`, `maxconn 100`.
    pub fn server_options(mut self, words: impl Into<String>) -> Self {
        self.server_options = words.into();
        self
    }

    /// Adds a line of your own to the section: `option httpchk GET /health`, `stick on src`.
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// The text of the section.
    ///
    /// # Errors
    /// `Config` with the value that is refused: a line of yours stays one line.
    pub fn render(&self) -> Result<String> {
        let name = Name::new("backend", self.name.as_str())?;
        if !(1..=MAX_SERVERS_PER_SLOT).contains(&self.servers_per_slot) {
            let count = self.servers_per_slot;
            return Err(Error::config(format!("{count} servers per slot: use 1 to {MAX_SERVERS_PER_SLOT}")));
        }
        let mode = match self.mode {
            Mode::Http => "http",
            Mode::Tcp => "tcp",
        };
        let mut lines = vec![format!("mode {mode}"), "balance roundrobin".to_owned()];
        if let Some(file) = &self.state_file {
            lines.push("load-server-state-from-file local".to_owned());
            lines.push(format!("server-state-file-name {}", path(file)?));
        }
        for line in &self.lines {
            lines.push(one_line(line)?.to_owned());
        }
        let options = one_line(&self.server_options)?;
        for slot in Slot::BOTH {
            let count = self.servers_per_slot;
            let template = format!(
                "server-template {slot} 1-{count} {slot}.invalid:{NOWHERE} init-addr last,127.0.0.1 weight 0 disabled {options}"
            );
            lines.push(template.trim_end().to_owned());
        }
        Ok(format!("backend {name}\n    {}\n", lines.join("\n    ")))
    }
}

fn one_line(text: &str) -> Result<&str> {
    match text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        true => Ok(text),
        false => Err(Error::config(format!("{text:?} is more than one line of visible ASCII"))),
    }
}
