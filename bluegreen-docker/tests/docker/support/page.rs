//! A page over HTTP, to see which container answers.

use std::io::{Read, Write};
use std::net::TcpStream;

/// A script that serves a page over HTTP.
pub(crate) fn serves(page: &str) -> String {
    let page = format!("mkdir -p /tmp/www; echo {page} > /tmp/www/index.html");
    format!("trap 'exit 0' TERM; {page}; httpd -p 3000 -h /tmp/www; while :; do sleep 1 & wait $!; done")
}

/// What is served there.
pub(crate) fn get(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
