//! The files with hashed names of all releases, in one directory.

use std::fs;
use std::time::Duration;

use crate::support::{Lab, inode, names, target};

const HASHED: &[&str] = &[
    "app-4f9d2c1b.js",
    "app.4f9d2c1b.js",
    "app-4f9d2c1b.js.map",
    "index-DhFgKlMn.js",
    "index-B-kQ3x_9.css",
    "main.abcdef12.chunk.js",
    "application-2f1e0d9c8b7a69584736251403f2e1d0.css.gz",
];

const NOT_HASHED: &[&str] = &[
    "app.js",
    "logo.svg",
    "jquery-3.7.1.min.js",
    "jquery-ui-datepicker.min.js",
    "app-settings.js",
    "4f9d2c1b",
    "manifest-4f9d2c1b.json",
    ".sprockets-manifest-4f9d2c1b.json",
];

#[tokio::test]
async fn names_with_a_hash_are_served_and_all_others_are_left_to_the_app() {
    let lab = Lab::new();
    let releases = lab.builder().assets("public/assets").build().unwrap();
    let files: Vec<_> = HASHED.iter().chain(NOT_HASHED).map(|name| format!("public/assets/{name}")).collect();
    let files: Vec<_> = files.iter().map(|name| (name.as_str(), "x")).chain([("other-4f9d2c1b.js", "x")]).collect();
    releases.prepare(&target("1.0", lab.build("1.0", &files))).await.unwrap();
    let mut hashed = HASHED.to_vec();
    hashed.sort_unstable();
    assert_eq!(names(&lab.on_server("assets")), hashed);
}

#[tokio::test]
async fn a_file_is_served_as_long_as_a_release_has_it_and_costs_no_disk() {
    let lab = Lab::new();
    let releases = lab.builder().assets("assets").keep_releases(2).build().unwrap();
    let prepare = async |version: &str, files: &[(&str, &str)]| {
        releases.prepare(&target(version, lab.build(version, files))).await.unwrap();
    };
    let there = || names(&lab.on_server("assets"));
    prepare("1", &[("assets/a-00000001.js", "1"), ("assets/old/only-00000001.js", "1")]).await;
    prepare("2", &[("assets/a-00000001.js", "1"), ("assets/b-00000002.js", "2")]).await;
    assert_eq!(there(), ["a-00000001.js", "b-00000002.js", "old"]);
    assert_eq!(lab.read("assets/old/only-00000001.js"), "1");
    assert_eq!(inode(&lab.on_server("assets/b-00000002.js")), inode(&lab.on_server("releases/2/assets/b-00000002.js")));
    prepare("3", &[("assets/b-00000002.js", "2")]).await;
    assert_eq!(there(), ["a-00000001.js", "b-00000002.js"], "the first release is gone, with what it alone had");
    prepare("4", &[("app", "without any")]).await;
    prepare("5", &[("app", "without any still")]).await;
    assert_eq!(there(), Vec::<String>::new());
    assert!(lab.builder().assets("..").build().is_err() && lab.builder().assets(".").build().is_err());
    assert!(lab.builder().shared_directory("public").assets("public/assets").build().is_err());
}

#[tokio::test]
async fn a_name_that_two_releases_have_with_different_contents_is_left_to_the_app() {
    let lab = Lab::new();
    let releases = lab.builder().assets("assets").keep_releases(2).build().unwrap();
    for (version, text) in [("1", "x"), ("2", "y")] {
        let files = [("assets/released-2026-11-30.js", text), ("assets/same-12345678.js", "z")];
        releases.prepare(&target(version, lab.build(version, &files))).await.unwrap();
    }
    assert_eq!(names(&lab.on_server("assets")), ["same-12345678.js"]);
}

#[tokio::test]
async fn releases_that_were_there_before_and_a_prepare_that_was_cut_off_are_completed_by_the_next() {
    let lab = Lab::new();
    let build = |version: &str| lab.build(version, &[(&*format!("assets/app-0000000{version}.js"), version)]);
    let (first, second) = (build("1"), build("2"));
    lab.releases().prepare(&target("1", first)).await.unwrap();
    let releases = lab.builder().assets("assets").build().unwrap();
    for millis in [1, 10, 30, 50, 70, 90] {
        let _ = tokio::time::timeout(Duration::from_millis(millis), releases.prepare(&target("2", &second))).await;
    }
    releases.prepare(&target("2", &second)).await.unwrap();
    assert_eq!(names(&lab.on_server("assets")), ["app-00000001.js", "app-00000002.js"]);
    fs::write(lab.on_server("assets/stray.js"), "put there by hand").unwrap();
    releases.prepare(&target("2", &second)).await.unwrap();
    assert_eq!(names(&lab.on_server("assets")), ["app-00000001.js", "app-00000002.js"]);
}
