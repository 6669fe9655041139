//! Which Compose there is on a host.

use std::fmt;
use std::time::Duration;

use bluegreen_core::{Command, Error, ErrorKind, Host, Result};

/// The oldest versions whose files and options are the ones used here.
const OLDEST_V1: (u32, u32) = (1, 27);
const OLDEST_V2: (u32, u32) = (2, 0);

/// The oldest version that knows `!override` and `!reset`. It came with 2.24.4, and patch numbers are not looked at.
const OVERRIDES: (u32, u32) = (2, 25);

/// Compose v1 takes more than a second to say its version.
const LIMIT: Duration = Duration::from_secs(60);

/// A Compose that was found, with its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    words: Vec<String>,
    version: (u32, u32),
}

/// The old program takes its time, so it is asked only where there is no plugin of version 2 or later.
const BOTH: &str = r"plugin=$(docker compose version --short 2>/dev/null | head -n 1)
printf 'plugin %s\n' $plugin
case ${plugin#v} in [2-9]* | [1-9][0-9]*) exit 0 ;; esac
printf 'program %s\n' $(docker-compose version --short 2>/dev/null | head -n 1)
";

impl Program {
    pub(crate) async fn find(host: &dyn Host, given: Option<&[String]>) -> Result<Self> {
        let command = match given {
            Some(words) => Command::script(r#"printf 'given %s\n' "$("$@" version --short)""#).args(words.to_vec()),
            None => Command::script(BOTH),
        };
        let output = host.run(&command.timeout(LIMIT)).await.map_err(|error| error.not_applied())?;
        Self::choose(&output.text(), given)
    }

    /// The plugin, else the program; of what is too old only when there is nothing else, to say so.
    fn choose(said: &str, given: Option<&[String]>) -> Result<Self> {
        let mut found = Vec::new();
        for (name, version) in said.lines().filter_map(|line| line.split_once(' ')) {
            let words = match (name, given) {
                ("given", Some(words)) => words.to_vec(),
                ("plugin", _) => vec!["docker".to_owned(), "compose".to_owned()],
                _ => vec!["docker-compose".to_owned()],
            };
            if let Some(version) = parse(version) {
                found.push(Self { words, version });
            }
        }
        if let Some(good) = found.iter().find(|program| program.is_new_enough()) {
            return Ok(good.clone());
        }
        let ((v1, v1_minor), (v2, v2_minor)) = (OLDEST_V1, OLDEST_V2);
        let needed = format!(
            "install Compose {v2}.{v2_minor} or newer as `docker compose`, or {v1}.{v1_minor} or newer as `docker-compose`"
        );
        Err(match (found.first(), given) {
            (Some(old), _) => Error::new(ErrorKind::Unsupported, format!("{old} is too old")).with_hint(needed),
            (None, Some(words)) => Error::new(ErrorKind::NotFound, format!("`{}` is no Compose", words.join(" ")))
                .not_applied()
                .with_hint(needed),
            (None, None) => Error::new(ErrorKind::NotFound, "there is neither `docker compose` nor `docker-compose`")
                .not_applied()
                .with_hint(needed),
        })
    }

    fn is_new_enough(&self) -> bool {
        self.version >= if self.is_v1() { OLDEST_V1 } else { OLDEST_V2 }
    }

    /// The Python one, whose commands and output differ.
    pub(crate) fn is_v1(&self) -> bool {
        self.version.0 < 2
    }

    /// Whether a later file can replace and remove what those before it say, instead of adding to it.
    pub(crate) fn replaces(&self) -> bool {
        self.version >= OVERRIDES
    }

    pub(crate) fn words(&self) -> &[String] {
        &self.words
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = self.version;
        write!(f, "`{}` {major}.{minor}", self.words.join(" "))
    }
}

/// "2.26.1-4", "v2.26.1", "1.29.2"
fn parse(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.trim().trim_start_matches('v').split(['.', '-', '+', '~']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(said: &str) -> Result<String> {
        Program::choose(said, None).map(|program| program.to_string())
    }

    #[test]
    fn the_plugin_comes_first_and_the_old_program_is_the_fallback() {
        assert_eq!(choose("plugin 2.26.1-4\nprogram 1.29.2").unwrap(), "`docker compose` 2.26");
        assert_eq!(choose("plugin \nprogram 1.29.2").unwrap(), "`docker-compose` 1.29");
        assert_eq!(choose("plugin \nprogram v2.30.0").unwrap(), "`docker-compose` 2.30");
        assert!(!Program::choose("program v2.30.0", None).unwrap().is_v1());
        assert!(Program::choose("program 1.29.2", None).unwrap().is_v1());
    }

    #[test]
    fn without_compose_or_with_one_that_is_too_old_it_says_what_to_install() {
        let none = choose("plugin \nprogram ").unwrap_err();
        assert_eq!(none.kind(), ErrorKind::NotFound);
        assert!(none.to_string().contains("install Compose 2.0 or newer"), "{none}");
        let old = choose("plugin \nprogram 1.21.0").unwrap_err();
        assert_eq!(old.kind(), ErrorKind::Unsupported);
        assert!(old.to_string().contains("`docker-compose` 1.21 is too old"), "{old}");
        // What a client without the plugin prints instead of a version.
        assert!(choose("plugin Usage: docker\nprogram ").is_err());
    }
}
