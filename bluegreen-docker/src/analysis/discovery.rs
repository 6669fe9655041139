//! Reverse proxies that look for containers by themselves would send requests to the slot that has no traffic.

use super::{Findings, Question};

pub(super) fn find(question: &Question<'_>, findings: &mut Findings) {
    for (service, of) in question.in_slot() {
        let labels = of.labels.names();
        let with = |prefix: &str| labels.iter().any(|label| label.starts_with(prefix));
        let is_off = of.labels.get("traefik.enable").is_some_and(|value| value.eq_ignore_ascii_case("false"));
        let found = if with("traefik.") && !is_off {
            Some(("labels", "Traefik", "set the label `traefik.enable: \"false\"`"))
        } else if labels.iter().any(|label| *label == "caddy" || label.starts_with("caddy.")) {
            Some(("labels", "caddy-docker-proxy", "leave its labels out"))
        } else if of.environment.get("VIRTUAL_HOST").is_some_and(|value| !value.is_empty()) {
            Some(("environment", "nginx-proxy", "leave `VIRTUAL_HOST` out"))
        } else {
            None
        };
        if let Some((place, proxy, cure)) = found {
            findings.refuse(
                format!(
                    "services.{service}.{place}: {proxy} finds the containers of both slots by these, and would send requests to \
                     the one that has no traffic"
                ),
                format!("{cure} in {service}, and let {proxy} send requests to the pipeline's router"),
            );
        }
    }
}
