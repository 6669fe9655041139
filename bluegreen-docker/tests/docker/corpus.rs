//! Compose files as people have them, in `tests/corpus`. The first lines of each say what becomes of it:
//!
//! - `expect: deploys`: two versions run side by side, as plain Compose would run one, and each endpoint answers;
//!   `expect: refused`: a plan and `prepare` refuse it, and nothing is changed.
//! - `endpoint:`, `shared:`, `data-shared:`, `data-per-slot:`, `only-while-live:`, `env:`: what the builder is told.
//! - `says:`, `change:`, `note:`: words of the refusal, of the plan's changes, of its notes for the second version; `says-not:`:
//!   advice that would be wrong.
//! - `ends:`: a service that ends with success, and without a word that it may, while the slot is brought up.
//! - `asks:`: an address that a service can fetch; `runs:`: a service that must be there; `same-volume:`: a directory that a
//!   service has in common with the one in the other slot.
//!
//! `corpus_` stands for what no other run has.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bluegreen_core::testing::sample;
use bluegreen_core::{Effect, OperationId, Release, Runtime, Secret, ServiceName, Slot, Target};
use bluegreen_docker::{ComposeRuntime, ComposeRuntimeBuilder};
use futures::{StreamExt, stream};

use crate::support::{Images, docker, docker_ok, get, grace, needs_docker, unique};

/// How many are tried side by side.
const SIDE_BY_SIDE: usize = 4;

/// How many are deployed in a run that is not full.
const DEPLOYED: usize = 12;

/// What all images run.
const SERVES: &str = "trap 'exit 0' TERM INT; mkdir -p /tmp/www; echo it-answers > /tmp/www/index.html; \
                      httpd -p 3000 -h /tmp/www 2>/dev/null; while :; do sleep 1 & wait $!; done";

/// One file, with services of its own name. Dropping it removes what it left.
struct Case {
    name: String,
    service: String,
    file: PathBuf,
    header: Vec<(String, String)>,
}

impl Case {
    fn read(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).unwrap();
        let lines = text.lines().map_while(|line| line.strip_prefix("# "));
        let pairs = lines.filter_map(|line| line.split_once(": "));
        let header = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        Self { name, service: unique("c"), file: file.to_owned(), header }
    }

    fn all(&self, key: &str) -> Vec<&str> {
        self.header.iter().filter(|(have, _)| have == key).map(|(_, value)| value.as_str()).collect()
    }

    fn builder(&self) -> ComposeRuntimeBuilder {
        let words = |key: &str| self.all(key).into_iter().flat_map(|value| value.split(' ').map(str::to_owned));
        let mut builder = ComposeRuntime::builder(&self.service, self.file.to_str().unwrap())
            .state_directory(self.file.with_extension("state").to_str().unwrap())
            .shared(words("shared"))
            .data_shared(words("data-shared"))
            .data_per_slot(words("data-per-slot"))
            .only_while_live(words("only-while-live"));
        for endpoint in self.all("endpoint") {
            let (service, port) = endpoint.split_once(' ').unwrap();
            builder = builder.endpoint(service, service, port.parse().unwrap());
        }
        for (name, value) in self.all("env").into_iter().filter_map(|pair| pair.split_once('=')) {
            builder = builder.env(name, Secret::new(value));
        }
        builder
    }

    fn target(&self, slot: Slot, version: &str) -> Target {
        let service = ServiceName::new(&self.service).unwrap();
        Target::new(service, slot, Release::new(version).unwrap(), OperationId::new("op-1").unwrap())
    }

    fn is_to_deploy(&self) -> bool {
        self.all("expect") == ["deploys"]
    }

    /// What is otherwise than expected. What is not drawn is planned and not deployed.
    async fn problem(&self, is_drawn: bool) -> Option<String> {
        let runtime = self.builder().build().unwrap();
        let done = match self.all("expect")[..] {
            ["deploys"] if is_drawn => self.deploys(&runtime).await,
            ["deploys"] => self.is_planned(&runtime, Slot::Blue, "1.0").await,
            ["refused"] => self.is_refused(&runtime).await,
            _ => Err("it does not say what is expected".to_owned()),
        };
        done.err().map(|problem| format!("{}: {problem}", self.name))
    }

    async fn is_refused(&self, runtime: &ComposeRuntime) -> Result<(), String> {
        let target = self.target(Slot::Green, "1.0");
        let planned = runtime.preview(&target).await.err().ok_or("a plan does not refuse it")?.chain();
        let error = runtime.prepare(&target).await.err().ok_or("it is not refused")?;
        if error.effect() != Effect::NotApplied || !self.containers().is_empty() {
            return Err(format!("something was changed: {error:?}"));
        }
        for told in [planned, error.chain()] {
            for words in self.all("says") {
                if !told.contains(words) {
                    return Err(format!("{words:?} is not in: {told}"));
                }
            }
            for words in self.all("says-not") {
                if told.contains(words) {
                    return Err(format!("{words:?} is in: {told}"));
                }
            }
        }
        Ok(())
    }

    async fn is_planned(&self, runtime: &ComposeRuntime, slot: Slot, version: &str) -> Result<(), String> {
        let planned = runtime.preview(&self.target(slot, version)).await;
        let planned = planned.map_err(|error| format!("planned: {error:?}"))?;
        let (changes, notes) = (planned.changes.unwrap_or_default(), planned.notes.join("\n"));
        let missing = self.all("change").into_iter().find(|words| !changes.contains(words));
        let missing = missing
            .or_else(|| self.all("note").into_iter().find(|words| slot == Slot::Green && !notes.contains(words)));
        missing.map_or(Ok(()), |words| Err(format!("{words:?} is not in the plan:\n{changes}\n{notes}")))
    }

    async fn deploys(&self, runtime: &ComposeRuntime) -> Result<(), String> {
        for (slot, version) in [(Slot::Blue, "1.0"), (Slot::Green, "2.0")] {
            self.is_planned(runtime, slot, version).await?;
            let target = self.target(slot, version);
            runtime.prepare(&target).await.map_err(|error| format!("prepared {version}: {error:?}"))?;
            runtime.start(&target).await.map_err(|error| format!("started {version}: {error:?}"))?;
            let ended = runtime.supervise(&target, Box::pin(self.have_ended(slot))).await;
            ended.map_err(|error| format!("supervised {version}: {error:?}"))?;
        }
        for slot in Slot::BOTH {
            let found = runtime.inspect(slot).await.map_err(|error| format!("{error:?}"))?;
            if !found.to_string().starts_with("running") {
                return Err(format!("{slot} is {found}"));
            }
            for endpoint in found.endpoints() {
                if !get(&endpoint.address).contains("it-answers") {
                    return Err(format!("{endpoint} of {slot} does not answer"));
                }
            }
            for (service, url) in self.all("asks").into_iter().filter_map(|asks| asks.split_once(' ')) {
                let answer = docker(&["exec", &self.container(slot, service)?, "wget", "-q", "-O-", url]);
                if !String::from_utf8_lossy(&answer.stdout).contains("it-answers") {
                    return Err(format!("{service} of {slot} does not reach {url}: {answer:?}"));
                }
            }
            for service in self.all("runs") {
                self.container(slot, service)?;
            }
        }
        for (service, directory) in self.all("same-volume").into_iter().filter_map(|same| same.split_once(' ')) {
            let [blue, green] = [self.container(Slot::Blue, service)?, self.container(Slot::Green, service)?];
            let file = format!("{directory}/of-both");
            docker_ok(&["exec", &blue, "touch", &file]);
            if !docker(&["exec", &green, "test", "-e", &file]).status.success() {
                return Err(format!("{directory} of {service} is not one for both slots"));
            }
        }
        runtime.stop(Slot::Blue, grace()).await.map_err(|error| format!("{error:?}"))?;
        let third = self.target(Slot::Blue, "3.0");
        runtime.prepare(&third).await.map_err(|error| format!("prepared a third: {error:?}"))?;
        runtime.start(&third).await.map(drop).map_err(|error| format!("started a third: {error:?}"))
    }

    /// Waits until those have ended that are to end.
    async fn have_ended(&self, slot: Slot) -> bluegreen_core::Result<()> {
        while self.all("ends").into_iter().any(|service| self.container(slot, service).is_ok()) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    fn container(&self, slot: Slot, service: &str) -> Result<String, String> {
        let project = format!("label=com.docker.compose.project={}-{slot}", self.service);
        let label = format!("label=com.docker.compose.service={service}");
        let found = docker_ok(&["ps", "-q", "--filter", &project, "--filter", &label]);
        found.lines().next().map(str::to_owned).ok_or_else(|| format!("{service} does not run in {slot}"))
    }

    fn containers(&self) -> String {
        docker_ok(&["ps", "-aq", "--filter", &format!("label=bluegreen.service={}", self.service)])
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        self.containers().lines().for_each(|id| drop(docker(&["rm", "-f", "-v", id])));
        for project in ["blue", "green", "shared"].map(|end| format!("{}-{end}", self.service)) {
            let label = format!("label=com.docker.compose.project={project}");
            for kind in ["network", "volume"] {
                docker_ok(&[kind, "ls", "-q", "--filter", &label])
                    .lines()
                    .for_each(|id| drop(docker(&[kind, "rm", id])));
            }
        }
        let name = format!("bluegreen/{}-*", self.service);
        for image in docker_ok(&["images", "--format", "{{.Repository}}:{{.Tag}}", &name]).lines() {
            docker(&["rmi", "-f", image]);
        }
    }
}

fn copy(from: &Path, to: &Path, images: &str, own: &str) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target, images, own),
            false => {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                std::fs::write(target, text.replace("IMAGES", images).replace("corpus_", own)).unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compose_files_as_people_have_them_deploy_side_by_side_or_are_refused_with_the_cure() {
    needs_docker!();
    // Nobody listens there: what is on the engine is used.
    let (images, folder) = (Images::new(&format!("127.0.0.1:1/{}", unique("corpus"))), tempfile::tempdir().unwrap());
    let first = images.make("web:1.0", SERVES);
    for image in ["web:2.0", "web:3.0", "postgres:16", "mysql:8.0", "clickhouse:24", "redis:7"] {
        docker_ok(&["tag", &first, &images.name(image)]);
    }
    copy(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus"),
        folder.path(),
        images.prefix(),
        &format!("{}_", unique("corpus")),
    );
    let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let only = std::env::var("CORPUS").unwrap_or_default();
    let files = files.filter(|file| file.is_file() && file.to_str().unwrap().contains(&only));
    let cases: Vec<_> = files.map(|file| Case::read(&file)).collect();
    assert!(only.is_empty() || !cases.is_empty());
    let count = cases.len();
    let deployed = cases.iter().filter(|case| case.is_to_deploy()).map(|case| case.name.clone());
    let drawn = &sample(deployed, DEPLOYED, |_| ());
    let tried = stream::iter(cases).map(async |case| case.problem(drawn.contains(&case.name)).await);
    let problems: Vec<_> = tried.buffer_unordered(SIDE_BY_SIDE).filter_map(async |problem| problem).collect().await;
    let told = problems.iter().fold(String::new(), |mut told, problem| {
        let _ = writeln!(told, "{problem}");
        told
    });
    assert!(problems.is_empty() && (count >= 30 || !only.is_empty()), "{} of {count}:\n{told}", problems.len());
}
