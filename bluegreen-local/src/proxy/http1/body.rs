//! Where a body ends, and how it is written again: RFC 9112, sections 6 and 7.

use bytes::{Buf, BytesMut};

use super::length::Length;
use super::trailers;

/// The longest line with the size of a chunk, extensions included.
const LONGEST_SIZE_LINE: usize = 4 << 10;

/// The most bytes that all fields after a body may have.
const MOST_TRAILER_BYTES: usize = 16 << 10;

/// How many fields may come after a body.
const MOST_TRAILERS: usize = 64;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Encoding {
    /// As it is.
    Plain,
    Chunked {
        trailers: bool,
    },
}

/// The bytes are no body of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Malformed;

/// What the buffer begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Piece {
    /// As many bytes of the body.
    Data(usize),
    /// Too little to tell.
    Incomplete,
    /// Nothing of this body any more.
    End,
}

/// A body as it is read.
#[derive(Debug)]
pub(in super::super) struct Body(State);

#[derive(Debug)]
enum State {
    Left(u64),
    UntilEnd,
    Size,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    End,
}

impl Body {
    pub(in super::super) fn new(length: Length) -> Self {
        Self(match length {
            Length::Exactly(length) => State::Left(length),
            Length::Chunked => State::Size,
            Length::UntilEnd => State::UntilEnd,
        })
    }

    pub(in super::super) fn has_ended(&self) -> bool {
        matches!(self.0, State::Left(0) | State::End)
    }

    /// How many bytes are to come, if that is known.
    pub(in super::super) fn left(&self) -> Option<u64> {
        match self.0 {
            State::Left(left) => Some(left),
            State::End => Some(0),
            _ => None,
        }
    }

    /// Whether nothing comes after so many bytes more.
    pub(in super::super) fn ends_after(&self, count: usize) -> bool {
        matches!(self.0, State::Left(left) if left == count as u64)
    }

    /// Notes that the connection has ended. Returns whether the body may end there.
    pub(in super::super) fn end_of_connection(&mut self) -> bool {
        if matches!(self.0, State::UntilEnd) {
            self.0 = State::End;
        }
        self.has_ended()
    }

    /// Looks at what the buffer begins with, and takes out what is no data. Fields after the body are written to
    /// `after`.
    pub(in super::super) fn next(&mut self, buffer: &mut BytesMut, after: &mut Vec<u8>) -> Result<Piece, Malformed> {
        loop {
            match &mut self.0 {
                State::End | State::Left(0) => return Ok(Piece::End),
                _ if buffer.is_empty() => return Ok(Piece::Incomplete),
                State::UntilEnd => return Ok(Piece::Data(buffer.len())),
                State::Chunk(0) => self.0 = State::ChunkEnd,
                State::Left(left) | State::Chunk(left) => {
                    return Ok(Piece::Data(usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len())));
                }
                State::ChunkEnd if buffer.len() < 2 && buffer.starts_with(b"\r") => return Ok(Piece::Incomplete),
                State::ChunkEnd => {
                    if !buffer.starts_with(b"\r\n") {
                        return Err(Malformed);
                    }
                    buffer.advance(2);
                    self.0 = State::Size;
                }
                State::Size => match size(buffer)? {
                    None => return Ok(Piece::Incomplete),
                    Some((line, size)) => {
                        buffer.advance(line);
                        self.0 = if size == 0 { State::Trailers } else { State::Chunk(size) };
                    }
                },
                State::Trailers => {
                    let mut fields = [httparse::EMPTY_HEADER; MOST_TRAILERS];
                    match httparse::parse_headers(buffer, &mut fields).map_err(|_| Malformed)? {
                        httparse::Status::Partial if buffer.len() > MOST_TRAILER_BYTES => return Err(Malformed),
                        httparse::Status::Partial => return Ok(Piece::Incomplete),
                        httparse::Status::Complete((length, fields)) => {
                            trailers::write(after, fields);
                            buffer.advance(length);
                            self.0 = State::End;
                        }
                    }
                }
            }
        }
    }

    /// Takes out data that was dealt with.
    pub(in super::super) fn advance(&mut self, buffer: &mut BytesMut, count: usize) {
        buffer.advance(count);
        if let State::Left(left) | State::Chunk(left) = &mut self.0 {
            *left = left.saturating_sub(count as u64);
        }
    }
}

/// The line with the size of a chunk: its length, and the size.
fn size(buffer: &[u8]) -> Result<Option<(usize, u64)>, Malformed> {
    if !buffer[0].is_ascii_hexdigit() {
        return Err(Malformed);
    }
    match httparse::parse_chunk_size(buffer) {
        Ok(httparse::Status::Complete((line, size))) if line <= LONGEST_SIZE_LINE && is_one_line(&buffer[..line]) => {
            Ok(Some((line, size)))
        }
        Ok(httparse::Status::Partial) if buffer.len() <= LONGEST_SIZE_LINE => Ok(None),
        _ => Err(Malformed),
    }
}

/// Whether nobody sees the end of a line within it. An extension that holds one is not of the grammar, and others read
/// what comes behind it as data.
fn is_one_line(line: &[u8]) -> bool {
    line.iter().filter(|byte| **byte == b'\n').count() == 1
}

impl Encoding {
    /// Writes a piece of a body.
    pub(in super::super) fn piece(self, out: &mut Vec<u8>, data: &[u8]) {
        match self {
            Self::Plain => out.extend_from_slice(data),
            Self::Chunked { .. } => {
                let mut digits = [0; 16];
                let mut at = digits.len();
                let mut left = data.len();
                while left > 0 {
                    at -= 1;
                    digits[at] = b"0123456789abcdef"[left % 16];
                    left /= 16;
                }
                out.extend_from_slice(&digits[at..]);
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(data);
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Writes what ends a body.
    pub(in super::super) fn end(self, out: &mut Vec<u8>, after: &[u8]) {
        if let Self::Chunked { trailers } = self {
            out.extend_from_slice(b"0\r\n");
            if trailers {
                out.extend_from_slice(after);
            }
            out.extend_from_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The data, the fields after it, and what is left over.
    type Read = (Vec<u8>, Vec<u8>, Vec<u8>);

    /// Reads a body that comes in pieces of this size.
    fn read(length: Length, bytes: &[u8], step: usize) -> Result<Read, Malformed> {
        let (mut body, mut buffer, mut data, mut after) = (Body::new(length), BytesMut::new(), Vec::new(), Vec::new());
        let mut coming = bytes.chunks(step);
        loop {
            match body.next(&mut buffer, &mut after)? {
                Piece::Data(count) => {
                    data.extend_from_slice(&buffer[..count]);
                    body.advance(&mut buffer, count);
                }
                Piece::Incomplete => match coming.next() {
                    Some(piece) => buffer.extend_from_slice(piece),
                    None if body.end_of_connection() => return Ok((data, after, buffer.to_vec())),
                    None => return Err(Malformed),
                },
                Piece::End => {
                    coming.for_each(|piece| buffer.extend_from_slice(piece));
                    return Ok((data, after, buffer.to_vec()));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again_however_it_comes_in_pieces(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..8),
            step in 1_usize..50,
        ) {
            let encoding = Encoding::Chunked { trailers: true };
            let mut bytes = Vec::new();
            pieces.iter().for_each(|piece| encoding.piece(&mut bytes, piece));
            encoding.end(&mut bytes, b"x-sum: 7\r\n");
            bytes.extend_from_slice(b"GET /");
            let (data, after, rest) = read(Length::Chunked, &bytes, step).unwrap();
            prop_assert_eq!(data, pieces.concat());
            prop_assert_eq!(after, b"x-sum: 7\r\n");
            prop_assert_eq!(rest, b"GET /");
        }

        #[test]
        fn arbitrary_bytes_end_or_are_malformed_and_never_loop(bytes in proptest::collection::vec(any::<u8>(), 0..400), step in 1_usize..50) {
            for length in [Length::Chunked, Length::Exactly(100), Length::UntilEnd] {
                let _ = read(length, &bytes, step);
            }
        }
    }

    #[test]
    fn chunks_that_could_be_read_in_two_ways_are_malformed() {
        let bad: [&[u8]; 10] = [
            b"1;a\nb\r\nx\r\n0\r\n\r\n",
            b"\r\n\r\n",
            b"-1\r\nx\r\n0\r\n\r\n",
            b"0x1\r\nx\r\n0\r\n\r\n",
            b" 1\r\nx\r\n0\r\n\r\n",
            b"1\nx\r\n0\r\n\r\n",
            b"1\r\nxy\r\n0\r\n\r\n",
            b"1\r\nx0\r\n\r\n",
            b"fffffffffffffffff\r\nx\r\n0\r\n\r\n",
            b"1\r\nx\r\n",
        ];
        for bytes in bad {
            assert_eq!(read(Length::Chunked, bytes, 3), Err(Malformed), "{}", String::from_utf8_lossy(bytes));
        }
        let (data, after, rest) =
            read(Length::Chunked, b"1;a=b\r\nx\r\n00\r\nHost: evil\r\nx-ok: 1\r\n\r\nrest", 3).unwrap();
        assert_eq!((&data[..], &after[..], &rest[..]), (&b"x"[..], &b"x-ok: 1\r\n"[..], &b"rest"[..]));
    }

    #[test]
    fn a_body_that_breaks_off_is_not_taken_for_a_whole_one() {
        assert_eq!(read(Length::Exactly(5), b"four", 2), Err(Malformed));
        assert_eq!(read(Length::UntilEnd, b"four", 2).unwrap().0, b"four");
    }
}
