//! A socket that is slow, gone, closed to us, or not HAProxy's.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use bluegreen_core::{Effect, ErrorKind, LocalHost, Router, Slot};
use bluegreen_haproxy::{HaproxyRouter, Mode};
use bluegreen_testkit::haproxy::TestHaproxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use crate::setup::{BLUE, GREEN, Setup, at, builder, generated, start};

/// Every method fails with one of these kinds, and nothing is said to have been done.
async fn fails(router: &HaproxyRouter, kinds: &[ErrorKind]) {
    let results = [
        router.current().await.map(drop),
        router.in_flight(Slot::Blue).await.map(drop),
        router.preview(Slot::Blue).await.map(drop),
        router.shift(Some(BLUE), GREEN).await,
        router.attach(Slot::Blue, &at(["127.0.0.1:4000"])).await,
    ];
    for result in results {
        let error = result.unwrap_err();
        assert!(kinds.contains(&error.kind()), "{error:?}");
        assert_eq!(error.effect(), Effect::NotApplied, "{error}");
        let said = error.to_string();
        assert!(said.contains("HAProxy backend shop on this machine") && said.contains("unix:/"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_slow_or_garbage_is_an_error_that_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let router = HaproxyRouter::builder(LocalHost::new(), "shop")
        .socket(path.display().to_string())
        .state_directory(directory.path().join("state").display().to_string())
        .timeout(Duration::from_millis(200))
        .build()
        .unwrap();
    fails(&router, &[ErrorKind::Unreachable]).await;

    let table = "1\n# be_id be_name srv_name\n3 shop blue1\n\n# pxname,svname\nshop,blue1\n\n";
    let hostile = table.replace("blue1", "blue1;shutdown");
    let garbage: [(&[u8], bool); 9] = [
        (b"", true),
        (b"", false),
        (b"\n", true),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n<html>\n\n", true),
        (b"\xff\xfe\x00\n\n\x80\n\n", true),
        (b"1\n# be_id be_name", false),
        (table.as_bytes(), true),
        (hostile.as_bytes(), true),
        (b"Unknown command: 'show'\n\nUnknown command\n\n", true),
    ];
    for (bytes, closes) in garbage {
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let bytes = bytes.to_vec();
        let server = tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(&bytes).await;
                if !closes {
                    kept.push(stream);
                }
            }
        });
        let kinds = [ErrorKind::Unexpected, ErrorKind::Timeout, ErrorKind::Unsupported];
        fails(&router, &kinds).await;
        server.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_never_comes_to_a_change_leaves_it_open_whether_it_was_made() {
    let Some(s) = Setup::start().await else { return };
    s.first().await;
    // The first connection (lock and look) is passed on whole; of the second one, the answer is lost.
    let path = s.haproxy.path("lossy.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let real = s.haproxy.socket();
    tokio::spawn(async move {
        for number in 0.. {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = tokio::net::UnixStream::connect(&real).await.unwrap();
            let mut line = vec![0; 16 << 10];
            let length = near.read(&mut line).await.unwrap();
            far.write_all(&line[..length]).await.unwrap();
            let mut answer = Vec::new();
            far.read_to_end(&mut answer).await.unwrap();
            if number != 1 {
                near.write_all(&answer).await.unwrap();
            }
        }
    });
    let lossy = builder(&s.haproxy).socket(path.display().to_string()).build().unwrap();
    let error = lossy.shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!(error.effect(), Effect::Unknown, "{error}");
    assert_eq!(s.current().await, Some(GREEN), "it was made, in this case");
    lossy.shift(Some(BLUE), GREEN).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_without_the_right_to_change_anything_is_refused_before_a_deploy_begins() {
    let Some(haproxy) = start(generated(1), Mode::Http) else { return };
    let config = std::fs::read_to_string(haproxy.path("haproxy.cfg")).unwrap();
    let weak = haproxy.path("weak.sock").display().to_string();
    let with = format!("global\n  stats socket {weak} mode 600 level operator\n");
    std::fs::write(haproxy.path("haproxy.cfg"), config.replacen("global\n", &with, 1)).unwrap();
    haproxy.reload();
    let router = builder(&haproxy).socket(&weak).build().unwrap();
    let error = router.preview(Slot::Blue).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unauthorized, Effect::NotApplied), "{error}");
    assert!(error.to_string().contains("level admin"), "{error}");
    assert_eq!(router.current().await.unwrap(), None, "to look is allowed");
    let error = router.attach(Slot::Blue, &at(["127.0.0.1:4000"])).await.unwrap_err();
    assert_eq!(error.effect(), Effect::NotApplied, "{error}");
    assert_eq!(haproxy.server("blue1").2, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_setup_script_makes_the_directory_can_be_repeated_and_gives_nobody_the_group_root() {
    let Some(haproxy) = TestHaproxy::start("http", &generated(1).render().unwrap()) else { return };
    let router =
        builder(&haproxy).state_directory(haproxy.path("made/by/setup").display().to_string()).build().unwrap();
    for _ in 0..2 {
        router.setup().await.unwrap();
    }
    let mode = std::fs::metadata(haproxy.path("made/by/setup")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    // Whoever is in the group of root's socket would be root.
    if !rustix::process::getuid().is_root() {
        return;
    }
    let run = |router: &HaproxyRouter| {
        let script = router.setup_script();
        let output =
            std::process::Command::new("sh").arg("-c").arg(script).env("DEPLOY_USER", "nobody").output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let said = run(&router);
    assert!(said.contains("belongs to the group root: give it one of its own"), "{said}");
    let said = run(&builder(&haproxy).socket(haproxy.path("none.sock").display().to_string()).build().unwrap());
    assert!(said.contains("there is no socket"), "{said}");
}
