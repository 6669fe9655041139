//! The example `fleet-lab` as a user runs it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::Command;

#[test]
fn a_broken_member_is_brought_up_later_a_bad_wave_is_undone_and_no_request_is_lost() {
    let service = Path::new(env!("CARGO_BIN_EXE_demo-service"));
    let binary = service.parent().unwrap().join("examples/fleet-lab");
    assert!(binary.exists(), "build the examples first: cargo build --examples");
    let folder = tempfile::tempdir().unwrap();
    // The service's binary is built already: by the cargo that runs this test.
    let output = Command::new(binary).env_remove("CARGO").arg(folder.path()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}\n{told}", String::from_utf8_lossy(&output.stderr));
    let mut rest = &*told;
    for part in [
        "deploy of shop 2.0 (green): succeeded",
        "web6  blue 1.0, green -, traffic 100 % blue, set aside since",
        "resume of shop 2.0 (green): succeeded",
        "1 member brought to 2.0",
        "deploy of shop 3.0 (blue): rolled back",
        "web8  blue 1.0, green 2.0, traffic 100 % green",
        "requests were sent to 8 members",
        "answered by 3.0",
        "0 failed because of a deploy",
    ] {
        rest = rest.split_once(part).unwrap_or_else(|| panic!("{part} is missing in: {rest}")).1;
    }
}
