use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::host::command::run_setters;
use crate::host::{Command, DEFAULT_OUTPUT_LIMIT, DEFAULT_TIMEOUT, Host, LINES_IN_ERROR, quote};

const PRELUDE: &str = include_str!("prelude.sh");

/// How long a script's `lock` waits for another one that holds it: for its test of a configuration, or its unpacking.
pub const LOCK_WAIT: Duration = Duration::from_secs(60);

/// A shell script that does one step of an adapter's work on a host, in one round trip, and tells by a [`Reply`] how it went.
///
/// In front of the body stand the variables and functions that it is given, and a prelude that every script shares:
///
/// - `reply LINE...` ends the script with its reply, `fail WORDS...` with an error;
/// - `lock FILE` holds a lock until the script ends, and `acquire SECONDS` that of descriptor 9;
/// - `fsync_path PATH` flushes a file or a directory to the disk, and `put FILE` replaces a file by standard input, durably and
///   for its owner alone;
/// - `digest_of FILE` prints its SHA-256, and `receive FILE DIGEST` stores standard input in it, whole and durably.
///
/// The host needs a POSIX shell, `flock` for a lock and `sha256sum` for a digest. What a script may wait for its lock,
/// [`LOCK_WAIT`], is a part of its [`timeout`](Self::timeout).
///
/// ```
/// use bluegreen_core::LocalHost;
/// use bluegreen_core::host::Script;
///
/// const COUNT: Script = Script::new("count the files", r#"reply "files $(ls "$directory" | wc -l)""#);
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let scratch = tempfile::tempdir().unwrap();
/// # let directory = scratch.path().to_str().unwrap();
/// let reply = COUNT.variable("directory", directory).run(&LocalHost::new()).await?;
/// assert_eq!((reply.word(), reply.rest().trim()), ("files", "0"));
/// # Ok::<(), bluegreen_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Script {
    operation: &'static str,
    definitions: String,
    library: &'static str,
    body: &'static str,
    args: Vec<String>,
    stdin: Vec<u8>,
    sudo: bool,
    read_only: bool,
    detached: bool,
    timeout: Duration,
    output_limit: usize,
}

impl Script {
    /// A script, and what it does as an imperative: "switch the link".
    pub const fn new(operation: &'static str, body: &'static str) -> Self {
        Self {
            operation,
            definitions: String::new(),
            library: "",
            body,
            args: Vec::new(),
            stdin: Vec::new(),
            sudo: false,
            read_only: false,
            detached: false,
            timeout: DEFAULT_TIMEOUT,
            output_limit: DEFAULT_OUTPUT_LIMIT,
        }
    }

    /// Says that the script only looks: no error of it leaves anything changed.
    #[must_use]
    pub const fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Sets the functions that it shares with others, to stand in front of the body.
    #[must_use]
    pub const fn library(mut self, library: &'static str) -> Self {
        self.library = library;
        self
    }

    /// Sets a shell variable; any value arrives unchanged.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.definitions.push_str(&format!("{name}={}\n", quote(value)));
        self
    }

    /// Defines a shell function. Its body is shell text: [`quote`] what is not.
    #[must_use]
    pub fn function(mut self, name: &str, body: &str) -> Self {
        self.definitions.push_str(&format!("{name}() {{\n{body}\n}}\n"));
        self
    }

    run_setters!();

    /// Has it run to its end also when the call that started it is cut off, for what must not be left half done. The host
    /// needs `setsid`.
    #[must_use]
    pub fn detached(mut self) -> Self {
        self.detached = true;
        self
    }

    /// The whole text, as the shell gets it.
    pub fn text(&self) -> String {
        let Self { definitions, library, body, .. } = self;
        format!("lock_wait={}\n{definitions}{PRELUDE}\n{library}\n{body}", LOCK_WAIT.as_secs())
    }

    /// The script as a command of a host, for those that tell by their exit status how it went.
    pub fn command(&self) -> Command {
        // The second command keeps the shell from becoming setsid itself, which would then not wait.
        let command = match self.detached {
            true => Command::script("setsid sh -c \"$@\"; exit $?").arg(self.text()).arg("sh"),
            false => Command::script(self.text()),
        };
        command
            .called(self.operation)
            .args(self.args.iter().cloned())
            .stdin(self.stdin.clone())
            .sudo(self.sudo)
            .timeout(self.timeout)
            .output_limit(self.output_limit)
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// `Conflict`, retryable, when another script held its lock for [`LOCK_WAIT`]; `Unexpected` with the last lines of standard
    /// error when it fails; those of the host. Each names the operation and the host, and says `NotApplied` for a script that
    /// is [`read_only`](Self::read_only).
    pub async fn run(&self, host: &dyn Host) -> Result<Reply> {
        let reply = self.reply(host).await;
        reply.map_err(|error| {
            let error = error.with_operation(self.operation).with("host", host);
            if self.read_only { error.not_applied() } else { error }
        })
    }

    async fn reply(&self, host: &dyn Host) -> Result<Reply> {
        let output = host.run(&self.command()).await?;
        let said = output.error_text();
        match output.status {
            Some(0) => {}
            // What `fail` ends with: the words are the script's own.
            Some(1) if !said.is_empty() => {
                let lines: Vec<_> = said.lines().collect();
                let last = lines[lines.len().saturating_sub(LINES_IN_ERROR)..].join(" | ");
                return Err(Error::new(ErrorKind::Unexpected, last));
            }
            _ => return Err(Error::new(ErrorKind::Unexpected, output.last_words(LINES_IN_ERROR))),
        }
        let lines = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
        let reply = Reply { operation: self.operation, host: host.to_string(), lines, said };
        match reply.word() {
            "busy" => Err(Error::new(ErrorKind::Conflict, format!("another script held the lock for {LOCK_WAIT:?}"))
                .not_applied()
                .retryable(true)
                .with("lock", reply.rest())),
            _ => Ok(reply),
        }
    }
}

/// What a [`Script`] says when it has done its work: lines that begin with a word each.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    operation: &'static str,
    host: String,
    lines: Vec<String>,
    said: String,
}

impl Reply {
    /// The first word of the first line, which says how it went.
    pub fn word(&self) -> &str {
        self.lines.first().map_or("", |line| split(line).0)
    }

    /// What stands behind the first word on its line.
    pub fn rest(&self) -> &str {
        self.lines.first().map_or("", |line| split(line).1)
    }

    /// The rest of the first line that begins with this word.
    pub fn get<'a>(&'a self, word: &'a str) -> Option<&'a str> {
        self.all(word).next()
    }

    /// The rest of each line that begins with this word.
    pub fn all<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs().filter_map(move |(first, rest)| (first == word).then_some(rest))
    }

    /// The first word and the rest of each line.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().map(|line| split(line))
    }

    /// All lines.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The lines behind the line that is this word alone, such as those of a log.
    pub fn after(&self, word: &str) -> &[String] {
        let end = self.lines.len();
        let begin = self.lines.iter().position(|line| line == word).map_or(end, |at| at + 1);
        &self.lines[begin..]
    }

    /// What the script and the programs that it ran wrote to standard error.
    pub fn said(&self) -> &str {
        &self.said
    }

    /// The error of a reply that the script never gives.
    pub fn unexpected(&self) -> Error {
        let said = if self.said.is_empty() { String::new() } else { format!(", and said: {}", self.said) };
        Error::new(ErrorKind::Unexpected, format!("the script answered {:?}{said}", self.lines))
            .with_operation(self.operation)
            .with("host", &self.host)
    }
}

fn split(line: &str) -> (&str, &str) {
    line.split_once(' ').unwrap_or((line, ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::sha256_hex;
    use crate::error::Effect;
    use crate::host::LocalHost;
    use crate::testing::HOSTILE_WORDS;

    const HOST: LocalHost = LocalHost::new();

    #[tokio::test]
    async fn variables_functions_arguments_and_input_reach_the_script_unchanged() {
        for word in HOSTILE_WORDS {
            let script = Script::new("test", r#"printf '%s|%s|' "$variable" "$1"; told; cat"#);
            let script = script.variable("variable", word).function("told", &format!("printf '%s|' {}", quote(word)));
            let output = HOST.run(&script.arg(*word).stdin(*word).command()).await.unwrap();
            assert_eq!(output.stdout, [word; 4].map(|word| word.as_bytes()).join(&b'|'), "{word:?}");
        }
    }

    #[tokio::test]
    async fn a_reply_is_read_by_its_words() {
        let script =
            Script::new("test", "echo careful >&2; reply 'ready /srv/shop' received 'tag a b' 'tag c' log 'x y' z");
        let reply = script.run(&HOST).await.unwrap();
        assert_eq!((reply.word(), reply.rest(), reply.said()), ("ready", "/srv/shop", "careful"));
        assert_eq!((reply.get("received"), reply.get("tag"), reply.get("none")), (Some(""), Some("a b"), None));
        assert_eq!(reply.all("tag").collect::<Vec<_>>(), ["a b", "c"]);
        assert_eq!(reply.after("log"), ["x y", "z"]);
        let error = reply.unexpected();
        assert!(error.to_string().starts_with("test: the script answered [\"ready /srv/shop\""), "{error}");

        let silent = Script::new("test", "exit 0").run(&HOST).await.unwrap();
        assert_eq!((silent.word(), silent.rest(), silent.after("log").len()), ("", "", 0));
    }

    #[tokio::test]
    async fn a_script_that_fails_is_an_error_with_its_words() {
        let script = Script::new("look for it", "fail 'it is not there'");
        let error = script.run(&HOST).await.unwrap_err();
        assert_eq!(error.to_string(), "look for it: it is not there (host: this machine)");
        assert_eq!(error.effect(), Effect::Unknown);
        assert_eq!(script.read_only().run(&HOST).await.unwrap_err().effect(), Effect::NotApplied);

        let error = Script::new("look for it", "echo gone >&2; exit 7").run(&HOST).await.unwrap_err();
        assert_eq!(error.message(), "exit status 7: gone");
    }

    #[tokio::test]
    async fn a_detached_script_runs_to_its_end_when_the_call_is_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("done").display().to_string();
        let body = "cat > $1.in; sleep 0.5; echo x > $1; reply ended";
        let script = Script::new("test", body).arg(&file).stdin("hello").detached();
        let cut = tokio::time::timeout(Duration::from_millis(200), script.run(&HOST));
        assert!(cut.await.is_err());
        assert!(!std::path::Path::new(&file).exists());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(std::path::Path::new(&file).exists(), "the script died with the call");

        let reply = script.run(&HOST).await.unwrap();
        assert!(reply.word() == "ended", "a detached script is waited for, and its reply read: {reply:?}");
        assert_eq!(std::fs::read_to_string(format!("{file}.in")).unwrap(), "hello");
    }

    #[tokio::test]
    async fn a_lock_excludes_others_and_one_that_is_held_too_long_is_a_conflict() {
        let directory = tempfile::tempdir().unwrap();
        let lock = directory.path().join("lock");
        let script =
            Script::new("test", r#"lock "$1"; reply held"#).variable("lock_wait", "1").arg(lock.display().to_string());
        assert_eq!(script.run(&HOST).await.unwrap().word(), "held");

        let other = std::fs::File::open(&lock).unwrap();
        other.lock().unwrap();
        let error = script.run(&HOST).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::NotApplied), "{error}");
        assert!(error.is_retryable() && error.context("lock") == lock.to_str(), "{error}");
        drop(other);
        assert_eq!(script.run(&HOST).await.unwrap().word(), "held");
    }

    #[tokio::test]
    async fn what_does_not_arrive_whole_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("new").display().to_string();
        let script = Script::new("test", r#"receive "$1" "$2"; reply "$(digest_of "$1")" "$(digest_of "$1.none")""#);
        let script = script.args([file, sha256_hex(b"hello")]);
        let reply = script.clone().stdin("hello").run(&HOST).await.unwrap();
        assert_eq!(reply.lines(), [sha256_hex(b"hello"), String::new()]);
        let error = script.stdin("hell").run(&HOST).await.unwrap_err();
        assert!(error.to_string().contains("arrived incomplete"), "{error}");
    }
}
