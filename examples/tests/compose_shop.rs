//! The compose example as a user runs it: one command on a real engine.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::{Command, Stdio};

use bluegreen_core::testing::part_is_here;

fn parts_are_here() -> bool {
    let parts: [&[&str]; 3] = [&["docker", "version"], &["docker", "compose", "version"], &["nginx", "-v"]];
    parts.into_iter().all(|words| {
        let status = Command::new(words[0]).args(&words[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        let works = status.is_ok_and(|status| status.success());
        part_is_here(&format!("`{}`", words.join(" ")), works, "the example needs an engine, Compose and nginx")
    })
}

#[test]
fn three_deploys_by_one_command_lose_no_request_and_leave_nothing_behind() {
    if !parts_are_here() {
        return;
    }
    // Cargo builds the examples of a package before it runs its tests, unless it was told to build one test only.
    let binary = Path::new(env!("CARGO_BIN_EXE_compose-shop-service")).with_file_name("examples/compose-shop");
    assert!(binary.exists(), "build the examples first: cargo build --examples");
    let child = Command::new(binary).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let service = format!("shop-{}", child.id());
    let output = child.wait_with_output().unwrap();
    let told = format!("{}\n{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{told}");
    for part in [
        "1.0.0 (blue): succeeded",
        "1.1.0 (green): succeeded",
        "blue is kept warm until",
        "1.2.0 (blue): rolled back",
        "no connection to the quota service",
        " 0 failed because of a deploy",
    ] {
        assert!(told.contains(part), "{part} in:\n{told}");
    }
    for name in [service.clone(), format!("*/{service}")] {
        let left = Command::new("docker").args(["images", "-q", "--filter", &format!("reference={name}")]).output();
        assert_eq!(String::from_utf8_lossy(&left.unwrap().stdout), "", "images of {name}");
    }
    for slot in ["blue", "green"] {
        let label = format!("label=com.docker.compose.project={service}-{slot}");
        for listing in [&["ps", "-aq"][..], &["network", "ls", "-q"]] {
            let left = Command::new("docker").args(listing).args(["--filter", &label]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&left.stdout), "", "{listing:?}");
        }
    }
}
