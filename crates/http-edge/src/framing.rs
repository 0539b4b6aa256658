//! Follows where requests begin and end in the bytes of a connection, and spoils a head that two readers could read
//! differently.
//!
//! hyper accepts more than a proxy in front may: a bare LF as the end of a line, `Content-Length` beside
//! `Transfer-Encoding`, a repeated `Content-Length`, a coding before `chunked`. A proxy that reads such a head
//! otherwise forwards a request that this server never saw as one ("request smuggling", RFC 9112 §11.2). Here one byte
//! of such a head is replaced by NUL, which no head may hold, so that hyper answers a bare 400 and closes. What passes
//! has exactly one framing, so this reader and hyper agree about where the next head begins.
//!
//! The stream also learns from here whether a head has begun and is not complete, for its deadline.

use std::ops::ControlFlow;

/// Most bytes of one line that are kept across reads: a line that frames the body is shorter, else its head is spoilt.
const KEPT: usize = 128;

/// The reader: one per connection.
#[derive(Debug, Default)]
pub(crate) struct Framing {
    state: State,
    head: Head,
    /// The beginning of a line whose end has not come yet.
    kept: Vec<u8>,
    /// How long that line is so far, and its last byte.
    length: usize,
    last: u8,
}

/// What the head said so far.
#[derive(Debug, Default, Clone, Copy)]
struct Head {
    /// The request line has come.
    begun: bool,
    length: Option<u64>,
    chunked: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between requests or in a head.
    #[default]
    Head,
    /// So many bytes of a body are to come.
    Body(u64),
    Chunks(Chunk),
    /// hyper ends the connection at what has come; nothing that follows is a request.
    Over,
}

/// Places in a chunked body, as hyper reads one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunk {
    /// In the size line; whether a digit has come.
    Size(u64, bool),
    /// After the size, up to the CR.
    Extension(u64),
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    /// At the beginning of a line of the trailer section.
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
}

impl Framing {
    /// Whether a head has begun and is not complete. Empty lines before a request line begin none. A spoilt head is never
    /// complete: hyper may wait for its end before it rejects it.
    pub(crate) fn in_head(&self) -> bool {
        match self.state {
            State::Over => true,
            State::Head => self.head.begun || self.kept.iter().any(|byte| *byte != b'\r'),
            State::Body(_) | State::Chunks(_) => false,
        }
    }

    /// Follows `bytes`, which hyper is about to see, and spoils them where they hold a head that is not sound.
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

    /// Reads up to the end of the line, or all there is; returns the number of bytes read.
    fn follow_line(&mut self, bytes: &mut [u8]) -> usize {
        let end = memchr::memchr(b'\n', bytes);
        let part = &bytes[..end.unwrap_or(bytes.len())];
        let Some(end) = end else {
            self.keep(part);
            return bytes.len();
        };
        let sound = if self.length == 0 {
            self.head.line(part)
        } else {
            self.keep(part);
            self.kept_line()
        };
        self.kept.clear();
        self.length = 0;
        match sound {
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

    /// Keeps a part of a line that comes in several reads.
    fn keep(&mut self, part: &[u8]) {
        let room = KEPT - self.kept.len();
        self.kept.extend_from_slice(&part[..part.len().min(room)]);
        self.length = self.length.saturating_add(part.len());
        self.last = part.last().copied().unwrap_or(self.last);
    }

    fn kept_line(&mut self) -> Option<ControlFlow<()>> {
        if self.length <= KEPT {
            return self.head.line(&self.kept);
        }
        // What is left out may be in any line but in one that frames the body.
        self.kept.truncate(KEPT - 1);
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
            Some(Some(next)) => State::Chunks(next),
            Some(None) => State::Head,
            None => State::Over,
        };
        1
    }
}

impl Head {
    /// Takes in one line without its LF. `Break` at the empty line that ends the head, `None` if the line is not sound.
    fn line(&mut self, line: &[u8]) -> Option<ControlFlow<()>> {
        let line = line.strip_suffix(b"\r")?;
        if !self.begun {
            self.begun = !line.is_empty();
            return Some(ControlFlow::Continue(()));
        }
        let Some(first) = line.first() else { return Some(ControlFlow::Break(())) };
        match first {
            // The folded continuation of the line before (RFC 9112 §5.2).
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

impl Chunk {
    /// The place after `byte`: `Some(None)` at the end of the body, `None` where hyper rejects it.
    fn after(self, byte: u8) -> Option<Option<Self>> {
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
            (Self::EndLf, b'\n') => return Some(None),
            _ => return None,
        };
        Some(Some(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What hyper would see, given `text` in parts of `size` bytes, and the reader afterwards.
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
    fn sound_requests_pass_unchanged_however_they_are_cut_and_the_next_head_is_found() {
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
    fn a_head_that_can_be_read_in_two_ways_is_spoilt_however_it_is_cut() {
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
    fn empty_lines_before_a_request_begin_no_head() {
        for (text, begun) in
            [("", false), ("\r\n", false), ("\r\n\r", false), ("G", true), ("\r\nGET / H", true)]
        {
            assert_eq!(followed(text.as_bytes(), 1).1.in_head(), begun, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn cutting_changes_nothing(bytes in proptest::collection::vec(
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
