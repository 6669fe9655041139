//! Numbers as people read them.

use std::time::Duration;

/// `1234567` as `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `0.001` as `0.1 %`.
pub(super) fn percent(rate: f64) -> String {
    let text = format!("{:.6}", rate * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Whole seconds, rounded up: what is left to wait is never said to be nothing.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs() + u64::from(duration.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let all = [0, 12, 123, 1234, 123_456, 1_234_567].map(grouped);
        assert_eq!(all, ["0", "12", "123", "1,234", "123,456", "1,234,567"]);
        assert_eq!([0.001, 0.05, 0.07, 0.5].map(percent), ["0.1 %", "5 %", "7 %", "50 %"]);
        assert_eq!([1, 1000, 1001].map(|millis| seconds(Duration::from_millis(millis))), ["1 s", "1 s", "2 s"]);
    }
}
