//! The name of an image, as compose files and registries write it.

use std::fmt;
use std::str::FromStr;

use bluegreen_core::{Error, Result};

/// `[registry/]repository[:tag][@digest]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Reference {
    /// With the registry, without tag and digest.
    pub(crate) name: String,
    pub(crate) tag: Option<String>,
    pub(crate) digest: Option<String>,
}

/// Where images without a registry in their name come from, as the client's `config.json` calls it.
pub(crate) const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// What else it is called in the names of images.
const HUB_NAMES: [&str; 2] = ["docker.io", "index.docker.io"];

impl Reference {
    /// The registry, as credentials are filed under it.
    pub(crate) fn registry(&self) -> &str {
        match self.name.split_once('/') {
            Some((first, _)) if HUB_NAMES.contains(&first) => DOCKER_HUB,
            Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
            _ => DOCKER_HUB,
        }
    }

    /// The name as the engine writes it: without Docker Hub's, and without the `library` of its own images.
    pub(crate) fn familiar_name(&self) -> &str {
        let on_hub = |hub: &&str| self.name.strip_prefix(*hub)?.strip_prefix('/');
        let name = HUB_NAMES.iter().find_map(on_hub).unwrap_or(&self.name);
        name.strip_prefix("library/").unwrap_or(name)
    }

    /// What to fetch: the digest where there is one, else the tag.
    pub(crate) fn tag_or_digest(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }

    /// The same image by the digest that was resolved. The tag stays for people to read.
    pub(crate) fn pinned(&self, digest: &str) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        format!("{}{tag}@{digest}", self.name)
    }

    /// By name and digest alone.
    pub(crate) fn by_digest(&self, digest: &str) -> String {
        format!("{}@{digest}", self.name)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// What to do about a version such as `1.4.0+build.7`.
const NO_PLUS: &str = "a version with a + cannot be a tag: push the image with another sign in its place, and name it by a \
                       setting of the release, as in `image: shop:${TAG}` and `.with_setting(\"TAG\", \"1.4.0_build.7\")`";

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refused = |why: &str| Error::config(format!("{text:?} is not the name of an image: {why}"));
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_owned())),
            Some(_) => return Err(refused("what follows @ is sha256: and 64 hexadecimal digits")),
        };
        // A colon before the last slash belongs to the registry's port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag.to_owned())),
            _ => (rest, None),
        };
        if !tag.as_deref().is_none_or(is_tag) {
            let error = refused("a tag is made of A-Z a-z 0-9 _ . - and has at most 128 characters");
            let has_build = tag.as_deref().is_some_and(|tag| tag.contains('+'));
            return Err(if has_build { error.with_hint(NO_PLUS) } else { error });
        }
        let is_word = |c: char| c.is_ascii_alphanumeric() || "._-/:[]".contains(c);
        if name.is_empty()
            || !name.chars().all(is_word)
            || !name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
        {
            return Err(refused("a name is made of letters, digits, and . _ - /"));
        }
        Ok(Self { name: name.to_owned(), tag, digest })
    }
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.chars().all(|c| c.is_ascii_hexdigit()))
}

fn is_tag(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    !text.is_empty() && text.len() <= 128 && text.chars().all(good) && !text.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Reference {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_is_taken_apart_and_put_together_again() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for text in ["redis", "redis:7", "ghcr.io/x/api:1.0", "127.0.0.1:5000/t/app", "localhost:5000/app:1"] {
            assert_eq!(parse(text).to_string(), text);
            let pinned = format!("{text}@{digest}");
            assert_eq!(parse(&pinned).to_string(), pinned);
            assert_eq!(parse(text).pinned(&digest), pinned);
        }
        assert_eq!(parse("127.0.0.1:5000/t/app").tag, None);
        assert_eq!(parse("127.0.0.1:5000/t/app:1").tag.as_deref(), Some("1"));
    }

    #[test]
    fn the_registry_is_found_in_the_name() {
        assert_eq!(parse("redis:7").registry(), DOCKER_HUB);
        assert_eq!(parse("library/redis").registry(), DOCKER_HUB);
        assert_eq!(parse("docker.io/me/api:1").registry(), DOCKER_HUB);
        assert_eq!(parse("index.docker.io/me/api").registry(), DOCKER_HUB);
        assert_eq!(parse("ghcr.io/x/api:1.0").registry(), "ghcr.io");
        assert_eq!(parse("docker.io.example.com/x/api").registry(), "docker.io.example.com");
        assert_eq!(parse("127.0.0.1:5000/app").registry(), "127.0.0.1:5000");
        assert_eq!(parse("localhost/app").registry(), "localhost");
    }

    #[test]
    fn an_image_of_docker_hub_has_one_name_however_it_is_written() {
        for text in
            ["redis:7", "library/redis", "docker.io/redis", "docker.io/library/redis:7", "index.docker.io/redis"]
        {
            assert_eq!(parse(text).familiar_name(), "redis", "{text}");
        }
        assert_eq!(parse("docker.io/me/api:1").familiar_name(), "me/api");
        for text in ["ghcr.io/x/api", "localhost/app", "docker.io.example.com/x", "127.0.0.1:5000/library/x"] {
            assert_eq!(parse(text).familiar_name(), text);
        }
    }

    #[test]
    fn a_version_that_cannot_be_a_tag_is_refused_with_what_to_do() {
        let error = "shop/web:1.4.0+build.7".parse::<Reference>().unwrap_err();
        assert!(error.to_string().contains("with_setting"), "{error}");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in ["", ":1", "a b", "app:1.0+build", "app@sha256:12", "app:", "-x", "app;rm", "a\nb"] {
            assert!(bad.parse::<Reference>().is_err(), "{bad:?}");
        }
    }
}
