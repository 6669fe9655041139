//! What the servers have to allow, and what they cannot do.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bluegreen_core::testing::part_is_here;
use bluegreen_core::{Effect, Router, Slot, Split};
use bluegreen_floatingip::Lingering;
use bluegreen_testkit::lab::{Namespace, NamespaceHost, Network, serve};
use tokio::io::AsyncWriteExt;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

use super::moves::{quick, router, vip};

const BLUE: Split = Split::all(Slot::Blue);
const GREEN: Split = Split::all(Slot::Green);

/// The account `nobody`.
const NOBODY: [&str; 5] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];

/// The rules of sudo inside of a namespace, for as long as it lives: `ip netns exec` puts them in the place of the
/// machine's own.
struct Sudoers(PathBuf);

impl Sudoers {
    fn of(namespace: &Namespace, rule: &str) -> Self {
        let own = Self(PathBuf::from("/etc/netns").join(namespace.name()));
        std::fs::create_dir_all(&own.0).unwrap();
        let file = own.0.join("sudoers");
        std::fs::write(&file, format!("Defaults secure_path=/usr/sbin:/usr/bin:/sbin:/bin\n{rule}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o440)).unwrap();
        own
    }
}

impl Drop for Sudoers {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
        // Unless there are others.
        let _ = std::fs::remove_dir("/etc/netns");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_not_root_is_found_before_anything_moves() {
    let Some(network) = Network::create() else { return };
    let address = Network::address(Network::V4);
    router(&network, address, Lingering::Leave).shift(None, BLUE).await.unwrap();
    let vip = vip(address, Lingering::Leave, |slot| NamespaceHost::of(network.server(slot)).by(&NOBODY));
    let error = quick(vip).shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!(error.effect(), Effect::NotApplied);
    assert!(error.to_string().contains("not root: moving an address needs root, or sudo"), "{error}");
    assert_eq!(network.sole_holder(Network::V4), Slot::Blue);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_moves_the_address_when_sudo_allows_it_sh_and_not_when_it_allows_ip_alone() {
    let Some(network) = Network::create() else { return };
    let there = std::process::Command::new("sudo").arg("-V").output().is_ok_and(|output| output.status.success());
    if !part_is_here("sudo", there, "it is not installed") {
        return;
    }
    let address = Network::address(Network::V4);
    router(&network, address, Lingering::Leave).shift(None, BLUE).await.unwrap();
    let by_sudo =
        || quick(vip(address, Lingering::Reset, |slot| NamespaceHost::of(network.server(slot)).by(&NOBODY)).sudo(true));
    let allow = |rule: &str| Slot::BOTH.map(|slot| Sudoers::of(network.server(slot), rule));
    let rules = allow("nobody ALL=(root) NOPASSWD: /usr/sbin/ip, /usr/bin/ip, /bin/ip, /usr/bin/ss, /bin/ss");
    let error = by_sudo().shift(Some(BLUE), GREEN).await.unwrap_err();
    assert_eq!(error.effect(), Effect::NotApplied, "{error}");
    assert!(error.to_string().contains("sudo"), "{error}");
    assert_eq!(network.sole_holder(Network::V4), Slot::Blue);
    drop(rules);
    let _rules = allow("nobody ALL=(root) NOPASSWD: /bin/sh");
    by_sudo().shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(network.sole_holder(Network::V4), Slot::Green);
}

/// Collects the warnings of a thread.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                self.0 += &format!("{field}={value:?} ");
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Moves the address away under an open connection, and gives the warnings of that.
async fn warnings_of_a_move(by: &[&str]) -> Option<Vec<String>> {
    let network = Network::create()?;
    serve(&network).await;
    let address = Network::address(Network::V4);
    let vip = vip(address, Lingering::Reset, |slot| NamespaceHost::of(network.server(slot)).by(by));
    let router = quick(vip);
    router.shift(None, BLUE).await.unwrap();
    let open = network.client.run(async move {
        let mut server = tokio::net::TcpStream::connect((address, 80)).await.unwrap();
        server.write_all(b"GET /drip HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
        server
    });
    let _open = open.await;
    let warnings = Warnings::default();
    let collecting = tracing::subscriber::set_default(warnings.clone());
    router.shift(Some(BLUE), GREEN).await.unwrap();
    drop(collecting);
    assert_eq!(network.sole_holder(Network::V4), Slot::Green);
    let mut told = warnings.0.lock().unwrap().clone();
    // What the kernel says while another test's network is being removed.
    told.retain(|warning| !warning.contains("Peer netns reference is invalid"));
    Some(told)
}

// On one thread, whose warnings are collected.
#[tokio::test]
async fn connections_that_the_kernel_did_not_reset_are_told() {
    let folder = std::env::temp_dir().join(format!("bg{}-ss", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).unwrap();
    // As on a kernel that cannot close sockets for others: `ss -K` succeeds, and closes none.
    let (real, idle) = (folder.join("real"), folder.join("idle"));
    let found =
        ["/usr/bin/ss", "/bin/ss", "/usr/sbin/ss", "/sbin/ss"].into_iter().find(|ss| std::fs::exists(ss).unwrap());
    let result = match found {
        Some(ss) => {
            std::fs::copy(ss, &real).unwrap();
            let text = format!("#!/bin/sh\n[ \"$1\" = -K ] || exec {} \"$@\"\n", real.display());
            std::fs::write(&idle, text).unwrap();
            std::fs::set_permissions(&idle, std::fs::Permissions::from_mode(0o755)).unwrap();
            // `ip netns exec` has mounts of its own, which end with the command.
            let mount = format!("mount --bind {} {ss} && exec \"$@\"", idle.display());
            let told = warnings_of_a_move(&["sh", "-c", &mount, "sh"]).await;
            let silent = warnings_of_a_move(&[]).await;
            told.zip(silent)
        }
        None => {
            let _ = part_is_here("ss", false, "it is not installed");
            None
        }
    };
    let _ = std::fs::remove_dir_all(&folder);
    let Some((told, silent)) = result else { return };
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("1 connections of 10.77.0.100 could not be reset"), "{told:?}");
    assert!(silent.is_empty(), "{silent:?}");
}
