//! Adds patterns, enumerations and examples to the OpenAPI document, from the constants that the code uses.

use access::{GtinPrefix, KeyId, KeyStatus, Scope, TenantId};
use catalog::Lifecycle;
use http_edge::api_values::{
    Values, describe_everywhere, describe_parameter, describe_property, show_request, show_requests,
};
use idempotency::IdempotencyKey;
use input::{LINE_PATTERN, LINES_PATTERN};
use keyring::{KeyFamily, KeyState};
use serde_json::{Value, json};
use tag_id::TagId;
use utoipa::openapi::OpenApi;

use crate::domain::input::{EXAMPLE_ID, Gtin};
use crate::domain::verified::Outcome;
use crate::handlers::verify::CHECKPOINT_STATES;

/// The batch id in the examples.
const BATCH: &str = "019c6652-5e00-7000-8000-0000000000bb";
/// A tag id of that batch.
const TAG: &str = "85e49ec3-de12-8001-bccf-0ce2e6986017";
/// The API key id in the examples.
const KEY: &str = "7g3kx0qd";
/// The tenant id in the examples.
const TENANT: &str = "acme";
/// The pattern of a SHA-256 in lower-case hex.
const HASH: Values = Values::Pattern("^[0-9a-f]{64}$");

/// Completes the document. Every example request succeeds on a service where the example ids exist.
pub(crate) fn complete(document: &mut OpenApi) {
    names(document);
    texts(document);
    parameters(document);
    let corrected = json!({
        "reason": "it was stolen later",
        "compromised_since": "2026-11-10T00:00:00Z",
        "confirm_batches": 0,
    });
    show_request(document, "correct_keyring_date", &corrected);
    show_requests(document);
}

fn names(document: &mut OpenApi) {
    let lifecycle = Values::one_of(Lifecycle::ALL);
    let scopes = Values::one_of(Scope::ALL.map(Scope::as_str));
    let reasons = Values::one_of(["counterfeit", "damaged", "mismatch", "stolen", "other"]);
    for (schema, property, values) in [
        ("BatchAnswer", "state", &lifecycle),
        ("TagAnswer", "lifecycle", &lifecycle),
        ("KeyAnswer", "state", &Values::one_of(KeyStatus::ALL)),
        ("KeyAnswer", "scopes", &scopes),
        ("KeyRequest", "scopes", &scopes),
        ("KeyringKeyAnswer", "state", &Values::one_of(KeyState::ALL)),
        ("TenantAnswer", "state", &Values::one_of(["active", "suspended"])),
        ("VerifyAnswer", "state", &Values::one_of(Outcome::ALL)),
        ("CheckpointAnswer", "state", &Values::one_of(CHECKPOINT_STATES)),
        ("UnprovenReportAnswer", "reason", &reasons),
    ] {
        describe_property(document, schema, property, values);
    }
}

fn texts(document: &mut OpenApi) {
    let is_request = |schema: &str| schema.ends_with("Request");
    for line in ["name", "brand", "brands", "label", "reason"] {
        describe_everywhere(document, line, &Values::Pattern(LINE_PATTERN), is_request);
    }
    for (property, pattern) in
        [("gtin", Gtin::PATTERN), ("gtin_prefixes", GtinPrefix::PATTERN), ("tag_id", TagId::PATTERN)]
    {
        describe_everywhere(document, property, &Values::Pattern(pattern), |_| true);
    }
    for property in ["head", "prev", "hash", "payload_hash"] {
        describe_everywhere(document, property, &HASH, |_| true);
    }
    for (schema, property, pattern) in [
        ("TenantRequest", "id", TenantId::PATTERN),
        ("TenantAnswer", "id", TenantId::PATTERN),
        ("KeyRequest", "tenant", TenantId::PATTERN),
        ("KeyAnswer", "tenant", TenantId::PATTERN),
        ("KeyAnswer", "id", KeyId::PATTERN),
        ("UnprovenReportAnswer", "details", LINES_PATTERN),
    ] {
        describe_property(document, schema, property, &Values::Pattern(pattern));
    }
}

fn parameters(document: &mut OpenApi) {
    let (tag, tenant, key) = (TagId::PATTERN, TenantId::PATTERN, KeyId::PATTERN);
    let pattern = Values::Pattern;
    let rows: [(&str, &str, Value, Option<Values>); 19] = [
        ("/v1/products/", "id", EXAMPLE_ID.into(), None),
        ("/v1/batches/", "id", BATCH.into(), None),
        ("/v1/batches/", "format", "ndjson".into(), None),
        ("/v1/batches/", "from", 0.into(), None),
        ("/v1/batches/", "limit", 1000.into(), None),
        ("/v1/tags/", "tag_id", TAG.into(), Some(pattern(tag))),
        ("/v1/audit/events", "after_seq", 0.into(), None),
        ("/v1/audit/events", "limit", 100.into(), None),
        ("/v1/admin/tenants/", "id", TENANT.into(), Some(pattern(tenant))),
        ("/v1/admin/tenants", "cursor", TENANT.into(), Some(pattern(tenant))),
        ("/v1/admin/keys/", "id", KEY.into(), Some(pattern(key))),
        ("/v1/admin/keys", "cursor", KEY.into(), Some(pattern(key))),
        ("/v1/admin/keys", "tenant", TENANT.into(), Some(pattern(tenant))),
        (
            "/v1/admin/keyring/",
            "family",
            "tag".into(),
            Some(Values::one_of([KeyFamily::Tag, KeyFamily::Audit].map(|family| family.to_string()))),
        ),
        ("/v1/admin/keyring/", "number", 2.into(), None),
        // `retire` and `revoke` need a key that was in use.
        ("/v1/admin/keyring/{family}/{number}/re", "number", 1.into(), None),
        ("/v1/admin/keyring/{family}/{number}/correct-date", "number", 1.into(), None),
        ("/", "Idempotency-Key", "\"order-4711\"".into(), Some(pattern(IdempotencyKey::PATTERN))),
        ("/", "If-Match", "*".into(), None),
    ];
    for (below, name, example, values) in rows {
        describe_parameter(document, below, name, example, values.as_ref());
    }
    let held = "\"4a5e1e4baab89f3a32518a88c31bc87f\"";
    describe_parameter(document, "/", "If-None-Match", held, None);
}
