//! [`Ownership`]: which service an adapter acts for, and whose a place is.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::error::{Error, ErrorKind, Reason, Result};
use crate::host::{Command, Host};
use crate::types::ServiceName;

/// The file that marks a directory as a service's. It holds the service's name and nothing else.
pub const MARK: &str = ".bluegreen-service";

/// Keeps one service's configuration from acting on what is another's. Every adapter that acts on a place (a directory, a
/// site, a project, an address) has one; clones share it.
///
/// A place is marked with the name of its service at the first write. Afterwards every call of another service is refused, also
/// one that only looks: what it would find is not what it asks for. A place that nobody has marked, as earlier versions left
/// it, is taken by the first that writes.
///
/// A pipeline says which service it is, by [`Runtime::bind_service`](crate::Runtime::bind_service) and
/// [`Router::bind_service`](crate::Router::bind_service). An adapter that was not told checks nothing.
///
/// ```
/// use bluegreen_core::{Ownership, Reason, ServiceName};
///
/// let ownership = Ownership::new();
/// ownership.bind(&ServiceName::new("blog")?)?;
/// ownership.check(Some("blog"), "/srv/blog")?;
/// let error = ownership.check(Some("shop"), "/srv/shop").unwrap_err();
/// assert_eq!(error.reason(), Some(Reason::OtherService));
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Ownership {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    service: OnceLock<ServiceName>,
    /// The directories, each with its host, whose mark was read and is ours: a mark is never changed.
    ours: Mutex<BTreeSet<String>>,
}

impl Ownership {
    /// Of no service yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says which service the adapter acts for. Repeatable.
    ///
    /// # Errors
    /// `Conflict` for [`Reason::OtherService`] when it acts for another one already.
    pub fn bind(&self, service: &ServiceName) -> Result<()> {
        let bound = self.inner.service.get_or_init(|| service.clone());
        match bound == service {
            true => Ok(()),
            false => Err(refused(bound, service, "this adapter").with_hint("make one of its own for each service")),
        }
    }

    /// The service the adapter acts for.
    pub fn service(&self) -> Option<&ServiceName> {
        self.inner.service.get()
    }

    /// Compares the mark that was found at a place.
    ///
    /// # Errors
    /// `Conflict` for [`Reason::OtherService`] when it is another service's.
    pub fn check(&self, mark: Option<&str>, place: impl fmt::Display) -> Result<()> {
        match (self.service(), mark.map(str::trim).filter(|mark| !mark.is_empty())) {
            (Some(service), Some(mark)) if mark != service.as_str() => {
                Err(refused(mark, service, place).with_hint("give each service a place of its own"))
            }
            _ => Ok(()),
        }
    }

    /// For a call that only looks at what is in a directory of a host.
    ///
    /// # Errors
    /// As [`check`](Self::check); those of the host.
    pub async fn verify(&self, host: &dyn Host, directory: &str) -> Result<()> {
        if self.service().is_none() || self.is_known(host, directory) {
            return Ok(());
        }
        let mark = host.read(&mark_in(directory)).await.map_err(|error| error.not_applied().with_operation(PURPOSE))?;
        let mark = mark.map(|mark| String::from_utf8_lossy(&mark).into_owned());
        self.check(mark.as_deref(), directory).map_err(|error| error.with("host", host))?;
        if mark.is_some() {
            self.learn(host, directory);
        }
        Ok(())
    }

    /// For a call that changes what is in a directory of a host: makes it where it is missing, and marks it where nobody has.
    /// Of two services that come at the same moment, one succeeds.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub async fn claim(&self, host: &dyn Host, directory: &str) -> Result<()> {
        let Some(service) = self.service().filter(|_| !self.is_known(host, directory)) else { return Ok(()) };
        let command = Command::script(CLAIM).called(PURPOSE).arg(mark_in(directory)).arg(service.as_str());
        let about = |error: Error| error.not_applied().with_operation(PURPOSE);
        let output = host.run(&command).await.and_then(|output| output.ok(&command, host)).map_err(about)?;
        self.check(Some(&output.text()), directory).map_err(|error| error.with("host", host))?;
        self.learn(host, directory);
        Ok(())
    }

    /// As [`claim`](Self::claim), for a call that says itself for which service it is.
    ///
    /// # Errors
    /// As [`bind`](Self::bind) and [`claim`](Self::claim).
    pub async fn claim_for(&self, service: &ServiceName, host: &dyn Host, directory: &str) -> Result<()> {
        self.bind(service)?;
        self.claim(host, directory).await
    }

    fn is_known(&self, host: &dyn Host, directory: &str) -> bool {
        self.inner.ours.lock().unwrap_or_else(PoisonError::into_inner).contains(&format!("{host} {directory}"))
    }

    fn learn(&self, host: &dyn Host, directory: &str) {
        self.inner.ours.lock().unwrap_or_else(PoisonError::into_inner).insert(format!("{host} {directory}"));
    }
}

const PURPOSE: &str = "see whose the directory is";

/// Marks a directory as nobody else can at the same moment, and says whose it is. MARK SERVICE
const CLAIM: &str = r#"directory=${1%/*}
[ -d "$directory" ] || mkdir -p "$directory" || exit 1
if [ ! -s "$1" ]; then
    printf '%s\n' "$2" > "$1.new-$$" || exit 1
    # Where there are no hard links, the last of two at the same moment is the owner.
    ln "$1.new-$$" "$1" 2> /dev/null || [ -s "$1" ] || mv -f "$1.new-$$" "$1"
    rm -f "$1.new-$$"
fi
cat "$1""#;

fn mark_in(directory: &str) -> String {
    format!("{}/{MARK}", directory.strip_suffix('/').unwrap_or(directory))
}

/// The error about a place of another service.
fn refused(theirs: impl fmt::Display, ours: &ServiceName, place: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Conflict, format!("{place} belongs to the service {theirs}, and not to {ours}"))
        .with_reason(Reason::OtherService)
        .not_applied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::LocalHost;

    fn of(service: &str) -> Ownership {
        let ownership = Ownership::new();
        ownership.bind(&ServiceName::new(service).unwrap()).unwrap();
        ownership
    }

    fn is_refused(result: Result<()>) {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.reason()), (ErrorKind::Conflict, Some(Reason::OtherService)), "{error}");
        assert_eq!(error.effect(), crate::Effect::NotApplied);
    }

    #[tokio::test]
    async fn a_directory_belongs_to_the_first_that_writes_and_to_nobody_else() {
        let (host, directory) = (LocalHost::new(), tempfile::tempdir().unwrap());
        let place = directory.path().join("it's here").display().to_string();
        let (shop, blog) = (of("shop"), of("blog"));
        // Nobody has written yet: whoever looks finds nothing of anybody's.
        shop.verify(&host, &place).await.unwrap();
        blog.verify(&host, &place).await.unwrap();
        shop.claim(&host, &place).await.unwrap();
        for _ in 0..2 {
            is_refused(blog.verify(&host, &place).await);
            is_refused(blog.claim(&host, &place).await);
            is_refused(of("blog").claim(&host, &place).await);
            of("shop").claim(&host, &format!("{place}/")).await.unwrap();
            shop.verify(&host, &place).await.unwrap();
        }
        Ownership::new().claim(&host, &place).await.unwrap();
    }

    #[tokio::test]
    async fn of_many_that_claim_a_directory_at_once_one_succeeds() {
        let (host, directory) = (LocalHost::new(), tempfile::tempdir().unwrap());
        let place = directory.path().display().to_string();
        let claims = (0..8).map(|number| {
            let place = place.clone();
            async move { of(&format!("service-{number}")).claim(&host, &place).await.is_ok() }
        });
        let won = futures::future::join_all(claims).await;
        assert_eq!(won.into_iter().filter(|won| *won).count(), 1);
        assert_eq!(std::fs::read_dir(&place).unwrap().count(), 1, "nothing but the mark is left");
    }

    #[test]
    fn an_adapter_acts_for_one_service() {
        let ownership = of("shop");
        ownership.bind(&ServiceName::new("shop").unwrap()).unwrap();
        is_refused(ownership.clone().bind(&ServiceName::new("blog").unwrap()));
    }
}
