//! Pages and the files that they ask for, across a switch.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bluegreen_core::Release;
use bluegreen_core::pipeline::{Strategy, TrafficStep};

use crate::service::Service;

/// Its page asks for a script by a name with a hash, and it has only its own script, as such apps do.
const APP: &str = r#"
import http.server, os, signal, threading

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        version = os.environ["VERSION"]
        if self.path == "/version":
            status, body = 200, version
        elif self.path == "/":
            status, body = 200, open("public/index.html").read()
        elif os.path.isfile("public" + self.path):
            status, body = 200, open("public" + self.path).read()
        else:
            status, body = 404, "not here"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
"#;

fn script_of(version: &str) -> String {
    format!("/assets/app-{}.js", &bluegreen_core::sha256_hex(version)[..12])
}

fn build(service: &Service, version: &str) -> Release {
    let assets = service.path(version).join("public/assets");
    std::fs::create_dir_all(&assets).unwrap();
    std::fs::write(service.path(version).join("shop.py"), APP).unwrap();
    let script = script_of(version);
    std::fs::write(service.path(version).join("public/index.html"), format!("<script src=\"{script}\">")).unwrap();
    std::fs::write(service.path(version).join(format!("public{script}")), format!("script of {version}")).unwrap();
    std::fs::write(assets.join("manifest.json"), version).unwrap();
    Release::new(version).unwrap().with_artifact(service.path(version))
}

/// The status and the body, over a connection of its own.
fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect((address, 80)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: shop.test\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// The script that a page asks for.
fn asked_by(page: &str) -> String {
    page.split('"').nth(1).unwrap().to_owned()
}

/// Opens pages, and fetches their scripts a little later, as browsers do.
struct Browser {
    stop: Arc<AtomicBool>,
    /// How often each script was fetched, by status.
    seen: Arc<Mutex<BTreeMap<(String, u16), u64>>>,
    thread: std::thread::JoinHandle<()>,
}

impl Browser {
    fn open(address: String, delay: Duration) -> Self {
        let (stop, seen) = <(Arc<AtomicBool>, Arc<Mutex<BTreeMap<_, u64>>>)>::default();
        let (ends, counts) = (stop.clone(), seen.clone());
        let thread = std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                let script = asked_by(&get(&address, "/").1);
                std::thread::sleep(delay);
                let (status, _) = get(&address, &script);
                *counts.lock().unwrap().entry((script, status)).or_default() += 1;
            }
        });
        Self { stop, seen, thread }
    }

    fn close(self) -> BTreeMap<(String, u16), u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_both_versions_find_their_files_before_during_and_after_a_switch() {
    let assets = r#"assets = "public/assets""#;
    let location = r#"locations = [{ path = "/assets/", assets = "/srv/shop/assets/" }]"#;
    let Some(service) = Service::start_with(assets, location).await else { return };
    let address = service.server.address();
    service.pipeline().deploy(build(&service, "1.0")).await.unwrap();
    let old_page = get(&address, "/").1;
    let browsers = [20, 100, 400].map(|millis| Browser::open(address.clone(), Duration::from_millis(millis)));

    let steps = [TrafficStep::new(50, Duration::from_secs(4)), TrafficStep::new(100, Duration::ZERO)];
    let canary = Strategy::canary(steps);
    let pipeline = service.builder().strategy(canary).build().unwrap();
    pipeline.deploy(build(&service, "2.0")).await.unwrap_or_else(|error| panic!("{}", error.render()));
    let new_page = get(&address, "/").1;
    assert_eq!(get(&address, &asked_by(&old_page)), (200, "script of 1.0".to_owned()), "after the switch");
    assert_eq!(get(&address, "/assets/manifest.json"), (200, "2.0".to_owned()), "a manifest is the live release's own");
    pipeline.rollback().await.unwrap();
    assert_eq!(get(&address, "/").1, old_page);
    assert_eq!(get(&address, &asked_by(&new_page)), (200, "script of 2.0".to_owned()), "after the way back");
    assert_eq!(get(&address, "/assets/manifest.json"), (200, "1.0".to_owned()));

    for seen in browsers.map(Browser::close) {
        let failed: Vec<_> = seen.keys().filter(|(_, status)| *status != 200).collect();
        assert!(failed.is_empty() && seen.len() == 2, "{seen:?}");
    }
}
