//! What a release's compose files come to in a slot, and what two slots need otherwise.

use std::collections::BTreeMap;

use bluegreen_core::{Command, Error, Result, Target};

use super::ComposeRuntime;
use crate::analysis::{self, Findings, Kind, Question};
use crate::compose::Project;
use crate::engine::Engine;

pub(super) struct Arrangement {
    /// All services, as the files have them.
    pub(super) whole: Project,
    /// Those that run in the slot.
    pub(super) project: Project,
    pub(super) findings: Findings,
    /// What is at the paths that are mounted.
    kinds: BTreeMap<String, Kind>,
    replaces: bool,
}

/// Reads the compose files, and changes nothing.
pub(super) async fn arrange(runtime: &ComposeRuntime, target: &Target) -> Result<Arrangement> {
    let whole = runtime.read_project(target).await?;
    let inner = &*runtime.inner;
    let mut project = whole.clone();
    project.services.retain(|name, _| !inner.wishes.shared.contains(name));
    let replaces = inner.compose.program().await?.replaces();
    let (kinds, findings) = (BTreeMap::new(), Findings::default());
    let mut arrangement = Arrangement { whole, project, findings, kinds, replaces };
    let paths = analysis::paths(&arrangement.question(runtime, target));
    arrangement.kinds = kinds_of(&inner.slots.engine, paths).await?;
    arrangement.findings = analysis::analyze(&arrangement.question(runtime, target));
    let patch = &arrangement.findings.patch;
    for (name, service) in &mut arrangement.project.services {
        if patch.get(["services", name, "container_name"]).is_some() {
            service.container_name = None;
        }
    }
    Ok(arrangement)
}

impl Arrangement {
    /// An error where two slots of it cannot be.
    pub(super) fn accepted(self) -> Result<Self> {
        match self.findings.refusal() {
            None => Ok(self),
            Some(refusal) => Err(self.warned(refusal)),
        }
    }

    /// Adds what Compose warned of while it read the files: a variable that is not set is often why something fails.
    pub(super) fn warned(&self, error: Error) -> Error {
        match self.whole.warnings.is_empty() {
            true => error,
            false => error.with("Compose warns", self.whole.warnings.join("; ")),
        }
    }

    pub(super) fn question<'a>(&'a self, runtime: &'a ComposeRuntime, target: &Target) -> Question<'a> {
        let inner = &*runtime.inner;
        Question {
            project: &self.whole,
            project_name: inner.project_name(target.slot),
            shared_name: &inner.shared_project,
            slot: target.slot,
            wishes: &inner.wishes,
            kinds: &self.kinds,
            replaces: self.replaces,
        }
    }
}

/// Says of each path on the engine's machine what it is.
async fn kinds_of(engine: &Engine, paths: Vec<String>) -> Result<BTreeMap<String, Kind>> {
    if paths.is_empty() {
        return Ok(BTreeMap::new());
    }
    let server = engine.server().await?;
    let script =
        r#"for path; do if [ -d "$path" ]; then echo d; elif [ -e "$path" ]; then echo o; else echo a; fi; done"#;
    let command = Command::script(script).called("look at the paths that are mounted").args(paths.clone());
    let output = server.run(&command).await?.ok(&command, &server)?;
    let kind = |word: &str| match word {
        "d" => Kind::Directory,
        "o" => Kind::Other,
        _ => Kind::Absent,
    };
    let text = output.text();
    Ok(paths.into_iter().zip(text.lines().map(kind)).collect())
}
