use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use async_trait::async_trait;

use crate::host::LocalHost;
use crate::testing::conformance::{self, HostFixture};

/// This machine, seen through the standard library.
pub(super) struct ThisMachine(tempfile::TempDir);

impl ThisMachine {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self) -> String {
        self.0.path().to_str().unwrap().to_owned()
    }
}

#[async_trait]
impl HostFixture for ThisMachine {
    type Host = LocalHost;

    async fn open(&self) -> LocalHost {
        LocalHost::new()
    }

    fn directory(&self) -> String {
        self.path()
    }

    async fn look(&self, path: &str) -> Option<(Vec<u8>, u32)> {
        look(path)
    }

    async fn look_at_link(&self, path: &str) -> Option<String> {
        std::fs::read_link(path).ok().map(|target| target.to_str().unwrap().to_owned())
    }

    async fn list(&self, directory: &str) -> Vec<String> {
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    async fn identity(&self, path: &str) -> Option<String> {
        std::fs::metadata(path).ok().map(|meta| meta.ino().to_string())
    }

    async fn put(&self, path: &str, contents: &[u8]) {
        std::fs::write(path, contents).unwrap();
    }

    async fn make_directory(&self, path: &str) {
        std::fs::create_dir_all(path).unwrap();
    }

    async fn greeter(&self, greeting: &[u8]) -> Option<String> {
        Some(greeter(greeting))
    }

    async fn socket_greeter(&self, greeting: &[u8]) -> Option<String> {
        let path = self.0.path().join("greeter.sock");
        let (listener, greeting) = (std::os::unix::net::UnixListener::bind(&path).unwrap(), greeting.to_vec());
        std::thread::spawn(move || {
            for connection in listener.incoming().take(10) {
                connection.unwrap().write_all(&greeting).unwrap();
            }
        });
        Some(format!("unix:{}", path.display()))
    }
}

pub(super) fn look(path: &str) -> Option<(Vec<u8>, u32)> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o7777;
    Some((std::fs::read(path).ok()?, mode))
}

/// Greets the ten connections of a suite, and ends.
pub(super) fn greeter(greeting: &[u8]) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, greeting) = (listener.local_addr().unwrap(), greeting.to_vec());
    std::thread::spawn(move || {
        for connection in listener.incoming().take(10) {
            connection.unwrap().write_all(&greeting).unwrap();
        }
    });
    address.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn this_machine_keeps_its_contract() {
    conformance::host(&ThisMachine::new()).await;
}
