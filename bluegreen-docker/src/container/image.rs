//! The name of a release's image.

use bluegreen_core::{Error, Result, Target};

/// Fills in `${VERSION}`, `${SLOT}`, and the release's settings.
pub(super) fn name(template: &str, target: &Target) -> Result<String> {
    let refused = |what: String| Error::config(what).with("image", template);
    let (mut name, mut rest) = (String::new(), template);
    while let Some((before, after)) = rest.split_once("${") {
        let (variable, behind) = after.split_once('}').ok_or_else(|| refused("a `${` has no `}`".to_owned()))?;
        let value = match variable {
            "VERSION" => Some(target.version().as_str()),
            "SLOT" => Some(target.slot.as_str()),
            setting => target.release.setting(setting),
        };
        let value = value.ok_or_else(|| {
            refused(format!("the release has no setting {variable:?} for the image's name"))
                .with_hint("`.with_setting(..)` gives it; VERSION and SLOT are there by themselves")
        })?;
        name = name + before + value;
        rest = behind;
    }
    Ok(name + rest)
}

#[cfg(test)]
mod tests {
    use bluegreen_core::{OperationId, Release, ServiceName, Slot};

    use super::*;

    #[test]
    fn variables_are_filled_in_or_named_where_they_are_missing() {
        let release = Release::new("1.0").unwrap().with_setting("TAG", "${VERSION}");
        let target =
            Target::new(ServiceName::new("shop").unwrap(), Slot::Blue, release, OperationId::new("op-1").unwrap());
        let filled = |template: &str| name(template, &target);
        assert_eq!(filled("shop:${VERSION}-${SLOT}").unwrap(), "shop:1.0-blue");
        assert_eq!(filled("shop").unwrap(), "shop");
        // What was filled in is not read again.
        assert_eq!(filled("${TAG}x").unwrap(), "${VERSION}x");
        assert!(filled("shop:${OTHER}").unwrap_err().to_string().contains("\"OTHER\""));
        assert!(filled("shop:${VERSION").is_err());
    }
}
