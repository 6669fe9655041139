//! What others put into our sites, as certbot does: it is not lost, and it is said.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::memory::{MemoryHealth, MemoryRuntime, MemoryStateStore};
use bluegreen_core::pipeline::Outcome;
use bluegreen_core::testing::{Fault, Faults, Faulty};
use bluegreen_core::{
    Effect, Endpoint, Error, ErrorKind, Instance, LocalHost, Pipeline, Preview, Reason, Release, Router, Runtime, Slot,
    Target, Version,
};
use bluegreen_nginx::{NginxRouter, NginxSymlinkRouter};
use bluegreen_testkit::nginx::TestNginx;
use bluegreen_testkit::traffic::{App, get};

use crate::setup::{BLUE, GREEN, flags, links};
use crate::sites::Sites;

const SITE: &str = "conf.d/shop.conf";
const BLUES_SITE: &str = "sites-available/shop-blue";
const GREENS_SITE: &str = "sites-available/shop-green";

/// Adds a line to a site as certbot does, and reloads.
fn edit(nginx: &TestNginx, site: &str) -> String {
    let text = nginx.read(site).replacen(
        "    server_name",
        "    add_header X-Theirs yes always; # managed by Certbot\n    server_name",
        1,
    );
    std::fs::write(nginx.path(site), &text).unwrap();
    nginx.reload();
    text
}

fn is_refused(error: &Error) {
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied), "{error:?}");
    assert_eq!(error.reason(), Some(Reason::ChangedElsewhere), "{error:?}");
    let lines = error.context("differing lines");
    assert_eq!(lines, Some("+add_header X-Theirs yes always; # managed by Certbot"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_put_into_the_site_is_not_overwritten_and_what_differs_is_told() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let (edited, newer) = (edit(&s.nginx, SITE), App::start("newer").await);
    is_refused(&s.router.attach(Slot::Green, &newer.instance()).await.unwrap_err());
    is_refused(&s.router.preview(Slot::Green).await.unwrap_err());
    assert_eq!(s.nginx.read(SITE), edited);
    // What needs no other text, a rollback for one, is not held up by it.
    s.router.attach(Slot::Green, &s.green.instance()).await.unwrap();
    s.router.shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!((s.nginx.read(SITE), s.get().await.body.as_str()), (edited.clone(), "green"));

    // Whoever asks for it overwrites it, and an undo brings it back.
    let config = s.nginx.config("shop").overwrite_changes(true);
    let overwriting = NginxRouter::new(LocalHost::new(), config).unwrap();
    assert_eq!(overwriting.preview(Slot::Blue).await.unwrap(), Preview::default());
    overwriting.attach(Slot::Blue, &newer.instance()).await.unwrap();
    assert!(!s.nginx.read(SITE).contains("X-Theirs") && s.nginx.read(SITE).contains(&newer.address()));
    overwriting.detach(Slot::Green).await.unwrap();
    assert!(s.nginx.read(SITE).contains(&newer.address()), "it was not attached for that slot");
    overwriting.detach(Slot::Blue).await.unwrap();
    assert_eq!(s.nginx.read(SITE), edited);
    overwriting.detach(Slot::Blue).await.unwrap();
    assert_eq!((s.nginx.read(SITE), s.current().await.unwrap()), (edited, Some(GREEN)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_nobody_here_wrote_is_not_overwritten() {
    let Some(nginx) = TestNginx::start() else { return };
    let theirs = format!("server {{ listen {}; server_name shop.test; return 200 theirs; }}\n", nginx.address());
    std::fs::write(nginx.path(SITE), &theirs).unwrap();
    let app = App::start("blue").await;
    let router = NginxRouter::new(LocalHost::new(), nginx.config("shop")).unwrap();
    let error = router.attach(Slot::Blue, &app.instance()).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::ChangedElsewhere), "{error:?}");
    assert_eq!(nginx.read(SITE), theirs);
    // Another file that nginx minds says nothing about this one.
    std::fs::write(nginx.path("conf.d/broken.conf"), "nonsense on;").unwrap();
    let error = router.attach(Slot::Blue, &app.instance()).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::ChangedElsewhere), "{error:?}");
    assert_eq!(nginx.read(SITE), theirs);
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_does_not_move_away_from_what_others_put_into_the_live_slots_site() {
    let Some(s) = links(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let edited = edit(&s.nginx, BLUES_SITE);
    let green = s.nginx.read(GREENS_SITE);
    is_refused(&s.router.attach(Slot::Green, &s.green.instance()).await.unwrap_err());
    is_refused(&s.router.preview(Slot::Green).await.unwrap_err());
    // With the same change in the other site, all is well.
    let both = green.replacen("    server_name", "    add_header X-Theirs yes always;\n    server_name", 1);
    std::fs::write(s.nginx.path(GREENS_SITE), &both).unwrap();
    s.router.attach(Slot::Green, &s.green.instance()).await.unwrap();
    s.router.shift(Some(BLUE), GREEN).await.unwrap();
    assert_eq!(s.get().await.header("x-theirs"), Some("yes"));
    // And so is the way back to a slot that was not touched since.
    s.router.attach(Slot::Blue, &s.blue.instance()).await.unwrap();
    assert_eq!((s.nginx.read(BLUES_SITE), s.nginx.read(GREENS_SITE)), (edited.clone(), both));

    let config = s.nginx.config("shop").overwrite_changes(true);
    let overwriting = NginxSymlinkRouter::new(LocalHost::new(), config).unwrap();
    let newer = App::start("newer").await;
    let next = Instance::Running {
        version: Some(Version::new("2.0.0").unwrap()),
        endpoints: newer.instance().endpoints().to_vec(),
    };
    overwriting.attach(Slot::Blue, &next).await.unwrap();
    assert!(s.nginx.read(BLUES_SITE).contains(&newer.address()));
    overwriting.detach(Slot::Blue).await.unwrap();
    assert_eq!(s.nginx.read(BLUES_SITE), edited);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nginx_warned_of_is_noted_before_the_next_deploy() {
    let Some(s) = flags(TestNginx::start(), |config| config).await else { return };
    s.first().await;
    let second = format!("server {{ listen {}; server_name shop.test; return 200 theirs; }}", s.nginx.address());
    std::fs::write(s.nginx.path("conf.d/z.conf"), second).unwrap();
    s.router.attach(Slot::Green, &App::start("newer").await.instance()).await.unwrap();
    let notes = s.router.preview(Slot::Green).await.unwrap().notes;
    assert!(notes.iter().any(|note| note.contains("conflicting server name \"shop.test\"")), "{notes:?}");
}

/// Releases in memory, each start at an address of its own.
#[derive(Debug, Clone)]
struct Moving {
    inner: MemoryRuntime,
    apps: Arc<Vec<String>>,
    starts: Arc<Mutex<BTreeMap<Slot, usize>>>,
}

impl Moving {
    fn over(apps: &[App]) -> Self {
        let apps = apps.iter().map(App::address).collect::<Vec<_>>().into();
        Self { inner: MemoryRuntime::new(), apps, starts: Arc::default() }
    }

    fn placed(&self, slot: Slot, instance: Instance) -> Instance {
        let Instance::Running { version, .. } = instance else { return instance };
        let address = &self.apps[self.starts.lock().unwrap()[&slot]];
        Instance::Running { version, endpoints: vec![Endpoint::http(address)] }
    }
}

impl fmt::Display for Moving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("releases that move")
    }
}

#[async_trait]
impl Runtime for Moving {
    async fn prepare(&self, target: &Target) -> Result<(), Error> {
        self.inner.prepare(target).await
    }

    async fn start(&self, target: &Target) -> Result<Instance, Error> {
        let started = self.inner.start(target).await?;
        {
            let mut starts = self.starts.lock().unwrap();
            let next = starts.values().max().map_or(0, |last| last + 1);
            starts.insert(target.slot, next);
        }
        Ok(self.placed(target.slot, started))
    }

    async fn inspect(&self, slot: Slot) -> Result<Instance, Error> {
        Ok(self.placed(slot, self.inner.inspect(slot).await?))
    }

    async fn stop(&self, slot: Slot, grace: Duration) -> Result<bluegreen_core::Stopped, Error> {
        self.inner.stop(slot, grace).await
    }

    async fn logs(&self, slot: Slot, tail: usize) -> Result<Vec<String>, Error> {
        self.inner.logs(slot, tail).await
    }
}

/// A pipeline over nginx, whose calls go wrong as the faults say.
fn pipeline(router: impl Router, runtime: &Moving, faults: &Faults) -> Pipeline {
    Pipeline::builder("shop")
        .runtime(runtime.clone())
        .router(Faulty::new(router, faults))
        .store(MemoryStateStore::new())
        .health(MemoryHealth::new())
        .verify(MemoryHealth::new())
        .check_interval(Duration::from_millis(10))
        .drain(Duration::from_millis(100))
        .build()
        .unwrap()
}

fn release(version: &str) -> Release {
    Release::new(version).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undone_deploy_leaves_the_sites_that_were_there_before_it() {
    let apps = [App::start("one").await, App::start("two").await, App::start("three").await, App::start("four").await];
    for symlinks in [false, true] {
        let Some(nginx) = TestNginx::start() else { return };
        let (runtime, faults) = (Moving::over(&apps), Faults::new());
        let config = nginx.config("shop").overwrite_changes(true);
        let pipeline = match symlinks {
            false => pipeline(NginxRouter::new(LocalHost::new(), config).unwrap(), &runtime, &faults),
            true => pipeline(NginxSymlinkRouter::new(LocalHost::new(), config).unwrap(), &runtime, &faults),
        };
        pipeline.deploy(release("1.0.0")).await.unwrap();
        let files: &[&str] = if symlinks { &[BLUES_SITE, GREENS_SITE] } else { &[SITE] };
        let edited = edit(&nginx, files[0]);
        let all = || files.iter().map(|file| std::fs::read_to_string(nginx.path(file)).ok()).collect::<Vec<_>>();
        let before = all();
        for (version, fault) in [("2.0.0", Fault::Fail), ("2.0.1", Fault::ApplyThenFail)] {
            faults.on("router.shift to 100 % green", fault);
            let error = pipeline.deploy(release(version)).await.unwrap_err();
            let report = error.report().unwrap();
            assert!(matches!(report.outcome, Outcome::RolledBack { .. }), "{report}");
            assert_eq!(all(), before, "symlinks {symlinks}, {version}: {report}");
            let answer = get(&nginx.address(), "shop.test", "/").await.unwrap();
            assert_eq!(
                (answer.body.as_str(), answer.header("x-theirs")),
                ("one", Some("yes")),
                "what was edited is in force"
            );
        }
        assert!(nginx.test().0 && edited.contains("X-Theirs"));
        pipeline.deploy(release("2.0.2")).await.unwrap();
        assert_eq!(get(&nginx.address(), "shop.test", "/").await.unwrap().body, "four");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_has_traffic_is_not_taken_away_by_the_undo_of_a_deploy_that_attached_nothing() {
    let (blue, green) = (App::start("blue").await, App::start("green").await);
    let Some(nginx) = TestNginx::start() else { return };
    // With fixed addresses, only the first attach of all writes anything.
    let config = nginx.config("shop").slots(([blue.address()], [green.address()]));
    let router = NginxRouter::new(LocalHost::new(), config).unwrap();
    let instance = |app: &App, version: &str| Instance::Running {
        version: Some(Version::new(version).unwrap()),
        endpoints: vec![Endpoint::http(app.address())],
    };
    router.attach(Slot::Blue, &instance(&blue, "1.0.0")).await.unwrap();
    router.shift(None, BLUE).await.unwrap();
    for attached in [false, true] {
        if attached {
            router.attach(Slot::Green, &instance(&green, "2.0.0")).await.unwrap();
        }
        router.shift(router.current().await.unwrap(), GREEN).await.unwrap();
        router.detach(Slot::Blue).await.unwrap();
        assert_eq!(get(&nginx.address(), "shop.test", "/").await.unwrap().body, "green");
        router.shift(Some(GREEN), BLUE).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_that_would_lose_what_others_wrote_is_refused_and_plan_and_status_say_so_before() {
    let apps = [App::start("one").await, App::start("two").await];
    for symlinks in [false, true] {
        let Some(nginx) = TestNginx::start() else { return };
        let (runtime, faults) = (Moving::over(&apps), Faults::new());
        let config = nginx.config("shop");
        let pipeline = match symlinks {
            false => pipeline(NginxRouter::new(LocalHost::new(), config).unwrap(), &runtime, &faults),
            true => pipeline(NginxSymlinkRouter::new(LocalHost::new(), config).unwrap(), &runtime, &faults),
        };
        pipeline.deploy(release("1.0.0")).await.unwrap();
        let site = if symlinks { BLUES_SITE } else { SITE };
        let edited = edit(&nginx, site);
        let plan = pipeline.plan(&release("2.0.0")).await.unwrap();
        let refusal = plan.refusal.unwrap();
        assert_eq!(refusal.reason, Some(Reason::ChangedElsewhere), "{refusal}");
        assert!(refusal.to_string().contains("managed by Certbot"), "{refusal}");
        let status = pipeline.status().await.unwrap();
        assert!(status.notes.iter().any(|note| note.contains("managed by Certbot")), "{status}");
        let error = pipeline.deploy(release("2.0.0")).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::ChangedElsewhere), "{error:?}");
        assert!(matches!(error.report().unwrap().outcome, Outcome::Refused { .. }), "{error:?}");
        assert_eq!(nginx.read(site), edited);
        assert_eq!(runtime.inspect(Slot::Green).await.unwrap(), Instance::Absent, "nothing was begun");
    }
}
