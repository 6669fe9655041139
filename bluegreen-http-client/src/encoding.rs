//! Bodies that came compressed. No request asks for that, and some servers do it all the same.

use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::header::{CONTENT_ENCODING, HeaderMap};

use crate::body::Body;

/// A body as the server meant it, up to so many bytes: gzip and deflate are decoded. Of a body that is cut, what can be
/// decoded of it.
///
/// # Errors
/// With the name of any other encoding, and when the body is not in the encoding that the headers name.
pub fn decoded(headers: &HeaderMap, body: Body, limit: usize) -> Result<Body, String> {
    let values = headers.get_all(CONTENT_ENCODING).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let names: Vec<String> = values.flat_map(|value| value.split(',').map(tidy).collect::<Vec<_>>()).collect();
    // The last one was applied last.
    let encodings = names.iter().rev().filter(|name| !name.is_empty() && *name != "identity");
    encodings
        .into_iter()
        .try_fold(body, |body, name| if body.bytes.is_empty() { Ok(body) } else { decode(name, body, limit) })
}

fn tidy(name: &str) -> String {
    name.trim().to_ascii_lowercase()
}

fn decode(name: &str, body: Body, limit: usize) -> Result<Body, String> {
    let bytes = body.bytes.as_slice();
    let decoder: Box<dyn Read + '_> = match name {
        "gzip" | "x-gzip" => Box::new(MultiGzDecoder::new(bytes)),
        // By the letter zlib's format; some servers leave its frame out.
        "deflate" if bytes[0] & 0x0f == 8 => Box::new(ZlibDecoder::new(bytes)),
        "deflate" => Box::new(DeflateDecoder::new(bytes)),
        other => {
            return Err(format!(
                "the body is encoded as {:?}, which is not decoded here: have the server send it as it is",
                other.chars().take(40).collect::<String>()
            ));
        }
    };
    let (mut text, mut decoder) = (Vec::new(), decoder.take(limit as u64 + 1));
    match decoder.read_to_end(&mut text) {
        Ok(_) => {}
        Err(_) if !body.complete => {}
        Err(error) => return Err(format!("the body is not the {name} that its headers say: {error}")),
    }
    let complete = body.complete && text.len() <= limit;
    text.truncate(limit);
    Ok(Body { bytes: text, complete })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn headers(encoding: &str) -> HeaderMap {
        [(CONTENT_ENCODING, encoding.parse().unwrap())].into_iter().collect()
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn whole(bytes: Vec<u8>) -> Body {
        Body { bytes, complete: true }
    }

    #[test]
    fn gzip_and_both_kinds_of_deflate_are_decoded() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(b"healthy").unwrap();
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::default());
        bare.write_all(b"healthy").unwrap();
        for (encoding, bytes) in [
            ("gzip", gzip(b"healthy")),
            ("X-GZIP", gzip(b"healthy")),
            ("gzip, gzip", gzip(&gzip(b"healthy"))),
            ("deflate", zlib.finish().unwrap()),
            ("deflate", bare.finish().unwrap()),
            ("identity", b"healthy".to_vec()),
            ("", b"healthy".to_vec()),
        ] {
            let body = decoded(&headers(encoding), whole(bytes), 100).unwrap();
            assert_eq!((body.bytes.as_slice(), body.complete), (&b"healthy"[..], true), "{encoding}");
        }
    }

    #[test]
    fn another_encoding_is_named_and_a_false_one_is_said() {
        let error = decoded(&headers("br"), whole(vec![1, 2, 3]), 100).unwrap_err();
        assert!(error.contains("encoded as \"br\""), "{error}");
        let error = decoded(&headers("gzip"), whole(b"healthy".to_vec()), 100).unwrap_err();
        assert!(error.contains("not the gzip that its headers say"), "{error}");
        assert!(decoded(&headers("br"), whole(Vec::new()), 100).unwrap().bytes.is_empty());
    }

    #[test]
    fn what_unpacks_to_more_than_the_limit_is_cut_and_what_was_cut_is_unpacked_as_far_as_it_goes() {
        let bomb = gzip(&vec![b'x'; 1 << 20]);
        assert!(bomb.len() < 2000);
        let body = decoded(&headers("gzip"), whole(bomb), 1000).unwrap();
        assert_eq!((body.bytes.len(), body.complete), (1000, false));
        let mut start = gzip(&(0..50_000_u32).flat_map(u32::to_be_bytes).collect::<Vec<u8>>());
        start.truncate(start.len() / 2);
        let body = decoded(&headers("gzip"), Body { bytes: start, complete: false }, 1 << 20).unwrap();
        assert!(!body.bytes.is_empty() && !body.complete);
        assert_eq!(&body.bytes[..8], [0, 0, 0, 0, 0, 0, 0, 1]);
    }
}
