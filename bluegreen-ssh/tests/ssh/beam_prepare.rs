//! Releases on their way to a server: what is refused, what is left behind, and what is removed.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bluegreen_core::host::Script;
use bluegreen_core::testing::conformance::CutOff;
use bluegreen_core::testing::sample;
use bluegreen_core::{Effect, ErrorKind, Instance, LocalHost, Progress, Reason, Runtime, Secret, Slot, Target};
use bluegreen_ssh::BeamRuntime;
use bluegreen_testkit::beam::APP;
use bluegreen_testkit::process::run;
use bluegreen_testkit::ssh::Sshd;
use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use crate::beam_server::{GRACE, Server, target};
use crate::reach::Reach;

/// A tarball that is made by hand, member by member.
struct Tarball(Builder<GzEncoder<Vec<u8>>>);

impl Tarball {
    /// One with a program, which does nothing.
    fn good() -> Self {
        Self::empty().member(&format!("bin/{APP}"), EntryType::Regular, "", b"#!/bin/sh\n", 0o755)
    }

    fn empty() -> Self {
        Self(Builder::new(GzEncoder::new(Vec::new(), Compression::fast())))
    }

    /// Adds a member. The name is written as it is, also where the library would refuse it.
    fn member(mut self, name: &str, kind: EntryType, link: &str, content: &[u8], mode: u32) -> Self {
        let mut header = Header::new_gnu();
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    fn file(self, name: &str) -> Self {
        self.member(name, EntryType::Regular, "", b"content", 0o644)
    }

    fn link(self, name: &str, to: &str) -> Self {
        self.member(name, EntryType::Symlink, to, b"", 0o777)
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap().finish().unwrap()
    }

    fn store(self, server: &Server, name: &str) -> PathBuf {
        let file = server.path(name);
        fs::write(&file, self.bytes()).unwrap();
        file
    }
}

fn simple(server: &Server, version: &str) -> Target {
    let file = Tarball::good().member("version", EntryType::Regular, "", version.as_bytes(), 0o644);
    target(Slot::Blue, version, Some(file.store(server, &format!("{version}.tar.gz"))))
}

fn entries(directory: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn releases(server: &Server) -> Vec<String> {
    entries(server.path("srv/shop/releases"))
}

async fn refused(server: &Server, runtime: &BeamRuntime, file: PathBuf, kind: ErrorKind, says: &str) {
    let shown = file.display().to_string();
    let error = runtime.prepare(&target(Slot::Blue, "6.6.6", Some(file))).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (kind, Effect::NotApplied), "{shown}: {error}");
    assert!(error.to_string().contains(says), "{shown}: {error}");
    assert!(!releases(server).contains(&"6.6.6".to_owned()), "{shown}");
    // What the server took meanwhile is gone after the next one that brings a release.
    let _ = fs::remove_dir_all(server.path("srv/shop/releases/1.0.0"));
    runtime.prepare(&simple(server, "1.0.0")).await.unwrap();
    assert_eq!(releases(server), ["1.0.0"], "{shown}");
    assert_eq!(entries(server.path("srv/shop/incoming")), [""; 0], "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tarball_that_could_reach_out_of_its_directory_is_refused() {
    let server = Server::new();
    let runtime = server.runtime(LocalHost::new());
    let hostile = [
        ("parent", Tarball::good().file("../outside"), "would be unpacked elsewhere"),
        ("inner-parent", Tarball::good().file("lib/../../outside"), "would be unpacked elsewhere"),
        ("absolute", Tarball::good().file("/tmp/outside"), "would be unpacked elsewhere"),
        ("absolute-link", Tarball::good().link("lib/x", "/etc/passwd"), "leaves the release"),
        ("link-out", Tarball::good().link("lib/x", "../../outside"), "leaves the release"),
        ("link-back-and-out", Tarball::good().link("lib/x", "a/../../../outside"), "leaves the release"),
        ("through-link", Tarball::good().link("lib", "bin").file("lib/x"), "is reached through a link"),
        ("through-link-later", Tarball::good().file("lib/x").link("lib", "bin"), "is reached through a link"),
        (
            "link-then-directory",
            Tarball::good().link("lib", "bin").member("lib", EntryType::Directory, "", b"", 0o755).file("lib/x"),
            "is reached through a link",
        ),
        ("hard-link", Tarball::good().member("x", EntryType::Link, "/etc/passwd", b"", 0o644), "leaves the release"),
        ("hard-link-out", Tarball::good().member("x", EntryType::Link, "../x", b"", 0o644), "leaves the release"),
        (
            "hard-link-to-link",
            Tarball::good().link("a", "bin").member("x", EntryType::Link, "a", b"", 0o644),
            "is a link to a link",
        ),
        ("device", Tarball::good().member("null", EntryType::Char, "", b"", 0o666), "neither a file"),
        ("disk", Tarball::good().member("sda", EntryType::Block, "", b"", 0o666), "neither a file"),
        ("fifo", Tarball::good().member("pipe", EntryType::Fifo, "", b"", 0o666), "neither a file"),
    ];
    for (name, tarball, says) in hostile {
        let file = tarball.store(&server, &format!("{name}.tar.gz"));
        refused(&server, &runtime, file, ErrorKind::Config, says).await;
    }
    assert!(!server.path("srv/outside").exists() && !server.path("srv/shop/outside").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tarball_that_is_no_release_of_the_app_is_refused() {
    let server = Server::new();
    let runtime = server.runtime(LocalHost::new());
    let program = |name: &str, mode| Tarball::empty().member(name, EntryType::Regular, "", b"x", mode);
    for (name, tarball, says) in [
        ("empty", Tarball::empty(), "no program in bin"),
        ("other", program("bin/other_app", 0o755), "it has bin/other_app"),
        ("deeper", program(&format!("rel/bin/{APP}"), 0o755), "no program in bin"),
        ("no-program", program(&format!("bin/{APP}"), 0o644), "no program in bin"),
        ("link", Tarball::empty().link(&format!("bin/{APP}"), "other"), "no program in bin"),
    ] {
        let file = tarball.store(&server, &format!("{name}.tar.gz"));
        refused(&server, &runtime, file, ErrorKind::Config, says).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tarball_that_is_cut_off_or_damaged_is_refused() {
    let server = Server::new();
    let runtime = server.runtime(LocalHost::new());
    let noise: Vec<u8> = (0..200_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let whole = Tarball::good().member("lib/noise", EntryType::Regular, "", &noise, 0o644).bytes();
    for (name, bytes) in [
        ("nothing", Vec::new()),
        ("start", whole[..20].to_vec()),
        ("half", whole[..whole.len() / 2].to_vec()),
        ("last-byte", whole[..whole.len() - 1].to_vec()),
        ("text", b"this is not a tarball".to_vec()),
        (
            "flipped",
            whole.iter().enumerate().map(|(at, byte)| if at == whole.len() / 2 { !byte } else { *byte }).collect(),
        ),
    ] {
        let file = server.path(&format!("{name}.tar.gz"));
        fs::write(&file, bytes).unwrap();
        refused(&server, &runtime, file, ErrorKind::Corrupt, "not a whole .tar.gz").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_inside_of_a_release_and_long_names_are_fine() {
    let server = Server::new();
    let runtime = server.runtime(LocalHost::new());
    let long = format!("lib/{}/file", ["directory-with-a-long-name"; 8].join("/"));
    let mut tarball = Tarball::good().file("lib/a").link("lib/b", "a").link("lib/deep/c", "../../bin");
    let mut header = Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o644);
    tarball.0.append_data(&mut header, &long, &b""[..]).unwrap();
    let tarball = tarball.member("lib/d", EntryType::Link, "lib/a", b"", 0o644);
    let file = tarball.store(&server, "good.tar.gz");
    runtime.prepare(&target(Slot::Blue, "1.0.0", Some(file))).await.unwrap();
    let at = |path: &str| server.path(&format!("srv/shop/releases/1.0.0/{path}"));
    assert!(at(&long).exists() && at("lib/deep/c").join(APP).exists());
    assert_eq!(fs::read(at("lib/d")).unwrap(), b"content");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_version_with_other_content_is_a_conflict_and_the_same_content_is_not_sent_twice() {
    let server = Server::new();
    let runtime = server.runtime(LocalHost::new());
    let mut first = simple(&server, "1.0.0");
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    first.progress = Progress::new(move |_, done, _| count.store(done, Relaxed));
    runtime.prepare(&first).await.unwrap();
    assert!(sent.swap(0, Relaxed) > 0);
    runtime.prepare(&first).await.unwrap();
    assert_eq!(sent.load(Relaxed), 0, "sent again");
    let hash = fs::read_to_string(server.path("srv/shop/releases/1.0.0/.sha256")).unwrap();
    let sum = run(Command::new("sha256sum").arg(first.release.artifact().unwrap()));
    assert_eq!(hash.trim(), sum.split(' ').next().unwrap());

    let other = Tarball::good().file("other").store(&server, "other.tar.gz");
    let error = runtime.prepare(&target(Slot::Green, "1.0.0", Some(other))).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied));
    assert!(error.to_string().contains(hash.trim()), "{error}");
    assert!(!server.path("srv/shop/releases/1.0.0/other").exists());

    // Without an artifact, what is there is taken.
    runtime.prepare(&target(Slot::Blue, "1.0.0", None)).await.unwrap();
    let error = runtime.prepare(&target(Slot::Blue, "1.1.0", None)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);

    fs::create_dir(server.path("srv/shop/releases/1.2.0")).unwrap();
    let error = runtime.prepare(&simple(&server, "1.2.0")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied), "someone else's directory");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepare_that_is_cut_off_anywhere_leaves_only_what_the_next_one_removes() {
    needs_sshd!();
    let sshd = Sshd::start();
    let host = sshd.host();
    let server = Server::new();
    let noise: Vec<u8> =
        (0..4_000_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let file =
        Tarball::good().member("lib/noise", EntryType::Regular, "", &noise, 0o644).store(&server, "large.tar.gz");
    let runtime = server.runtime(host);
    let times = (0..25).map(|step| CutOff::Time(std::time::Duration::from_millis(step * 12)));
    let cut_offs = CutOff::usual().into_iter().chain(times);
    let cut_offs = sample(cut_offs, 5, |cut_off| matches!(cut_off, CutOff::Polls(_)));
    for (number, cut_off) in cut_offs.into_iter().enumerate() {
        let version = format!("1.{number}.0");
        let target = target(Slot::Blue, &version, Some(file.clone()));
        let done = cut_off.run(runtime.prepare(&target)).await;
        assert!(done.is_none_or(|done| done.is_ok()), "{cut_off:?}");
        // What is under its name is whole.
        let place = server.path(&format!("srv/shop/releases/{version}"));
        assert!(!place.exists() || fs::read(place.join("lib/noise")).unwrap() == noise, "{cut_off:?}");
        runtime.prepare(&target).await.unwrap();
        assert_eq!(fs::read(place.join("lib/noise")).unwrap(), noise, "{cut_off:?}");
        let hidden: Vec<_> = releases(&server).into_iter().filter(|name| name.starts_with('.')).collect();
        assert_eq!(
            (hidden, entries(server.path("srv/shop/incoming"))),
            (Vec::<String>::new(), Vec::new()),
            "{cut_off:?}"
        );
        fs::remove_dir_all(place).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_deployer_that_was_killed_has_left_is_removed_by_the_next_prepare() {
    let server = Server::new();
    let runtime = server.runtime(LocalHost::new());
    runtime.prepare(&simple(&server, "1.0.0")).await.unwrap();
    for left in ["releases/.unpack-1.1.0/bin", "releases/.gone-0.9.0/bin"] {
        fs::create_dir_all(server.path("srv/shop").join(left)).unwrap();
    }
    for left in ["incoming/1.1.0.tar.gz", "incoming/1.2.0.tar.gz", "incoming/.upload-x", "slots/blue/env.new"] {
        fs::write(server.path("srv/shop").join(left), "half").unwrap();
    }
    runtime.prepare(&simple(&server, "1.1.0")).await.unwrap();
    assert_eq!(releases(&server), ["1.0.0", "1.1.0"]);
    assert_eq!(entries(server.path("srv/shop/incoming")), [""; 0]);
    let slot = ["env", "env-1.0.0", "env.of", "env.written", "home", "tmp"];
    assert_eq!(entries(server.slot_file(Slot::Blue, "")), slot);
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_releases_are_kept_and_those_that_run_or_are_on_record() {
    let server = Server::new();
    let runtime = server.builder(LocalHost::new()).keep_releases(2).build().unwrap();
    for number in 0..2 {
        runtime.prepare(&simple(&server, &format!("1.{number}.0"))).await.unwrap();
    }
    // 1.0.0 is on record for a slot, and a program of 1.1.0 runs.
    fs::write(server.slot_file(Slot::Blue, "record"), "version 1.0.0\ncontent x\ntoken y\nport 1\nnode n\n").unwrap();
    let program = server.path("srv/shop/releases/1.1.0/bin/sleep");
    fs::copy("/bin/sleep", &program).unwrap();
    let running = Running(Command::new(&program).arg("600").spawn().unwrap());
    for number in 2..6 {
        runtime.prepare(&simple(&server, &format!("1.{number}.0"))).await.unwrap();
    }
    assert_eq!(releases(&server), ["1.0.0", "1.1.0", "1.4.0", "1.5.0"]);
    drop(running);
    fs::remove_file(server.slot_file(Slot::Blue, "record")).unwrap();
    runtime.prepare(&simple(&server, "1.6.0")).await.unwrap();
    assert_eq!(releases(&server), ["1.5.0", "1.6.0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_release_that_was_just_prepared_stays_however_few_are_kept() {
    let server = Server::new();
    let runtime = server.builder(LocalHost::new()).keep_releases(0).build().unwrap();
    for version in ["1.0.0", "1.1.0"] {
        runtime.prepare(&simple(&server, version)).await.unwrap();
        assert_eq!(releases(&server), [version]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_of_what_is_not_there_or_has_other_content_changes_nothing() {
    let server = Server::new();
    let runtime = server.runtime(LocalHost::new());
    let error = runtime.start(&simple(&server, "1.0.0")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::NotApplied));
    runtime.prepare(&simple(&server, "1.0.0")).await.unwrap();
    let other = Tarball::good().file("other").store(&server, "other.tar.gz");
    let error = runtime.start(&target(Slot::Blue, "1.0.0", Some(other))).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied));
    assert_eq!(runtime.inspect(Slot::Blue).await.unwrap(), Instance::Absent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_is_as_private_as_it_must_be() {
    let server = Server::new();
    let runtime = server.runtime(LocalHost::new());
    let tarball = Tarball::good().member("setuid", EntryType::Regular, "", b"x", 0o6777);
    let file = tarball.store(&server, "setuid.tar.gz");
    runtime.prepare(&target(Slot::Blue, "1.0.0", Some(file))).await.unwrap();
    let mode = |path: &str| fs::metadata(server.path(path)).unwrap().permissions().mode() & 0o7777;
    for (path, wanted) in [
        ("srv/shop", 0o755),
        ("srv/shop/cookie", 0o600),
        ("srv/shop/incoming", 0o700),
        ("srv/shop/slots", 0o700),
        ("srv/shop/cookie.written", 0o600),
        ("srv/shop/slots/blue/env", 0o600),
        ("srv/shop/slots/blue/env.written", 0o600),
        ("srv/shop/releases/1.0.0", 0o755),
        ("srv/shop/releases/1.0.0/setuid", 0o755),
    ] {
        assert_eq!(mode(path), wanted, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_environment_file_is_read_by_each_plan_and_prepare_and_by_nothing_else() {
    let server = Server::new();
    let file = server.path("app.env");
    let runtime = server.builder(LocalHost::new()).env("SET", Secret::new("here")).env_file(&file).build().unwrap();
    assert_eq!(runtime.inspect(Slot::Blue).await.unwrap(), Instance::Absent);
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
    assert!(runtime.logs(Slot::Blue, 10).await.unwrap().is_empty());

    let target = simple(&server, "1.0.0");
    for error in [runtime.preview(&target).await.unwrap_err(), runtime.prepare(&target).await.unwrap_err()] {
        assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::NotApplied), "{error}");
        assert!(error.to_string().contains("app.env") && !server.path("srv/shop").exists(), "{error}");
    }

    for value in ["one", "two"] {
        fs::write(&file, format!("FROM_FILE={value}\nSET=there\n")).unwrap();
        runtime.prepare(&target).await.unwrap();
        let environment = fs::read_to_string(server.slot_file(Slot::Blue, "env")).unwrap();
        assert!(environment.contains(&format!("FROM_FILE={value}\n")) && environment.contains("SET=here\n"));
    }
    for (line, says) in [("FROM_FILE=hunter2 x", "line 1"), ("PORT=80", "PORT is set by the runtime")] {
        fs::write(&file, line).unwrap();
        let error = runtime.prepare(&target).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Config, Effect::NotApplied), "{error}");
        let told = error.chain();
        assert!(told.contains(says) && told.contains("app.env") && !told.contains("hunter2"), "{told}");
    }
    let environment = fs::read_to_string(server.slot_file(Slot::Blue, "env")).unwrap();
    assert!(environment.contains("FROM_FILE=two\n"), "{environment}");
}

/// The path, and what differs, of a refusal to overwrite; no secret may be in it.
fn differing(error: bluegreen_core::Error) -> (String, String) {
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied), "{error}");
    assert_eq!(error.reason(), Some(Reason::ChangedElsewhere), "{error}");
    assert!(!error.chain().contains("hunter2"), "{error}");
    let path = error.context("environment").or(error.context("cookie")).unwrap();
    (path.to_owned(), error.context("differing lines").unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_put_into_the_environment_is_not_overwritten_and_names_alone_are_told() {
    let server = Server::new();
    let with = |value: &str| server.builder(LocalHost::new()).env("TOKEN", Secret::new(value));
    let (first, second) = (with("one\ntwo").build().unwrap(), with("three").build().unwrap());
    first.prepare(&simple(&server, "1.0.0")).await.unwrap();
    let env = server.slot_file(Slot::Blue, "env");
    let ours = fs::read_to_string(&env).unwrap();
    let edited = format!("{}export DEBUG='hunter2'\n", ours.replace("two", "hunter2"));
    fs::write(&env, &edited).unwrap();
    let next = simple(&server, "1.1.0");
    for error in [
        second.preview(&next).await.unwrap_err(),
        second.preview_slot(Slot::Blue).await.unwrap_err(),
        second.prepare(&next).await.unwrap_err(),
    ] {
        let told = differing(error);
        assert_eq!(told, (env.display().to_string(), "+DEBUG".to_owned()));
    }
    assert_eq!(fs::read_to_string(&env).unwrap(), edited);
    assert!(!server.slot_file(Slot::Blue, "env.new").exists());
    // It is none of the other slot's business.
    second.preview_slot(Slot::Green).await.unwrap();

    // Whoever makes the same change here loses nothing, and it is ours from then on.
    let same = with("one\nhunter2").env("DEBUG", Secret::new("hunter2")).build().unwrap();
    let wanted = format!("export DEBUG=hunter2\n{}", ours.replace("two", "hunter2"));
    fs::write(&env, &wanted).unwrap();
    same.preview(&next).await.unwrap();
    same.prepare(&next).await.unwrap();
    assert_eq!(fs::read_to_string(&env).unwrap(), wanted);
    second.prepare(&next).await.unwrap();

    // And whoever asks for it overwrites.
    fs::write(&env, &edited).unwrap();
    let overwriting = with("four").overwrite_changes(true).build().unwrap();
    overwriting.preview(&next).await.unwrap();
    overwriting.prepare(&next).await.unwrap();
    assert!(!fs::read_to_string(&env).unwrap().contains("DEBUG"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_environment_that_no_shell_can_read_is_repaired_and_a_cut_off_is_nobodys_change() {
    let server = Server::new();
    let with = |value: &str| server.builder(LocalHost::new()).env("TOKEN", Secret::new(value)).build().unwrap();
    let target = simple(&server, "1.0.0");
    with("one").prepare(&target).await.unwrap();
    let file = |name: &str| server.slot_file(Slot::Blue, name);
    let first = fs::read_to_string(file("env")).unwrap();
    for broken in ["", "export TOKEN='on"] {
        fs::write(file("env"), broken).unwrap();
        with("one").preview(&target).await.unwrap();
        with("one").prepare(&target).await.unwrap();
        assert_eq!(fs::read_to_string(file("env")).unwrap(), first);
    }
    // The next text is written, and stands in its place or does not yet.
    let next = first.replace("one", "two");
    for present in [&first, &next] {
        fs::write(file("env"), present).unwrap();
        fs::write(file("env.next"), &next).unwrap();
        with("three").preview(&target).await.unwrap();
        with("three").prepare(&target).await.unwrap();
        assert!(!file("env.next").exists());
        fs::write(file("env.written"), &first).unwrap();
    }
    for present in [&first, &next] {
        // A second one is cut off as well.
        fs::write(file("env"), present).unwrap();
        fs::write(file("env.next"), &next).unwrap();
        fs::write(file("env.written"), &first).unwrap();
        let library = include_str!("../../src/scripts/lib.sh");
        let script = Script::new("replace it", "replace \"$1\"").library(library).text();
        fs::write(file("env.new"), first.replace("one", "four")).unwrap();
        let script = script.replace("mv -f \"$1.new\" \"$1\"", "exit 0");
        run(Command::new("sh").arg("-c").arg(script).arg("sh").arg(file("env")));
        with("five").preview(&target).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_that_others_have_set_is_not_overwritten() {
    let server = Server::new();
    let with = |value: &str| server.builder(LocalHost::new()).cookie(Secret::new(value));
    let (generating, cookie) = (server.runtime(LocalHost::new()), server.path("srv/shop/cookie"));
    let target = simple(&server, "1.0.0");
    generating.prepare(&target).await.unwrap();
    with("first").build().unwrap().prepare(&target).await.unwrap();
    fs::write(&cookie, "hunter2").unwrap();
    let second = with("second").build().unwrap();
    for error in [second.preview(&target).await.unwrap_err(), second.prepare(&target).await.unwrap_err()] {
        assert_eq!(differing(error).0, cookie.display().to_string());
    }
    assert_eq!(fs::read_to_string(&cookie).unwrap(), "hunter2");
    generating.prepare(&target).await.unwrap();
    with("hunter2").build().unwrap().prepare(&target).await.unwrap();
    with("second").overwrite_changes(true).build().unwrap().prepare(&target).await.unwrap();
    assert_eq!(fs::read_to_string(&cookie).unwrap(), "second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_artifact_tells_its_facts_and_a_build_that_leaves_none_says_what_is_there() {
    use bluegreen_core::Command as Build;
    use bluegreen_ssh::Artifact;
    let server = Server::new();
    let file = Tarball::good().store(&server, "shop-1.0.0.tar.gz");
    let artifact = Artifact::path(&file).await.unwrap();
    let sum = run(Command::new("sha256sum").arg(&file));
    assert_eq!(artifact.sha256(), sum.split(' ').next().unwrap());
    assert_eq!(artifact.size(), fs::metadata(&file).unwrap().len());
    assert_eq!(artifact.release("1.0.0").unwrap().artifact(), Some(file.as_path()));

    let made = server.path("shop-1.1.0.tar.gz");
    let build = Build::new("cp").arg(file.display().to_string()).arg(made.display().to_string());
    assert_eq!(Artifact::built_by(&build, &made).await.unwrap().file(), made);

    let error = Artifact::built_by(&Build::new("true"), server.path("shop-1.2.0.tar.gz")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("shop-1.0.0.tar.gz, shop-1.1.0.tar.gz"), "{error}");
    let error =
        Artifact::built_by(&Build::script("echo '** (Mix) it is broken' >&2; exit 3"), &made).await.unwrap_err();
    assert!(error.to_string().contains("exit status 3: ** (Mix) it is broken"), "{error}");

    File::options().append(true).open(&made).unwrap().set_len(40).unwrap();
    assert_eq!(Artifact::path(&made).await.unwrap_err().kind(), ErrorKind::Corrupt);
    File::create(&made).unwrap().write_all(&Tarball::good().file("/etc/x").bytes()).unwrap();
    assert_eq!(Artifact::path(&made).await.unwrap_err().kind(), ErrorKind::Config);
}
