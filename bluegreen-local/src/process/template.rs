//! The command of the service, with placeholders that are filled in for each start.

use std::path::PathBuf;

use bluegreen_core::{Error, ErrorKind, Result, Target};

/// The placeholders that stand for a word of their own.
const PLACEHOLDERS: &str = "{artifact}, {port}, {service}, {setting:NAME}, {slot}, {version}";

/// The program, its arguments and its directory, as the user wrote them.
#[derive(Debug, Clone, Default)]
pub(super) struct Template {
    pub(super) program: String,
    pub(super) args: Vec<String>,
    pub(super) directory: Option<String>,
}

/// A template filled in for one start.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CommandLine {
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) directory: Option<PathBuf>,
}

impl Template {
    /// Refuses what could not be filled in for any release.
    pub(super) fn validate(&self) -> Result<()> {
        self.texts().try_for_each(|text| parse(text).map(drop))
    }

    /// The program and the directory of this release, which must be there: what can be known before a port is.
    pub(super) fn check(&self, target: &Target) -> Result<()> {
        self.fill(target, 0).map(drop)
    }

    /// The words for this release and port.
    pub(super) fn fill(&self, target: &Target, port: u16) -> Result<CommandLine> {
        let fill = |text: &str| fill(text, target, port);
        let directory = match &self.directory {
            None => None,
            Some(directory) => {
                let path = PathBuf::from(fill(directory)?);
                if !path.is_dir() {
                    return Err(missing("the working directory is not there").with("path", path.display()));
                }
                Some(path)
            }
        };
        let program = resolve(fill(&self.program)?, directory.as_deref())?;
        let args = self.args.iter().map(|arg| fill(arg)).collect::<Result<_>>()?;
        Ok(CommandLine { program, args, directory })
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        [&self.program].into_iter().chain(&self.args).chain(&self.directory).map(String::as_str)
    }
}

enum Piece<'a> {
    Literal(&'a str),
    Placeholder(&'a str),
}

/// `{name}` is a placeholder; `{{` and `}}` stand for the braces themselves.
fn parse(text: &str) -> Result<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        pieces.push(Piece::Literal(before));
        if from.starts_with("{{") || from.starts_with("}}") {
            pieces.push(Piece::Literal(&from[..1]));
            rest = &from[2..];
            continue;
        }
        let name = from.strip_prefix('{').and_then(|from| from.split_once('}')).map(|(name, _)| name);
        match name {
            Some(name) if is_known(name) => pieces.push(Piece::Placeholder(name)),
            _ => {
                return Err(Error::config(format!("{text:?} holds a placeholder that is not known"))
                    .with_hint(format!("known are {PLACEHOLDERS}; write {{{{ and }}}} for braces")));
            }
        }
        rest = &from[name.map_or(0, str::len) + 2..];
    }
    pieces.push(Piece::Literal(rest));
    Ok(pieces)
}

fn is_known(name: &str) -> bool {
    matches!(name, "artifact" | "port" | "service" | "slot" | "version")
        || name.strip_prefix("setting:").is_some_and(|key| !key.is_empty())
}

fn fill(text: &str, target: &Target, port: u16) -> Result<String> {
    let mut filled = String::new();
    for piece in parse(text)? {
        match piece {
            Piece::Literal(literal) => filled.push_str(literal),
            Piece::Placeholder("port") => filled.push_str(&port.to_string()),
            Piece::Placeholder("service") => filled.push_str(target.service.as_str()),
            Piece::Placeholder("slot") => filled.push_str(target.slot.as_str()),
            Piece::Placeholder("version") => filled.push_str(target.version().as_str()),
            Piece::Placeholder("artifact") => filled.push_str(artifact(target)?),
            Piece::Placeholder(setting) => filled.push_str(setting_of(target, setting)?),
        }
    }
    if filled.contains('\0') {
        return Err(Error::config("a command must not contain a NUL character"));
    }
    Ok(filled)
}

fn artifact(target: &Target) -> Result<&str> {
    let artifact = target.release.artifact().ok_or_else(|| {
        Error::config("the command needs {artifact}, and the release has none")
            .with("version", target.version())
            .with_hint("give the release one: Release::with_artifact(path)")
    })?;
    artifact.to_str().ok_or_else(|| Error::config("the artifact's path is not UTF-8").with("path", artifact.display()))
}

fn setting_of<'a>(target: &'a Target, placeholder: &str) -> Result<&'a str> {
    let key = placeholder.strip_prefix("setting:").unwrap_or(placeholder);
    target.release.setting(key).ok_or_else(|| {
        Error::config(format!("the command needs the setting {key:?}, and the release has none of that name"))
            .with("version", target.version())
    })
}

/// The full path of the program, which must be an executable file: a word with a slash is a path, any other is looked
/// up in `PATH`.
fn resolve(program: String, directory: Option<&std::path::Path>) -> Result<PathBuf> {
    let candidates: Vec<PathBuf> = if program.contains('/') {
        let base = match directory {
            Some(directory) => directory.to_owned(),
            None => std::env::current_dir()
                .map_err(|error| Error::from(error).not_applied().with_operation("find the present directory"))?,
        };
        vec![std::path::absolute(base.join(&program)).unwrap_or_else(|_| base.join(&program))]
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).filter(|folder| folder.is_absolute()).map(|folder| folder.join(&program)).collect()
    };
    let is_executable =
        |path: &&PathBuf| path.is_file() && rustix::fs::access(*path, rustix::fs::Access::EXEC_OK).is_ok();
    if let Some(found) = candidates.iter().find(is_executable) {
        return Ok(found.clone());
    }
    match candidates.iter().find(|path| path.is_file()) {
        Some(plain) => Err(Error::config("the program is not executable")
            .with("path", plain.display())
            .with_hint(format!("make it so: chmod +x {}", bluegreen_core::host::quote(&plain.display().to_string())))),
        None if program.contains('/') => Err(missing("the program is not there").with("path", candidates[0].display())),
        None => Err(missing("the program is in no directory of PATH").with("program", program)),
    }
}

fn missing(message: &'static str) -> Error {
    Error::new(ErrorKind::NotFound, message).not_applied()
}

#[cfg(test)]
mod tests {
    use bluegreen_core::{OperationId, Release, ServiceName, Slot};

    use super::*;

    fn target(release: Release) -> Target {
        Target::new(ServiceName::new("shop").unwrap(), Slot::Green, release, OperationId::new("op-1").unwrap())
    }

    fn template(program: &str, args: &[&str]) -> Template {
        Template { program: program.to_owned(), args: args.iter().map(ToString::to_string).collect(), directory: None }
    }

    #[test]
    fn placeholders_are_filled_in_and_doubled_braces_are_braces() {
        let release = Release::new("1.2").unwrap().with_artifact("/bin/sh").with_setting("workers", "a b;c");
        let args = ["--{slot}={port}", "{{\"v\":\"{version}\"}}", "{setting:workers}", "{service}"];
        let filled = template("{artifact}", &args).fill(&target(release), 4001).unwrap();
        assert_eq!(filled.program, PathBuf::from("/bin/sh"));
        assert_eq!(filled.args, ["--green=4001", "{\"v\":\"1.2\"}", "a b;c", "shop"]);
    }

    #[test]
    fn a_placeholder_that_nobody_knows_is_refused_before_anything_runs() {
        for bad in ["{prot}", "{", "}", "{port", "port}", "{setting:}", "{}", "a{{b}c"] {
            let error = template("sh", &[bad]).validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{bad}");
        }
        template("sh", &["{port}", "{{}}", ""]).validate().unwrap();
    }

    #[test]
    fn what_a_release_lacks_is_named() {
        let bare = target(Release::new("1").unwrap());
        let error = template("{artifact}", &[]).check(&bare).unwrap_err();
        assert!(error.to_string().contains("{artifact}"), "{error}");
        let error = template("sh", &["{setting:workers}"]).check(&bare).unwrap_err();
        assert!(error.to_string().contains("\"workers\""), "{error}");
        let nul = target(Release::new("1").unwrap().with_setting("x", "a\0b"));
        assert_eq!(template("sh", &["{setting:x}"]).check(&nul).unwrap_err().kind(), ErrorKind::Config);
    }

    #[test]
    fn a_program_that_cannot_run_is_refused_with_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let plain = directory.path().join("plain");
        std::fs::write(&plain, "").unwrap();
        let bare = target(Release::new("1").unwrap());
        let error = template(plain.to_str().unwrap(), &[]).check(&bare).unwrap_err();
        assert!(error.to_string().contains("not executable"), "{error}");
        let error = template("/no/such/program", &[]).check(&bare).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let error = template("no-such-program", &[]).check(&bare).unwrap_err();
        assert!(error.to_string().contains("PATH"), "{error}");
    }
}
