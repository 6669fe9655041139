//! The same on a server that is reached over SSH alone: its engine, its nginx, its slots' ports.

use std::sync::Arc;

use bluegreen_core::{Effect, ErrorKind, Host, HostStateStore, Pipeline, Slot};
use bluegreen_docker::{ComposeRuntimeBuilder, Engine};
use bluegreen_ssh::SshHost;
use bluegreen_testkit::process::user;
use bluegreen_testkit::ssh::{Sshd, sshd_is_here};

use crate::server::{Server, none_failed, quick};

/// The example's pipeline, with nothing done on this machine but what the runtime's builder says.
fn pipeline(server: &Server, host: &Arc<dyn Host>, runtime: ComposeRuntimeBuilder) -> Pipeline {
    let state = server.shop.folder.join("state").display().to_string();
    quick(server.shop.pipeline_on(host, runtime).unwrap())
        .store(HostStateStore::new(host.clone(), state))
        .build()
        .unwrap()
}

fn address(sshd: &Sshd) -> String {
    format!("{}@127.0.0.1:{}", user(), sshd.port())
}

/// Under traffic: a good release, and one that is none.
async fn takes_good_releases_and_no_bad_one(server: &Server, pipeline: &Pipeline) {
    server.deploy_by(pipeline, "1.0.0", "none").await.unwrap();
    server.is_settled_on("1.0.0").await;
    let clients = server.clients(150);
    let report = server.deploy_by(pipeline, "1.1.0", "none").await.unwrap();
    assert_eq!(report.slot, Some(Slot::Green), "{report}");
    server.is_settled_on("1.1.0").await;
    let failed = server.deploy_by(pipeline, "9.0.1", "crash").await.unwrap_err();
    let report = failed.report().unwrap_or_else(|| panic!("no report: {}", failed.chain()));
    assert!(!report.logs.is_empty(), "its last lines came over: {report}");
    server.is_settled_on("1.1.0").await;
    none_failed(clients).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compose_and_its_files_may_be_on_the_server() {
    if !sshd_is_here() {
        return;
    }
    let Some(server) = Server::start().await else { return };
    let sshd = Sshd::start();
    let host = SshHost::builder(address(&sshd)).key_file(sshd.key()).known_hosts(sshd.known_hosts());
    let host: Arc<dyn Host> = Arc::new(host.build().unwrap());
    takes_good_releases_and_no_bad_one(&server, &pipeline(&server, &host, server.shop.runtime().host(host.clone())))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_named_by_ssh_is_deployed_to_with_the_files_that_are_here() {
    if !sshd_is_here() {
        return;
    }
    let Some(server) = Server::start().await else { return };
    let sshd = Sshd::start();
    let (key, known_hosts) = (sshd.key(), sshd.known_hosts());
    let host = move |server: &str| SshHost::builder(server).key_file(&key).known_hosts(&known_hosts).build();
    let address = format!("ssh://{}", address(&sshd));
    let engine = Engine::local().address(&address).over_ssh(host);
    let there = engine.server().await.unwrap();
    takes_good_releases_and_no_bad_one(&server, &pipeline(&server, &there, server.shop.runtime().engine(engine))).await;

    // A server whose key is not known is refused before anything is asked of it.
    let stranger = Engine::local().address(&address).over_ssh(|server| SshHost::builder(server).build());
    let error = stranger.ping().await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unauthorized, Effect::NotApplied), "{}", error.chain());
}
