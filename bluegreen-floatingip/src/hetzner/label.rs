//! [`Label`]: whose a resource is.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use bluegreen_core::{Error, ErrorKind, Ownership, Result, ServiceName};
use bluegreen_http_client::Method;
use serde_json::{Value, json};

use super::{RIGHTS, is_busy};
use crate::api::Api;

/// The key of the label. Its value is the name of the service.
pub(super) const LABEL: &str = "bluegreen-service";

/// How long a label's value may be: <https://docs.hetzner.cloud/reference/cloud#labels>.
const LONGEST: usize = 63;

/// The label of one resource, and which service it has to name.
#[derive(Debug, Default)]
pub(super) struct Label {
    ownership: Ownership,
    /// It was read and is ours: nobody changes it.
    ours: AtomicBool,
}

impl Label {
    /// # Errors
    /// `Config` for a name that cannot be a label's value; those of [`Ownership::bind`].
    pub(super) fn bind(&self, service: &ServiceName) -> Result<()> {
        check_value(service.as_str())?;
        self.ownership.bind(service)
    }

    /// Whether nothing has to be read or written any more.
    pub(super) fn is_settled(&self) -> bool {
        self.ownership.service().is_none() || self.ours.load(Ordering::Relaxed)
    }

    /// Compares the labels of the resource as they were just read.
    ///
    /// # Errors
    /// Those of [`Ownership::check`].
    pub(super) fn check(&self, api: &Api, resource: &Value, place: impl fmt::Display) -> Result<()> {
        let mark = resource["labels"][LABEL].as_str().filter(|mark| !mark.is_empty()).map(|mark| api.shown(mark));
        self.ownership.check(mark.as_deref(), place).map_err(|error| error.with("label", LABEL))?;
        self.ours.store(mark.is_some(), Ordering::Relaxed);
        Ok(())
    }

    /// Adds the label to a resource that was just read, and has none. The other labels are written back as they were read:
    /// the API replaces them all. `Some`: not now, for this reason.
    ///
    /// # Errors
    /// When the label was not written, or another service's came in between. What the label is for was not asked for yet.
    pub(super) async fn write(
        &self,
        api: &Api,
        path: &str,
        kind: &str,
        resource: &Value,
        place: impl fmt::Display,
    ) -> Result<Option<String>> {
        let Some(service) = self.ownership.service().filter(|_| !self.is_settled()) else { return Ok(None) };
        let unexpected = |message: &str| {
            let message = format!("the answer is not what was expected: {message}");
            Error::new(ErrorKind::Unexpected, message).with_operation(PURPOSE).not_applied()
        };
        let Some(mut labels) = resource["labels"].as_object().cloned() else {
            return Err(unexpected("it does not tell the labels, which the write would remove"));
        };
        labels.insert(LABEL.to_owned(), json!(service.as_str()));
        let answer = match api.send(Method::PUT, path, &json!({ "labels": labels })).await {
            Ok(answer) => answer,
            Err(trouble) => {
                return match is_busy(&trouble) {
                    Some(why) => Ok(Some(why)),
                    None => Err(trouble.looking(PURPOSE, RIGHTS)),
                };
            }
        };
        self.check(api, &answer[kind], place)?;
        if self.is_settled() { Ok(None) } else { Err(unexpected("the label is not in it")) }
    }
}

const PURPOSE: &str = "label the resource as the service's";

fn check_value(service: &str) -> Result<()> {
    let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let edge = |c: char| c.is_ascii_alphanumeric();
    let fits =
        service.len() <= LONGEST && service.chars().all(known) && service.starts_with(edge) && service.ends_with(edge);
    if fits {
        return Ok(());
    }
    let message = format!("the service name {service:?} cannot be the value of the label {LABEL} at Hetzner");
    Err(Error::config(message).not_applied().with_hint(format!(
        "name the service by at most {LONGEST} letters, digits, dots, dashes and underscores, with a letter or a digit at the end"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_label_can_hold_is_refused() {
        let name = |name: &str| Label::default().bind(&ServiceName::new(name).unwrap());
        for good in ["shop", "Shop-2.eu_west", "7", &"x".repeat(LONGEST)] {
            name(good).unwrap();
        }
        for bad in ["shop+blog", "shop-", "shop.", &"x".repeat(LONGEST + 1)] {
            assert_eq!(name(bad).unwrap_err().kind(), ErrorKind::Config, "{bad}");
        }
    }
}
