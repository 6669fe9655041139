//! When a reload is over: its return says only that nginx was told.

use std::time::Duration;

use bluegreen_core::Result;
use tokio::time::{Instant, sleep};

use crate::answer::Answer;
use crate::script::{Reply, Script};
use crate::server::Server;

/// Between two looks at the workers.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// For how long the answers must be the same where nginx's workers cannot be seen, or it is not known which of them are
/// old. Old and new answers were seen to alternate for up to 0.13 s.
pub(crate) const WITHOUT_WORKERS: Duration = Duration::from_secs(1);

/// How a reload ended.
#[derive(Debug)]
pub(crate) enum Reload {
    /// Every worker that takes requests runs the new configuration.
    Done,
    /// nginx keeps the old configuration, for this reason.
    Refused(String),
    /// The time was over; this was still missing.
    Late(String),
}

/// Waits until a reload is over. `before` is what [`test_and_reload`](../scripts/lib.sh) replied; `is_new` tells an
/// answer of the new configuration.
pub(crate) async fn wait(server: &Server, before: &Reply, is_new: impl Fn(&Answer) -> bool) -> Result<Reload> {
    let config = &server.config;
    let (start, limit) = (Instant::now(), config.confirm_within);
    let size = before.get("log").unwrap_or("0");
    let look = || {
        let log = config.error_log.as_deref().unwrap_or_default();
        server.run(Script::look(
            "look at nginx's workers",
            include_str!("scripts/look_reload.sh"),
            &[&config.pid_file, log, size],
        ))
    };
    let old: Vec<_> = before.all("worker").filter_map(|worker| worker.split_once(' ')).map(|(id, _)| id).collect();
    let hidden = before.all("worker").any(|worker| worker == "unknown");
    loop {
        let now = look().await?;
        if let Some(reason) = refusal(now.all("log")) {
            return Ok(Reload::Refused(reason));
        }
        let working = |id: &&&str| now.all("worker").any(|worker| worker == format!("{id} working"));
        let left = old.iter().filter(working).count();
        if left == 0 {
            break;
        }
        if start.elapsed() > limit {
            return Ok(Reload::Late(format!("{left} workers with the old configuration still take requests")));
        }
        sleep(LOOK_EVERY).await;
    }

    let line = server.line().await?;
    let (mut streak, first) = (0, Instant::now());
    while streak < config.answers_in_a_row || (hidden && first.elapsed() < WITHOUT_WORKERS) {
        let answer = server.ask(&line, None).await;
        streak = if answer.as_ref().is_ok_and(&is_new) { streak + 1 } else { 0 };
        if start.elapsed() > limit {
            let last = answer.map_or_else(|error| error.to_string(), |answer| answer.describe());
            return Ok(match refusal(look().await?.all("log")) {
                Some(reason) => Reload::Refused(reason),
                None => Reload::Late(format!("the last answer was: {last}")),
            });
        }
        if streak == 0 || hidden {
            sleep(LOOK_EVERY).await;
        }
    }
    Ok(Reload::Done)
}

/// What the error log has against the new configuration. A port that is busy is tried again by nginx for 2.5 s, and final
/// only then.
fn refusal<'a>(lines: impl Iterator<Item = &'a str>) -> Option<String> {
    let lines: Vec<_> = lines.collect();
    let busy = |line: &str| line.contains("bind() to ");
    let last = lines.iter().rev().find(|line| !busy(line))?;
    let first_busy = lines.iter().find(|line| busy(line)).filter(|_| last.contains("could not bind"));
    Some(first_busy.unwrap_or(last).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_port_is_a_refusal_only_when_nginx_has_given_up() {
        let busy = "2026/01/01 00:00:00 [emerg] 1#1: bind() to 127.0.0.1:80 failed (98: Address already in use)";
        let over = "2026/01/01 00:00:02 [emerg] 1#1: still could not bind()";
        let other = "2026/01/01 00:00:00 [emerg] 1#1: unknown directive \"foo\" in /etc/nginx/nginx.conf:1";
        assert_eq!(refusal([].into_iter()), None);
        assert_eq!(refusal([busy, busy].into_iter()), None);
        assert_eq!(refusal([busy, busy, over].into_iter()).as_deref(), Some(busy));
        assert_eq!(refusal([other].into_iter()).as_deref(), Some(other));
    }
}
