//! Releases on the server.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use bluegreen_core::{ErrorKind, Progress, Reason, Release};

use crate::support::{Lab, inode, names, target};

#[tokio::test]
async fn unchanged_files_cost_neither_transfer_nor_disk() {
    let lab = Lab::new();
    let noise: String = (0..3_000).map(|n: u32| bluegreen_core::sha256_hex(n.to_string())).collect();
    let (first, second) = ("first", "second");
    lab.build(first, &[("big", &noise), ("changed", "1"), ("gone/deep/file", "x"), ("mode", "y")]);
    lab.build(second, &[("big", &noise), ("changed", "2"), ("new/file", "z"), ("mode*", "y")]);
    let sent = Arc::new(Mutex::new(0));
    let prepare = async |version: &str, build: &str| {
        let seen = sent.clone();
        let mut target = target(version, lab.path(build));
        *seen.lock().unwrap() = 0;
        target.progress = Progress::new(move |_, done, _| *seen.lock().unwrap() = done);
        lab.releases().prepare(&target).await.unwrap();
        *sent.lock().unwrap()
    };
    let all = prepare("1.0", first).await;
    let delta = prepare("1.1", second).await;
    assert!(all > 50_000 && delta < 2_000, "{all} and {delta} bytes were sent");
    let file = |version: &str, name: &str| lab.on_server(&format!("releases/{version}/{name}"));
    assert_eq!(inode(&file("1.0", "big")), inode(&file("1.1", "big")));
    assert_eq!((lab.read("releases/1.0/changed"), lab.read("releases/1.1/changed")), ("1".into(), "2".into()));
    assert!(!file("1.1", "gone").exists() && file("1.0", "gone/deep/file").exists());
    let mode = |version| fs::metadata(file(version, "mode")).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("1.0"), mode("1.1")), (0o644, 0o755));
    assert_eq!(names(&lab.on_server("incoming")), Vec::<String>::new());
}

#[tokio::test]
async fn a_release_that_is_too_large_to_go_with_its_script_arrives_whole_too() {
    let lab = Lab::new();
    let noise: String = (0..50_000).map(|n: u32| bluegreen_core::sha256_hex(n.to_string())).collect();
    lab.build("large", &[("big", &noise)]);
    lab.releases().prepare(&target("1.0", lab.path("large"))).await.unwrap();
    assert!(lab.read("releases/1.0/big") == noise);
    assert_eq!(names(&lab.on_server("incoming")), Vec::<String>::new());
}

#[tokio::test]
async fn a_base_whose_files_were_changed_on_the_server_is_not_built_upon() {
    let lab = Lab::new();
    lab.build("first", &[("same", "good"), ("a", "1")]);
    lab.build("second", &[("same", "good"), ("a", "2")]);
    let releases = lab.releases();
    releases.prepare(&target("1.0", lab.path("first"))).await.unwrap();
    fs::write(lab.on_server("releases/1.0/same"), "evil").unwrap();
    releases.prepare(&target("1.1", lab.path("second"))).await.unwrap();
    assert_eq!(lab.read("releases/1.1/same"), "good");
    fs::write(lab.on_server("releases/1.1/extra"), "left behind by the program").unwrap();
    lab.build("third", &[("same", "good"), ("a", "3")]);
    releases.prepare(&target("1.2", lab.path("third"))).await.unwrap();
    assert_eq!(names(&lab.on_server("releases/1.2")), ["a", "same"]);
}

#[tokio::test]
async fn a_version_with_other_content_is_refused_and_stays_as_it_is() {
    let lab = Lab::new();
    lab.build("first", &[("a", "1")]);
    lab.build("second", &[("a", "2")]);
    let releases = lab.releases();
    releases.prepare(&target("1.0", lab.path("first"))).await.unwrap();
    releases.prepare(&target("1.0", lab.path("first"))).await.unwrap();
    let error = releases.prepare(&target("1.0", lab.path("second"))).await.unwrap_err();
    assert_eq!((error.kind(), error.reason()), (ErrorKind::Conflict, Some(Reason::OtherContent)), "{error:?}");
    assert_eq!(lab.read("releases/1.0/a"), "1");
    fs::create_dir(lab.on_server("releases/2.0")).unwrap();
    let error = releases.prepare(&target("2.0", lab.path("second"))).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Conflict && error.chain().contains("not made by a deploy"), "{error:?}");
    let mut known = target("1.0", "");
    known.release = Release::new("1.0").unwrap();
    releases.prepare(&known).await.unwrap();
    known.release = Release::new("3.0").unwrap();
    assert_eq!(releases.prepare(&known).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn shared_paths_are_one_for_all_releases_and_begin_with_what_the_first_one_brings() {
    let lab = Lab::new();
    for version in ["1.0", "1.1", "1.2"] {
        lab.build(version, &[("app", version), ("storage/uploads/.keep", "")]);
    }
    let releases = lab.builder().shared_directory("storage/uploads").shared_file("db/shop.sqlite3").build().unwrap();
    for version in ["1.0", "1.1", "1.2"] {
        releases.prepare(&target(version, lab.path(version))).await.unwrap();
        let release = lab.on_server(&format!("releases/{version}"));
        fs::write(release.join("storage/uploads").join(version), "uploaded").unwrap();
        fs::write(release.join("db/shop.sqlite3"), version).unwrap();
    }
    assert_eq!(names(&lab.on_server("shared/storage/uploads")), [".keep", "1.0", "1.1", "1.2"]);
    assert_eq!(lab.read("releases/1.0/db/shop.sqlite3"), "1.2");
    // Without them again, nothing of them is left in the release.
    lab.releases().prepare(&target("1.3", lab.build("1.3", &[("app", "1.3")]))).await.unwrap();
    assert_eq!(names(&lab.on_server("releases/1.3")), ["app"]);
    assert_eq!(lab.read("shared/db/shop.sqlite3"), "1.2");
    let refused = |path: &str| lab.builder().shared_directory("a/b").shared_file(path).build().is_err();
    for path in ["", ".", "..", "../x", "/etc", "a", "a/b", "a/b/c", "x\ny"] {
        assert!(refused(path), "{path:?}");
    }
    assert!(!refused("a/bc"));
}

#[tokio::test]
async fn the_newest_releases_stay_with_those_in_the_slots_and_those_that_run() {
    let lab = Lab::new();
    let releases = lab.builder().keep_releases(2).build().unwrap();
    let prepare = async |version: &str| {
        let build = lab.build(version, &[("app", version), ("sleeper*", "#!/bin/sh\nsleep 60\n")]);
        releases.prepare(&target(version, build)).await.unwrap();
    };
    prepare("1").await;
    fs::create_dir_all(lab.on_server("slots/blue")).unwrap();
    fs::write(lab.on_server("slots/blue/record"), "version 1\n").unwrap();
    prepare("2").await;
    let mut runs =
        std::process::Command::new("sleep").arg("60").current_dir(lab.on_server("releases/2")).spawn().unwrap();
    for version in ["3", "4", "5"] {
        prepare(version).await;
    }
    let there = lab.versions();
    runs.kill().unwrap();
    runs.wait().unwrap();
    assert_eq!(there, ["1", "2", "4", "5"]);
    prepare("6").await;
    assert_eq!(lab.versions(), ["1", "5", "6"]);
    assert_eq!(names(&lab.on_server("manifests")).len(), 9);
}

#[tokio::test]
async fn a_prepare_that_was_cut_off_anywhere_is_completed_by_the_next() {
    let lab = Lab::new();
    let files: Vec<_> = (0..300).map(|n| (format!("dir{}/file{n}", n % 7), n.to_string())).collect();
    let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let build = lab.build("build", &files);
    let releases = lab.releases();
    for (round, millis) in [1, 5, 15, 30, 45, 60, 90, 120, 200].into_iter().enumerate() {
        let version = format!("1.{round}");
        let cut = std::time::Duration::from_millis(millis);
        let _ = tokio::time::timeout(cut, releases.prepare(&target(&version, &build))).await;
        releases.prepare(&target(&version, &build)).await.unwrap();
        assert_eq!(lab.read(&format!("releases/{version}/dir3/file3")), "3");
        let left: Vec<_> = lab.versions().into_iter().filter(|name| name.starts_with('.')).collect();
        assert_eq!(left, Vec::<String>::new(), "cut off after {millis} ms");
    }
}
