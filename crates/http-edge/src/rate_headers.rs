//! `RateLimit-Policy` and `RateLimit` in the syntax of draft-ietf-httpapi-ratelimit-headers-11.
//!
//! Both are Structured Field lists (RFC 9651) with one item for each dimension that was asked, e.g.
//! `"ip";q=100;w=60` and `"ip";r=50;t=30`. The numbers come from a limiter that this crate does not know.

use http::{HeaderName, HeaderValue};
use std::fmt::Write;
use std::time::Duration;

/// `RateLimit-Policy`: the limits in force.
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// `RateLimit`: what is left of them.
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The largest integer a Structured Field can hold (RFC 9651 §3.3.1).
const MAX_INTEGER: u64 = 999_999_999_999_999;

/// One dimension of a limit, as it stands after this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaStatus<'a> {
    /// The policy's name, e.g. `ip`.
    pub name: &'a str,
    /// `q`: requests per window in force now (halved while cold).
    pub limit: u32,
    /// `r`: requests left.
    pub remaining: u32,
    /// `t`, sent in whole seconds, rounded up: the time until `remaining` next grows.
    pub reset_after: Duration,
    /// `w`, sent in whole seconds.
    pub window: Duration,
}

/// The two headers of `quotas`; an empty slice, when nobody was asked, has none.
///
/// The array turns into response headers by itself: `(rate_limit_headers(..), body)`.
#[must_use]
pub fn rate_limit_headers(quotas: &[QuotaStatus<'_>]) -> Option<[(HeaderName, HeaderValue); 2]> {
    if quotas.is_empty() {
        return None;
    }
    let mut policy = String::with_capacity(24 * quotas.len());
    let mut state = String::with_capacity(24 * quotas.len());
    for (index, quota) in quotas.iter().enumerate() {
        if index > 0 {
            policy.push_str(", ");
            state.push_str(", ");
        }
        push_name(&mut policy, quota.name);
        push_name(&mut state, quota.name);
        let reset = seconds(quota.reset_after);
        write!(policy, ";q={};w={}", quota.limit, seconds(quota.window)).expect("a String takes every write");
        write!(state, ";r={};t={reset}", quota.remaining).expect("a String takes every write");
    }
    Some([(RATE_LIMIT_POLICY, header_value(policy)), (RATE_LIMIT, header_value(state))])
}

fn seconds(span: Duration) -> u64 {
    span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0)).min(MAX_INTEGER)
}

/// `name` as an sf-string: quotes and backslashes escaped, what is no printable ASCII left out.
fn push_name(text: &mut String, name: &str) {
    text.push('"');
    for character in name.chars().filter(|c| matches!(c, ' '..='~')) {
        if matches!(character, '"' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text.push('"');
}

fn header_value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("printable ASCII is a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(quotas: &[QuotaStatus<'_>]) -> [String; 2] {
        rate_limit_headers(quotas).unwrap().map(|(_, value)| value.to_str().unwrap().to_owned())
    }

    const MINUTE: Duration = Duration::from_secs(60);
    const IP: QuotaStatus<'_> = QuotaStatus {
        name: "ip",
        limit: 100,
        remaining: 50,
        reset_after: Duration::from_millis(29_001),
        window: MINUTE,
    };

    #[test]
    fn one_dimension_reads_as_the_contract_writes_it() {
        assert_eq!(rendered(&[IP]), [r#""ip";q=100;w=60"#, r#""ip";r=50;t=30"#]);
    }

    #[test]
    fn every_dimension_is_listed() {
        let global = QuotaStatus {
            name: "global",
            limit: 200,
            remaining: 0,
            reset_after: Duration::MAX,
            window: MINUTE,
        };
        assert_eq!(
            rendered(&[IP, global]),
            [r#""ip";q=100;w=60, "global";q=200;w=60"#, r#""ip";r=50;t=30, "global";r=0;t=999999999999999"#]
        );
    }

    #[test]
    fn a_name_cannot_break_out_of_its_quotes() {
        let odd = QuotaStatus { name: "a\"\\\r\n\u{e9}b", ..IP };
        assert_eq!(rendered(&[odd])[0], r#""a\"\\b";q=100;w=60"#);
    }

    #[test]
    fn nobody_asked_no_header() {
        assert!(rate_limit_headers(&[]).is_none());
    }
}
