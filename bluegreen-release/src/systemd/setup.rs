//! What is done on a server once, by someone who may.

use bluegreen_core::host::quote;
use bluegreen_core::{Command, Result, Slot};

use super::settings::Scope;
use super::{SystemdRuntime, unit};

/// What the deployer asks systemd for. Each is a rule of its own for sudo.
const VERBS: [&str; 6] = ["start --no-block", "stop --no-block", "kill -s KILL", "reset-failed", "enable", "disable"];

impl SystemdRuntime {
    /// Sets the server up: installs the units, the rules for sudo and the service's directory. It can be repeated, and changes
    /// only what is not as it should be. Needs root (by `sudo -n`, where the login is not root) unless
    /// [`user_units`](super::SystemdRuntimeBuilder::user_units) are used.
    ///
    /// # Errors
    /// `Unexpected` with the script's words when it fails.
    pub async fn setup(&self) -> Result<()> {
        let command = Command::script(self.setup_script()).called("set the server up");
        let command = command.sudo(matches!(self.settings.scope, Scope::System { .. }) && !self.is_root().await?);
        self.host.run(&command).await?.ok(&command, &*self.host)?;
        Ok(())
    }

    /// The script that [`setup`](Self::setup) runs, to be read and run by an administrator instead: as root (the variable
    /// `DEPLOY_USER` then says who deploys), or, for user units, as the user who deploys.
    pub fn setup_script(&self) -> String {
        let settings = &self.settings;
        let units: String = match settings.units {
            Some(_) => String::new(),
            None => Slot::BOTH
                .iter()
                .map(|slot| {
                    let text = quote(&unit::render(settings, *slot));
                    format!("install_file \"$units\"/{} 644 {text}\n", settings.unit(*slot))
                })
                .collect(),
        };
        let rules: String = Slot::BOTH
            .iter()
            .flat_map(|slot| {
                VERBS.map(|verb| format!("$deployer ALL=(root) NOPASSWD: $systemctl {verb} {}\n", settings.unit(*slot)))
            })
            .collect();
        let directory = quote(&settings.directory);
        let body = match &settings.scope {
            Scope::User => format!(
                "units=$HOME/.config/systemd/user scope=--user\nmkdir -p \"$units\" {directory}\n{units}{RELOAD}"
            ),
            Scope::System { user } => format!(
                "units=/etc/systemd/system scope=\nuser={user} service={service} directory={directory}\n{units}{RELOAD}\
                 systemctl=$(command -v systemctl)\nrules=\"{rules}\"\n{SYSTEM}",
                user = quote(user),
                service = quote(&settings.service),
            ),
        };
        format!("{PROLOGUE}\n{body}")
    }

    async fn is_root(&self) -> Result<bool> {
        let command = Command::new("id").arg("-u");
        Ok(self.host.run(&command).await?.ok(&command, &*self.host)?.text() == "0")
    }
}

const PROLOGUE: &str = include_str!("scripts/setup.sh");
const SYSTEM: &str = include_str!("scripts/setup_system.sh");
const RELOAD: &str = "[ -z \"$changed\" ] || systemctl $scope daemon-reload\n";
