//! The file that HAProxy reads at its start: what its servers were told.

use bluegreen_core::{Host, Result};

/// What a line of `show servers state` says beside what was told: how long a state lasts, and what checks found.
const OBSERVED: [usize; 7] = [5, 9, 10, 11, 12, 13, 14];

pub(crate) fn path(state_directory: &str) -> String {
    format!("{}/servers", state_directory.trim_end_matches('/'))
}

pub(crate) async fn write(host: &dyn Host, state_directory: &str, states: &str) -> Result<()> {
    // HAProxy reads it as root, before it gives that up.
    host.write(&path(state_directory), format!("{states}\n").as_bytes(), 0o644).await
}

/// Whether the file tells HAProxy at its next start to do what it does now.
pub(crate) async fn is_up_to_date(host: &dyn Host, state_directory: &str, states: &str) -> Result<bool> {
    let kept = host.read(&path(state_directory)).await?;
    let kept = kept.map(|kept| String::from_utf8_lossy(&kept).into_owned()).unwrap_or_default();
    Ok(told(&kept) == told(states))
}

fn told(states: &str) -> Vec<Vec<&str>> {
    let rows = states.lines().filter(|line| !line.starts_with('#') && line.contains(' '));
    rows.map(|row| {
        let values = row.split(' ').enumerate();
        values.filter(|(place, _)| !OBSERVED.contains(place)).map(|(_, value)| value).collect()
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_checks_found_is_no_difference_and_a_weight_is() {
        let row = |operation, weight, age| {
            format!(
                "1\n# be_id ...\n3 shop 1 blue1 127.0.0.1 {operation} 4 {weight} 0 {age} 1 0 0 8 0 0 0 - 80 - 0 0 - - 0"
            )
        };
        assert_eq!(told(&row(2, 30, 5)), told(&row(0, 30, 77)));
        assert_ne!(told(&row(2, 30, 5)), told(&row(2, 31, 5)));
        assert_ne!(told(&row(2, 30, 5)), told(""));
    }
}
