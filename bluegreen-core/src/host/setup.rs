use crate::error::Result;
use crate::host::{Command, Host, quote};

const PRELUDE: &str = include_str!("setup.sh");

/// A shell script that prepares a host once, so that deploys need few rights there: an administrator reads and runs its
/// [`text`](Self::text), or an adapter [`run`](Self::run)s it. Its body must be safe to repeat.
///
/// In front of the body stand `set -eu`, the variables that it is given, `$deployer` (who deploys: the variable `DEPLOY_USER`, or
/// who called sudo), and two functions:
///
/// - `install_file PATH MODE TEXT` installs a file, and sets `changed`, where it is not so already;
/// - `install_rules NAME TEXT` installs rules for sudo, once `visudo` has found them right.
///
/// ```
/// use bluegreen_core::host::SetupScript;
///
/// let script = SetupScript::new("Lets an account write.", r#"chown "$deployer" "$directory""#);
/// let script = script.variable("directory", "/srv/my shop");
/// assert!(script.text().contains("directory='/srv/my shop'"));
/// ```
#[derive(Debug, Clone)]
pub struct SetupScript {
    purpose: &'static str,
    definitions: String,
    body: String,
}

impl SetupScript {
    /// A script, and what it is for, as a sentence.
    pub fn new(purpose: &'static str, body: impl Into<String>) -> Self {
        Self { purpose, definitions: String::new(), body: body.into() }
    }

    /// Sets a shell variable; any value arrives unchanged.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.definitions.push_str(&format!("{name}={}\n", quote(value)));
        self
    }

    /// The whole text.
    pub fn text(&self) -> String {
        let Self { purpose, definitions, body } = self;
        let about = "It can be repeated, and changes only what is not as it should be.";
        format!("#!/bin/sh\n# {purpose} {about}\n{PRELUDE}\n{definitions}\n{body}")
    }

    /// Runs it on the host: as root, by `sudo -n` where the login is another one, or else as the login.
    ///
    /// # Errors
    /// `Unexpected` with the script's words when it fails.
    pub async fn run(&self, host: &dyn Host, as_root: bool) -> Result<()> {
        let id = Command::new("id").arg("-u");
        let is_root = host.run(&id).await?.ok(&id, host)?.text() == "0";
        let command = Command::script(self.text()).called("set the server up").sudo(as_root && !is_root);
        host.run(&command).await?.ok(&command, host).map(drop)
    }
}
