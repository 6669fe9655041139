//! A release of 20 MB onto one server: by our pipeline, and by a script that opens an ssh or scp for each command, as
//! deploy scripts do. And an upload of 200 MB against scp and sftp.
//!
//! ```text
//! cargo bench -p bluegreen-tests --bench bench-ssh-deploy
//! ```
//!
//! sshd and nginx are started for this, and everything ends with the program, after some minutes. Each deploy goes into
//! an empty slot, beside a live release; what is told is the wall time without the app's own start.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a bench that cannot go on ends")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bluegreen_core::{Host, Progress, Release, Result, Slot};
use bluegreen_ssh::SshHost;
use bluegreen_testkit::beam::{APP, release};
use bluegreen_testkit::delay::delayed;
use bluegreen_testkit::process::run;

mod setup;
#[path = "../../examples/beam-nginx.rs"]
#[allow(dead_code, reason = "only its pipeline is measured")]
mod tool;

use setup::Server;

const VERSION: &str = "2.0.0";
const RELEASE_BYTES: usize = 20 << 20;
const UPLOAD_BYTES: usize = 200 << 20;
const ROUNDS: usize = 5;
/// Half of the round trip, which is then 20 ms.
const ONE_WAY: Duration = Duration::from_millis(10);

/// What the script does is what a deploy by hand takes: directories, environment, tarball, unpack, look who is live, start,
/// tidy, link, reload. It checks nothing and waits for nothing.
const SCRIPT: &str = r#"
set -eu
ssh() { command ssh -F "$CONFIG" $OPTIONS "$@" < /dev/null; }
scp() { command scp -q -F "$CONFIG" $OPTIONS "$@" < /dev/null; }
ssh server "mkdir -p $BASE/$VERSION"
scp "$ENV" server:$BASE/env
scp "$TARBALL" server:$BASE/$VERSION.tar.gz
ssh server "tar -xzf $BASE/$VERSION.tar.gz -C $BASE/$VERSION"
curl -s -o /dev/null "$PUBLIC/deployment_id"
ssh server "set -a; . $BASE/env; ERL_EPMD_PORT=$EPMD PORT=$PORT SLOT=green VERSION=$VERSION RELEASE_NODE=script-green@localhost RELEASE_DISTRIBUTION=sname $BASE/$VERSION/bin/demo_app daemon"
ssh server "rm $BASE/$VERSION.tar.gz"
ssh server "ln -sf $SITES/green $SITES/live && nginx -p $NGINX -c $NGINX/nginx.conf -s reload"
curl -s -o /dev/null "$PUBLIC/deployment_id"
"#;

#[tokio::main]
async fn main() {
    let Some(server) = Server::start() else { return };
    // The script migrates nothing.
    let settings = std::fs::read_to_string(server.path("deploy.toml")).unwrap();
    let settings: Vec<_> = settings.lines().filter(|line| !line.trim().starts_with("migrate = ")).collect();
    std::fs::write(server.path("deploy.toml"), settings.join("\n")).unwrap();
    server.deploy("1.0.0").await.unwrap();
    let tarball = padded(&server);
    let bench = Bench { server, tarball };
    println!("a release of {} MB into an empty slot, {ROUNDS} rounds, medians in seconds", RELEASE_BYTES >> 20);
    println!("{:44} {:>9} {:>9} {:>9}", "", "wall", "app", "overhead");
    for (line, delay) in [("loopback", Duration::ZERO), ("a round trip of 20 ms", ONE_WAY)] {
        println!("{line}");
        bench.compare(delay).await;
    }
    println!("an upload of {} MB on loopback, {ROUNDS} rounds, medians in seconds", UPLOAD_BYTES >> 20);
    bench.uploads().await;
}

struct Bench {
    server: Server,
    tarball: PathBuf,
}

impl Bench {
    async fn compare(&self, delay: Duration) {
        let port = self.server.sshd.port();
        let port = match delay.is_zero() {
            true => port,
            false => delayed(([127, 0, 0, 1], port).into(), delay).await.unwrap().port(),
        };
        self.server.reach_at(port);
        let (daemon, answers) = self.app();
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            times.push(self.ours().await.unwrap());
        }
        tell("  this library, verified and journalled", answers, times);

        let control = self.server.path("control");
        let shared = format!("-oControlMaster=auto -oControlPersist=60 -oControlPath={}", control.display());
        for (name, options) in [
            ("  the script, a connection per command", ""),
            ("  the same, curve25519 key exchange", "-oKexAlgorithms=curve25519-sha256"),
            ("  the same, one shared connection", &shared),
        ] {
            let times = (0..ROUNDS).map(|_| self.script(options)).collect();
            tell(name, daemon, times);
        }
    }

    /// One deploy, over a connection of its own, and the slot as it was before.
    async fn ours(&self) -> Result<Duration> {
        let release = Release::new(VERSION)?.with_artifact(&self.tarball);
        let pipeline = self.server.builder().check_interval(Duration::from_millis(50)).build()?;
        let start = Instant::now();
        let report = pipeline.deploy(release).await?;
        let took = start.elapsed();
        if std::env::var_os("BENCH_STEPS").is_some() {
            println!("{report}");
        }
        pipeline.rollback().await?;
        pipeline.retire_now().await?;
        std::fs::remove_dir_all(self.server.path("app/releases").join(VERSION))?;
        Ok(took)
    }

    fn script(&self, options: &str) -> Duration {
        let path = |name: &str| self.server.path(name).display().to_string();
        let base = self.server.path("by-hand");
        let nginx = self.server.nginx.path("").display().to_string();
        let mut command = Command::new("bash");
        command.args(["-c", SCRIPT]).envs([
            ("CONFIG", path("ssh_config")),
            ("OPTIONS", options.to_owned()),
            ("BASE", base.display().to_string()),
            ("VERSION", VERSION.to_owned()),
            ("ENV", path("env")),
            ("TARBALL", self.tarball.display().to_string()),
            ("PUBLIC", format!("http://{}", self.server.public())),
            ("PORT", self.server.ports()[1].to_string()),
            ("EPMD", self.server.epmd_port().to_string()),
            ("SITES", nginx.clone()),
            ("NGINX", nginx),
        ]);
        let start = Instant::now();
        run(&mut command);
        let took = start.elapsed();
        self.server.kill_node(Slot::Green);
        std::fs::remove_dir_all(&base).unwrap();
        if !options.is_empty() {
            // The next one connects anew, as the next deploy would.
            let config = self.server.path("ssh_config");
            let _ = Command::new("ssh")
                .arg("-F")
                .arg(config)
                .args(options.split(' '))
                .args(["-O", "exit", "server"])
                .output();
        }
        took
    }

    /// How long the app alone takes, without any ssh: until `daemon` returns, and until it answers.
    fn app(&self) -> (Duration, Duration) {
        let directory = self.server.path("alone");
        std::fs::create_dir_all(&directory).unwrap();
        run(Command::new("tar").arg("-xzf").arg(&self.tarball).arg("-C").arg(&directory));
        let port = self.server.ports()[1];
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            let start = Instant::now();
            run(Command::new(directory.join("bin").join(APP)).arg("daemon").envs([
                ("PORT", port.to_string()),
                ("SLOT", "green".to_owned()),
                ("VERSION", VERSION.to_owned()),
                ("RELEASE_NODE", "alone@localhost".to_owned()),
                ("ERL_EPMD_PORT", self.server.epmd_port().to_string()),
                ("DEMO_DATA", self.server.path("data").display().to_string()),
            ]));
            times[0].push(start.elapsed());
            while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
                std::thread::sleep(Duration::from_millis(5));
            }
            times[1].push(start.elapsed());
            self.server.kill_node(Slot::Green);
        }
        std::fs::remove_dir_all(&directory).unwrap();
        let [daemon, answers] = times.map(median);
        (daemon, answers)
    }

    async fn uploads(&self) {
        self.server.reach_at(self.server.sshd.port());
        let (file, config) = (self.server.path("large"), self.server.path("ssh_config"));
        random(&file, UPLOAD_BYTES);
        let arrived = self.server.path("arrived");
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        // In turns, so that what else the machine does hits all of them.
        for _ in 0..ROUNDS {
            let start = Instant::now();
            // A connection of its own, as each of the programs makes one.
            let host: SshHost = self.server.settings().host().unwrap();
            host.upload(&file, arrived.to_str().unwrap(), &Progress::none()).await.unwrap();
            times[0].push(start.elapsed());
            let kinds: [(&str, &[&str]); 2] = [("scp", &["-q", "-F"]), ("sftp", &["-q", "-b", "-", "-F"])];
            for (number, (program, options)) in kinds.into_iter().enumerate() {
                std::fs::remove_file(&arrived).unwrap();
                let line = format!("put {} {}", file.display(), arrived.display());
                let words = match program {
                    "scp" => format!(
                        "exec scp {} '{}' '{}' server:'{}'",
                        options.join(" "),
                        config.display(),
                        file.display(),
                        arrived.display()
                    ),
                    _ => format!("echo '{line}' | sftp {} '{}' server", options.join(" "), config.display()),
                };
                let start = Instant::now();
                run(Command::new("sh").args(["-c", &words]));
                times[number + 1].push(start.elapsed());
                assert_eq!(std::fs::metadata(&arrived).unwrap().len(), UPLOAD_BYTES as u64);
            }
            std::fs::remove_file(&arrived).unwrap();
        }
        let names = ["  this library, with SHA-256 on both sides", "  scp", "  sftp"];
        for (name, times) in names.into_iter().zip(times) {
            println!("{name:44} {:9.2}", median(times).as_secs_f64());
        }
    }
}

fn tell(name: &str, app: Duration, times: Vec<Duration>) {
    let [wall, app] = [median(times), app].map(|time| time.as_secs_f64());
    println!("{name:44} {wall:9.2} {app:9.2} {:9.2}", wall - app);
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// A release with so much noise in it that its tarball has the size of a large one.
fn padded(server: &Server) -> PathBuf {
    let (whole, small) = (server.path("padded"), release(VERSION, ""));
    std::fs::create_dir(&whole).unwrap();
    run(Command::new("tar").arg("-xzf").arg(&small).arg("-C").arg(&whole));
    let size = usize::try_from(std::fs::metadata(&small).unwrap().len()).unwrap();
    random(&whole.join("noise"), RELEASE_BYTES - size);
    let file = server.path("padded.tar.gz");
    let members = std::fs::read_dir(&whole).unwrap().map(|entry| entry.unwrap().file_name());
    run(Command::new("tar").arg("-czf").arg(&file).arg("-C").arg(&whole).args(members));
    file
}

fn random(file: &Path, bytes: usize) {
    run(Command::new("sh").args(["-c", "head -c \"$1\" /dev/urandom > \"$2\"", "sh", &bytes.to_string()]).arg(file));
}
