//! What is in the images of `compose-shop`: api, web, worker, migration and healthcheck, as one static program.
//!
//! Of the standard library alone, so that `rustc` builds it within seconds and without a crate. The version is in
//! `VERSION`, and what is wrong with it in `BUG`: see [`Bug`].

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Shared by both slots.
const SCHEMA: &str = "/data/schema";
const CALLS: &str = "/data/calls";

/// What a release does wrong.
#[derive(PartialEq)]
enum Bug {
    None,
    /// `errors-after=300`: from that request on, one in ten fails.
    ErrorsAfter(u64),
    /// `slow-after=300`: from that request on, one in four takes 700 ms.
    SlowAfter(u64),
    /// Its health page says 503.
    Unhealthy,
    /// The worker ends with status 3.
    Crash,
    /// The worker takes memory without an end.
    Leak,
    /// `slow-migration=5`: it takes that many seconds.
    SlowMigration(u64),
}

#[derive(Default)]
struct Counters {
    begun: AtomicU64,
    requests: AtomicU64,
    failed: AtomicU64,
    within_100_ms: AtomicU64,
    within_500_ms: AtomicU64,
    micros: AtomicU64,
}

struct Shop {
    version: String,
    bug: Bug,
    token: String,
    counters: Counters,
}

fn main() -> std::io::Result<()> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let shop = Shop {
        version: std::env::var("VERSION").unwrap_or_default(),
        bug: bug(&std::env::var("BUG").unwrap_or_default()),
        token: format!("token-{:?}", Instant::now()).replace(|c: char| !c.is_ascii_digit(), ""),
        counters: Counters::default(),
    };
    match words[..] {
        ["api"] => shop.serve(3001, Shop::api),
        ["web"] => shop.serve(3000, Shop::web),
        ["worker"] => shop.work(),
        ["migrate"] => shop.migrate(),
        ["health", port] => is_healthy(port),
        _ => Err(std::io::Error::other("use api, web, worker, migrate, or health PORT")),
    }
}

fn bug(text: &str) -> Bug {
    match text.split_once('=').map_or((text, 0), |(name, after)| (name, after.parse().unwrap_or(0))) {
        ("errors-after", after) => Bug::ErrorsAfter(after),
        ("slow-after", after) => Bug::SlowAfter(after),
        ("unhealthy", _) => Bug::Unhealthy,
        ("crash", _) => Bug::Crash,
        ("leak", _) => Bug::Leak,
        ("slow-migration", seconds) => Bug::SlowMigration(seconds),
        _ => Bug::None,
    }
}

struct Request {
    method: String,
    path: String,
    authorization: String,
    body: String,
}

type Answer = (u16, String);

impl Shop {
    fn serve(self, port: u16, answer: fn(&Self, &Request) -> Answer) -> std::io::Result<()> {
        let listener = TcpListener::bind(("0.0.0.0", port))?;
        eprintln!("{} listens on port {port}", self.version);
        std::thread::scope(|scope| {
            for stream in listener.incoming() {
                let (shop, stream) = (&self, stream?);
                scope.spawn(move || {
                    if let Err(error) = shop.connection(stream, answer) {
                        eprintln!("a connection ended: {error}");
                    }
                });
            }
            Ok(())
        })
    }

    /// One request; nginx and the checks open a connection for each.
    fn connection(&self, stream: TcpStream, answer: fn(&Self, &Request) -> Answer) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let Some(request) = read(&stream)? else { return Ok(()) };
        let (status, body) = answer(self, &request);
        let kind = if body.starts_with('{') { "application/json" } else { "text/plain" };
        let (version, length) = (&self.version, body.len());
        write!(
            &stream,
            "HTTP/1.1 {status} -\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nx-version: {version}\r\n\
             connection: close\r\n\r\n{body}"
        )
    }

    fn api(&self, request: &Request) -> Answer {
        let version = &self.version;
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/health" | "/api/v1/health") if self.bug == Bug::Unhealthy => {
                (503, r#"{"status":"cannot reach the database"}"#.to_owned())
            }
            ("GET", "/health" | "/api/v1/health") => (200, format!(r#"{{"status":"ok","version":"{version}"}}"#)),
            ("GET", "/version") => (200, version.clone()),
            ("GET", "/metrics") => (200, self.metrics()),
            _ => self.counted(request),
        }
    }

    /// What users ask for. It is counted, and has the bugs.
    fn counted(&self, request: &Request) -> Answer {
        let (began, counters) = (Instant::now(), &self.counters);
        let number = counters.begun.fetch_add(1, Relaxed) + 1;
        let fails = matches!(self.bug, Bug::ErrorsAfter(after) if number > after && number % 10 == 0);
        if matches!(self.bug, Bug::SlowAfter(after) if number > after && number % 4 == 0) {
            std::thread::sleep(Duration::from_millis(700));
        }
        let answer = if fails {
            eprintln!("request {number}: no connection to the quota service");
            (500, r#"{"error":"no connection to the quota service"}"#.to_owned())
        } else {
            self.business(request)
        };
        let took = began.elapsed();
        counters.requests.fetch_add(1, Relaxed);
        counters.failed.fetch_add(u64::from(answer.0 >= 500), Relaxed);
        counters.within_100_ms.fetch_add(u64::from(took <= Duration::from_millis(100)), Relaxed);
        counters.within_500_ms.fetch_add(u64::from(took <= Duration::from_millis(500)), Relaxed);
        counters.micros.fetch_add(took.as_micros() as u64, Relaxed);
        answer
    }

    fn business(&self, request: &Request) -> Answer {
        let refused = || (401, r#"{"error":"who are you?"}"#.to_owned());
        let known = request.authorization == format!("Bearer {}", self.token);
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/") => (200, format!("hello from {}\n", self.version)),
            ("POST", "/api/v1/auth/login") if request.body.contains(r#""password":"test123""#) => {
                (200, format!(r#"{{"token":"{}"}}"#, self.token))
            }
            ("POST", "/api/v1/auth/login") => refused(),
            ("POST", "/admin/api/v1/api-keys" | "/api/v1/calls") if !known => refused(),
            ("POST", "/admin/api/v1/api-keys") => (201, r#"{"key":"k-1","scopes":["calls:read"]}"#.to_owned()),
            ("POST", "/api/v1/calls") => match append(CALLS, &format!("call by {}", self.version)) {
                Ok(()) => (201, r#"{"state":"queued"}"#.to_owned()),
                Err(error) => (500, format!(r#"{{"error":"{error}"}}"#)),
            },
            _ => (404, r#"{"error":"not here"}"#.to_owned()),
        }
    }

    fn metrics(&self) -> String {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        let Counters { requests, failed, within_100_ms, within_500_ms, micros, .. } = &self.counters;
        let (failed, requests) = (read(failed), read(requests));
        format!(
            "# TYPE http_requests_total counter\n\
             http_requests_total{{status=\"200\"}} {}\n\
             http_requests_total{{status=\"500\"}} {failed}\n\
             # TYPE http_request_duration_seconds histogram\n\
             http_request_duration_seconds_bucket{{le=\"0.1\"}} {}\n\
             http_request_duration_seconds_bucket{{le=\"0.5\"}} {}\n\
             http_request_duration_seconds_bucket{{le=\"+Inf\"}} {requests}\n\
             http_request_duration_seconds_sum {}\n\
             http_request_duration_seconds_count {requests}\n",
            requests.saturating_sub(failed),
            read(within_100_ms).min(requests),
            read(within_500_ms).min(requests),
            read(micros) as f64 / 1e6,
        )
    }

    fn web(&self, request: &Request) -> Answer {
        let version = &self.version;
        match request.path.as_str() {
            "/" => (200, format!("<!doctype html><title>Shop</title>Welcome to the shop {version}\n")),
            "/api/health" | "/health" => (200, format!(r#"{{"status":"ok","version":"{version}"}}"#)),
            _ => (404, "not here\n".to_owned()),
        }
    }

    /// Makes the calls that were queued.
    fn work(&self) -> std::io::Result<()> {
        eprintln!("the worker of {} begins", self.version);
        std::thread::sleep(Duration::from_millis(200));
        match self.bug {
            Bug::Crash => {
                eprintln!("the queue speaks another protocol");
                std::process::exit(3);
            }
            Bug::Leak => {
                let mut all: Vec<Vec<u8>> = Vec::new();
                loop {
                    all.push(vec![1; 1 << 20]);
                }
            }
            _ => {}
        }
        let own = format!("call by {}", self.version);
        let mut made = 0;
        loop {
            let queued = std::fs::read_to_string(CALLS).unwrap_or_default();
            for _ in queued.lines().filter(|line| *line == own).skip(made) {
                made += 1;
                eprintln!("call {made} is made");
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Adds what this version needs, once, and takes nothing away from the version before.
    fn migrate(&self) -> std::io::Result<()> {
        let line = format!("expanded for {}", self.version);
        let schema = std::fs::read_to_string(SCHEMA).unwrap_or_default();
        if schema.lines().any(|done| done == line) {
            println!("nothing to do");
            return Ok(());
        }
        if let Bug::SlowMigration(seconds) = self.bug {
            std::thread::sleep(Duration::from_secs(seconds));
        }
        println!("{line}");
        append(SCHEMA, &line)
    }
}

fn append(path: &str, line: &str) -> std::io::Result<()> {
    writeln!(OpenOptions::new().create(true).append(true).open(path)?, "{line}")
}

/// Reads a request; `None` when the client has nothing to say.
fn read(stream: &TcpStream) -> std::io::Result<Option<Request>> {
    let (mut reader, mut line) = (BufReader::new(stream), String::new());
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (mut length, mut authorization) = (0_u64, String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "authorization" => authorization = value.trim().to_owned(),
            _ => {}
        }
    }
    let mut body = String::new();
    reader.take(length.min(1 << 16)).read_to_string(&mut body)?;
    Ok(Some(Request { method, path, authorization, body }))
}

/// The healthcheck: exit status 0 when the page says so.
fn is_healthy(port: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}"))?;
    stream.write_all(b"GET /health HTTP/1.1\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200") {
        return Ok(());
    }
    Err(std::io::Error::other(answer.lines().last().unwrap_or("no answer").to_owned()))
}
