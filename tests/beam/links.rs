//! The layout that many servers have: a file for each slot, and a link to the one that is live, by `NginxSymlinkRouter`.

use bluegreen_core::Slot;
use bluegreen_core::pipeline::PipelineBuilder;
use bluegreen_core::testing::{Fault, Faults, Faulty};
use bluegreen_nginx::{NginxConfig, NginxSymlinkRouter};
use bluegreen_testkit::beam::APP;

use crate::setup::Server;

fn site(server: &Server) -> NginxConfig {
    let [blue, green] = server.ports().map(|port| format!("127.0.0.1:{port}"));
    let site: NginxConfig = serde_json::from_value(server.nginx.settings(APP)).unwrap();
    site.default_server(true).slots(([blue], [green]))
}

fn by_links(server: &Server, site: NginxConfig) -> PipelineBuilder {
    server.builder().router(NginxSymlinkRouter::new(server.settings().host().unwrap(), site).unwrap())
}

/// A reload may drop requests on kept connections, so clients ask by fresh ones here.
#[tokio::test(flavor = "multi_thread")]
async fn deploys_rollbacks_and_recoveries_in_the_layout_with_links_lose_no_request_on_a_fresh_connection() {
    let Some(server) = Server::start() else { return };
    let pipeline = by_links(&server, site(&server)).build().unwrap();
    pipeline.deploy(server.release("1.0.0", "")).await.unwrap();
    assert_eq!(server.public_version().await, "1.0.0");
    let clients = server.fresh_clients();
    pipeline.deploy(server.release("2.0.0", "")).await.unwrap();
    assert_eq!(server.public_version().await, "2.0.0");
    let link = server.nginx.link(&format!("sites-enabled/{APP}")).unwrap();
    assert!(link.ends_with(&format!("{APP}-green")), "{link}");
    let status = pipeline.status().await.unwrap();
    assert!(status.agrees() && status.observed.live == Some(Slot::Green), "{status}");
    pipeline.rollback().await.unwrap();
    assert_eq!(server.public_version().await, "1.0.0");

    // The deployer dies in its shift: before the link is there, and after it.
    for (version, fault) in [("3.0.0", Fault::Die), ("3.1.0", Fault::ApplyThenDie)] {
        let faults = Faults::new();
        let router = NginxSymlinkRouter::new(server.settings().host().unwrap(), site(&server)).unwrap();
        let dying = server.builder().router(Faulty::new(router, &faults)).build().unwrap();
        faults.on("router.shift", fault);
        assert!(faults.run(dying.deploy(server.release(version, ""))).await.is_none(), "{version}: it lives");
        let report = pipeline.recover().await.unwrap();
        assert_eq!(report.outcome.word(), "rolled back", "{report}");
        assert_eq!(server.public_version().await, "1.0.0");
        let status = pipeline.status().await.unwrap();
        assert!(status.agrees() && status.lease().is_none() && status.operation().is_none(), "{status}");
    }
    pipeline.deploy(server.release("4.0.0", "")).await.unwrap();
    assert_eq!(server.public_version().await, "4.0.0");
    let seen = clients.stop().await;
    assert_eq!(seen.failed, 0, "{:?}", seen.first_failure);
    assert!(["1.0.0", "2.0.0", "4.0.0"].iter().all(|version| seen.answered[*version] > 20), "{seen:?}");
}
