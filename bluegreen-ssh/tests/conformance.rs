//! The contract of `Host`, on a real server.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use async_trait::async_trait;
use bluegreen_core::testing::conformance::{self, HostFixture};
use bluegreen_ssh::SshHost;
use common::Sshd;
use tempfile::TempDir;

/// A server on this machine: its files are seen through the standard library.
struct Server {
    sshd: Sshd,
    directory: TempDir,
}

#[async_trait]
impl HostFixture for Server {
    type Host = SshHost;

    async fn open(&self) -> SshHost {
        self.sshd.host()
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
        std::process::Command::new("sudo").args(["-n", "true"]).output().is_ok_and(|output| output.status.success())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_keeps_the_contract_of_a_host() {
    needs_sshd!();
    conformance::host(&Server { sshd: Sshd::start(), directory: tempfile::tempdir().unwrap() }).await;
}
