//! The example `floating-ip` in its lab, as a user tries it: everything on this machine.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bluegreen_core::testing::part_is_here;

/// Cargo builds the examples of a package before it runs its tests, unless it was told to build one test only.
fn binary() -> PathBuf {
    let service = Path::new(env!("CARGO_BIN_EXE_demo-service"));
    let binary = service.parent().unwrap().join("examples/floating-ip");
    assert!(binary.exists(), "build the examples first: cargo build --examples");
    binary
}

/// A lab in a folder of its own; it ends with this value.
struct Lab {
    folder: tempfile::TempDir,
    process: Child,
}

impl Lab {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = Command::new(binary()).arg("lab").env("TMPDIR", folder.path()).stdout(Stdio::null()).spawn();
        let lab = Self { folder, process: process.unwrap() };
        let start = Instant::now();
        while lab.addresses().is_none() {
            assert!(start.elapsed() < Duration::from_secs(20), "the lab does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        lab
    }

    /// Public, blue, green.
    fn addresses(&self) -> Option<Vec<String>> {
        let folder = std::fs::read_dir(self.folder.path()).ok()?.next()?.ok()?.path();
        let text = std::fs::read_to_string(folder.join("addresses")).ok()?;
        Some(text.lines().map(str::to_owned).collect())
    }

    fn run(&self, words: &[&str]) -> (bool, String) {
        let mut command = Command::new(binary());
        let output =
            command.args(["--provider", "lab"]).args(words).env("TMPDIR", self.folder.path()).output().unwrap();
        let text = [output.stderr, output.stdout].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    fn succeeds(&self, words: &[&str], says: &str) {
        let (success, text) = self.run(words);
        assert!(success && text.contains(says), "{words:?}: {text}");
    }

    fn page(&self, number: usize) -> String {
        use std::io::{Read, Write};
        let mut server = std::net::TcpStream::connect(&self.addresses().unwrap()[number]).unwrap();
        server.write_all(b"GET / HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        server.read_to_string(&mut text).unwrap();
        text.rsplit("\r\n\r\n").next().unwrap().trim().to_owned()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_whole_story_runs_on_this_machine_alone() {
    let git = Command::new("git").arg("--version").output();
    if !part_is_here("git", git.is_ok(), "install git") {
        return;
    }
    let lab = Lab::start();
    lab.succeeds(&["setup"], "green is ready");
    lab.succeeds(&["deploy", "v1"], "deploy of sample_app v1 (blue): succeeded");
    lab.succeeds(&["deploy", "v2", "--stage"], "stage of sample_app v2 (green): succeeded");
    assert_eq!([lab.page(0), lab.page(1), lab.page(2)], ["App v1", "App v1", "App v2"]);
    lab.succeeds(&["promote"], "promote of sample_app v2 (green): succeeded");
    assert_eq!(lab.page(0), "App v2");
    lab.succeeds(&["rollback"], "rollback of sample_app v1 (blue): succeeded");
    assert_eq!(lab.page(0), "App v1");
    lab.succeeds(&["status"], "green  retained  running v2");
    lab.succeeds(&["recover"], "nothing was unfinished");
    lab.succeeds(&["deploy", "v3"], "deploy of sample_app v3 (green): succeeded");
    assert_eq!(lab.page(0), "App v3");
}

#[test]
fn without_a_lab_it_says_how_to_get_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary());
    let output = command.args(["--provider", "lab", "status"]).env("TMPDIR", folder.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("start it in another terminal"), "{text}");
}
