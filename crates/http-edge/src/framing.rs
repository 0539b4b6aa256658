//! Tracks where requests start and end in the bytes of a connection, and invalidates ambiguous heads.
//!
//! hyper accepts heads that a proxy may read differently: a bare LF as a line end, `Content-Length` together
//! with `Transfer-Encoding`, a repeated `Content-Length`, a coding before `chunked`. The difference lets an
//! attacker hide a request from the proxy ("request smuggling", RFC 9112 §11.2). This module replaces one
//! byte of such a head with NUL, which is never valid, so hyper responds with a bare 400 and closes the
//! connection. Every other head has exactly one framing, so this reader and hyper agree on where the next
//! head starts.
//!
//! The stream also asks this module whether a head is incomplete, for its deadline.

use std::ops::ControlFlow;

/// How many bytes of a line are kept between reads. A longer line that frames the body invalidates its head.
const MAX_KEPT: usize = 128;

/// The reader of one connection.
#[derive(Debug, Default)]
pub(crate) struct Framing {
    state: State,
    head: Head,
    /// The start of an incomplete line.
    kept: Vec<u8>,
    /// The length of that line so far.
    length: usize,
    /// The last byte of that line.
    last: u8,
}

/// What the head has declared so far.
#[derive(Debug, Default, Clone, Copy)]
struct Head {
    /// The request line has arrived.
    begun: bool,
    length: Option<u64>,
    chunked: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between requests or in a head.
    #[default]
    Head,
    /// In a body, with this number of bytes to come.
    Body(u64),
    Chunks(Chunk),
    /// After invalid bytes. hyper closes the connection, and what follows is not a request.
    Over,
}

/// A position in a chunked body, as hyper reads one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunk {
    /// In the size line: the size so far, and whether a digit has arrived.
    Size(u64, bool),
    /// After the size, up to the CR.
    Extension(u64),
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    /// At the start of a line of the trailer section.
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
}

impl Framing {
    /// Whether a head is incomplete. Empty lines before a request line do not start a head. An invalidated
    /// head is never complete, because hyper may wait for its end before it rejects it.
    pub(crate) fn in_head(&self) -> bool {
        match self.state {
            State::Over => true,
            State::Head => self.head.begun || self.kept.iter().any(|byte| *byte != b'\r'),
            State::Body(_) | State::Chunks(_) => false,
        }
    }

    /// Reads `bytes` before hyper does, and invalidates an ambiguous head in them.
    pub(crate) fn follow(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &mut bytes[at..];
            at += match self.state {
                State::Over => return,
                State::Head => self.follow_line(rest),
                State::Body(left) => {
                    let here = left.min(rest.len() as u64);
                    self.state = if here == left { State::Head } else { State::Body(left - here) };
                    usize::try_from(here).unwrap_or(rest.len())
                }
                State::Chunks(chunk) => self.follow_chunks(chunk, rest),
            };
        }
    }

    /// Reads up to the end of the line or of `bytes`. Returns the number of bytes read.
    fn follow_line(&mut self, bytes: &mut [u8]) -> usize {
        let end = memchr::memchr(b'\n', bytes);
        let part = &bytes[..end.unwrap_or(bytes.len())];
        let Some(end) = end else {
            self.keep(part);
            return bytes.len();
        };
        let outcome = if self.length == 0 {
            self.head.line(part)
        } else {
            self.keep(part);
            self.kept_line()
        };
        self.kept.clear();
        self.length = 0;
        match outcome {
            None => {
                bytes[end] = 0;
                self.state = State::Over;
            }
            Some(ControlFlow::Continue(())) => {}
            Some(ControlFlow::Break(())) => {
                let head = std::mem::take(&mut self.head);
                self.state = match (head.chunked, head.length.unwrap_or(0)) {
                    (true, _) => State::Chunks(Chunk::Size(0, false)),
                    (false, 0) => State::Head,
                    (false, length) => State::Body(length),
                };
            }
        }
        end + 1
    }

    /// Keeps a part of a line that arrives in several reads.
    fn keep(&mut self, part: &[u8]) {
        let room = MAX_KEPT - self.kept.len();
        self.kept.extend_from_slice(&part[..part.len().min(room)]);
        self.length = self.length.saturating_add(part.len());
        self.last = part.last().copied().unwrap_or(self.last);
    }

    fn kept_line(&mut self) -> Option<ControlFlow<()>> {
        if self.length <= MAX_KEPT {
            return self.head.line(&self.kept);
        }
        // The omitted bytes do not matter, unless the line frames the body.
        self.kept.truncate(MAX_KEPT - 1);
        self.kept.push(self.last);
        if frames_a_body(&self.kept) { None } else { self.head.line(&self.kept) }
    }

    fn follow_chunks(&mut self, chunk: Chunk, bytes: &[u8]) -> usize {
        if let Chunk::Data(left) = chunk {
            let here = left.min(bytes.len() as u64);
            self.state = State::Chunks(if here == left { Chunk::DataCr } else { Chunk::Data(left - here) });
            return usize::try_from(here).unwrap_or(bytes.len());
        }
        self.state = match chunk.after(bytes[0]) {
            Some(AfterByte::InBody(next)) => State::Chunks(next),
            Some(AfterByte::BodyEnd) => State::Head,
            None => State::Over,
        };
        1
    }
}

impl Head {
    /// Reads one line without its LF. Returns `Break` at the end of the head, and `None` if the line is
    /// invalid.
    fn line(&mut self, line: &[u8]) -> Option<ControlFlow<()>> {
        let line = line.strip_suffix(b"\r")?;
        if !self.begun {
            self.begun = !line.is_empty();
            return Some(ControlFlow::Continue(()));
        }
        let Some(first) = line.first() else { return Some(ControlFlow::Break(())) };
        match first {
            // A folded line (RFC 9112 §5.2).
            b' ' | b'\t' => return None,
            b'c' | b'C' | b't' | b'T' => {}
            _ => return Some(ControlFlow::Continue(())),
        }
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if is_content_length(name) {
            let digits = (1..=19).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
            if self.length.is_some() || self.chunked || !digits {
                return None;
            }
            self.length = std::str::from_utf8(value).ok()?.parse().ok();
        } else if is_transfer_encoding(name) {
            if self.length.is_some() || self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return None;
            }
            self.chunked = true;
        }
        Some(ControlFlow::Continue(()))
    }
}

fn is_content_length(name: &[u8]) -> bool {
    name.trim_ascii_end().eq_ignore_ascii_case(b"content-length")
}

fn is_transfer_encoding(name: &[u8]) -> bool {
    name.trim_ascii_end().eq_ignore_ascii_case(b"transfer-encoding")
}

fn frames_a_body(line: &[u8]) -> bool {
    let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
    is_content_length(name) || is_transfer_encoding(name)
}

/// Where a byte of a chunked body leads.
enum AfterByte {
    InBody(Chunk),
    /// The byte was the last one of the body.
    BodyEnd,
}

impl Chunk {
    /// Returns the position after `byte`, `None` if hyper rejects the byte.
    fn after(self, byte: u8) -> Option<AfterByte> {
        let next = match (self, byte) {
            (Self::Size(_, false), b'\r' | b';' | b' ' | b'\t') => return None,
            (Self::Size(size, true), b'\r') | (Self::Extension(size), b'\r') => Self::SizeLf(size),
            (Self::Size(size, true), b';' | b' ' | b'\t') => Self::Extension(size),
            (Self::Size(size, _), digit) => {
                let digit = char::from(digit).to_digit(16)?;
                Self::Size(size.checked_mul(16)?.checked_add(u64::from(digit))?, true)
            }
            (Self::Extension(_), b'\n') => return None,
            (Self::Extension(size), _) => Self::Extension(size),
            (Self::SizeLf(0), b'\n') => Self::TrailerStart,
            (Self::SizeLf(size), b'\n') => Self::Data(size),
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Size(0, false),
            (Self::TrailerStart, b'\r') => Self::EndLf,
            (Self::Trailer, b'\r') => Self::TrailerLf,
            (Self::TrailerStart | Self::Trailer, _) => Self::Trailer,
            (Self::TrailerLf, b'\n') => Self::TrailerStart,
            (Self::EndLf, b'\n') => return Some(AfterByte::BodyEnd),
            _ => return None,
        };
        Some(AfterByte::InBody(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Returns what hyper would read if `text` arrived in parts of `size` bytes, and the final reader.
    fn followed(text: &[u8], size: usize) -> (Vec<u8>, Framing) {
        let mut framing = Framing::default();
        let mut seen = Vec::new();
        for part in text.chunks(size) {
            let mut part = part.to_vec();
            framing.follow(&mut part);
            seen.extend(part);
        }
        (seen, framing)
    }

    const HEAD: &str = "POST /echo HTTP/1.1\r\nhost: a\r\n";

    #[test]
    fn a_valid_request_passes_unchanged_in_parts_of_any_size() {
        let long = format!("cookie: {}\r\n", "x".repeat(1_000));
        for request in [
            "GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
            format!("\r\n\r\n{HEAD}\r\n"),
            format!("{HEAD}Content-Length:  3 \r\n\r\nG\nT"),
            format!("{HEAD}{long}content-length: 0\r\n\r\n"),
            format!("{HEAD}Transfer-Encoding: Chunked\r\n\r\n3;a=b\r\nG\nT\r\n0\r\nx: y\r\n\r\n"),
            format!("{HEAD}transfer-encoding:chunked\r\n\r\nA \r\n0123456789\r\n00\r\n\r\n"),
        ] {
            let bytes = request.repeat(2).into_bytes();
            for size in 1..=bytes.len() {
                let (seen, framing) = followed(&bytes, size);
                assert_eq!(seen, bytes, "{request:?} by {size}");
                assert_eq!((framing.state, framing.in_head()), (State::Head, false), "{request:?} by {size}");
                let (_, framing) = followed(&[bytes.as_slice(), b"G"].concat(), size);
                assert!(framing.in_head(), "{request:?} by {size}");
            }
        }
    }

    #[test]
    fn an_ambiguous_head_is_invalidated_in_parts_of_any_size() {
        let long = " ".repeat(200);
        for lines in [
            "host: a\n\r\n".to_owned(),
            "host: a\r\n\n".to_owned(),
            "host: a\r\n folded\r\n\r\n".to_owned(),
            "content-length: 1\r\ncontent-length: 1\r\n\r\n".to_owned(),
            "content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(),
            "transfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n".to_owned(),
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(),
            "transfer-encoding: gzip, chunked\r\n\r\n".to_owned(),
            "transfer-encoding: \r\n\r\n".to_owned(),
            "content-length: +1\r\n\r\n".to_owned(),
            "content-length: 1, 1\r\n\r\n".to_owned(),
            "content-length: \r\n\r\n".to_owned(),
            "content-length : 1\r\nTransfer-Encoding\t: chunked\r\n\r\n".to_owned(),
        ] {
            let bytes = format!("POST / HTTP/1.1\r\n{lines}rest").into_bytes();
            for size in 1..=bytes.len() {
                let (seen, framing) = followed(&bytes, size);
                assert_eq!(framing.state, State::Over, "{lines:?} by {size}");
                assert_eq!(seen.iter().filter(|byte| **byte == 0).count(), 1, "{lines:?} by {size}");
            }
        }
        let hidden = format!("POST / HTTP/1.1\r\ncontent-length:{long}1\r\n\r\n");
        assert_eq!(followed(hidden.as_bytes(), 50).1.state, State::Over);
        assert_eq!(followed(b"\nGET / HTTP/1.1\r\n\r\n", 99).1.state, State::Over);
    }

    #[test]
    fn empty_lines_before_a_request_do_not_start_a_head() {
        for (text, begun) in
            [("", false), ("\r\n", false), ("\r\n\r", false), ("G", true), ("\r\nGET / H", true)]
        {
            assert_eq!(followed(text.as_bytes(), 1).1.in_head(), begun, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn the_size_of_the_parts_changes_nothing(bytes in proptest::collection::vec(
            prop_oneof![Just(b'\r'), Just(b'\n'), Just(b':'), Just(b'0'), Just(b'c'), any::<u8>()], 0..200),
            size in 1_usize..40)
        {
            let text = [HEAD.as_bytes(), &bytes].concat();
            let (whole, parts) = (followed(&text, text.len()), followed(&text, size));
            prop_assert_eq!(whole.0, parts.0);
            prop_assert_eq!((whole.1.state, whole.1.in_head()), (parts.1.state, parts.1.in_head()));
        }
    }
}
