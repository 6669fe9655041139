//! Answers that are no answers.

use std::time::Duration;

use bluegreen_core::{ErrorKind, Router};
use bluegreen_testkit::fakes::Fault;

use super::setup::{BLUE, OnDigitalOcean, V4};

#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_html_is_shown_on_one_line_without_control_characters() {
    let on = OnDigitalOcean::at_blue(V4).await;
    on.server.fail("GET", "", 9, Fault::html(503));
    let error = on.router().current().await.unwrap_err().to_string();
    assert!(error.contains("503 Service Unavailable with text/html, which is no JSON: <html>"), "{error}");
    assert!(!error.contains('\n') && !error.contains('\u{1b}'), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_end_is_read_no_further_than_its_limit() {
    let on = OnDigitalOcean::at_blue(V4).await;
    on.server.fail("GET", "", 9, Fault::Endless);
    let error = on.router().current().await.unwrap_err().to_string();
    assert!(error.contains("with more than 1048576 bytes"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_is_waited_for_until_the_deadline() {
    let on = OnDigitalOcean::at_blue(V4).await;
    on.server.fail("GET", "", 1, Fault::Slow(Duration::from_millis(300)));
    assert_eq!(on.router().current().await.unwrap(), Some(BLUE));
    on.server.fail("GET", "", 9, Fault::Slow(Duration::from_secs(60)));
    let error = on.builder().deadline(Duration::from_millis(300)).build().current().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_of_another_shape_is_an_error_and_not_nobody() {
    for body in [serde_json::json!({}), serde_json::json!([]), serde_json::json!({ "reserved_ip": null })] {
        let on = OnDigitalOcean::at_blue(V4).await;
        on.server.fail("GET", "/reserved_ips", 9, Fault::json(200, body));
        let error = on.router().current().await.unwrap_err();
        assert!(error.to_string().contains("not what was expected"), "{error}");
    }
}
