//! When a reload is over: its return says only that nginx was told.

use std::time::Duration;

use bluegreen_core::Result;
use bluegreen_core::host::{Reply, Script};
use tokio::time::{Instant, sleep};

use crate::answer::Answer;
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
    /// nginx runs the new configuration, and something else than the service's site answers: this.
    Elsewhere(String),
}

/// What an answer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shows {
    /// The new configuration.
    New,
    /// The service's site, as it was before.
    Old,
    /// Another site.
    Other,
}

/// Waits until a reload is over. `before` is what [`test_and_reload`](../scripts/lib.sh) replied; `shows` judges an answer.
pub(crate) async fn wait(server: &Server, before: &Reply, shows: impl Fn(&Answer) -> Shows) -> Result<Reload> {
    let config = &server.config;
    let (start, limit) = (Instant::now(), config.confirm_deadline);
    let hidden = are_hidden(before);
    match replaced(server, before).await? {
        Reload::Done => {}
        ended => return Ok(ended),
    }

    let line = server.line().await?;
    let (mut streak, first, mut foreign_since) = (0, Instant::now(), None);
    while streak < config.answers_in_a_row || (hidden && first.elapsed() < WITHOUT_WORKERS) {
        let answer = server.ask(&line, None).await;
        let shown = answer.as_ref().ok().map(&shows);
        streak = if shown == Some(Shows::New) { streak + 1 } else { 0 };
        let since = *foreign_since.get_or_insert_with(Instant::now);
        if shown != Some(Shows::Other) {
            foreign_since = None;
        }
        // Where all workers are new, no other answer will come.
        let settled = !hidden && shown == Some(Shows::Other) && since.elapsed() > WITHOUT_WORKERS;
        if settled || start.elapsed() > limit {
            let last = answer.map_or_else(|error| error.to_string(), |answer| answer.describe());
            return Ok(match refusal(look(server, before).await?.all("log")) {
                Some(reason) => Reload::Refused(reason),
                None if shown == Some(Shows::Other) => Reload::Elsewhere(last),
                None => Reload::Late(format!("the last answer was: {last}")),
            });
        }
        if streak == 0 || hidden {
            sleep(LOOK_EVERY).await;
        }
    }
    Ok(Reload::Done)
}

/// Waits until no worker of before takes requests any more, where workers can be seen.
pub(crate) async fn replaced(server: &Server, before: &Reply) -> Result<Reload> {
    let (start, limit) = (Instant::now(), server.config.confirm_deadline);
    let old: Vec<_> = before.all("worker").filter_map(|worker| worker.split_once(' ')).map(|(id, _)| id).collect();
    loop {
        let now = look(server, before).await?;
        if let Some(reason) = refusal(now.all("log")) {
            return Ok(Reload::Refused(reason));
        }
        let working = |id: &&&str| now.all("worker").any(|worker| worker == format!("{id} working"));
        let left = old.iter().filter(working).count();
        if left == 0 {
            return Ok(Reload::Done);
        }
        if start.elapsed() > limit {
            return Ok(Reload::Late(format!("{left} workers with the old configuration still take requests")));
        }
        sleep(LOOK_EVERY).await;
    }
}

fn are_hidden(before: &Reply) -> bool {
    before.all("worker").any(|worker| worker == "unknown")
}

async fn look(server: &Server, before: &Reply) -> Result<Reply> {
    let config = &server.config;
    let (log, size) = (config.layout.error_log.as_deref().unwrap_or_default(), before.get("log").unwrap_or("0"));
    let script = Script::new("look at nginx's workers", include_str!("scripts/look_reload.sh")).read_only();
    server.run(script.args([&*config.layout.pid_file, log, size])).await
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
