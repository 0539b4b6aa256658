//! `RateLimit-Policy` and `RateLimit` in the syntax of draft-ietf-httpapi-ratelimit-headers-11.
//!
//! Both are Structured Field lists (RFC 9651) with one item per checked quota, e.g. `"ip";q=100;w=60` and
//! `"ip";r=50;t=30`. The caller passes the numbers of its limiter.

use http::{HeaderName, HeaderValue};
use std::time::Duration;

/// `RateLimit-Policy`: the limits in force.
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// `RateLimit`: what remains of the limits.
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The largest integer of a Structured Field (RFC 9651 §3.3.1).
const MAX_INTEGER: u64 = 999_999_999_999_999;

/// The state of one quota after this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaStatus<'a> {
    /// The policy's name, e.g. `ip`.
    pub name: &'a str,
    /// `q`: the current limit of requests per window, which is halved while the region is cold.
    pub limit: u32,
    /// `r`: the remaining requests.
    pub remaining: u32,
    /// `t`: the time until `remaining` next grows, sent in whole seconds, rounded up.
    pub reset_after: Duration,
    /// `w`: the length of the window, sent in whole seconds, rounded up.
    pub window: Duration,
}

/// Returns the two headers of `quotas`, or `None` if `quotas` is empty.
///
/// axum adds the headers to a response `(rate_limit_headers(..), body)`.
#[must_use]
pub fn rate_limit_headers(quotas: &[QuotaStatus<'_>]) -> Option<[(HeaderName, HeaderValue); 2]> {
    if quotas.is_empty() {
        return None;
    }
    let mut policy = String::with_capacity(32 * quotas.len());
    let mut state = String::with_capacity(32 * quotas.len());
    for (index, quota) in quotas.iter().enumerate() {
        if index > 0 {
            policy.push_str(", ");
            state.push_str(", ");
        }
        push_name(&mut policy, quota.name);
        push_name(&mut state, quota.name);
        let reset = seconds(quota.reset_after);
        push_parameter(&mut policy, ";q=", quota.limit.into());
        push_parameter(&mut policy, ";w=", seconds(quota.window));
        push_parameter(&mut state, ";r=", quota.remaining.into());
        push_parameter(&mut state, ";t=", reset);
    }
    Some([(RATE_LIMIT_POLICY, header_value(policy)), (RATE_LIMIT, header_value(state))])
}

fn seconds(span: Duration) -> u64 {
    span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0)).min(MAX_INTEGER)
}

/// Appends one parameter. Every limited response has four, and the formatter of `write!` takes several times
/// as long.
fn push_parameter(text: &mut String, name: &str, value: u64) {
    text.push_str(name);
    text.push_str(itoa::Buffer::new().format(value));
}

/// Appends `name` as an sf-string: escapes quotes and backslashes, and omits all but printable ASCII.
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
    fn one_quota_has_the_syntax_of_the_contract() {
        assert_eq!(rendered(&[IP]), [r#""ip";q=100;w=60"#, r#""ip";r=50;t=30"#]);
    }

    #[test]
    fn every_quota_is_listed() {
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
    fn no_quota_gives_no_header() {
        assert!(rate_limit_headers(&[]).is_none());
    }
}
