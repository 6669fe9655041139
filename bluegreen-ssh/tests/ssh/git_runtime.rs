//! What a runtime of commits promises, one clause each, with a real web server over what is deployed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bluegreen_core::testing::part_is_here;
use bluegreen_core::{Effect, ErrorKind, Instance, PerSlot, Reason, Result, Runtime, Slot, Target};
use bluegreen_ssh::{GitRuntime, GitRuntimeBuilder, GitServer};
use bluegreen_testkit::patience::eventually;

use crate::git_lab::{Lab, target};

const GRACE: Duration = Duration::from_secs(5);

async fn deploy(runtime: &GitRuntime, slot: Slot, version: &str) -> Result<Instance> {
    deploy_target(runtime, &target(slot, version)).await
}

async fn deploy_target(runtime: &GitRuntime, target: &Target) -> Result<Instance> {
    runtime.prepare(target).await?;
    runtime.stop(target.slot, GRACE).await?;
    runtime.start(target).await
}

fn with_commit(slot: Slot, version: &str, commit: &str) -> Target {
    let mut target = target(slot, version);
    target.release = target.release.with_setting("commit", commit);
    target
}

#[tokio::test]
async fn prepare_changes_nothing_that_is_served_and_start_switches_at_once() {
    needs_git!();
    let lab = Lab::new();
    let runtime = lab.runtime();
    runtime.prepare(&target(Slot::Blue, "1.0.0")).await.unwrap();
    assert_eq!((lab.served(Slot::Blue), lab.branch(Slot::Blue)), (None, None));
    assert_eq!(lab.names(Slot::Blue, "releases"), Vec::<String>::new());
    runtime.start(&target(Slot::Blue, "1.0.0")).await.unwrap();
    assert_eq!(lab.served(Slot::Blue).as_deref(), Some("App 1.0.0"));
    assert_eq!(lab.branch(Slot::Blue), Some(lab.git(&["rev-parse", "1.0.0"])));
    assert_eq!(runtime.deployed(Slot::Blue).await.unwrap(), lab.branch(Slot::Blue));
    assert!(!lab.base(Slot::Green).exists(), "the other slot was touched");
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
    assert_eq!(lab.served(Slot::Blue), None);
    assert_eq!(runtime.inspect(Slot::Blue).await.unwrap().to_string(), "stopped 1.0.0 (stopped on request)");
    assert_eq!(runtime.deployed(Slot::Blue).await.unwrap(), None);
}

#[tokio::test]
async fn the_commands_run_in_the_release_before_it_is_served() {
    needs_git!();
    let lab = Lab::new();
    let runtime = lab
        .builder()
        .run("printf '%s %s %s' \"$SLOT\" \"$VERSION\" \"$COMMIT\" > built")
        .run(format!("test \"$(readlink {})\" = '' || exit 9", lab.web_root(Slot::Blue).display()))
        .restart("echo \"restarted it's $VERSION\"")
        .build()
        .unwrap();
    deploy(&runtime, Slot::Blue, "1.1.0").await.unwrap();
    let built = fs::read_to_string(lab.web_root(Slot::Blue).join("built")).unwrap();
    assert_eq!(built, format!("blue 1.1.0 {}", lab.git(&["rev-parse", "1.1.0"])));
    let log = runtime.logs(Slot::Blue, 100).await.unwrap();
    assert!(log.iter().any(|line| line == "restarted it's 1.1.0"), "{log:?}");
}

#[tokio::test]
async fn a_command_that_fails_fails_the_deploy_with_its_output_and_leaves_the_web_root() {
    needs_git!();
    let lab = Lab::new();
    let runtime = lab.builder().run("test ! -e broken || { echo out; echo cause >&2; exit 3; }").build().unwrap();
    deploy(&runtime, Slot::Blue, "1.0.0").await.unwrap();
    lab.write("broken", "");
    lab.commit_all("2.0.0");
    runtime.prepare(&target(Slot::Blue, "2.0.0")).await.unwrap();
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
    let before = fs::read_link(lab.web_root(Slot::Blue)).unwrap();
    let error = runtime.start(&target(Slot::Blue, "2.0.0")).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("out") && text.contains("cause") && text.contains("exit status 3"), "{text}");
    assert_eq!(fs::read_link(lab.web_root(Slot::Blue)).unwrap(), before);
    assert_eq!(lab.branch(Slot::Blue), Some(lab.git(&["rev-parse", "1.0.0"])));
    assert_eq!(lab.names(Slot::Blue, "releases"), ["1.0.0"], "the failed one stays behind");
    let log = runtime.logs(Slot::Blue, 100).await.unwrap();
    assert!(log.iter().any(|line| line == "cause"), "{log:?}");
    // The way back is open.
    runtime.start(&target(Slot::Blue, "1.0.0")).await.unwrap();
    assert_eq!(lab.served(Slot::Blue).as_deref(), Some("App 1.0.0"));
}

#[tokio::test]
async fn a_restart_that_fails_puts_the_web_root_back() {
    needs_git!();
    let lab = Lab::new();
    let runtime = lab.builder().restart("test $VERSION != 1.1.0").build().unwrap();
    assert!(deploy(&runtime, Slot::Green, "1.1.0").await.unwrap_err().to_string().contains("exit status 1"));
    assert!(!lab.web_root(Slot::Green).is_symlink(), "there was none before");
    deploy(&runtime, Slot::Blue, "1.0.0").await.unwrap();
    assert!(deploy(&runtime, Slot::Blue, "1.1.0").await.is_err());
    assert_eq!(runtime.inspect(Slot::Blue).await.unwrap().to_string(), "stopped 1.0.0 (stopped on request)");
    assert_eq!(lab.branch(Slot::Blue), Some(lab.git(&["rev-parse", "1.0.0"])));
}

#[tokio::test]
async fn a_push_by_hand_is_deployed_and_one_whose_hook_fails_can_be_made_again() {
    needs_git!();
    let lab = Lab::new();
    let runtime = lab.builder().run("test ! -e broken || { echo cause; exit 3; }").build().unwrap();
    runtime.setup(Slot::Blue).await.unwrap();
    runtime.setup(Slot::Blue).await.unwrap();
    assert_eq!(runtime.inspect(Slot::Blue).await.unwrap(), Instance::Absent);
    lab.git(&["remote", "add", "blue", &runtime.remote(Slot::Blue)]);
    let push = |what: &str| {
        let output = lab.git_command(&["push", "blue", what]).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };

    let (done, said) = push("1.0.0:refs/heads/master");
    assert!(done && said.contains("remote: master was received. Deploying it to blue"), "{said}");
    assert_eq!(lab.served(Slot::Blue).as_deref(), Some("App 1.0.0"));
    let commit = lab.git(&["rev-parse", "1.0.0"]);
    assert_eq!(runtime.inspect(Slot::Blue).await.unwrap().to_string(), format!("running {}", &commit[..12]));

    lab.write("broken", "");
    lab.commit_all("2.0.0");
    for _ in 0..2 {
        let (_, said) = push("2.0.0:refs/heads/master");
        assert!(said.contains("remote: cause") && said.contains("NOT deployed"), "{said}");
        assert_eq!(lab.served(Slot::Blue).as_deref(), Some("App 1.0.0"));
        assert_eq!(lab.branch(Slot::Blue).as_ref(), Some(&commit));
    }
    let (done, said) = push("1.1.0:refs/heads/other");
    assert!(done && said.contains("Nothing is deployed: only master is"), "{said}");
    push("1.1.0:refs/heads/master");
    assert_eq!(lab.served(Slot::Blue).as_deref(), Some("App 1.1.0"));
    let (done, said) = push("+1.0.0:refs/heads/master");
    assert!(!done && said.contains("denying non-fast-forward"), "{said}");
    assert_eq!(lab.served(Slot::Blue).as_deref(), Some("App 1.1.0"));
}

#[tokio::test]
async fn a_first_push_by_hand_that_fails_leaves_no_branch() {
    needs_git!();
    let lab = Lab::new();
    let runtime = lab.builder().run("false").build().unwrap();
    runtime.setup(Slot::Blue).await.unwrap();
    for _ in 0..2 {
        lab.git(&["push", "-q", &runtime.remote(Slot::Blue), "1.0.0:refs/heads/master"]);
        assert_eq!((lab.branch(Slot::Blue), lab.served(Slot::Blue)), (None, None));
    }
}

#[tokio::test]
async fn a_commit_is_found_by_setting_tag_branch_or_id_and_what_is_missing_is_named() {
    needs_git!();
    let lab = Lab::new();
    let runtime = lab.runtime();
    let head = lab.git(&["rev-parse", "HEAD"]);
    lab.git(&["tag", "-a", "-m", "annotated", "v3.0", "HEAD~1"]);
    lab.git(&["branch", "feature/x", "HEAD~1"]);
    lab.git(&["branch", "stable", "HEAD~2"]);
    let tag = lab.git(&["rev-parse", "HEAD~1"]);
    for (version, setting, commit) in [
        ("1.2.0", "", &head),
        ("3.0", "", &tag),
        ("v3.0", "", &tag),
        ("stable", "", &lab.git(&["rev-parse", "stable"])),
        (&head[..9], "", &head),
        ("a", "feature/x", &tag),
        ("b", "HEAD~1", &tag),
    ] {
        let target =
            if setting.is_empty() { target(Slot::Blue, version) } else { with_commit(Slot::Blue, version, setting) };
        assert_eq!(&runtime.commit(&target).await.unwrap(), commit, "{version} {setting}");
    }
    for missing in [
        target(Slot::Blue, "9.9.9"),
        target(Slot::Blue, "HEAD"),
        with_commit(Slot::Blue, "x", "no-such-branch"),
        with_commit(Slot::Blue, "x", "--output=/tmp/x"),
        with_commit(Slot::Blue, "x", "1.0.0..1.1.0"),
        with_commit(Slot::Blue, "x", "1.0.0; touch x"),
        with_commit(Slot::Blue, "x", "$(touch x)"),
    ] {
        for error in [runtime.preview(&missing).await.unwrap_err(), runtime.prepare(&missing).await.unwrap_err()] {
            assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::NotApplied), "{error}");
            assert!(error.to_string().contains("newest tags"), "{error}");
        }
        assert!(!lab.base(Slot::Blue).exists());
    }
    let nowhere =
        GitRuntime::builder(lab.path("srv")).servers(PerSlot::from_fn(|slot| lab.here(slot))).build().unwrap();
    let error = nowhere.prepare(&target(Slot::Blue, "1.0.0")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains("not a git repository"), "{error}");
}

#[tokio::test]
async fn a_tag_that_was_moved_is_a_conflict() {
    needs_git!();
    let lab = Lab::new();
    let runtime = lab.runtime();
    deploy(&runtime, Slot::Blue, "1.0.0").await.unwrap();
    lab.git(&["tag", "-f", "1.0.0", "1.1.0"]);
    let error = runtime.prepare(&target(Slot::Blue, "1.0.0")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied));
    assert!(error.to_string().contains(&lab.git(&["rev-parse", "1.1.0"])), "{error}");
    assert_eq!(lab.served(Slot::Blue).as_deref(), Some("App 1.0.0"));
}

#[tokio::test]
async fn a_rewritten_history_and_anothers_push_are_refused_unless_forced() {
    needs_git!();
    let lab = Lab::new();
    let runtime = lab.runtime();
    deploy(&runtime, Slot::Blue, "1.2.0").await.unwrap();
    lab.git(&["checkout", "-q", "-b", "rewritten", "1.1.0"]);
    let commit = lab.commit("2.0.0");
    let error = runtime.prepare(&target(Slot::Blue, "2.0.0")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied));
    assert!(error.to_string().contains("has 1 commits that this release has not"), "{error}");
    assert_eq!(runtime.start(&target(Slot::Blue, "2.0.0")).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(lab.served(Slot::Blue).as_deref(), Some("App 1.2.0"));
    let refs = lab.file(Slot::Blue, "repository.git").display().to_string();
    let refs = lab.git(&["--git-dir", &refs, "for-each-ref"]);
    assert!(!refs.contains(&commit), "what was refused stays: {refs}");

    let forced = lab.builder().force(true).build().unwrap();
    deploy(&forced, Slot::Blue, "2.0.0").await.unwrap();
    assert_eq!(lab.served(Slot::Blue).as_deref(), Some("App 2.0.0"));
    // An older release is no rewritten history.
    deploy(&runtime, Slot::Blue, "1.0.0").await.unwrap();
    assert_eq!(lab.served(Slot::Blue).as_deref(), Some("App 1.0.0"));
}

#[tokio::test]
async fn files_changed_by_hand_on_the_server_are_not_lost_unless_forced() {
    needs_git!();
    let lab = Lab::new();
    let runtime = lab.builder().run("echo built >> generated; echo $VERSION > made.txt").build().unwrap();
    lab.write("generated", "from the repository\n");
    lab.commit_all("2.0.0");
    lab.commit("2.1.0");
    deploy(&runtime, Slot::Blue, "2.0.0").await.unwrap();
    runtime.prepare(&target(Slot::Blue, "2.1.0")).await.unwrap();
    fs::write(lab.web_root(Slot::Blue).join("index.html"), "a hot fix").unwrap();
    let error = runtime.prepare(&target(Slot::Blue, "2.1.0")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied));
    assert!(error.to_string().contains("changed on the server: index.html"), "{error}");
    assert_eq!(lab.served(Slot::Blue).as_deref(), Some("a hot fix"));
    let forced = lab.builder().force(true).build().unwrap();
    deploy(&forced, Slot::Blue, "2.1.0").await.unwrap();
    assert_eq!(lab.served(Slot::Blue).as_deref(), Some("App 2.1.0"));
}

#[tokio::test]
async fn a_hook_or_a_web_root_that_is_not_ours_is_never_overwritten_unless_asked_for() {
    needs_git!();
    let lab = Lab::new();
    let hook = lab.file(Slot::Blue, "repository.git/hooks/post-receive");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\necho theirs\n").unwrap();
    let refused = |error: bluegreen_core::Error, what: &str| {
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied), "{error}");
        assert!(error.to_string().contains(what), "{error}");
    };
    refused(lab.runtime().setup(Slot::Blue).await.unwrap_err(), "hook that is not ours");
    refused(lab.runtime().prepare(&target(Slot::Blue, "1.0.0")).await.unwrap_err(), "hook that is not ours");
    assert_eq!(fs::read_to_string(&hook).unwrap(), "#!/bin/sh\necho theirs\n");
    fs::remove_file(&hook).unwrap();

    fs::create_dir_all(lab.web_root(Slot::Blue)).unwrap();
    fs::write(lab.web_root(Slot::Blue).join("index.html"), "It works!").unwrap();
    refused(lab.runtime().prepare(&target(Slot::Blue, "1.0.0")).await.unwrap_err(), "not made by a deploy");
    assert_eq!(lab.served(Slot::Blue).as_deref(), Some("It works!"));

    fs::write(&hook, "#!/bin/sh\necho theirs\n").unwrap();
    let runtime = lab.builder().take_over(true).build().unwrap();
    deploy(&runtime, Slot::Blue, "1.0.0").await.unwrap();
    assert_eq!(lab.served(Slot::Blue).as_deref(), Some("App 1.0.0"));
    let kept = |path: &str| fs::read_to_string(lab.file(Slot::Blue, path)).unwrap();
    assert!(kept("repository.git/hooks/post-receive.before-bluegreen").contains("theirs"));
    assert!(kept("current.before-bluegreen/index.html").contains("It works!"));
}

#[tokio::test]
async fn what_others_put_into_the_hook_is_not_overwritten_and_a_broken_hook_is_repaired() {
    needs_git!();
    let lab = Lab::new();
    let (runtime, other) = (lab.runtime(), lab.builder().run("true").build().unwrap());
    let next = target(Slot::Blue, "1.1.0");
    deploy(&runtime, Slot::Blue, "1.0.0").await.unwrap();
    let hook = lab.file(Slot::Blue, "repository.git/hooks/post-receive");
    let ours = fs::read_to_string(&hook).unwrap();
    let edited = ours.replacen("place ..", "curl -s https://example.com/pushed\nplace ..", 1);
    fs::write(&hook, &edited).unwrap();
    for error in [
        runtime.preview(&next).await.unwrap_err(),
        runtime.preview_slot(Slot::Blue).await.unwrap_err(),
        runtime.setup(Slot::Blue).await.unwrap_err(),
        other.prepare(&next).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied), "{error}");
        assert_eq!(error.reason(), Some(Reason::ChangedElsewhere), "{error}");
        assert_eq!(error.context("hook"), Some(hook.to_str().unwrap()));
        assert_eq!(error.context("differing lines"), Some("+curl -s https://example.com/pushed"));
    }
    assert_eq!(fs::read_to_string(&hook).unwrap(), edited);
    assert_eq!(lab.names(Slot::Blue, "repository.git/hooks"), ["post-receive", "post-receive.written"]);
    runtime.preview_slot(Slot::Green).await.unwrap();

    let forced = lab.builder().force(true).build().unwrap();
    forced.preview(&next).await.unwrap();
    deploy(&forced, Slot::Blue, "1.1.0").await.unwrap();
    assert!(!fs::read_to_string(&hook).unwrap().contains("curl"));
    // Settings that change the hook are no change by others.
    other.setup(Slot::Blue).await.unwrap();
    runtime.setup(Slot::Blue).await.unwrap();
    let middle = ours.find("\ndeploy() {").unwrap() + "\ndeploy() {".len();
    for broken in ["", &ours[..middle]] {
        fs::write(&hook, broken).unwrap();
        runtime.preview(&next).await.unwrap();
        runtime.setup(Slot::Blue).await.unwrap();
        assert_eq!(fs::read_to_string(&hook).unwrap(), ours);
    }
}

#[tokio::test]
async fn a_web_root_that_cannot_be_made_is_named() {
    needs_git!();
    let lab = Lab::new();
    let server = |slot| lab.here(slot).web_root(lab.path(&format!("missing/{slot}")).display().to_string());
    let runtime = lab.builder().servers(PerSlot::from_fn(server)).build().unwrap();
    let error = runtime.setup(Slot::Blue).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unauthorized, Effect::NotApplied), "{error}");
    assert!(error.to_string().contains("cannot write in"), "{error}");
}

#[tokio::test]
async fn a_web_root_may_be_directly_below_the_root_directory() {
    needs_git!();
    let lab = Lab::new();
    let link = BelowRoot(Path::new("/").join(lab.path("").file_name().unwrap()));
    let is_writable = fs::create_dir(&link.0).and_then(|()| fs::remove_dir(&link.0)).is_ok();
    let server = lab.here(Slot::Blue).web_root(link.0.display().to_string());
    let runtime = lab.builder().servers((server, lab.here(Slot::Green))).build().unwrap();
    let deployed = deploy(&runtime, Slot::Blue, "1.0.0").await;
    if is_writable {
        deployed.unwrap();
        assert_eq!(fs::read_to_string(link.0.join("index.html")).unwrap(), "App 1.0.0\n");
    } else {
        let error = deployed.unwrap_err().to_string();
        assert!(error.contains("cannot write in /, where"), "{error}");
    }
}

/// A link that is gone when this is dropped.
struct BelowRoot(PathBuf);

impl Drop for BelowRoot {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn a_web_root_that_was_pointed_elsewhere_is_seen_and_left() {
    needs_git!();
    let lab = Lab::new();
    let runtime = lab.runtime();
    deploy(&runtime, Slot::Blue, "1.0.0").await.unwrap();
    let theirs = lab.path("theirs");
    fs::create_dir(&theirs).unwrap();
    fs::remove_file(lab.web_root(Slot::Blue)).unwrap();
    symlink(&theirs, lab.web_root(Slot::Blue)).unwrap();
    let found = runtime.inspect(Slot::Blue).await.unwrap();
    assert!(found.is_running() && found.version().is_none(), "{found:?}");
    for error in [
        runtime.stop(Slot::Blue, GRACE).await.unwrap_err(),
        runtime.start(&target(Slot::Blue, "1.0.0")).await.unwrap_err(),
        runtime.prepare(&target(Slot::Blue, "1.1.0")).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied), "{error}");
    }
    assert_eq!(fs::read_link(lab.web_root(Slot::Blue)).unwrap(), theirs);
}

#[tokio::test]
async fn a_release_whose_directory_was_removed_is_stopped_and_can_be_started_again() {
    needs_git!();
    let lab = Lab::new();
    let runtime = lab.runtime();
    deploy(&runtime, Slot::Blue, "1.0.0").await.unwrap();
    fs::remove_dir_all(lab.file(Slot::Blue, "releases/1.0.0")).unwrap();
    let found = runtime.inspect(Slot::Blue).await.unwrap();
    assert_eq!(found.to_string(), "stopped 1.0.0 (its directory was removed from the server)");
    deploy(&runtime, Slot::Blue, "1.0.0").await.unwrap();
    assert_eq!(lab.served(Slot::Blue).as_deref(), Some("App 1.0.0"));
}

#[tokio::test]
async fn the_newest_releases_are_kept_and_the_one_that_is_served() {
    needs_git!();
    let lab = Lab::new();
    let runtime = lab.builder().keep_releases(2).build().unwrap();
    deploy(&runtime, Slot::Blue, "1.0.0").await.unwrap();
    for number in 3..7 {
        lab.commit(&format!("1.{number}.0"));
        runtime.prepare(&target(Slot::Blue, &format!("1.{number}.0"))).await.unwrap();
    }
    assert_eq!(lab.served(Slot::Blue).as_deref(), Some("App 1.0.0"));
    assert_eq!(lab.names(Slot::Blue, "versions"), ["1.0.0", "1.5.0", "1.6.0"]);
    for version in ["1.5.0", "1.6.0"] {
        deploy(&runtime, Slot::Blue, version).await.unwrap();
    }
    for directory in ["versions", "releases", "ready", "index"] {
        assert_eq!(lab.names(Slot::Blue, directory), ["1.5.0", "1.6.0"], "{directory}");
    }
    let repository = lab.file(Slot::Blue, "repository.git").display().to_string();
    let refs = lab.git(&["--git-dir", &repository, "for-each-ref", "refs/bluegreen"]);
    assert_eq!(refs.lines().count(), 2, "{refs}");
}

#[tokio::test]
async fn a_deploy_killed_in_the_middle_serves_what_was_served_and_the_next_one_begins_anew() {
    needs_git!();
    let lab = Lab::new();
    let gate = lab.path("gate");
    let wait = format!("echo x >> count; while [ -e '{}' ]; do sleep 0.05; done", gate.display());
    for builder in [
        (|builder: GitRuntimeBuilder, wait: &str| builder.run(wait))
            as fn(GitRuntimeBuilder, &str) -> GitRuntimeBuilder,
        |builder, wait| builder.restart(wait),
    ] {
        let runtime = builder(lab.builder(), &wait).build().unwrap();
        deploy(&runtime, Slot::Blue, "1.0.0").await.unwrap();
        runtime.prepare(&target(Slot::Blue, "1.1.0")).await.unwrap();
        runtime.stop(Slot::Blue, GRACE).await.unwrap();
        fs::write(&gate, "").unwrap();
        let next = target(Slot::Blue, "1.1.0");
        let under_way = lab.file(Slot::Blue, "releases/1.1.0/count");
        tokio::select! {
            done = runtime.start(&next) => panic!("it was not killed: {done:?}"),
            () = eventually("it is under way", async || under_way.exists()) => {}
        }
        fs::remove_file(&gate).unwrap();
        let started = runtime.start(&target(Slot::Blue, "1.1.0")).await.unwrap();
        assert_eq!(started.to_string(), "running 1.1.0");
        assert_eq!(lab.served(Slot::Blue).as_deref(), Some("App 1.1.0"));
        runtime.stop(Slot::Blue, GRACE).await.unwrap();
        fs::remove_dir_all(lab.base(Slot::Blue)).unwrap();
    }
}

#[tokio::test]
async fn locks_that_a_killed_git_has_left_are_removed() {
    needs_git!();
    let lab = Lab::new();
    let runtime = lab.builder().keep_releases(1).build().unwrap();
    deploy(&runtime, Slot::Blue, "1.0.0").await.unwrap();
    let lock = |path: &str| fs::write(lab.file(Slot::Blue, path), "").unwrap();
    let commit = lab.git(&["rev-parse", "1.1.0"]);
    for path in ["HEAD", "config", "packed-refs", "refs/heads/master", &format!("refs/bluegreen/{commit}")] {
        lock(&format!("repository.git/{path}.lock"));
    }
    lock("index/1.0.0/index.lock");
    fs::create_dir_all(lab.file(Slot::Blue, "index/1.1.0")).unwrap();
    lock("index/1.1.0/index.lock");
    let other = lab.builder().keep_releases(1).branch("other").build().unwrap();
    other.setup(Slot::Blue).await.unwrap();
    deploy(&runtime, Slot::Blue, "1.1.0").await.unwrap();
    assert_eq!(lab.served(Slot::Blue).as_deref(), Some("App 1.1.0"));
    assert_eq!(lab.names(Slot::Blue, "versions"), ["1.1.0"]);
}

#[tokio::test]
async fn a_restart_that_fails_after_a_deploy_killed_in_the_middle_puts_the_web_root_back() {
    needs_git!();
    let lab = Lab::new();
    let runtime = lab.builder().restart("test $VERSION != 1.1.0 || sleep 600").build().unwrap();
    deploy(&runtime, Slot::Blue, "1.0.0").await.unwrap();
    runtime.prepare(&target(Slot::Blue, "1.1.0")).await.unwrap();
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
    let next = target(Slot::Blue, "1.1.0");
    tokio::select! {
        done = runtime.start(&next) => panic!("it was not killed: {done:?}"),
        () = eventually("it is under way", async || lab.served(Slot::Blue).as_deref() == Some("App 1.1.0")) => {}
    }
    let runtime = lab.builder().restart("test $VERSION != 1.1.0").build().unwrap();
    assert!(runtime.start(&target(Slot::Blue, "1.1.0")).await.is_err());
    assert_eq!(lab.served(Slot::Blue), None);
    assert!(!runtime.inspect(Slot::Blue).await.unwrap().is_running());
}

#[tokio::test]
async fn hostile_names_of_branches_files_and_directories_are_names() {
    needs_git!();
    let lab = Lab::new();
    let name = "a'b $(touch pwned);\"c\" %41 é";
    lab.write(name, "x");
    lab.git(&["checkout", "-q", "-b", "it,s/$(id)@a#1"]);
    lab.commit_all("2.0.0");
    let server = |slot| {
        let directory = lab.path(&format!("srv/{slot} {name}")).display().to_string();
        GitServer::local(directory).web_root(lab.web_root(slot).display().to_string()).address(lab.address(slot))
    };
    for slot in Slot::BOTH {
        fs::create_dir_all(lab.base(slot)).unwrap();
    }
    let runtime =
        GitRuntime::builder(lab.repository()).servers(PerSlot::from_fn(server)).branch("it,s/x@a#1=é").build().unwrap();
    deploy_target(&runtime, &with_commit(Slot::Blue, "2.0.0", "it,s/$(id)@a#1")).await.unwrap();
    assert_eq!(lab.served(Slot::Blue).as_deref(), Some("App 1.2.0"));
    assert_eq!(fs::read_to_string(lab.web_root(Slot::Blue).join(name)).unwrap(), "x");
    assert!(!lab.web_root(Slot::Blue).join("pwned").exists());
    let found = runtime.inspect(Slot::Blue).await.unwrap();
    assert_eq!(found.to_string(), "running 2.0.0");
}

#[tokio::test]
async fn a_full_disk_is_named_and_leaves_what_is_served() {
    needs_git!();
    let lab = Lab::new();
    let base = lab.base(Slot::Blue);
    let Some(_disk) = SmallDisk::mount(&base) else { return };
    let runtime = lab.runtime();
    deploy(&runtime, Slot::Blue, "1.0.0").await.unwrap();
    // Compressible: the objects fit, the files do not.
    lab.write("zeros", &"0".repeat(6 << 20));
    lab.commit_all("2.0.0");
    runtime.prepare(&target(Slot::Blue, "2.0.0")).await.unwrap();
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
    let error = runtime.start(&target(Slot::Blue, "2.0.0")).await.unwrap_err();
    assert!(error.to_string().contains("the disk is full"), "{error}");
    runtime.start(&target(Slot::Blue, "1.0.0")).await.unwrap();
    assert_eq!(lab.served(Slot::Blue).as_deref(), Some("App 1.0.0"));
    // Now the objects do not fit either.
    let mut seed = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    })
    .take(6 << 20)
    .collect();
    fs::write(lab.repository().join("noise"), noise).unwrap();
    lab.commit_all("3.0.0");
    let error = runtime.prepare(&target(Slot::Blue, "3.0.0")).await.unwrap_err();
    assert!(error.to_string().contains("the disk of the server is full"), "{error}");
    assert_eq!(lab.served(Slot::Blue).as_deref(), Some("App 1.0.0"));
}

/// 4 MB. Dropping it unmounts it.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(at: &'a Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mount =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(at).output();
        let is_mounted = mount.is_ok_and(|output| output.status.success());
        part_is_here("a small disk", is_mounted, "to mount a tmpfs takes root").then_some(Self(at))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[tokio::test]
async fn a_push_by_hand_onto_a_full_disk_leaves_what_is_served() {
    needs_git!();
    let lab = Lab::new();
    let base = lab.base(Slot::Blue);
    let Some(_disk) = SmallDisk::mount(&base) else { return };
    let runtime = lab.runtime();
    deploy(&runtime, Slot::Blue, "1.0.0").await.unwrap();
    lab.write("zeros", &"0".repeat(6 << 20));
    lab.commit_all("2.0.0");
    for _ in 0..2 {
        let push = ["push", &runtime.remote(Slot::Blue), "2.0.0:refs/heads/master"];
        let said = lab.git_command(&push).output().unwrap().stderr;
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains("No space left on device") && said.contains("NOT deployed"), "{said}");
        assert_eq!(lab.branch(Slot::Blue), Some(lab.git(&["rev-parse", "1.0.0"])));
        assert_eq!(lab.served(Slot::Blue).as_deref(), Some("App 1.0.0"));
    }
}

#[tokio::test]
async fn a_shallow_clone_is_named() {
    needs_git!();
    let lab = Lab::new();
    let (from, to) = (format!("file://{}", lab.repository().display()), lab.path("shallow"));
    lab.git(&["clone", "-q", "--depth", "1", &from, &to.display().to_string()]);
    let runtime = GitRuntime::builder(to).servers(PerSlot::from_fn(|slot| lab.here(slot))).build().unwrap();
    let error = runtime.prepare(&with_commit(Slot::Blue, "2.0.0", "HEAD")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied), "{error}");
    assert!(error.to_string().contains("git fetch --unshallow"), "{error}");
}

#[tokio::test]
async fn deploys_at_the_same_time_leave_one_of_them_whole() {
    needs_git!();
    let lab = Lab::new();
    let runtime = lab.builder().run("sleep 0.05").build().unwrap();
    for version in ["1.0.0", "1.1.0"] {
        runtime.prepare(&target(Slot::Blue, version)).await.unwrap();
    }
    let (one, other) = (target(Slot::Blue, "1.0.0"), target(Slot::Blue, "1.1.0"));
    let outcomes = tokio::join!(runtime.start(&one), runtime.start(&other), runtime.start(&one), runtime.start(&other));
    let outcomes = [(&one, outcomes.0), (&other, outcomes.1), (&one, outcomes.2), (&other, outcomes.3)];
    let found = runtime.inspect(Slot::Blue).await.unwrap();
    for (target, outcome) in outcomes {
        match outcome {
            Ok(started) => assert_eq!(started, found),
            Err(error) => {
                assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied), "{error}");
                assert_ne!(found.version(), Some(target.version()));
            }
        }
    }
    assert_eq!(lab.served(Slot::Blue), Some(format!("App {}", found.version().unwrap())));
}

#[tokio::test]
async fn a_submodule_is_refused_before_anything_is_done() {
    needs_git!();
    let lab = Lab::new();
    let link = format!("160000,{},vendor/lib", lab.git(&["rev-parse", "HEAD"]));
    lab.git(&["update-index", "--add", "--cacheinfo", &link]);
    lab.git(&["commit", "-q", "-m", "sub"]);
    lab.git(&["tag", "2.0.0"]);
    let error = lab.runtime().prepare(&target(Slot::Blue, "2.0.0")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("vendor/lib"), "{error}");
    assert!(!lab.base(Slot::Blue).exists());
}

#[tokio::test]
async fn files_that_git_filters_are_refused_before_anything_is_done_unless_they_are_to_be_as_stored() {
    needs_git!();
    for (version, filter) in [("2.0.0", "lfs"), ("3.0.0", "git-crypt"), ("4.0.0", "git-crypt-staging")] {
        let lab = Lab::new();
        // In a directory of its own, and not for all files.
        fs::create_dir(lab.repository().join("images")).unwrap();
        let attributes = format!("*.png filter={filter} diff={filter} -text\n.gitattributes !filter !diff\n");
        lab.write("images/.gitattributes", &attributes);
        lab.write("images/a file.png", "version https://git-lfs.github.com/spec/v1\n");
        lab.commit_all(version);
        let error = lab.runtime().prepare(&target(Slot::Blue, version)).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unsupported, Effect::NotApplied), "{error}");
        assert!(error.to_string().contains("images/a file.png") && error.to_string().contains(filter), "{error}");
        assert!(error.hint().unwrap().contains(&format!("unfiltered({filter:?})")), "{error}");
        assert!(lab.runtime().preview(&target(Slot::Blue, version)).await.is_err());
        assert!(!lab.base(Slot::Blue).exists());

        let stored = lab.builder().unfiltered(filter).build().unwrap();
        stored.prepare(&target(Slot::Blue, version)).await.unwrap();
        // The release before has no such file.
        lab.runtime().prepare(&target(Slot::Green, "1.0.0")).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_push_cannot_bring_is_not_deployed_by_a_push_by_hand_either() {
    needs_git!();
    let lab = Lab::new();
    let (runtime, stored) = (lab.runtime(), lab.builder().unfiltered("lfs").build().unwrap());
    deploy(&runtime, Slot::Blue, "1.0.0").await.unwrap();
    lab.write(".gitattributes", "*.png filter=lfs\n");
    lab.write("a file.png", "pointer\n");
    lab.commit_all("2.0.0");
    lab.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{},vendor", "1".repeat(40))]);
    lab.git(&["commit", "-q", "-m", "submodule"]);
    let push = |what: &str| {
        let remote = runtime.remote(Slot::Blue);
        let output = lab.git_command(&["push", &remote, &format!("{what}:refs/heads/master")]).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    for (commit, cause) in [("2.0.0", "a file.png by lfs"), ("HEAD", "vendor is a submodule")] {
        let said = push(commit);
        assert!(said.contains("NOT deployed") && said.contains(cause), "{said}");
        assert_eq!(lab.served(Slot::Blue).as_deref(), Some("App 1.0.0"));
        assert_eq!(lab.branch(Slot::Blue), Some(lab.git(&["rev-parse", "1.0.0"])));
    }
    stored.setup(Slot::Blue).await.unwrap();
    let said = push("2.0.0");
    assert!(said.contains("Deploying it to blue") && !said.contains("NOT deployed"), "{said}");
    assert_eq!(fs::read_to_string(lab.web_root(Slot::Blue).join("a file.png")).unwrap(), "pointer\n");
}

#[tokio::test]
async fn files_that_git_itself_changes_at_checkout_are_served_as_a_checkout_has_them() {
    needs_git!();
    let lab = Lab::new();
    lab.write(".gitattributes", "*.html ident\n*.bat text eol=crlf\n*.utf16 text working-tree-encoding=UTF-16LE\n");
    lab.write("index.html", "$Id$\n");
    lab.write("run.bat", "echo one\necho two\n");
    fs::write(lab.repository().join("text.utf16"), b"h\0i\0\n\0").unwrap();
    lab.commit_all("2.0.0");
    let runtime = lab.runtime();
    deploy(&runtime, Slot::Blue, "2.0.0").await.unwrap();
    let blob = lab.git(&["rev-parse", "2.0.0:index.html"]);
    assert_eq!(lab.served(Slot::Blue), Some(format!("$Id: {blob} $")));
    let read = |name: &str| fs::read(lab.web_root(Slot::Blue).join(name)).unwrap();
    assert_eq!(read("run.bat"), b"echo one\r\necho two\r\n");
    assert_eq!(read("text.utf16"), b"h\0i\0\n\0");
    // And none of them counts as changed on the server.
    runtime.prepare(&target(Slot::Blue, "1.2.0")).await.unwrap();
}

#[tokio::test]
async fn the_repositorys_own_hooks_and_urls_do_not_take_part_in_the_push() {
    needs_git!();
    let lab = Lab::new();
    let ran = lab.path("ran");
    let hook = lab.repository().join(".git/hooks/pre-push");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, format!("#!/bin/sh\ntouch '{}'\nexit 1\n", ran.display())).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    deploy(&lab.runtime(), Slot::Blue, "1.0.0").await.unwrap();
    assert!(!ran.exists());
    lab.git(&["config", "url./elsewhere/.pushInsteadOf", &lab.path("srv/").display().to_string()]);
    let error = lab.runtime().prepare(&target(Slot::Blue, "1.1.0")).await.unwrap_err();
    assert!(error.to_string().contains("would send it elsewhere"), "{error}");
}

#[tokio::test]
async fn the_stop_command_runs_with_the_web_root_empty_and_gets_no_more_than_the_grace() {
    needs_git!();
    let lab = Lab::new();
    let runtime = lab
        .builder()
        .on_stop(format!("test -z \"$(ls)\" && echo \"it's $VERSION\" > '{}'", lab.path("stopped").display()));
    let runtime = runtime.build().unwrap();
    deploy(&runtime, Slot::Blue, "1.0.0").await.unwrap();
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
    assert_eq!(fs::read_to_string(lab.path("stopped")).unwrap(), "it's 1.0.0\n");
    fs::remove_file(lab.path("stopped")).unwrap();
    runtime.stop(Slot::Blue, GRACE).await.unwrap();
    assert!(!lab.path("stopped").exists(), "it ran again");

    let runtime = lab.builder().on_stop("sleep 600").build().unwrap();
    deploy(&runtime, Slot::Blue, "1.0.0").await.unwrap();
    let error = runtime.stop(Slot::Blue, Duration::from_secs(1)).await.unwrap_err();
    assert!(error.to_string().contains("exit status 124"), "{error}");
    assert_eq!(lab.served(Slot::Blue), None);
}
