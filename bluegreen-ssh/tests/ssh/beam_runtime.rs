//! What a BEAM runtime guarantees beyond the contract, on real releases.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bluegreen_core::testing::part_is_here;
use bluegreen_core::{Effect, ErrorKind, Instance, LocalHost, Migrator, Phase, Result, Runtime, Secret, Slot};
use bluegreen_ssh::{BeamMigrator, BeamRuntime, SshHost};
use bluegreen_testkit::beam::{APP, release};
use bluegreen_testkit::patience::eventually;
use bluegreen_testkit::pids::{environment, runs, send};
use bluegreen_testkit::process::run;
use bluegreen_testkit::ssh::Sshd;
use rustix::process::Signal;
use tokio::task::JoinHandle;

use crate::beam_server::{GRACE, Server, answer, ask, target};
use crate::reach::Reach;
use crate::terminal::Terminal;

const LIVE: Slot = Slot::Blue;
const IDLE: Slot = Slot::Green;

async fn up(runtime: &BeamRuntime, target: &bluegreen_core::Target) -> Instance {
    runtime.prepare(target).await.unwrap();
    runtime.start(target).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_versions_run_side_by_side_as_two_nodes() {
    needs_mix!();
    let server = Server::new();
    let runtime = server.runtime(LocalHost::new());
    let live = up(&runtime, &server.target(LIVE, "1.0.0")).await;
    up(&runtime, &server.target(IDLE, "1.1.0")).await;
    assert_eq!(live.endpoints()[0].address, format!("127.0.0.1:{}", server.ports[0]));
    assert_eq!(server.get(LIVE, "/"), "blue 1.0.0 demo_app-blue@localhost\n");
    assert_eq!(server.get(IDLE, "/"), "green 1.1.0 demo_app-green@localhost\n");
    assert_eq!(runtime.rpc(LIVE, "IO.puts(node())").await.unwrap(), "demo_app-blue@localhost");
    assert_eq!(runtime.rpc(IDLE, "IO.puts(node())").await.unwrap(), "demo_app-green@localhost");

    let before = server.alive(LIVE);
    runtime.stop(IDLE, GRACE).await.unwrap();
    assert_eq!((server.alive(LIVE), server.alive(IDLE)), (before, None));
    let error = runtime.rpc(IDLE, "IO.puts(node())").await.unwrap_err();
    assert!(error.to_string().contains("exit status 1") && error.to_string().contains("nodedown"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_with_a_dot_makes_long_names() {
    needs_mix!();
    let server = Server::new();
    let builder = server.builder(LocalHost::new()).node_host("127.0.0.1").node_names(("shop_one", "shop_two"));
    let runtime = builder.build().unwrap();
    up(&runtime, &server.target(LIVE, "1.0.0")).await;
    assert_eq!(runtime.rpc(LIVE, "IO.puts(node())").await.unwrap(), "shop_one@127.0.0.1");
    assert_eq!(runtime.node(LIVE), "shop_one@127.0.0.1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_crashes_at_boot_is_an_error_with_its_last_lines_and_leaves_nothing() {
    needs_mix!();
    let server = Server::new();
    let runtime = server.runtime(LocalHost::new());
    up(&runtime, &server.target(LIVE, "1.0.0")).await;
    let before = server.alive(LIVE);
    let crashing = server.behaving(IDLE, "1.1.0", "crash-at-boot");
    runtime.prepare(&crashing).await.unwrap();
    let error = runtime.start(&crashing).await.unwrap_err();
    assert!(error.to_string().contains("this release crashes at boot"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unexpected);
    assert_eq!(server.processes_of(IDLE), [0; 0]);
    assert_eq!(server.alive(LIVE), before);
    let found = runtime.inspect(IDLE).await.unwrap();
    assert_eq!(found.to_string(), "stopped 1.1.0 (it did not boot)");
    let logs = runtime.logs(IDLE, 100).await.unwrap();
    assert!(logs.iter().any(|line| line.contains("this release crashes at boot")), "{logs:?}");

    let good = server.target(IDLE, "1.2.0");
    up(&runtime, &good).await;
    let logs = runtime.logs(IDLE, 100).await.unwrap();
    assert!(!logs.iter().any(|line| line.contains("crashes")), "the log of the one before: {logs:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_started_again_after_a_release_that_failed_has_its_own_environment() {
    needs_mix!();
    let server = Server::new();
    let with = |value: &str| server.builder(LocalHost::new()).env("TOKEN", Secret::new(value)).build().unwrap();
    let (older, newer) = (server.target(IDLE, "1.0.0"), server.behaving(IDLE, "1.1.0", "crash-at-boot"));
    up(&with("old"), &older).await;
    let written = fs::read_to_string(server.slot_file(IDLE, "env")).unwrap();
    with("old").stop(IDLE, GRACE).await.unwrap();
    // As an undone deploy does: the one that failed may have been tried several times, and nothing is prepared for the other.
    for _ in 0..2 {
        with("new").prepare(&newer).await.unwrap();
        with("new").start(&newer).await.unwrap_err();
    }
    for _ in 0..2 {
        with("new").start(&older).await.unwrap();
        assert!(environment(server.pid(IDLE).unwrap()).contains(&"TOKEN=old".to_owned()));
        assert_eq!(fs::read_to_string(server.slot_file(IDLE, "env")).unwrap(), written);
        with("new").stop(IDLE, GRACE).await.unwrap();
    }
    up(&with("new"), &server.target(IDLE, "1.2.0")).await;
    assert!(environment(server.pid(IDLE).unwrap()).contains(&"TOKEN=new".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_is_an_error_that_says_so() {
    needs_mix!();
    let server = Server::new();
    let runtime = server.runtime(LocalHost::new());
    let _taken = TcpListener::bind(("127.0.0.1", server.ports[0])).unwrap();
    let target = server.target(LIVE, "1.0.0");
    runtime.prepare(&target).await.unwrap();
    let error = runtime.start(&target).await.unwrap_err();
    assert!(error.to_string().contains("eaddrinuse"), "{error}");
    assert_eq!(server.processes_of(LIVE), [0; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_does_not_get_up_is_ended_at_its_deadline() {
    needs_mix!();
    let server = Server::new();
    let never = server.behaving(IDLE, "1.0.0", "never-boots");
    server.runtime(LocalHost::new()).prepare(&never).await.unwrap();
    // As long as it takes until the release has said something.
    for seconds in [2, 4, 8, 16, 32, 64] {
        let runtime = server.builder(LocalHost::new()).boot_deadline(Duration::from_secs(seconds)).build().unwrap();
        let error = runtime.start(&never).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(server.processes_of(IDLE), [0; 0]);
        if error.to_string().contains("demo_app 1.0.0 begins in green") {
            return;
        }
    }
    panic!("its last lines are not told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_a_start_that_is_still_booting() {
    needs_mix!();
    let server = Server::new();
    let runtime = server.runtime(LocalHost::new());
    let never = server.behaving(IDLE, "1.0.0", "never-boots");
    runtime.prepare(&never).await.unwrap();
    let start = tokio::spawn({
        let (runtime, never) = (runtime.clone(), never.clone());
        async move { runtime.start(&never).await }
    });
    eventually("the node is there", async || server.alive(IDLE).is_some()).await;
    runtime.stop(IDLE, Duration::from_secs(1)).await.unwrap();
    assert_eq!(server.processes_of(IDLE), [0; 0]);
    assert!(start.await.unwrap().is_err());
    assert_eq!(runtime.inspect(IDLE).await.unwrap().to_string(), "stopped 1.0.0 (stopped on request)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_node_with_our_name_is_a_conflict_and_is_left_alone() {
    needs_mix!();
    let (server, elsewhere) = (Server::new(), Server::new());
    let foreign = elsewhere.builder(LocalHost::new()).epmd_port(server.epmd_port).build().unwrap();
    up(&foreign, &elsewhere.target(LIVE, "1.0.0")).await;

    let runtime = server.runtime(LocalHost::new());
    let target = server.target(LIVE, "1.0.0");
    runtime.prepare(&target).await.unwrap();
    let error = runtime.start(&target).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied), "{error}");
    assert!(error.to_string().contains("demo_app-blue"), "{error}");
    runtime.stop(LIVE, GRACE).await.unwrap();
    assert_eq!(runtime.inspect(LIVE).await.unwrap(), Instance::Absent);
    assert_eq!(elsewhere.get(LIVE, "/version"), "1.0.0");
    foreign.stop(LIVE, GRACE).await.unwrap();
    up(&runtime, &target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hangs_is_ended_by_force() {
    needs_mix!();
    let server = Server::new();
    let runtime = server.runtime(LocalHost::new());
    up(&runtime, &server.target(LIVE, "1.0.0")).await;
    send(server.pid(LIVE).unwrap(), Signal::STOP);
    assert!(runtime.inspect(LIVE).await.unwrap().is_running());
    runtime.stop(LIVE, Duration::from_secs(1)).await.unwrap();
    assert_eq!(server.processes_of(LIVE), [0; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_cookie_nobody_knows_is_stopped_in_order() {
    needs_mix!();
    let server = Server::new();
    let runtime = server.runtime(LocalHost::new());
    up(&runtime, &server.target(LIVE, "1.0.0")).await;
    for cookie in ["home/.erlang.cookie", "../../cookie"] {
        fs::write(server.slot_file(LIVE, cookie), "another").unwrap();
    }
    assert!(runtime.rpc(LIVE, ":ok").await.is_err());
    runtime.stop(LIVE, GRACE).await.unwrap();
    let logs = runtime.logs(LIVE, 10).await.unwrap();
    assert!(logs.iter().any(|line| line.contains("SIGTERM received - shutting down")), "{logs:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heart_brings_its_node_up_again_and_does_not_outlive_a_stop() {
    needs_mix!();
    let server = Server::new();
    let program = format!("{}/releases/1.0.0/bin/{APP}", server.base());
    let runtime = server
        .builder(LocalHost::new())
        .env("ELIXIR_ERL_OPTIONS", Secret::new("-heart"))
        .env("HEART_COMMAND", Secret::new(format!("{program} daemon")))
        .build()
        .unwrap();
    up(&runtime, &server.target(LIVE, "1.0.0")).await;
    let before = server.alive(LIVE);
    send(server.pid(LIVE).unwrap(), Signal::KILL);
    eventually("the heart starts another node", async || server.alive(LIVE).is_some_and(|now| Some(now) != before))
        .await;
    assert!(runtime.inspect(LIVE).await.unwrap().is_running());
    send(server.pid(LIVE).unwrap(), Signal::STOP);
    runtime.stop(LIVE, Duration::from_millis(500)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(server.processes_of(LIVE), [0; 0]);
}

/// Everything that is ever seen in the machine's process list while this lives.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<BTreeSet<String>>>,
}

impl Watch {
    fn begin() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !done.load(Relaxed) {
                for entry in fs::read_dir("/proc").unwrap().flatten() {
                    if let Ok(bytes) = fs::read(entry.path().join("cmdline")) {
                        seen.insert(String::from_utf8_lossy(&bytes).replace('\0', " "));
                    }
                }
            }
            seen
        });
        Self { stop, thread: Some(thread) }
    }

    fn end(mut self) -> BTreeSet<String> {
        self.stop.store(true, Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_process_list_shows_a_secret_and_no_other_user_can_read_a_file_with_one() {
    needs_mix!();
    needs_sshd!();
    let (server, sshd) = (Server::new(), Sshd::start());
    let (cookie, password) = ("cookie-that-is-secret", "it's a 'password' $HOME");
    let runtime =
        server.builder(sshd.host()).cookie(Secret::new(cookie)).env("PASSWORD", Secret::new(password)).build().unwrap();
    let watch = Watch::begin();
    let target = server.target(LIVE, "1.0.0");
    up(&runtime, &target).await;
    let seen = runtime.rpc(LIVE, "IO.puts(System.get_env(\"PASSWORD\")); IO.puts(Node.get_cookie())").await.unwrap();
    assert_eq!(seen, format!("{password}\n{cookie}"), "the node has them");

    Migrator::migrate(&BeamMigrator::builder(&runtime, "DemoApp.Release.migrate()").build(), Phase::Expand, &target)
        .await
        .unwrap();
    let lists = watch.end();
    for found in ["-setcookie -cookie_in_file", "run_erl", " eval "] {
        assert!(lists.iter().any(|line| line.contains(found)), "the watch did not see {found:?}");
    }
    for secret in [cookie, "a 'password'"] {
        let shown: Vec<_> = lists.iter().filter(|line| line.contains(secret)).collect();
        assert!(shown.is_empty(), "{shown:?}");
    }

    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for (file, wanted) in
        [("env", 0o600), ("record", 0o600), ("home/.erlang.cookie", 0o600), ("../../cookie", 0o600), ("..", 0o700)]
    {
        assert_eq!(mode(&server.slot_file(LIVE, file)), wanted, "{file}");
    }
    // The port mapper outlives the node, so it must not know them either.
    let mapper =
        server.processes().into_iter().find(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap() == "epmd\n");
    let known = environment(mapper.unwrap());
    assert!(!known.iter().any(|entry| entry.contains(cookie) || entry.contains("PASSWORD")), "{known:?}");
}

/// The beginnings of the addresses `127.0.0.1` and `::1`, as the kernel writes them.
const LOOPBACK: [&str; 2] = ["0100007F:", "00000000000000000000000001000000:"];

/// Where the processes of a server listen.
fn listening(server: &Server) -> Vec<String> {
    let mut listening = Vec::new();
    for pid in server.processes() {
        let sockets = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        let sockets: Vec<_> =
            sockets.filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.display().to_string())).collect();
        for table in ["tcp", "tcp6"] {
            for line in fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap().lines() {
                let fields: Vec<_> = line.split_whitespace().collect();
                if fields[3] == "0A" && sockets.contains(&format!("socket:[{}]", fields[9])) {
                    listening.push(fields[1].to_owned());
                }
            }
        }
    }
    listening
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_listens_beyond_the_loopback_interface() {
    needs_mix!();
    let server = Server::new();
    // Also when the release itself asks for more.
    let tarball = repacked(&server, |files| {
        fs::write(files.join("vm.args"), "-kernel inet_dist_use_interface {0,0,0,0}\n").unwrap();
    });
    up(&server.runtime(LocalHost::new()), &target(LIVE, "1.0.0", Some(tarball))).await;
    let listening = listening(&server);
    // The service, the node, and the port mapper (which some versions let listen on IPv6 too).
    assert!(listening.len() >= 3, "{listening:?}");
    assert!(listening.iter().all(|it| LOOPBACK.iter().any(|prefix| it.starts_with(prefix))), "{listening:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_servers_own_cookie_is_made_once_and_a_running_node_stays_controllable() {
    needs_mix!();
    let server = Server::new();
    let runtime = server.runtime(LocalHost::new());
    up(&runtime, &server.target(LIVE, "1.0.0")).await;
    let cookie = fs::read_to_string(server.path("srv/shop/cookie")).unwrap();
    assert!(cookie.len() == 64 && cookie.chars().all(|c| c.is_ascii_hexdigit()), "{} characters", cookie.len());
    up(&runtime, &server.target(IDLE, "1.1.0")).await;
    assert_eq!(fs::read_to_string(server.path("srv/shop/cookie")).unwrap(), cookie);
    assert_eq!(runtime.rpc(LIVE, "IO.puts(Node.ping(:\"demo_app-green@localhost\"))").await.unwrap(), "pong");

    let rotated = server.builder(LocalHost::new()).cookie(Secret::new("another")).build().unwrap();
    rotated.prepare(&server.target(LIVE, "1.2.0")).await.unwrap();
    assert_eq!(rotated.rpc(LIVE, "IO.puts(:still)").await.unwrap(), "still");
}

/// Release 1.0.0 with other files in its `releases/0.1.0`.
fn repacked(server: &Server, change: impl FnOnce(&Path)) -> PathBuf {
    let unpacked = tempfile::tempdir_in(server.path("")).unwrap();
    run(Command::new("tar").arg("-xzf").arg(release("1.0.0", "")).arg("-C").arg(unpacked.path()));
    change(&unpacked.path().join("releases/0.1.0"));
    let tarball = server.path("repacked.tar.gz");
    run(Command::new("tar").arg("-czf").arg(&tarball).arg("-C").arg(unpacked.path()).arg("."));
    tarball
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_whose_nodes_talk_by_ipv6_runs_on_the_loopback_interface_as_any_other() {
    needs_mix!();
    if !part_is_here("::1", TcpListener::bind("[::1]:0").is_ok(), "enable IPv6 on the loopback interface") {
        return;
    }
    // Not every machine has an IPv6 address for localhost.
    let names = "{host, {0,0,0,0,0,0,0,1}, [\"localhost\"]}.\n{lookup, [file, native]}.\n";
    let flag = "-proto_dist inet6_tcp";
    for (place, variable) in [("env.sh", "ERL_AFLAGS"), ("env.sh", "ELIXIR_ERL_OPTIONS"), ("vm.args", "")] {
        let server = Server::new();
        let tarball = repacked(&server, |files| {
            let inetrc = server.path("inetrc");
            fs::write(&inetrc, names).unwrap();
            let mut script = format!("export ERL_INETRC={}\n", inetrc.display());
            if variable.is_empty() {
                for name in ["vm.args", "remote.vm.args"] {
                    fs::write(files.join(name), format!("{flag}\n")).unwrap();
                }
            } else {
                script += &format!("export {variable}=\"{flag}\"\n");
            }
            fs::write(files.join("env.sh"), script).unwrap();
        });
        let runtime = server.runtime(LocalHost::new());
        let target = target(LIVE, "1.0.0", Some(tarball));
        let instance = up(&runtime, &target).await;
        assert_eq!(runtime.inspect(LIVE).await.unwrap(), instance, "{place} {variable}");
        let listening = listening(&server);
        assert!(listening.iter().any(|address| address.starts_with(LOOPBACK[1])), "{place} {variable}: {listening:?}");
        assert!(listening.iter().all(|it| LOOPBACK.iter().any(|prefix| it.starts_with(prefix))), "{listening:?}");
        let protocol = "IO.inspect(:init.get_argument(:proto_dist)); IO.puts(node())";
        let said = runtime.rpc(LIVE, protocol).await.unwrap();
        assert_eq!(said, "{:ok, [['inet6_tcp']]}\ndemo_app-blue@localhost", "{place} {variable}");
        let migrator = BeamMigrator::builder(&runtime, "DemoApp.Release.migrate()").build();
        migrator.migrate(Phase::Expand, &target).await.unwrap();
        runtime.stop(LIVE, GRACE).await.unwrap();
        assert_eq!(server.processes_of(LIVE), [0; 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_names_its_node_itself_is_refused_and_ended() {
    needs_mix!();
    let server = Server::new();
    let tarball =
        repacked(&server, |files| fs::write(files.join("env.sh"), "export RELEASE_NODE=mine@localhost\n").unwrap());
    let runtime = server.runtime(LocalHost::new());
    let target = target(LIVE, "1.0.0", Some(tarball));
    runtime.prepare(&target).await.unwrap();
    let error = runtime.start(&target).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("it calls itself mine@localhost and not demo_app-blue@localhost"), "{error}");
    assert_eq!(server.processes_of(LIVE), [0; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_read_across_its_rotation_or_where_the_service_keeps_its_own() {
    needs_mix!();
    let server = Server::new();
    let runtime = server.runtime(LocalHost::new());
    up(&runtime, &server.target(LIVE, "1.0.0")).await;
    runtime.stop(LIVE, GRACE).await.unwrap();
    let directory = server.slot_file(LIVE, "tmp/log");
    fs::remove_dir_all(&directory).unwrap();
    fs::create_dir(&directory).unwrap();
    // The fourth is the one that will be written next, so the fifth is the oldest.
    for number in [2, 1, 5, 3] {
        fs::write(directory.join(format!("erlang.log.{number}")), format!("first of {number}\r\nlast of {number}\r\n"))
            .unwrap();
    }
    let lines = runtime.logs(LIVE, 7).await.unwrap();
    let wanted = ["last of 5", "first of 1", "last of 1", "first of 2", "last of 2", "first of 3", "last of 3"];
    assert_eq!(lines, wanted);

    let own = server.path("own.log");
    fs::write(&own, "one\ntwo\nthree\n").unwrap();
    let logs = [own, server.path("other.log")].map(|path| path.display().to_string());
    let runtime = server.builder(LocalHost::new()).log_files(logs).build().unwrap();
    assert_eq!(runtime.logs(LIVE, 2).await.unwrap(), ["two", "three"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_run_is_told_with_its_reason() {
    needs_mix!();
    let server = Server::new();
    let runtime = server.runtime(LocalHost::new());
    up(&runtime, &server.target(LIVE, "1.0.0")).await;
    let pid = server.pid(LIVE).unwrap();
    send(pid, Signal::KILL);
    eventually("it is gone", async || !runs(pid)).await;
    let look = async || runtime.inspect(LIVE).await.unwrap().to_string();
    assert_eq!(look().await, "stopped 1.0.0 (it ended by itself, or was killed)");
    let record = fs::read_to_string(server.slot_file(LIVE, "record")).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(server.slot_file(LIVE, "record"), record.replace(boot.trim(), "another")).unwrap();
    assert_eq!(look().await, "stopped 1.0.0 (the machine was restarted since)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_under_way_are_finished_when_a_slot_is_stopped() {
    needs_mix!();
    let server = Server::new();
    let runtime = server.runtime(LocalHost::new());
    up(&runtime, &server.target(LIVE, "1.0.0")).await;
    let port = server.ports[0];
    let request = ask(port, "/slow?ms=1500").unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    runtime.stop(LIVE, GRACE).await.unwrap();
    assert_eq!(answer(request).unwrap(), "blue 1.0.0\n");
}

/// A person's console on the live node; the terminal must not have seen one.
fn console(runtime: &BeamRuntime, host: &SshHost, terminal: &Terminal) -> JoinHandle<Result<()>> {
    let (runtime, host, device) = (runtime.clone(), host.clone(), terminal.device.clone());
    tokio::spawn(async move { runtime.console_on(&device, &host, LIVE).await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_console_opens_on_the_running_node_and_leaves_it_alone() {
    needs_mix!();
    needs_sshd!();
    let (server, sshd) = (Server::new(), Sshd::start());
    let host = sshd.host();
    let runtime = server.runtime(host.clone());
    up(&runtime, &server.target(LIVE, "1.0.0")).await;
    let before = server.alive(LIVE);
    // The ways out: Ctrl-C and an `a`, Ctrl-C twice, and Ctrl-\.
    for keys in [&["\u{3}", "a\r"][..], &["\u{3}", "\u{3}"], &["\u{1c}"]] {
        let terminal = Terminal::open();
        let console = console(&runtime, &host, &terminal);
        terminal.sees("iex(demo_app-blue@localhost)1>").await;
        terminal.types("DemoApp.version() <> \"!\"\r");
        terminal.sees("\"1.0.0!\"").await;
        for (number, key) in keys.iter().enumerate() {
            if number > 0 {
                terminal.sees("(a)bort").await;
            }
            terminal.types(key);
        }
        let left = tokio::time::timeout(GRACE, console).await.unwrap().unwrap();
        assert!(left.is_ok(), "{keys:?}: {left:?}");
        assert_eq!(server.alive(LIVE), before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_console_without_a_running_node_is_an_error_that_says_so() {
    needs_mix!();
    needs_sshd!();
    let (server, sshd, terminal) = (Server::new(), Sshd::start(), Terminal::open());
    let host = sshd.host();
    let runtime = server.runtime(host.clone());
    for prepared in [false, true] {
        if prepared {
            runtime.prepare(&server.target(LIVE, "1.0.0")).await.unwrap();
        }
        let error = console(&runtime, &host, &terminal).await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::NotApplied), "{error}");
        assert!(error.to_string().contains("nothing was ever started in blue"), "{error}");
        // The command alone says it by its exit status.
        let output = host.console_on(&terminal.device, &runtime.remote(LIVE)).await.unwrap();
        assert_eq!(output.status, Some(44));
    }

    runtime.start(&server.target(LIVE, "1.0.0")).await.unwrap();
    let cookie = server.slot_file(LIVE, "home/.erlang.cookie");
    let before = fs::read_to_string(&cookie).unwrap();
    fs::write(&cookie, "another").unwrap();
    let error = console(&runtime, &host, &terminal).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected, "{error}");
    assert!(error.to_string().contains("exit status 1"), "{error}");
    fs::write(&cookie, before).unwrap();

    runtime.stop(LIVE, GRACE).await.unwrap();
    let error = console(&runtime, &host, &terminal).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unhealthy, Effect::NotApplied), "{error}");
    assert!(error.to_string().contains("the node does not run"), "{error}");
    assert_eq!(error.context("node"), Some("demo_app-blue@localhost"));
    assert!(!terminal.is_raw());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_has_busybox_alone_will_do() {
    needs_mix!();
    needs_sshd!();
    let busybox = Command::new("busybox").arg("--list").output();
    if !part_is_here("busybox", busybox.is_ok(), "install busybox-static") {
        return;
    }
    let applets = String::from_utf8(busybox.unwrap().stdout).unwrap();
    let server = Server::new();
    let programs = server.path("programs");
    fs::create_dir(&programs).unwrap();
    let busybox = run(Command::new("sh").args(["-c", "command -v busybox"]));
    for applet in applets.lines() {
        std::os::unix::fs::symlink(busybox.trim(), programs.join(applet)).unwrap();
    }
    // Debian leaves it out of busybox.
    if !programs.join("flock").exists() {
        std::os::unix::fs::symlink("/usr/bin/flock", programs.join("flock")).unwrap();
    }
    let sshd = Sshd::with(&format!("SetEnv PATH={} SHLVL=1", programs.display()));
    let host = sshd.host();
    let path = bluegreen_core::Command::script("echo $PATH");
    let path = bluegreen_core::Host::run(&host, &path).await.unwrap().text();
    assert_eq!(path, programs.display().to_string());

    let runtime = server.runtime(host);
    let target = server.target(LIVE, "1.0.0");
    up(&runtime, &target).await;
    assert_eq!(runtime.rpc(LIVE, "IO.puts(node())").await.unwrap(), "demo_app-blue@localhost");
    let logs = runtime.logs(LIVE, 1).await.unwrap();
    assert!(logs[0].contains("listens on port"), "{logs:?}");
    send(server.pid(LIVE).unwrap(), Signal::STOP);
    runtime.stop(LIVE, Duration::from_secs(1)).await.unwrap();
    assert_eq!(server.processes_of(LIVE), [0; 0]);
    assert_eq!(runtime.inspect(LIVE).await.unwrap().to_string(), "stopped 1.0.0 (stopped on request)");
}
