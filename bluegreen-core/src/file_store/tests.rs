use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use super::*;
use crate::testing::test_process;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn store(&self) -> FileStateStore {
        FileStateStore::new(self.0.path())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Commits documents that count up to `last`.
    async fn count_to(&self, last: u64) {
        let mut revision = None;
        for number in 1..=last {
            revision = Some(self.store().commit(&shop(), revision.as_ref(), &numbered(number)).await.unwrap());
        }
    }

    async fn number(&self) -> u64 {
        self.store().load(&shop()).await.unwrap().unwrap().value.epoch
    }

    /// The next commit must work whatever an interrupted one left.
    async fn count_on(&self) {
        let Versioned { value, revision } = self.store().load(&shop()).await.unwrap().unwrap();
        self.store().commit(&shop(), Some(&revision), &numbered(value.epoch + 1)).await.unwrap();
        assert_eq!(self.number().await, value.epoch + 1);
    }
}

fn shop() -> ServiceName {
    ServiceName::new("shop").unwrap()
}

fn numbered(number: u64) -> State {
    let mut state = State::new(shop());
    state.epoch = number;
    state
}

fn bytes(number: u64) -> Vec<u8> {
    numbered(number).to_bytes().unwrap()
}

#[tokio::test]
async fn only_the_owner_can_read_the_files_and_the_directory() {
    let place = Place::new();
    let directory = place.path("made/here");
    let store = FileStateStore::new(&directory);
    let revision = store.commit(&shop(), None, &numbered(1)).await.unwrap();
    store.commit(&shop(), Some(&revision), &numbered(2)).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    for name in ["shop.json", "shop.json.bak"] {
        assert_eq!(mode(&directory.join(name)), 0o600, "{name}");
    }
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 2, "and nothing else is left there");
}

#[tokio::test]
async fn a_crash_between_any_two_steps_of_a_commit_is_survived() {
    // What a crash leaves, step by step: an unfinished temporary file, a finished one, a backup that is as new as the
    // document, and an unfinished temporary file beside that.
    let half = bytes(4)[..100].to_vec();
    let leftovers: [&[(&str, Vec<u8>)]; 5] = [
        &[(".tmpAbCdEf", Vec::new())],
        &[(".tmpAbCdEf", half.clone())],
        &[(".tmpAbCdEf", bytes(3))],
        &[("shop.json.bak", bytes(3))],
        &[("shop.json.bak", bytes(3)), (".tmpGhIjKl", half)],
    ];
    for left in leftovers {
        let place = Place::new();
        place.count_to(3).await;
        for (name, content) in left {
            std::fs::write(place.path(name), content).unwrap();
        }
        assert_eq!(place.number().await, 3);
        place.count_on().await;
    }
}

#[tokio::test]
async fn what_a_first_commit_left_when_it_crashed_is_no_document() {
    let place = Place::new();
    std::fs::write(place.path("shop.lock"), "").unwrap();
    std::fs::write(place.path(".tmpAbCdEf"), &bytes(1)[..50]).unwrap();
    assert!(place.store().load(&shop()).await.unwrap().is_none());
    place.count_to(1).await;
}

#[tokio::test]
async fn a_corrupt_document_names_the_backup_and_how_to_put_it_back() {
    let place = Place::new();
    place.count_to(3).await;
    let document = place.path("shop.json");
    std::fs::write(&document, &bytes(3)[..200]).unwrap();
    let error = place.store().load(&shop()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let text = error.to_string();
    let (document, backup) = (document.to_str().unwrap(), format!("{}.bak", document.display()));
    assert!(text.contains(&format!("put it back with `cp -p {backup} {document}`")), "{text}");

    // The advice is good: following it brings back the state before the last commit.
    let status = Command::new("cp").args(["-p", &backup, document]).status().unwrap();
    assert!(status.success());
    assert_eq!(place.number().await, 2);
    place.count_on().await;
}

#[tokio::test]
async fn a_corrupt_document_whose_backup_is_of_no_use_says_so() {
    let place = Place::new();
    place.count_to(1).await;
    std::fs::write(place.path("shop.json"), "").unwrap();
    let text = place.store().load(&shop()).await.unwrap_err().to_string();
    assert!(text.contains("there is no backup yet"), "{text}");
    std::fs::write(place.path("shop.json.bak"), "{").unwrap();
    let text = place.store().load(&shop()).await.unwrap_err().to_string();
    assert!(text.contains("the backup cannot be read either"), "{text}");
}

#[tokio::test]
async fn a_document_of_a_newer_format_is_left_alone_and_says_what_to_update() {
    let place = Place::new();
    place.count_to(2).await;
    let newer = String::from_utf8(bytes(2)).unwrap().replace("\"format\": 1", "\"format\": 2");
    std::fs::write(place.path("shop.json"), &newer).unwrap();
    let error = place.store().load(&shop()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let text = error.to_string();
    assert!(text.contains("shop.json.bak") && text.contains("update this one"), "{text}");
    assert_eq!(std::fs::read_to_string(place.path("shop.json")).unwrap(), newer);
}

#[tokio::test]
async fn a_document_that_is_gone_while_its_backup_is_there_is_not_taken_for_a_first_deploy() {
    let place = Place::new();
    place.count_to(2).await;
    std::fs::remove_file(place.path("shop.json")).unwrap();
    let error = place.store().load(&shop()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("the state document is gone"), "{error}");
    let error = place.store().commit(&shop(), None, &numbered(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    std::fs::remove_file(place.path("shop.json.bak")).unwrap();
    assert!(place.store().load(&shop()).await.unwrap().is_none(), "both removed: to begin anew is what was wanted");
}

#[tokio::test]
async fn a_lock_that_is_never_given_up_is_a_timeout_that_names_it() {
    let place = Place::new();
    place.count_to(1).await;
    let held = File::open(place.0.path()).unwrap();
    held.lock().unwrap();
    let mut store = place.store();
    store.lock_wait = Duration::from_millis(50);
    let revision = store.load(&shop()).await.unwrap().unwrap().revision;
    let error = store.commit(&shop(), Some(&revision), &numbered(2)).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, crate::Effect::NotApplied));
    assert!(error.is_retryable() && error.to_string().contains("held the lock"), "{error}");
    drop(held);
    store.commit(&shop(), Some(&revision), &numbered(2)).await.unwrap();
}

/// Whatever a tidy person removes while it is held: the lock is on what cannot be removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_removed_under_load_lose_no_update() {
    let place = Place::new();
    place.count_to(1).await;
    let mut children: Vec<_> = (0..4).map(|_| spawn_child(&place)).collect();
    let is_over = |children: &mut Vec<Killed>| children.iter_mut().all(|child| child.0.try_wait().unwrap().is_some());
    while !is_over(&mut children) {
        let _ = std::fs::remove_file(place.path("shop.lock"));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for child in &mut children {
        assert!(child.0.wait().unwrap().success());
    }
    assert_eq!(place.number().await, 1 + 4 * UPDATES);
}

#[test]
fn where_a_directory_cannot_be_locked_a_lock_file_that_was_removed_meanwhile_is_opened_again() {
    let place = Place::new();
    let path = place.path("shop.lock");
    let first = File::create(&path).unwrap();
    assert!(acquire(&first, Instant::now()).unwrap() && is_in_place(&first, path.to_str().unwrap()));
    std::fs::remove_file(&path).unwrap();
    assert!(!is_in_place(&first, path.to_str().unwrap()), "gone");
    File::create(&path).unwrap();
    assert!(!is_in_place(&first, path.to_str().unwrap()), "another file by now");
}

#[tokio::test]
async fn what_a_killed_writer_left_is_gone_after_the_next_commit() {
    let place = Place::new();
    place.count_to(2).await;
    std::fs::write(place.path("shop.json.new"), "half").unwrap();
    std::fs::set_permissions(place.path("shop.json.new"), std::fs::Permissions::from_mode(0o444)).unwrap();
    place.count_on().await;
    let mut names: Vec<_> = std::fs::read_dir(place.0.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["shop.json", "shop.json.bak"]);
}

#[test]
fn a_file_system_without_locks_is_told_from_a_lock_that_is_held() {
    for errno in [rustix::io::Errno::NOLCK, rustix::io::Errno::NOSYS] {
        assert!(has_no_locks(&std::io::Error::from(errno)), "{errno}");
    }
    assert!(!has_no_locks(&std::io::Error::from(rustix::io::Errno::ACCESS)));
    let file = StateFile::new("/state", &shop());
    let error = file.no_locks("No locks available (os error 37)");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error.to_string().contains("No locks available") && error.hint().unwrap().contains("lock daemon"),
        "{error}"
    );
}

#[tokio::test]
async fn a_state_of_another_user_is_refused_with_what_to_do() {
    if rustix::process::getuid().is_root() {
        // Root may read everything: what it is told as another user is tested on the error itself.
        let error = Error::from(std::io::Error::from(std::io::ErrorKind::PermissionDenied));
        let error = StateFile::new("/state", &shop()).refused(error);
        assert!(error.hint().unwrap().contains("ls -l /state/shop.json"), "{error}");
        return;
    }
    let place = Place::new();
    place.count_to(1).await;
    std::fs::set_permissions(place.path("shop.json"), std::fs::Permissions::from_mode(0o000)).unwrap();
    let error = place.store().load(&shop()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.hint().unwrap().contains("ls -l"), "{error}");
}

#[tokio::test]
async fn a_state_is_never_stored_under_another_service() {
    let place = Place::new();
    let other = ServiceName::new("billing").unwrap();
    let error = place.store().commit(&other, None, &numbered(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

const CHILD: &str = "BLUEGREEN_TEST_STATE_DIRECTORY";
const UPDATES: u64 = 25;

/// Not a test by itself: what the children of the tests below do.
#[tokio::test]
async fn child_process() {
    let Ok(directory) = std::env::var(CHILD) else { return };
    let store = FileStateStore::new(directory);
    let mut done = 0;
    while done < UPDATES {
        let Versioned { value, revision } = store.load(&shop()).await.unwrap().unwrap();
        match store.commit(&shop(), Some(&revision), &numbered(value.epoch + 1)).await {
            Ok(_) => done += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
        }
    }
}

fn spawn_child(place: &Place) -> Killed {
    let child = test_process(concat!(module_path!(), "::child_process"))
        .env(CHILD, place.0.path())
        .stdout(Stdio::null())
        .spawn();
    Killed(child.unwrap())
}

/// Ends with the test, also when that fails.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_commit_at_the_same_time_lose_no_update() {
    let place = Place::new();
    place.count_to(1).await;
    let mut children: Vec<_> = (0..4).map(|_| spawn_child(&place)).collect();
    for child in &mut children {
        assert!(child.0.wait().unwrap().success());
    }
    assert_eq!(place.number().await, 1 + 4 * UPDATES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_are_killed_while_they_commit_leave_a_whole_document_and_no_lock() {
    let place = Place::new();
    place.count_to(1).await;
    let mut before = 1;
    for round in 0..8 {
        let children = [spawn_child(&place), spawn_child(&place)];
        // Once they are at work, at a different point of it each time.
        for _ in 0..2000 {
            if place.number().await > before {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_micros(700 * round)).await;
        drop(children);
        let now = place.number().await;
        assert!(now > before, "the children did commit: {now} after {before}");
        place.count_on().await;
        before = now + 1;
    }
}
