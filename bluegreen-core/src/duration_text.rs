use std::time::Duration;

use crate::error::{Error, Result};

/// A duration as people read it: `12 ms`, `3.4 s`, `2 min 5 s`, `9 d 3 h`.
pub(crate) fn short(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0 => format!("{} µs", duration.as_micros()),
        1..1000 => format!("{millis} ms"),
        1000..60_000 => format!("{:.1} s", duration.as_secs_f64()),
        60_000..3_600_000 => two(millis / 60_000, "min", millis / 1000 % 60, "s"),
        3_600_000..172_800_000 => two(millis / 3_600_000, "h", millis / 60_000 % 60, "min"),
        _ => two(millis / 86_400_000, "d", millis / 3_600_000 % 24, "h"),
    }
}

fn two(large: u128, unit: &str, small: u128, small_unit: &str) -> String {
    match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {small_unit}"),
    }
}

/// A duration as people write it on a command line: `90s`, `15m`, `12h`, `7d`, `2w`.
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(bluegreen_core::parse_duration("7d")?, Duration::from_secs(7 * 24 * 60 * 60));
/// # Ok::<(), bluegreen_core::Error>(())
/// ```
///
/// # Errors
/// `Config` when it is not a whole number with one of these units.
pub fn parse_duration(text: &str) -> Result<Duration> {
    let refused = || {
        Error::config(format!("{text:?} is no duration"))
            .with_hint("write a whole number with a unit: 90s, 15m, 12h, 7d or 2w")
    };
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(refused)?;
    let (number, unit) = text.split_at(split);
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        "w" => 7 * 24 * 60 * 60,
        _ => return Err(refused()),
    };
    let number: u64 = number.parse().map_err(|_| refused())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_they_are_written_and_nothing_else_is() {
        for (text, seconds, shown) in
            [("90s", 90, "1 min 30 s"), ("15m", 900, "15 min"), ("24h", 86_400, "24 h"), ("9d", 777_600, "9 d")]
        {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_secs(seconds));
            assert_eq!(short(Duration::from_secs(seconds)), shown);
        }
        assert_eq!(short(Duration::from_secs(9 * 86_400 + 3 * 3600)), "9 d 3 h");
        for bad in ["", "7", "d", "7 d", "-7d", "7.5d", "7days", "99999999999999999999d", "9999999999999999999w"] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
    }
}
