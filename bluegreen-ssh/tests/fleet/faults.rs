//! A member that fails in a deploy over real servers is set aside and named, and the others are on the new version.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use bluegreen_core::event::EventKind;
use bluegreen_core::fleet::Unreachable;
use bluegreen_core::pipeline::PipelineBuilder;
use bluegreen_core::testing::{part_is_here, sample};
use bluegreen_core::{Release, Report, observer};
use bluegreen_testkit::process::run;
use bluegreen_testkit::ssh::sshd_is_here;
use tempfile::TempDir;

use crate::servers::{Server, fleet, pipeline};

/// The steps of a deploy to servers, but for the look before it begins.
const STEPS: [&str; 6] = ["prepare", "start", "health", "attach", "shift-100", "verify"];

struct Lab {
    servers: Vec<Server>,
    scratch: TempDir,
}

impl Lab {
    fn start() -> Self {
        let servers = (1..=3).map(|number| Server::start(format!("web{number}"))).collect();
        Self { servers, scratch: tempfile::tempdir().unwrap() }
    }

    fn build(&self, version: &str, bytes: usize) -> Release {
        let path: PathBuf = self.scratch.path().join(version);
        std::fs::create_dir_all(&path).unwrap();
        let noise: Vec<u8> = (0..bytes).map(|at| (at * at / 7 + at / 251) as u8).collect();
        std::fs::write(path.join("noise"), noise).unwrap();
        std::fs::write(path.join("index.html"), version).unwrap();
        Release::new(version).unwrap().with_artifact(path)
    }

    fn pipeline(&self) -> PipelineBuilder {
        let fleet = fleet(&self.servers).max_failures(1).unreachable(Unreachable::Skip).build().unwrap();
        pipeline(&fleet, &self.scratch.path().join("state")).verify_deadline(Duration::from_secs(5))
    }

    fn versions(&self) -> Vec<String> {
        self.servers.iter().map(|server| server.version().unwrap_or_default()).collect()
    }
}

/// The members that were set aside, each with the reason.
fn aside(report: &Report) -> Vec<(String, String)> {
    let aside = report.members.iter().filter_map(|member| Some((member, member.record.set_aside.as_ref()?)));
    aside.map(|(member, aside)| (member.name.to_string(), aside.reason.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_sshd_is_killed_in_any_step_is_set_aside_and_brought_up_later() {
    if !sshd_is_here() {
        return;
    }
    let mut lab = Lab::start();
    lab.pipeline().build().unwrap().deploy(lab.build("1.0", 10)).await.unwrap();
    for (number, step) in
        sample(STEPS, 1, |step| *step == "verify" || step.starts_with("shift")).into_iter().enumerate()
    {
        let (before, version) = (lab.versions(), format!("1.{}", number + 1));
        let kill = lab.servers[1].sshd.killer();
        let pipeline = lab.pipeline().observer(observer::from_fn(move |event| {
            let begins = matches!(event.what, EventKind::StepStarted { .. });
            if begins && event.step.as_ref().is_some_and(|now| now.to_string() == step) {
                kill();
            }
        }));
        let release = lab.build(&version, 10);
        let report = pipeline.build().unwrap().deploy(release.clone()).await;
        let report = report.unwrap_or_else(|failed| panic!("killed in {step}: {failed}"));
        let now = lab.versions();
        match &aside(&report)[..] {
            [(name, reason)] => assert!(name == "web2" && !reason.is_empty(), "killed in {step}: {report}"),
            // The last look at it may have been answered before.
            [] if step == "verify" => assert_eq!(now, [&*version; 3], "killed in {step}: {report}"),
            _ => panic!("killed in {step}: {report}"),
        }
        assert!(now[0] == version && now[2] == version, "killed in {step}: {now:?}");
        assert!(now[1] == before[1] || now[1] == version, "killed in {step}: {now:?}");

        lab.servers[1].sshd.restart();
        let resumed = lab.pipeline().build().unwrap().resume(release).await.unwrap();
        assert!(aside(&resumed).is_empty(), "killed in {step}: {resumed}");
        assert_eq!(lab.versions(), [&*version; 3], "killed in {step}");
    }
}

/// A file system of its own, which is gone with this.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_disk_is_full_is_set_aside_with_that_reason() {
    let is_root = rustix::process::geteuid().is_root();
    if !sshd_is_here() || !part_is_here("a file system of its own", is_root, "run the test as root") {
        return;
    }
    let lab = Lab::start();
    let small = Mounted(lab.servers[1].directory.clone());
    std::fs::create_dir(&small.0).unwrap();
    run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&small.0));
    lab.pipeline().build().unwrap().deploy(lab.build("1.0", 10)).await.unwrap();
    let report = lab.pipeline().build().unwrap().deploy(lab.build("1.1", 3 << 20)).await.unwrap();
    let [(name, reason)] = &aside(&report)[..] else { panic!("{report}") };
    assert!(name == "web2" && reason.contains("no room"), "{report}");
    assert_eq!(lab.versions(), ["1.1", "1.0", "1.1"]);
}
