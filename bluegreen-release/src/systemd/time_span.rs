//! Time spans as systemd prints them.

use std::time::Duration;

/// A span such as `1min 30s`; `None` for `infinity`, and for what is none.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let part = |word: &str| {
        let digits = word.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, unit) = word.split_at(digits);
        let seconds = match unit {
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            "w" => 604_800.0,
            _ => return None,
        };
        Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
    };
    let parts: Option<Vec<_>> = text.split_whitespace().map(part).collect();
    parts.filter(|parts| !parts.is_empty()).map(|parts| parts.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_systemd_prints_them() {
        for (text, millis) in [("1min 30s", Some(90_000)), ("250ms", Some(250)), ("1h 1min 1s 5ms", Some(3_661_005))] {
            assert_eq!(parse(text), millis.map(Duration::from_millis), "{text}");
        }
        for text in ["infinity", "", "90", "s", "1 month"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
