//! What becomes of a site that was there before the first deploy. On a real OpenSSH server, with a real web server.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use bluegreen_core::{Effect, Error, ErrorKind, Instance, PerSlot, Runtime, Slot};
use bluegreen_ssh::{GitRuntimeBuilder, GitServer};
use bluegreen_testkit::patience::PATIENCE;
use bluegreen_testkit::ssh::Sshd;

use crate::git_lab::{Lab, target};
use crate::reach::Reach;

const GRACE: Duration = Duration::from_secs(5);

/// Servers on which nothing was set up, with a web root outside of the directory, and a site by hand in blue's.
struct Adopted {
    lab: Lab,
    sshd: Sshd,
}

impl Adopted {
    fn new() -> Self {
        let (lab, sshd) = (Lab::new(), Sshd::start());
        for slot in Slot::BOTH {
            fs::create_dir_all(lab.web_root(slot)).unwrap();
        }
        fs::write(lab.web_root(Slot::Blue).join("index.html"), "by hand").unwrap();
        Self { lab, sshd }
    }

    fn builder(&self) -> GitRuntimeBuilder {
        let host = self.sshd.host();
        let server = |slot: Slot| {
            let directory = self.lab.path(&format!("app/{slot}")).display().to_string();
            let web_root = self.lab.web_root(slot).display().to_string();
            GitServer::new(host.clone(), directory).web_root(web_root).address(self.lab.address(slot))
        };
        let builder = self.lab.builder();
        builder.servers(PerSlot::from_fn(server))
    }

    fn served(&self) -> Option<String> {
        self.lab.served(Slot::Blue)
    }

    fn by_hand(&self) -> Option<String> {
        Some("by hand".to_owned())
    }

    fn kept(&self) -> PathBuf {
        self.lab.base(Slot::Blue).join("current.before-bluegreen")
    }

    /// The site moves to another directory, and there is no web root.
    fn moved_away(&self) -> PathBuf {
        let theirs = self.lab.path("theirs");
        fs::rename(self.lab.web_root(Slot::Blue), &theirs).unwrap();
        theirs
    }

    /// The site moves to another directory, and the web root is a link to it.
    fn by_link(&self) -> PathBuf {
        let theirs = self.moved_away();
        symlink(&theirs, self.lab.web_root(Slot::Blue)).unwrap();
        theirs
    }
}

fn is_refused(error: &Error) {
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied), "{error}");
    assert!(error.to_string().contains("not made by a deploy"), "{error}");
}

#[tokio::test]
async fn a_site_that_was_there_before_is_running_with_an_unknown_version_and_left_alone() {
    needs_git!();
    needs_sshd!();
    let it = Adopted::new();
    let runtime = it.builder().build().unwrap();
    let is_running = async || {
        let found = runtime.inspect(Slot::Blue).await.unwrap();
        assert!(found.is_running() && found.version().is_none(), "{found:?}");
        assert_eq!(runtime.deployed(Slot::Blue).await.unwrap(), None);
        assert_eq!(it.served(), it.by_hand());
    };
    // Before anything was set up, and afterwards.
    is_running().await;
    is_refused(&runtime.stop(Slot::Blue, GRACE).await.unwrap_err());
    is_refused(&runtime.start(&target(Slot::Blue, "1.0.0")).await.unwrap_err());
    is_refused(&runtime.setup(Slot::Blue).await.unwrap_err());
    is_refused(&runtime.prepare(&target(Slot::Blue, "1.0.0")).await.unwrap_err());
    is_refused(&runtime.stop(Slot::Blue, GRACE).await.unwrap_err());
    is_running().await;

    // An empty directory is nobody's.
    assert_eq!(runtime.inspect(Slot::Green).await.unwrap(), Instance::Absent);
    runtime.prepare(&target(Slot::Green, "1.0.0")).await.unwrap();
    assert_eq!(runtime.inspect(Slot::Green).await.unwrap(), Instance::Absent);
    runtime.start(&target(Slot::Green, "1.0.0")).await.unwrap();
    assert_eq!(it.lab.served(Slot::Green).as_deref(), Some("App 1.0.0"));
}

#[tokio::test]
async fn a_directory_that_took_the_links_place_is_not_started_over_nor_stopped() {
    needs_git!();
    needs_sshd!();
    let it = Adopted::new();
    let theirs = it.moved_away();
    let runtime = it.builder().build().unwrap();
    runtime.prepare(&target(Slot::Blue, "1.0.0")).await.unwrap();
    fs::rename(&theirs, it.lab.web_root(Slot::Blue)).unwrap();
    is_refused(&runtime.start(&target(Slot::Blue, "1.0.0")).await.unwrap_err());
    is_refused(&runtime.stop(Slot::Blue, GRACE).await.unwrap_err());
    assert_eq!(it.served(), it.by_hand());

    // Also where it comes while the commands run.
    let theirs = it.moved_away();
    let comes = format!("mv '{}' '{}'", theirs.display(), it.lab.web_root(Slot::Blue).display());
    let runtime = it.builder().run(comes).build().unwrap();
    let error = runtime.start(&target(Slot::Blue, "1.0.0")).await.unwrap_err();
    assert!(error.to_string().contains("was not made by a deploy"), "{error}");
    assert_eq!(it.served(), it.by_hand());
}

#[tokio::test]
async fn a_site_that_is_taken_over_is_served_until_the_start_and_kept_beside() {
    needs_git!();
    needs_sshd!();
    let it = Adopted::new();
    let still = format!("grep -q 'by hand' '{}/index.html'", it.lab.web_root(Slot::Blue).display());
    let runtime = it.builder().take_over(true).run(still).build().unwrap();
    runtime.setup(Slot::Blue).await.unwrap();
    assert_eq!(it.served(), it.by_hand());
    runtime.prepare(&target(Slot::Blue, "1.0.0")).await.unwrap();
    assert_eq!(it.served(), it.by_hand());
    let found = runtime.inspect(Slot::Blue).await.unwrap();
    assert!(found.is_running() && found.version().is_none(), "{found:?}");
    assert!(!it.kept().exists());
    let started = runtime.start(&target(Slot::Blue, "1.0.0")).await.unwrap();
    assert_eq!(started.to_string(), "running 1.0.0");
    assert_eq!(it.served().as_deref(), Some("App 1.0.0"));
    assert_eq!(fs::read_to_string(it.kept().join("index.html")).unwrap(), "by hand");

    // Once more, and the first one would get lost.
    fs::remove_file(it.lab.web_root(Slot::Blue)).unwrap();
    fs::create_dir(it.lab.web_root(Slot::Blue)).unwrap();
    fs::write(it.lab.web_root(Slot::Blue).join("index.html"), "once more").unwrap();
    let error = runtime.prepare(&target(Slot::Blue, "1.1.0")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied), "{error}");
    assert!(error.to_string().contains("current.before-bluegreen, which is there already"), "{error}");
    assert_eq!(it.served().as_deref(), Some("once more"));
    assert_eq!(fs::read_to_string(it.kept().join("index.html")).unwrap(), "by hand");
}

#[tokio::test]
async fn a_start_that_fails_puts_back_the_site_that_it_took_over() {
    needs_git!();
    needs_sshd!();
    for is_link in [false, true] {
        let it = Adopted::new();
        let theirs = is_link.then(|| it.by_link());
        let broken = it.builder().take_over(true).restart("false").build().unwrap();
        broken.prepare(&target(Slot::Blue, "1.0.0")).await.unwrap();
        let is_back = || {
            assert_eq!(it.served(), it.by_hand());
            assert_eq!(fs::read_link(it.lab.web_root(Slot::Blue)).ok(), theirs);
            assert!(!it.kept().is_symlink() && !it.kept().exists());
        };
        broken.start(&target(Slot::Blue, "1.0.0")).await.unwrap_err();
        is_back();

        // Also one that goes on where another was killed.
        let hangs = it.builder().take_over(true).restart("sleep 600").build().unwrap();
        let is_switched = async {
            while it.served().as_deref() != Some("App 1.0.0") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let release = target(Slot::Blue, "1.0.0");
        tokio::select! {
            ended = hangs.start(&release) => panic!("it was not killed: {ended:?}"),
            switched = tokio::time::timeout(PATIENCE, is_switched) => switched.unwrap(),
        }
        broken.start(&target(Slot::Blue, "1.0.0")).await.unwrap_err();
        is_back();

        let runtime = it.builder().take_over(true).build().unwrap();
        runtime.start(&target(Slot::Blue, "1.0.0")).await.unwrap();
        assert_eq!(it.served().as_deref(), Some("App 1.0.0"));
        assert_eq!(fs::read_link(it.kept()).ok(), theirs);
        assert_eq!(fs::read_to_string(it.kept().join("index.html")).unwrap(), "by hand");
    }
}

#[tokio::test]
async fn a_site_that_is_taken_over_can_be_stopped_and_loses_no_file() {
    needs_git!();
    needs_sshd!();
    let it = Adopted::new();
    let stops = it.lab.path("stops");
    let count = format!("echo x >> '{0}' && test \"$(cat '{0}')\" != x", stops.display());
    let runtime = it.builder().take_over(true).restart("test $VERSION != 1.1.0").on_stop(count).build().unwrap();
    runtime.setup(Slot::Blue).await.unwrap();
    let stopped = Instance::Stopped { version: None, reason: Some("stopped on request".to_owned()) };
    let is_stopped = async || {
        assert_eq!(runtime.inspect(Slot::Blue).await.unwrap(), stopped);
        assert_eq!(it.served(), None);
        assert_eq!(fs::read_to_string(it.kept().join("index.html")).unwrap(), "by hand");
    };
    // Its command fails the first time, and is run until it was well.
    runtime.stop(Slot::Blue, GRACE).await.unwrap_err();
    is_stopped().await;
    for _ in 0..2 {
        runtime.stop(Slot::Blue, GRACE).await.unwrap();
        is_stopped().await;
        assert_eq!(fs::read_to_string(&stops).unwrap(), "x\nx\n");
    }
    // What a start that fails puts back is what was there before it: nothing.
    runtime.prepare(&target(Slot::Blue, "1.1.0")).await.unwrap();
    runtime.start(&target(Slot::Blue, "1.1.0")).await.unwrap_err();
    is_stopped().await;
    runtime.prepare(&target(Slot::Blue, "1.0.0")).await.unwrap();
    runtime.start(&target(Slot::Blue, "1.0.0")).await.unwrap();
    assert_eq!(it.served().as_deref(), Some("App 1.0.0"));
}

#[tokio::test]
async fn a_push_by_hand_takes_a_site_over_only_where_that_was_asked_for() {
    needs_git!();
    needs_sshd!();
    let it = Adopted::new();
    let theirs = it.moved_away();
    let runtime = it.builder().build().unwrap();
    runtime.setup(Slot::Blue).await.unwrap();
    fs::rename(&theirs, it.lab.web_root(Slot::Blue)).unwrap();
    let repository = it.lab.path("app/blue/repository.git").display().to_string();
    let push = || {
        let output = it.lab.git_command(&["push", &repository, "1.0.0:refs/heads/master"]).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let said = push();
    assert!(said.contains("NOT deployed") && said.contains("not made by a deploy: move it away"), "{said}");
    assert_eq!(it.served(), it.by_hand());
    it.builder().take_over(true).build().unwrap().setup(Slot::Blue).await.unwrap();
    assert_eq!(it.served(), it.by_hand());
    let said = push();
    assert_eq!(it.served().as_deref(), Some("App 1.0.0"), "{said}");
    assert_eq!(fs::read_to_string(it.kept().join("index.html")).unwrap(), "by hand");
}
