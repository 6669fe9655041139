//! Images with the real programs that keep data: PostgreSQL and redis as Debian packages them, beside busybox.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bluegreen_core::testing::part_is_here;

use super::Images;

const POSTGRES: &str = "/usr/lib/postgresql/15";

pub(crate) fn data_is_here() -> bool {
    let is_here = |path: &str| Path::new(path).exists();
    part_is_here("PostgreSQL 15", is_here(&format!("{POSTGRES}/bin/postgres")), "install postgresql-15")
        && part_is_here("redis", is_here("/usr/bin/redis-server"), "install redis-server")
}

/// Leaves the test where the parts are missing.
#[allow(unused_macros, reason = "not every test target has such tests")]
macro_rules! needs_data {
    () => {
        if !$crate::support::data_is_here() {
            return;
        }
    };
}
pub(crate) use needs_data;

/// Makes an image with both, whose containers run this shell script.
pub(crate) fn data_image(images: &Images, image: &str, script: &str) {
    let base = images.make(&format!("base-of-{}", image.replace(':', "-")), script);
    let name = images.name(image);
    let mut files: BTreeSet<PathBuf> = BTreeSet::new();
    let programs = ["initdb", "postgres", "psql", "pg_isready"].map(|name| format!("{POSTGRES}/bin/{name}"));
    let programs = programs.into_iter().chain(["/usr/bin/redis-server", "/usr/bin/redis-cli"].map(str::to_owned));
    let mut linked: Vec<PathBuf> = programs.map(PathBuf::from).collect();
    // What initdb loads into each cluster, and what psql asks with.
    linked.extend(["dict_snowball.so", "plpgsql.so"].map(|name| Path::new(POSTGRES).join("lib").join(name)));
    for program in &linked {
        files.insert(program.clone());
        let output = Command::new("ldd").arg(program).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let paths = text.split_whitespace().filter(|word| word.starts_with('/'));
        files.extend(paths.map(PathBuf::from));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut tar = tar::Builder::new(std::fs::File::create(folder.path().join("root.tar")).unwrap());
    tar.follow_symlinks(true);
    for file in &files {
        tar.append_path_with_name(file, file.strip_prefix("/").unwrap()).unwrap();
    }
    let share = "usr/share/postgresql/15";
    tar.append_dir_all(share, Path::new("/").join(share)).unwrap();
    if Path::new("/usr/share/zoneinfo").exists() {
        tar.append_path_with_name("/usr/share/zoneinfo/UTC", "usr/share/zoneinfo/UTC").unwrap();
    }
    for (path, text) in [
        ("etc/passwd", "root:x:0:0::/:/bin/sh\npostgres:x:999:999::/tmp:/bin/sh\n"),
        ("etc/group", "root:x:0:\npostgres:x:999:\n"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().sync_all().unwrap();
    let path = format!("ENV PATH=/bin:/usr/bin:{POSTGRES}/bin");
    let dockerfile = format!("FROM {base}\nADD root.tar /\n{path}\nRUN mkdir -p /data\n");
    std::fs::write(folder.path().join("Dockerfile"), dockerfile).unwrap();
    let status = Command::new("docker")
        .env("DOCKER_BUILDKIT", "0")
        .args(["build", "-q", "-t", &name])
        .arg(folder.path())
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success(), "docker build {name}");
}
