//! A release of 5 MB with an environment file onto many servers at once: by a fleet, journalled and verified; by a bash script
//! with one ControlMaster per host; and by Fabric. In turns, on the same servers.
//!
//! ```text
//! FABRIC_PYTHON=venv/bin/python cargo bench -p bluegreen-ssh --bench bench-fleet-ssh -- --members 1,10,50 --round-trip 20
//! ```
//!
//! Each server is an sshd of its own on the loopback, with a key and a directory of its own. All three connect anew in each round,
//! unpack aside, rename, store the environment (mode 0600), switch by rename, remove old releases and read the link back. Without
//! `FABRIC_PYTHON`, an interpreter that has the module, Fabric is left out.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a bench that cannot go on ends")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bluegreen_core::Release;
use bluegreen_testkit::delay::delayed;
use bluegreen_testkit::process::{run, user};
use bluegreen_testkit::ssh::sshd_is_here;
use tempfile::TempDir;

mod servers;
#[allow(dead_code, reason = "the tests use more of it")]
mod site;

use servers::{ENVIRONMENT, KEEP_RELEASES, Server, fleet, pipeline};

const RELEASE_BYTES: usize = 5 << 20;
const FILES: usize = 20;

const BASH: &str = r#"
set -eu
deploy() {
    host=$1 base=$2
    ssh() { command ssh -F "$CONFIG" "$@"; }
    ssh -n "$host" "mkdir -p $base/releases/.$VERSION"
    ssh "$host" "tar -xzf - -C $base/releases/.$VERSION" < "$TARBALL"
    ssh -n "$host" "mv -T $base/releases/.$VERSION $base/releases/$VERSION"
    ssh "$host" "umask 077; cat > $base/env.new && mv $base/env.new $base/env" < "$ENVIRONMENT"
    ssh -n "$host" "ln -sfn releases/$VERSION $base/current.new && mv -T $base/current.new $base/current"
    ssh -n "$host" "cd $base/releases && ls -1t | tail -n +$((KEEP + 1)) | xargs -r rm -rf --"
    [ "$(ssh -n "$host" "readlink $base/current")" = "releases/$VERSION" ]
    ssh -O exit "$host" 2> /dev/null
}
jobs=
while read -r host base; do
    deploy "$host" "$base" < /dev/null & jobs="$jobs $!"
done < "$HOSTS"
for job in $jobs; do wait "$job"; done
"#;

const FABRIC: &str = r#"
import os, concurrent.futures
from fabric import Connection
version, keep = os.environ["VERSION"], int(os.environ["KEEP"])
def deploy(line):
    port, key, base = line.split()
    c = Connection("127.0.0.1", user=os.environ["LOGIN"], port=int(port), connect_kwargs={"key_filename": key, "look_for_keys": False, "allow_agent": False})
    run = lambda command: c.run(command, hide=True, in_stream=False)
    run(f"mkdir -p {base}/releases/.{version}")
    c.put(os.environ["TARBALL"], f"{base}/upload.tar.gz")
    run(f"tar -xzf {base}/upload.tar.gz -C {base}/releases/.{version} && rm {base}/upload.tar.gz")
    run(f"mv -T {base}/releases/.{version} {base}/releases/{version}")
    c.put(os.environ["ENVIRONMENT"], f"{base}/env.new")
    run(f"chmod 600 {base}/env.new && mv {base}/env.new {base}/env")
    run(f"ln -sfn releases/{version} {base}/current.new && mv -T {base}/current.new {base}/current")
    run(f"cd {base}/releases && ls -1t | tail -n +{keep + 1} | xargs -r rm -rf --")
    assert run(f"readlink {base}/current").stdout.strip() == f"releases/{version}"
    c.close()
lines = open(os.environ["HOSTS"]).read().splitlines()
with concurrent.futures.ThreadPoolExecutor(len(lines)) as pool:
    list(pool.map(deploy, lines))
"#;

struct Options {
    members: Vec<usize>,
    round_trip: Option<Duration>,
    rounds: usize,
}

impl Options {
    fn read() -> Self {
        let words: Vec<_> = std::env::args().collect();
        let value = |name: &str| words.iter().position(|word| word == name).map(|at| words[at + 1].clone());
        let members = value("--members").unwrap_or_else(|| "1,10,50".to_owned());
        Self {
            members: members.split(',').map(|count| count.parse().unwrap()).collect(),
            round_trip: value("--round-trip").map(|time| Duration::from_millis(time.parse().unwrap())),
            rounds: value("--rounds").map_or(3, |rounds| rounds.parse().unwrap()),
        }
    }
}

#[tokio::main]
async fn main() {
    if !sshd_is_here() {
        return;
    }
    let (options, scratch) = (Options::read(), tempfile::tempdir().unwrap());
    let fabric = std::env::var_os("FABRIC_PYTHON").map(PathBuf::from);
    if fabric.is_none() {
        println!("Fabric is left out: FABRIC_PYTHON names no interpreter that has it");
    }
    let line = options.round_trip.map_or("loopback".to_owned(), |time| format!("a round trip of {time:?}"));
    println!("a release of {} MB, {line}, medians of {} rounds in seconds", RELEASE_BYTES >> 20, options.rounds);
    println!("load when it began: {}", load());
    println!("| members | fleet | bash | Fabric | of the better one | memory per member |");
    println!("|---|---|---|---|---|---|");
    let (mut alone, mut number) = (None, 0);
    // Neither the first use of the runtime nor that of the allocator is a member's.
    let mut warm_up = Bench::start(1, None, None, scratch.path()).await;
    warm_up.version = "1.0".to_owned();
    warm_up.build();
    warm_up.ours().await;
    for members in options.members {
        let mut bench = Bench::start(members, options.round_trip, fabric.clone(), scratch.path()).await;
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        let mut memory = 0;
        // The first round makes the directories and is not counted.
        for round in 0..=options.rounds {
            number += 1;
            bench.version = format!("1.{number}");
            bench.build();
            let (took, grown) = bench.ours().await;
            let all = [Some(took), Some(bench.bash()), bench.fabric()];
            if round == 0 {
                memory = grown;
                continue;
            }
            times.iter_mut().zip(all).for_each(|(times, took)| times.extend(took));
        }
        let [ours, bash, fabric] = times.map(median);
        let better = [bash, fabric].into_iter().flatten().reduce(f64::min);
        let text = |time: Option<f64>| time.map_or("-".to_owned(), |time| format!("{time:.2}"));
        let ratio = ours.zip(better).map(|(ours, better)| ours / better);
        println!(
            "| {members} | {} | {} | {} | {}x | {} KiB |",
            text(ours),
            text(bash),
            text(fabric),
            text(ratio),
            memory / members as u64
        );
        let one = *alone.get_or_insert(ours.unwrap());
        if members > 1 {
            println!("{members} members take {:.2}x of the time of the first row", ours.unwrap() / one);
        }
    }
    println!("load when it ended: {}", load());
}

struct Bench {
    servers: Vec<Server>,
    fabric: Option<PathBuf>,
    scratch: PathBuf,
    state: TempDir,
    version: String,
}

impl Bench {
    async fn start(members: usize, round_trip: Option<Duration>, fabric: Option<PathBuf>, scratch: &Path) -> Self {
        let mut servers: Vec<_> = (1..=members).map(|number| Server::start(format!("web{number}"))).collect();
        if let Some(time) = round_trip {
            for server in &mut servers {
                let behind = ([127, 0, 0, 1], server.port).into();
                server.port = delayed(behind, time / 2).await.unwrap().port();
            }
        }
        let bench = Self {
            servers,
            fabric,
            scratch: scratch.to_owned(),
            state: tempfile::tempdir().unwrap(),
            version: String::new(),
        };
        std::fs::write(bench.path("env"), ENVIRONMENT).unwrap();
        bench.write("ssh_config", |server| {
            format!(
                "Host {}\nHostName 127.0.0.1\nPort {}\nUser {}\nIdentityFile {}\nIdentitiesOnly yes\nUserKnownHostsFile {}\n\
                 ControlMaster auto\nControlPersist 60\nControlPath {}/control\n",
                server.name,
                server.port,
                user(),
                server.sshd.key().display(),
                server.known_hosts().display(),
                server.sshd.path().display()
            )
        });
        bench.write("bash-hosts", |server| format!("{} {}/bash\n", server.name, server.sshd.path().display()));
        bench.write("fabric-hosts", |server| {
            let (port, key, at) = (server.port, server.sshd.key(), server.sshd.path());
            format!("{port} {} {}/fabric\n", key.display(), at.display())
        });
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    fn tarball(&self) -> PathBuf {
        self.path("release.tar.gz")
    }

    fn write(&self, name: &str, line: impl Fn(&Server) -> String) {
        std::fs::write(self.path(name), self.servers.iter().map(line).collect::<String>()).unwrap();
    }

    /// Noise, which nothing makes smaller, and no file of which is like one of the release before.
    fn build(&self) {
        let script = r#"
            rm -rf "$1" && mkdir "$1"
            for file in $(seq "$2"); do head -c "$3" /dev/urandom > "$1/file$file"; done
            tar -czf "$4" -C "$1" .
        "#;
        let (files, bytes) = (FILES.to_string(), (RELEASE_BYTES / FILES).to_string());
        let mut command = Command::new("sh");
        run(command.args(["-ec", script, "sh"]).arg(self.path("build")).args([files, bytes]).arg(self.tarball()));
    }

    /// How long a deploy takes, and by how many KiB this process has grown in it.
    async fn ours(&self) -> (Duration, u64) {
        let memory = Memory::watch();
        let start = Instant::now();
        let fleet = fleet(&self.servers).build().unwrap();
        let pipeline = pipeline(&fleet, self.state.path()).build().unwrap();
        let release = Release::new(&*self.version).unwrap().with_artifact(self.tarball());
        let report = pipeline.deploy(release).await.unwrap();
        let took = start.elapsed();
        if std::env::var_os("BENCH_STEPS").is_some() {
            println!("{report}");
        }
        let behind = self.servers.iter().find(|server| server.version().as_deref() != Some(&*self.version));
        assert!(behind.is_none(), "{:?}", behind.map(|server| &server.name));
        (took, memory.grown())
    }

    fn bash(&self) -> Duration {
        self.by_script(Command::new("bash").args(["-c", BASH]), "bash-hosts", "bash")
    }

    fn fabric(&self) -> Option<Duration> {
        let python = self.fabric.as_ref()?;
        Some(self.by_script(Command::new(python).args(["-c", FABRIC]), "fabric-hosts", "fabric"))
    }

    fn by_script(&self, command: &mut Command, hosts: &str, directory: &str) -> Duration {
        command.envs([
            ("CONFIG", self.path("ssh_config")),
            ("HOSTS", self.path(hosts)),
            ("TARBALL", self.tarball()),
            ("ENVIRONMENT", self.path("env")),
        ]);
        command.envs([("VERSION", &*self.version), ("KEEP", &KEEP_RELEASES.to_string()), ("LOGIN", &user())]);
        let start = Instant::now();
        run(command);
        let took = start.elapsed();
        for server in &self.servers {
            let link = std::fs::read_link(server.sshd.path().join(directory).join("current")).unwrap();
            assert_eq!(link, Path::new("releases").join(&self.version), "{}", server.name);
        }
        took
    }
}

/// The largest size of this process while it is watched.
struct Memory {
    before: u64,
    done: Arc<AtomicBool>,
    watch: std::thread::JoinHandle<u64>,
}

impl Memory {
    fn watch() -> Self {
        let (before, done) = (resident_kib(), Arc::new(AtomicBool::new(false)));
        let is_done = done.clone();
        let watch = std::thread::spawn(move || {
            let mut largest = 0;
            while !is_done.load(Ordering::Relaxed) {
                largest = resident_kib().max(largest);
                std::thread::sleep(Duration::from_millis(5));
            }
            largest
        });
        Self { before, done, watch }
    }

    fn grown(self) -> u64 {
        self.done.store(true, Ordering::Relaxed);
        self.watch.join().unwrap().saturating_sub(self.before)
    }
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap().split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn median(mut times: Vec<Duration>) -> Option<f64> {
    times.sort();
    times.get(times.len() / 2).map(Duration::as_secs_f64)
}
