//! How much memory a transfer takes. Alone in its program, so that no other test counts.
#![allow(clippy::unwrap_used, reason = "tests")]

mod reach;

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bluegreen_core::{Host, Progress};
use bluegreen_testkit::ssh::{Sshd, sshd_is_here};
use reach::Reach;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_big_file_goes_through_in_little_memory() {
    if !sshd_is_here() {
        return;
    }
    const SIZE: u64 = 256 << 20;
    const LIMIT: u64 = 48 << 20;
    let sshd = Sshd::start();
    let (host, directory) = (sshd.host(), tempfile::tempdir().unwrap());
    let path = |name: &str| -> PathBuf { directory.path().join(name) };
    // It takes no space on the disk here, and is sent in full.
    fs::File::create(path("here")).unwrap().set_len(SIZE).unwrap();
    let peak = Arc::new(Mutex::new(0));
    let before = memory();
    let watch = {
        let peak = Arc::clone(&peak);
        Progress::new(move |_, _, _| {
            let mut peak = peak.lock().unwrap();
            *peak = (*peak).max(memory());
        })
    };
    host.upload(&path("here"), path("up").to_str().unwrap(), &watch).await.unwrap();
    host.download(path("up").to_str().unwrap(), &path("down"), &watch).await.unwrap();
    assert_eq!(fs::metadata(path("down")).unwrap().len(), SIZE);
    let used = peak.lock().unwrap().saturating_sub(before);
    assert!(used > 0 && used < LIMIT, "{} MiB more than before", used >> 20);
}

/// The memory of this process that is in use, in bytes.
fn memory() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
