//! A site of static files on one server: releases as directories, a link per slot to its release, and a link to the live slot.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bluegreen_core::host::Script;
use bluegreen_core::{
    Error, ErrorKind, Granularity, Health, HealthCheck, Instance, Result, Router, Runtime, Slot, Split, Stopped,
    Target, Version, split_changed,
};
use bluegreen_release::ReleaseDirectory;
use bluegreen_ssh::SshHost;

/// Links the release, and stores its environment: BASE SLOT VERSION.
const START: Script = Script::new(
    "start a release",
    r#"
lock "$1/lock"
at=$1/slots/$2
[ -d "$1/releases/$3" ] || fail "$1/releases/$3 is not there"
mkdir -p "$at"
there=$(readlink "$at/current") && { [ "${there##*/}" = "$3" ] && reply running || reply "occupied ${there##*/}"; }
put "$at/env"
echo "version $3" | put "$at/record"
ln -sfn "../../releases/$3" "$at/current.new" && mv -T "$at/current.new" "$at/current" || fail "cannot link $at"
reply running
"#,
);

const INSPECT: Script = Script::new(
    "look at a slot",
    r#"
at=$1/slots/$2
there=$(readlink "$at/current") && reply "running ${there##*/}"
[ -f "$at/record" ] || reply absent
reply "stopped $(sed -n 's/^version //p' "$at/record")"
"#,
)
.read_only();

const STOP: Script =
    Script::new("stop a release", r#"[ ! -d "$1" ] || { lock "$1/lock"; rm -f "$1/slots/$2/current"; }"#);

const CURRENT: Script =
    Script::new("read the live link", r#"live=$(readlink "$1/live") || reply none; reply "${live##*/}""#).read_only();

/// Switches the live link from one slot to another: BASE FROM TO.
const SHIFT: Script = Script::new(
    "switch the live link",
    r#"
mkdir -p "$1" && lock "$1/lock"
live=$(readlink "$1/live") || live=none
live=${live##*/}
[ "$live" = "$3" ] && reply switched
[ "$live" = "$2" ] || reply "found $live"
ln -sfn "slots/$3" "$1/live.new" && mv -T "$1/live.new" "$1/live" || fail "cannot switch $1/live"
reply switched
"#,
);

/// Reads which version the live link leads to.
const ANSWERS: Script = Script::new(
    "read the live release",
    r#"there=$(readlink "$1/live/current") && reply "version ${there##*/}"; reply none"#,
)
.read_only();

/// A site on one server. It is the runtime, the router and the check of the member.
#[derive(Debug, Clone)]
pub struct Site {
    host: SshHost,
    directory: String,
    environment: String,
    releases: ReleaseDirectory,
    granularity: Granularity,
}

impl Site {
    pub fn new(host: SshHost, directory: &str, environment: &str, keep: usize) -> Self {
        let releases = ReleaseDirectory::builder(host.clone(), directory).keep_releases(keep).build().unwrap();
        Self {
            host,
            directory: directory.to_owned(),
            environment: environment.to_owned(),
            releases,
            granularity: Granularity::AllOrNothing,
        }
    }

    /// Divides traffic: its live link then names the share of green in percent, for whoever serves it.
    pub fn dividing(mut self) -> Self {
        self.granularity = Granularity::Percent;
        self
    }

    fn on(&self, script: Script, slot: Slot) -> Script {
        script.args([self.directory.clone(), slot.to_string()])
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "site in {} on {}", self.directory, self.host)
    }
}

#[async_trait]
impl Runtime for Site {
    async fn prepare(&self, target: &Target) -> Result<()> {
        self.releases.prepare(target).await
    }

    async fn start(&self, target: &Target) -> Result<Instance> {
        let script = self.on(START, target.slot).arg(target.version().to_string()).stdin(self.environment.as_str());
        let reply = script.run(&self.host).await?;
        match reply.word() {
            "running" => Ok(running(target.version().clone())),
            "occupied" => {
                let what = format!("{} runs in {}", reply.rest(), target.slot);
                Err(Error::new(ErrorKind::Conflict, what).not_applied().with("host", &self.host))
            }
            _ => Err(reply.unexpected()),
        }
    }

    async fn inspect(&self, slot: Slot) -> Result<Instance> {
        let reply = self.on(INSPECT, slot).run(&self.host).await?;
        match reply.word() {
            "running" => Ok(running(Version::new(reply.rest())?)),
            "stopped" => Ok(Instance::Stopped { version: Some(Version::new(reply.rest())?), reason: None }),
            "absent" => Ok(Instance::Absent),
            _ => Err(reply.unexpected()),
        }
    }

    async fn stop(&self, slot: Slot, _grace: Duration) -> Result<Stopped> {
        self.on(STOP, slot).run(&self.host).await.map(|_| Stopped::default())
    }

    /// Files write nothing.
    async fn logs(&self, _slot: Slot, _tail: usize) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Router for Site {
    fn granularity(&self) -> Granularity {
        self.granularity
    }

    async fn current(&self) -> Result<Option<Split>> {
        let reply = CURRENT.arg(&*self.directory).run(&self.host).await?;
        Ok(split(reply.word()))
    }

    async fn attach(&self, _slot: Slot, _instance: &Instance) -> Result<()> {
        Ok(())
    }

    async fn shift(&self, from: Option<Split>, to: Split) -> Result<()> {
        if to.sole().is_none() && self.granularity == Granularity::AllOrNothing {
            return Err(Error::new(ErrorKind::Unsupported, format!("cannot divide traffic: {to}")).not_applied());
        }
        let words = [self.directory.clone(), from.map_or_else(|| "none".to_owned(), word), word(to)];
        let reply = SHIFT.args(words).run(&self.host).await?;
        match reply.word() {
            "switched" => Ok(()),
            "found" => Err(split_changed(from, split(reply.rest())).with("router", self)),
            _ => Err(reply.unexpected()),
        }
    }

    async fn in_flight(&self, _slot: Slot) -> Result<Option<u64>> {
        Ok(None)
    }
}

/// The version that the live link leads to, as it is read on the server.
#[derive(Debug, Clone)]
pub struct Answers(pub Site);

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the live release of the {}", self.0)
    }
}

#[async_trait]
impl HealthCheck for Answers {
    async fn check(&self, _target: &Target, _instance: &Instance) -> Result<Health> {
        let reply = ANSWERS.arg(&*self.0.directory).run(&self.0.host).await?;
        match reply.word() {
            "version" => Ok(Health::healthy_as(Version::new(reply.rest())?)),
            _ => Ok(Health::unhealthy("the live link leads nowhere")),
        }
    }
}

fn running(version: Version) -> Instance {
    Instance::Running { version: Some(version), endpoints: Vec::new() }
}

/// What the live link points to: a slot, or the share of green in percent.
fn word(split: Split) -> String {
    split.sole().map_or_else(|| split.share(Slot::Green).to_string(), |slot| slot.to_string())
}

/// The split of a [`word`]; `None` for what is none.
pub fn split(word: &str) -> Option<Split> {
    match Slot::BOTH.into_iter().find(|slot| slot.to_string() == word) {
        Some(slot) => Some(Split::all(slot)),
        None => Split::toward(Slot::Green, word.parse().ok()?).ok(),
    }
}
