//! Consoles on a real terminal of ours and a real one of the server.

use bluegreen_core::{Command, ErrorKind, Secret};
use bluegreen_testkit::patience::{PATIENCE, eventually};
use bluegreen_testkit::pids::send;
use bluegreen_testkit::ssh::Sshd;
use rustix::process::Signal;

use crate::reach::Reach;
use crate::terminal::Terminal;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_typed_and_printed_the_window_and_the_exit_status_pass_through() {
    needs_sshd!();
    let sshd = Sshd::start();
    let (host, terminal) = (sshd.host(), Terminal::open());
    let script = "stty size; trap 'stty size' WINCH; echo token $TOKEN; while :; do read -r line || continue; echo got $line; \
                  [ \"$line\" = bye ] && exit 3; done";
    let command = Command::script(script).env("TOKEN", Secret::new("a'b c")).directory("/tmp");
    let device = terminal.device.clone();
    let console = tokio::spawn({
        let host = host.clone();
        async move { host.console_on(&device, &command).await }
    });
    terminal.sees("30 100").await;
    terminal.sees("token a'b c").await;
    assert!(terminal.is_raw());
    terminal.types("hello\r");
    terminal.sees("got hello").await;

    terminal.resize(120, 50);
    send(std::process::id().cast_signed(), Signal::WINCH);
    terminal.sees("50 120").await;

    // Ctrl-C is the business of the other side.
    terminal.types("\u{3}bye\r");
    let output = tokio::time::timeout(PATIENCE, console).await.unwrap().unwrap().unwrap();
    assert!(output.status.is_some() || output.signal.is_some(), "{output:?}");
    assert!(!terminal.is_raw(), "the terminal is left in raw mode");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exit_status_of_a_console_is_that_of_its_command() {
    needs_sshd!();
    let sshd = Sshd::start();
    let (host, terminal) = (sshd.host(), Terminal::open());
    let output = host.console_on(&terminal.device, &Command::script("echo done; exit 3")).await.unwrap();
    assert_eq!(output.status, Some(3));
    terminal.sees("done").await;
    // The script is not left behind, and no other session is taken.
    for _ in 0..12 {
        assert!(host.console_on(&terminal.device, &Command::new("tty")).await.unwrap().success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_console_that_is_cut_off_gives_the_terminal_back_and_ends_on_the_server() {
    needs_sshd!();
    let sshd = Sshd::start();
    let (host, terminal) = (sshd.host(), Terminal::open());
    let command = Command::script("echo here; exec sleep 600");
    tokio::select! {
        ended = host.console_on(&terminal.device, &command) => panic!("{ended:?}"),
        () = terminal.sees("here") => {}
    }
    assert!(!terminal.is_raw());
    eventually("the command has ended", async || sshd.commands().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_console_whose_connection_is_lost_is_an_error_and_gives_the_terminal_back() {
    needs_sshd!();
    let sshd = Sshd::start();
    let (host, terminal) = (sshd.host(), Terminal::open());
    let device = terminal.device.clone();
    let console = tokio::spawn(async move { host.console_on(&device, &Command::script("echo here; cat")).await });
    terminal.sees("here").await;
    sshd.signal_sessions(Signal::KILL);
    let error = console.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    assert!(!terminal.is_raw());
}

#[tokio::test]
async fn without_a_terminal_there_is_no_console() {
    let host = bluegreen_ssh::SshHost::builder("x@127.0.0.1:1").build().unwrap();
    for path in ["/dev/null", "/no/such/terminal"] {
        let error = host.console_on(path.as_ref(), &Command::new("true")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }
}
