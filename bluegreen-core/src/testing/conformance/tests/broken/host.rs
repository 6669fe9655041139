use std::fmt;
use std::path::Path;

use async_trait::async_trait;

use super::super::hosts::ThisMachine;
use crate::error::Result;
use crate::host::{Command, Host, LocalHost, Output, Tunnel, quote, quote_all};
use crate::testing::conformance::{self, HostFixture};
use crate::types::Progress;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    QuotesTwice,
    QuotesNothing,
    PutsSecretsIntoWords,
    WritesInPlace,
    ForgetsTheMode,
    LeavesTemporaryFiles,
    LinksLikeLnSf,
    UploadsAgain,
    TakesAnErrorForNothing,
    HidesItsName,
    NeverEndsACommand,
    LandsLate,
}

#[derive(Debug)]
struct Broken(Fault);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Fault::HidesItsName => f.write_str("web1"),
            _ => f.write_str("this machine"),
        }
    }
}

const LOCAL: LocalHost = LocalHost::new();

#[async_trait]
impl Host for Broken {
    async fn run(&self, command: &Command) -> Result<Output> {
        let words = command.words()?;
        let through_a_shell = |line: String| {
            let mut shell = Command::new("sh").arg("-c").arg(line).stdin(command.input());
            for (name, value) in command.variables() {
                shell = shell.env(name.clone(), value.clone());
            }
            shell
        };
        match self.0 {
            Fault::QuotesNothing => LOCAL.run(&through_a_shell(words.join(" "))).await,
            Fault::QuotesTwice => {
                let quoted = words.iter().map(|word| quote(word));
                LOCAL
                    .run(&through_a_shell(quote_all(quoted.enumerate().map(|(at, word)| match at {
                        0 => words[0].clone(),
                        _ => word,
                    }))))
                    .await
            }
            Fault::PutsSecretsIntoWords if !command.variables().is_empty() => {
                let set = command.variables().iter().map(|(name, value)| (name, quote(value.reveal())));
                let set: String = set.map(|(name, value)| format!("export {name}={value}; ")).collect();
                let script = format!(r#"{set}"$@"; exit $?"#);
                LOCAL.run(&Command::script(script).args(words).stdin(command.input())).await
            }
            Fault::NeverEndsACommand => LOCAL.run(&command.clone().timeout(crate::host::DEFAULT_TIMEOUT)).await,
            _ => LOCAL.run(command).await,
        }
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        match LOCAL.read(path).await {
            Err(_) if self.0 == Fault::TakesAnErrorForNothing => Ok(None),
            found => found,
        }
    }

    async fn write(&self, path: &str, contents: &[u8], mode: u32) -> Result<()> {
        match self.0 {
            Fault::WritesInPlace => {
                for part in [&contents[..contents.len() / 2], contents] {
                    std::fs::write(path, part)?;
                    tokio::task::yield_now().await;
                }
                Ok(())
            }
            Fault::ForgetsTheMode => LOCAL.write(path, contents, 0o644).await,
            Fault::LeavesTemporaryFiles => {
                LOCAL.write(&format!("{path}.tmp"), contents, mode).await?;
                LOCAL.write(path, contents, mode).await
            }
            _ => LOCAL.write(path, contents, mode).await,
        }
    }

    async fn upload(&self, local: &Path, remote: &str, progress: &Progress) -> Result<()> {
        if self.0 == Fault::UploadsAgain {
            let aside = format!("{remote}.aside");
            LOCAL.upload(local, &aside, progress).await?;
            std::fs::rename(aside, remote)?;
            return Ok(());
        }
        LOCAL.upload(local, remote, progress).await
    }

    async fn download(&self, remote: &str, local: &Path, progress: &Progress) -> Result<()> {
        LOCAL.download(remote, local, progress).await
    }

    async fn symlink(&self, target: &str, link: &str) -> Result<()> {
        if self.0 == Fault::LinksLikeLnSf {
            let command = Command::new("ln").args(["-sf", "--", target, link]);
            return LOCAL.run(&command).await?.ok(&command, &LOCAL).map(drop);
        }
        if self.0 == Fault::LandsLate {
            let (target, link) = (target.to_owned(), link.to_owned());
            let detached = tokio::spawn(async move {
                // What the suite cuts off is slower than the call that it makes afterwards.
                if target == "green" {
                    tokio::time::sleep(std::time::Duration::from_millis(40)).await;
                }
                LOCAL.symlink(&target, &link).await
            });
            return detached.await.map_err(std::io::Error::other)?;
        }
        LOCAL.symlink(target, link).await
    }

    async fn tunnel(&self, address: &str) -> Result<Tunnel> {
        LOCAL.tunnel(address).await
    }
}

struct Fixture(Fault, ThisMachine);

#[async_trait]
impl HostFixture for Fixture {
    type Host = Broken;

    async fn open(&self) -> Broken {
        Broken(self.0)
    }

    fn directory(&self) -> String {
        self.1.directory()
    }

    async fn look(&self, path: &str) -> Option<(Vec<u8>, u32)> {
        self.1.look(path).await
    }

    async fn look_at_link(&self, path: &str) -> Option<String> {
        self.1.look_at_link(path).await
    }

    async fn list(&self, directory: &str) -> Vec<String> {
        self.1.list(directory).await
    }

    async fn identity(&self, path: &str) -> Option<String> {
        self.1.identity(path).await
    }

    async fn put(&self, path: &str, contents: &[u8]) {
        self.1.put(path, contents).await;
    }

    async fn make_directory(&self, path: &str) {
        self.1.make_directory(path).await;
    }

    fn cut_offs(&self) -> Vec<conformance::CutOff> {
        // The other faults show without them, and the suite is long.
        if self.0 == Fault::LandsLate { conformance::CutOff::usual() } else { Vec::new() }
    }
}

async fn suite(fault: Fault) {
    conformance::host(&Fixture(fault, ThisMachine::new())).await;
}

#[tokio::test]
#[should_panic(expected = "the words of a command arrive unchanged")]
async fn a_host_that_quotes_twice_is_noticed() {
    suite(Fault::QuotesTwice).await;
}

#[tokio::test]
#[should_panic(expected = "the words of a command arrive unchanged")]
async fn a_host_that_does_not_quote_is_noticed() {
    suite(Fault::QuotesNothing).await;
}

#[tokio::test]
#[should_panic(expected = "values of the environment are not seen in a process list")]
async fn a_host_that_puts_secrets_into_words_is_noticed() {
    suite(Fault::PutsSecretsIntoWords).await;
}

#[tokio::test]
#[should_panic(expected = "a reader sees the old content or the new one, whole")]
async fn a_host_that_writes_in_place_is_noticed() {
    suite(Fault::WritesInPlace).await;
}

#[tokio::test]
#[should_panic(expected = "a file has the content and the mode that were asked for")]
async fn a_host_that_forgets_the_mode_is_noticed() {
    suite(Fault::ForgetsTheMode).await;
}

#[tokio::test]
#[should_panic(expected = "a finished write leaves nothing but its file")]
async fn a_host_that_leaves_temporary_files_is_noticed() {
    suite(Fault::LeavesTemporaryFiles).await;
}

#[tokio::test]
#[should_panic(expected = "a link points to its target, unchanged")]
async fn a_host_that_links_into_directories_is_noticed() {
    suite(Fault::LinksLikeLnSf).await;
}

#[tokio::test]
#[should_panic(expected = "nothing is sent when the same content is there already")]
async fn a_host_that_uploads_again_is_noticed() {
    suite(Fault::UploadsAgain).await;
}

#[tokio::test]
#[should_panic(expected = "what cannot be read is an error, not None")]
async fn a_host_that_takes_an_error_for_nothing_is_noticed() {
    suite(Fault::TakesAnErrorForNothing).await;
}

#[tokio::test]
#[should_panic(expected = "errors name the host")]
async fn a_host_that_does_not_name_itself_is_noticed() {
    suite(Fault::HidesItsName).await;
}

#[tokio::test]
#[should_panic(expected = "a command that takes too long is ended")]
async fn a_host_that_never_ends_a_command_is_noticed() {
    suite(Fault::NeverEndsACommand).await;
}

#[tokio::test]
#[should_panic(expected = "is not replaced after a later call that succeeded")]
async fn a_host_on_which_what_was_cut_off_lands_late_is_noticed() {
    suite(Fault::LandsLate).await;
}
