//! Every command of the tool, as a person types it.

use std::process::Output;

use crate::crashes::{deployer, text};
use crate::setup::Server;

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_tool_does_what_its_help_says() {
    let Some(server) = Server::start() else { return };
    let fails = async |arguments: &[&str], with: &str| {
        let output = deployer(&server, arguments).await;
        assert!(!output.status.success() && text(&output).contains(with), "{arguments:?}: {}", text(&output));
    };
    let run = async |arguments: &[&str]| {
        let output = deployer(&server, arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    fails(&["build", "1.0.0"], "build the release").await;
    fails(&["rollback"], "nothing").await;
    fails(&["logs"], "no slot is live").await;
    let hostile = format!("1;touch${{IFS}}{}", server.path("owned").display());
    fails(&["build", &hostile], "a version is made of").await;
    fails(&["deploy", "--stage", &hostile], "a version is made of").await;
    assert!(!server.path("owned").exists());

    assert!(run(&["deploy", "1.0.0"]).await.contains("deploy of demo_app 1.0.0 (blue): succeeded"));
    assert!(run(&["build", "1.0.0"]).await.contains("demo_app-1.0.0.tar.gz"));
    server.release_here("2.0.0");
    assert!(run(&["deploy", "2.0.0", "--stage"]).await.contains("stage of demo_app 2.0.0 (green): succeeded"));
    assert!(run(&["status"]).await.contains("green  staged"));
    assert_eq!(server.public_version().await, "1.0.0");

    // What is on the server already needs nothing from here.
    std::fs::remove_file(server.path("env")).unwrap();
    run(&["migrate"]).await;
    run(&["promote", "green"]).await;
    assert_eq!(server.public_version().await, "2.0.0");
    fails(&["promote", "green"], "green is live already").await;
    run(&["promote", "blue"]).await;
    assert_eq!(server.public_version().await, "1.0.0");
    run(&["rollback"]).await;
    server.is_settled_on("2.0.0").await;
    run(&["migrate", "blue"]).await;

    let status = run(&["status"]).await;
    for part in
        ["traffic: 100 % green", "blue   retained  running 1.0.0", "green  live", "migrate 1.0.0 (blue): succeeded"]
    {
        assert!(status.contains(part), "{part} in {status}");
    }
    assert!(run(&["logs"]).await.contains("demo_app 2.0.0 listens on port"));
    assert!(run(&["logs", "blue", "--lines", "5"]).await.contains("demo_app 1.0.0 listens on port"));
    assert!(run(&["recover"]).await.contains("recovered demo_app"));
    fails(&["console", "purple"], "use blue or green").await;
    // A console needs a terminal, and says so.
    fails(&["console"], "terminal").await;
    let console = on_terminal(&server, "console green", "node() |> to_string() |> String.upcase()").await;
    assert!(text(&console).contains("DEMO_APP-GREEN@LOCALHOST"), "{}", text(&console));
    server.is_settled_on("2.0.0").await;
}

/// Runs the tool on a terminal of its own, types a line, leaves by Ctrl-\, and returns what the terminal showed.
async fn on_terminal(server: &Server, words: &str, typed: &str) -> Output {
    let settings = server.path("deploy.toml");
    let command = format!("{} --settings {} {words}", env!("CARGO_BIN_EXE_beam-deployer"), settings.display());
    // What is typed before the console is up is lost.
    let typed = format!("sleep 5; echo '{typed}'; sleep 3; printf '\\034'; sleep 2");
    let script = format!("({typed}) | timeout 60 script -qec '{command}' /dev/null");
    let run = move || std::process::Command::new("sh").args(["-c", &script]).output();
    tokio::task::spawn_blocking(run).await.unwrap().unwrap()
}
