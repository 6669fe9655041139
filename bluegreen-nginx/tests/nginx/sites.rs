//! What the routers are told of a test's nginx.

use bluegreen_nginx::{Commands, Layout, NginxConfig};
use bluegreen_testkit::nginx::TestNginx;
use serde_json::json;

pub(crate) trait Sites {
    /// A site on this nginx, with all of its files in the test's directory.
    fn config(&self, service: &str) -> NginxConfig;

    /// Such a site without a listener and a name.
    fn files(&self, service: &str) -> NginxConfig;

    /// The test's directory as the place of a site's files.
    fn layout(&self, service: &str) -> Layout;

    /// What makes the commands act on this nginx.
    fn commands(&self) -> Commands;
}

impl Sites for TestNginx {
    fn config(&self, service: &str) -> NginxConfig {
        serde_json::from_value(self.settings(service)).unwrap()
    }

    fn files(&self, service: &str) -> NginxConfig {
        let mut settings = self.settings(service);
        for part in ["listen", "server_names"] {
            settings[part] = json!([]);
        }
        serde_json::from_value(settings).unwrap()
    }

    fn layout(&self, service: &str) -> Layout {
        serde_json::from_value(self.settings(service)["layout"].take()).unwrap()
    }

    fn commands(&self) -> Commands {
        serde_json::from_value(self.settings("any")["commands"].take()).unwrap()
    }
}
