//! Small images of our own: busybox, and one command.

use std::io::Write;
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

    /// The name of an image: `prefix/name:tag`.
    pub(crate) fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.prefix)
    }

    /// Makes an image whose containers run this shell script.
    pub(crate) fn make(&self, image: &str, script: &str) -> String {
        let name = self.name(image);
        let command = serde_json::to_string(&["/bin/sh", "-c", script]).unwrap();
        let mut import = Command::new("docker")
            .args(["import", "--change", &format!("CMD {command}"), "--change", "ENV PATH=/bin", "-", &name])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Of its own content, so that it is really fetched although others are there.
        import.stdin.take().unwrap().write_all(&root(&name)).unwrap();
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

/// A root file system: busybox under all of its names, and a file with this text.
fn root(text: &str) -> Vec<u8> {
    let busybox = std::fs::read("/bin/busybox").unwrap();
    let list = Command::new("busybox").arg("--list").output().unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(busybox.len() as u64);
    tar.append_data(&mut header, "bin/busybox", busybox.as_slice()).unwrap();
    for applet in String::from_utf8(list.stdout).unwrap().lines().filter(|applet| *applet != "busybox") {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox").unwrap();
    }
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    tar.append_data(&mut header, "image", text.as_bytes()).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o1777);
    header.set_size(0);
    tar.append_data(&mut header, "tmp", std::io::empty()).unwrap();
    tar.into_inner().unwrap()
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
    }
}
