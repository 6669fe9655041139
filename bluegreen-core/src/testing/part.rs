use std::io::Write;

/// Whether a test can run that needs a real part, such as a server that is installed: what `is_here` says.
///
/// Where it is missing, a line on standard error says that the test is skipped, and why, also when the test passes. Where
/// the environment has `BLUEGREEN_REQUIRE_ALL`, with any value, nothing is skipped: see below. `advice` says how to get the
/// part.
///
/// ```
/// use bluegreen_core::testing::part_is_here;
///
/// # fn nginx_is_installed() -> bool { true }
/// fn a_shift_is_seen_by_the_next_request() {
///     if !part_is_here("nginx", nginx_is_installed(), "install nginx-light") {
///         return;
///     }
///     // ...
/// }
/// # a_shift_is_seen_by_the_next_request();
/// ```
///
/// # Panics
/// When the part is missing, and `BLUEGREEN_REQUIRE_ALL` is set.
#[must_use = "a test whose part is missing has to end"]
pub fn part_is_here(part: &str, is_here: bool, advice: &str) -> bool {
    decide(part, is_here, advice, std::env::var_os("BLUEGREEN_REQUIRE_ALL").is_some())
}

fn decide(part: &str, is_here: bool, advice: &str, all_is_required: bool) -> bool {
    if is_here {
        return true;
    }
    assert!(!all_is_required, "{part} is missing, and everything is required: {advice}");
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // Not by `eprintln!`, which the test harness keeps to itself when a test passes.
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {part} is missing ({advice})");
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_here_is_always_used_and_a_missing_one_is_skipped() {
        assert!(decide("nginx", true, "install it", true));
        assert!(decide("nginx", true, "install it", false));
        assert!(!decide("nginx", false, "install it", false));
    }

    #[test]
    #[should_panic(expected = "nginx is missing, and everything is required: install it")]
    fn a_part_that_is_missing_fails_the_test_where_everything_is_required() {
        let _ = decide("nginx", false, "install it", true);
    }
}
