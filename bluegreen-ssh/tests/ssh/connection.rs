//! One connection for everything, and what happens when it is gone.

use std::fs;
use std::time::{Duration, Instant};

use bluegreen_core::{Command, Effect, ErrorKind, Host};
use bluegreen_testkit::patience::{PATIENCE, eventually};
use bluegreen_testkit::pids::{runs, send};
use bluegreen_testkit::ssh::{Kind, Sshd};
use futures::future::join_all;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::reach::Reach;

fn connections(sshd: &Sshd) -> usize {
    sshd.log().matches("Accepted publickey").count()
}

#[tokio::test]
async fn many_commands_one_after_the_other_and_at_once_share_one_connection() {
    needs_sshd!();
    // OpenSSH allows 10 sessions at a time unless told otherwise.
    let sshd = Sshd::start();
    let host = sshd.host();
    for n in 0..100 {
        let command = Command::new("echo").arg(n.to_string());
        assert_eq!(host.run(&command).await.unwrap().text(), n.to_string());
    }
    // Each ends when it sees the other seven.
    let meet =
        Command::script(r#"mktemp -p "$1" > /dev/null; until [ "$(ls "$1" | wc -l)" -ge 8 ]; do sleep 0.02; done"#);
    let place = sshd.path().join("meeting");
    std::fs::create_dir(&place).unwrap();
    let meet = meet.arg(place.to_str().unwrap()).timeout(PATIENCE);
    for output in join_all((0..8).map(|_| host.run(&meet))).await {
        assert!(output.unwrap().success());
    }
    assert!(!sshd.log().contains("no more sessions"), "{}", sshd.log());
    // More than the server allows wait for each other.
    let sleep = Command::new("sleep").arg("0.2");
    for output in join_all((0..30).map(|_| host.run(&sleep))).await {
        assert!(output.unwrap().success());
    }
    assert_eq!(connections(&sshd), 1);
}

#[tokio::test]
async fn a_server_that_allows_a_single_session_is_enough() {
    needs_sshd!();
    let sshd = Sshd::with("MaxSessions 1");
    let host = sshd.host();
    let commands: Vec<_> = (0..5).map(|n| Command::new("echo").arg(n.to_string())).collect();
    for (n, output) in join_all(commands.iter().map(|command| host.run(command))).await.into_iter().enumerate() {
        assert_eq!(output.unwrap().text(), n.to_string());
    }
}

#[tokio::test]
async fn commands_that_come_at_the_same_time_wait_for_the_same_connection() {
    needs_sshd!();
    let sshd = Sshd::start();
    let host = sshd.host();
    let command = Command::new("true");
    for output in join_all((0..8).map(|_| host.run(&command))).await {
        assert!(output.unwrap().success());
    }
    assert_eq!(connections(&sshd), 1);
}

#[tokio::test]
async fn a_command_cut_off_with_its_connection_is_an_error_of_unknown_effect() {
    needs_sshd!();
    let sshd = Sshd::start();
    let host = sshd.host();
    let started = sshd.path().join("started");
    let command = Command::script(format!("echo x >> {}; sleep 600", started.display()));
    let running = tokio::spawn({
        let (host, command) = (host.clone(), command.clone());
        async move { host.run(&command).await }
    });
    eventually("the command runs", async || started.exists()).await;
    let left = sshd.commands();
    sshd.signal_sessions(Signal::KILL);
    let error = running.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unreachable, Effect::Unknown), "{error}");
    assert!(error.to_string().contains("connection was lost"), "{error}");
    for pid in left {
        send(pid, Signal::KILL);
    }
    // It is not run again by itself, and the next one finds a new connection.
    assert_eq!(host.run(&Command::new("echo").arg("again")).await.unwrap().text(), "again");
    assert_eq!(fs::read_to_string(&started).unwrap(), "x\n");
    assert_eq!(connections(&sshd), 2);
}

#[tokio::test]
async fn a_command_whose_line_is_lost_goes_on_silently_until_it_prints() {
    needs_sshd!();
    let mut sshd = Sshd::start();
    let host = sshd.host();
    let at = |name: &str| sshd.path().join(name);
    let [started, go, read, finished] = ["started", "go", "read", "finished"].map(at);
    // Its input ends with the line, and is no sign to end for a command.
    let wait = "echo $$ > \"$1\"; until [ -e \"$2\" ]; do sleep 0.02; done; cat > \"$3\";";
    for (last, ends_by_itself) in [("", true), ("echo printed;", false)] {
        let command = Command::script(format!("{wait} {last} echo done > \"$4\""))
            .args([&started, &go, &read, &finished].map(|path| path.display().to_string()));
        let running = tokio::spawn({
            let host = host.clone();
            async move { host.run(&command).await }
        });
        eventually("the command runs", async || fs::read_to_string(&started).is_ok_and(|text| text.ends_with('\n')))
            .await;
        let pid: i32 = fs::read_to_string(&started).unwrap().trim().parse().unwrap();
        assert!(sshd.restart_leaving_commands().contains(&pid));
        let error = running.await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unreachable, Effect::Unknown), "{error}");
        assert!(error.to_string().contains("may still be running"), "{error}");

        // The next command finds a new connection, and the first one at work.
        let look = Command::script(format!("kill -0 {pid}"));
        assert!(host.run(&look).await.unwrap().success(), "it ended with its line");
        fs::write(&go, "").unwrap();
        eventually("the command has ended", async || !runs(pid)).await;
        assert!(read.exists() && finished.exists() == ends_by_itself, "{last:?}");
        for file in [&started, &go, &read, &finished] {
            let _ = fs::remove_file(file);
        }
    }
}

#[tokio::test]
async fn what_a_lost_line_has_left_is_ended_with_the_server_of_a_test() {
    needs_sshd!();
    let mut sshd = Sshd::start();
    let host = sshd.host();
    let started = sshd.path().join("started");
    let command = Command::script(format!("echo x > {}; sleep 600; true", started.display()));
    let running = tokio::spawn(async move { host.run(&command).await });
    eventually("the command runs", async || started.exists() && sshd.commands().len() == 2).await;
    let left = sshd.restart_leaving_commands();
    running.await.unwrap().unwrap_err();
    assert!(left.len() == 2 && left.iter().all(|pid| runs(*pid)), "{left:?}");
    drop(sshd);
    eventually("nothing is left", async || !left.iter().any(|pid| runs(*pid))).await;
}

#[tokio::test]
async fn a_connection_that_was_lost_between_two_commands_is_made_anew_unnoticed() {
    needs_sshd!();
    let mut sshd = Sshd::start();
    let host = sshd.host();
    let command = Command::new("echo").arg("hi");
    assert_eq!(host.run(&command).await.unwrap().text(), "hi");
    for _ in 0..3 {
        sshd.restart();
        // The restart has kept this thread busy: now the news that the connection is gone can come in.
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(host.run(&command).await.unwrap().text(), "hi");
    }
}

#[tokio::test]
async fn a_server_that_is_gone_is_unreachable_and_nothing_happened() {
    needs_sshd!();
    let sshd = Sshd::start();
    let host = sshd.host();
    drop(sshd);
    let errors = [
        host.run(&Command::new("true")).await.unwrap_err(),
        host.read("/etc/passwd").await.unwrap_err(),
        host.tunnel("127.0.0.1:1").await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unreachable, Effect::NotApplied), "{error}");
        assert!(error.is_retryable());
    }
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_unreachable() {
    let host = bluegreen_ssh::SshHost::builder("x@no-such-host.invalid").build().unwrap();
    let error = host.connect().await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unreachable, Effect::NotApplied), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let host = bluegreen_ssh::SshHost::builder(format!("x@{address}")).connect_timeout(Duration::from_millis(300));
    let error = host.build().unwrap().connect().await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::NotApplied), "{error}");
}

#[tokio::test]
async fn a_frozen_server_is_noticed_while_a_command_runs() {
    needs_sshd!();
    let sshd = Sshd::start();
    let host = sshd.builder().keepalive(Duration::from_secs(1), 3).build().unwrap();
    host.connect().await.unwrap();
    let sleep = Command::new("sleep").arg("600");
    let running = tokio::spawn(async move { host.run(&sleep).await });
    eventually("the command runs", async || !sshd.commands().is_empty()).await;
    sshd.signal_sessions(Signal::STOP);
    let started = Instant::now();
    let error = running.await.unwrap().unwrap_err();
    sshd.signal_sessions(Signal::CONT);
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unreachable, Effect::Unknown), "{error}");
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    assert!(error.chain().contains("eepalive"), "{}", error.chain());
}

#[tokio::test]
async fn a_frozen_server_is_noticed_while_it_is_written_to() {
    needs_sshd!();
    let sshd = Sshd::start();
    let host = sshd.builder().keepalive(Duration::from_secs(1), 3).build().unwrap();
    assert!(host.run(&Command::new("true")).await.unwrap().success());
    let eat = Command::script("cat > /dev/null").stdin(vec![0; 64 << 20]);
    sshd.signal_sessions(Signal::STOP);
    let started = Instant::now();
    let outcome = host.run(&eat).await;
    sshd.signal_sessions(Signal::CONT);
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Unreachable);
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
}

/// A server that repeats what it hears, until the test ends.
async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = client.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

async fn ask(address: &str, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut client = TcpStream::connect(address).await?;
    let (mut read, mut write) = client.split();
    let mut answer = Vec::new();
    let send = async {
        write.write_all(question).await?;
        write.shutdown().await
    };
    tokio::try_join!(send, async { read.read_to_end(&mut answer).await })?;
    Ok(answer)
}

#[tokio::test]
async fn a_tunnel_reaches_what_the_server_reaches_for_as_long_as_it_lives() {
    needs_sshd!();
    let sshd = Sshd::start();
    let host = sshd.host();
    let tunnel = host.tunnel(&echo().await).await.unwrap();
    let local = tunnel.address().to_owned();
    assert!(local.starts_with("127.0.0.1:"));
    let question = b"question".repeat(100_000);
    for answer in join_all((0..10).map(|_| ask(&local, &question))).await {
        assert!(answer.unwrap() == question);
    }
    // A connection that stays open is closed with the tunnel.
    let mut open = TcpStream::connect(&local).await.unwrap();
    open.write_all(b"x").await.unwrap();
    assert_eq!(open.read_u8().await.unwrap(), b'x');
    drop(tunnel);
    assert!(matches!(open.read(&mut [0]).await, Ok(0) | Err(_)));
    assert!(TcpStream::connect(&local).await.is_err());
}

#[tokio::test]
async fn a_tunnel_goes_on_after_the_connection_was_lost() {
    needs_sshd!();
    let mut sshd = Sshd::start();
    let host = sshd.host();
    let tunnel = host.tunnel(&echo().await).await.unwrap();
    assert_eq!(ask(tunnel.address(), b"one").await.unwrap(), b"one");
    sshd.restart();
    assert_eq!(ask(tunnel.address(), b"two").await.unwrap(), b"two");
}

#[tokio::test]
async fn a_tunnel_to_where_nobody_listens_is_reset_and_works_once_somebody_does() {
    needs_sshd!();
    let sshd = Sshd::start();
    let host = sshd.host();
    let reserved = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    let tunnel = host.tunnel(&address.to_string()).await.unwrap();
    assert!(ask(tunnel.address(), b"x").await.is_err());
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        client.write_all(b"now").await.unwrap();
    });
    assert_eq!(ask(tunnel.address(), b"").await.unwrap(), b"now");
    let error = host.tunnel("no port").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn a_tunnel_whose_client_takes_nothing_does_not_hold_up_commands_for_ever() {
    needs_sshd!();
    let sshd = Sshd::start();
    let host = sshd.host();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tunnel = host.tunnel(&listener.local_addr().unwrap().to_string()).await.unwrap();
    let flood = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let chunk = vec![0; 1 << 20];
        let mut sent = 0_u64;
        while sent < 256 << 20 && client.write_all(&chunk).await.is_ok() {
            sent += chunk.len() as u64;
        }
        sent
    });
    let idle = TcpStream::connect(tunnel.address()).await.unwrap();
    idle.readable().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let command = Command::new("echo").arg("hi");
    let output = tokio::time::timeout(PATIENCE, host.run(&command)).await.expect("held up").unwrap();
    assert_eq!(output.text(), "hi");
    assert!(flood.await.unwrap() < 256 << 20, "the client was not cut off");
    drop(idle);
}

#[tokio::test]
async fn a_server_behind_two_others_is_reached_and_every_host_key_is_checked() {
    needs_sshd!();
    let (outer, middle, inner) = (Sshd::start(), Sshd::start(), Sshd::start());
    let host = inner.builder().jump(middle.builder().jump(outer.builder())).build().unwrap();
    let command = Command::script("echo $SSH_CONNECTION");
    let output = host.run(&command).await.unwrap().ok(&command, &host).unwrap();
    assert!(output.text().ends_with(&format!("127.0.0.1 {}", inner.port())), "{}", output.text());
    for sshd in [&outer, &middle, &inner] {
        assert_eq!(connections(sshd), 1);
    }
    let tunnel = host.tunnel(&echo().await).await.unwrap();
    assert_eq!(ask(tunnel.address(), b"far").await.unwrap(), b"far");

    let nothing = inner.path().join("nothing");
    let unknown_inner = inner.bare_builder().key_file(inner.key()).known_hosts(&nothing).jump(middle.builder());
    let unknown_middle = inner.builder().jump(middle.bare_builder().key_file(middle.key()).known_hosts(&nothing));
    for (builder, who) in [(unknown_inner, inner.name()), (unknown_middle, middle.name())] {
        let error = builder.build().unwrap().connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
        assert!(error.to_string().contains("not known") && error.to_string().contains(&who), "{error}");
    }

    outer.signal_sessions(Signal::KILL);
    let again = host.run(&command).await.or(host.run(&command).await).unwrap();
    assert!(again.success());
}

#[tokio::test]
async fn a_server_that_closes_connections_at_once_is_unreachable_with_the_likely_causes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let host = bluegreen_ssh::SshHost::builder(format!("me@{address}")).build().unwrap();
    let error = host.connect().await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unreachable, Effect::NotApplied), "{error}");
    assert!(error.hint().unwrap().contains("MaxStartups"), "{error}");
}

#[tokio::test]
async fn a_jump_host_that_does_not_lead_on_is_named_and_why() {
    needs_sshd!();
    let (inner, jump, closed) = (Sshd::start(), Sshd::start(), Sshd::with("AllowTcpForwarding no"));
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let nobody = bluegreen_ssh::SshHost::builder(format!("me@{nobody}")).jump(jump.builder());
    for (builder, jump, part) in
        [(nobody, &jump, "listen there"), (inner.builder().jump(closed.builder()), &closed, "AllowTcpForwarding")]
    {
        let error = builder.build().unwrap().connect().await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unreachable, Effect::NotApplied), "{error}");
        assert!(error.context("jump host").unwrap().ends_with(&format!(":{}", jump.port())), "{error}");
        assert!(error.hint().unwrap().contains(part), "{error}");
    }
}

#[tokio::test]
async fn a_tunnel_tells_why_its_end_cannot_be_reached() {
    needs_sshd!();
    let (open, closed) = (Sshd::start(), Sshd::with("AllowTcpForwarding no"));
    let end = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    for (sshd, part) in [(&open, "ConnectFailed"), (&closed, "AdministrativelyProhibited")] {
        let tunnel = sshd.host().tunnel(&end).await.unwrap();
        assert_eq!(tunnel.failure(), None);
        ask(tunnel.address(), b"anyone?").await.unwrap_err();
        let why = tunnel.failure().unwrap();
        assert!(why.contains(part) && why.contains(&end), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_upload_passes_through_a_small_window() {
    needs_sshd!();
    let Some(dropbear) = Kind::Dropbear.start() else { return };
    let inner = Sshd::start();
    let local = inner.path().join("local");
    fs::write(&local, vec![7; 50 << 20]).unwrap();
    for host in [dropbear.host(), inner.builder().jump(dropbear.builder()).build().unwrap()] {
        let remote = inner.path().join("remote");
        let nobody = bluegreen_core::Progress::none();
        let upload = host.upload(&local, remote.to_str().unwrap(), &nobody);
        tokio::time::timeout(Duration::from_secs(300), upload).await.expect("the upload stalls").unwrap();
        assert_eq!(fs::metadata(&remote).unwrap().len(), 50 << 20);
        fs::remove_file(remote).unwrap();
    }
}
