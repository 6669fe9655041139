//! What the flag check costs by the key of the buckets, the length of the flags' path, and the form of the check.

use std::path::Path;

use bluegreen_nginx::{BucketBy, Location, NginxConfig};
use bluegreen_testkit::nginx::TestNginx;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ROUNDS: usize = 150;
/// In one connection; nginx closes it after 1000 unless told otherwise.
const REQUESTS: usize = 1000;

/// What [`BucketBy::Request`] writes, of which the other keys are made by replacement where no configuration writes them.
const REQUEST: &str = "$connection-$connection_requests";
/// Its name, what the site hashes, and what writes such a site.
type Key = (&'static str, &'static str, fn() -> BucketBy);

const KEYS: [Key; 4] = [
    ("$connection-$connection_requests", REQUEST, || BucketBy::Request),
    ("$request_id", "$request_id", || BucketBy::Request),
    ("the client's address", REQUEST, || BucketBy::ClientAddress),
    ("a cookie that the client has", REQUEST, || BucketBy::Cookie("held".into())),
];
const LONG: &str = "a-directory-in-a-path-of-many/and-another-one-below-that/and-another-one-below-that\
                    /and-another-one-below-that/and-another-one-below-that/and-another-one-below-that";

/// How a slot is found.
#[derive(Clone, Copy)]
enum Form {
    /// It is given.
    Fixed,
    /// It is given, and the bucket is found all the same.
    Bucket,
    /// As the site does it: a file per bucket of green.
    If,
    /// A link per bucket to a directory named like the slot, which a map reads from the path.
    Map,
}

/// The sites with each key, path and form answer a path by themselves, with requests that come one after the other over one
/// connection: so the check is a good part of what nginx does at all.
pub(crate) async fn table() {
    let nginx = TestNginx::start().unwrap();
    let paths = [nginx.path("s"), nginx.path(LONG)];
    paths.iter().for_each(|path| flags(path));
    let mut sites = vec![site(&nginx, "fixed", &paths[0], 0, Form::Fixed)];
    for key in 0..KEYS.len() {
        sites.push(site(&nginx, &format!("bucket{key}"), &paths[0], key, Form::Bucket));
    }
    for (number, path) in paths.iter().enumerate() {
        for (form, name) in [(Form::If, "if"), (Form::Map, "map")] {
            for key in 0..KEYS.len() {
                sites.push(site(&nginx, &format!("{name}{key}path{number}"), path, key, form));
            }
        }
    }
    nginx.reload();
    let costs = costs(&nginx, &sites).await;
    let [short, long] = paths.map(|path| path.display().to_string().len());
    println!("the price of the flag check by its parts: CPU time in µs beside the {:.2} µs of a request", costs[0]);
    let heads = [format!("if -f, {short}"), format!("if -f, {long}"), format!("map, {short}"), format!("map, {long}")];
    let [if_short, if_long, map_short, map_long] = heads;
    println!(
        "    {:34} {:>8} {if_short:>11} {if_long:>11} {map_short:>11} {map_long:>11}",
        "key, and bytes of the path", "bucket"
    );
    let beside = |kind: usize, key: usize| costs[1 + kind * KEYS.len() + key] - costs[0];
    for (key, (name, ..)) in KEYS.iter().enumerate() {
        // In the order of the sites: the bucket, `if` and `map` with the short path, and with the long one.
        let [bucket, if_short, map_short, if_long, map_long] = std::array::from_fn(|kind| beside(kind, key));
        println!("    {name:34} {bucket:8.2} {if_short:11.2} {if_long:11.2} {map_short:11.2} {map_long:11.2}");
    }
}

/// All is green, in both forms: each key then costs one look at a flag.
fn flags(state: &Path) {
    for directory in ["green-100", "links", "green"] {
        std::fs::create_dir_all(state.join(directory)).unwrap();
    }
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, state.join(name)).unwrap();
    link("green-100", "live");
    link("links", "mapped");
    for bucket in 0..100 {
        std::fs::write(state.join(format!("green-100/{bucket:02}")), "").unwrap();
        link("../green", &format!("links/{bucket:02}"));
    }
}

/// The generated site, with another key or form put into its text. Its name is its host name.
fn site(nginx: &TestNginx, name: &str, state: &Path, key: usize, form: Form) -> String {
    let (_, key, by) = KEYS[key];
    let state = state.display().to_string();
    let mut settings = nginx.settings(name);
    settings["layout"]["state_directory"] = state.as_str().into();
    let config: NginxConfig = serde_json::from_value(settings).unwrap();
    let config = config
        .bucket_by(by())
        .slots((["127.0.0.1:1"], ["127.0.0.1:1"]))
        .location(Location::respond("/slot", 200, "SLOT"));
    let text = config.render().unwrap().replace(REQUEST, key);
    let (slot, begin) = (format!("$bg_{name}_slot"), format!("    set $bg_{name}_slot none;\n"));
    let (before, rest) = text.split_once(&begin).unwrap();
    let (check, after) = rest.split_once("\n\n").unwrap();
    assert!(check.trim_start().starts_with("if (-f "), "{check}");
    let (map, check, slot) = match form {
        Form::Fixed => (String::new(), format!("    set {slot} green;"), slot),
        Form::Bucket => (String::new(), format!("    set {slot} $bg_{name}_bucket;\n    set {slot} green;"), slot),
        Form::If => (String::new(), format!("{begin}{check}"), slot),
        Form::Map => (
            format!("map $realpath_root $bg_{name}_mapped {{ default none; ~/blue$ blue; ~/green$ green; }}\n"),
            format!("    set {slot} none;\n    root {state}/mapped/$bg_{name}_bucket;"),
            format!("$bg_{name}_mapped"),
        ),
    };
    let text = format!("{map}{before}{check}\n\n{after}").replace("\"SLOT\"", &slot);
    std::fs::write(nginx.path(format!("conf.d/{name}.conf")), text).unwrap();
    format!("{name}.test")
}

/// CPU time of nginx per request of each site, in µs.
async fn costs(nginx: &TestNginx, sites: &[String]) -> Vec<f64> {
    let mut costs = vec![Vec::new(); sites.len()];
    for round in 0..ROUNDS {
        for turn in 0..sites.len() {
            let number = (round + turn) % sites.len();
            let before = nginx.cpu_time();
            requests(&nginx.address(), &sites[number]).await;
            costs[number].push((nginx.cpu_time() - before).as_secs_f64() * 1e6 / REQUESTS as f64);
        }
    }
    // As for the whole check: the quickest fifth had its core for itself.
    let quick = |mut cost: Vec<f64>| {
        cost.sort_by(f64::total_cmp);
        cost[ROUNDS / 5]
    };
    costs.into_iter().map(quick).collect()
}

/// All at once over one connection, and all answered by green.
async fn requests(address: &str, host: &str) {
    let one = |more: &str| format!("GET /slot HTTP/1.1\r\nHost: {host}\r\nCookie: held=07\r\n{more}\r\n");
    let all = one("").repeat(REQUESTS - 1) + &one("Connection: close\r\n");
    let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
    let written = tokio::spawn(async move { write.write_all(all.as_bytes()).await.map(|()| write) });
    let mut answers = String::new();
    read.read_to_string(&mut answers).await.unwrap();
    drop(written.await.unwrap().unwrap());
    assert_eq!(
        answers.matches("\r\n\r\ngreen").count(),
        REQUESTS,
        "{host}: {}",
        answers.get(..400).unwrap_or(&answers)
    );
}
