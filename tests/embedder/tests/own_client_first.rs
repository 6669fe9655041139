//! The program's own clients are built before anything of ours. A process of its own: it is about the state of one.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use bluegreen_embedder::{own_clients, set_up_ours};

#[tokio::test]
async fn a_programs_own_http_client_works_before_and_after_ours_is_set_up() {
    let server = support::page().await;
    support::ask_with(own_clients().unwrap(), &server).await;
    set_up_ours().unwrap();
    support::ask_with(own_clients().unwrap(), &server).await;
    support::nothing_is_installed();
}
