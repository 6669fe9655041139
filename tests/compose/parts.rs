//! What the tests share: a registry with images, and how many run side by side.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};

use bluegreen_core::Progress;
use bluegreen_docker::{Engine, ImageBuild};
use bluegreen_examples::registry::Registry;
use bluegreen_examples::shop_image;
use bluegreen_testkit::docker::{compose_is_here, docker, docker_lines};
use bluegreen_testkit::nginx::nginx_is_here;
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
    compose_is_here() && nginx_is_here()
}

/// A registry, and the images that were pushed to it. Dropping it removes both.
pub(crate) struct Images {
    pub(crate) registry: Mutex<Registry>,
    pub(crate) name: String,
    /// Of the engine that builds them; this machine's where there is none.
    engine: Option<String>,
    folder: TempDir,
    made: tokio::sync::Mutex<BTreeSet<String>>,
}

impl Images {
    /// One for all tests that run at the same time.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Images>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap();
        shared.upgrade().unwrap_or_else(|| {
            let images = Self::new();
            *shared = Arc::downgrade(&images);
            images
        })
    }

    /// One of a test's own.
    pub(crate) fn new() -> Arc<Self> {
        Self::made_by(None)
    }

    /// The same with images that are built by the engine at this address.
    pub(crate) fn by(engine: &str) -> Arc<Self> {
        Self::made_by(Some(engine.to_owned()))
    }

    fn made_by(engine: Option<String>) -> Arc<Self> {
        let folder = tempfile::Builder::new().prefix("bluegreen-images-").tempdir().unwrap();
        let registry = Registry::start(folder.path().join("registry")).unwrap().unwrap();
        shop_image::context(&folder.path().join("image")).unwrap();
        let name = format!("{}/shop", registry.address());
        Arc::new(Self { registry: Mutex::new(registry), name, engine, folder, made: Default::default() })
    }

    /// Builds and pushes a version, once. It does not stay on the engine, so that the first deploy of it has to fetch it: all
    /// of it, because no two versions have a layer in common.
    pub(crate) async fn publish(&self, version: &str, bug: &str) {
        self.publish_with(version, bug, 0).await;
    }

    /// The same for one with so many bytes of noise.
    pub(crate) async fn publish_with(&self, version: &str, bug: &str, noise: usize) {
        let mut made = self.made.lock().await;
        if !made.insert(version.to_owned()) {
            return;
        }
        let (common, context) = (self.folder.path().join("image"), self.folder.path().join(version));
        std::fs::create_dir(&context).unwrap();
        std::fs::copy(common.join("Dockerfile"), context.join("Dockerfile")).unwrap();
        std::fs::copy(common.join("shop"), context.join("shop")).unwrap();
        // What follows a program in its file is nothing to it.
        let mut program = File::options().append(true).open(context.join("shop")).unwrap();
        program.write_all(version.as_bytes()).unwrap();
        program.write_all(&random(noise)).unwrap();
        self.build_and_push(&context, version, bug).await;
        std::fs::remove_dir_all(context).unwrap();
    }

    /// A version that is so many bytes of noise, and no program.
    pub(crate) async fn publish_noise(&self, version: &str, bytes: usize) {
        let context = self.folder.path().join(version);
        std::fs::create_dir(&context).unwrap();
        std::fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY noise /\n").unwrap();
        std::fs::write(context.join("noise"), random(bytes)).unwrap();
        self.build_and_push(&context, version, "none").await;
    }

    async fn build_and_push(&self, context: &Path, version: &str, bug: &str) {
        let (name, host) = (self.name_of(version), self.engine.as_deref());
        let engine = host.map_or_else(Engine::local, |address| Engine::local().address(address));
        let build = ImageBuild::new(context).engine(engine).build_arg("VERSION", version).build_arg("BUG", bug);
        let build = build.label("bluegreen.test", &self.name).tag(&name).push(true);
        let mut built = build.run(&Progress::none()).await;
        // Seen once: the engine's builder does not find the layer that it made a step before.
        if built.as_ref().is_err_and(|error| error.chain().contains("unable to find image \"sha256:")) {
            built = build.run(&Progress::none()).await;
        }
        built.unwrap();
        let words = host.map_or_else(Vec::new, |address| vec!["--host", address]);
        let removed = docker(&[&words[..], &["image", "rm", &name]].concat());
        assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
        assert!(!docker(&[&words[..], &["image", "inspect", &name]].concat()).status.success(), "{name} stays");
    }

    /// The image of a version.
    pub(crate) fn name_of(&self, version: &str) -> String {
        format!("{}:{version}", self.name)
    }
}

/// Bytes that cannot be compressed.
fn random(bytes: usize) -> Vec<u8> {
    std::iter::repeat_with(|| fastrand::u8(..)).take(bytes).collect()
}

impl Drop for Images {
    fn drop(&mut self) {
        let label = format!("label=bluegreen.test={}", self.name);
        // A removal uncovers what it was built upon.
        for _ in 0..3 {
            for id in docker_lines(&["images", "-q", "--filter", &label]) {
                docker(&["rmi", "-f", &id]);
            }
        }
    }
}
