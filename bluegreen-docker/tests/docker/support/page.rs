//! A page over HTTP, to see which container answers.

/// A script that serves a page over HTTP.
pub(crate) fn serves(page: &str) -> String {
    let page = format!("mkdir -p /tmp/www; echo {page} > /tmp/www/index.html");
    format!("trap 'exit 0' TERM; {page}; httpd -p 3000 -h /tmp/www; while :; do sleep 1 & wait $!; done")
}

/// What is served there.
pub(crate) fn get(address: &str) -> String {
    bluegreen_testkit::http::get(address, "/").unwrap()
}
