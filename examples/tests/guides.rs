//! The README and the guides: their code is that of the examples, and the examples do what the pages say.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
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
        ("docs/guides/hooks.md", "examples/caches.rs"),
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

/// A redis server of the test's own, on a socket in a directory.
struct Redis {
    socket: PathBuf,
    server: Child,
}

impl Redis {
    fn start(folder: &Path) -> Self {
        let socket = folder.join("redis.sock");
        let server = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(&socket)
            .current_dir(folder)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let redis = Self { socket, server };
        let end = Instant::now() + Duration::from_secs(60);
        while redis.ask(0, &["PING"]) != "PONG" {
            assert!(Instant::now() < end, "redis does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        redis
    }

    fn ask(&self, database: u8, words: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        let output =
            command.arg("-s").arg(&self.socket).args(["-n", &database.to_string()]).args(words).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A chat's webhook: takes each message; while `is_silent`, it takes the connection and never answers.
struct Chat {
    address: SocketAddr,
    is_silent: Arc<AtomicBool>,
    messages: Receiver<String>,
}

impl Chat {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, is_silent, (sender, messages)) =
            (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)), mpsc::channel());
        let silent = is_silent.clone();
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                if silent.load(Ordering::SeqCst) {
                    kept.push(stream);
                    continue;
                }
                let (mut text, mut chunk) = (String::new(), [0; 4096]);
                while !text.ends_with('}') {
                    let count = stream.read(&mut chunk).unwrap();
                    text.push_str(&String::from_utf8_lossy(&chunk[..count]));
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
                if sender.send(text.split_once("\r\n\r\n").unwrap().1.to_owned()).is_err() {
                    return;
                }
            }
        });
        Self { address, is_silent, messages }
    }

    fn message(&self) -> String {
        self.messages.recv_timeout(Duration::from_secs(60)).expect("a message")
    }
}

#[test]
fn the_idle_slots_cache_is_cleared_before_the_switch_the_live_one_is_untouched_and_a_dead_chat_is_no_harm() {
    let has_python =
        Command::new("python3").args(["-c", "import http.server"]).status().is_ok_and(|done| done.success());
    let has_redis = ["redis-server", "redis-cli"]
        .iter()
        .all(|program| Command::new(program).arg("--version").output().is_ok_and(|done| done.status.success()));
    if !part_is_here("python3 with http.server", has_python, "install python3")
        || !part_is_here("redis", has_redis, "install redis-server")
    {
        return;
    }
    let mut shop = Shop::new();
    shop.start_proxy();
    let (redis, chat) = (Redis::start(shop.folder.path()), Chat::start());
    let caches = |words: &[&str]| {
        let chat = format!("http://{}/services/s3cr3t", chat.address);
        let output = shop.command("caches").args(words).env("CACHE", &redis.socket).env("CHAT", chat).output().unwrap();
        let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!told.contains("s3cr3t"), "{told}");
        (output.status.success(), told)
    };
    let pages = || [0, 1].map(|database| redis.ask(database, &["GET", "page"]));

    let (done, told) = caches(&["deploy", "1.0", "./hello"]);
    assert!(done, "{told}");
    assert!(chat.message().contains("deploy of shop 1.0 (blue)"));

    // Blue is live with entries of its own; green has entries of a release that is long gone.
    redis.ask(0, &["SET", "page", "written by 1.0"]);
    redis.ask(1, &["SET", "page", "stale"]);
    let (_, plan) = caches(&["plan", "1.1", "./hello"]);
    assert!(plan.contains("before-shift-100:clear-cache"), "{plan}");
    chat.is_silent.store(true, Ordering::SeqCst);
    let (done, told) = caches(&["deploy", "1.1", "./hello"]);
    assert!(done, "a chat that never answers fails nothing: {told}");
    assert!(told.contains("after-success:tell-chat failed in the background: "), "{told}");
    assert_eq!(pages(), ["written by 1.0", ""], "green's cache was cleared, and blue's was not");
    assert_eq!(shop.served(), "1.1");
    chat.is_silent.store(false, Ordering::SeqCst);

    // A cache that cannot be cleared: nothing moves, and the chat is told.
    redis.ask(0, &["ACL", "SETUSER", "default", "-flushdb"]);
    let (done, told) = caches(&["deploy", "1.2", "./hello"]);
    assert!(!done && told.contains("before-shift-100:clear-cache") && told.contains("NOPERM"), "{told}");
    assert_eq!(shop.served(), "1.1");
    let message = chat.message();
    assert!(
        message.contains("deploy of shop 1.2 (blue)") && message.contains("aborted before any traffic moved"),
        "{message}"
    );
    assert_eq!(pages(), ["written by 1.0", ""]);
}
