//! A host elsewhere: its socket is reached through a tunnel.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bluegreen_core::{Command, Host, LocalHost, Output, Result, Router, Slot, Tunnel};
use bluegreen_haproxy::{HaproxyRouter, Mode};
use bluegreen_testkit::host::Shell;
use bluegreen_testkit::traffic::{App, get};
use tokio::net::{UnixListener, UnixStream};

use crate::setup::{BLUE, GREEN, generated, share, start};

/// This machine, with every socket behind a forwarder.
#[derive(Debug, Clone, Default)]
struct FarHost {
    connections: Arc<AtomicU64>,
}

impl fmt::Display for FarHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("web1")
    }
}

#[async_trait]
impl Shell for FarHost {
    async fn execute(&self, command: &Command) -> Result<Output> {
        LocalHost::new().run(command).await
    }

    async fn reach(&self, address: &str) -> Result<Tunnel> {
        let there = address.strip_prefix("unix:").unwrap().to_owned();
        let directory = tempfile::tempdir()?;
        let here = directory.path().join("socket");
        let listener = UnixListener::bind(&here)?;
        let connections = Arc::clone(&self.connections);
        let mut forwards = tokio::task::JoinSet::new();
        forwards.spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                let Ok(mut far) = UnixStream::connect(&there).await else { continue };
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            }
        });
        Ok(Tunnel::guarded(format!("unix:{}", here.display()), (forwards, directory)))
    }
}

bluegreen_testkit::host_with_local_files!(FarHost);

#[tokio::test(flavor = "multi_thread")]
async fn a_far_haproxy_is_switched_through_a_tunnel_with_one_connection_to_look_and_one_to_change() {
    let Some(haproxy) = start(generated(1), Mode::Http) else { return };
    let host = FarHost::default();
    let builder = HaproxyRouter::builder(host.clone(), "shop").socket(haproxy.socket().display().to_string());
    let router = builder.state_directory(haproxy.path("state").display().to_string()).build().unwrap();
    assert_eq!(router.to_string(), "HAProxy backend shop on web1");
    let (blue, green) = (App::start("blue").await, App::start("green").await);
    router.attach(Slot::Blue, &blue.instance()).await.unwrap();
    router.attach(Slot::Green, &green.instance()).await.unwrap();
    router.shift(None, BLUE).await.unwrap();
    let counted = |before: u64| host.connections.load(Ordering::Relaxed) - before;
    let before = counted(0);
    router.shift(Some(BLUE), share(10)).await.unwrap();
    assert_eq!(counted(before), 2);
    assert_eq!(router.current().await.unwrap(), Some(share(10)));
    assert_eq!(counted(before), 3);
    router.shift(Some(share(10)), GREEN).await.unwrap();
    assert_eq!(get(&haproxy.address(), "shop.test", "/").await.unwrap().body, "green");
}
