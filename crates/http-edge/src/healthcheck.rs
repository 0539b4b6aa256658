//! The service asks itself whether it is ready, for a container without a shell.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use ambient::{Clock, SystemClock};

/// Longest time for all of it.
const PATIENCE: Duration = Duration::from_secs(3);
/// Enough for the head and the body of the answer.
const MAX_ANSWER: usize = 16 * 1024;

/// Asks `GET /v1/ready` of the service listening on `bind`.
///
/// # Errors
/// When it cannot be reached, or its answer is not 200: the error then holds the answer's body.
pub fn healthcheck(bind: SocketAddr) -> io::Result<()> {
    let ip = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let clock = SystemClock::new();
    let deadline = clock.monotonic() + PATIENCE;
    let left = || left_until(deadline, clock.monotonic());
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(ip, bind.port()), PATIENCE)?;
    stream.set_write_timeout(Some(left()?))?;
    write!(stream, "GET /v1/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while answer.len() < MAX_ANSWER {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut piece).map_err(in_time)? {
            0 => break,
            read => answer.extend_from_slice(&piece[..read]),
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    if answer.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    let body = answer.split_once("\r\n\r\n").map_or("no answer", |(_, body)| body);
    Err(io::Error::other(body.trim().to_owned()))
}

/// Unix says of a timeout of its own that the call would block.
fn in_time(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

/// What is left of the time; a read or write takes no timeout of zero.
fn left_until(deadline: Duration, now: Duration) -> io::Result<Duration> {
    let left = deadline.saturating_sub(now);
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}
