//! The text of a site, from the templates.

mod context;
mod quote;

use bluegreen_core::{Result, Slot, sha256_hex};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value};

use crate::config::NginxConfig;
use crate::error::Failure;
use crate::nginx_version::NginxVersion;
use crate::slot_addresses::SlotAddresses;

pub(crate) use context::HEADER;

use context::Context;

const TEMPLATES: [(&str, &str); 10] = [
    ("flag_site", include_str!("templates/flag_site.conf.j2")),
    ("slot_site", include_str!("templates/slot_site.conf.j2")),
    ("head", include_str!("templates/head.j2")),
    ("buckets", include_str!("templates/buckets.j2")),
    ("servers", include_str!("templates/servers.j2")),
    ("app", include_str!("templates/app.j2")),
    ("server", include_str!("templates/server.j2")),
    ("proxy", include_str!("templates/proxy.j2")),
    ("proxy_headers", include_str!("templates/proxy_headers.j2")),
    ("locations", include_str!("templates/locations.j2")),
];

/// Of a digest that names a text: enough to tell it from all others that were ever made here.
const ID_LENGTH: usize = 12;

/// A rendered site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) text: String,
    /// Names this text: nginx answers with it, and so tells which text it has loaded.
    pub(crate) id: String,
}

impl NginxConfig {
    /// [`NginxRouter`](crate::NginxRouter)'s site as text, with the configured addresses of the slots.
    ///
    /// # Errors
    /// `Config` with the value that is refused.
    pub fn render(&self) -> Result<String> {
        self.check()?;
        Ok(flag_site(self, &self.slots, None)?.text)
    }

    /// A slot's site of [`NginxSymlinkRouter`](crate::NginxSymlinkRouter) as text, with the configured addresses of the
    /// slots.
    ///
    /// # Errors
    /// `Config` with the value that is refused.
    pub fn render_slot(&self, slot: Slot) -> Result<String> {
        self.check()?;
        Ok(slot_site(self, slot, &self.slots, None)?.text)
    }
}

/// The one site of the flag router, with both slots.
pub(crate) fn flag_site(config: &NginxConfig, slots: &SlotAddresses, version: Option<NginxVersion>) -> Result<Site> {
    site("flag_site", Context::new(config, slots, None, version)?)
}

/// A slot's own site.
pub(crate) fn slot_site(
    config: &NginxConfig,
    slot: Slot,
    slots: &SlotAddresses,
    version: Option<NginxVersion>,
) -> Result<Site> {
    let mut named = slots.clone();
    if !config.backup {
        // What the other slot does is nothing that this site must be reloaded for.
        named.of_mut(slot.other()).clear();
        named.set_version(slot.other(), None);
    }
    site("slot_site", Context::new(config, &named, Some(slot), version)?)
}

fn site(template: &str, mut context: Context<'_>) -> Result<Site> {
    let unnamed = render(template, &context)?;
    context.id = sha256_hex(unnamed)[..ID_LENGTH].to_owned();
    Ok(Site { text: render(template, &context)?, id: context.id })
}

fn render(template: &str, context: &Context<'_>) -> Result<String> {
    let rendered =
        environment().and_then(|environment| environment.get_template(template)?.render(Value::from(Serde(context))));
    Ok(rendered.map_err(Failure::Template)?)
}

fn environment() -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment
        .set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build()?);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    for (name, text) in TEMPLATES {
        environment.add_template(name, text)?;
    }
    Ok(environment)
}

/// The service that a site's text says it is of.
pub(crate) fn service_of(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("\"service=")?;
    rest.split([' ', '"']).next()
}

/// The id that a site's text says it has.
pub(crate) fn id_of(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once(" site=")?;
    rest.split([' ', '"']).next().filter(|id| !id.is_empty())
}

/// Whether the text is still the one that was rendered: its id is the digest of all the rest of it.
pub(crate) fn is_as_rendered(text: &str) -> bool {
    let whole = |id: &str| sha256_hex(text.replace(&format!(" site={id}"), " site="))[..ID_LENGTH] == *id;
    id_of(text).is_some_and(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> NginxConfig {
        NginxConfig::new("shop").server_name("shop.example.com").slots((vec!["127.0.0.1:4000"], vec![]))
    }

    fn both(config: &NginxConfig, version: Option<NginxVersion>) -> [Site; 2] {
        let slots = &config.slots;
        [flag_site(config, slots, version).unwrap(), slot_site(config, Slot::Blue, slots, version).unwrap()]
    }

    #[test]
    fn a_directive_is_written_only_where_the_server_has_it() {
        let has = |version: Option<NginxVersion>, directive: &str| {
            let found = both(&config(), version).map(|site| site.text.contains(directive));
            assert_eq!(found[0], found[1]);
            found[0]
        };
        let version = |minor, patch| Some(NginxVersion(1, minor, patch));
        for unknown in [None, version(22, 1), version(27, 3)] {
            assert!(!has(unknown, "keepalive_min_timeout") && !has(unknown, "keepalive 0;"));
        }
        assert!(has(version(27, 4), "keepalive_min_timeout 5s;") && !has(version(27, 4), "keepalive 0;"));
        assert!(has(version(29, 7), "keepalive_min_timeout 5s;") && has(version(29, 7), "keepalive 0;"));
    }

    #[test]
    fn the_id_of_a_site_changes_with_its_text_and_is_part_of_it() {
        let one = both(&config(), None);
        let two = both(&config().slots((["127.0.0.1:4000"], ["127.0.0.1:4001"])), None);
        assert_eq!(one, both(&config(), None));
        assert_ne!(one[0].id, two[0].id);
        assert!(one.iter().all(|site| site.text.contains(&format!("site={}", site.id))));
    }

    #[test]
    fn a_text_that_anybody_has_changed_is_not_as_it_was_rendered() {
        let names = ["shop", "site", "a-service-with-a-name-that-is-long"];
        for site in names.iter().flat_map(|name| both(&config().service(*name).server_name("x.test"), None)) {
            assert!(is_as_rendered(&site.text), "{}", site.text);
            assert_eq!(id_of(&site.text), Some(site.id.as_str()));
            let line = site.text.replacen("listen 80;", "listen 80;\n    listen 443 ssl; # managed by Certbot", 1);
            for changed in [line, site.text.replace(&site.id, "0123456789ab"), site.text.replacen('\n', "", 1)] {
                assert!(changed != site.text && !is_as_rendered(&changed), "{changed}");
            }
        }
        assert!(!is_as_rendered("") && !is_as_rendered("server { listen 80; }"));
    }

    #[test]
    fn without_a_backup_a_slots_site_does_not_depend_on_the_other_slot() {
        let other = config().slots((["127.0.0.1:4000"], ["127.0.0.1:4001"]));
        assert_eq!(both(&config(), None)[1], both(&other, None)[1]);
        let (alone, beside) = (config().backup(true), other.backup(true));
        assert_ne!(both(&alone, None)[1], both(&beside, None)[1]);
    }
}
