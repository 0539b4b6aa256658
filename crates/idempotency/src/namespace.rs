//! The key of a request's record, and the fingerprint that tells whether two requests are the same.
//!
//! Both are SHA-256 over length-prefixed parts, so different lists of parts never give the same input.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::key::IdempotencyKey;

/// The scope of an idempotency key. It holds the tenant, not the API key, so a retry may use a rotated API
/// key.
#[derive(Debug, Clone, Copy)]
pub struct Namespace<'a> {
    /// The tenant that sends the request.
    pub tenant: &'a str,
    /// The HTTP method.
    pub method: &'a str,
    /// The route's template, e.g. `/v1/batches/{id}/revoke`.
    pub template: &'a str,
    /// Names and decoded values of the template's parameters, in order.
    pub params: &'a [(&'a str, &'a str)],
    /// The client's name for its request.
    pub key: &'a IdempotencyKey,
}

/// The hash of a [`Namespace`]: 43 characters of base64url.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordKey([u8; 32]);

/// The hash of a whole request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// Hashes parts, each prefixed with its length.
struct Parts(Sha256);

impl Parts {
    fn of(label: &str) -> Self {
        Self(Sha256::new()).with(label.as_bytes())
    }

    fn with(mut self, part: &[u8]) -> Self {
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part);
        self
    }

    fn digest(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

impl Namespace<'_> {
    /// Returns the key of this request's record.
    #[must_use]
    pub fn record_key(&self) -> RecordKey {
        let parts = Parts::of("voketag/idempotency/v1")
            .with(self.tenant.as_bytes())
            .with(self.method.as_bytes())
            .with(self.template.as_bytes())
            .with(&(self.params.len() as u64).to_be_bytes());
        let parts = self
            .params
            .iter()
            .fold(parts, |parts, (name, value)| parts.with(name.as_bytes()).with(value.as_bytes()));
        RecordKey(parts.with(self.key.as_str().as_bytes()).digest())
    }
}

impl RecordKey {
    /// Returns the random bits of an id: 10 bytes of a hash over `purpose` and this key, so that a retry
    /// creates the same id.
    pub(crate) fn bits_for(&self, purpose: &str) -> [u8; 10] {
        let digest = Parts::of("voketag/idempotent-id/v1").with(purpose.as_bytes()).with(&self.0).digest();
        let mut bits = [0; 10];
        bits.copy_from_slice(&digest[..10]);
        bits
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl Fingerprint {
    /// Hashes method, target (path and query as sent), content type and body.
    #[must_use]
    pub fn of(method: &str, target: &str, content_type: &[u8], body: &[u8]) -> Self {
        let parts =
            Parts::of("voketag/idempotency-fingerprint/v1").with(method.as_bytes()).with(target.as_bytes());
        Self(parts.with(content_type).with(body).digest())
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All that a namespace is made of, as owned data.
    type Made = (String, String, String, Vec<(String, String)>, String);

    fn record_key((tenant, method, template, params, key): &Made) -> RecordKey {
        let params: Vec<(&str, &str)> =
            params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let quoted = format!("\"{key}\"");
        let key = IdempotencyKey::parse(&[quoted.as_bytes()]).unwrap().unwrap();
        Namespace { tenant, method, template, params: &params, key: &key }.record_key()
    }

    fn made() -> impl Strategy<Value = Made> {
        // Few different characters, so that parts which run into each other would meet.
        let text = || "a?b?";
        (text(), text(), text(), proptest::collection::vec((text(), text()), 0..2), "ab?")
    }

    proptest! {
        #[test]
        fn no_two_namespaces_meet(one in made(), other in made()) {
            prop_assert_eq!(one == other, record_key(&one) == record_key(&other));
        }

        #[test]
        fn no_two_requests_meet(one in ("[ab]{0,3}", "[ab]{0,3}", "[ab]{0,3}", "[ab]{0,3}"),
                                other in ("[ab]{0,3}", "[ab]{0,3}", "[ab]{0,3}", "[ab]{0,3}")) {
            let of = |(method, target, kind, body): &(String, String, String, String)| {
                Fingerprint::of(method, target, kind.as_bytes(), body.as_bytes())
            };
            prop_assert_eq!(one == other, of(&one) == of(&other));
        }
    }

    #[test]
    fn bits_differ_by_purpose_and_key() {
        let made = |key: &str| record_key(&("t".into(), "POST".into(), "/p".into(), vec![], key.into()));
        assert_eq!(made("a").bits_for("batch"), made("a").bits_for("batch"));
        assert_ne!(made("a").bits_for("batch"), made("a").bits_for("event"));
        assert_ne!(made("a").bits_for("batch"), made("b").bits_for("batch"));
    }

    /// Expected values come from an independent program. Hashes must not change, because a retry may reach a
    /// later version of the service.
    #[test]
    fn hashes_match_the_golden_values() {
        let params = vec![("id".into(), "7".into())];
        let key =
            record_key(&("acme".into(), "POST".into(), "/v1/batches/{id}/revoke".into(), params, "k".into()));
        assert_eq!(key.to_string(), "x6GBco9tLXNuxBczG8Xr03lSkKFTZXedmRxciDrAMiE");
        assert_eq!(key.bits_for("event"), [0x97, 0x68, 0x66, 0xc9, 0x96, 0xfd, 0xed, 0x14, 0x78, 0x68]);
        let fingerprint = Fingerprint::of("POST", "/v1/products?x=1", b"application/json", b"{}");
        assert_eq!(fingerprint.as_bytes()[..8], [0x58, 0xc0, 0x3f, 0x4c, 0xcc, 0x8c, 0x3b, 0xe4]);
        assert_eq!(fingerprint.as_bytes()[24..], [0x65, 0x17, 0x9f, 0xde, 0x2c, 0xb3, 0x9f, 0x0c]);
    }
}
