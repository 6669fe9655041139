//! `.dockerignore`: which files of a directory are not sent.

use bluegreen_core::{Error, Result};
use regex::Regex;

#[derive(Debug)]
pub(super) struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    pattern: Regex,
    /// Of an exception, what each directory on the way to what it names matches; `None` for one of any depth.
    steps: Vec<Option<Regex>>,
    is_exception: bool,
}

impl Ignore {
    /// The `needed` files are sent whatever the rules say: the engine reads them itself.
    pub(super) fn parse(text: &str, needed: &[&str]) -> Result<Self> {
        let mut rules = Vec::new();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let line = line.trim();
            let (is_exception, pattern) = match line.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            let pattern = clean(pattern);
            if !pattern.is_empty() {
                let steps = if is_exception { steps(&pattern) } else { Vec::new() };
                rules.push(Rule { pattern: compile(&pattern)?, steps, is_exception });
            }
        }
        for name in needed {
            let exactly = |name: &str| Regex::new(&format!("^{}$", regex::escape(name)));
            let pattern = exactly(name).map_err(|error| unreadable(name, error))?;
            let steps = name.split('/').map(|part| exactly(part).ok()).collect();
            rules.push(Rule { pattern, steps, is_exception: true });
        }
        Ok(Self { rules })
    }

    /// Whether a path, relative to the directory, is left out. The last rule that matches it, or a directory above it,
    /// decides.
    pub(super) fn covers(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        let prefixes: Vec<_> = ends.map(|end| &path[..end]).collect();
        let matches = |rule: &&Rule| prefixes.iter().any(|prefix| rule.pattern.is_match(prefix));
        self.rules.iter().rev().find(matches).is_some_and(|rule| !rule.is_exception)
    }

    /// Whether something inside a directory that is left out may be sent all the same.
    pub(super) fn may_except_inside(&self, directory: &str) -> bool {
        let leads_there = |rule: &Rule| {
            for (step, part) in rule.steps.iter().zip(directory.split('/')) {
                match step {
                    None => return true,
                    Some(step) if !step.is_match(part) => return false,
                    Some(_) => {}
                }
            }
            true
        };
        self.rules.iter().filter(|rule| rule.is_exception).any(leads_there)
    }
}

fn steps(pattern: &str) -> Vec<Option<Regex>> {
    let step = |part: &str| if part.contains("**") { None } else { compile(part).ok() };
    pattern.split('/').map(step).collect()
}

/// Without what changes nothing: `./`, doubled and trailing slashes, the slash at the beginning.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// `*` and `?` stop at a slash, `**` does not, `[a-z]` is a class, and a backslash takes the next character as it is.
fn compile(pattern: &str) -> Result<Regex> {
    let mut expression = String::from("^");
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        rest = match first {
            '*' if rest.starts_with("**/") => {
                expression.push_str("(.*/)?");
                &rest[3..]
            }
            '*' if rest.starts_with("**") => {
                expression.push_str(".*");
                rest.trim_start_matches('*')
            }
            '*' if !in_class => {
                expression.push_str("[^/]*");
                after
            }
            '?' if !in_class => {
                expression.push_str("[^/]");
                after
            }
            '\\' => {
                let next = after.chars().next().unwrap_or('\\');
                expression.push_str(&regex::escape(&next.to_string()));
                &after[after.chars().next().map_or(0, char::len_utf8)..]
            }
            '[' | ']' => {
                in_class = first == '[';
                expression.push(first);
                after
            }
            other if in_class && (other == '-' || other == '^') => {
                expression.push(other);
                after
            }
            other => {
                expression.push_str(&regex::escape(&other.to_string()));
                after
            }
        };
    }
    expression.push('$');
    Regex::new(&expression).map_err(|error| unreadable(pattern, error))
}

fn unreadable(pattern: &str, error: regex::Error) -> Error {
    Error::config(format!("{pattern:?} in .dockerignore is not a pattern")).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of the paths are left out.
    fn ignored<'p>(rules: &str, paths: &[&'p str]) -> Vec<&'p str> {
        let ignore = Ignore::parse(rules, &["Dockerfile", ".dockerignore"]).unwrap();
        paths.iter().copied().filter(|path| ignore.covers(path)).collect()
    }

    #[test]
    fn patterns_mean_what_they_mean_to_docker() {
        let paths = ["a.txt", "sub/a.txt", "sub/deep/a.txt", "b.md", "node_modules", "node_modules/x/y.js", "sub"];
        assert_eq!(ignored("*.txt", &paths), ["a.txt"], "a star stops at a slash");
        assert_eq!(ignored("**/*.txt", &paths), ["a.txt", "sub/a.txt", "sub/deep/a.txt"]);
        assert_eq!(ignored("*/*.txt", &paths), ["sub/a.txt"]);
        assert_eq!(ignored("/node_modules/", &paths), ["node_modules", "node_modules/x/y.js"]);
        assert_eq!(ignored("./sub/deep", &paths), ["sub/deep/a.txt"]);
        assert_eq!(ignored("?.txt", &paths), ["a.txt"]);
        assert_eq!(ignored("[a-b].*", &paths), ["a.txt", "b.md"]);
        assert_eq!(ignored("# *.txt\n\n   b.md  ", &paths), ["b.md"]);
        assert_eq!(ignored("sub/**", &paths), ["sub/a.txt", "sub/deep/a.txt"]);
        assert_eq!(ignored("a.txt.bak\na+txt\n(", &paths), Vec::<&str>::new());
    }

    #[test]
    fn the_last_rule_that_matches_decides() {
        let paths = ["a.md", "README.md", "docs/a.md", "docs/keep.md"];
        assert_eq!(ignored("*.md\n!README.md", &paths), ["a.md"]);
        assert_eq!(ignored("!README.md\n*.md", &paths), ["a.md", "README.md"]);
        assert_eq!(ignored("docs\n!docs/keep.md", &paths), ["docs/a.md"]);
    }

    #[test]
    fn a_directory_that_is_left_out_is_looked_into_only_for_an_exception_that_may_be_there() {
        let looked_into = |rules: &str, directories: &[&'static str]| -> Vec<&str> {
            let ignore = Ignore::parse(rules, &["deploy/Dockerfile", ".dockerignore"]).unwrap();
            directories.iter().copied().filter(|directory| ignore.may_except_inside(directory)).collect()
        };
        let all = ["docs", "docs/api", "docs/api/v1", "node_modules", "deploy", "deploy/x"];
        assert_eq!(looked_into("*", &all), ["deploy"], "for the Dockerfile");
        assert_eq!(looked_into("*\n!docs/api/keep.md", &all), ["docs", "docs/api", "deploy"]);
        assert_eq!(looked_into("*\n!docs", &all), ["docs", "docs/api", "docs/api/v1", "deploy"]);
        assert_eq!(looked_into("*\n!d*/keep.md", &all), ["docs", "deploy"]);
        assert_eq!(looked_into("*\n!docs/**/*.md", &all), ["docs", "docs/api", "docs/api/v1", "deploy"]);
        assert_eq!(looked_into("*\n!**/*.md", &all), all);
    }

    #[test]
    fn what_the_engine_needs_is_always_sent() {
        assert_eq!(ignored("*", &["Dockerfile", ".dockerignore", "x"]), ["x"]);
    }
}
