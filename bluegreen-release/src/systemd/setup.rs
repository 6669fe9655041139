//! What is done on a server once, by someone who may.

use bluegreen_core::host::{SetupScript, quote};
use bluegreen_core::{Result, Slot};

use super::settings::Scope;
use super::{SystemdRuntime, unit};

/// What the deployer asks systemd for. Each is a rule of its own for sudo.
const VERBS: [&str; 6] = ["start --no-block", "stop --no-block", "kill -s KILL", "reset-failed", "enable", "disable"];

const SYSTEM: &str = include_str!("scripts/setup_system.sh");
const RELOAD: &str = "[ -z \"$changed\" ] || systemctl $scope daemon-reload\n";

impl SystemdRuntime {
    /// Sets the server up: installs the units, the rules for sudo and the service's directory. It can be repeated, and changes
    /// only what is not as it should be. Needs root (by `sudo -n`, where the login is not root) unless
    /// [`user_units`](super::SystemdRuntimeBuilder::user_units) are used.
    ///
    /// # Errors
    /// `Unexpected` with the script's words when it fails.
    pub async fn setup(&self) -> Result<()> {
        self.script_of_setup().run(&*self.slots.host, matches!(self.settings.scope, Scope::System { .. })).await
    }

    /// The script that [`setup`](Self::setup) runs, to be read and run by an administrator instead: as root (the variable
    /// `DEPLOY_USER` then says who deploys), or, for user units, as the user who deploys.
    pub fn setup_script(&self) -> String {
        self.script_of_setup().text()
    }

    fn script_of_setup(&self) -> SetupScript {
        let (slots, settings) = (&self.slots.settings, &self.settings);
        let ours = if settings.units.is_none() { &Slot::BOTH[..] } else { &[] };
        let install = |slot: &Slot| {
            let text = quote(&unit::render(slots, settings, *slot));
            format!("install_file \"$units\"/{} 644 {text}\n", self.unit(*slot))
        };
        let units: String = ours.iter().map(install).collect();
        let purpose = "Sets a server up for deploys with systemd.";
        let script = match &settings.scope {
            Scope::User => {
                let begin = "units=$HOME/.config/systemd/user scope=--user\nmkdir -p \"$units\" \"$directory\"\n";
                SetupScript::new(purpose, format!("{begin}{units}{RELOAD}"))
            }
            Scope::System { user } => {
                let rule =
                    |slot, verb| format!("$deployer ALL=(root) NOPASSWD: $systemctl {verb} {}\n", self.unit(slot));
                let rules: String = Slot::BOTH.iter().flat_map(|slot| VERBS.map(|verb| rule(*slot, verb))).collect();
                let begin = "units=/etc/systemd/system scope= systemctl=$(command -v systemctl)\n";
                SetupScript::new(purpose, format!("{begin}{units}{RELOAD}rules=\"{rules}\"\n{SYSTEM}"))
                    .variable("user", user)
                    .variable("service", &slots.service)
            }
        };
        script.variable("directory", &slots.directory)
    }
}
