//! What is done on a server once, by someone who may, so that deploys need no root.

use bluegreen_core::Result;
use bluegreen_core::host::SetupScript;

use crate::router::HaproxyRouter;

impl HaproxyRouter {
    /// A script that an administrator runs once, as root, so that the account that deploys needs neither root nor sudo: it
    /// makes the [state directory](crate::HaproxyRouterBuilder::state_directory) and adds the account to the group of the
    /// socket. It can be repeated. The variable `DEPLOY_USER` says who deploys, where that is not who calls sudo.
    ///
    /// HAProxy's configuration is not touched: put a [`HaproxyBackend`](crate::HaproxyBackend) into it, or what you have.
    ///
    /// ```
    /// use bluegreen_core::LocalHost;
    /// use bluegreen_haproxy::HaproxyRouter;
    ///
    /// let router = HaproxyRouter::builder(LocalHost::new(), "shop").build()?;
    /// assert!(router.setup_script().contains("state=/var/lib/bluegreen/haproxy/shop"));
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
        self.script_of_setup().run(self.balancer.host(), true).await
    }

    fn script_of_setup(&self) -> SetupScript {
        let socket = self.balancer.socket.address.strip_prefix("unix:").unwrap_or_default();
        SetupScript::new("Lets an account that is not root switch a backend of HAProxy.", SCRIPT)
            .variable("state", &self.balancer.state_directory)
            .variable("socket", socket)
    }
}

const SCRIPT: &str = include_str!("scripts/setup.sh");
