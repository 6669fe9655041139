//! Small images of our own: busybox, and one command.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use super::{docker, docker_ok};

/// Images with a common beginning of their names. Dropping it removes them.
pub(crate) struct Images {
    prefix: String,
}

impl Images {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A label by which all of them are found, also those that lost their names.
    pub(crate) fn mark(&self) -> String {
        format!("bluegreen.test={}", self.prefix)
    }

    /// The name of an image: `prefix/name:tag`.
    pub(crate) fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.prefix)
    }

    /// Makes an image whose containers run this shell script.
    pub(crate) fn make(&self, image: &str, script: &str) -> String {
        self.make_large(image, script, 0)
    }

    /// With a file `/large` of so many bytes, if any, which cannot be compressed.
    pub(crate) fn make_large(&self, image: &str, script: &str, large: u64) -> String {
        let name = self.name(image);
        let command = serde_json::to_string(&["/bin/sh", "-c", script]).unwrap();
        let mut import = Command::new("docker")
            .args(["import", "--change", &format!("CMD {command}"), "--change", "ENV PATH=/bin"])
            .args(["--change", &format!("LABEL {}", self.mark()), "-", &name])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Of its own content, so that it is really fetched although others are there.
        root(import.stdin.take().unwrap(), &name, large);
        assert!(import.wait().unwrap().success(), "docker import {name}");
        name
    }

    /// The names, with tags and with digests, that the engine has now.
    pub(crate) fn on_engine(&self) -> Vec<String> {
        let format = "{{.Repository}} {{.Tag}} {{.Digest}}";
        let all = docker_ok(&["images", "--no-trunc", "--digests", "--format", format]);
        let ours = all.lines().filter(|line| line.starts_with(&format!("{}/", self.prefix)));
        let names = ours.flat_map(|line| {
            let words: Vec<_> = line.split(' ').collect();
            [format!("{}:{}", words[0], words[1]), format!("{}@{}", words[0], words[2])]
        });
        let mut names: Vec<_> = names.filter(|name| !name.ends_with("<none>")).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// Writes a root file system: busybox under all of its names, a file with this text, and a large one.
fn root(archive: impl Write, text: &str, large: u64) {
    let busybox = std::fs::read("/bin/busybox").unwrap();
    let list = Command::new("busybox").arg("--list").output().unwrap();
    let mut tar = tar::Builder::new(archive);
    let file = |mode: u32, size: u64| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(size);
        header
    };
    tar.append_data(&mut file(0o755, busybox.len() as u64), "bin/busybox", busybox.as_slice()).unwrap();
    for applet in String::from_utf8(list.stdout).unwrap().lines().filter(|applet| *applet != "busybox") {
        let mut header = file(0o755, 0);
        header.set_entry_type(tar::EntryType::Symlink);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox").unwrap();
    }
    tar.append_data(&mut file(0o644, text.len() as u64), "image", text.as_bytes()).unwrap();
    let mut header = file(0o1777, 0);
    header.set_entry_type(tar::EntryType::Directory);
    tar.append_data(&mut header, "tmp", std::io::empty()).unwrap();
    if large > 0 {
        let random = std::fs::File::open("/dev/urandom").unwrap();
        tar.append_data(&mut file(0o644, large), "large", random.take(large)).unwrap();
    }
    tar.finish().unwrap();
}

/// Removes images without a name that have this label.
pub(crate) fn remove_nameless(mark: &str) {
    let label = format!("label={mark}");
    // A removal uncovers what it was built upon.
    for _ in 0..5 {
        let found = docker_ok(&["images", "-q", "--filter", "dangling=true", "--filter", &label]);
        for id in found.lines() {
            docker(&["rmi", "-f", id]);
        }
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        let all = docker_ok(&["ps", "-a", "--format", "{{.ID}} {{.Image}}"]);
        let ours = all.lines().filter_map(|line| line.split_once(' '));
        for (id, _) in ours.filter(|(_, image)| image.starts_with(&format!("{}/", self.prefix))) {
            docker(&["rm", "-f", "-v", id]);
        }
        for name in self.on_engine() {
            docker(&["rmi", "-f", &name]);
        }
        remove_nameless(&self.mark());
    }
}
