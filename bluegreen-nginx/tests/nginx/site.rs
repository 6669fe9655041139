//! The generated site on a real nginx: what it does, and that no value can break out of its place.

use std::collections::BTreeMap;
use std::time::Duration;

use bluegreen_core::{Error, ErrorKind, LocalHost, Router, Slot};
use bluegreen_nginx::{BucketBy, Commands, Layout, Location, NginxConfig, NginxRouter};

use bluegreen_testkit::address::free_address;
use bluegreen_testkit::nginx::TestNginx;
use bluegreen_testkit::traffic::{App, Client, get};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::setup::{BLUE, Setup, flags, links};
use crate::sites::Sites;

/// What somebody might try to smuggle in.
const HOSTILE: &[&str] = &[
    "",
    " ",
    ";",
    "}",
    "{",
    "#",
    "x; return 200 pwned",
    "x;}} server { listen 81; return 200 pwned; }",
    "\"",
    "'",
    "\"; return 200 pwned; #",
    "'; return 200 pwned; #",
    "\\",
    "\\\"",
    "x\\",
    "$host",
    "${host}",
    "x$",
    "a b",
    "a\tb",
    "a\nb",
    "a\r\nX-Evil: 1",
    "a\0b",
    "~^.*$",
    "= /",
    "@x",
    "*",
    "?",
    "[x]",
    "(x)",
    "<x>",
    "|x",
    "x|id",
    "`id`",
    "$(id)",
    "x&y",
    "%0a",
    "%s",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "{# x #}",
    "../../etc/passwd",
    "/no/such/file",
    "/x/../y",
    "include /etc/passwd",
    "é",
    "日本",
    "\u{202e}x",
    "\u{7f}",
    "-x",
    "--",
    "x/",
    "/x; return 200 pwned; /",
    "/x;}} server { listen 81; return 200 pwned; } #/",
    "/{/",
    "/}/",
    "/#/",
    "/x y/",
    "/\"; return 200 pwned; /",
    "/'/",
    "/\\/",
    "/$host/",
    "/a\nb/",
    "/../",
    "~ /",
    "/no/such/directory/",
    "81; return 200 pwned; ",
    "81 ssl",
    "127.0.0.1:81;} server { listen 82; #",
];

type Put = fn(NginxConfig, &str) -> NginxConfig;

/// Every place that takes text.
const PLACES: &[(&str, Put)] = &[
    ("service", |config, text| config.service(text)),
    ("listen", |config, text| config.listen(text)),
    ("TLS listen", |config, text| config.tls("/etc/certificate.pem", "/etc/key.pem").tls_listen(text)),
    ("server name", |config, text| config.server_name(text)),
    ("certificate", |config, text| config.tls(text, "/etc/key.pem")),
    ("key", |config, text| config.tls("/etc/certificate.pem", text)),
    ("slot", |config, text| config.slots(([text], [text]))),
    ("cookie", |config, text| config.bucket_by(BucketBy::Cookie(text.into()))),
    ("request header name", |config, text| config.request_header(text, "x")),
    ("request header value", |config, text| config.request_header("X-Test", text)),
    ("response header name", |config, text| config.response_header(text, "x")),
    ("response header value", |config, text| config.response_header("X-Test", text)),
    ("include", |config, text| config.include(text)),
    ("deployment id", |config, text| config.deployment_id(text)),
    ("location", |config, text| config.location(Location::respond(text, 200, "x"))),
    ("files path", |config, text| config.location(Location::files(text, "/files/"))),
    ("files", |config, text| config.location(Location::files("/files/", text))),
    ("assets", |config, text| config.location(Location::assets("/files/", text))),
    ("proxy path", |config, text| config.location(Location::proxy(text, "127.0.0.1:4002"))),
    ("proxy", |config, text| config.location(Location::proxy("/proxy/", text))),
    ("text", |config, text| config.location(Location::respond("/text", 200, text))),
    ("state directory", |config, text| config.layout(Layout::debian().state_directory(text))),
];

/// The directives of a configuration and the depth of each, as nginx reads them: words are what differs.
fn shape(text: &str) -> Vec<(usize, String)> {
    let (mut shape, mut depth, mut word, mut first) = (Vec::new(), 0, String::new(), None);
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        match sign {
            '#' if word.is_empty() => while signs.next_if(|sign| *sign != '\n').is_some() {},
            '"' if word.is_empty() => {
                while let Some(sign) = signs.next() {
                    match sign {
                        '\\' => drop(signs.next()),
                        '"' => break,
                        _ => {}
                    }
                }
                word.push('"');
            }
            ';' | '{' | '}' => {
                first.get_or_insert(std::mem::take(&mut word));
                word.clear();
                shape.push((depth, format!("{}{sign}", first.take().unwrap_or_default())));
                depth = match sign {
                    '{' => depth + 1,
                    '}' => depth - 1,
                    _ => depth,
                };
            }
            sign if sign.is_whitespace() => {
                if !word.is_empty() {
                    first.get_or_insert(std::mem::take(&mut word));
                    word.clear();
                }
            }
            sign => word.push(sign),
        }
    }
    shape
}

type Render = fn(&NginxConfig) -> Result<String, Error>;

/// Every text that is made of a configuration, and where nginx reads it.
const TEXTS: &[(&str, Render, &str)] = &[
    ("flags", |config| config.render(), "conf.d/shop.conf"),
    ("blue's site", |config| config.render_slot(Slot::Blue), "sites-enabled/shop"),
    ("green's site", |config| config.render_slot(Slot::Green), "sites-enabled/shop"),
];

#[tokio::test(flavor = "multi_thread")]
async fn no_value_can_add_a_directive() {
    let Some(nginx) = TestNginx::start() else { return };
    // With backups, a slot's own site has the addresses of both.
    let base = || nginx.config("shop").slots((["127.0.0.1:4000"], ["127.0.0.1:4001"])).backup(true);
    // A harmless value of the kind that the place takes tells what the configuration has to look like.
    let harmless = ["81", "name.test", "/harmless", "127.0.0.1:4002", "harmless", "/harmless/"];
    for (name, render, file) in TEXTS {
        let mut accepted = 0;
        for (place, put) in PLACES {
            let shapes: Vec<_> =
                harmless.iter().filter_map(|text| render(&put(base(), text)).ok()).map(|t| shape(&t)).collect();
            assert!(!shapes.is_empty(), "{name}, {place}: nothing is accepted");
            for hostile in HOSTILE {
                let Ok(text) = render(&put(base(), hostile)) else { continue };
                accepted += 1;
                assert!(
                    shapes.contains(&shape(&text)),
                    "{name}, {place}: {hostile:?} changed what nginx reads:\n{text}"
                );
                std::fs::write(nginx.path(file), &text).unwrap();
                let (fine, said) = nginx.test();
                // A file that is not there is the only thing nginx may mind.
                assert!(fine || said.contains("No such file or directory"), "{name}, {place}: {hostile:?}: {said}");
            }
        }
        assert!(accepted > 20, "{name}: nearly everything was refused, so nothing was tested: {accepted}");
        std::fs::remove_file(nginx.path(file)).unwrap();
    }
}

#[test]
fn the_shape_of_a_configuration_sees_what_a_smuggled_value_would_add() {
    let clean = shape("server { add_header X \"a\"; return 200; }");
    assert_eq!(clean, shape("server { add_header X \"b; } {\\\" # x\"; return 200; }"));
    assert_ne!(clean, shape("server { add_header X \"a\"; return 200 pwned; #\"; return 200; }"));
    assert_ne!(clean, shape("server { add_header X a; } server { return 200; }"));
}

#[tokio::test(flavor = "multi_thread")]
async fn header_values_and_texts_arrive_exactly_as_they_were_given() {
    let printable: String = (b' '..=b'~').map(char::from).filter(|c| *c != '$').collect();
    let values =
        [printable.trim(), "a\\\"b", "\\n", "\"quoted\"", "it's; {x} # y", "{{ 7 * 7 }}", "\\", "max-age=1; a"];
    let configure = |mut config: NginxConfig| {
        for (number, value) in values.iter().enumerate() {
            config = config
                .request_header(format!("X-To-App-{number}"), *value)
                .response_header(format!("X-To-Client-{number}"), *value)
                .location(Location::respond(format!("/text/{number}"), 200, *value));
        }
        config
    };
    let Some(s) = flags(TestNginx::start(), configure).await else { return };
    s.first().await;
    let answer = s.get_path("/headers").await;
    for (number, value) in values.iter().enumerate() {
        assert_eq!(answer.header(&format!("x-to-client-{number}")), Some(*value));
        let line = format!("x-to-app-{number}: {value}");
        assert!(answer.body.lines().any(|have| have == line), "{line}: {}", answer.body);
        assert_eq!(s.get_path(&format!("/text/{number}")).await.body, *value);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_app_is_told_who_asks_and_how() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let answer = s.get_path("/headers").await.body;
    let headers: BTreeMap<_, _> = answer.lines().filter_map(|line| line.split_once(": ")).collect();
    assert_eq!(headers["host"], "shop.test");
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(headers["x-forwarded-host"], "shop.test");
    assert_eq!(headers["x-forwarded-proto"], "http");
    assert_eq!(headers["x-real-ip"], "127.0.0.1");
    assert_eq!(headers["connection"], "close");
    assert_eq!(headers.get("upgrade"), None);
}

/// The answer to a request of HTTP/1.0 without a host, as simple checks send it.
async fn ask_without_host(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_host_reaches_a_strict_app_with_one() {
    let names: [(&[&str], &str); 3] =
        [(&[], "shop.test"), (&["*.wild.test"], "wild.test"), (&[".dot.test"], "dot.test")];
    for (first, wanted) in names {
        let Some(nginx) = TestNginx::start() else { return };
        let mut config = nginx.files("shop").listen(nginx.address());
        for name in first.iter().chain(&["shop.test"]) {
            config = config.server_name(*name);
        }
        let Some(s) = flags(Some(nginx), |_| config).await else { return };
        s.first().await;
        let strict = ask_without_host(&s.nginx.address(), "/strict").await;
        assert!(strict.starts_with("HTTP/1.1 200 "), "{wanted}: {strict}");
        let headers = ask_without_host(&s.nginx.address(), "/headers").await;
        for name in ["host", "x-forwarded-host"] {
            assert!(headers.lines().any(|line| line == format!("{name}: {wanted}")), "{wanted}: {headers}");
        }
    }
    let Some(nginx) = TestNginx::start() else { return };
    let config = nginx.files("shop").listen(nginx.address()).default_server(true);
    let Some(s) = flags(Some(nginx), |_| config).await else { return };
    s.first().await;
    let strict = ask_without_host(&s.nginx.address(), "/strict").await;
    assert!(strict.starts_with("HTTP/1.1 200 "), "without a name: {strict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_long_headers_arrives() {
    // What others set for all sites does not fit our sizes, and must not make the configuration one that nginx refuses.
    let others = "proxy_busy_buffers_size 8k; proxy_temp_file_write_size 8k;";
    let Some(s) = flags(TestNginx::start_with(others), |config| config).await else { return };
    s.first().await;
    let mut statuses = Vec::new();
    for bytes in [4_000, 30_000, 40_000] {
        statuses.push(s.get_path(&format!("/large?{bytes}")).await.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 502]);
    let Some(s) = flags(TestNginx::start(), |config| config.answer_headers(64 << 10)).await else { return };
    s.first().await;
    assert_eq!(s.get_path("/large?40000").await.status, 200);
    for bytes in [0, 1 << 30] {
        let refused = NginxConfig::new("shop").server_name("shop.test").answer_headers(bytes).render();
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Config);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn extra_locations_are_served_beside_the_app() {
    let other = App::start("other").await;
    let address = other.address();
    let Some(nginx) = TestNginx::start() else { return };
    std::fs::create_dir(nginx.path("assets")).unwrap();
    std::fs::write(nginx.path("assets/logo.txt"), "logo").unwrap();
    std::fs::write(nginx.path("mine.conf"), "location = /mine { return 200 mine; }").unwrap();
    let assets = format!("{}/", nginx.path("assets").display());
    let mine = nginx.path("mine.conf").display().to_string();
    let configure = |config: NginxConfig| {
        config
            .location(Location::files("/assets/", assets))
            .location(Location::proxy("/other/", address))
            .location(Location::respond("/ping", 201, "pong"))
            .include(mine)
            .deployment_id("/who")
            .read_timeout(Duration::from_secs(1))
            .max_body_size(4)
    };
    let Some(s) = flags(Some(nginx), configure).await else { return };
    s.first().await;
    assert_eq!(s.get_path("/assets/logo.txt").await.body, "logo");
    assert_eq!(s.get_path("/assets../nginx.conf").await.body, "blue", "it is not below the directory");
    assert_eq!(s.get_path("/other/x").await.body, "other");
    let ping = s.get_path("/ping").await;
    assert_eq!((ping.status.as_u16(), ping.body.as_str()), (201, "pong"));
    assert_eq!(s.get_path("/mine").await.body, "mine");
    assert_eq!(s.get_path("/who").await.body, "blue");
    assert_eq!(s.get_path("/deployment_id").await.body, "blue", "the app's own answer");
    assert_eq!(s.get_path("/slow?1500").await.status, 504);
    let mut client = Client::connect(&s.nginx.address(), "shop.test").await.unwrap();
    let too_large = hyper::Request::post("/echo").header("content-length", "5");
    assert_eq!(client.send(too_large).await.unwrap().status, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn assets_come_from_their_directory_and_all_else_from_the_live_app() {
    let nginx = || TestNginx::start().inspect(|nginx| std::fs::create_dir(nginx.path("assets")).unwrap());
    let configure = |nginx: &TestNginx| {
        let assets = Location::assets("/assets/", format!("{}/", nginx.path("assets").display()));
        |config: NginxConfig| config.location(assets)
    };
    let Some(started) = nginx() else { return };
    let configured = configure(&started);
    serves_assets(flags(Some(started), configured).await.unwrap()).await;
    let started = nginx().unwrap();
    let configured = configure(&started);
    serves_assets(links(Some(started), configured).await.unwrap()).await;
}

async fn serves_assets<R: Router>(s: Setup<R>) {
    s.first().await;
    std::fs::write(s.nginx.path("assets/app-4f9d2c1b.js"), "hashed").unwrap();
    let hashed = s.get_path("/assets/app-4f9d2c1b.js").await;
    assert_eq!((hashed.status.as_u16(), hashed.body.as_str()), (200, "hashed"));
    assert_eq!(hashed.headers["cache-control"], "public, max-age=31536000, immutable");
    for path in ["/assets/logo.png", "/assets/", "/assets/deep/app-4f9d2c1b.js"] {
        let reply = s.get_path(path).await;
        assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, "blue"), "{path}");
        assert!(!reply.headers.contains_key("cache-control"), "{path}");
    }
    let mut client = Client::connect(&s.nginx.address(), "shop.test").await.unwrap();
    let posted = client.send(hyper::Request::post("/assets/app-4f9d2c1b.js").header("content-length", "0"));
    assert_eq!(posted.await.unwrap().body, "blue");
    std::fs::remove_dir_all(s.nginx.path("assets")).unwrap();
    assert_eq!(s.get_path("/assets/app-4f9d2c1b.js").await.body, "blue", "also before the first release");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_for_every_host_name_needs_no_name() {
    let Some(nginx) = TestNginx::start() else { return };
    let address = free_address();
    let config = |default: bool| {
        let file = nginx.path("conf.d/any.conf").display().to_string();
        let state = nginx.path("state/any").display().to_string();
        let commands = ["nginx".to_owned(), "-p".into(), nginx.path("").display().to_string(), "-c".into()];
        let layout = Layout::debian()
            .state_directory(state)
            .site_file(file)
            .pid_file(nginx.path("nginx.pid").display().to_string())
            .error_log(nginx.path("error.log").display().to_string());
        let words = commands.into_iter().chain([nginx.path("nginx.conf").display().to_string()]);
        NginxConfig::new("any")
            .listen(&address)
            .default_server(default)
            .layout(layout)
            .commands(Commands::new().nginx(words))
    };
    assert!(NginxRouter::new(LocalHost::new(), config(false)).is_err());
    let router = NginxRouter::new(LocalHost::new(), config(true)).unwrap();
    let app = App::start("any").await;
    router.attach(Slot::Blue, &app.instance()).await.unwrap();
    router.shift(None, BLUE).await.unwrap();
    assert_eq!(get(&address, "whoever.example", "/").await.unwrap().body, "any");
}
