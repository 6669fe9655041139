//! `~/.ssh/config`, compared with what OpenSSH makes of it, and used against real servers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use bluegreen_core::{Command, ErrorKind, Host, Result};
use bluegreen_ssh::{SshHost, SshHostBuilder};
use bluegreen_testkit::process::{run, user};
use bluegreen_testkit::ssh::Sshd;
use tempfile::TempDir;

const CONFIG: &str = "
# A comment
User everyone

Host web1
    HostName web1.example.com
    Port 2201

Host web2 web3 *.internal !db.internal
  HostName=%h.example.com
  Port = 2202

Host web?
\tIdentityFile ~/.ssh/web

host \"quoted\"
    HOSTNAME 10.0.0.1
    port=2203

Host six
    HostName ::1

Host *
    User nobody
    Port 2299
    ServerAliveInterval 7
    StrictHostKeyChecking no
";

fn read(text: &str, name: &str) -> Result<SshHost> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config");
    fs::write(&file, text).unwrap();
    SshHostBuilder::from_ssh_config_file(&file, name)?.build()
}

/// What `ssh -G` says: user, host, port.
fn openssh(text: &str, name: &str) -> (String, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config");
    fs::write(&file, text).unwrap();
    openssh_file(&file, name)
}

fn openssh_file(file: &Path, name: &str) -> (String, String, String) {
    let said = run(Process::new("ssh").arg("-G").arg("-F").arg(file).arg(name));
    let value = |key: &str| said.lines().find_map(|line| line.strip_prefix(&format!("{key} "))).unwrap().to_owned();
    (value("user"), value("hostname"), value("port"))
}

#[test]
fn user_host_and_port_are_those_that_openssh_takes() {
    for name in ["web1", "web2", "web3", "web9", "a.internal", "db.internal", "quoted", "six", "other", "me@web1"] {
        let (user, host, port) = openssh(CONFIG, name);
        let bracketed = if host.contains(':') { format!("[{host}]") } else { host };
        assert_eq!(read(CONFIG, name).unwrap().to_string(), format!("{user}@{bracketed}:{port}"), "{name}");
    }
}

#[test]
fn a_match_block_counts_as_in_openssh() {
    let config = "Host web1\n HostName a.example.com\nMatch host *.example.com\n User app\n Port 2201\n\
                  Match originalhost web2,db !host x\n User db\nMatch originalhost web9 exec \"exit 0\"\n User run\n\
                  Match originalhost web8 exec \"test %h = other\"\n User no\nMatch originalhost \"web7\" localuser *\n Port 2207\n\
                  Match user nobody\n ForwardX11 yes\n Port 2202\nMatch canonical all\n User canonical\nMatch all\n User rest\n";
    for name in ["web1", "web2", "db", "web3", "c.example.com", "web7", "web8", "web9", "nobody@web1", "nobody@web3"] {
        let (user, host, port) = openssh(config, name);
        let address = if port == "22" { host } else { format!("{host}:{port}") };
        assert_eq!(read(config, name).unwrap().to_string(), format!("{user}@{address}"), "{name}");
    }
}

#[test]
fn what_would_change_the_connection_and_is_not_supported_is_refused() {
    for (text, part) in [
        ("Host web\n ProxyCommand nc %h %p", "proxycommand"),
        ("Host web\n KnownHostsCommand /bin/x", "knownhostscommand"),
        ("Host web\n RevokedHostKeys /x", "revokedhostkeys"),
        ("Host web\n CanonicalizeHostname yes", "canonicalizehostname"),
        ("Host web\n AddressFamily inet6", "addressfamily"),
        ("Host web\n PKCS11Provider /x", "pkcs11provider"),
        ("Host web\n BindAddress 10.0.0.1", "bindaddress"),
        ("Host web\n BindInterface eth0", "bindinterface"),
        ("Host web\n PubkeyAuthentication no", "pubkeyauthentication"),
        ("Host web\n IdentityFile %C/key", "token"),
        ("Host web\n IdentityFile ~other/key", "~/"),
        ("Host web\n IdentityFile none\n IdentityAgent none", "no key and no agent"),
        ("Host web\n ProxyJump web2\nHost web2\n ProxyJump web", "circle"),
    ] {
        let error = read(text, "web").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{text}: {error}");
        assert!(error.to_string().contains(part) && error.context("file").is_some(), "{text}: {error}");
    }
    // For another host, it does no harm.
    read("Host other\n ProxyCommand nc %h %p\nHost web\n User me", "web").unwrap();
    read(
        "Host web\n ProxyCommand none\n CanonicalizeHostname no\n ForwardAgent yes\n SendEnv X\n User me\n ProxyJump none\n \
         PubkeyAuthentication unbound\n KnownHostsCommand none\n RevokedHostKeys none\n PKCS11Provider none",
        "web",
    )
    .unwrap();
}

#[test]
fn what_openssh_refuses_is_refused_in_its_own_words() {
    for (text, part) in [
        ("Host web\n Port many", "config line 2: Bad"),
        ("Host web\n Bogus yes", "config: line 2: Bad configuration option: bogus"),
        ("Host web\n HostName %C.example.com", "unknown key %C"),
        ("Host web\n IdentityAgent ${NO_SUCH_VARIABLE}", "NO_SUCH_VARIABLE"),
        ("Host web\n ProxyJump web", "jumphost loop via web"),
    ] {
        let error = read(text, "web").unwrap_err();
        assert_eq!((error.kind(), error.hint().is_some()), (ErrorKind::Config, true), "{text}: {error}");
        assert!(error.to_string().contains(part) && error.context("file").is_some(), "{text}: {error}");
    }
}

#[test]
fn a_name_is_never_an_option_of_ssh() {
    for name in ["-oProxyCommand=touch /tmp/x", "-G", "me@-v", "", "we b"] {
        let error = read("User me", name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains("is not an SSH destination"), "{error}");
    }
    // Neither is a user; and in what a `Match exec` runs, it is no command.
    for name in ["-v@web1", "$(id)@web1"] {
        let error = read("Match exec \"test %r\"\n Port 2201", name).unwrap_err();
        assert!(error.to_string().contains("username contains invalid characters"), "{error}");
    }
}

/// A configuration that includes others: `{at}` in their texts is the directory they are in.
struct Several {
    directory: TempDir,
}

impl Several {
    fn new(main: &str, others: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().display().to_string();
        for (name, text) in others.iter().chain([&("config", main)]) {
            fs::write(directory.path().join(name), text.replace("{at}", &at)).unwrap();
        }
        Self { directory }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("config")
    }

    fn read(&self, name: &str) -> Result<String> {
        Ok(SshHostBuilder::from_ssh_config_file(self.file(), name)?.build()?.to_string())
    }

    /// In the words of `read`.
    fn openssh(&self, name: &str) -> String {
        let (user, host, port) = openssh_file(&self.file(), name);
        if port == "22" { format!("{user}@{host}") } else { format!("{user}@{host}:{port}") }
    }
}

#[test]
fn what_several_files_say_counts_in_the_order_in_which_openssh_takes_it() {
    let more = "Port 2201\nHost web1\n User included\n HostName included.example.com\nHost *\n Port 2202\n";
    for main in [
        "User first\nInclude {at}/more\nUser last\n",
        "Include {at}/more\nUser last\nHost web1\n User web\n HostName web.example.com\n",
        "Host web1\n User first\n Include \"{at}/more\" # both\n User last\nHost *\n HostName other.example.com\n User other\n",
        "Host web2\n Include {at}/mo* {at}/none\nHost *\n User other\n Port 2203\n",
        "Include {at}/nested\nHost *\n User other\n Port 2203\n",
    ] {
        let several =
            Several::new(main, &[("more", more), ("nested", "Host web1\n User nested\n Include {at}/more\n")]);
        for name in ["web1", "web2"] {
            assert_eq!(
                several.read(name).unwrap_or_else(|error| panic!("{main}: {error}")),
                several.openssh(name),
                "{name}: {main}"
            );
        }
    }
}

#[test]
fn a_match_block_in_an_included_file_counts_as_in_openssh() {
    let more = "User first\nMatch host *.example.com\n User app\n Port 2201\n\
                Match originalhost web2,web3 !host x\n User db\n Include {at}/nested\nMatch all\n Port 2203\n";
    let nested = "Match originalhost web3\n Port 2202\nHost web2\n HostName nested.example.com\n";
    let open = "Match exec \"exit 0\"\n User no\n";
    let others = [("more", more), ("nested", nested), ("open", open)];
    for main in [
        "Include {at}/more\nUser last\n",
        "Host web1 \"web2\" # two\n HostName a.example.com\nHost *\n Include {at}/nested {at}/more\nUser last\n",
        "Host web? !web2\n Include {at}/more\n User inner\nMatch originalhost web2\n Include {at}/nested\n User b\nHost *\n User rest\n",
        "Match originalhost web9\n Include {at}/open\nHost web9\n Include {at}/open\nMatch all\n Include {at}/nested\n User rest\n",
    ] {
        let several = Several::new(main, &others);
        for name in ["web1", "web2", "web3", "web9", "c.example.com"] {
            let read = several.read(name).unwrap_or_else(|error| panic!("{name}: {main}: {error}"));
            assert_eq!(read, several.openssh(name), "{name}: {main}");
        }
    }
}

#[test]
fn of_a_setting_that_is_there_twice_the_first_counts_as_in_openssh() {
    let twice = "Host web1\n HostName a.example.com\n User one\n User two\n Port 2201\n";
    let nested = [("more", "Include {at}/twice\n"), ("twice", twice)];
    for (main, others) in [
        (twice, &nested[..0]),
        ("Include {at}/twice\n", &nested),
        ("Include {at}/t*e\n", &nested),
        ("Include \"{at}/more\" \"{at}/twice\"\n", &nested),
        ("Host other\n User x\nMatch all\nInclude \"{at}/more\"\n", &nested),
    ] {
        let several = Several::new(main, others);
        assert_eq!(several.read("web1").unwrap(), "one@a.example.com:2201", "{main}");
        assert_eq!(several.openssh("web1"), "one@a.example.com:2201", "{main}");
    }
}

#[test]
fn files_that_include_each_other_in_a_circle_are_refused() {
    for main in ["Include {at}/circle\n", "Host web1\n Include {at}/circle\n"] {
        let error = Several::new(main, &[("circle", "Include {at}/circle\n")]).read("web1").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{main}: {error}");
        assert!(error.to_string().contains("recursive"), "{main}: {error}");
    }
}

#[tokio::test]
async fn keys_certificates_and_known_hosts_are_those_that_are_named() {
    needs_sshd!();
    let sshd = Sshd::start();
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    fs::copy(sshd.key(), at("a key of web1")).unwrap();
    fs::write(at("known hosts"), format!("{} {}\n", sshd.name(), sshd.host_key())).unwrap();
    fs::write(at("empty"), "").unwrap();
    let server = format!("HostName 127.0.0.1\nPort {}\nUser {}\nIdentityAgent none\n", sshd.port(), user());
    let key = format!("IdentityFile \"{}\"\n", at("a key of %n"));
    let known = |user: &str, system: &str| format!("UserKnownHostsFile {user}\nGlobalKnownHostsFile {system}\n");
    let (good, empty) = (format!("\"{}\"", at("known hosts")), at("empty"));
    let fails = async |text: &str| {
        let host = read(&(server.clone() + text), "web1").unwrap();
        host.run(&Command::new("true")).await.err().map(|error| error.to_string())
    };
    for (user, system) in [
        (good.clone(), empty.clone()),
        (empty.clone(), good.clone()),
        ("none".to_owned(), good.clone()),
        (good.clone(), "none".to_owned()),
        (format!("{empty} {good}"), empty.clone()),
    ] {
        assert_eq!(fails(&(key.clone() + &known(&user, &system))).await, None, "{user} {system}");
        assert_eq!(fails(&(key.clone() + "IdentitiesOnly yes\n" + &known(&user, &system))).await, None);
    }
    // Whatever the file says, a host key that is not recorded is refused.
    for (user, system) in [(&empty, &empty), (&empty, &"none".to_owned()), (&"none".to_owned(), &"none".to_owned())] {
        let text = key.clone() + "StrictHostKeyChecking no\n" + &known(user, system);
        let error = fails(&text).await.unwrap();
        assert!(error.contains("the host key is not known"), "{error}");
    }
    // No other key is tried than those that are named.
    let error =
        fails(&(format!("IdentityFile {}/none-%r\n", directory.path().display()) + &known(&good, "none"))).await;
    let tried = format!("key {}/none-{}: ", directory.path().display(), user());
    let error = error.unwrap();
    assert!(error.contains(&tried) && error.matches("key /").count() == 1, "{error}");
}

#[tokio::test]
async fn a_host_behind_a_jump_host_is_reached_as_its_configuration_says() {
    needs_sshd!();
    let (outer, inner) = (Sshd::start(), Sshd::start());
    let directory = tempfile::tempdir().unwrap();
    let known_hosts = directory.path().join("known hosts");
    fs::write(&known_hosts, format!("the-inner-one {}\n{} {}\n", inner.host_key(), outer.name(), outer.host_key()))
        .unwrap();
    let certificates = directory.path().join("more");
    let config = format!(
        "Include {}\n\nHost inner\n  HostName 127.0.0.1\n  Port {}\n  IdentityFile {}\n  ProxyJump {}@outer\n  HostKeyAlias the-inner-one\n",
        certificates.display(),
        inner.port(),
        inner.key().display(),
        user(),
    );
    let more = format!(
        "Host outer\n  HostName 127.0.0.1\n  Port {}\n  IdentityFile {}\n  IdentitiesOnly yes\nHost *\n  User {}\n  UserKnownHostsFile \"{}\"\n",
        outer.port(),
        outer.key().display(),
        user(),
        known_hosts.display(),
    );
    fs::write(&certificates, more).unwrap();
    let file = directory.path().join("config");
    fs::write(&file, config).unwrap();
    let host = SshHostBuilder::from_ssh_config_file(&file, "inner").unwrap().build().unwrap();
    let command = Command::new("echo").arg("through");
    assert_eq!(host.run(&command).await.unwrap().ok(&command, &host).unwrap().text(), "through");
    assert!(outer.log().contains("Accepted publickey") && inner.log().contains("Accepted publickey"));
    // OpenSSH gets there by the same file.
    let mut ssh = Process::new("ssh");
    ssh.args(["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-F"])
        .arg(&file)
        .args(["inner", "echo", "through"]);
    assert_eq!(run(&mut ssh).trim(), "through");
}

#[tokio::test]
async fn a_configuration_is_read_inside_a_runtime_too() {
    assert_eq!(read("Match exec \"sleep 0.1\"\n User slow", "web1").unwrap().to_string(), "slow@web1");
}

/// In a process of its own, which finds no programs.
#[test]
fn without_an_ssh_program_the_error_says_what_to_do() {
    const INSIDE: &str = "BLUEGREEN_TEST_WITHOUT_SSH";
    if std::env::var_os(INSIDE).is_none() {
        let mut test = Process::new(std::env::current_exe().unwrap());
        test.args(["--exact", "ssh_config::without_an_ssh_program_the_error_says_what_to_do"]);
        run(test.env(INSIDE, "1").env("PATH", "/no/such/directory"));
        return;
    }
    let error = read("User me", "web1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.hint().unwrap().contains("openssh-client"), "{error}");
    SshHost::builder("me@web1").build().unwrap();
}

#[test]
fn a_configuration_that_is_named_must_be_there() {
    let error = SshHostBuilder::from_ssh_config_file(Path::new("/no/such/config"), "web1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains("/no/such/config"), "{error}");
}
