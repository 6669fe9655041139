//! The forms in which HTTP carries secrets.

use bluegreen_core::{Mask, Secret};

use crate::escape::url_component;

/// Hides these secrets.
pub(crate) fn mask_of<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Mask {
    let mut mask = Mask::default();
    for secret in secrets {
        hide(&mut mask, secret.reveal());
    }
    mask
}

/// Hides one more: as it is, as a URL carries it, and as JSON writes it.
pub(crate) fn hide(mask: &mut Mask, secret: &str) {
    let json = serde_json::Value::from(secret).to_string();
    for form in [secret, &url_component(secret), &json[1..json.len() - 1]] {
        mask.add(form);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_raw_in_urls_and_in_json() {
        let mask = mask_of(&[Secret::new("p\"a s/s")]);
        assert_eq!(mask.apply("p\"a s/s"), "***");
        assert_eq!(mask.apply("/x?y=p%22a%20s%2Fs&z"), "/x?y=***&z");
        assert_eq!(mask.apply(r#"{"k":"p\"a s/s"}"#), r#"{"k":"***"}"#);
    }
}
