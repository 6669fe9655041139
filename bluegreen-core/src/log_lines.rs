//! Which lines of a log are worth showing.

/// The last `count` lines that tell something, oldest first: those in which a web server notes that it answered a health check
/// well are left out, or they would be all that is seen of a release that failed.
pub fn telling_lines(lines: impl IntoIterator<Item = String>, count: usize) -> Vec<String> {
    let mut lines: Vec<_> = lines.into_iter().filter(|line| !is_health_check(line)).collect();
    lines.split_off(lines.len().saturating_sub(count))
}

/// Programs that ask for nothing else, as they call themselves.
const CHECKERS: [&str; 5] = ["bluegreen/", "kube-probe/", "ELB-HealthChecker/", "GoogleHC/", "Consul Health Check"];

/// Parts of the paths that only such programs ask for.
const PATHS: [&str; 6] = ["health", "ready", "livez", "liveness", "heartbeat", "ping"];

fn is_health_check(line: &str) -> bool {
    let Some(path) = asked_for(line) else { return false };
    let is_for_checks = PATHS.iter().any(|part| path.contains(part)) || CHECKERS.iter().any(|name| line.contains(name));
    let mut words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '/');
    is_for_checks && words.any(|word| matches!(word, "200" | "204"))
}

/// The path after the method.
fn asked_for(line: &str) -> Option<&str> {
    let rest = ["GET ", "HEAD ", "GET\": \"", "method\":\"GET\""].iter().find_map(|method| line.split_once(method))?.1;
    let start = rest.find('/')?;
    rest.get(start..)?.split([' ', '"', '?', ',']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_to_health_checks_do_not_push_out_the_line_that_matters() {
        let kept = [
            "cannot reach the database",
            r#"10.0.0.1 - - [30/Nov/2026:06:00:00 +0000] "GET /health HTTP/1.1" 503 12 "-" "bluegreen/0.1.0""#,
            r#"10.0.0.1 - - [30/Nov/2026:06:00:00 +0000] "GET /orders/200 HTTP/1.1" 500 12 "-" "Mozilla""#,
            r#"10.0.0.1 - - [30/Nov/2026:06:00:00 +0000] "GET /orders HTTP/1.1" 200 12 "-" "Mozilla""#,
            "the healthcheck of the worker began",
        ];
        let dropped = [
            r#"10.0.0.1 - - [30/Nov/2026:06:00:01 +0000] "GET / HTTP/1.1" 200 12 "-" "bluegreen/0.1.0""#,
            r#"127.0.0.1 - - "GET /api/healthz?full=1 HTTP/1.1" 200 -"#,
            r#"{"level":"info","method":"GET","path":"/readyz","status":200}"#,
            "INFO GET /health 204 0.3ms",
        ];
        let all = kept.iter().flat_map(|line| std::iter::once(line).chain(&dropped)).map(|line| (*line).to_owned());
        assert_eq!(telling_lines(all.clone(), 10), kept);
        assert_eq!(telling_lines(all, 2), kept[3..]);
    }
}
