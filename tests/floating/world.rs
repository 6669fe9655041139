//! Everything together: the network, its servers, who moves the address, a repository, and the tool's settings.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bluegreen_core::Slot;
use bluegreen_core::state::State;
use bluegreen_core::testing::part_is_here;
use bluegreen_testkit::fakes::FakeServer;
use bluegreen_testkit::lab::{Network, Outcome, Watch, ask, watch};
use bluegreen_testkit::ssh::keygen;
use tempfile::TempDir;

use crate::cloud::{Cloud, NUMBER, Variant};
use crate::server::Server;

/// The servers' own addresses.
pub(crate) const BLUE: &str = "10.77.0.11";
pub(crate) const GREEN: &str = "10.77.0.22";

/// The application has that many versions.
const VERSIONS: u32 = 20;

/// Ends with the value, in this order: servers before the network that they are in.
pub(crate) struct World {
    pub(crate) blue: std::sync::Arc<Server>,
    pub(crate) green: std::sync::Arc<Server>,
    pub(crate) api: Option<FakeServer>,
    pub(crate) cloud: Cloud,
    network: Network,
    variant: Variant,
    directory: TempDir,
}

impl World {
    /// Two servers to which nothing was deployed yet, or what is missing.
    pub(crate) async fn start(variant: Variant) -> Option<Self> {
        let parts = [
            ("/usr/sbin/sshd", "openssh-server"),
            ("nginx", "nginx-light"),
            ("git", "git"),
            ("ss", "iproute2"),
            ("python3", "python3-minimal"),
        ];
        for (part, package) in parts {
            let found = Command::new("sh").args(["-c", "command -v \"$1\"", "sh", part]).output();
            let is_here = found.is_ok_and(|output| output.status.success());
            if !part_is_here(part, is_here, &format!("install {package}")) {
                return None;
            }
        }
        let network = Network::create()?;
        let directory = tempfile::Builder::new().prefix("bluegreen-floating-").tempdir().unwrap();
        let key = directory.path().join("key");
        keygen(&key);
        let start = |slot: Slot, address| {
            Server::start(network.server(slot), address, &directory.path().join(slot.as_str()), &key).into()
        };
        let (blue, green) = (start(Slot::Blue, BLUE), start(Slot::Green, GREEN));
        make_repository(&directory.path().join("sample_app"));
        let (cloud, api) = Cloud::start(variant, &network).await;
        let world = Self { blue, green, api, cloud, network, variant, directory };
        world.write_settings();
        Some(world)
    }

    /// As [`start`](Self::start), with v1 live on blue.
    pub(crate) async fn with_v1(variant: Variant) -> Option<Self> {
        let world = Self::start(variant).await?;
        world.run(&["deploy", "v1"]).await;
        Some(world)
    }

    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    pub(crate) fn variant(&self) -> Variant {
        self.variant
    }

    pub(crate) fn settings(&self) -> PathBuf {
        self.path("deploy.toml")
    }

    /// The API at another port, after an outage.
    pub(crate) async fn renew_api(&mut self) {
        self.api = self.cloud.serve(&self.network).await;
        self.write_settings();
    }

    /// The record.
    pub(crate) fn state(&self) -> State {
        State::from_bytes(&fs::read(self.path("state/sample_app.json")).unwrap()).unwrap()
    }

    /// A client of the public address.
    pub(crate) fn watch(&self) -> Watch {
        watch(&self.network.client, Network::address(Network::V4))
    }

    /// One answer.
    pub(crate) async fn ask(&self, address: &str) -> Outcome {
        self.network.client.run(ask(Network::address(address))).await
    }

    /// The router, the runtime and the record agree, nobody holds the lease, one server has the address, and this version
    /// answers there.
    pub(crate) async fn is_settled_on(&self, version: &str) {
        let status = self.run(&["status"]).await;
        assert!(!status.contains("drift"), "{status}");
        let state = self.state();
        assert!(state.lease.is_none() && state.operation.is_none(), "{status}");
        assert_eq!(self.ask(Network::V4).await, Outcome::Answered(version.to_owned()), "{status}");
        assert_eq!(Some(self.network.sole_holder(Network::V4)), state.live, "{status}");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write_settings(&self) {
        let here = self.directory.path().display();
        let host = |name: &str, address: &str| {
            format!(
                "Host {name}\n  HostName {address}\n  User root\n  IdentityFile {here}/key\n  IdentitiesOnly yes\n  \
                 UserKnownHostsFile {here}/known_hosts\n"
            )
        };
        fs::write(self.path("ssh_config"), host("blue", BLUE) + &host("green", GREEN)).unwrap();
        fs::write(self.path("known_hosts"), self.blue.known_host(BLUE) + &self.green.known_host(GREEN)).unwrap();
        let server = |server: &Server, name: &str, address: &str, id: u32| {
            let app = server.app().display().to_string();
            format!(
                "[{name}]\nssh = \"{name}\"\ndirectory = \"{app}\"\nweb = \"{address}:80\"\nid = {id}\ninterface = \"eth0\"\n\
                 marks = \"{app}-marks\"\n"
            )
        };
        let api = self.api.as_ref().map(|api| format!("api = \"{}\"\n", api.url())).unwrap_or_default();
        let address = Network::V4;
        let text = format!(
            "service = \"sample_app\"\nrepository = \"{here}/sample_app\"\naddress = \"{address}\"\n\
             public = \"http://{address}\"\nstate = \"{here}/state\"\nssh_config = \"{here}/ssh_config\"\n\
             floating_ip = {NUMBER}\n{api}"
        );
        let servers = server(&self.blue, "blue", BLUE, 11) + &server(&self.green, "green", GREEN, 22);
        fs::write(self.settings(), text + &servers).unwrap();
    }
}

fn make_repository(path: &Path) {
    let script = format!(
        "set -e; git init -q --initial-branch=master \"$1\"; cd \"$1\"
         git config user.name Test; git config user.email test@example.com
         for number in $(seq 1 {VERSIONS}); do
             echo \"v$number\" > index.html; git add index.html
             git -c commit.gpgsign=false commit -qm \"Version $number\"; git -c tag.gpgsign=false tag \"v$number\"
         done"
    );
    let made = Command::new("sh").args(["-c", &script, "sh"]).arg(path).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
