//! What the tests share: a registry with images, the `docker` command, and how many run side by side.

use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, Weak};

use bluegreen_core::Progress;
use bluegreen_core::testing::part_is_here;
use bluegreen_docker::{Engine, ImageBuild};
use bluegreen_examples::registry::Registry;
use bluegreen_examples::shop_image;
use tempfile::TempDir;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Each deploy has three containers, an nginx and clients.
const SIDE_BY_SIDE: usize = 2;

/// Waits until not too many others run.
pub(crate) async fn turn() -> OwnedSemaphorePermit {
    static TURNS: Mutex<Option<Arc<Semaphore>>> = Mutex::new(None);
    let turns = TURNS.lock().unwrap().get_or_insert_with(|| Arc::new(Semaphore::new(SIDE_BY_SIDE))).clone();
    turns.acquire_owned().await.unwrap()
}

/// Whether all is here.
pub(crate) fn parts_are_here() -> bool {
    let answers = |words: &[&str]| {
        let output = Command::new(words[0]).args(&words[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        output.is_ok_and(|status| status.success())
    };
    let parts: [(&str, &str, &[&str]); 5] = [
        ("a Docker engine", "start one with .ci/start-dockerd", &["docker", "version"]),
        ("docker compose", "install it with .ci/install-compose-v2", &["docker", "compose", "version"]),
        ("docker-compose", "install docker-compose", &["docker-compose", "version"]),
        ("docker-registry", "install docker-registry", &["docker-registry", "--version"]),
        ("nginx", "install nginx-light", &["nginx", "-v"]),
    ];
    parts.into_iter().all(|(part, advice, words)| part_is_here(part, answers(words), advice))
}

/// A registry, and the images that were pushed to it. Dropping it removes both.
pub(crate) struct Images {
    pub(crate) registry: Mutex<Registry>,
    pub(crate) name: String,
    engine: Engine,
    folder: TempDir,
    made: tokio::sync::Mutex<BTreeSet<String>>,
}

impl Images {
    /// One for all tests that run at the same time.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Images>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap();
        shared.upgrade().unwrap_or_else(|| {
            let images = Self::new(Engine::local());
            *shared = Arc::downgrade(&images);
            images
        })
    }

    /// One of a test's own, for this engine.
    pub(crate) fn new(engine: Engine) -> Arc<Self> {
        let folder = tempfile::Builder::new().prefix("bluegreen-images-").tempdir().unwrap();
        let registry = Registry::start(folder.path().join("registry")).unwrap().unwrap();
        shop_image::context(&folder.path().join("image")).unwrap();
        let name = format!("{}/shop", registry.address());
        Arc::new(Self { registry: Mutex::new(registry), name, engine, folder, made: Default::default() })
    }

    /// Builds and pushes a version, once. It does not stay on the engine under this name, so that it must be pulled.
    pub(crate) async fn publish(&self, version: &str, bug: &str) {
        let mut made = self.made.lock().await;
        if !made.insert(version.to_owned()) {
            return;
        }
        let build = ImageBuild::new(self.folder.path().join("image")).engine(self.engine.clone());
        let build = build.build_arg("VERSION", version).build_arg("BUG", bug).label("bluegreen.test", &self.name);
        build.tag(format!("{}:{version}", self.name)).push(true).run(&Progress::none()).await.unwrap();
    }

    /// The same for a version that is so many bytes of noise, and no program.
    pub(crate) async fn publish_large(&self, version: &str, bytes: usize) {
        let context = self.folder.path().join("large");
        std::fs::create_dir(&context).unwrap();
        std::fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY noise /\n").unwrap();
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(bytes).collect();
        std::fs::write(context.join("noise"), noise).unwrap();
        let build = ImageBuild::new(&context).engine(self.engine.clone()).label("bluegreen.test", &self.name);
        build.tag(format!("{}:{version}", self.name)).push(true).run(&Progress::none()).await.unwrap();
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        let label = format!("label=bluegreen.test={}", self.name);
        // A removal uncovers what it was built upon.
        for _ in 0..3 {
            for id in lines(&["images", "-q", "--filter", &label]) {
                docker(&["rmi", "-f", &id]);
            }
        }
    }
}

pub(crate) fn docker(arguments: &[&str]) -> Output {
    Command::new("docker").args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// The lines that a command printed.
pub(crate) fn lines(arguments: &[&str]) -> Vec<String> {
    String::from_utf8_lossy(&docker(arguments).stdout).lines().map(str::to_owned).collect()
}

/// A request over a connection of its own: status and body.
pub(crate) fn get(address: std::net::SocketAddr, path: &str) -> std::io::Result<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
