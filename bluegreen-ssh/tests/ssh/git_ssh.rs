//! How `git push` gets to a server: with our keys and our host keys, and nothing else. On real OpenSSH servers.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use bluegreen_core::{Effect, ErrorKind, PerSlot, Runtime, Secret, Slot};
use bluegreen_ssh::{GitRuntime, GitServer, SshHost, SshHostBuilder};
use bluegreen_testkit::process::user;
use bluegreen_testkit::ssh::{Agent, Sshd, keygen};

use crate::git_lab::{Lab, target};
use crate::reach::Reach;

async fn deploys(lab: &Lab, host: &SshHost) {
    let runtime = lab.builder_on(host).build().unwrap();
    for slot in Slot::BOTH {
        runtime.prepare(&target(slot, "1.0.0")).await.unwrap();
        runtime.start(&target(slot, "1.0.0")).await.unwrap();
        assert_eq!(lab.served(slot).as_deref(), Some("App 1.0.0"));
    }
}

#[tokio::test]
async fn a_host_key_that_is_not_the_recorded_one_ends_the_push() {
    needs_git!();
    needs_sshd!();
    let (lab, sshd) = (Lab::new(), Sshd::start());
    let host = sshd.host();
    // Our own connection is there already, so that git alone has to find out.
    host.connect().await.unwrap();
    let other = sshd.path().join("other_key");
    keygen(&other);
    let key = fs::read_to_string(other.with_extension("pub")).unwrap();
    let runtime = lab.builder_on(&host).build().unwrap();
    for line in [format!("{} {key}", sshd.name()), String::new()] {
        fs::write(sshd.known_hosts(), line).unwrap();
        let error = runtime.prepare(&target(Slot::Blue, "1.0.0")).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unauthorized, Effect::NotApplied), "{error}");
        assert!(error.to_string().contains("Host key verification failed"), "{error}");
    }
    assert_eq!(lab.names(Slot::Blue, "versions"), Vec::<String>::new());
    fs::write(sshd.known_hosts(), "").unwrap();
    sshd.record_host_key(&sshd.known_hosts());
    runtime.prepare(&target(Slot::Blue, "1.0.0")).await.unwrap();
}

#[tokio::test]
async fn a_push_by_url_accepts_no_unknown_host_key_and_asks_nothing() {
    needs_git!();
    needs_sshd!();
    let (lab, sshd) = (Lab::new(), Sshd::start());
    let server = |slot: Slot| {
        let directory = lab.base(slot).display().to_string();
        let url = format!("ssh://{}@127.0.0.1:{}{directory}/repository.git", user(), sshd.port());
        GitServer::by_url(sshd.host(), directory, url).address(lab.address(slot))
    };
    let runtime = GitRuntime::builder(lab.repository()).servers(PerSlot::from_fn(server)).build().unwrap();
    let error = runtime.prepare(&target(Slot::Blue, "1.0.0")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
}

#[tokio::test]
async fn a_key_that_the_server_does_not_take_is_unauthorized() {
    needs_git!();
    needs_sshd!();
    let (lab, sshd) = (Lab::new(), Sshd::start());
    let host = sshd.host();
    host.connect().await.unwrap();
    fs::write(sshd.path().join("authorized_keys"), "").unwrap();
    let error = lab.builder_on(&host).build().unwrap().prepare(&target(Slot::Blue, "1.0.0")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unauthorized, Effect::NotApplied), "{error}");
    assert!(error.to_string().contains("Permission denied (publickey"), "{error}");
}

#[tokio::test]
async fn keys_in_files_as_text_and_in_an_agent_serve_git_too() {
    needs_git!();
    needs_sshd!();
    let sshd = Sshd::start();
    let odd = sshd.path().join("a key, it's 100%h");
    fs::copy(sshd.key(), &odd).unwrap();
    let agent = Agent::start();
    agent.add(&sshd.key());
    let known = |builder: SshHostBuilder| builder.known_hosts(sshd.known_hosts()).build().unwrap();
    for host in [
        known(sshd.bare_builder().key_file(&odd)),
        known(sshd.bare_builder().key(Secret::new(fs::read_to_string(sshd.key()).unwrap()))),
        known(sshd.bare_builder().agent_socket(agent.socket())),
    ] {
        deploys(&Lab::new(), &host).await;
    }
}

#[tokio::test]
async fn the_repositorys_own_settings_of_ssh_do_not_take_part() {
    needs_git!();
    needs_sshd!();
    let (lab, sshd) = (Lab::new(), Sshd::start());
    lab.git(&["config", "core.sshCommand", "false"]);
    lab.git(&["config", "ssh.variant", "simple"]);
    deploys(&lab, &sshd.host()).await;
}

#[tokio::test]
async fn a_host_key_alias_and_known_hosts_in_odd_places_serve_git_too() {
    needs_git!();
    needs_sshd!();
    let (lab, sshd) = (Lab::new(), Sshd::start());
    let file = sshd.path().join("it's known %h hosts");
    fs::write(&file, format!("blue.internal {}\n", sshd.host_key())).unwrap();
    let missing = sshd.path().join("missing");
    let host = sshd.bare_builder().key_file(sshd.key()).known_hosts(missing).known_hosts(file);
    deploys(&lab, &host.host_key_alias("blue.internal").build().unwrap()).await;
}

#[tokio::test]
async fn the_push_goes_through_the_servers_in_between() {
    needs_git!();
    needs_sshd!();
    let (lab, gate, inner, last) = (Lab::new(), Sshd::start(), Sshd::start(), Sshd::start());
    let host = last.builder().jump(inner.builder().jump(gate.builder())).build().unwrap();
    deploys(&lab, &host).await;
    let pushes = |sshd: &Sshd| sshd.log().matches("Accepted publickey").count();
    // One connection of ours, and one for each push.
    assert_eq!((pushes(&gate), pushes(&inner), pushes(&last)), (3, 3, 3));

    // The host key of a server in between counts too.
    let (lab, host) = (Lab::new(), last.builder().jump(inner.builder()).build().unwrap());
    host.connect().await.unwrap();
    fs::write(inner.known_hosts(), "").unwrap();
    let error = lab.builder_on(&host).build().unwrap().prepare(&target(Slot::Blue, "1.0.0")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unauthorized, Effect::NotApplied), "{error}");
}

#[tokio::test]
async fn a_directory_where_a_login_begins_is_the_same_for_git() {
    needs_git!();
    needs_sshd!();
    let (lab, sshd) = (Lab::new(), Sshd::start());
    let home = std::env::home_dir().unwrap();
    let directory = tempfile::Builder::new().prefix("sample app-").tempdir_in(home).unwrap();
    let name = directory.path().file_name().unwrap().to_str().unwrap();
    let server = |slot: Slot| GitServer::new(sshd.host(), format!("{name}/{slot}")).address(lab.address(slot));
    let runtime = GitRuntime::builder(lab.repository()).servers(PerSlot::from_fn(server)).build().unwrap();
    runtime.prepare(&target(Slot::Blue, "1.0.0")).await.unwrap();
    runtime.start(&target(Slot::Blue, "1.0.0")).await.unwrap();
    let served = fs::read_to_string(directory.path().join("blue/current/index.html")).unwrap();
    assert_eq!(served, "App 1.0.0\n");

    // For people, the URL is good before anything is there.
    let ssh = format!("ssh -F none -i {} -oUserKnownHostsFile={}", sshd.key().display(), sshd.known_hosts().display());
    let url = runtime.remote(Slot::Blue);
    let output =
        lab.git_command(&["push", &url, "1.1.0:refs/heads/master"]).env("GIT_SSH_COMMAND", ssh).output().unwrap();
    assert!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
    let served = fs::read_to_string(directory.path().join("blue/current/index.html")).unwrap();
    assert_eq!(served, "App 1.1.0\n");
}

#[tokio::test]
async fn a_server_without_git_is_named() {
    needs_git!();
    needs_sshd!();
    let lab = Lab::new();
    let tools = lab.path("tools");
    fs::create_dir(&tools).unwrap();
    for directory in ["/usr/bin", "/bin"] {
        for tool in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            let name = tool.file_name().unwrap().to_str().unwrap();
            if !name.starts_with("git") && !tools.join(name).exists() {
                let _ = symlink(Path::new(directory).join(name), tools.join(name));
            }
        }
    }
    let sshd = Sshd::with(&format!("SetEnv SHLVL=1 PATH={}", tools.display()));
    let error = lab.builder_on(&sshd.host()).build().unwrap().setup(Slot::Blue).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unsupported, Effect::NotApplied), "{error}");
    assert!(error.to_string().contains("no `git` on the server"), "{error}");
    assert!(!lab.base(Slot::Blue).exists());
}

#[test]
fn what_gits_ssh_cannot_be_told_is_refused_before_anything_is_done() {
    let fingerprint = "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8";
    let host = || SshHost::builder("deploy@blue.example.com");
    for builder in [
        host().fingerprint(fingerprint),
        host().encrypted_key_file("/k", Secret::new("hunter2")),
        host().jump(SshHost::builder("deploy@gate.example.com").fingerprint(fingerprint)),
    ] {
        let error = GitRuntime::builder(".")
            .servers((GitServer::new(builder.build().unwrap(), "/srv/a"), GitServer::local("/srv/b")))
            .build()
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(!error.to_string().contains("hunter2"));
    }
}
