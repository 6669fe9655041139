//! The forms in which Compose shows the values that were given as secrets.

use std::iter;

use bluegreen_core::{Mask, Secret};

/// Shorter ones are no secrets but settings such as `4` or `true`, and hiding these would make texts unreadable.
const SHORTEST: usize = 6;

/// Hides the values of the variables that were given for the compose file.
pub(crate) fn mask_of<'a>(secrets: impl Iterator<Item = &'a Secret>) -> Mask {
    // One of several lines, such as a key, is shown line by line.
    let parts = secrets.map(Secret::reveal).flat_map(|secret| iter::once(secret).chain(secret.lines().map(str::trim)));
    let mut mask = Mask::default();
    for part in parts.filter(|part| part.len() >= SHORTEST) {
        mask.add(part);
        // Compose doubles each dollar in what it prints.
        mask.add(&part.replace('$', "$$"));
    }
    mask
}

/// The output of a program, masked; its beginning is missing where it `is_cut`.
pub(crate) fn masked_output(mask: &Mask, bytes: &[u8], is_cut: bool) -> String {
    let text = String::from_utf8_lossy(bytes);
    if is_cut { mask.apply_to_end(&text) } else { mask.apply(&text).into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_settings_are_not() {
        let secrets = ["4", "hunter2", "hunter2-and-more", "pa$$word"].map(Secret::new);
        let mask = mask_of(secrets.iter());
        assert_eq!(mask.apply("4 times hunter2, hunter2-and-more"), "4 times ***, ***");
        assert_eq!(mask.apply("pa$$word, pa$$$$word"), "***, ***");
    }

    #[test]
    fn each_line_of_a_secret_of_several_lines_is_hidden() {
        let key = Secret::new("-----BEGIN KEY-----\r\nMIIB$hunter2\n-----END KEY-----\n");
        let mask = mask_of(iter::once(&key));
        assert_eq!(mask.apply(key.reveal()), "***");
        assert_eq!(mask.apply("read MIIB$hunter2, then MIIB$$hunter2"), "read ***, then ***");
        assert_eq!(mask.apply("-----BEGIN KEY-----\nMIIB$hunter2\n"), "***\n***\n");
    }
}
