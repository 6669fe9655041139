//! Where the token goes, and where it does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bluegreen_core::{ErrorKind, Router, Secret};
use bluegreen_floatingip::{DigitalOceanBalancer, DigitalOceanIp, FloatingIpRouter, HetznerBalancer, HetznerIp};
use bluegreen_testkit::fakes::{Ending, Fault, Front, TOKEN};

use super::setup::{BLUE, GREEN, OnDigitalOcean, OnHetzner, SERVERS, V4};

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_never_followed() {
    let met = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&met);
    let elsewhere = Front::start(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        None
    })
    .await;
    let to: &'static str = Box::leak(elsewhere.url().into_boxed_str());
    let headers: &'static [(&str, &str)] = Box::leak(Box::new([("location", to)]));
    for status in [301, 302, 307, 308] {
        let on = OnDigitalOcean::at_blue(V4).await;
        on.server.fail("GET", "", 9, Fault::Answer(status, headers, String::new()));
        let error = on.router().current().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unexpected);
        assert!(error.to_string().contains("a redirect is never followed with a token"), "{error}");
    }
    assert_eq!(met.load(Ordering::Relaxed), 0, "the token went elsewhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_in_no_error_even_if_the_answer_repeats_it() {
    let on = OnDigitalOcean::at_blue(V4).await;
    let provider = on.provider();
    assert!(!format!("{provider:?} {provider}").contains(TOKEN));
    let router = on.router();
    assert!(!format!("{router:?} {router}").contains(TOKEN));
    for fault in [
        Fault::refusal(401, "unauthorized", TOKEN),
        Fault::refusal(403, TOKEN, "no"),
        Fault::json(422, serde_json::json!({ "id": "x", "message": "y", "request_id": TOKEN })),
        Fault::Answer(400, &[("content-type", "text/html")], format!("<p>Bearer {TOKEN}</p>")),
        Fault::Answer(429, &[("retry-after", "4000")], format!("{TOKEN} is too fast")),
    ] {
        on.server.fail("POST", "/actions", 1, fault.clone());
        let error = router.shift(Some(BLUE), GREEN).await.unwrap_err();
        let shown = format!("{error:?} {}", error.chain());
        assert!(!shown.contains(TOKEN), "{fault:?}: {shown}");
    }
}

/// Answers that say success, with words that end up in errors.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_in_no_error_either_if_an_answer_that_says_success_repeats_it_and_long_words_are_cut() {
    let shown = |error: bluegreen_core::Error| format!("{error:?} {}", error.chain());
    let mut errors = Vec::new();
    let endless: &'static str = Box::leak(format!("{TOKEN} {}", "x".repeat(5000)).into_boxed_str());

    let on = OnDigitalOcean::at_blue(V4).await;
    on.server.answer_freely();
    on.cloud.set_droplet(22, endless, false);
    errors.push(shown(on.router().shift(Some(BLUE), GREEN).await.unwrap_err()));
    let stranger = serde_json::json!({ "reserved_ip": { "droplet": { "id": 33, "name": endless } } });
    on.server.fail("GET", "/reserved_ips", 1, Fault::json(200, stranger));
    errors.push(shown(on.router().current().await.unwrap_err()));
    on.cloud.set_droplet(22, "active", false);
    let strange = serde_json::json!({ "action": { "id": 1, "status": endless } });
    on.cloud.actions_take(Duration::from_secs(2));
    on.server.fail("GET", "/actions/", 999, Fault::json(200, strange));
    let hasty = on.builder().deadline(Duration::from_secs(1)).build();
    errors.push(shown(hasty.shift(Some(BLUE), GREEN).await.unwrap_err()));

    let on = OnHetzner::at_blue().await;
    on.server.answer_freely();
    on.cloud.set_server(22, endless, false);
    errors.push(shown(on.router().shift(Some(BLUE), GREEN).await.unwrap_err()));
    on.cloud.set_server(22, "running", false);
    on.cloud.next_action(Ending::Errored);
    let failed = serde_json::json!({ "id": 1, "status": "error", "error": { "code": TOKEN, "message": endless } });
    on.server.fail("GET", "/v1/actions/", 1, Fault::json(200, serde_json::json!({ "action": failed })));
    errors.push(shown(on.router().shift(Some(BLUE), GREEN).await.unwrap_err()));
    let running = serde_json::json!({ "actions": [{ "id": TOKEN, "status": "running", "command": endless }] });
    on.server.fail("GET", "/actions", 999, Fault::json(200, running));
    let hasty = on.builder().deadline(Duration::from_secs(1)).build();
    errors.push(shown(hasty.shift(Some(BLUE), GREEN).await.unwrap_err()));

    for (index, text) in errors.iter().enumerate() {
        assert!(text.contains("***"), "{index}: nothing of it was shown: {text}");
        assert!(!text.contains(TOKEN), "{index}: {text}");
        assert!(text.len() < 2500, "{index}: {} bytes", text.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_unauthorized() {
    let on = OnDigitalOcean::at_blue(V4).await;
    let provider = DigitalOceanIp::new(Secret::new("wrong"), V4.parse().unwrap(), SERVERS).unwrap();
    let provider = provider.api(&on.server.url()).unwrap();
    let error = FloatingIpRouter::new(provider).current().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.to_string().contains("is the token right"), "{error}");
}

#[test]
fn it_is_sent_over_https_only_except_to_this_machine() {
    for bad in ["http://api.example.com", "http://192.0.2.1:8080", "ftp://127.0.0.1", "https://user:pass@example.com"] {
        let token = || Secret::new(TOKEN);
        let errors = [
            DigitalOceanIp::new(token(), V4.parse().unwrap(), SERVERS).unwrap().api(bad).unwrap_err(),
            HetznerIp::new(token(), 7, SERVERS).unwrap().api(bad).unwrap_err(),
            DigitalOceanBalancer::new(token(), "4de7ac8b").unwrap().api(bad).unwrap_err(),
            HetznerBalancer::new(token(), 7).unwrap().api(bad).unwrap_err(),
        ];
        assert!(errors.iter().all(|error| error.kind() == ErrorKind::Config), "{bad}");
    }
}
