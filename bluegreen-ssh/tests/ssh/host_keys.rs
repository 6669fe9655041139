//! Whether a server is the right one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use bluegreen_core::testing::part_is_here;
use bluegreen_core::{Effect, ErrorKind, Result};
use bluegreen_ssh::SshHostBuilder;
use bluegreen_testkit::process::{run, user};
use bluegreen_testkit::ssh::{Sshd, keygen, keygen_with};

use crate::reach::Reach;

/// Connects with a `known_hosts` file of this content.
async fn connect_with(sshd: &Sshd, known_hosts: &str) -> Result<()> {
    let file = sshd.path().join("known_hosts.test");
    fs::write(&file, known_hosts).unwrap();
    connect(sshd.bare_builder().key_file(sshd.key()).known_hosts(file)).await
}

async fn connect(builder: SshHostBuilder) -> Result<()> {
    builder.build()?.connect().await
}

fn refused(result: Result<()>) -> String {
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unauthorized, Effect::NotApplied), "{error}");
    error.to_string()
}

fn fingerprint(sshd: &Sshd) -> String {
    let printed = run(Process::new("ssh-keygen").arg("-lf").arg(sshd.path().join("host_key.pub")));
    printed.split(' ').nth(1).unwrap().to_owned()
}

/// Another public key: type and base64.
fn another_key(sshd: &Sshd, args: &[&str]) -> String {
    let file = sshd.path().join(format!("another-{}", args.join("")));
    keygen_with(&file, args);
    let text = fs::read_to_string(file.with_extension("pub")).unwrap();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_recorded_key_is_accepted_however_it_is_written() {
    needs_sshd!();
    let sshd = Sshd::start();
    let (name, key) = (sshd.name(), sshd.host_key());
    let other = another_key(&sshd, &["-t", "ed25519", "-N", ""]);
    for text in [
        format!("{name} {key}"),
        format!("{name} {key} some comment with words"),
        format!("# a comment\n\nother.example.com,{name}\t{key}\n"),
        format!("{name} {other}\n{name} {key}"),
        format!("* {key}"),
        format!("@revoked * {other}\n{name} {key}"),
        // As in OpenSSH, the same key under the host's name without a port.
        format!("127.0.0.1 {key}"),
    ] {
        connect_with(&sshd, &text).await.unwrap_or_else(|error| panic!("{text}: {error}"));
    }
    let hashed = sshd.path().join("hashed");
    fs::write(&hashed, format!("{name} {key}\n")).unwrap();
    run(Process::new("ssh-keygen").arg("-H").arg("-f").arg(&hashed));
    let text = fs::read_to_string(&hashed).unwrap();
    assert!(text.starts_with("|1|"));
    connect_with(&sshd, &text).await.unwrap();
}

#[tokio::test]
async fn a_host_that_is_not_recorded_is_refused_with_its_fingerprint() {
    needs_sshd!();
    let sshd = Sshd::start();
    let key = sshd.host_key();
    let elsewhere = format!("[127.0.0.1]:1 {key}\n!127.0.0.1,!{},* {key}\nlocalhost {key}", sshd.name());
    for text in ["", "# nothing", &elsewhere] {
        let error = refused(connect_with(&sshd, text).await);
        assert!(
            error.contains(&fingerprint(&sshd)) && error.contains("not known") && error.contains("ssh-keyscan"),
            "{error}"
        );
    }
    assert!(!sshd.log().contains("Accepted publickey"), "a key was offered to an unknown server");
}

#[tokio::test]
async fn a_changed_key_is_refused_with_the_line_it_disagrees_with() {
    needs_sshd!();
    let sshd = Sshd::start();
    let other = another_key(&sshd, &["-t", "ed25519", "-N", ""]);
    let error = refused(connect_with(&sshd, &format!("# first line\n{} {other}\n", sshd.name())).await);
    assert!(error.contains("has changed") && error.contains("known_hosts.test:2"), "{error}");
    assert!(error.contains(&fingerprint(&sshd)), "{error}");
}

#[tokio::test]
async fn a_key_of_another_type_than_the_recorded_one_is_refused_also_on_first_use() {
    needs_sshd!();
    let sshd = Sshd::start();
    let ecdsa = another_key(&sshd, &["-t", "ecdsa", "-N", ""]);
    let file = sshd.path().join("recorded");
    fs::write(&file, format!("{} {ecdsa}\n", sshd.name())).unwrap();
    let builder = || sshd.bare_builder().key_file(sshd.key()).known_hosts(&file);
    for builder in [builder(), builder().trust_on_first_use()] {
        let error = refused(connect(builder).await);
        assert!(error.contains("another type") && error.contains("recorded:1"), "{error}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn of_several_host_keys_the_server_is_asked_for_a_recorded_one() {
    needs_sshd!();
    let directory = tempfile::tempdir().unwrap();
    let mut lines = String::new();
    for kind in ["ecdsa", "rsa"] {
        let file = directory.path().join(kind);
        keygen_with(&file, &["-t", kind, "-N", ""]);
        lines.push_str(&format!("HostKey {}\n", file.display()));
    }
    let sshd = Sshd::with(&lines);
    for kind in ["ecdsa", "rsa"] {
        let key = fs::read_to_string(directory.path().join(kind).with_extension("pub")).unwrap();
        connect_with(&sshd, &format!("{} {key}", sshd.name())).await.unwrap_or_else(|error| panic!("{kind}: {error}"));
    }
}

#[tokio::test]
async fn a_revoked_key_is_refused_although_it_is_recorded() {
    needs_sshd!();
    let sshd = Sshd::start();
    let (name, key) = (sshd.name(), sshd.host_key());
    for text in [
        format!("{name} {key}\n@revoked {name} {key}"),
        format!("@revoked * {key}\n{name} {key} comment"),
        format!("@revoked 127.0.0.1 {key}\n{name} {key}"),
    ] {
        let error = refused(connect_with(&sshd, &text).await);
        assert!(error.contains("revoked") && error.contains("known_hosts.test:"), "{error}");
    }
    let file = sshd.path().join("revoked");
    fs::write(&file, format!("@revoked * {key}\n")).unwrap();
    let builder = sshd.bare_builder().key_file(sshd.key()).known_hosts(file).trust_on_first_use();
    assert!(refused(connect(builder).await).contains("revoked"));
}

#[tokio::test]
async fn a_fingerprint_is_enough_and_must_be_the_right_one() {
    needs_sshd!();
    let sshd = Sshd::start();
    let builder = || sshd.bare_builder().key_file(sshd.key());
    connect(builder().fingerprint(fingerprint(&sshd))).await.unwrap();
    let wrong = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let error = refused(connect(builder().fingerprint(wrong)).await);
    assert!(error.contains(wrong) && error.contains(&fingerprint(&sshd)), "{error}");
    connect(builder().fingerprint(wrong).fingerprint(fingerprint(&sshd))).await.unwrap();
    let error = builder().fingerprint("MD5:00:11").build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn trust_on_first_use_records_the_key_and_holds_the_server_to_it() {
    needs_sshd!();
    let sshd = Sshd::start();
    let file: PathBuf = sshd.path().join("new/known_hosts");
    let builder = || sshd.bare_builder().key_file(sshd.key()).known_hosts(&file);
    refused(connect(builder()).await);
    connect(builder().trust_on_first_use()).await.unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{} {}\n", sshd.name(), sshd.host_key()));
    connect(builder()).await.unwrap();
    // ssh itself agrees with what was recorded.
    let option = format!("UserKnownHostsFile={}", file.display());
    let mut ssh = Process::new("ssh");
    ssh.args(["-F", "none", "-o", &option, "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes", "-p"]);
    run(ssh.arg(sshd.port().to_string()).arg("-i").arg(sshd.key()).args(["127.0.0.1", "true"]));

    let other = another_key(&sshd, &["-t", "ed25519", "-N", ""]);
    fs::write(&file, format!("{} {other}\n", sshd.name())).unwrap();
    assert!(refused(connect(builder().trust_on_first_use()).await).contains("has changed"));
}

/// Whether ssh itself connects, with this alias and this `known_hosts` file.
fn ssh_accepts(sshd: &Sshd, alias: &str, file: &Path) -> bool {
    let mut ssh = Process::new("ssh");
    ssh.args(["-F", "none", "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"]);
    for option in [format!("UserKnownHostsFile={}", file.display()), format!("HostKeyAlias={alias}")] {
        ssh.args(["-o", &option]);
    }
    ssh.arg("-p").arg(sshd.port().to_string()).arg("-i").arg(sshd.key()).args(["127.0.0.1", "true"]);
    ssh.output().unwrap().status.success()
}

#[tokio::test]
async fn under_an_alias_a_changed_key_is_refused_also_on_first_use_as_ssh_does() {
    needs_sshd!();
    let sshd = Sshd::start();
    let other = another_key(&sshd, &["-t", "ed25519", "-N", ""]);
    let file = sshd.path().join("aliases");
    let text = format!("# first line\nthe-shop {other}\n");
    fs::write(&file, &text).unwrap();
    let builder = || sshd.bare_builder().key_file(sshd.key()).known_hosts(&file).host_key_alias("The-Shop");
    for builder in [builder(), builder().trust_on_first_use()] {
        let error = refused(connect(builder).await);
        assert!(error.contains("has changed") && error.contains("aliases:2"), "{error}");
    }
    assert!(!ssh_accepts(&sshd, "The-Shop", &file));
    assert_eq!(fs::read_to_string(&file).unwrap(), text, "a changed key was recorded");
}

#[tokio::test]
async fn an_alias_is_looked_up_and_recorded_without_a_port_as_ssh_does() {
    needs_sshd!();
    let sshd = Sshd::start();
    let key = sshd.host_key();
    let file = sshd.path().join("aliases");
    let builder = || sshd.bare_builder().key_file(sshd.key()).known_hosts(&file).host_key_alias("The-Shop");
    for (text, is_known) in [
        (format!("the-shop {key}\n"), true),
        (format!("[the-shop]:{} {key}\n", sshd.port()), false),
        (format!("{} {key}\n127.0.0.1 {key}\n", sshd.name()), false),
    ] {
        fs::write(&file, &text).unwrap();
        assert_eq!(connect(builder()).await.is_ok(), is_known, "{text}");
        assert_eq!(ssh_accepts(&sshd, "The-Shop", &file), is_known, "{text}");
    }
    fs::write(&file, "").unwrap();
    connect(builder().trust_on_first_use()).await.unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("the-shop {key}\n"));
    assert!(ssh_accepts(&sshd, "The-Shop", &file));
    for alias in ["", "a b", "a,b", "*", "!a", "|1|x", "#a", "@revoked", "a\nb", "a'b"] {
        assert_eq!(builder().host_key_alias(alias).build().unwrap_err().kind(), ErrorKind::Config, "{alias:?}");
    }
}

/// The last command between backticks.
fn advised(error: &str) -> &str {
    error.rsplit('`').nth(1).unwrap()
}

#[tokio::test]
async fn the_command_that_an_unknown_key_advises_records_it_where_it_is_looked_for() {
    needs_sshd!();
    if !part_is_here("ssh-keyscan", Path::new("/usr/bin/ssh-keyscan").exists(), "install openssh-client") {
        return;
    }
    let sshd = Sshd::start();
    let directory = sshd.path().join("it's mine");
    fs::create_dir(&directory).unwrap();
    for (number, file) in ["known hosts", "new/known_hosts", "third"].into_iter().enumerate() {
        let (file, second) = (directory.join(file), directory.join("second"));
        fs::write(&second, "").unwrap();
        let builder = || sshd.bare_builder().key_file(sshd.key()).known_hosts(&file).known_hosts(&second);
        let builder = || if number == 2 { builder().host_key_alias("the-shop") } else { builder() };
        let error = refused(connect(builder()).await);
        for file in [&file, &second] {
            assert!(error.contains(&*file.display().to_string()), "{error}");
        }
        run(Process::new("sh").args(["-c", advised(&error)]));
        connect(builder()).await.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert_eq!(fs::read_to_string(&second).unwrap(), "");
    }
}

#[tokio::test]
async fn the_command_that_an_unknown_key_advises_keeps_to_the_ssh_configuration() {
    needs_sshd!();
    if !part_is_here("ssh-keyscan", Path::new("/usr/bin/ssh-keyscan").exists(), "install openssh-client") {
        return;
    }
    let sshd = Sshd::start();
    let (config, file) = (sshd.path().join("config"), sshd.path().join("configured"));
    let text = format!(
        "Host shop\n HostName 127.0.0.1\n Port {}\n User {}\n IdentityFile {}\n UserKnownHostsFile {}\n HostKeyAlias the-shop\n",
        sshd.port(),
        user(),
        sshd.key().display(),
        file.display()
    );
    fs::write(&config, text).unwrap();
    let builder = || SshHostBuilder::from_ssh_config_file(&config, "shop").unwrap();
    let error = refused(connect(builder()).await);
    run(Process::new("sh").args(["-c", advised(&error)]));
    connect(builder()).await.unwrap();
    // ssh finds it there too.
    run(Process::new("ssh")
        .args(["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-F"])
        .arg(&config)
        .args(["shop", "true"]));
}

/// A server with a host certificate for these names.
fn certified(names: &str, validity: &str, kind: &[&str]) -> (Sshd, tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let (ca, key) = (directory.path().join("ca"), directory.path().join("host"));
    keygen(&ca);
    keygen(&key);
    let mut sign = Process::new("ssh-keygen");
    sign.args(["-q", "-I", "web1 certificate", "-n", names, "-V", validity]).args(kind).arg("-s").arg(&ca);
    run(sign.arg(key.with_extension("pub")));
    let lines = format!("HostKey {0}\nHostCertificate {0}-cert.pub", key.display());
    let authority = fs::read_to_string(ca.with_extension("pub")).unwrap();
    (Sshd::with(&lines), directory, authority)
}

#[tokio::test]
async fn a_host_certificate_of_a_recorded_authority_is_accepted() {
    needs_sshd!();
    let (sshd, _directory, authority) = certified("127.0.0.1,web1", "+1h", &["-h"]);
    connect_with(&sshd, &format!("@cert-authority * {authority}")).await.unwrap();
    connect_with(&sshd, &format!("@cert-authority 127.0.0.1 {authority}")).await.unwrap();
    // An authority for other hosts is none for this one.
    refused(connect_with(&sshd, &format!("@cert-authority *.example.com {authority}")).await);
    let error = refused(connect_with(&sshd, &format!("@cert-authority * {authority}\n@revoked * {authority}")).await);
    assert!(error.contains("revoked"), "{error}");
    // What an authority signs is no plain host key.
    refused(connect_with(&sshd, &format!("* {authority}")).await);
}

#[tokio::test]
async fn a_host_certificate_that_is_for_others_or_out_of_date_is_refused() {
    needs_sshd!();
    for (names, validity, kind, part) in
        [("web2.example.com", "+1h", &["-h"][..], "web2.example.com"), ("127.0.0.1", "-2h:-1h", &["-h"], "expired")]
    {
        let (sshd, _directory, authority) = certified(names, validity, kind);
        let error = refused(connect_with(&sshd, &format!("@cert-authority * {authority}")).await);
        assert!(error.contains(part) && error.contains("web1 certificate"), "{error}");
    }
    let (sshd, _directory, _) = certified("127.0.0.1", "+1h", &["-h"]);
    let other = another_key(&sshd, &["-t", "ed25519", "-N", ""]);
    let error = refused(connect_with(&sshd, &format!("@cert-authority * {other}")).await);
    assert!(error.contains("authority that is not recorded"), "{error}");
}
