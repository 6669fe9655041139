//! `ImageBuild`, and files out of images.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bluegreen_core::testing::test_process;
use bluegreen_core::{Effect, ErrorKind, Progress, Runtime, Slot};
use bluegreen_docker::{Engine, ImageBuild};
use bluegreen_testkit::process::Killed;
use tempfile::TempDir;

use crate::support::{Fate, Shop, WAITS, docker, docker_ok, eventually, needs_docker, proxy, remove_nameless, unique};

/// A directory with what makes an image of busybox. Dropping it removes what is left of the builds.
struct Context {
    folder: TempDir,
    mark: String,
}

impl Context {
    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        remove_nameless(&self.mark);
    }
}

fn context(instructions: &str) -> Context {
    let (folder, mark) = (tempfile::tempdir().unwrap(), format!("bluegreen.test={}", unique("build")));
    std::fs::copy("/bin/busybox", folder.path().join("busybox")).unwrap();
    let text = format!("FROM scratch\nLABEL {mark}\nCOPY busybox /bin/sh\nENV PATH=/bin\n{instructions}\n");
    std::fs::write(folder.path().join("Dockerfile"), text).unwrap();
    Context { folder, mark }
}

fn shop() -> Shop {
    Shop::new("services: {api: {image: 'IMAGES/app:1.0'}}")
}

/// The containers of an image, running or not.
fn containers_of(image: &str) -> String {
    docker_ok(&["ps", "-aq", "--filter", &format!("ancestor={image}")])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_built_named_pushed_and_deployed() {
    needs_docker!();
    let shop = shop();
    let folder = context(
        "ARG GREETING\nRUN [\"sh\", \"-c\", \"echo $GREETING > /greeting\"]\nCMD [\"sh\", \"-c\", \"exec sleep 600\"]",
    );
    let (name, seen) = (shop.images.name("app:1.0"), Arc::new(Mutex::new(Vec::new())));
    let sink = Arc::clone(&seen);
    let progress = Progress::new(move |what, done, _| sink.lock().unwrap().push((what.to_owned(), done)));
    let build = ImageBuild::new(folder.path()).build_arg("GREETING", "hello").tag(&name).push(true);
    let built = build.run(&progress).await.unwrap();
    assert_eq!(docker_ok(&["image", "inspect", "--format", "{{.Id}}", &name]), built.id());
    let digests = docker_ok(&["image", "inspect", "--format", "{{.RepoDigests}}", &name]);
    assert!(digests.contains(built.digest(&name).unwrap()), "{digests}");
    let sent = seen.lock().unwrap().iter().filter(|(what, _)| what == "build context").map(|(_, done)| *done).max();
    assert!(sent.unwrap() > 1_000_000, "{sent:?}");

    let output = folder.path().join("greeting");
    built.extract("/greeting", &output, &Progress::none()).await.unwrap();
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "hello\n");

    // Again: the same image, at once.
    assert_eq!(build.run(&Progress::none()).await.unwrap().id(), built.id());
    let runtime = shop.runtime();
    runtime.prepare(&shop.version(Slot::Green, "1.0")).await.unwrap();
    runtime.start(&shop.version(Slot::Green, "1.0")).await.unwrap();
    // It does not end when it is asked to.
    runtime.stop(Slot::Green, Duration::ZERO).await.unwrap();
    assert_eq!(containers_of(built.id()), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_dockerignore_names_is_not_sent() {
    needs_docker!();
    let shop = shop();
    let folder = context("COPY . /all");
    let write = |path: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    };
    for path in ["kept", "secret.env", "deep/secret.env", "node_modules/a/b", "docs/a.md", "docs/keep.md", ".git/x"] {
        write(path);
    }
    std::os::unix::fs::symlink("kept", folder.path().join("link")).unwrap();
    std::fs::write(
        folder.path().join(".dockerignore"),
        "**/*.env\nnode_modules\n.git\ndocs/*\n!docs/keep.md\nDockerfile\n",
    )
    .unwrap();
    let built = ImageBuild::new(folder.path()).tag(shop.images.name("all:1")).run(&Progress::none()).await.unwrap();
    let output = tempfile::tempdir().unwrap();
    let to = output.path().join("all");
    built.extract("/all", &to, &Progress::none()).await.unwrap();
    let mut found = list(&to, Path::new(""));
    found.sort();
    // A Dockerfile that is named goes to the engine, which reads it and leaves it out.
    let wanted = [".dockerignore", "busybox", "deep", "docs/keep.md", "kept", "link"];
    assert_eq!(found, wanted.map(str::to_owned), "other files than the docker command sends");
    assert_eq!(std::fs::read_link(to.join("link")).unwrap(), Path::new("kept"));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(to.join("busybox")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o755);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_dockerignore_names_need_not_be_readable() {
    needs_docker!();
    let folder = context("COPY . /all");
    std::fs::write(folder.path().join(".dockerignore"), "node_modules\n*.log\n!keep.log\n").unwrap();
    // Deeper than a path may be long, which nobody can read by its path, whoever it is.
    let mode = rustix::fs::Mode::RWXU;
    let mut directory = std::fs::File::open(folder.path()).unwrap();
    for name in std::iter::once("node_modules".to_owned()).chain(std::iter::repeat_n("x".repeat(250), 20)) {
        rustix::fs::mkdirat(&directory, &name, mode).unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::RDONLY;
        directory = rustix::fs::openat(&directory, &name, flags, mode).unwrap().into();
    }
    ImageBuild::new(folder.path()).run(&Progress::none()).await.unwrap();
}

/// The files below a directory, and the directories that are empty.
fn list(root: &Path, directory: &Path) -> Vec<String> {
    let entries: Vec<_> = std::fs::read_dir(root.join(directory)).unwrap().map(|entry| entry.unwrap()).collect();
    if entries.is_empty() {
        return vec![directory.display().to_string()];
    }
    let each = entries.into_iter().flat_map(|entry| {
        let path = directory.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() { list(root, &path) } else { vec![path.display().to_string()] }
    });
    each.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_fails_is_told_with_its_last_lines_and_the_name_stays_what_it_was() {
    needs_docker!();
    let shop = shop();
    let name = shop.images.make("app:1.0", WAITS);
    let before = docker_ok(&["image", "inspect", "--format", "{{.Id}}", &name]);
    let mark = unique("fail");
    let folder = context(&format!("RUN [\"sh\", \"-c\", \"echo {mark} cannot compile; exit 3\"]"));
    let error = ImageBuild::new(folder.path()).tag(&name).run(&Progress::none()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&format!("{mark} cannot compile")) && text.contains("code: 3"), "{text}");
    assert_eq!(docker_ok(&["image", "inspect", "--format", "{{.Id}}", &name]), before);
    assert!(!docker_ok(&["ps", "-a", "--no-trunc"]).contains(&mark), "a container was left");

    let missing = ImageBuild::new(folder.path()).dockerfile("Other").run(&Progress::none()).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Config, "{missing:?}");
    let outside = ImageBuild::new(folder.path()).dockerfile("../Dockerfile").run(&Progress::none()).await.unwrap_err();
    assert_eq!(outside.kind(), ErrorKind::Config, "{outside:?}");
    let nowhere = ImageBuild::new(folder.path().join("none")).run(&Progress::none()).await.unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::Config, "{nowhere:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_is_cut_off_leaves_no_container_behind() {
    needs_docker!();
    let mark = unique("cut");
    let folder = context(&format!("RUN [\"sh\", \"-c\", \": {mark}; sleep 300\"]"));
    let build = ImageBuild::new(folder.path());
    let running = tokio::spawn(async move { build.run(&Progress::none()).await });
    let listed = || docker_ok(&["ps", "-a", "--no-trunc"]).contains(&mark);
    eventually("the instruction runs", async || listed()).await;
    running.abort();
    eventually("the container is gone", async || !listed()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_or_a_directory_is_copied_out_whole_and_replaces_what_was_there() {
    needs_docker!();
    let shop = shop();
    let name = shop.images.make("app:1.0", WAITS);
    let (engine, folder) = (Engine::local(), tempfile::tempdir().unwrap());
    let file = folder.path().join("sh");
    std::fs::write(&file, "what was there").unwrap();
    engine.extract(&name, "/bin/busybox", &file, &Progress::none()).await.unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), std::fs::read("/bin/busybox").unwrap());

    let to = folder.path().join("bin");
    std::fs::create_dir(&to).unwrap();
    std::fs::write(to.join("old"), "what was there").unwrap();
    for _ in 0..2 {
        engine.extract(&name, "/bin", &to, &Progress::none()).await.unwrap();
        assert!(to.join("busybox").is_file() && to.join("ls").is_symlink() && !to.join("old").exists());
    }
    let entries = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(entries, 2, "something is left beside them");

    let cases =
        [("/no/such/file", ErrorKind::NotFound), ("relative", ErrorKind::Config), ("/bin/ls", ErrorKind::Config)];
    for (path, kind) in cases {
        let error = engine.extract(&name, path, &folder.path().join("x"), &Progress::none()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(!folder.path().join("x").exists());
    }
    let error = engine.extract(&shop.images.name("none:1"), "/bin", &file, &Progress::none()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert_eq!(containers_of(&name), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_cut_off_at_any_moment_leaves_neither_container_nor_file() {
    needs_docker!();
    let shop = shop();
    let name = shop.images.make("app:1.0", WAITS);
    let (engine, folder) = (Engine::local(), tempfile::tempdir().unwrap());
    for micros in [0, 300, 1000, 3000, 10_000, 20_000, 40_000, 60_000, 80_000, 100_000, 150_000] {
        let to = folder.path().join("out");
        let progress = Progress::none();
        let call = engine.extract(&name, "/bin/busybox", &to, &progress);
        let cut = tokio::time::timeout(Duration::from_micros(micros), call).await;
        if cut.is_err() && to.exists() {
            assert_eq!(std::fs::read(&to).unwrap(), std::fs::read("/bin/busybox").unwrap(), "a part of the file");
        }
        let _ = std::fs::remove_file(&to);
    }
    eventually("no container is left", async || containers_of(&name).is_empty()).await;
    eventually("no file is left", async || {
        let _ = std::fs::remove_file(folder.path().join("out"));
        std::fs::read_dir(folder.path()).unwrap().count() == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_process_left_of_a_copy_is_removed_by_the_next_one() {
    needs_docker!();
    let shop = shop();
    let name = shop.images.make("app:1.0", WAITS);
    let leave = |age: u64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let label = format!("bluegreen.extraction={}", now - age);
        docker_ok(&["create", "--label", &label, &name, "-"])
    };
    let (old, young) = (leave(7200), leave(60));
    let folder = tempfile::tempdir().unwrap();
    Engine::local().extract(&name, "/bin/busybox", &folder.path().join("x"), &Progress::none()).await.unwrap();
    let left = containers_of(&name);
    assert!(!left.contains(&old[..12]) && left.contains(&young[..12]), "{left}");
    docker(&["rm", &young]);
}

/// Run by the test below in a process of its own, which is killed.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_copies_without_end() {
    let [Ok(image), Ok(folder)] = ["BLUEGREEN_TEST_IMAGE", "BLUEGREEN_TEST_FOLDER"].map(std::env::var) else { return };
    let folder = Path::new(&folder);
    let socket = folder.join(format!("{}.sock", std::process::id()));
    proxy(&socket, |line| if line.contains("/archive?") { Fate::Unanswered } else { Fate::Passes });
    let engine = Engine::local().address(format!("unix://{}", socket.display()));
    let _ = engine.extract(&image, "/bin/busybox", &folder.join("x"), &Progress::none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_left_of_a_copy_is_removed_at_once_and_what_a_living_one_uses_is_not() {
    needs_docker!();
    let shop = shop();
    let name = shop.images.make("app:1.0", WAITS);
    let folder = tempfile::tempdir().unwrap();
    let copy = || {
        let mut command = test_process(concat!(module_path!(), "::child_that_copies_without_end"));
        command.env("BLUEGREEN_TEST_IMAGE", &name).env("BLUEGREEN_TEST_FOLDER", folder.path());
        Killed::spawn(command.stdout(Stdio::null()))
    };
    let killed = copy();
    eventually("it copies", async || !containers_of(&name).is_empty()).await;
    let left = containers_of(&name);
    let _living = copy();
    eventually("the other one copies", async || containers_of(&name).lines().count() == 2).await;
    drop(killed);
    let to = folder.path().join("y");
    Engine::local().extract(&name, "/bin/busybox", &to, &Progress::none()).await.unwrap();
    let now = containers_of(&name);
    assert!(now.lines().count() == 1 && !now.contains(&left), "{left} of {now}");
}

/// One thread, whose clock can be made to pass.
#[tokio::test]
async fn a_container_that_the_engine_may_have_made_is_not_reported_as_not_made() {
    needs_docker!();
    let shop = shop();
    let name = shop.images.make("app:1.0", WAITS);
    let socket = shop.path("engine.sock");
    proxy(&socket, |line| if line.contains("/containers/create") { Fate::Unanswered } else { Fate::Passes });
    let (engine, image) = (Engine::local().address(format!("unix://{}", socket.display())), name.clone());
    let to = shop.path("x");
    let copying = tokio::spawn(async move { engine.extract(&image, "/bin/sh", &to, &Progress::none()).await });
    eventually("it is made", async || !containers_of(&name).is_empty()).await;
    tokio::time::pause();
    let error = copying.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown), "{error:?}");
}
