//! The README and the guides: their code is that of the examples, and the examples do what the pages say.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use bluegreen::local::ProcessRuntime;
use bluegreen::testing::part_is_here;
use bluegreen::{Runtime, Slot};
use rustix::process::{Pid, Signal, kill_process};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The code block that follows a mark, such as `<!-- hello -->`.
fn block(page: &str, mark: &str) -> String {
    let text = std::fs::read_to_string(repository().join(page)).unwrap();
    let after = text.split_once(&format!("<!-- {mark} -->\n```")).unwrap_or_else(|| panic!("{page} has no {mark}")).1;
    let code = after.split_once('\n').unwrap().1;
    code.split_once("```").unwrap().0.to_owned()
}

fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is not built: `cargo build -p bluegreen-examples --examples`", path.display());
    path
}

#[test]
fn the_code_on_the_pages_is_the_code_of_the_examples() {
    for (page, file) in [
        ("README.md", "examples/proxy.rs"),
        ("README.md", "examples/shop.rs"),
        ("docs/guides/axum.md", "examples/axum-service.rs"),
    ] {
        let code = std::fs::read_to_string(repository().join(file)).unwrap();
        // The pages leave out what the file says about itself.
        let code = code.split_once("\n\n").unwrap().1;
        assert!(block(page, file) == code, "the code in {page} is not that of {file}");
    }
}

/// A directory in which the README's programs run; nothing is left running.
struct Shop {
    folder: tempfile::TempDir,
    address: SocketAddr,
    proxy: Option<Child>,
}

impl Shop {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let prepared =
            Command::new("sh").arg("-ec").arg(block("README.md", "hello")).current_dir(folder.path()).status();
        assert!(prepared.unwrap().success());
        Self { folder, address, proxy: None }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(example(program));
        command.current_dir(self.folder.path()).env("SHOP_ADDRESS", self.address.to_string()).stdin(Stdio::null());
        command
    }

    fn start_proxy(&mut self) {
        self.proxy = Some(self.command("proxy").spawn().unwrap());
        let socket = self.folder.path().join("state/proxy.socket");
        let end = Instant::now() + Duration::from_secs(60);
        while !socket.exists() || TcpStream::connect(self.address).is_err() {
            assert!(Instant::now() < end, "the proxy does not listen on {}", self.address);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A deployer in a process of its own.
    fn shop(&self, words: &[&str]) -> Output {
        self.command("shop").args(words).output().unwrap()
    }

    fn does(&self, words: &[&str]) -> String {
        let output = self.shop(words);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "shop {words:?} failed:\n{out}\n{err}");
        out.into_owned()
    }

    /// The version that the proxy says has answered.
    fn served(&self) -> String {
        let answer = request(self.address, "HEAD", "/");
        let line = answer.lines().find_map(|line| line.strip_prefix("x-bluegreen-version: "));
        line.unwrap_or_else(|| panic!("no release answered:\n{answer}")).trim().to_owned()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        if let Some(mut proxy) = self.proxy.take() {
            let _ = proxy.kill();
            let _ = proxy.wait();
        }
        let runtime = ProcessRuntime::builder(self.folder.path().join("state/processes")).build().unwrap();
        let ending = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for slot in Slot::BOTH {
            let _ = ending.block_on(runtime.stop(slot, Duration::from_secs(5)));
        }
    }
}

fn request(address: SocketAddr, method: &str, path: &str) -> String {
    let mut server = TcpStream::connect(address).unwrap();
    let length = if method == "POST" { "content-length: 0\r\n" } else { "" };
    write!(server, "{method} {path} HTTP/1.1\r\nhost: shop\r\n{length}connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    server.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_programs_of_the_readme_deploy_stage_promote_and_roll_back_in_processes_of_their_own() {
    let has_python =
        Command::new("python3").args(["-c", "import http.server"]).status().is_ok_and(|done| done.success());
    if !part_is_here("python3 with http.server", has_python, "install python3") {
        return;
    }
    let mut shop = Shop::new();
    shop.start_proxy();
    shop.does(&["deploy", "1.0", "./hello"]);
    assert_eq!(shop.served(), "1.0");
    let report = shop.does(&["deploy", "1.1", "./hello"]);
    assert!(report.contains("soak-10") && report.contains("answers in a row as 1.1"), "{report}");
    assert_eq!(shop.served(), "1.1");
    shop.does(&["rollback"]);
    assert_eq!(shop.served(), "1.0");

    shop.does(&["stage", "1.2", "./hello"]);
    assert_eq!(shop.served(), "1.0", "what is staged gets no traffic");
    shop.does(&["promote"]);
    assert_eq!(shop.served(), "1.2");
    assert!(shop.does(&["status"]).contains("1.2"));

    let refused = shop.shop(&["deploy", "1.2", "./hello"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("1.2 is live already"), "{refused:?}");
}

#[test]
fn the_axum_service_of_the_guide_deploys_refuses_and_rolls_back() {
    let mut service = Command::new(example("axum-service"))
        .env("LISTEN", "127.0.0.1:0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(service.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
    let address = said.trim().strip_prefix("listens on ").unwrap().parse().unwrap();
    let status = |method: &str, path: &str| request(address, method, path).split(' ').nth(1).unwrap().to_owned();
    let seen = [
        status("POST", "/deploy/1.0"),
        status("POST", "/deploy/1.1"),
        status("POST", "/deploy/1.1"),
        status("POST", "/deploy/not%20a%20version"),
        status("POST", "/rollback"),
        status("GET", "/status"),
    ];
    kill_process(Pid::from_child(&service), Signal::INT).unwrap();
    let ended = service.wait().unwrap();
    assert_eq!(seen, ["200", "200", "409", "400", "200", "200"]);
    assert!(ended.success(), "asked to end, it ends by itself: {ended}");
}
