use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::file_store::FileStateStore;
use crate::host::{LocalHost, Tunnel};
use crate::types::{Progress, Secret};

/// This machine, with a search path of the test's own, and perhaps with a line that loses the end of what is sent.
#[derive(Debug, Default)]
struct Altered {
    path: Option<PathBuf>,
    lost_bytes: usize,
    runs: Arc<AtomicUsize>,
}

impl fmt::Display for Altered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("web1")
    }
}

const LOCAL: LocalHost = LocalHost::new();

#[async_trait]
impl Host for Altered {
    async fn run(&self, command: &Command) -> Result<Output> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        let input = command.input();
        let mut command = command.clone().stdin(&input[..input.len().saturating_sub(self.lost_bytes)]);
        if let Some(path) = &self.path {
            command = command.env("PATH", Secret::new(path.to_str().unwrap()));
        }
        LOCAL.run(&command).await
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        LOCAL.read(path).await
    }

    async fn write(&self, path: &str, contents: &[u8], mode: u32) -> Result<()> {
        LOCAL.write(path, contents, mode).await
    }

    async fn upload(&self, local: &Path, remote: &str, progress: &Progress) -> Result<()> {
        LOCAL.upload(local, remote, progress).await
    }

    async fn download(&self, remote: &str, local: &Path, progress: &Progress) -> Result<()> {
        LOCAL.download(remote, local, progress).await
    }

    async fn symlink(&self, target: &str, link: &str) -> Result<()> {
        LOCAL.symlink(target, link).await
    }

    async fn tunnel(&self, address: &str) -> Result<Tunnel> {
        LOCAL.tunnel(address).await
    }
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn directory(&self) -> PathBuf {
        self.0.path().join("state")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    fn on(&self, host: impl Host) -> HostStateStore {
        HostStateStore::new(host, self.directory().to_str().unwrap())
    }

    fn store(&self) -> HostStateStore {
        self.on(LOCAL)
    }

    async fn count_to(&self, last: u64) -> Revision {
        let mut revision = None;
        for number in 1..=last {
            revision = Some(self.store().commit(&shop(), revision.as_ref(), &numbered(number)).await.unwrap());
        }
        revision.unwrap()
    }

    async fn stored(&self) -> Versioned<State> {
        self.store().load(&shop()).await.unwrap().unwrap()
    }

    /// A directory of tools for a search path: those that the scripts use, without the `missing` one.
    fn tools_without(&self, missing: &str) -> PathBuf {
        let directory = self.0.path().join(format!("without-{missing}"));
        std::fs::create_dir(&directory).unwrap();
        for tool in TOOLS.iter().chain(&["sh"]).filter(|tool| **tool != missing) {
            symlink(which(tool), directory.join(tool)).unwrap();
        }
        directory
    }

    /// A directory of tools that end the whole script, by force, right before or right after the one that is `at`th.
    fn deadly_tools(&self, at: usize, after: bool) -> PathBuf {
        let directory = self.0.path().join(format!("deadly-{at}-{after}"));
        std::fs::create_dir(&directory).unwrap();
        symlink(which("sh"), directory.join("sh")).unwrap();
        let calls = directory.join("calls");
        std::fs::create_dir(&calls).unwrap();
        for tool in TOOLS {
            let (real, calls, kill) = (which(tool), calls.display(), "kill -KILL 0");
            let (before, then) = if after { ("", kill) } else { (kill, "") };
            // Each call takes the next free number, so that those which run side by side (a pipe) get different ones.
            let script = format!(
                "#!/bin/sh\nset -C\nnumber=1\nwhile ! true 2>/dev/null >{calls}/$number; do\nnumber=$((number + 1))\n\
                 done\nset +C\nif [ $number -eq {at} ]; then\n{before}\n{real} \"$@\"\n{then}\nfi\nexec {real} \"$@\"\n",
                real = real.display(),
            );
            std::fs::write(directory.join(tool), script).unwrap();
            std::fs::set_permissions(directory.join(tool), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        directory
    }
}

/// All that the scripts call.
const TOOLS: [&str; 10] = ["flock", "sha256sum", "cat", "mkdir", "dirname", "rm", "ln", "cp", "mv", "sync"];

fn which(tool: &str) -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&paths).map(|path| path.join(tool)).find(|path| path.is_file()).unwrap()
}

fn shop() -> ServiceName {
    ServiceName::new("shop").unwrap()
}

fn numbered(number: u64) -> State {
    let mut state = State::new(shop());
    state.epoch = number;
    state
}

#[tokio::test]
async fn a_load_and_a_commit_are_one_command_each() {
    let place = Place::new();
    let runs = Arc::new(AtomicUsize::new(0));
    let store = place.on(Altered { runs: runs.clone(), ..Altered::default() });
    assert!(store.load(&shop()).await.unwrap().is_none());
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    store.commit(&shop(), None, &numbered(1)).await.unwrap();
    assert_eq!(runs.load(Ordering::Relaxed), 2);
    store.load(&shop()).await.unwrap().unwrap();
    assert_eq!(runs.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn only_the_owner_can_read_the_files_and_nothing_else_is_left() {
    let place = Place::new();
    place.count_to(3).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&place.directory()), 0o700);
    for name in ["shop.json", "shop.json.bak"] {
        assert_eq!(mode(&place.path(name)), 0o600, "{name}");
    }
    assert_eq!(std::fs::read_dir(place.directory()).unwrap().count(), 2);
}

#[tokio::test]
async fn a_document_that_does_not_arrive_whole_is_not_stored() {
    let place = Place::new();
    let first = place.count_to(1).await;
    for lost_bytes in [1, 2, 100, 100_000] {
        let store = place.on(Altered { lost_bytes, ..Altered::default() });
        let error = store.commit(&shop(), Some(&first), &numbered(2)).await.unwrap_err();
        assert!(error.to_string().contains("did not arrive whole"), "{error}");
        assert_eq!((error.effect(), error.is_retryable()), (crate::Effect::NotApplied, true));
        assert_eq!(place.stored().await.value.epoch, 1);
    }
    place.store().commit(&shop(), Some(&first), &numbered(2)).await.unwrap();
}

#[tokio::test]
async fn a_tool_that_is_missing_on_the_host_is_named_with_where_it_comes_from() {
    let place = Place::new();
    let first = place.count_to(1).await;
    for missing in ["flock", "sha256sum"] {
        let store = place.on(Altered { path: Some(place.tools_without(missing)), ..Altered::default() });
        let error = store.commit(&shop(), Some(&first), &numbered(2)).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unsupported, crate::Effect::NotApplied));
        let text = error.to_string();
        let named = text.contains(&format!("there is no `{missing}` on the host"));
        assert!(named && text.contains("host: web1") && text.contains("util-linux"), "{text}");
        assert_eq!(store.load(&shop()).await.unwrap().unwrap().value.epoch, 1, "reading needs neither");
    }
    let store = place.on(Altered { path: Some(place.tools_without("nothing")), ..Altered::default() });
    store.commit(&shop(), Some(&first), &numbered(2)).await.unwrap();
}

#[tokio::test]
async fn the_backup_is_the_document_before_also_where_a_file_has_one_name_only() {
    for missing in ["nothing", "ln"] {
        let place = Place::new();
        let second = place.count_to(2).await;
        let store = place.on(Altered { path: Some(place.tools_without(missing)), ..Altered::default() });
        store.commit(&shop(), Some(&second), &numbered(3)).await.unwrap();
        let backup = std::fs::read(place.path("shop.json.bak")).unwrap();
        assert_eq!(State::from_bytes(&backup).unwrap().epoch, 2, "without {missing}");
        assert_eq!(place.stored().await.value.epoch, 3);
        assert_eq!(std::fs::read_dir(place.directory()).unwrap().count(), 2);
    }
}

#[tokio::test]
async fn a_commit_that_dies_at_any_of_its_commands_leaves_the_old_document_or_the_new_one() {
    let mut new_ones = 0;
    let mut deaths = 0;
    for at in 1.. {
        let mut died = false;
        for after in [false, true] {
            let place = Place::new();
            let revision = place.count_to(2).await;
            let store = place.on(Altered { path: Some(place.deadly_tools(at, after)), ..Altered::default() });
            let result = store.commit(&shop(), Some(&revision), &numbered(3)).await;
            let Versioned { value, revision } = place.stored().await;
            if let Err(error) = result {
                died = true;
                deaths += 1;
                assert_eq!(error.effect(), crate::Effect::Unknown, "{error:?}");
                assert!([2, 3].contains(&value.epoch), "at {at}: {}", value.epoch);
                new_ones += u32::from(value.epoch == 3);
            } else {
                assert_eq!(value.epoch, 3);
            }
            let backup = std::fs::read(place.path("shop.json.bak")).unwrap();
            assert!(State::from_bytes(&backup).is_ok(), "at {at}: the backup is whole at every moment");
            place.store().commit(&shop(), Some(&revision), &numbered(value.epoch + 1)).await.unwrap();
            assert_eq!(place.stored().await.value.epoch, value.epoch + 1);
            let files = std::fs::read_dir(place.directory()).unwrap().count();
            assert_eq!(files, 2, "at {at}: the next commit clears up what was left");
        }
        if !died {
            break;
        }
    }
    // Before and after each of the eight programs that a commit starts.
    assert!(deaths >= 16 && new_ones > 0, "{deaths} deaths, {new_ones} of them after the swap");
}

/// Programs that take the place of the host's.
fn with_program(name: &str, text: &str) -> (tempfile::TempDir, Altered) {
    let programs = tempfile::tempdir().unwrap();
    let program = programs.path().join(name);
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", programs.path().display(), std::env::var("PATH").unwrap());
    (programs, Altered { path: Some(PathBuf::from(path)), ..Altered::default() })
}

#[tokio::test]
async fn a_file_system_without_locks_is_not_reported_as_a_lock_that_is_held() {
    let place = Place::new();
    let (_programs, host) = with_program("flock", "#!/bin/sh\necho 'flock: 9: No locks available' >&2\nexit 71\n");
    let store = HostStateStore::new(host, place.directory().to_str().unwrap());
    let error = store.commit(&shop(), None, &numbered(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("No locks available"), "{error}");
}

/// As on a network file system: directories cannot be locked, files can.
const FILES_ONLY: &str =
    "#!/bin/sh\nif [ -d /proc/self/fd/9 ]; then echo 'flock: 9: Bad file descriptor' >&2; exit 71; fi\n";

#[tokio::test]
async fn where_a_directory_cannot_be_locked_a_file_is_and_one_that_was_removed_meanwhile_is_opened_again() {
    let place = Place::new();
    let lock = place.directory().join("shop.lock");
    // The first try finds that somebody has removed the file since it was opened.
    let script = format!(
        "{FILES_ONLY}if [ ! -e {lock}.seen ]; then : >{lock}.seen; rm -f {lock}; fi\nexec /usr/bin/flock \"$@\"\n",
        lock = lock.display()
    );
    let (_programs, host) = with_program("flock", &script);
    let store = HostStateStore::new(host, place.directory().to_str().unwrap());
    let revision = store.commit(&shop(), None, &numbered(1)).await.unwrap();
    assert!(lock.exists(), "the lock that was held is the one in its place");
    store.commit(&shop(), Some(&revision), &numbered(2)).await.unwrap();
}

#[tokio::test]
async fn a_lock_that_is_never_given_up_is_a_timeout_that_names_it() {
    let place = Place::new();
    let first = place.count_to(1).await;
    let held = std::fs::File::open(place.directory()).unwrap();
    held.lock().unwrap();
    let error = place.store().commit(&shop(), Some(&first), &numbered(2)).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, crate::Effect::NotApplied));
    assert!(error.to_string().contains("held the lock"), "{error}");
    assert_eq!(place.stored().await.value.epoch, 1);
}

#[tokio::test]
async fn a_corrupt_document_names_its_backup_and_whether_that_is_of_use() {
    let place = Place::new();
    place.count_to(2).await;
    std::fs::write(place.path("shop.json"), "{").unwrap();
    let error = place.store().load(&shop()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let text = error.to_string();
    assert!(text.contains("the backup is whole") && text.contains("shop.json.bak"), "{text}");
    std::fs::write(place.path("shop.json.bak"), "").unwrap();
    let text = place.store().load(&shop()).await.unwrap_err().to_string();
    assert!(text.contains("the backup cannot be read either"), "{text}");
    std::fs::remove_file(place.path("shop.json.bak")).unwrap();
    let text = place.store().load(&shop()).await.unwrap_err().to_string();
    assert!(text.contains("there is no backup yet"), "{text}");
}

#[tokio::test]
async fn a_document_that_is_gone_while_its_backup_is_there_is_not_taken_for_a_first_deploy() {
    let place = Place::new();
    place.count_to(2).await;
    std::fs::remove_file(place.path("shop.json")).unwrap();
    for error in [
        place.store().load(&shop()).await.unwrap_err(),
        place.store().commit(&shop(), None, &numbered(1)).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("the state document is gone"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_kinds_of_store_work_on_one_directory_at_the_same_time() {
    const UPDATES: u64 = 10;
    let place = Place::new();
    place.count_to(1).await;
    let stores: [Arc<dyn StateStore>; 4] = [
        Arc::new(FileStateStore::new(place.directory())),
        Arc::new(place.store()),
        Arc::new(FileStateStore::new(place.directory())),
        Arc::new(place.store()),
    ];
    let writers = stores.map(|store| {
        tokio::spawn(async move {
            let mut done = 0;
            while done < UPDATES {
                let Versioned { value, revision } = store.load(&shop()).await.unwrap().unwrap();
                match store.commit(&shop(), Some(&revision), &numbered(value.epoch + 1)).await {
                    Ok(_) => done += 1,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
                }
            }
        })
    });
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(place.stored().await.value.epoch, 1 + 4 * UPDATES);
}

/// Being root, the tests cannot be kept from looking; another user is.
#[tokio::test]
async fn a_directory_that_cannot_be_looked_into_is_not_taken_for_empty() {
    let place = Place::new();
    place.count_to(1).await;
    let is_root = LOCAL.run(&Command::new("id").arg("-u")).await.unwrap().text() == "0";
    let (document, backup) = (place.path("shop.json"), place.path("shop.json.bak"));
    let script: Vec<String> =
        ["sh", "-c", LOAD, "sh", document.to_str().unwrap(), backup.to_str().unwrap()].map(str::to_owned).to_vec();
    let command = if is_root {
        let other = ["--reuid=65534", "--regid=65534", "--clear-groups"];
        Command::new("setpriv").args(other).args(script)
    } else {
        std::fs::set_permissions(place.directory(), std::fs::Permissions::from_mode(0o000)).unwrap();
        Command::new("env").args(script)
    };
    let output = LOCAL.run(&command).await.unwrap();
    std::fs::set_permissions(place.directory(), std::fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(output.status, Some(1), "{output:?}");
    assert!(output.error_text().contains("cannot look into"), "{output:?}");
}
