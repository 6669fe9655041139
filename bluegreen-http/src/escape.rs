use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but the unreserved characters of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A value as one component of a URL: it can end no path segment and no query parameter.
pub(crate) fn url_component(value: &str) -> String {
    utf8_percent_encode(value, RESERVED).to_string()
}

/// Whether a path has a segment that a client would resolve away (`.`, `..`, or these percent-encoded): what is asked
/// for would not be what is written.
pub(crate) fn has_dot_segment(path_and_query: &str) -> bool {
    let path = path_and_query.split(['?', '#']).next().unwrap_or_default();
    path.split(['/', '\\']).any(|segment| {
        let plain = segment.to_ascii_lowercase().replace("%2e", ".");
        plain == "." || plain == ".."
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bluegreen_http_client::Url;

    #[test]
    fn dot_segments_are_found_in_every_writing() {
        for bad in ["/..", "/a/../b", "/./", "/%2e%2E/x", "/.%2e", "/a\\..\\b", "/a/..?x"] {
            assert!(has_dot_segment(bad), "{bad}");
        }
        for good in ["/", "/a..b", "/...", "/.well-known/x", "/a?x=../y"] {
            assert!(!has_dot_segment(good), "{good}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_value_stays_one_segment_and_one_parameter(value in "\\PC{0,20}") {
            let encoded = url_component(&value);
            proptest::prop_assume!(!has_dot_segment(&encoded));
            let url = Url::parse(&format!("http://h/a/{encoded}/b?x={encoded}&y=1")).unwrap();
            proptest::prop_assert_eq!(url.path_segments().unwrap().count(), 3);
            let pairs: Vec<_> = url.query_pairs().collect();
            proptest::prop_assert_eq!(pairs.len(), 2);
            proptest::prop_assert_eq!(&pairs[0].1, &value);
            proptest::prop_assert_eq!(url.host_str(), Some("h"));
        }
    }
}
