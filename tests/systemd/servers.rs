//! Reboots, and what is asked of a server.

use std::time::Duration;

use bluegreen_core::{ErrorKind, Instance, Reason, Runtime, Secret, Slot};

use crate::programs::SERVES;
use crate::server::{Server, target};

#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_brings_the_live_release_back_and_no_other() {
    let Some(server) = Server::start() else { return };
    let runtime = server.set_up(server.builder()).await;
    for (slot, version) in [(Slot::Blue, "1.0"), (Slot::Green, "2.0")] {
        let target = target(slot, server.release(version, SERVES));
        runtime.prepare(&target).await.unwrap();
        runtime.start(&target).await.unwrap();
    }
    for (round, live) in [Slot::Green, Slot::Blue].into_iter().enumerate() {
        runtime.promoted(live).await.unwrap();
        runtime.promoted(live).await.unwrap();
        if round == 0 {
            server.reboot()
        } else {
            server.power_cut()
        }
        // The address may be another one.
        let runtime = server.builder().build().unwrap();
        let version = if live == Slot::Green { "2.0" } else { "1.0" };
        assert_eq!(runtime.inspect(live).await.unwrap().to_string(), format!("running {version}"));
        let other = runtime.inspect(live.other()).await.unwrap();
        assert!(
            matches!(&other, Instance::Stopped { reason: Some(reason), .. } if reason.contains("restarted")),
            "{other}"
        );
        // Ready for the next round: the other slot runs again, in one step.
        let version = if live == Slot::Green { "1.0" } else { "2.0" };
        let mut kept = target(live.other(), server.release(version, SERVES));
        kept.release = bluegreen_core::Release::new(version).unwrap();
        assert!(runtime.start(&kept).await.unwrap().is_running());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_set_up_gives_no_more_rights_than_the_pages_name_and_can_be_repeated() {
    let Some(server) = Server::start() else { return };
    let runtime = server.set_up(server.builder()).await;
    let rules = server.exec(&["cat", "/etc/sudoers.d/bluegreen-shop"]);
    for line in rules.lines() {
        let words: Vec<_> = line.split("NOPASSWD: ").nth(1).unwrap().split(' ').collect();
        assert_eq!(words[0], "/usr/bin/systemctl", "{line}");
        assert!(matches!(words.last(), Some(&"shop-blue.service" | &"shop-green.service")), "{line}");
    }
    assert_eq!(rules.lines().count(), 12);
    for refused in [
        "systemctl stop ssh.service",
        "systemctl start shop-blue.service ssh.service",
        "systemctl edit shop-blue.service",
        "systemctl daemon-reload",
        "sh -c id",
        "cat /etc/shadow",
    ] {
        let sudo = format!("sudo -n {refused}");
        assert!(!server.try_exec(&["su", "deploy", "-c", &sudo]), "{refused} is allowed");
    }
    let before = server.exec(&["stat", "-c", "%Y %i", "/etc/systemd/system/shop-blue.service"]);
    let again = server.exec(&["env", "DEPLOY_USER=deploy", "sh", "-c", &runtime.setup_script()]);
    assert_eq!(again, "");
    assert_eq!(server.exec(&["stat", "-c", "%Y %i", "/etc/systemd/system/shop-blue.service"]), before);
    // Root needs no rules.
    let as_root =
        bluegreen_release::SystemdRuntime::builder(server.host("root"), "other").user("shop").build().unwrap();
    as_root.setup().await.unwrap();
    assert!(server.try_exec(&["test", "-e", "/etc/systemd/system/other-green.service"]));
    assert!(!server.try_exec(&["test", "-e", "/etc/sudoers.d/bluegreen-other"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_is_missing_or_was_changed_by_somebody_else_is_refused_before_anything_is_done() {
    let Some(server) = Server::start() else { return };
    let release = target(Slot::Blue, server.release("1.0", SERVES));
    let runtime = server.builder().build().unwrap();
    server.exec(&["install", "-d", "-o", "deploy", "/srv/shop"]);
    for error in [runtime.preview(&release).await.unwrap_err(), runtime.prepare(&release).await.unwrap_err()] {
        assert!(error.kind() == ErrorKind::NotFound && error.chain().contains("setup"), "{}", error.chain());
    }
    server.set_up(server.builder()).await;
    runtime.preview(&release).await.unwrap();
    let unit = "/etc/systemd/system/shop-blue.service";
    server.exec(&["sed", "-i", "s/^Restart=always/Restart=no/", unit]);
    server.exec(&["systemctl", "daemon-reload"]);
    let previews = [runtime.preview(&release).await.map(drop), runtime.preview_slot(Slot::Blue).await.map(drop)];
    for error in previews.into_iter().chain([runtime.prepare(&release).await]).map(Result::unwrap_err) {
        assert_eq!((error.kind(), error.reason()), (ErrorKind::Conflict, Some(Reason::ChangedElsewhere)));
        let told = error.chain();
        assert!(told.contains("-Restart=always | +Restart=no"), "{told}");
    }
    server.set_up(server.builder()).await;
    runtime.prepare(&release).await.unwrap();
    // A drop-in is the administrator's own, and stays.
    server.exec(&["sh", "-c", "mkdir -p /etc/systemd/system/shop-blue.service.d && printf '[Service]\\nNice=5\\n' > /etc/systemd/system/shop-blue.service.d/nice.conf && systemctl daemon-reload"]);
    runtime.preview(&release).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_values_and_words_reach_the_program_unchanged_and_inject_nothing() {
    let Some(server) = Server::start() else { return };
    let hostile = [
        "it's \"quoted\" `id` $(id) $HOME ${PATH} \\ back",
        "two\nExecStartPre=/bin/touch /tmp/injected",
        "100% %h %n",
        "# no comment; and 'more",
        "  leading and trailing  ",
        "é ☃ \t tab",
        "-x",
        "",
        "\\x41\\n",
        "trailing \\",
    ];
    let mut builder = server.builder();
    let words = ["bin/shop".to_owned(), "{port}".to_owned()].into_iter().chain(hostile.map(str::to_owned));
    builder = builder.command(words);
    for (number, value) in hostile.iter().enumerate() {
        builder = builder.env(format!("HOSTILE_{number}"), Secret::new(*value));
    }
    let runtime = server.set_up(builder).await;
    let prints = format!(
        "shift; for word; do printf '%s\\0' \"$word\"; done > /srv/shop/shared/words; env -0 > /srv/shop/shared/env; {SERVES}"
    );
    let release = target(Slot::Blue, server.release("1.0", &prints));
    runtime.prepare(&release).await.unwrap();
    runtime.start(&release).await.unwrap();
    let until = std::time::Instant::now() + Duration::from_secs(30);
    while runtime.logs(Slot::Blue, 10).await.unwrap().is_empty() {
        assert!(std::time::Instant::now() < until, "it does not speak");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let read = |file: &str| server.exec(&["sh", "-c", "base64 -w0 \"$1\"", "sh", file]);
    let decode = |text: String| {
        use std::io::Write as _;
        let mut child = std::process::Command::new("base64")
            .arg("-d")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    };
    let words = decode(read("/srv/shop/shared/words"));
    assert_eq!(words.split_terminator('\0').collect::<Vec<_>>(), hostile);
    let env = decode(read("/srv/shop/shared/env"));
    for (number, value) in hostile.iter().enumerate() {
        let line = format!("HOSTILE_{number}={value}");
        assert!(env.split('\0').any(|have| have == line), "{line:?} is not in {env:?}");
    }
    assert!(!server.try_exec(&["test", "-e", "/tmp/injected"]));
    let seen =
        server.exec(&["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; stat -c %a /srv/shop/slots/blue/env"]);
    assert!(!seen.contains("HOSTILE_") && seen.ends_with("600"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_own_systemd_needs_no_root_but_for_staying_when_the_user_logs_out() {
    let Some(server) = Server::start() else { return };
    let builder = || {
        bluegreen_release::SystemdRuntime::builder(server.host("deploy"), "shop")
            .user_units()
            .directory("/home/deploy/shop")
            .command(["bin/shop", "{port}"])
    };
    let runtime = builder().build().unwrap();
    let release = target(Slot::Blue, server.release("1.0", SERVES));
    server.exec(&["sh", "-c", "loginctl enable-linger deploy"]);
    runtime.setup().await.unwrap();
    server.exec(&["rm", "/var/lib/systemd/linger/deploy"]);
    let error = runtime.prepare(&release).await.unwrap_err();
    assert!(error.chain().contains("loginctl enable-linger deploy"), "{}", error.chain());
    server.exec(&["loginctl", "enable-linger", "deploy"]);
    runtime.prepare(&release).await.unwrap();
    assert!(runtime.start(&release).await.unwrap().is_running());
    runtime.promoted(Slot::Blue).await.unwrap();
    server.reboot();
    let runtime = builder().build().unwrap();
    assert_eq!(runtime.inspect(Slot::Blue).await.unwrap().to_string(), "running 1.0");
    runtime.stop(Slot::Blue, Duration::from_secs(10)).await.unwrap();
    assert!(!runtime.inspect(Slot::Blue).await.unwrap().is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_cannot_be_read_is_told_with_the_cure() {
    let Some(server) = Server::start() else { return };
    // What runs as the user who deploys, that user can read in any case.
    let runtime = server.set_up(server.builder().user("shop")).await;
    let release = target(Slot::Blue, server.release("1.0", SERVES));
    runtime.prepare(&release).await.unwrap();
    runtime.start(&release).await.unwrap();
    server.exec(&["gpasswd", "-d", "deploy", "systemd-journal"]);
    let runtime = server.builder().user("shop").build().unwrap();
    let lines = runtime.logs(Slot::Blue, 10).await.unwrap();
    assert!(
        matches!(&lines[..], [line] if line.contains("add the user deploy to the group systemd-journal")),
        "{lines:?}"
    );
}
