//! Releases that pass every test, and turn bad under traffic.

use crate::server::{Server, ending, none_failed, quick};
use crate::tool::Shop;

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_turns_bad_under_traffic_is_rolled_back_by_itself_with_its_log() {
    let Some(server) = Server::start().await else { return };
    server.deploy("1.0.0").await.unwrap();
    let clients = server.clients(600);
    let watched = || quick(Shop::watched(server.shop.pipeline().unwrap()).unwrap()).build().unwrap();

    let good = server.deploy_by(&watched(), "1.1.0", "none").await.unwrap();
    assert!(good.to_string().contains("requests failed, the limit is 1 %"), "{good}");
    server.is_settled_on("1.1.0").await;

    let cases = [("8.0.0", "errors-after=40", "gate: errors"), ("8.0.1", "slow-after=40", "gate: slow requests")];
    for (version, bug, told) in cases {
        let (word, error) = ending(server.deploy_by(&watched(), version, bug).await);
        let report = error.report().unwrap();
        assert_eq!(word, "rolled back", "{bug}: {report}");
        assert!(error.chain().contains(told) && error.chain().contains("of the old slot's"), "{bug}: {report}");
        assert!(report.logs.iter().any(|line| line.contains(&format!("{version} listens on port"))), "{bug}: {report}");
        server.is_settled_on("1.1.0").await;
    }
    let seen = none_failed(clients).await;
    let (bad, all) = (seen.own_errors["8.0.0"], seen.sent);
    assert!(seen.own_errors.len() == 1 && bad < all / 100, "few users have seen it: {seen:?}");
}
