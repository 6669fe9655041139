//! What is done on a server once, by someone who may, so that deploys need no root.

use bluegreen_core::Result;
use bluegreen_core::host::SetupScript;

use super::NginxRouter;

impl NginxRouter {
    /// A script that an administrator runs once, as root, so that the account that deploys needs neither root nor a rule for a
    /// shell: it makes the directories of the site and of the state, includes the site in nginx's configuration, and writes
    /// the rules for sudo. It can be repeated, and changes only what is not as it should be. The variable `DEPLOY_USER` says
    /// who deploys, where that is not who calls sudo.
    ///
    /// It is for a [`Layout::directory`](crate::Layout::directory) of the account's own, and for
    /// [`Commands::nginx`](crate::Commands::nginx) with `["sudo", "-n", "nginx"]`.
    ///
    /// ```
    /// use bluegreen_core::LocalHost;
    /// use bluegreen_nginx::{Commands, Layout, NginxConfig, NginxRouter};
    ///
    /// let config = NginxConfig::new("shop")
    ///     .server_name("shop.example.com")
    ///     .slots((["127.0.0.1:4001"], ["127.0.0.1:4002"]))
    ///     .layout(Layout::debian().directory("/srv/shop/nginx"))
    ///     .commands(Commands::new().nginx(["sudo", "-n", "nginx"]));
    /// let script = NginxRouter::new(LocalHost::new(), config)?.setup_script();
    /// assert!(script.contains("include /srv/shop/nginx/sites/*.conf;"));
    /// # Ok::<(), bluegreen_core::Error>(())
    /// ```
    pub fn setup_script(&self) -> String {
        self.script_of_setup().text()
    }

    /// Runs [`setup_script`](Self::setup_script) on the host, by `sudo -n` where the login is not root.
    ///
    /// # Errors
    /// `Unexpected` with the script's words when it fails.
    pub async fn setup(&self) -> Result<()> {
        self.script_of_setup().run(&*self.server.host, true).await
    }

    fn script_of_setup(&self) -> SetupScript {
        let config = &self.server.config;
        let site_file = config.site_file_path();
        let sites = site_file.rsplit_once('/').map_or("", |(directory, _)| directory);
        SetupScript::new("Lets an account that is not root deploy behind nginx.", SCRIPT)
            .variable("service", &config.service)
            .variable("state", &config.state_directory_path())
            .variable("sites", sites)
            .variable("include", &format!("include {sites}/*.conf;\n"))
            .variable("by_sudo", if config.commands.is_nginx_by_sudo() { "yes" } else { "" })
    }
}

const SCRIPT: &str = include_str!("../scripts/setup.sh");
