use std::collections::{BTreeMap, BTreeSet};

use bluegreen_core::{Counters, Error, ErrorKind, Result};

use crate::metrics::exposition::{Labels, Line, Page, write_labels};
use crate::metrics::selector::{Matchers, Selector};

/// How requests and bad ones are told from a page.
#[derive(Debug, Clone)]
pub(crate) enum Counting {
    /// One counter, of which some lines are bad.
    Label { requests: Selector, bad: Matchers },
    /// A counter of its own for bad ones.
    Counters { requests: Selector, bad: Selector },
    /// A histogram: slower than this bound is bad.
    Bucket { histogram: Selector, le: f64 },
}

/// What a page holds: the counters of each series, or why there are none.
#[derive(Debug, PartialEq)]
pub(crate) enum Counted {
    Series(BTreeMap<String, Counters>),
    Nothing(String),
}

impl Counting {
    pub(crate) fn count(&self, page: &Page) -> Result<Counted> {
        match self {
            Self::Label { requests, bad } => by_label(page, requests, bad),
            Self::Counters { requests, bad } => by_counters(page, requests, bad),
            Self::Bucket { histogram, le } => by_bucket(page, histogram, *le),
        }
    }
}

fn by_label(page: &Page, requests: &Selector, bad: &Matchers) -> Result<Counted> {
    let lines: Vec<&Line> = page.lines.iter().filter(|line| requests.matches(line)).collect();
    if lines.is_empty() {
        return Ok(nothing(requests));
    }
    if let Some(label) = bad.required().find(|label| lines.iter().all(|line| !line.labels.contains_key(*label))) {
        let have: BTreeSet<_> = lines.iter().flat_map(|line| line.labels.keys()).collect();
        let have: Vec<_> = have.into_iter().map(String::as_str).collect();
        return Err(Error::config(format!(
            "no line of {requests} has a label {label}; their labels: {}",
            have.join(", ")
        ))
        .with_hint("nothing would ever count as bad"));
    }
    let counted = lines.into_iter().map(|line| {
        let requests = whole(line)?;
        let bad = if bad.select(&line.labels) { requests } else { 0 };
        Ok((series_name(&line.name, &line.labels), Counters { requests, bad }))
    });
    counted.collect::<Result<_>>().map(Counted::Series)
}

fn by_counters(page: &Page, requests: &Selector, bad: &Selector) -> Result<Counted> {
    if !page.lines.iter().any(|line| requests.matches(line)) {
        return Ok(nothing(requests));
    }
    if !page.knows(&bad.name) {
        let why = format!("the page does not know {}; a counter that is registered shows as 0", bad.name);
        return Ok(Counted::Nothing(why));
    }
    let mut series = BTreeMap::<String, Counters>::new();
    for line in &page.lines {
        let (is_request, is_bad) = (requests.matches(line), bad.matches(line));
        if is_request || is_bad {
            let value = whole(line)?;
            let of = |counts: bool| if counts { value } else { 0 };
            let counters = Counters { requests: of(is_request), bad: of(is_bad) };
            series.insert(series_name(&line.name, &line.labels), counters);
        }
    }
    Ok(Counted::Series(series))
}

fn by_bucket(page: &Page, histogram: &Selector, le: f64) -> Result<Counted> {
    #[derive(Default)]
    struct Histogram {
        count: Option<u64>,
        /// By bound, in the order of the page, as text and as number.
        buckets: Vec<(String, f64, u64)>,
    }
    let mut histograms = BTreeMap::<String, Histogram>::new();
    let named = |labels: &Labels| {
        let mut labels = labels.clone();
        labels.remove("le");
        series_name(&histogram.name, &labels)
    };
    for line in page.of(&format!("{}_count", histogram.name)).filter(|line| histogram.selects(&line.labels)) {
        histograms.entry(named(&line.labels)).or_default().count = Some(whole(line)?);
    }
    for line in page.of(&format!("{}_bucket", histogram.name)).filter(|line| histogram.selects(&line.labels)) {
        let bound = line.labels.get("le").map_or("", String::as_str);
        let number = bound.parse().map_err(|_| unusable(line, &format!("its bound le={bound:?} is not a number")))?;
        histograms.entry(named(&line.labels)).or_default().buckets.push((bound.to_owned(), number, whole(line)?));
    }
    if histograms.is_empty() {
        return Ok(nothing(histogram));
    }
    let mut series = BTreeMap::new();
    for (name, Histogram { count, buckets }) in histograms {
        let bucket = |bound: f64| buckets.iter().find(|(_, have, _)| *have == bound).map(|(_, _, count)| *count);
        let within =
            bucket(le).ok_or_else(|| no_bucket(&name, le, buckets.iter().map(|(bound, ..)| bound.as_str())))?;
        let requests = count.or_else(|| bucket(f64::INFINITY)).ok_or_else(|| {
            Error::new(ErrorKind::Unexpected, format!("the histogram {name} has no count and no bucket le=\"+Inf\""))
                .not_applied()
        })?;
        series.insert(name, Counters { requests, bad: requests.saturating_sub(within) });
    }
    Ok(Counted::Series(series))
}

fn no_bucket<'b>(name: &str, le: f64, bounds: impl Iterator<Item = &'b str>) -> Error {
    let bounds: Vec<_> = bounds.collect();
    if bounds.is_empty() {
        return Error::config(format!(
            "{name} has no buckets, so it cannot tell how many requests were slower than {le}"
        ))
        .with_hint("export a histogram, not a summary");
    }
    Error::config(format!("{name} has no bucket le=\"{le}\"; it has {}", bounds.join(", ")))
        .with_hint("judge by one of these, or give the histogram that bucket: between two buckets one could only guess")
}

fn nothing(selector: &Selector) -> Counted {
    Counted::Nothing(format!("the page has no {selector}"))
}

fn series_name(name: &str, labels: &Labels) -> String {
    format!("{name}{}", write_labels(labels))
}

/// A counter's value. One that is no number must not be taken for zero bad requests.
fn whole(line: &Line) -> Result<u64> {
    as_count(line.value).ok_or_else(|| unusable(line, &format!("its value is {}", line.value)))
}

/// The whole part of what a counter may hold; `None` for NaN, infinity and negative numbers.
pub(crate) fn as_count(value: f64) -> Option<u64> {
    // A float beyond u64 becomes u64::MAX: no counter gets there by counting.
    (value.is_finite() && value >= 0.0).then_some(value as u64)
}

fn unusable(line: &Line, why: &str) -> Error {
    let series = series_name(&line.name, &line.labels);
    Error::new(ErrorKind::Unexpected, format!("{series} is no usable counter: {why}")).not_applied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn page(text: &str) -> Page {
        Page::parse(text).unwrap()
    }

    fn by_status(selector: &str, bad: &str) -> Counting {
        Counting::Label { requests: Selector::parse(selector).unwrap(), bad: Matchers::parse(bad).unwrap() }
    }

    fn bucket(le: f64) -> Counting {
        Counting::Bucket { histogram: Selector::parse("seconds{path!=\"/metrics\"}").unwrap(), le }
    }

    fn series(pairs: &[(&str, u64, u64)]) -> Counted {
        let counters = |requests, bad| Counters { requests, bad };
        Counted::Series(
            pairs.iter().map(|(name, requests, bad)| ((*name).to_owned(), counters(*requests, *bad))).collect(),
        )
    }

    const REQUESTS: &str = concat!(
        "requests{path=\"/a\",status=\"200\"} 10\n",
        "requests{path=\"/a\",status=\"500\"} 2\n",
        "requests{path=\"/a\",status=\"503\"} 1\n",
        "requests{path=\"/b\",status=\"200\"} 7\n",
        "requests{path=\"/metrics\",status=\"500\"} 99\n",
        "other{status=\"500\"} 5\n",
    );

    #[test]
    fn every_line_is_a_series_and_bad_ones_are_told_by_their_labels() {
        let counting = by_status("requests{path!=\"/metrics\"}", "status=~\"5..\"");
        let expected = series(&[
            ("requests{path=\"/a\",status=\"200\"}", 10, 0),
            ("requests{path=\"/a\",status=\"500\"}", 2, 2),
            ("requests{path=\"/a\",status=\"503\"}", 1, 1),
            ("requests{path=\"/b\",status=\"200\"}", 7, 0),
        ]);
        assert_eq!(counting.count(&page(REQUESTS)).unwrap(), expected);
    }

    #[test]
    fn a_label_that_no_line_has_is_an_error_and_not_zero_bad_requests() {
        let error = by_status("requests", "code=~\"5..\"").count(&page(REQUESTS)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("has a label code; their labels: path, status"), "{error}");
    }

    #[test]
    fn nothing_found_is_no_data() {
        assert!(matches!(by_status("unknown", "status=\"500\"").count(&page(REQUESTS)).unwrap(), Counted::Nothing(_)));
        assert!(matches!(bucket(0.5).count(&page(REQUESTS)).unwrap(), Counted::Nothing(_)));
        assert!(matches!(by_status("requests", "status=\"500\"").count(&page("")).unwrap(), Counted::Nothing(_)));
    }

    #[test]
    fn a_counter_of_its_own_for_bad_requests_counts_none_of_them_twice() {
        let counting = Counting::Counters {
            requests: Selector::parse("requests").unwrap(),
            bad: Selector::parse("errors{kind=~\"timeout|crash\"}").unwrap(),
        };
        let text = concat!(
            "requests{path=\"/a\"} 10\n",
            "errors{path=\"/a\",kind=\"timeout\"} 2\n",
            "errors{path=\"/a\",kind=\"client\"} 50\n",
        );
        let expected = series(&[("errors{kind=\"timeout\",path=\"/a\"}", 0, 2), ("requests{path=\"/a\"}", 10, 0)]);
        assert_eq!(counting.count(&page(text)).unwrap(), expected);
        let same = Counting::Counters {
            requests: Selector::parse("requests").unwrap(),
            bad: Selector::parse("requests{path=\"/a\"}").unwrap(),
        };
        assert_eq!(same.count(&page(text)).unwrap(), series(&[("requests{path=\"/a\"}", 10, 10)]));
        // A counter that is declared and has no line yet is zero; one that nobody knows may be misspelt.
        let declared = counting.count(&page("# TYPE errors counter\nrequests 10\n")).unwrap();
        assert_eq!(declared, series(&[("requests", 10, 0)]));
        assert!(matches!(counting.count(&page("requests 10\n")).unwrap(), Counted::Nothing(_)));
    }

    const SECONDS: &str = concat!(
        "seconds_bucket{path=\"/a\",le=\"0.1\"} 5\n",
        "seconds_bucket{path=\"/a\",le=\"0.5\"} 8\n",
        "seconds_bucket{path=\"/a\",le=\"+Inf\"} 10\n",
        "seconds_sum{path=\"/a\"} 3.5\n",
        "seconds_count{path=\"/a\"} 10\n",
        "seconds_bucket{path=\"/metrics\",le=\"+Inf\"} 4\n",
        "seconds_count{path=\"/metrics\"} 4\n",
    );

    #[test]
    fn slower_than_a_bucket_is_counted_exactly() {
        let expected = series(&[("seconds{path=\"/a\"}", 10, 2)]);
        assert_eq!(bucket(0.5).count(&page(SECONDS)).unwrap(), expected);
        let other_writing = SECONDS.replace("\"0.5\"", "\"5e-1\"").replace("seconds_count{path=\"/a\"} 10\n", "");
        assert_eq!(bucket(0.5).count(&page(&other_writing)).unwrap(), expected);
    }

    #[test]
    fn a_bucket_that_does_not_exist_is_an_error_that_names_those_that_do() {
        let error = bucket(0.25).count(&page(SECONDS)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("has no bucket le=\"0.25\"; it has 0.1, 0.5, +Inf"), "{error}");
        let summary = bucket(0.5).count(&page("seconds{quantile=\"0.5\"} 0.1\nseconds_count 10\n")).unwrap_err();
        assert!(summary.to_string().contains("no buckets"), "{summary}");
    }

    #[test]
    fn a_counter_that_is_no_number_is_an_error_and_not_zero() {
        for bad in ["NaN", "+Inf", "-1"] {
            let text = format!("requests{{status=\"500\"}} {bad}\n");
            let error = by_status("requests", "status=\"500\"").count(&page(&text)).unwrap_err();
            assert!(error.to_string().contains("requests{status=\"500\"} is no usable counter"), "{error}");
        }
        let fraction = by_status("requests", "status=\"500\"").count(&page("requests{status=\"500\"} 1.9\n")).unwrap();
        assert_eq!(fraction, series(&[("requests{status=\"500\"}", 1, 1)]));
    }

    proptest! {
        #[test]
        fn every_request_is_counted_once_and_bad_ones_never_exceed_all(counts in prop::collection::btree_map((0..3_u8, prop::sample::select(vec!["200", "404", "500", "503"])), 0..1000_u64, 1..12)) {
            let text: String = counts.iter().map(|((path, status), count)| format!("requests{{path=\"{path}\",status=\"{status}\"}} {count}\n")).collect();
            let Counted::Series(series) = by_status("requests", "status=~\"5..\"").count(&page(&text)).unwrap() else { panic!() };
            prop_assert_eq!(series.values().map(|series| series.requests).sum::<u64>(), counts.values().sum::<u64>());
            let bad: u64 = counts.iter().filter(|((_, status), _)| status.starts_with('5')).map(|(_, count)| count).sum();
            prop_assert_eq!(series.values().map(|series| series.bad).sum::<u64>(), bad);
            prop_assert!(series.values().all(|series| series.bad <= series.requests));
        }
    }
}
