//! A site that nginx does not show: another one has its name, or its file is not read.

use bluegreen_core::{Effect, Error, ErrorKind, LocalHost, Router, Slot};
use bluegreen_nginx::{NginxConfig, NginxRouter, NginxSymlinkRouter};
use bluegreen_testkit::nginx::TestNginx;
use bluegreen_testkit::traffic::{App, get};

use crate::setup::{BLUE, flags};
use crate::sites::Sites;

/// Writes a site of somebody else for the same name, which nginx reads before ours.
fn squat(nginx: &TestNginx, text: &str) {
    let squatter = format!("server {{ listen {}; server_name shop.test; return 200 {text}; }}", nginx.address());
    std::fs::write(nginx.path("conf.d/a-site.conf"), squatter).unwrap();
    nginx.reload();
}

/// Attaches blue and gives it the traffic, as a first deploy does.
async fn first_deploy(router: &impl Router, app: &App) -> Result<(), Error> {
    router.attach(Slot::Blue, &app.instance()).await?;
    router.shift(None, BLUE).await
}

/// What a first deploy that could not work leaves: nothing, and an nginx whose configuration is as it was.
async fn nothing_is_left(nginx: &TestNginx, router: &impl Router, error: &Error, answer: Option<&str>) {
    assert_eq!(error.effect(), Effect::NotApplied, "{error:?}");
    for name in ["conf.d/shop.conf", "conf.d/.shop.conf.previous", "sites-enabled/shop", "elsewhere/shop.conf"] {
        assert!(nginx.path(name).symlink_metadata().is_err(), "{name} is still there");
    }
    assert_eq!(router.current().await.unwrap(), None);
    let body = get(&nginx.address(), "shop.test", "/").await.ok().map(|answer| answer.body);
    assert_eq!(body.as_deref(), answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_deploy_beside_an_old_site_of_the_same_name_names_that_site_and_leaves_nothing() {
    let app = App::start("blue").await;
    for text in ["old", "blue"] {
        let Some(nginx) = TestNginx::start() else { return };
        squat(&nginx, text);
        let flags = NginxRouter::new(LocalHost::new(), nginx.config("shop")).unwrap();
        let error = first_deploy(&flags, &app).await.unwrap_err();
        names_the_site(&error);
        nothing_is_left(&nginx, &flags, &error, Some(text)).await;

        let links = NginxSymlinkRouter::new(LocalHost::new(), nginx.config("shop")).unwrap();
        let error = first_deploy(&links, &app).await.unwrap_err();
        names_the_site(&error);
        nothing_is_left(&nginx, &links, &error, Some(text)).await;
    }
}

fn names_the_site(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    let text = error.to_string();
    assert!(text.contains("another site answers for shop.test: ") && text.contains("conf.d/a-site.conf"), "{text}");
    assert!(text.contains("conflicting server name \"shop.test\""), "nginx's own warning: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_loses_its_name_to_another_one_is_as_it_was_after_the_next_attach() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let site = s.nginx.read("conf.d/shop.conf");
    squat(&s.nginx, "old");
    let error = s.router.attach(Slot::Green, &App::start("newer").await.instance()).await.unwrap_err();
    names_the_site(&error);
    assert_eq!((s.nginx.read("conf.d/shop.conf"), error.effect()), (site, Effect::NotApplied));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_nginx_does_not_read_is_named_and_taken_away() {
    let app = App::start("blue").await;
    for others in [true, false] {
        let Some(nginx) = TestNginx::start() else { return };
        std::fs::create_dir(nginx.path("elsewhere")).unwrap();
        if others {
            let other = format!("server {{ listen {} default_server; return 404 other; }}", nginx.address());
            std::fs::write(nginx.path("conf.d/other.conf"), other).unwrap();
            nginx.reload();
        }
        let unread = |config: NginxConfig| {
            let path = |name: &str| nginx.path(name).display().to_string();
            let layout = nginx.layout("shop").site_file(path("elsewhere/shop.conf")).link(path("elsewhere/shop"));
            config.layout(layout).confirm_deadline(std::time::Duration::from_secs(3))
        };
        let answer = others.then_some("other");
        let flags = NginxRouter::new(LocalHost::new(), unread(nginx.config("shop"))).unwrap();
        let error = first_deploy(&flags, &app).await.unwrap_err();
        assert!(error.to_string().contains("nginx does not read "), "{error}");
        assert!(error.to_string().contains("elsewhere/*.conf;` to the `http` block"), "{error}");
        nothing_is_left(&nginx, &flags, &error, answer).await;
        let links = NginxSymlinkRouter::new(LocalHost::new(), unread(nginx.config("shop"))).unwrap();
        let error = first_deploy(&links, &app).await.unwrap_err();
        assert!(error.to_string().contains("nginx does not read "), "{error}");
        assert!(nginx.path("elsewhere/shop").symlink_metadata().is_err(), "the link is still there");
        nothing_is_left(&nginx, &links, &error, answer).await;
    }
}
