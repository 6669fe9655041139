//! A host as it is elsewhere: reached through a tunnel, with a strict umask, and by `sudo`.

use std::path::Path;

use async_trait::async_trait;
use bluegreen_core::testing::part_is_here;
use bluegreen_core::{Command, Host, LocalHost, Output, Progress, Result, Router, Slot, Tunnel};
use bluegreen_nginx::{NginxRouter, NginxSymlinkRouter};
use tokio::net::{TcpListener, TcpStream};

use crate::setup::{BLUE, GREEN, share};
use crate::support::{App, TestNginx, get};

/// This machine, with a login of which the script `begin` is the beginning, and with nginx behind a forwarder.
#[derive(Debug, Clone)]
struct FarHost {
    local: LocalHost,
    begin: String,
}

impl FarHost {
    fn new(begin: impl Into<String>) -> Self {
        Self { local: LocalHost::new(), begin: begin.into() }
    }
}

impl std::fmt::Display for FarHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("web1")
    }
}

#[async_trait]
impl Host for FarHost {
    async fn run(&self, command: &Command) -> Result<Output> {
        let login = Command::script(format!("{}; exec \"$@\"", self.begin)).args(command.words()?);
        self.local.run(&login.stdin(command.input()).timeout(command.time_limit())).await
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        self.local.read(path).await
    }

    async fn write(&self, path: &str, contents: &[u8], mode: u32) -> Result<()> {
        self.local.write(path, contents, mode).await
    }

    async fn upload(&self, local: &Path, remote: &str, progress: &Progress) -> Result<()> {
        self.local.upload(local, remote, progress).await
    }

    async fn download(&self, remote: &str, local: &Path, progress: &Progress) -> Result<()> {
        self.local.download(remote, local, progress).await
    }

    async fn symlink(&self, target: &str, link: &str) -> Result<()> {
        self.local.symlink(target, link).await
    }

    async fn tunnel(&self, address: &str) -> Result<Tunnel> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (here, there) = (listener.local_addr()?.to_string(), address.to_owned());
        let mut forwards = tokio::task::JoinSet::new();
        forwards.spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let Ok(mut far) = TcpStream::connect(&there).await else { continue };
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            }
        });
        Ok(Tunnel::guarded(here, forwards))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_routers_work_through_a_tunnel_and_under_a_strict_umask() {
    let Some(nginx) = TestNginx::start() else { return };
    let (blue, green) = (App::start("blue").await, App::start("green").await);
    let config = nginx.config("shop");
    let flags: Box<dyn Router> = Box::new(NginxRouter::new(FarHost::new("umask 077"), config).unwrap());
    let links = nginx.config("blog");
    let links: Box<dyn Router> = Box::new(NginxSymlinkRouter::new(FarHost::new("umask 077"), links).unwrap());
    for (router, name) in [(flags, "shop.test"), (links, "blog.test")] {
        assert!(router.to_string().ends_with(" on web1"));
        router.attach(Slot::Blue, &blue.instance()).await.unwrap();
        router.attach(Slot::Green, &green.instance()).await.unwrap();
        router.shift(None, BLUE).await.unwrap();
        router.shift(Some(BLUE), GREEN).await.unwrap();
        assert_eq!(get(&nginx.address(), name, "/").await.unwrap().body, "green");
        assert_eq!(router.in_flight(Slot::Green).await.unwrap(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scripts_need_no_more_than_busybox_and_flock() {
    let place = |name: &str| {
        let found = std::process::Command::new("sh").args(["-c", "command -v \"$1\"", "sh", name]).output().unwrap();
        String::from_utf8(found.stdout).unwrap().trim().to_owned()
    };
    if !part_is_here("busybox", !place("busybox").is_empty(), "install busybox-static") {
        return;
    }
    let Some(nginx) = TestNginx::start() else { return };
    std::fs::create_dir(nginx.path("bin")).unwrap();
    let installed = std::process::Command::new("busybox").args(["--install", "-s"]).arg(nginx.path("bin")).status();
    assert!(installed.unwrap().success());
    // Debian's busybox is built without flock; and nginx is what this is about.
    for name in ["flock", "nginx"] {
        let _ = std::fs::remove_file(nginx.path("bin").join(name));
        std::os::unix::fs::symlink(place(name), nginx.path("bin").join(name)).unwrap();
    }
    let host = FarHost::new(format!("PATH={}", nginx.path("bin").display()));
    let (blue, green) = (App::start("blue").await, App::start("green").await);
    let flags: Box<dyn Router> = Box::new(NginxRouter::new(host.clone(), nginx.config("shop")).unwrap());
    let links: Box<dyn Router> = Box::new(NginxSymlinkRouter::new(host, nginx.config("blog")).unwrap());
    for (router, name) in [(flags, "shop.test"), (links, "blog.test")] {
        router.attach(Slot::Blue, &blue.instance()).await.unwrap();
        router.attach(Slot::Green, &green.instance()).await.unwrap();
        router.shift(None, BLUE).await.unwrap();
        router.shift(Some(BLUE), GREEN).await.unwrap();
        assert_eq!(get(&nginx.address(), name, "/").await.unwrap().body, "green");
        assert_eq!(router.current().await.unwrap(), Some(GREEN));
        assert_eq!(router.in_flight(Slot::Green).await.unwrap(), Some(0));
        assert!(router.attach(Slot::Blue, &App::start("newer").await.instance()).await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_routers_work_by_sudo() {
    let found = std::process::Command::new("sudo").args(["-n", "true"]).status();
    let works = found.is_ok_and(|status| status.success());
    if !part_is_here("sudo without a password", works, "install sudo") {
        return;
    }
    let Some(nginx) = TestNginx::start() else { return };
    let (blue, green) = (App::start("blue").await, App::start("green").await);
    let flags = NginxRouter::new(LocalHost::new(), nginx.config("shop").sudo(true)).unwrap();
    flags.attach(Slot::Blue, &blue.instance()).await.unwrap();
    flags.attach(Slot::Green, &green.instance()).await.unwrap();
    flags.shift(None, share(10)).await.unwrap();
    assert_eq!(flags.current().await.unwrap(), Some(share(10)));
    assert_eq!(flags.in_flight(Slot::Green).await.unwrap(), Some(0));

    // Or only nginx itself, where the files are the user's.
    let arguments = [
        "-p".into(),
        nginx.path("").display().to_string(),
        "-c".into(),
        nginx.path("nginx.conf").display().to_string(),
    ];
    let words = ["sudo", "-n", "nginx"].map(str::to_owned).into_iter().chain(arguments);
    let links = NginxSymlinkRouter::new(LocalHost::new(), nginx.config("blog").nginx_command(words)).unwrap();
    links.attach(Slot::Blue, &blue.instance()).await.unwrap();
    links.shift(None, BLUE).await.unwrap();
    assert_eq!(get(&nginx.address(), "blog.test", "/").await.unwrap().body, "blue");
}
