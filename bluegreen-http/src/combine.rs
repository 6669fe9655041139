use std::fmt::{self, Display};

use async_trait::async_trait;
use bluegreen_core::{Error, Health, HealthCheck, Instance, Result, Target, Version};
use futures::future::join_all;

/// All of these must be well.
///
/// They are made at the same time. Versions that are reported must agree; a check that cannot tell does not count.
/// One that could not be made at all is an error, whatever the others say, and so is an empty list: no check at all
/// is not health.
///
/// ```
/// use bluegreen_http::{HttpCheck, all};
///
/// let check = all([HttpCheck::get("/health")?, HttpCheck::builder("/ready").endpoint("admin").build()?]);
/// assert_eq!(check.to_string(), "all of (GET /health at the first endpoint, GET /ready at endpoint admin)");
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
///
/// Checks of different types are added one by one: `all([http]).and(smoke)`.
pub fn all<C: HealthCheck>(checks: impl IntoIterator<Item = C>) -> All {
    All(checks.into_iter().map(boxed).collect())
}

/// One of these must be well.
///
/// They are made at the same time. Versions that the healthy ones report must agree. When none is well, and one could
/// not be made at all, that one's error is returned.
///
/// ```
/// use bluegreen_http::{HttpCheck, any};
///
/// let check = any([HttpCheck::get("/health")?]).or(HttpCheck::get("/up")?);
/// assert_eq!(check.to_string(), "any of (GET /health at the first endpoint, GET /up at the first endpoint)");
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
pub fn any<C: HealthCheck>(checks: impl IntoIterator<Item = C>) -> Any {
    Any(checks.into_iter().map(boxed).collect())
}

/// See [`all`].
#[derive(Debug)]
pub struct All(Vec<Box<dyn HealthCheck>>);

/// See [`any`].
#[derive(Debug)]
pub struct Any(Vec<Box<dyn HealthCheck>>);

impl All {
    /// Adds one more that must be well.
    #[must_use]
    pub fn and(mut self, check: impl HealthCheck) -> Self {
        self.0.push(boxed(check));
        self
    }
}

impl Any {
    /// Adds one more that may be the one.
    #[must_use]
    pub fn or(mut self, check: impl HealthCheck) -> Self {
        self.0.push(boxed(check));
        self
    }
}

#[async_trait]
impl HealthCheck for All {
    async fn check(&self, target: &Target, instance: &Instance) -> Result<Health> {
        all_well(made(&self.0, target, instance).await?)
    }

    fn tells_version(&self) -> bool {
        self.0.iter().any(HealthCheck::tells_version)
    }
}

#[async_trait]
impl HealthCheck for Any {
    async fn check(&self, target: &Target, instance: &Instance) -> Result<Health> {
        any_well(made(&self.0, target, instance).await?)
    }

    /// Each of them may be the one that is well.
    fn tells_version(&self) -> bool {
        self.0.iter().all(HealthCheck::tells_version)
    }
}

impl Display for All {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, "all", &self.0)
    }
}

impl Display for Any {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, "any", &self.0)
    }
}

fn boxed(check: impl HealthCheck) -> Box<dyn HealthCheck> {
    Box::new(check)
}

async fn made(
    checks: &[Box<dyn HealthCheck>],
    target: &Target,
    instance: &Instance,
) -> Result<Vec<(String, Result<Health>)>> {
    if checks.is_empty() {
        return Err(Error::config("a combination of no checks says nothing about health"));
    }
    Ok(join_all(checks.iter().map(|check| async { (check.to_string(), check.check(target, instance).await) })).await)
}

/// The verdict when every part must be well; parts are named for the reason.
pub(crate) fn all_well(parts: Vec<(String, Result<Health>)>) -> Result<Health> {
    let (mut versions, mut reasons) = (Vec::new(), Vec::new());
    for (name, result) in parts {
        match result? {
            Health::Healthy { version } => versions.extend(version.map(|version| (name, version))),
            Health::Unhealthy { reason } => reasons.push(reason),
        }
    }
    if reasons.is_empty() { Ok(agreed(versions)) } else { Ok(Health::unhealthy(reasons.join("; "))) }
}

fn any_well(parts: Vec<(String, Result<Health>)>) -> Result<Health> {
    let (mut versions, mut reasons, mut well, mut trouble) = (Vec::new(), Vec::new(), false, None);
    for (name, result) in parts {
        match result {
            Ok(Health::Healthy { version }) => {
                well = true;
                versions.extend(version.map(|version| (name, version)));
            }
            Ok(Health::Unhealthy { reason }) => reasons.push(reason),
            Err(error) => trouble = trouble.or(Some(error)),
        }
    }
    match trouble {
        _ if well => Ok(agreed(versions)),
        Some(error) => Err(error),
        None => Ok(Health::unhealthy(format!("none is well: {}", reasons.join("; ")))),
    }
}

fn agreed(versions: Vec<(String, Version)>) -> Health {
    let Some((_, first)) = versions.first() else { return Health::healthy() };
    if versions.iter().all(|(_, version)| version == first) {
        return Health::healthy_as(first.clone());
    }
    let reports: Vec<_> = versions.iter().map(|(name, version)| format!("{name} says {version}")).collect();
    Health::unhealthy(format!("the versions contradict each other: {}", reports.join(", ")))
}

fn list(f: &mut fmt::Formatter<'_>, word: &str, checks: &[Box<dyn HealthCheck>]) -> fmt::Result {
    let names: Vec<_> = checks.iter().map(ToString::to_string).collect();
    write!(f, "{word} of ({})", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bluegreen_core::ErrorKind;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Part {
        Well(Option<u8>),
        Ill,
        Unmade,
    }

    fn result(part: &Part) -> (String, Result<Health>) {
        let health = match part {
            Part::Well(None) => Ok(Health::healthy()),
            Part::Well(Some(version)) => Ok(Health::healthy_as(Version::new(version.to_string()).unwrap())),
            Part::Ill => Ok(Health::unhealthy("ill")),
            Part::Unmade => Err(Error::new(ErrorKind::Unreachable, "no tunnel")),
        };
        ("part".to_owned(), health)
    }

    fn parts() -> impl Strategy<Value = Vec<Part>> {
        let part = prop_oneof![
            4 => proptest::option::of(0..2_u8).prop_map(Part::Well),
            1 => Just(Part::Ill),
            1 => Just(Part::Unmade),
        ];
        proptest::collection::vec(part, 1..5)
    }

    fn versions(parts: &[Part]) -> std::collections::BTreeSet<u8> {
        parts.iter().filter_map(|part| if let Part::Well(version) = part { *version } else { None }).collect()
    }

    proptest! {
        #[test]
        fn all_are_well_only_when_each_is_and_no_version_contradicts_another(parts in parts()) {
            let verdict = all_well(parts.iter().map(result).collect());
            let unmade = parts.iter().any(|part| matches!(part, Part::Unmade));
            let each_well = parts.iter().all(|part| matches!(part, Part::Well(_)));
            prop_assert_eq!(verdict.is_err(), unmade);
            if let Ok(health) = verdict {
                let well = matches!(health, Health::Healthy { .. });
                prop_assert_eq!(well, each_well && versions(&parts).len() <= 1);
            }
        }

        #[test]
        fn any_is_well_when_one_is_and_no_version_contradicts_another(parts in parts()) {
            let verdict = any_well(parts.iter().map(result).collect());
            let one_well = parts.iter().any(|part| matches!(part, Part::Well(_)));
            match verdict {
                Ok(Health::Healthy { .. }) => prop_assert!(one_well && versions(&parts).len() <= 1),
                Ok(Health::Unhealthy { .. }) => {
                    prop_assert!(versions(&parts).len() > 1 || parts.iter().all(|part| matches!(part, Part::Ill)));
                }
                Err(_) => prop_assert!(!one_well && parts.iter().any(|part| matches!(part, Part::Unmade))),
            }
        }
    }
}
