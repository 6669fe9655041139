//! Proving who we are to a real server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use bluegreen_core::{Command, Effect, ErrorKind, Host, Secret};
use bluegreen_ssh::SshHostBuilder;
use bluegreen_testkit::process::{run, user};
use bluegreen_testkit::ssh::{Agent, Sshd, keygen, keygen_with};

use crate::reach::Reach;

/// A key of this type that the server accepts.
fn accepted(sshd: &Sshd, name: &str, args: &[&str]) -> PathBuf {
    let key = sshd.path().join(name);
    keygen_with(&key, args);
    sshd.authorize(&fs::read_to_string(key.with_extension("pub")).unwrap());
    key
}

fn client(sshd: &Sshd) -> SshHostBuilder {
    sshd.bare_builder().known_hosts(sshd.known_hosts())
}

async fn works(builder: SshHostBuilder) {
    let host = builder.build().unwrap();
    let command = Command::new("id").arg("-un");
    assert_eq!(host.run(&command).await.unwrap().ok(&command, &host).unwrap().text(), user());
}

async fn refused(builder: SshHostBuilder) -> String {
    let error = builder.build().unwrap().connect().await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unauthorized, Effect::NotApplied), "{error}");
    error.to_string()
}

#[tokio::test]
async fn every_usual_type_of_key_is_accepted() {
    needs_sshd!();
    let sshd = Sshd::start();
    for (kind, bits) in [("ed25519", "256"), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521"), ("rsa", "3072")] {
        let key = accepted(&sshd, &format!("{kind}-{bits}"), &["-t", kind, "-b", bits, "-N", ""]);
        works(client(&sshd).key_file(&key)).await;
        works(client(&sshd).key(Secret::new(fs::read_to_string(&key).unwrap()))).await;
    }
    assert!(sshd.log().contains("RSA SHA256:"));
}

#[tokio::test]
async fn an_rsa_key_in_the_old_pem_format_is_read() {
    needs_sshd!();
    let sshd = Sshd::start();
    let key = accepted(&sshd, "pem", &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""]);
    assert!(fs::read_to_string(&key).unwrap().contains("BEGIN RSA PRIVATE KEY"));
    works(client(&sshd).key_file(key)).await;
}

#[tokio::test]
async fn a_key_with_a_passphrase_needs_the_right_one() {
    needs_sshd!();
    let sshd = Sshd::start();
    let key = accepted(&sshd, "locked", &["-t", "ed25519", "-N", "open sesame"]);
    works(client(&sshd).encrypted_key_file(&key, Secret::new("open sesame"))).await;
    let error = refused(client(&sshd).key_file(&key)).await;
    assert!(error.contains("needs a passphrase"), "{error}");
    let error = refused(client(&sshd).encrypted_key_file(&key, Secret::new("hunter2"))).await;
    assert!(error.contains("is the passphrase right?") && !error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn the_agent_signs_with_every_type_of_key_and_the_right_one_is_found() {
    needs_sshd!();
    let sshd = Sshd::start();
    for (name, args) in
        [("ed", ["-t", "ed25519", "-N", ""]), ("ec", ["-t", "ecdsa", "-N", ""]), ("rsa", ["-t", "rsa", "-N", ""])]
    {
        let agent = Agent::start();
        let unknown = sshd.path().join(format!("unknown-{name}"));
        keygen(&unknown);
        agent.add(&unknown);
        let key = accepted(&sshd, name, &args);
        agent.add(&key);
        fs::remove_file(&key).unwrap();
        works(client(&sshd).agent_socket(agent.socket())).await;
    }
}

#[tokio::test]
async fn a_refusal_says_what_was_offered_and_what_the_server_wants() {
    needs_sshd!();
    let sshd = Sshd::start();
    let agent = Agent::start();
    let key = sshd.path().join("unknown");
    keygen(&key);
    let other = sshd.path().join("other");
    keygen(&other);
    agent.add(&other);
    let builder =
        client(&sshd).key_file("/no/such/key").key_file(&key).agent_socket(agent.socket()).agent_socket("/no/agent");
    let error = refused(builder).await;
    let fingerprint = run(Process::new("ssh-keygen").arg("-lf").arg(&key));
    let fingerprint = fingerprint.split(' ').nth(1).unwrap();
    for part in
        ["/no/such/key", fingerprint, "agent key test key", "/no/agent", "it accepts: publickey", "authorized_keys"]
    {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
}

#[tokio::test]
async fn a_server_that_has_enough_of_our_keys_is_quoted() {
    needs_sshd!();
    let sshd = Sshd::with("MaxAuthTries 2");
    let mut builder = client(&sshd);
    for n in 0..4 {
        let key = sshd.path().join(format!("unknown-{n}"));
        keygen(&key);
        builder = builder.key_file(key);
    }
    let error = refused(builder).await;
    assert!(error.contains("Too many authentication failures"), "{error}");
}

/// A certificate authority for users, and a server that trusts it alone.
struct Authority {
    sshd: Sshd,
    key: PathBuf,
}

impl Authority {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap().keep();
        let key = directory.join("ca");
        keygen(&key);
        let sshd = Sshd::with(&format!("TrustedUserCAKeys {}", key.with_extension("pub").display()));
        Self { sshd, key }
    }

    /// A key that only its certificate lets in.
    fn certified(&self, name: &str, kind: &str, validity: &str) -> PathBuf {
        let key = self.sshd.path().join(name);
        keygen_with(&key, &["-t", kind, "-N", ""]);
        let mut sign = Process::new("ssh-keygen");
        sign.args(["-q", "-I", "deploy certificate", "-n", &user(), "-V", validity, "-s"]).arg(&self.key);
        run(sign.arg(key.with_extension("pub")));
        assert!(Path::new(&format!("{}-cert.pub", key.display())).exists());
        key
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.key.parent().unwrap());
    }
}

#[tokio::test]
async fn certificates_let_in_what_the_key_alone_does_not() {
    needs_sshd!();
    let authority = Authority::start();
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let key = authority.certified(kind, kind, "+1h");
        works(client(&authority.sshd).key_file(&key)).await;
        let agent = Agent::start();
        agent.add(&key);
        works(client(&authority.sshd).agent_socket(agent.socket())).await;
        // Elsewhere, and named.
        let (certificate, moved) =
            (format!("{}-cert.pub", key.display()), authority.sshd.path().join(format!("{kind}-moved")));
        fs::rename(certificate, &moved).unwrap();
        refused(client(&authority.sshd).key_file(&key)).await;
        works(client(&authority.sshd).key_file(&key).certificate_file(moved)).await;
    }
}

#[tokio::test]
async fn an_expired_certificate_does_not_let_in() {
    needs_sshd!();
    let authority = Authority::start();
    let key = authority.certified("late", "ed25519", "-2h:-1h");
    let error = refused(client(&authority.sshd).key_file(&key)).await;
    assert!(error.contains("certificate deploy certificate"), "{error}");
}

#[tokio::test]
async fn a_server_that_has_only_the_nist_curves_is_reached() {
    needs_sshd!();
    for bits in ["256", "384", "521"] {
        let sshd = Sshd::with(&format!("KexAlgorithms ecdh-sha2-nistp{bits}"));
        works(sshd.builder()).await;
    }
}

#[tokio::test]
async fn algorithms_that_nobody_has_here_are_named_and_called_out_of_date_only_when_they_are() {
    needs_sshd!();
    for (algorithm, out_of_date) in
        [("sntrup761x25519-sha512@openssh.com", false), ("diffie-hellman-group1-sha1", true)]
    {
        let sshd = Sshd::with(&format!("KexAlgorithms {algorithm}"));
        let error = sshd.host().connect().await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unsupported, Effect::NotApplied), "{error}");
        assert_eq!(error.context("it offers"), Some(algorithm), "{error}");
        assert!(error.context("we have").unwrap().contains("curve25519-sha256"), "{error}");
        let hint = error.hint().unwrap();
        assert_eq!(hint.contains("out of date"), out_of_date, "{hint}");
        assert!(hint.contains("KexAlgorithms"), "{hint}");
    }
}

#[tokio::test]
async fn the_advice_is_about_what_the_server_asks_for() {
    needs_sshd!();
    for (lines, said, hint) in [
        ("", "refused", "authorized_keys"),
        (
            "AuthenticationMethods publickey,password\nPasswordAuthentication yes",
            "accepted",
            "the server asks for more",
        ),
        ("PubkeyAuthentication no\nPasswordAuthentication yes", "it accepts: password", "passwords are not supported"),
    ] {
        let sshd = Sshd::with(lines);
        let stranger = sshd.path().join("stranger");
        keygen(&stranger);
        let key = if lines.is_empty() { stranger } else { sshd.key() };
        let error = client(&sshd).key_file(key).build().unwrap().connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
        assert!(error.to_string().contains(said), "{error}");
        assert!(error.hint().unwrap().contains(hint), "{error}");
    }
}
