//! The plan of a load run: requests, address and duration. All is checked before the first connection opens.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use crate::error::BenchError;

/// The limit of each, so that a typing error does not exhaust the machine.
const MAX_CONNECTIONS: usize = 4_096;
const MAX_REQUESTS: u64 = 100_000_000;
const MAX_SECONDS: u64 = 600;
/// The number of addresses in 10.0.0.0/8.
const MAX_ADDRESSES: u32 = 1 << 24;
const MAX_SEGMENT: usize = 256;
/// The `User-Agent` of a browser, because a missing one or a script's would raise the risk.
const USER_AGENT: &str = "User-Agent: Mozilla/5.0 (Linux; Android 15) bench\r\n";

/// The end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// After that many responses.
    Requests(u64),
    /// After that time.
    After(Duration),
}

impl Stop {
    /// Returns the longest duration of a run, without late responses.
    pub(crate) fn bound(self) -> Duration {
        match self {
            Self::Requests(_) => Duration::from_secs(MAX_SECONDS),
            Self::After(time) => time,
        }
    }
}

/// A checked run.
#[derive(Debug, Clone)]
pub(crate) struct LoadPlan {
    pub(crate) target: SocketAddr,
    pub(crate) connections: usize,
    pub(crate) threads: usize,
    pub(crate) stop: Stop,
    /// The number of the first request. So a run can continue where an earlier one stopped.
    pub(crate) first: u64,
    before_segment: Vec<u8>,
    after_segment: Vec<u8>,
    segments: Arc<[String]>,
    addresses: u32,
}

impl LoadPlan {
    /// Plans `GET url` over that many connections.
    ///
    /// # Errors
    /// Fails if the URL is not of the form `http://loopback[:port][/path]`, or if a number is out of bounds.
    pub(crate) fn new(url: &str, connections: NonZeroUsize, stop: Stop) -> Result<Self, BenchError> {
        let (target, host, path) = parse_url(url)?;
        let stops = match stop {
            Stop::Requests(requests) => (1..=MAX_REQUESTS).contains(&requests),
            Stop::After(time) => !time.is_zero() && time <= Duration::from_secs(MAX_SECONDS),
        };
        if !stops {
            return Err(usage(format!("a run takes 1 to {MAX_REQUESTS} requests, or up to {MAX_SECONDS} s")));
        }
        if connections.get() > MAX_CONNECTIONS {
            return Err(usage(format!("{connections} connections are more than {MAX_CONNECTIONS}")));
        }
        Ok(Self {
            target,
            connections: connections.get(),
            threads: 1,
            stop,
            first: 0,
            before_segment: format!("GET {path}").into_bytes(),
            after_segment: format!(" HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n").into_bytes(),
            segments: Arc::default(),
            addresses: 0,
        })
    }

    /// Appends one of `segments` to the path of each request, in turn.
    ///
    /// # Errors
    /// Fails if there is none, or if one is not 1 to 256 of the characters `A-Z a-z 0-9 . _ ~ -`.
    pub(crate) fn with_segments(mut self, segments: impl Into<Arc<[String]>>) -> Result<Self, BenchError> {
        let segments = segments.into();
        let wrong = segments.iter().find(|segment| !is_segment(segment));
        if let Some(wrong) = wrong {
            return Err(usage(format!(
                "{wrong:?} is no path segment of 1 to {MAX_SEGMENT} unreserved characters"
            )));
        }
        if segments.is_empty() {
            return Err(usage("there are no path segments".to_owned()));
        }
        if !self.before_segment.ends_with(b"/") {
            self.before_segment.push(b'/');
        }
        self.segments = segments;
        Ok(self)
    }

    /// Adds headers, each `Name: value`, and a default `User-Agent` if they have none.
    ///
    /// # Errors
    /// Fails if one is not of that form.
    pub(crate) fn with_headers(mut self, headers: &[String]) -> Result<Self, BenchError> {
        let mut own_agent = true;
        for header in headers {
            let (name, value) = header
                .split_once(':')
                .filter(|(name, value)| is_token(name) && !value.contains(['\r', '\n']))
                .ok_or_else(|| usage(format!("{header:?} is no header of the form Name: value")))?;
            own_agent &= !name.eq_ignore_ascii_case("user-agent");
            self.after_segment.extend_from_slice(format!("{name}: {}\r\n", value.trim()).as_bytes());
        }
        if own_agent {
            self.after_segment.extend_from_slice(USER_AGENT.as_bytes());
        }
        Ok(self)
    }

    /// Adds an `X-Forwarded-For` to each request, from that many addresses of 10.0.0.0/8 in turn.
    ///
    /// # Errors
    /// Fails if there are not that many.
    pub(crate) fn with_addresses(mut self, addresses: u32) -> Result<Self, BenchError> {
        if addresses > MAX_ADDRESSES {
            return Err(usage(format!("10.0.0.0/8 has {MAX_ADDRESSES} addresses, not {addresses}")));
        }
        self.addresses = addresses;
        Ok(self)
    }

    /// Replaces `into` with the bytes of request `number`.
    pub(crate) fn render(&self, number: u64, into: &mut Vec<u8>) {
        into.clear();
        into.extend_from_slice(&self.before_segment);
        if !self.segments.is_empty() {
            let at = usize::try_from(number % self.segments.len() as u64).unwrap_or_default();
            into.extend_from_slice(self.segments[at].as_bytes());
        }
        into.extend_from_slice(&self.after_segment);
        if self.addresses > 0 {
            let [_, b, c, d] =
                u32::try_from(number % u64::from(self.addresses)).unwrap_or_default().to_be_bytes();
            write!(into, "X-Forwarded-For: 10.{b}.{c}.{d}\r\n").expect("writing to memory does not fail");
        }
        into.extend_from_slice(b"\r\n");
    }
}

/// Parses the address, the host and the path of a URL.
fn parse_url(url: &str) -> Result<(SocketAddr, &str, &str), BenchError> {
    let form = || usage(format!("{url:?} is not of the form http://address[:port][/path]"));
    let rest = url.strip_prefix("http://").ok_or_else(form)?;
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    if path.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'#') {
        return Err(form());
    }
    let target = match host.parse::<SocketAddr>() {
        Ok(address) => address,
        Err(_) => {
            let (name, port) = match host.rsplit_once(':') {
                Some((name, port)) if !host.ends_with(']') => (name, port.parse().map_err(|_| form())?),
                _ => (host, 80),
            };
            SocketAddr::new(ip_of(name).ok_or_else(form)?, port)
        }
    };
    if !target.ip().is_loopback() {
        let ip = target.ip();
        return Err(usage(format!(
            "{ip} is not a loopback address: the bench puts load only on this machine"
        )));
    }
    Ok((target, host, path))
}

fn ip_of(name: &str) -> Option<IpAddr> {
    if name == "localhost" {
        return Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name).parse().ok()
}

fn is_segment(text: &str) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (1..=MAX_SEGMENT).contains(&text.len()) && text.bytes().all(unreserved)
}

fn is_token(text: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(token)
}

fn usage(why: String) -> BenchError {
    BenchError::Usage(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(url: &str) -> Result<LoadPlan, BenchError> {
        LoadPlan::new(url, NonZeroUsize::MIN, Stop::Requests(1))
    }

    fn rendered(plan: &LoadPlan, number: u64) -> String {
        let mut bytes = b"left over".to_vec();
        plan.render(number, &mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn only_this_machine_may_be_pressed() {
        for url in
            ["http://127.0.0.1:8080", "http://127.9.9.9/x", "http://[::1]:8080/", "http://localhost:1/a?b=c"]
        {
            assert!(plan(url).is_ok(), "{url}");
        }
        for url in ["http://192.0.2.1:80/", "http://0.0.0.0:80/", "http://[2001:db8::1]/", "http://10.0.0.1"]
        {
            let error = plan(url).unwrap_err().to_string();
            assert!(error.contains("loopback"), "{error}");
        }
        for url in [
            "https://127.0.0.1",
            "http://example.com/",
            "127.0.0.1:80",
            "http://127.0.0.1/a b",
            "http://[::1",
        ] {
            assert!(matches!(plan(url), Err(BenchError::Usage(_))), "{url}");
        }
    }

    #[test]
    fn segments_and_addresses_take_turns() {
        let plan = plan("http://127.0.0.1:8080/v1/scan")
            .and_then(|plan| plan.with_segments(["a".to_owned(), "b".to_owned()]))
            .and_then(|plan| plan.with_headers(&["X-Key: v ".into()]))
            .and_then(|plan| plan.with_addresses(300))
            .unwrap();
        let expected = "GET /v1/scan/b HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAccept: */*\r\nX-Key: v\r\n";
        let expected = format!("{expected}{USER_AGENT}X-Forwarded-For: 10.0.1.1\r\n\r\n");
        assert_eq!(rendered(&plan, 257), expected);
        assert_eq!(rendered(&plan, 557), expected);
        assert!(rendered(&plan, 258).starts_with("GET /v1/scan/a HTTP/1.1\r\n"));
    }

    #[test]
    fn nothing_can_be_smuggled_into_a_request() {
        let plan = plan("http://127.0.0.1:8080/").unwrap();
        for segment in ["", "a b", "a/b", "a\r\nX: y", "é"] {
            assert!(plan.clone().with_segments([segment.to_owned()]).is_err(), "{segment:?}");
        }
        for header in ["X", "X y: z", ": z", "X: a\r\nY: b", "X:a\n"] {
            assert!(plan.clone().with_headers(&[header.into()]).is_err(), "{header:?}");
        }
    }

    #[test]
    fn a_run_is_bounded() {
        let run = |connections, stop| {
            LoadPlan::new("http://127.0.0.1/", NonZeroUsize::new(connections).unwrap(), stop)
        };
        assert!(run(4_096, Stop::After(Duration::from_secs(600))).is_ok());
        assert!(run(4_097, Stop::Requests(1)).is_err());
        assert!(run(1, Stop::Requests(0)).is_err());
        assert!(run(1, Stop::Requests(MAX_REQUESTS + 1)).is_err());
        assert!(run(1, Stop::After(Duration::ZERO)).is_err());
        assert!(run(1, Stop::After(Duration::from_secs(601))).is_err());
        assert!(plan("http://127.0.0.1/").unwrap().with_addresses(MAX_ADDRESSES + 1).is_err());
    }
}
