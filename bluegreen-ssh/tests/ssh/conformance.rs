//! The contract of `Host`, on a real server.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::testing::conformance::{self, CutOff, HostFixture};
use bluegreen_core::testing::part_is_here;
use bluegreen_ssh::SshHost;
use bluegreen_testkit::ssh::{Kind, Sshd};
use tempfile::TempDir;

use crate::reach::Reach;

/// A server on this machine: its files are seen through the standard library.
struct Server {
    host: SshHost,
    directory: TempDir,
    /// Whether its tunnels reach sockets.
    sockets: bool,
    sudo: bool,
    cut_offs: Vec<CutOff>,
}

impl Server {
    /// The whole suite with fewer cut-offs: they are about this side, and the same with every server.
    async fn keeps_the_contract(host: SshHost, sockets: bool, sudo: bool) {
        let times = [3000, 30_000].map(Duration::from_micros).map(CutOff::Time);
        let cut_offs = [2, 6].map(CutOff::Polls).into_iter().chain(times).collect();
        let server = Self { host, directory: tempfile::tempdir().unwrap(), sockets, sudo, cut_offs };
        conformance::host(&server).await;
    }
}

#[async_trait]
impl HostFixture for Server {
    type Host = SshHost;

    async fn open(&self) -> SshHost {
        self.host.clone()
    }

    fn directory(&self) -> String {
        self.directory.path().to_str().unwrap().to_owned()
    }

    async fn look(&self, path: &str) -> Option<(Vec<u8>, u32)> {
        let mode = fs::metadata(path).ok()?.permissions().mode() & 0o7777;
        Some((fs::read(path).ok()?, mode))
    }

    async fn look_at_link(&self, path: &str) -> Option<String> {
        fs::read_link(path).ok().map(|target| target.to_str().unwrap().to_owned())
    }

    async fn list(&self, directory: &str) -> Vec<String> {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    async fn identity(&self, path: &str) -> Option<String> {
        fs::metadata(path).ok().map(|meta| meta.ino().to_string())
    }

    async fn put(&self, path: &str, contents: &[u8]) {
        fs::write(path, contents).unwrap();
    }

    async fn make_directory(&self, path: &str) {
        fs::create_dir_all(path).unwrap();
    }

    async fn greeter(&self, greeting: &[u8]) -> Option<String> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, greeting) = (listener.local_addr().unwrap(), greeting.to_vec());
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                connection.unwrap().write_all(&greeting).unwrap();
            }
        });
        Some(address.to_string())
    }

    async fn socket_greeter(&self, greeting: &[u8]) -> Option<String> {
        if !self.sockets {
            return None;
        }
        let path = self.directory.path().join("greeter.sock");
        let (listener, greeting) = (std::os::unix::net::UnixListener::bind(&path).unwrap(), greeting.to_vec());
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                connection.unwrap().write_all(&greeting).unwrap();
            }
        });
        Some(format!("unix:{}", path.display()))
    }

    fn has_sudo(&self) -> bool {
        self.sudo
            && std::process::Command::new("sudo")
                .args(["-n", "true"])
                .output()
                .is_ok_and(|output| output.status.success())
    }

    fn cut_offs(&self) -> Vec<CutOff> {
        self.cut_offs.clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssh_keeps_the_contract_of_a_host() {
    needs_sshd!();
    let sshd = Sshd::start();
    let (directory, cut_offs) = (tempfile::tempdir().unwrap(), CutOff::usual());
    conformance::host(&Server { host: sshd.host(), directory, sockets: true, sudo: true, cut_offs }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssh_of_the_next_debian_keeps_the_contract_of_a_host() {
    if let Some(sshd) = Sshd::newer() {
        Server::keeps_the_contract(sshd.host(), true, true).await;
    }
}

async fn another(kind: Kind, sockets: bool) {
    if let Some(server) = kind.start() {
        Server::keeps_the_contract(server.host(), sockets, true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropbear_keeps_the_contract_of_a_host() {
    another(Kind::Dropbear, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropbear_of_the_next_debian_keeps_the_contract_of_a_host() {
    another(Kind::NewerDropbear, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asyncssh_keeps_the_contract_of_a_host() {
    another(Kind::Asyncssh, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paramiko_keeps_the_contract_of_a_host() {
    another(Kind::Paramiko, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conch_keeps_the_contract_of_a_host() {
    another(Kind::Conch, false).await;
}

/// With this program as the login shell, which finds other programs where `path` says.
async fn login_shell(shell: &str, path: &str) {
    needs_sshd!();
    let program = shell.split(' ').next().unwrap();
    let works = std::process::Command::new(program).args(shell.split(' ').skip(1)).args(["-c", "exit 0"]).output();
    if !part_is_here(shell, works.is_ok_and(|output| output.status.success()), "install it") {
        return;
    }
    let sshd =
        Sshd::with(&format!("SetEnv SHLVL=1 PATH={path}\nForceCommand exec {shell} -c \"$SSH_ORIGINAL_COMMAND\""));
    Server::keeps_the_contract(sshd.host(), true, path == PATH).await;
}

const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fish_as_the_login_shell_keeps_the_contract_of_a_host() {
    login_shell("/usr/bin/fish", PATH).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcsh_as_the_login_shell_keeps_the_contract_of_a_host() {
    login_shell("/usr/bin/tcsh", PATH).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zsh_as_the_login_shell_keeps_the_contract_of_a_host() {
    login_shell("/usr/bin/zsh", PATH).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mksh_as_the_login_shell_keeps_the_contract_of_a_host() {
    login_shell("/usr/bin/mksh", PATH).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busybox_alone_keeps_the_contract_of_a_host() {
    let programs = tempfile::tempdir().unwrap();
    let install = std::process::Command::new("/bin/busybox").args(["--install", "-s"]).arg(programs.path()).output();
    if part_is_here("busybox", install.is_ok_and(|output| output.status.success()), "install busybox-static") {
        login_shell("/bin/busybox sh", programs.path().to_str().unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_that_prints_and_traces_keeps_the_contract_of_a_host() {
    needs_sshd!();
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(".bashrc"), "echo Welcome; printf Mind >&2; export SHELLOPTS; set -xv\n").unwrap();
    let sshd = Sshd::with(&format!("SetEnv SHLVL=0 HOME={}", home.path().display()));
    Server::keeps_the_contract(sshd.host(), true, true).await;
}
