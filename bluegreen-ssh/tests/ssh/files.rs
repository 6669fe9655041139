//! Files on a real server.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bluegreen_core::{Effect, ErrorKind, Host, Progress};
use bluegreen_testkit::patience::eventually;
use bluegreen_testkit::ssh::Sshd;
use rustix::process::Signal;

use crate::reach::Reach;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What is in a directory, temporary files included.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Bytes that no compression makes small, the same every time.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// What a `Progress` has heard: how much of how much.
type Heard = Arc<Mutex<Vec<(u64, Option<u64>)>>>;

fn recorder() -> (Progress, Heard) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&heard);
    (Progress::new(move |_, done, total| sink.lock().unwrap().push((done, total))), heard)
}

#[tokio::test]
async fn what_is_written_is_read_back_under_any_name() {
    needs_sshd!();
    let sshd = Sshd::start();
    let (host, directory) = (sshd.host(), tempfile::tempdir().unwrap());
    for name in ["plain", "with blank", "it's", "-rf", "$(id)", "a\nb", "日本", "\\", "*"] {
        for contents in [&b""[..], b"text\n", b"\0\xff binary", &noise(3 << 20)] {
            let path = directory.path().join(name);
            host.write(text(&path), contents, 0o640).await.unwrap();
            assert!(fs::read(&path).unwrap() == contents, "{name:?}");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
            assert!(host.read(text(&path)).await.unwrap().unwrap() == contents, "{name:?}");
        }
    }
    assert_eq!(names(directory.path()).len(), 9, "{:?}", names(directory.path()));
}

#[tokio::test]
async fn a_file_that_is_not_there_is_none_and_one_that_cannot_be_read_is_an_error() {
    needs_sshd!();
    let sshd = Sshd::start();
    let (host, directory) = (sshd.host(), tempfile::tempdir().unwrap());
    let dangling = directory.path().join("dangling");
    symlink("nowhere", &dangling).unwrap();
    for path in ["/no/such/file", "no-such-file-in-the-home", text(&dangling)] {
        assert_eq!(host.read(path).await.unwrap(), None, "{path}");
    }
    let error = host.read(text(directory.path())).await.unwrap_err();
    assert_eq!(error.effect(), Effect::NotApplied);
    assert!(error.to_string().contains("directory"), "{error}");
}

#[tokio::test]
async fn a_path_that_leads_nowhere_is_not_found() {
    needs_sshd!();
    let sshd = Sshd::start();
    let host = sshd.host();
    let local = sshd.path().join("local");
    fs::write(&local, "x").unwrap();
    let missing = "/no/such/directory/file";
    let errors = [
        host.write(missing, b"x", 0o600).await.unwrap_err(),
        host.symlink("x", missing).await.unwrap_err(),
        host.upload(&local, missing, &Progress::none()).await.unwrap_err(),
        host.download(missing, &local, &Progress::none()).await.unwrap_err(),
        host.upload(Path::new(missing), "/tmp/x", &Progress::none()).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!((error.kind(), error.effect()), (ErrorKind::NotFound, Effect::NotApplied), "{error}");
        assert!(error.to_string().contains("127.0.0.1") && error.to_string().contains(missing), "{error}");
    }
    assert_eq!(fs::read(&local).unwrap(), b"x");
}

#[tokio::test]
async fn a_file_has_its_mode_from_its_first_moment_and_is_replaced_whole() {
    needs_sshd!();
    let sshd = Sshd::start();
    let (host, directory) = (sshd.host(), tempfile::tempdir().unwrap());
    let path = directory.path().join("secret");
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let watcher = std::thread::spawn({
        let (directory, stop) = (directory.path().to_owned(), Arc::clone(&stop));
        move || {
            let mut looks = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for entry in fs::read_dir(&directory).unwrap().flatten() {
                    if let Ok(meta) = entry.metadata() {
                        assert_eq!(meta.mode() & 0o077, 0, "{:?} is open to others", entry.path());
                        let whole = entry.file_name() != "secret" || meta.len() == 1 << 20;
                        assert!(whole, "a part of {} bytes is seen", meta.len());
                        looks += 1;
                    }
                }
            }
            looks
        }
    });
    for byte in 0..10 {
        host.write(text(&path), &vec![byte; 1 << 20], 0o600).await.unwrap();
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(watcher.join().unwrap() > 0);
}

#[tokio::test]
async fn a_link_is_replaced_in_one_step_and_a_directory_is_not() {
    needs_sshd!();
    let sshd = Sshd::start();
    let (host, directory) = (sshd.host(), tempfile::tempdir().unwrap());
    let link = directory.path().join("current");
    fs::create_dir(directory.path().join("1")).unwrap();
    for target in ["1", "2 with 'quotes'", "1", "-x"] {
        host.symlink(target, text(&link)).await.unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new(target));
    }
    let error = host.symlink("x", text(&directory.path().join("1"))).await.unwrap_err();
    assert!(error.to_string().contains("directory"), "{error}");
    assert_eq!(names(directory.path()), ["1", "current"]);
}

#[tokio::test]
async fn an_upload_and_a_download_bring_the_same_bytes_and_tell_how_far_they_are() {
    needs_sshd!();
    for lines in ["Subsystem sftp internal-sftp", "# a server without SFTP"] {
        let sshd = Sshd::with(lines);
        let (host, directory) = (sshd.host(), tempfile::tempdir().unwrap());
        let path = |name: &str| directory.path().join(name);
        for size in [0, 1, 256 << 10, (5 << 20) + 7] {
            let bytes = noise(size);
            fs::write(path("here"), &bytes).unwrap();
            for (name, is_up) in [("up", true), ("down", false)] {
                let (progress, heard) = recorder();
                if is_up {
                    host.upload(&path("here"), text(&path(name)), &progress).await.unwrap();
                } else {
                    host.download(text(&path("here")), &path(name), &progress).await.unwrap();
                }
                assert!(fs::read(path(name)).unwrap() == bytes, "{name} of {size} bytes");
                let heard = heard.lock().unwrap();
                assert!(
                    heard.is_sorted() && (size == 0 || heard.last() == Some(&(size as u64, Some(size as u64)))),
                    "{heard:?}"
                );
            }
        }
        assert_eq!(names(directory.path()), ["down", "here", "up"]);
    }
}

#[tokio::test]
async fn what_is_there_already_is_not_sent_again_and_what_differs_is() {
    needs_sshd!();
    let sshd = Sshd::start();
    let (host, directory) = (sshd.host(), tempfile::tempdir().unwrap());
    let (here, there) = (directory.path().join("here"), directory.path().join("there"));
    fs::write(&here, noise(1 << 20)).unwrap();
    host.upload(&here, text(&there), &Progress::none()).await.unwrap();
    let before = fs::metadata(&there).unwrap();
    let (progress, heard) = recorder();
    host.upload(&here, text(&there), &progress).await.unwrap();
    host.download(text(&there), &here, &progress).await.unwrap();
    assert_eq!(fs::metadata(&there).unwrap().ino(), before.ino());
    assert_eq!(*heard.lock().unwrap(), [(1 << 20, Some(1 << 20)); 2]);

    // Of the same size, and different.
    fs::write(&here, vec![7; 1 << 20]).unwrap();
    host.upload(&here, text(&there), &Progress::none()).await.unwrap();
    assert!(fs::read(&there).unwrap() == vec![7; 1 << 20]);
    fs::write(&there, vec![8; 1 << 20]).unwrap();
    host.download(text(&there), &here, &Progress::none()).await.unwrap();
    assert!(fs::read(&here).unwrap() == vec![8; 1 << 20]);
}

/// A progress that waits at each step, so that there is time to disturb a transfer.
fn slow() -> (Progress, Heard) {
    let (_, heard) = recorder();
    let sink = Arc::clone(&heard);
    let progress = Progress::new(move |_, done, total| {
        std::thread::sleep(Duration::from_millis(5));
        sink.lock().unwrap().push((done, total));
    });
    (progress, heard)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_upload_that_is_cut_off_leaves_nothing_behind() {
    needs_sshd!();
    let sshd = Sshd::start();
    let (host, directory) = (sshd.host(), tempfile::tempdir().unwrap());
    let (here, there) = (sshd.path().join("here"), directory.path().join("there"));
    fs::write(&here, noise(64 << 20)).unwrap();
    fs::write(&there, "old").unwrap();
    let (progress, heard) = slow();
    let seen = async || !heard.lock().unwrap().is_empty();
    tokio::select! {
        done = host.upload(&here, text(&there), &progress) => panic!("it was done: {done:?}"),
        () = eventually("the upload is under way", seen) => {}
    }
    eventually("nothing is left of it", async || names(directory.path()) == ["there"]).await;
    assert_eq!(fs::read(&there).unwrap(), b"old");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_transfer_goes_on_over_a_new_connection_when_the_old_one_is_lost() {
    needs_sshd!();
    let sshd = Sshd::start();
    let (host, directory) = (sshd.host(), tempfile::tempdir().unwrap());
    let path = |name: &str| directory.path().join(name);
    let bytes = noise(48 << 20);
    fs::write(path("here"), &bytes).unwrap();
    for is_up in [true, false] {
        let name = if is_up { "up" } else { "down" };
        let (progress, heard) = slow();
        let (task_host, here, there) = (host.clone(), path("here"), path(name));
        let transfer = tokio::spawn(async move {
            if is_up {
                task_host.upload(&here, text(&there), &progress).await
            } else {
                task_host.download(text(&here), &there, &progress).await
            }
        });
        eventually("the transfer is under way", async || heard.lock().unwrap().len() > 3).await;
        sshd.signal_sessions(Signal::KILL);
        transfer.await.unwrap().unwrap();
        assert!(fs::read(path(name)).unwrap() == bytes);
        let restarted = heard.lock().unwrap().windows(2).any(|pair| pair[1].0 < pair[0].0);
        assert!(restarted, "the transfer was not cut off at all");
    }
    eventually("nothing else is left", async || names(directory.path()) == ["down", "here", "up"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_file_that_changes_while_it_is_sent_is_not_put_in_place() {
    needs_sshd!();
    let sshd = Sshd::start();
    let (host, directory) = (sshd.host(), tempfile::tempdir().unwrap());
    let (here, there) = (sshd.path().join("here"), directory.path().join("there"));
    fs::write(&here, noise(32 << 20)).unwrap();
    let (progress, heard) = slow();
    let upload = tokio::spawn({
        let (host, here, there) = (host.clone(), here.clone(), there.clone());
        async move { host.upload(&here, text(&there), &progress).await }
    });
    eventually("the upload is under way", async || !heard.lock().unwrap().is_empty()).await;
    fs::OpenOptions::new().write(true).open(&here).unwrap().set_len(1 << 20).unwrap();
    let error = upload.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied), "{error}");
    eventually("nothing is left of it", async || names(directory.path()).is_empty()).await;
}
