//! How the shell scripts run on the host: what must happen under one lock there happens in one of them.

use std::time::Duration;

use bluegreen_core::host::{LOCK_WAIT, Reply, Script, quote_all};
use bluegreen_core::{Host, MARK, Ownership, Result};

use crate::config::NginxConfig;

const LIBRARY: &str = include_str!("scripts/lib.sh");

/// For a test or a reload to end. nginx looks names of upstreams up while it tests, and a dead resolver takes 30 s.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// For a script, which may run a test and a reload after it waited for the lock.
const TIMEOUT: Duration = Duration::from_secs(LOCK_WAIT.as_secs() + 2 * COMMAND_TIMEOUT.as_secs() + 20);

/// Runs a script that knows nginx's commands and whose the state directory is.
///
/// # Errors
/// As [`Script::run`]; `Conflict` when the state directory is another service's.
pub(crate) async fn run(script: Script, host: &dyn Host, config: &NginxConfig, owner: &Ownership) -> Result<Reply> {
    let bounded = |words: Vec<String>| format!("timeout {} {}", COMMAND_TIMEOUT.as_secs(), quote_all(words));
    let script = script
        .variable("owner", owner.service().map_or("", |service| service.as_str()))
        .variable("mark", MARK)
        .function("test_nginx", &bounded(config.commands.test_words()))
        .function("reload_nginx", &bounded(config.commands.reload_words()))
        .function("dump_nginx", &bounded(config.commands.dump_words()))
        .library(LIBRARY)
        .sudo(config.commands.sudo)
        .timeout(TIMEOUT);
    let reply = script.run(host).await?;
    if let Some(mark) = reply.get("belongs") {
        owner.check(Some(mark), config.state_directory_path()).map_err(|error| error.with("host", host))?;
    }
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use bluegreen_core::LocalHost;

    use super::*;
    use crate::Commands;

    #[tokio::test]
    async fn the_words_of_the_commands_reach_the_host_unchanged() {
        let words = ["printf", "%s|", "a b", "$HOME", "it's; $(id)", "`x`"];
        let config = NginxConfig::new("shop").commands(Commands::new().test(words));
        let script = Script::new("test", "reply \"$(test_nginx)\" \"$1\"").arg("$HOME; it's \"x\"");
        let reply = run(script, &LocalHost::new(), &config, &Ownership::new()).await.unwrap();
        assert_eq!(reply.lines(), ["a b|$HOME|it's; $(id)|`x`|", "$HOME; it's \"x\""]);
    }
}
