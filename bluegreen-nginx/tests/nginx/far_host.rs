//! A host as it is elsewhere: reached through a tunnel, with a strict umask, and by `sudo`.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use async_trait::async_trait;
use bluegreen_core::testing::part_is_here;
use bluegreen_core::{Command, Host, LocalHost, Output, Progress, Result, Router, Slot, Tunnel};
use bluegreen_nginx::{Commands, NginxRouter, NginxSymlinkRouter};
use bluegreen_testkit::nginx::TestNginx;
use bluegreen_testkit::traffic::{App, get};
use tokio::net::{TcpListener, TcpStream};

use crate::setup::{BLUE, GREEN};
use crate::sites::Sites;

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

/// A login with a `sudo` that notes its words, one call per line, before it becomes the real one; and which notes what is
/// run without it.
struct NotedSudo<'a> {
    nginx: &'a TestNginx,
    host: FarHost,
}

impl<'a> NotedSudo<'a> {
    fn new(nginx: &'a TestNginx) -> Option<Self> {
        let found = std::process::Command::new("sudo").args(["-n", "sh", "-c", "command -v sudo"]).output();
        let found = found.ok().filter(|output| output.status.success());
        if !part_is_here("sudo without a password", found.is_some(), "install sudo") {
            return None;
        }
        let real = String::from_utf8(found?.stdout).unwrap();
        let directory = nginx.path("sudo");
        std::fs::create_dir(&directory).unwrap();
        let here = directory.display();
        // The words of a script span lines, and calls may come at the same time.
        let note = "words=$(printf '%s ' \"$@\" | tr '\\n' ' ' | cut -c 1-400); printf '%s\\n' \"$words\"";
        let sudo = directory.join("sudo");
        std::fs::write(&sudo, format!("#!/bin/sh\n{note} >> {here}/noted\nexec {} \"$@\"\n", real.trim())).unwrap();
        std::fs::set_permissions(&sudo, std::fs::Permissions::from_mode(0o755)).unwrap();
        let host = FarHost::new(format!("PATH={here}:$PATH; [ \"$1\" = sudo ] || echo \"$1\" >> {here}/without"));
        Some(Self { nginx, host })
    }

    /// The words of each call of sudo.
    fn noted(&self) -> Vec<String> {
        self.lines("noted")
    }

    /// The programs that were not run by sudo.
    fn without(&self) -> Vec<String> {
        self.lines("without")
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.nginx.path("sudo").join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

async fn works(router: &dyn Router, apps: &[App; 2], nginx: &TestNginx, name: &str) {
    router.attach(Slot::Blue, &apps[0].instance()).await.unwrap();
    router.attach(Slot::Green, &apps[1].instance()).await.unwrap();
    router.shift(None, BLUE).await.unwrap();
    router.shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(router.current().await.unwrap(), Some(GREEN));
    assert_eq!(get(&nginx.address(), name, "/").await.unwrap().body, "green");
    assert_eq!(router.in_flight(Slot::Green).await.unwrap(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_routers_run_every_command_by_sudo() {
    let Some(nginx) = TestNginx::start() else { return };
    let Some(sudo) = NotedSudo::new(&nginx) else { return };
    let apps = [App::start("blue").await, App::start("green").await];
    // Tells who runs it, as sudo does.
    let (wrapper, ran) = (nginx.path("nginx.sh"), nginx.path("ran").display().to_string());
    let script = format!("#!/bin/sh\necho \"$SUDO_COMMAND\" | head -n 1 >> {ran}\nexec nginx \"$@\"\n");
    std::fs::write(&wrapper, script).unwrap();
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = |service: &str| {
        let words = std::iter::once(wrapper.display().to_string()).chain(nginx.arguments());
        nginx.config(service).commands(Commands::new().nginx(words).sudo(true))
    };
    let flags = NginxRouter::new(sudo.host.clone(), config("shop")).unwrap();
    works(&flags, &apps, &nginx, "shop.test").await;
    let links = NginxSymlinkRouter::new(sudo.host.clone(), config("blog")).unwrap();
    works(&links, &apps, &nginx, "blog.test").await;

    assert_eq!(sudo.without(), [""; 0], "all of it is run by sudo");
    let noted = sudo.noted();
    assert!(noted.len() > 10 && noted.iter().all(|words| words.starts_with("-n -- sh -c ")), "{noted:#?}");
    let ran = std::fs::read_to_string(ran).unwrap();
    assert!(ran.lines().count() > 5 && ran.lines().all(|command| command.contains("/sh -c ")), "{ran}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_alone_can_be_run_by_sudo() {
    let Some(nginx) = TestNginx::start() else { return };
    let Some(sudo) = NotedSudo::new(&nginx) else { return };
    let apps = [App::start("blue").await, App::start("green").await];
    let arguments = nginx.arguments();
    let config = |service: &str| {
        let words = ["sudo", "-n", "nginx"].map(str::to_owned).into_iter().chain(arguments.clone());
        nginx.config(service).commands(Commands::new().nginx(words))
    };
    let flags = NginxRouter::new(sudo.host.clone(), config("shop")).unwrap();
    works(&flags, &apps, &nginx, "shop.test").await;
    let links = NginxSymlinkRouter::new(sudo.host.clone(), config("blog")).unwrap();
    works(&links, &apps, &nginx, "blog.test").await;

    assert!(sudo.without().iter().all(|program| program == "sh"), "{:?}", sudo.without());
    let noted: BTreeSet<_> = sudo.noted().into_iter().collect();
    let allowed = ["-s reload", "-t", "-v"].map(|end| format!("-n nginx {} {end} ", arguments.join(" ")));
    assert_eq!(noted, BTreeSet::from(allowed), "a rule for these three is enough");
}
