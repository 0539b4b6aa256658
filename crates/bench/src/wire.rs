//! One HTTP/1.1 connection of a client. It parses only what a measurement needs: the status, the framing of
//! the body, and whether there is a `Retry-After`.
//!
//! A `ClientConnection` cannot be used after an error. It returns the connection's error, `UnexpectedEof` if
//! the server closed it, and `InvalidData` for invalid HTTP/1.1.

use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The size of the buffer. A longer head is rejected. A body may have any length.
const BUFFER: usize = 64 * 1024;

/// The framing of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// The parsed part of a response's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    pub(crate) has_retry_after: bool,
    /// The server closes the connection after this response.
    pub(crate) closes: bool,
    framing: Framing,
}

#[cfg(test)]
impl ResponseHead {
    /// A head without a body.
    pub(crate) fn of_status(status: u16, has_retry_after: bool) -> Self {
        Self { status, has_retry_after, closes: false, framing: Framing::Length(0) }
    }
}

/// One connection, and the bytes that were read but not yet used.
pub(crate) struct ClientConnection {
    stream: TcpStream,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl ClientConnection {
    pub(crate) async fn connect(target: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; BUFFER].into_boxed_slice(), start: 0, end: 0 })
    }

    /// Sends a request and reads the whole response. The body goes to `sink` in pieces.
    pub(crate) async fn exchange(
        &mut self,
        request: &[u8],
        mut sink: impl FnMut(&[u8]),
    ) -> io::Result<ResponseHead> {
        self.stream.write_all(request).await?;
        let head = self.head().await?;
        match head.framing {
            Framing::Length(length) => self.exactly(length, &mut sink).await?,
            Framing::Chunked => self.chunks(&mut sink).await?,
            Framing::UntilClose => self.rest(&mut sink).await?,
        }
        Ok(head)
    }

    async fn head(&mut self) -> io::Result<ResponseHead> {
        loop {
            if let Some((head, length)) = parse_head(&self.buffer[self.start..self.end])? {
                self.start += length;
                return Ok(head);
            }
            self.fill().await?;
        }
    }

    async fn exactly(&mut self, mut left: u64, sink: &mut impl FnMut(&[u8])) -> io::Result<()> {
        while left > 0 {
            if self.start == self.end {
                self.fill().await?;
            }
            let held = self.end - self.start;
            let take = usize::try_from(left).map_or(held, |left| left.min(held));
            sink(&self.buffer[self.start..self.start + take]);
            self.start += take;
            left -= take as u64;
        }
        Ok(())
    }

    async fn chunks(&mut self, sink: &mut impl FnMut(&[u8])) -> io::Result<()> {
        loop {
            let size = {
                let line = self.line().await?;
                let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
                let text = std::str::from_utf8(digits).map_err(|_| malformed("a chunk's size"))?;
                u64::from_str_radix(text.trim(), 16).map_err(|_| malformed("a chunk's size"))?
            };
            if size == 0 {
                while !self.line().await?.is_empty() {}
                return Ok(());
            }
            self.exactly(size, sink).await?;
            if !self.line().await?.is_empty() {
                return Err(malformed("the end of a chunk"));
            }
        }
    }

    async fn rest(&mut self, sink: &mut impl FnMut(&[u8])) -> io::Result<()> {
        loop {
            sink(&self.buffer[self.start..self.end]);
            self.start = self.end;
            match self.fill().await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                outcome => outcome?,
            }
        }
    }

    /// Returns the next line, without its end.
    async fn line(&mut self) -> io::Result<&[u8]> {
        loop {
            if let Some(length) = self.buffer[self.start..self.end].iter().position(|byte| *byte == b'\n') {
                let line = self.start..self.start + length;
                self.start += length + 1;
                return Ok(trim_end(&self.buffer[line]));
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            if self.start == 0 {
                return Err(malformed("a head or line of more than 64 KiB"));
            }
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        match self.stream.read(&mut self.buffer[self.end..]).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.end += read;
                Ok(())
            }
        }
    }
}

/// Parses the head and returns its length in bytes, once it is complete.
fn parse_head(bytes: &[u8]) -> io::Result<Option<(ResponseHead, usize)>> {
    let Some((status_line, mut at)) = line_at(bytes, 0) else { return Ok(None) };
    let status = status_of(status_line).ok_or_else(|| malformed("a status line"))?;
    let bodiless = matches!(status, 100..=199 | 204 | 304);
    let framing = if bodiless { Framing::Length(0) } else { Framing::UntilClose };
    let mut head = ResponseHead { status, has_retry_after: false, closes: false, framing };
    loop {
        let Some((line, next)) = line_at(bytes, at) else { return Ok(None) };
        at = next;
        if line.is_empty() {
            return Ok(Some((head, at)));
        }
        // Only names that start like one of the four are compared.
        match line[0] | 0x20 {
            b'c' | b't' | b'r' => take_header(&mut head, line, bodiless)?,
            _ => {}
        }
    }
}

fn take_header(head: &mut ResponseHead, line: &[u8], bodiless: bool) -> io::Result<()> {
    let Some(colon) = line.iter().position(|byte| *byte == b':') else { return Err(malformed("a header")) };
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    if name.eq_ignore_ascii_case(b"retry-after") {
        head.has_retry_after = !value.is_empty();
    } else if name.eq_ignore_ascii_case(b"connection") {
        head.closes = value.eq_ignore_ascii_case(b"close");
    } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
        head.framing = Framing::Chunked;
    } else if name.eq_ignore_ascii_case(b"content-length") && !bodiless && head.framing != Framing::Chunked {
        let text = std::str::from_utf8(value).map_err(|_| malformed("a content length"))?;
        head.framing = Framing::Length(text.parse().map_err(|_| malformed("a content length"))?);
    }
    Ok(())
}

fn status_of(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.1 ")?;
    let digits = rest.get(..3)?;
    if rest.get(3).is_some_and(|byte| *byte != b' ') {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|status| (100..600).contains(status))
}

/// Returns the line at `at` without its end, and the start of the next.
fn line_at(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let length = bytes[at..].iter().position(|byte| *byte == b'\n')?;
    Some((trim_end(&bytes[at..at + length]), at + length + 1))
}

fn trim_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("this is no HTTP/1.1: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// Sends `answer` to one request in pieces of `piece` bytes, and closes the connection.
    async fn server(answer: &'static [u8], piece: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut request = [0; 64];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            for bytes in answer.chunks(piece) {
                stream.write_all(bytes).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        address
    }

    async fn answered(answer: &'static [u8], piece: usize) -> io::Result<(ResponseHead, Vec<u8>)> {
        let mut link = ClientConnection::connect(server(answer, piece).await).await?;
        let mut body = Vec::new();
        let head = link.exchange(b"GET / HTTP/1.1\r\n\r\n", |bytes| body.extend_from_slice(bytes)).await?;
        Ok((head, body))
    }

    #[tokio::test]
    async fn a_body_is_read_whole_however_it_is_framed_and_cut() {
        let answers: [&[u8]; 4] = [
            b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nab\ncd\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
              3\r\nab\n\r\n003;x=y\r\ncd\n\r\n0\r\nt: u\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nserver: x\r\n\r\nab\ncd\n",
            b"HTTP/1.1 200\r\nContent-Length:6\r\nconnection: Close\r\n\r\nab\ncd\n",
        ];
        for answer in answers {
            for piece in [1, 7, 1_000] {
                let (head, body) = answered(answer, piece).await.unwrap();
                assert_eq!((head.status, &body[..]), (200, &b"ab\ncd\n"[..]));
                assert_eq!(head.closes, answer.ends_with(b"Close\r\n\r\nab\ncd\n"));
            }
        }
    }

    #[tokio::test]
    async fn retry_after_is_seen_and_a_204_has_no_body() {
        let (head, _) = answered(b"HTTP/1.1 429 Too Many\r\nretry-after: 3\r\ncontent-length: 0\r\n\r\n", 9)
            .await
            .unwrap();
        assert!(head.status == 429 && head.has_retry_after);
        let (head, body) = answered(b"HTTP/1.1 204 No Content\r\n\r\n", 9).await.unwrap();
        assert_eq!((head.status, head.has_retry_after, body.len()), (204, false, 0));
    }

    #[tokio::test]
    async fn a_cut_answer_and_what_is_no_http_are_errors() {
        let cut = answered(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab", 9).await.unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
        for wrong in [
            &b"+PONG\r\n\r\n"[..],
            b"HTTP/1.1 2000 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        ] {
            assert_eq!(answered(wrong, 64).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }
}
