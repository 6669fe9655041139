//! [`CommandCheck`]: a health check that is a command.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::command_variables::{tell_target, variable_name};
use crate::error::{ErrorKind, Result};
use crate::health::{Health, HealthCheck};
use crate::host::{Command, Host, LINES_IN_ERROR};
use crate::types::{Instance, Secret, Target, Version};

/// Runs a command, on this machine or on any [`Host`], and takes exit status 0 for healthy: for smoke tests that are
/// written already, with hurl, k6, pytest or curl.
///
/// The command receives in its environment:
///
/// | variable | value |
/// |---|---|
/// | `SERVICE`, `SLOT`, `VERSION` | the service, `blue` or `green`, and the version under test |
/// | `ENDPOINT` | the address of the instance's first endpoint, `host:port` |
/// | `ENDPOINT_<NAME>` | the address of the endpoint with that name, in capitals, with `_` for all but letters and digits |
///
/// Any other exit status is [`Health::Unhealthy`] with the last lines of the command's output, and so is a command that
/// takes longer than its own [`timeout`](Command::timeout).
///
/// ```
/// use bluegreen_core::{Command, CommandCheck, LocalHost};
///
/// let smoke = CommandCheck::new(LocalHost::new(), Command::script(r#"curl --fail "http://$ENDPOINT/health""#));
/// assert_eq!(smoke.to_string(), r#"sh -c 'curl --fail "http://$ENDPOINT/health"' sh on this machine"#);
/// ```
#[derive(Debug, Clone)]
pub struct CommandCheck {
    host: Arc<dyn Host>,
    command: Command,
    prints_version: bool,
}

impl CommandCheck {
    /// A check that runs `command` on `host`.
    pub fn new(host: impl Host, command: Command) -> Self {
        Self { host: Arc::new(host), command, prints_version: false }
    }

    /// Takes what the command prints for the version that answered, so that the check can verify the public address.
    #[must_use]
    pub fn version_from_output(mut self) -> Self {
        self.prints_version = true;
        self
    }

    fn command_for(&self, target: &Target, instance: &Instance) -> Command {
        let mut command = tell_target(self.command.clone(), target);
        let endpoints = instance.endpoints();
        if let Some(first) = endpoints.first() {
            command = command.env("ENDPOINT", Secret::new(&first.address));
        }
        for endpoint in endpoints {
            command = command.env(variable_name("ENDPOINT", &endpoint.name), Secret::new(&endpoint.address));
        }
        command
    }
}

impl fmt::Display for CommandCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.command, self.host)
    }
}

#[async_trait]
impl HealthCheck for CommandCheck {
    async fn check(&self, target: &Target, instance: &Instance) -> Result<Health> {
        let output = match self.host.run(&self.command_for(target, instance)).await {
            Ok(output) => output,
            Err(error) if error.kind() == ErrorKind::Timeout => return Ok(Health::unhealthy(error.summary())),
            Err(error) => return Err(error),
        };
        if !output.success() {
            return Ok(Health::unhealthy(format!("{}: {}", self.command, output.last_words(LINES_IN_ERROR))));
        }
        if !self.prints_version {
            return Ok(Health::healthy());
        }
        match Version::new(output.text()) {
            Ok(version) => Ok(Health::healthy_as(version)),
            Err(error) => Ok(Health::unhealthy(format!("{} printed no version: {}", self.command, error.summary()))),
        }
    }

    fn tells_version(&self) -> bool {
        self.prints_version
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::host::LocalHost;
    use crate::types::{Endpoint, OperationId, Release, ServiceName, Slot};

    async fn check(check: CommandCheck) -> Result<Health> {
        let (service, operation) = (ServiceName::new("shop").unwrap(), OperationId::new("op-1").unwrap());
        let target = Target::new(service, Slot::Green, Release::new("2.0").unwrap(), operation);
        let endpoints = vec![Endpoint::named("web-ui", "127.0.0.1:3001"), Endpoint::named("api", "127.0.0.1:3002")];
        check.check(&target, &Instance::Running { version: None, endpoints }).await
    }

    fn script(text: &str) -> CommandCheck {
        CommandCheck::new(LocalHost::new(), Command::script(text).called("smoke test"))
    }

    #[tokio::test]
    async fn the_command_is_told_what_it_tests_and_where() {
        let text = r#"test "$SERVICE $SLOT $VERSION $ENDPOINT $ENDPOINT_WEB_UI $ENDPOINT_API" = \
            "shop green 2.0 127.0.0.1:3001 127.0.0.1:3001 127.0.0.1:3002""#;
        assert_eq!(check(script(text)).await.unwrap(), Health::healthy());
    }

    #[tokio::test]
    async fn a_command_that_fails_is_unhealthy_with_what_it_said() {
        let health = check(script("echo 'GET /cart: 500' >&2; exit 3")).await.unwrap();
        assert_eq!(health, Health::unhealthy("script `smoke test`: exit status 3: GET /cart: 500"));
    }

    #[tokio::test]
    async fn a_command_that_takes_too_long_is_unhealthy_and_one_that_cannot_be_run_is_an_error() {
        let slow = Command::new("sleep").arg("600").timeout(Duration::from_millis(50));
        let health = check(CommandCheck::new(LocalHost::new(), slow)).await.unwrap();
        assert!(matches!(&health, Health::Unhealthy { reason } if reason.contains("50ms")), "{health:?}");
        let error = check(CommandCheck::new(LocalHost::new(), Command::new("/no/such/program"))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }

    #[tokio::test]
    async fn the_version_is_what_the_command_prints_where_that_is_asked_for() {
        let prints = script("echo 2.0");
        assert!(!prints.tells_version());
        let prints = prints.version_from_output();
        assert!(prints.tells_version());
        assert_eq!(check(prints).await.unwrap(), Health::healthy_as(Version::new("2.0").unwrap()));
        let nothing = check(script("true").version_from_output()).await.unwrap();
        assert!(
            matches!(&nothing, Health::Unhealthy { reason } if reason.contains("printed no version")),
            "{nothing:?}"
        );
    }
}
