//! [`ImageBuild`]: an image from a directory; and files out of an image.

mod context;
mod extract;
mod ignore;
mod temp_container;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};

use bluegreen_core::{Error, ErrorKind, Progress, Result};
use bollard::auth::DockerCredentials;
use bollard::body_try_stream;
use bollard::query_parameters::{BuildImageOptionsBuilder, TagImageOptionsBuilder};

use crate::engine::{Answer, BUILDING, Engine, quick};
use crate::image::{Reference, push, registry_error};
use crate::labels;
use context::Context;

/// How many lines of a build's output an error holds.
const LINES_IN_ERROR: usize = 20;

/// Builds an image from a directory of this machine, on any engine.
///
/// What `.dockerignore` names stays here; the rest is streamed to the engine. The engine's classic builder is used,
/// which every engine has: BuildKit's own syntax (`RUN --mount`, `COPY --link`) is not understood. A build that fails
/// or is cut off leaves no container behind. Cheap to repeat: the engine keeps what has not changed.
///
/// ```no_run
/// use std::path::Path;
///
/// use bluegreen_core::Progress;
/// use bluegreen_docker::ImageBuild;
///
/// # async fn example() -> bluegreen_core::Result<()> {
/// let built = ImageBuild::new("/srv/shop")
///     .dockerfile("Dockerfile.release")
///     .build_arg("VERSION", "1.4.0")
///     .tag("registry.internal:5000/shop/api:1.4.0")
///     .push(true)
///     .run(&Progress::none())
///     .await?;
/// built.extract("/app/shop-1.4.0.tar.gz", Path::new("/srv/releases/shop-1.4.0.tar.gz"), &Progress::none()).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct ImageBuild {
    engine: Engine,
    context: PathBuf,
    dockerfile: String,
    tags: Vec<String>,
    arguments: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    target: Option<String>,
    push: bool,
}

/// An image that [`ImageBuild::run`] made.
#[derive(Debug, Clone)]
pub struct BuiltImage {
    engine: Engine,
    id: String,
    digests: BTreeMap<String, String>,
}

impl ImageBuild {
    /// An image from this directory.
    pub fn new(context: impl Into<PathBuf>) -> Self {
        Self {
            engine: Engine::local(),
            context: context.into(),
            dockerfile: "Dockerfile".to_owned(),
            tags: Vec::new(),
            arguments: BTreeMap::new(),
            labels: BTreeMap::new(),
            target: None,
            push: false,
        }
    }

    /// The engine to build on. Default: that of this machine.
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
    }

    /// The file with the instructions, relative to the directory. Default: `Dockerfile`.
    pub fn dockerfile(mut self, path: impl Into<String>) -> Self {
        self.dockerfile = path.into();
        self
    }

    /// Adds a name for the image: `[registry/]repository[:tag]`.
    pub fn tag(mut self, name: impl Into<String>) -> Self {
        self.tags.push(name.into());
        self
    }

    /// Sets a build argument. It is no place for a secret: the image's history shows it.
    pub fn build_arg(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.arguments.insert(name.into(), value.into());
        self
    }

    /// Puts a label on the image. It has one already by which [`ComposeRuntime::prune`](crate::ComposeRuntime::prune)
    /// knows it as ours.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Builds up to this stage of the instructions. Default: the last one.
    pub fn target(mut self, stage: impl Into<String>) -> Self {
        self.target = Some(stage.into());
        self
    }

    /// Sends the image to the registries of its names when it is built. Default: no.
    pub fn push(mut self, push: bool) -> Self {
        self.push = push;
        self
    }

    /// Builds, tags and, where asked to, pushes. The progress shows the bytes that go to the engine and the registry.
    ///
    /// # Errors
    /// `Config` when there is no such directory or file, or a name is not valid; `Unexpected` with the last lines of
    /// the output when an instruction fails; `Timeout` when the engine has said nothing for an hour. The names then
    /// still stand for what they stood for before.
    pub async fn run(&self, progress: &Progress) -> Result<BuiltImage> {
        self.run_inner(progress).await.map_err(|error| {
            error
                .with_operation(format!("build {self}"))
                .with("context", self.context.display())
                .with("engine", &self.engine)
        })
    }

    async fn run_inner(&self, progress: &Progress) -> Result<BuiltImage> {
        let tags = self.tags.iter().map(|tag| tag.parse()).collect::<Result<Vec<Reference>>>()?;
        if let Some(tag) = tags.iter().find(|tag| tag.digest.is_some()) {
            return Err(Error::config(format!("{tag} names content; an image that is built gets a tag")));
        }
        if self.push && tags.is_empty() {
            return Err(Error::config("an image without a name cannot be pushed"));
        }
        let id = self.build(progress).await?;
        let docker = self.engine.docker().await?;
        // Only now that it is whole.
        for tag in &tags {
            let options = TagImageOptionsBuilder::default().repo(&tag.name).tag(tag.tag_or_digest()).build();
            quick("name an image", docker.tag_image(&id, Some(options)))
                .await
                .map_err(|error| error.with("image", tag))?;
        }
        let mut digests = BTreeMap::new();
        if self.push {
            for tag in &tags {
                digests.insert(tag.to_string(), push(&self.engine, tag, progress).await?);
            }
        }
        tracing::info!(id, "built");
        Ok(BuiltImage { engine: self.engine.clone(), id, digests })
    }

    async fn build(&self, progress: &Progress) -> Result<String> {
        let Context { chunks, sent, failure } = context::open(&self.context, &self.dockerfile, progress).await?;
        let connected = self.engine.connected().await?;
        let mut labels: HashMap<&str, &str> =
            self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        labels.insert(labels::BUILT, "true");
        let arguments: HashMap<&str, &str> =
            self.arguments.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut options = BuildImageOptionsBuilder::default()
            .dockerfile(&self.dockerfile)
            .buildargs(&arguments)
            .labels(&labels)
            .rm(true)
            .forcerm(true);
        if let Some(target) = &self.target {
            options = options.target(target);
        }
        let credentials = self.credentials_of_bases(&connected.settings.config).await?;
        let lines = connected.docker.build_image(options.build(), credentials, Some(body_try_stream(chunks)));
        let mut lines = Answer::new(lines, BUILDING).after(sent);
        let (mut id, mut tail) = (None, VecDeque::new());
        loop {
            let line = lines.next().await.map_err(|error| match failure.take() {
                // The engine only saw that the context ended too early.
                Some(own) => own,
                None => with_tail(error, &tail),
            })?;
            let Some(line) = line else { break };
            if let Some(detail) = line.error_detail {
                let message = detail.message.unwrap_or_else(|| "the engine gave no reason".to_owned());
                return Err(with_tail(Error::new(ErrorKind::Unexpected, message), &tail));
            }
            for text in line.stream.unwrap_or_default().lines().map(str::trim_end).filter(|text| !text.is_empty()) {
                tracing::debug!(text, "build");
                tail.push_back(text.to_owned());
                if tail.len() > LINES_IN_ERROR {
                    tail.pop_front();
                }
            }
            id = line.aux.and_then(|aux| aux.id).or(id);
        }
        if let Some(own) = failure.take() {
            return Err(own);
        }
        id.ok_or_else(|| with_tail(Error::new(ErrorKind::Unexpected, "the build ended without an image"), &tail))
    }

    /// The passwords that are stored for registries, for images that the build begins from.
    async fn credentials_of_bases(
        &self,
        config: &serde_json::Value,
    ) -> Result<Option<HashMap<String, DockerCredentials>>> {
        let names =
            |key: &str| config.get(key).and_then(serde_json::Value::as_object).into_iter().flat_map(|map| map.keys());
        let mut found = HashMap::new();
        for registry in names("auths").chain(names("credHelpers")) {
            let host = self.engine.host();
            if let Some(credentials) = crate::image::credentials_for(host, config, registry).await? {
                found.insert(registry.clone(), credentials);
            }
        }
        Ok(Some(found).filter(|found| !found.is_empty()))
    }
}

fn with_tail(error: Error, tail: &VecDeque<String>) -> Error {
    if tail.is_empty() {
        return error.maybe_applied();
    }
    let lines: Vec<_> = tail.iter().map(String::as_str).collect();
    Error::new(error.kind(), format!("{}, after: {}", error.message(), lines.join(" | "))).with_source(error)
}

impl fmt::Display for ImageBuild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tags.as_slice() {
            [] => f.write_str("an image without a name"),
            tags => f.write_str(&tags.join(", ")),
        }
    }
}

impl BuiltImage {
    /// Names its content on the engine.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The digest that it has in the registry, by the name that it was pushed under.
    pub fn digest(&self, name: &str) -> Option<&str> {
        self.digests.get(name).map(String::as_str)
    }

    /// Copies a file or a directory out of the image; see [`Engine::extract`].
    ///
    /// # Errors
    /// Those of [`Engine::extract`].
    pub async fn extract(&self, from: &str, to: &Path, progress: &Progress) -> Result<()> {
        self.engine.extract(&self.id, from, to, progress).await
    }
}

impl Engine {
    /// Sends an image to the registry in its name, and returns the digest that it has there.
    ///
    /// # Errors
    /// `Unauthorized` when the registry refuses, `Unreachable` when it is down, `NotFound` when there is no such image.
    pub async fn push(&self, image: &str, progress: &Progress) -> Result<String> {
        let reference: Reference = image.parse()?;
        push(self, &reference, progress).await.map_err(|error| error.with("engine", self))
    }

    /// Copies a file or a directory out of an image to a path of this machine, where it appears when it is whole. What
    /// is there already is replaced in one step.
    ///
    /// The container that this takes is never started. It is removed before the call returns, and soon after a call that
    /// is cut off. One that is left because the program ended, or was killed, is removed by the next copy from that
    /// engine: at once where the program ran on the machine that copies, otherwise when it is an hour old.
    ///
    /// # Errors
    /// `NotFound` when there is no such image, or nothing at `from` in it; `Timeout` when the engine has sent nothing for
    /// a minute; those of the file system.
    pub async fn extract(&self, image: &str, from: &str, to: &Path, progress: &Progress) -> Result<()> {
        extract::extract(self, image, from, to, progress).await.map_err(|error| {
            let error = error.with_operation(format!("copy {from} out of {image} to {}", to.display()));
            error.with("engine", self)
        })
    }

    /// Fetches an image from its registry, and returns its digest there.
    ///
    /// # Errors
    /// `NotFound` when the registry does not have it, `Unauthorized` when it refuses, `Unreachable` when it is down.
    pub async fn pull(&self, image: &str, progress: &Progress) -> Result<String> {
        let reference: Reference = image.parse()?;
        let pulled =
            crate::image::pull(self, &reference, None, progress).await.map_err(|error| error.with("engine", self))?;
        let missing = || Error::new(ErrorKind::Unexpected, "the registry gives no digest");
        pulled.digest.ok_or_else(|| registry_error(missing(), &reference))
    }
}
