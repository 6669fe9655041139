//! Releases of the BEAM service for tests, `tests/beam-app`.
//!
//! `mix` builds once; further versions are the same files packed with another `demo-version` and `demo-behaviour`. All
//! is kept in `target`, by the content of the sources, and shared by all tests.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bluegreen_core::testing::part_is_here;

use crate::process::answers;

/// The name of the app.
pub const APP: &str = "demo_app";

/// Whether there is `mix` here.
pub fn mix_is_here() -> bool {
    part_is_here("mix", answers(&["mix", "--version"]), "install elixir")
}

/// The tarball of a version, with what it does wrong (empty: nothing).
pub fn release(version: &str, behaviour: &str) -> PathBuf {
    let cache = cache();
    let file = cache.join(format!("{version}-{}.tar.gz", behaviour.replace(' ', "_")));
    // Tests of other processes build too.
    let lock = File::create(cache.join("lock")).unwrap();
    lock.lock().unwrap();
    if !file.exists() {
        pack(&built(&cache), &file, version, behaviour);
    }
    file
}

/// The directory that `mix` assembled.
fn built(cache: &Path) -> PathBuf {
    let build = cache.join("build");
    let assembled = build.join("rel").join(APP);
    if !build.join("done").exists() {
        run(Command::new("mix")
            .args(["release", "--overwrite"])
            .current_dir(sources())
            .env("MIX_ENV", "prod")
            .env("APP_VERSION", "0.1.0")
            .env("MIX_BUILD_PATH", &build)
            .env("MIX_HOME", cache.join("mix"))
            .env("HEX_HOME", cache.join("hex"))
            .env("LANG", "C.UTF-8"));
        File::create(build.join("done")).unwrap();
    }
    assembled
}

fn pack(assembled: &Path, file: &Path, version: &str, behaviour: &str) {
    let extra = file.with_extension("extra");
    fs::create_dir_all(&extra).unwrap();
    fs::write(extra.join("demo-version"), version).unwrap();
    fs::write(extra.join("demo-behaviour"), behaviour).unwrap();
    let unfinished = file.with_extension("unfinished");
    let members = fs::read_dir(assembled).unwrap().map(|entry| entry.unwrap().file_name());
    // Quick compression: these are unpacked as often as they are packed.
    run(Command::new("tar")
        .args(["--use-compress-program", "gzip -1", "-cf"])
        .arg(&unfinished)
        .arg("-C")
        .arg(assembled)
        .args(members)
        .arg("-C")
        .arg(&extra)
        .args(["demo-version", "demo-behaviour"]));
    fs::rename(unfinished, file).unwrap();
    fs::remove_dir_all(extra).unwrap();
}

fn cache() -> PathBuf {
    let mut hasher = DefaultHasher::new();
    let mut files = vec![sources().join("mix.exs"), sources().join("lib/demo_app.ex")];
    files.extend(fs::read_dir(sources().join("lib/demo_app")).unwrap().map(|entry| entry.unwrap().path()));
    files.sort();
    for file in files {
        (&file, fs::read(&file).unwrap()).hash(&mut hasher);
    }
    let cache = beside("target").join(format!("beam-app-{:016x}", hasher.finish()));
    fs::create_dir_all(&cache).unwrap();
    cache
}

fn sources() -> PathBuf {
    beside("tests/beam-app")
}

/// A path in the workspace.
fn beside(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path)
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
}
