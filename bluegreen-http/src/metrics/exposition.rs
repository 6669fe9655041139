//! The text page that Prometheus scrapes (text format 0.0.4, and what OpenMetrics adds to a line).
//!
//! Parsed here, because a gate must not lose a line. Of the crates on crates.io, `prometheus-parse` 0.2.5 drops a
//! sample without a word when a label's value has a `}` in it (every route such as `/orders/{id}` has), and a label
//! when its value has a `,` or a `=`; `prom_text_format_parser` 0.1.0 refuses a page for an empty `{}` or a trailing
//! comma; `openmetrics-parser` is under the LGPL.

use std::collections::{BTreeMap, BTreeSet};

use crate::metrics::cursor::Cursor;

pub(crate) type Labels = BTreeMap<String, String>;

/// One line of a page.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) labels: Labels,
    /// May be NaN or infinite.
    pub(crate) value: f64,
}

#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) lines: Vec<Line>,
    /// Metrics with a `# TYPE`, whether or not they have a value yet.
    declared: BTreeSet<String>,
}

impl Page {
    /// Reads a page; like Prometheus, refuses all of it when one line cannot be read. `Err` says which and why.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut page = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if let Some(comment) = line.strip_prefix('#') {
                let mut words = comment.split_ascii_whitespace();
                if let (Some("TYPE"), Some(name)) = (words.next(), words.next()) {
                    page.declared.insert(name.trim_matches('"').to_owned());
                }
            } else if !line.is_empty() {
                let parsed = sample(line).map_err(|why| format!("line {}: {why}", index + 1))?;
                page.lines.push(parsed);
            }
        }
        Ok(page)
    }

    pub(crate) fn of<'p>(&'p self, name: &'p str) -> impl Iterator<Item = &'p Line> {
        self.lines.iter().filter(move |line| line.name == name)
    }

    /// When the process started, in seconds, where the page is of one process and says so.
    pub(crate) fn started(&self) -> Option<f64> {
        let mut lines = self.of("process_start_time_seconds");
        let started = lines.next()?.value;
        (lines.next().is_none() && started.is_finite()).then_some(started)
    }

    /// Whether the page knows the metric, be it without a value. OpenMetrics declares a counter without its `_total`.
    pub(crate) fn knows(&self, name: &str) -> bool {
        let declared = |name: &str| self.declared.contains(name);
        declared(name) || name.strip_suffix("_total").is_some_and(declared) || self.of(name).next().is_some()
    }
}

/// Labels as Prometheus writes them: `{method="GET",status="200"}`; nothing when there are none.
pub(crate) fn write_labels(labels: &Labels) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

fn sample(line: &str) -> Result<Line, String> {
    let mut cursor = Cursor::new(line);
    let mut name = cursor.name().to_owned();
    let mut labels = Labels::new();
    cursor.blanks();
    if cursor.eat("{") {
        labels_of(&mut cursor, &mut name, &mut labels)?;
    }
    if name.is_empty() {
        return Err("it does not begin with the name of a metric".to_owned());
    }
    cursor.blanks();
    let word = cursor.word();
    let value = number(word).ok_or_else(|| format!("{word:?} is not a number"))?;
    cursor.blanks();
    // What may follow: a timestamp, and an exemplar after a #.
    let timestamp = cursor.word();
    if !timestamp.is_empty() && !timestamp.starts_with('#') && number(timestamp).is_none() {
        return Err(format!("{timestamp:?} is not a timestamp"));
    }
    Ok(Line { name, labels, value })
}

/// The labels after a `{`. The name of a metric may stand among them in quotes, when it has other characters.
fn labels_of(cursor: &mut Cursor<'_>, name: &mut String, labels: &mut Labels) -> Result<(), String> {
    loop {
        cursor.blanks();
        if cursor.eat("}") {
            return Ok(());
        }
        let label = match cursor.quoted() {
            Some(label) => label?,
            None => cursor.name().to_owned(),
        };
        cursor.blanks();
        if cursor.eat("=") {
            cursor.blanks();
            let value = cursor.quoted().ok_or_else(|| format!("the value of {label} is not in quotes"))??;
            if labels.insert(label.clone(), value).is_some() {
                return Err(format!("the label {label} is there twice"));
            }
        } else if name.is_empty() {
            *name = label;
        } else {
            return Err(format!("the label {label:?} has no value"));
        }
        cursor.blanks();
        if !cursor.eat(",") && !cursor.rest().starts_with('}') {
            return Err("the labels are not closed by }".to_owned());
        }
    }
}

/// A number as Go writes it; Rust reads `NaN`, `+Inf` and the like in any case.
fn number(word: &str) -> Option<f64> {
    word.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::{Encoder, IntCounterVec, Opts, Registry, TextEncoder};
    use proptest::prelude::*;

    fn line(name: &str, labels: &[(&str, &str)], value: f64) -> Line {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Line { name: name.to_owned(), labels, value }
    }

    #[test]
    fn a_page_is_read_with_everything_that_the_format_allows() {
        let text = concat!(
            "# HELP http_requests_total Requests, by {method}.\n",
            "# TYPE http_requests_total counter\r\n",
            "# TYPE errors counter\n",
            "# a comment\n",
            "\n",
            "http_requests_total{method=\"post\",code=\"200\"} 1027 1395066363000\n",
            "http_requests_total { method = \"post\" , code = \"400\" , }    3\n",
            "  spaced{path=\"/orders/{id}?a=b,c=d\"}\t7  \n",
            "escaped{path=\"C:\\\\DIR\\\\\",error=\"no \\\"x\\\"\\n\"} 1.458255915e9\n",
            "bare 12.47\n",
            "empty{} +Inf\n",
            "empty_value{a=\"\"} -Inf\n",
            "odd NaN",
        );
        let page = Page::parse(text).unwrap();
        let expected = [
            line("http_requests_total", &[("method", "post"), ("code", "200")], 1027.0),
            line("http_requests_total", &[("method", "post"), ("code", "400")], 3.0),
            line("spaced", &[("path", "/orders/{id}?a=b,c=d")], 7.0),
            line("escaped", &[("path", "C:\\DIR\\"), ("error", "no \"x\"\n")], 1.458_255_915e9),
            line("bare", &[], 12.47),
            line("empty", &[], f64::INFINITY),
            line("empty_value", &[("a", "")], f64::NEG_INFINITY),
        ];
        assert_eq!(page.lines[..7], expected);
        assert!(page.lines[7].value.is_nan());
        assert!(page.knows("errors_total") && page.knows("bare") && !page.knows("unknown"));
    }

    #[test]
    fn openmetrics_exemplars_and_quoted_names_are_read() {
        let page = Page::parse(concat!(
            "foo_bucket{le=\"0.1\"} 8 # {trace_id=\"a}b\"} 0.054\n",
            "foo_bucket{le=\"1\"} 9 1700000000.5 # {} 0.5\n",
            "{\"my.metric\", \"label.x\"=\"1\", b=\"2\"} 3\n",
            "# EOF\n",
        ))
        .unwrap();
        let expected = [
            line("foo_bucket", &[("le", "0.1")], 8.0),
            line("foo_bucket", &[("le", "1")], 9.0),
            line("my.metric", &[("label.x", "1"), ("b", "2")], 3.0),
        ];
        assert_eq!(page.lines, expected);
    }

    #[test]
    fn a_page_with_a_line_that_cannot_be_read_is_refused_and_the_line_named() {
        for bad in [
            "<html>",
            "a",
            "a{",
            "a{b=\"c\"",
            "a{b=c} 1",
            "a{b} 1",
            "a{b=\"c} 1",
            "a{b=\"\\x\"} 1",
            "a{b=\"c\"d=\"e\"} 1",
            "a{b=\"c\",b=\"d\"} 1",
            "a 1x",
            "a 1 x",
            "1a 1",
            "{a=\"b\"} 1",
        ] {
            let error = Page::parse(&format!("ok 1\n{bad}\n")).unwrap_err();
            assert!(error.starts_with("line 2: "), "{bad}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_the_prometheus_client_writes_is_read_back(values in prop::collection::btree_map("\\PC{0,12}|[\"\\\\\n{},=]{0,6}", 0_u32..1000, 1..6)) {
            let counters = IntCounterVec::new(Opts::new("requests_total", "help\n\\"), &["path"]).unwrap();
            for (path, count) in &values {
                counters.with_label_values(&[path]).inc_by(u64::from(*count));
            }
            let registry = Registry::new();
            registry.register(Box::new(counters)).unwrap();
            let mut text = Vec::new();
            TextEncoder::new().encode(&registry.gather(), &mut text).unwrap();
            let page = Page::parse(std::str::from_utf8(&text).unwrap()).unwrap();
            let read: BTreeMap<_, _> = page.of("requests_total").map(|line| (line.labels["path"].clone(), line.value as u32)).collect();
            prop_assert_eq!(read, values);
        }

        #[test]
        fn labels_that_are_written_are_read_back(labels in prop::collection::btree_map("[a-z]{1,4}", "\\PC{0,8}|[\"\\\\\n{},=]{0,6}", 0..4)) {
            let page = Page::parse(&format!("a{} 1", write_labels(&labels))).unwrap();
            prop_assert_eq!(&page.lines[0].labels, &labels);
        }

        #[test]
        fn no_page_makes_it_panic(text in "([a{}=\",\\\\# 1\n]|\\PC){0,60}") {
            let _ = Page::parse(&text);
        }
    }
}
