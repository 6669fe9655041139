//! What is taken for a release, and what is refused.

use std::process::Command as Program;

use bluegreen_core::{Command, ErrorKind};
use bluegreen_release::Artifact;
use tar::EntryType;

use crate::support::{Lab, tarball};

fn run(program: &mut Program) {
    assert!(program.status().unwrap().success(), "{program:?}");
}

#[tokio::test]
async fn every_form_of_the_same_content_is_the_same_release() {
    let lab = Lab::new();
    let build = lab.build("build", &[("bin/shop*", "#!/bin/sh\n"), ("public/a b.css", "x")]);
    std::os::unix::fs::symlink("a b.css", build.join("public/current.css")).unwrap();
    for (file, flag) in [("shop.tar", "-cf"), ("shop.tar.gz", "-czf")] {
        run(Program::new("tar").current_dir(&build).arg(flag).arg(lab.path(file)).arg("."));
    }
    run(Program::new("zstd").args(["-q", "-o"]).arg(lab.path("shop.zst")).arg(lab.path("shop.tar")));
    for form in ["build", "shop.tar", "shop.tar.gz", "shop.zst"] {
        let artifact = Artifact::open(lab.path(form)).await.unwrap();
        assert_eq!((artifact.files(), artifact.size()), (2, 11), "{form}");
        let (releases, version) = (lab.releases(), "1.0");
        // The first brings it; the others are the same content, or they would be refused.
        releases.prepare(&crate::support::target(version, lab.path(form))).await.unwrap();
    }
    assert_eq!(lab.read("releases/1.0/public/current.css"), "x");
}

#[tokio::test]
async fn a_single_file_becomes_the_program_of_the_service() {
    use std::os::unix::fs::PermissionsExt as _;
    let lab = Lab::new();
    std::fs::write(lab.path("shop-linux-amd64"), "\x7fELF").unwrap();
    lab.releases().prepare(&crate::support::target("1.0", lab.path("shop-linux-amd64"))).await.unwrap();
    let program = lab.on_server("releases/1.0/bin/shop");
    assert_eq!(std::fs::metadata(program).unwrap().permissions().mode() & 0o777, 0o755);
}

#[tokio::test]
async fn an_archive_that_could_write_elsewhere_is_refused_and_nothing_is_sent() {
    let lab = Lab::new();
    let hostile: &[&[(&str, EntryType, &str)]] = &[
        &[("../outside", EntryType::Regular, "x")],
        &[("/etc/outside", EntryType::Regular, "x")],
        &[("a/../../outside", EntryType::Regular, "x")],
        &[("link", EntryType::Symlink, "/etc")],
        &[("link", EntryType::Symlink, "../..")],
        &[("link", EntryType::Symlink, "b"), ("link/outside", EntryType::Regular, "x")],
        &[("a", EntryType::Regular, "x"), ("b", EntryType::Link, "a")],
        &[("device", EntryType::Block, "")],
        &[("pipe", EntryType::Fifo, "")],
        &[("a", EntryType::Regular, "x"), ("a", EntryType::Regular, "y")],
        &[("two\nlines", EntryType::Regular, "x")],
    ];
    for members in hostile {
        let file = lab.path("hostile.tar.gz");
        tarball(&file, members);
        let error = lab.releases().prepare(&crate::support::target("1.0", &file)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{members:?}: {error:?}");
        assert!(error.chain().contains("hostile.tar.gz"), "{error}");
        assert!(lab.versions().is_empty() && !lab.path("outside").exists(), "{members:?}");
    }
}

#[tokio::test]
async fn what_is_cut_off_is_corrupt_and_what_is_too_large_is_refused() {
    let lab = Lab::new();
    let file = lab.path("shop.tar.gz");
    tarball(&file, &[("shop", EntryType::Regular, &"x".repeat(100_000))]);
    let releases = lab.builder().max_size(99_999).build().unwrap();
    let error = releases.prepare(&crate::support::target("1.0", &file)).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.chain().contains("max_size"), "{error:?}");
    let whole = std::fs::read(&file).unwrap();
    for end in [whole.len() / 2, whole.len() - 9] {
        std::fs::write(&file, &whole[..end]).unwrap();
        let error = Artifact::open(&file).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{end}: {error:?}");
    }
    let error = Artifact::open(lab.path("nothing")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    std::fs::create_dir(lab.path("empty")).unwrap();
    assert_eq!(Artifact::open(lab.path("empty")).await.unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn a_build_that_fails_or_leaves_nothing_says_so() {
    let lab = Lab::new();
    let out = lab.path("out");
    let build = |script: &str| Command::script(script).arg(out.to_str().unwrap());
    let artifact = Artifact::built_by(&build("mkdir \"$1\" && echo x > \"$1/a\""), &out).await.unwrap();
    assert_eq!(artifact.files(), 1);
    let error = Artifact::built_by(&build("echo no compiler >&2; exit 3"), &out).await.unwrap_err();
    assert!(error.chain().contains("exit status 3: no compiler"), "{}", error.chain());
    let error = Artifact::built_by(&build("true"), lab.path("other")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
}
